"""What the world is told about a job: one SNS message, the same for queues, functions, web hooks and e-mail.

Knows how a record becomes a message. Must not know when one is due or how it is sent. Nothing in it needs to be kept
secret: no prompt, no link that opens anything, no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.jobs.states import Status

if TYPE_CHECKING:
    from shared.jobs.record import Job

VERSION = "1"
_SUBJECT_CHARACTERS = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

_SUMMARY = {
    Status.SUCCEEDED: "The video is ready.",
    Status.FAILED: "The video could not be made.",
    Status.UNCERTAIN: "Nobody knows whether the video was paid for; a person must decide.",
    Status.TIMED_OUT: "The video is paid for, but was not finished in time.",
    Status.CANCELED: "The video is not followed any more.",
    Status.ON_HOLD: "The job waits: the Genviral account needs attention.",
    Status.INTERRUPTED: "The job was interrupted; nothing is lost.",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One message.

    Attributes:
        subject: A line for people: ASCII, at most 100 characters.
        message: The message as data.
        attributes: What subscribers filter by.
    """

    subject: str
    message: dict[str, Any]
    attributes: dict[str, str]


def notice_for(job: Job) -> Notice:
    """What there is to say about a job in its present status."""
    summary = _SUMMARY[job.status]
    message = {
        "version": VERSION,
        "notification_id": f"{job.job_id}/{job.notice_due}",
        "job_id": job.job_id,
        "status": job.status.value,
        "summary": summary,
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
    error = message["error"]
    attributes = {
        "status": job.status.value,
        "source": str(job.source.get("type", "execution")),
        "model_id": job.model_id,
        "recipe": job.recipe,
        "error_code": error.get("code") if isinstance(error, dict) else None,
    }
    name = str(job.source.get("key", job.job_id)).rsplit("/", 1)[-1]
    subject = f"{name}: {summary}".encode("ascii", "replace").decode()
    subject = "".join(character if character.isprintable() else " " for character in subject).strip()
    return Notice(
        subject=subject[:_SUBJECT_CHARACTERS],
        message={name: value for name, value in message.items() if value is not None},
        # SNS refuses a whole message for one control character, and a folder's name may hold them.
        attributes={name: value for name, value in attributes.items() if value and value.isprintable()},
    )


def _paid(job: Job) -> str:
    if job.video_id is not None:
        return "yes"
    return "unknown" if job.claim is not None else "no"
