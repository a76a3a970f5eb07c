"""Build the message about a notification for a chat room: Amazon Q Developer shows it in Slack and Teams.

Knows the format of its custom notifications and the marks of chat programs. Must not know how it is sent. The format:
https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.jobs.notifications import console_links, lines_for_people

if TYPE_CHECKING:
    from collections.abc import Mapping

_ICONS = {
    "succeeded": ":clapper:",
    "batch_finished": ":clapper:",
    "batch_checked": ":mag:",
    "canceled": ":no_entry_sign:",
}
_MAX_DESCRIPTION = 8000
_MARKS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"})


def chat_message(notification: Mapping[str, Any]) -> dict[str, Any]:
    """Return a custom notification for Amazon Q Developer in chat applications.

    All words from outside are in one block of code, where no mark, mention or link of theirs has an effect.

    Args:
        notification: The notification as data.
    """
    links = "\n".join(console_links(notification))
    facts = "\n".join(lines_for_people(notification)).translate(_MARKS)[: _MAX_DESCRIPTION - len(links) - 10]
    status, summary = notification["status"], notification["summary"]
    about = notification.get("job_id") or notification.get("batch", {}).get("batch_id")
    error = notification.get("error", {})
    context = {"status": status, "job_id": notification.get("job_id"), "error_code": error.get("code")}
    return {
        "version": "1.0",
        "source": "custom",
        "id": notification["notification_id"],
        "content": {
            "textType": "client-markdown",
            "title": f"{_ICONS.get(status, ':warning:')} {summary}",
            "description": f"```\n{facts}\n```\n{links}".rstrip(),
            "keywords": [status],
        },
        "metadata": {
            # Everything about one job is one thread of the chat.
            "threadId": about or notification["notification_id"],
            "summary": summary,
            "eventType": f"genviral-{status.replace('_', '-')}",
            "additionalContext": {name: value for name, value in context.items() if value},
        },
    }
