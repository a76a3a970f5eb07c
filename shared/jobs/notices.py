"""What the world is told: one SNS message, as data for queues, functions and web hooks, and as a text for people.

Knows how a record becomes a message, and where the AWS console shows things. Must not know when a message is due or how
it is sent. Nothing in it needs to be kept secret: no prompt, no link that opens anything by itself, no key. The data is
described for subscribers by `docs/notification.schema.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.faults import Fault
    from shared.jobs.record import Job

VERSION = "1"
RECIPE_INVALID = "recipe_invalid"
"""The one status that is not a job's: a recipe was uploaded that no job could use."""
_SUBJECT_CHARACTERS = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_SMS_CHARACTERS = 160  # more would be sent, and charged, as several messages
_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}

_SUMMARY = {
    Status.SUCCEEDED: "The video is ready.",
    Status.FAILED: "The video could not be made.",
    Status.UNCERTAIN: "Nobody knows whether the video was paid for; a person must decide.",
    Status.TIMED_OUT: "The video is paid for, but was not finished in time.",
    Status.CANCELED: "The video is not followed any more.",
    Status.ON_HOLD: "The job waits: the Genviral account needs attention.",
    Status.INTERRUPTED: "The job was interrupted; nothing is lost.",
    RECIPE_INVALID: "The recipe cannot be used.",
}
_PAID = {"yes": "yes", "no": "no", "unknown": "nobody knows"}


@dataclass(frozen=True, slots=True)
class Notice:
    """One message.

    Attributes:
        subject: A line for people: ASCII, at most 100 characters.
        message: The message as data.
        text: The message for an e-mail.
        short: The message for a phone: ASCII, at most 160 characters.
        attributes: What subscribers filter by.
    """

    subject: str
    message: dict[str, Any]
    text: str
    short: str
    attributes: dict[str, str]


def notice_for(job: Job) -> Notice:
    """What there is to say about a job in its present status."""
    return _notice(
        {
            "version": VERSION,
            "notification_id": f"{job.job_id}/{job.notice_due}",
            "job_id": job.job_id,
            "status": job.status.value,
            "summary": _SUMMARY[job.status],
            "occurred_at": job.timeline.get(job.status.value),
            "paid": _paid(job),
            "source": {name: value for name, value in job.source.items() if name != "caller"},
            "recipe": job.recipe,
            "model_id": job.model_id,
            "video_id": job.video_id,
            "credits_used": job.credits_used,
            "video": job.output,
            "error": job.error if job.status is not Status.SUCCEEDED else None,
            "metadata": job.metadata or None,
            "execution": job.execution,
        }
    )


def notice_of_recipe(
    upload_id: str, source: Mapping[str, Any], *, recipe: str, fault: Fault, occurred_at: str
) -> Notice:
    """What there is to say about a recipe that no job could use.

    Args:
        upload_id: Names this upload of the recipe, so that a repeat can be told from another.
        source: Where the recipe lies.
        recipe: Its name.
        fault: What is wrong with it.
        occurred_at: When it was uploaded, ISO 8601.
    """
    return _notice(
        {
            "version": VERSION,
            "notification_id": f"{upload_id}/{RECIPE_INVALID}",
            "status": RECIPE_INVALID,
            "summary": _SUMMARY[RECIPE_INVALID],
            "occurred_at": occurred_at,
            "paid": "no",
            "source": dict(source),
            "recipe": recipe,
            "error": fault.document(),
        }
    )


def _notice(parts: Mapping[str, Any]) -> Notice:
    message = {name: value for name, value in parts.items() if value is not None}
    error = message.get("error", {})
    attributes = {
        "status": message["status"],
        "source": str(message["source"].get("type", "execution")),
        "model_id": message.get("model_id"),
        "recipe": message.get("recipe"),
        "error_code": error.get("code"),
    }
    about = str(message["source"].get("key") or message.get("job_id")).rsplit("/", 1)[-1]
    title = _ascii(f"{about}: {message['summary']}")
    return Notice(
        subject=title[:_SUBJECT_CHARACTERS],
        message=message,
        text="\n".join(_lines(message, about)),
        short=_ascii(f"{title} {error.get('message', '')}")[:_SMS_CHARACTERS],
        # SNS refuses a whole message for one control character, and a folder's name may hold them.
        attributes={name: value for name, value in attributes.items() if value and value.isprintable()},
    )


def _lines(message: Mapping[str, Any], about: str) -> Iterator[str]:
    """The e-mail: what happened, what to do, the facts, and where to look."""
    yield f"{_printable(about)}: {message['summary']}"
    error, video = message.get("error", {}), message.get("video", {})
    if error:
        yield ""
        yield _printable(str(error.get("message", "")))
        yield from (
            f"  - {_printable(issue['path'])}: {_printable(issue['message'])}" for issue in error.get("issues", ())
        )
        if advice := error.get("advice"):
            yield f"What to do: {advice}"
        if action_url := error.get("action_url"):
            yield f"Where: {action_url}"
    yield ""
    facts = {
        "Status": message["status"],
        "Paid": _PAID[message["paid"]],
        "Credits": message.get("credits_used"),
        "Video": _film(video),
        "Source": _place(message["source"]),
        "Recipe": message.get("recipe"),
        "Model": message.get("model_id"),
        "Job": message.get("job_id"),
        "Time": message.get("occurred_at"),
    }
    yield from (f"{name + ':':9}{_printable(str(fact))}" for name, fact in facts.items() if fact is not None)
    yield from _links(message)


def _film(video: Mapping[str, Any]) -> str | None:
    if not video:
        return None
    seconds, width, height = (video.get(name) for name in ("duration_seconds", "width", "height"))
    facts = [f"{seconds:g} s" if seconds else "", f"{width}x{height}" if width and height else ""]
    facts.append(f"{video['bytes']:,} bytes" if "bytes" in video else "")
    return f"s3://{video['bucket']}/{video['key']} ({', '.join(filter(None, facts))})"


def _place(source: Mapping[str, Any]) -> str:
    return f"s3://{source['bucket']}/{source['key']}" if "key" in source and "bucket" in source else source["type"]


def _links(message: Mapping[str, Any]) -> Iterator[str]:
    """Pages of the AWS console; they ask who is there before they show anything."""
    execution = str(message.get("execution") or "")
    if execution.count(":") < 7:
        return
    _, partition, _, region, *_ = execution.split(":")
    console = f"https://{region}.{_CONSOLES.get(partition, 'console.aws.amazon.com')}"
    yield ""
    if video := message.get("video"):
        yield "The video (sign in to AWS first):"
        yield f"{console}/s3/object/{video['bucket']}?region={region}&prefix={quote(video['key'], safe='')}"
    yield "The execution:"
    yield f"{console}/states/home?region={region}#/v2/executions/details/{execution}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _ascii(text: str) -> str:
    return _printable(text.encode("ascii", "replace").decode()).strip()


def _paid(job: Job) -> str:
    if job.video_id is not None:
        return "yes"
    return "unknown" if job.claim is not None else "no"
