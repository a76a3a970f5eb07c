"""Forward a notification to an EventBridge bus and to the topic of a chat room, as a subscriber of the topic.

A notification is published after the job's record was written, so an event is never before the record either. The event
holds the same document and nothing more. Must not know Lambda.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.faults import Paid
from shared.jobs.chat import chat_message
from shared.printable import json_text
from shared.runtime import AwsCallFailed, logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sns import SNSClient

_REQUIRED = {"version", "notification_id", "status", "summary", "occurred_at", "paid", "source"}
SOURCE = "genviral.video"
"""The `source` of every event."""


def detail_type(notification: Mapping[str, Any]) -> str:
    """Return an event's `detail-type`: `Video Succeeded`, `Video On Hold`, `Batch Finished`, `Upload Ignored`."""
    words = str(notification["status"]).replace("_", " ").title()
    return f"Video {words}" if "job_id" in notification else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarder:
    """Send notifications on.

    Args:
        bus: The event bus by its name, with its client; None: no events.
        chat: The chat room's topic by its ARN, with its client; None: no chat.
    """

    bus: tuple[str, EventBridgeClient] | None = None
    chat: tuple[str, SNSClient] | None = None

    def forward(self, sent: Mapping[str, Any]) -> None:
        """Forward one message of the topic. A repeat is forwarded again, with the same `notification_id`.

        Args:
            sent: The message as SNS passes it to a function: `Message` and `MessageAttributes`.

        Raises:
            AwsCallFailed: EventBridge did not take the event.
        """
        notification = _notification(sent["Message"])
        if notification is None:
            return
        try:
            if self.bus:
                self._put_event(*self.bus, notification)
        finally:  # a bus that refuses events must not silence the room
            # A batch's report says how its rows ended; a chat room does not want ten thousand messages.
            if self.chat and "reported_in" not in sent.get("MessageAttributes", {}):
                topic, sns = self.chat
                sns.publish(TopicArn=topic, Message=json_text(chat_message(notification)))

    def _put_event(self, bus: str, events: EventBridgeClient, notification: Mapping[str, Any]) -> None:
        execution = notification.get("execution")
        answer = events.put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": SOURCE,
                    "DetailType": detail_type(notification),
                    "Detail": json_text(notification),
                    "Resources": [execution] if execution else [],
                }
            ]
        )
        for entry in answer["Entries"]:
            if "ErrorCode" in entry:
                raise AwsCallFailed(f"PutEvents failed with {entry['ErrorCode']}", paid=Paid.UNKNOWN)


def _notification(text: str) -> dict[str, Any] | None:
    """Return the notification in a message; None for anything else that somebody published to the topic."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.keys() >= _REQUIRED and isinstance(document["source"], dict):
        return document
    logger.warning("a message that is no notification was not forwarded")
    return None
