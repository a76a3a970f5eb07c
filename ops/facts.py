"""Describe a job: as facts for people, as a row of a list, and as a JSON document for programs.

None of them has the job's request, which may hold a prompt. Must not know AWS or how anything is printed.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.jobs.states import STATES, TERMINAL, Status
from shared.polling.policy import Expectation, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.record import Job

FIELDS = {
    "job_id": "the job's id",
    "status": "one of the [statuses](statuses.md)",
    "paid": "`yes`, `no` or `unknown`",
    "created_at": "when it was created, ISO 8601 in UTC",
    "timeline": "status → when the job last entered it",
    "source": "where it came from: `type` and, for a file, `bucket`, `key`, `version_id` or `line`",
    "recipe": "the recipe's name",
    "model_id": "the model",
    "metadata": "the caller's own labels",
    "video_id": "Genviral's id of the video",
    "possible_video_id": "a video that an answer named and that may be paid for",
    "vendor_status": "Genviral's own word, where it is another than `processing`",
    "credits_used": "Genviral's credits",
    "other_videos": "further videos of this job: `video_id`, `paid`, `credits_used`, `output`",
    "estimate": "the time left, in words",
    "resubmissions": "how often a person chose to pay again",
    "redrives": "how often it was redriven automatically in this outage",
    "video": "the finished video: `bucket`, `key` and what is known of it",
    "error": "`error` (its name), `code`, `message`, `advice`, `paid`, Genviral's `http_status`, and `issues` with "
    "`path` and `message`",
    "retrying": "the failed tries of the present step: `error`, `tries`, `since`, `next_try_by`",
    "next_try_at": "when a job on hold is tried again",
    "held_until": "when its hold ends",
    "redrive_at": "when an interrupted job is redriven automatically",
    "redrive_until": "until when it is",
    "notice_due": "the notification that was not sent yet",
    "execution": "the ARN of its execution; `show` only",
    "execution_status": "its status in Step Functions; `show` only",
    "next_step": "what comes next, in words; `show` only",
    "next_command": "the command for it, as words of a command line; `show` only",
    "file": "where the video was saved; `submit --wait` and `wait` only",
    "not_saved": "why it was not saved; `submit --wait` and `wait` only",
}
"""What the JSON document of a job may have, and what it says. A field that has no value is left out."""


def document(job: Job, **more: Any) -> dict[str, Any]:
    """Return a job as a JSON document, with the fields of `FIELDS` that have a value."""
    is_held = job.status is Status.ON_HOLD
    values = {
        "job_id": job.job_id,
        "status": job.status.value,
        "paid": job.paid.value,
        "created_at": job.created_at,
        "timeline": job.timeline,
        "source": job.origin,
        "recipe": job.recipe,
        "model_id": job.model_id,
        "metadata": job.metadata,
        "video_id": job.video_id,
        "possible_video_id": job.known_video if job.video_id is None else None,
        "vendor_status": job.vendor_status,
        "credits_used": job.credits_used,
        "other_videos": job.others,
        "estimate": time_left(job),
        "resubmissions": job.resubmissions or None,
        "redrives": job.redrives or None,
        "video": job.output,
        "error": job.shown_error,
        "retrying": job.current_retry,
        "next_try_at": job.next_try_at if is_held else None,
        "held_until": job.held_until if is_held else None,
        **job.redrive,
        "notice_due": job.notice_due,
        **more,
    }
    return {name: value for name, value in values.items() if value not in (None, "", {}, [])}


def facts(job: Job, execution: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what there is to know about a job, in reading order; a list is several lines."""
    error, output = job.shown_error or {}, job.output or {}
    lives = execution["status"] if execution else "not started, or forgotten"
    is_held = job.status is Status.ON_HOLD and job.next_try_at is not None
    return {
        "job": job.job_id,
        "status": f"{job.status} since {job.timeline.get(job.status, '?')}",
        "paid": job.paid,
        "source": f"{job.source.get('type')} {job.source.get('key') or job.source.get('caller') or ''}".strip(),
        "created": job.created_at,
        "recipe": job.recipe,
        "model": job.model_id,
        "video id": job.video_id,
        "may be paid": job.known_video if job.video_id is None else None,
        "Genviral says": _vendor_status(job),
        "time left": time_left(job),
        "credits": job.credits_used,
        "other videos": [_other(job, video_id) for video_id in sorted(job.other_videos)],
        "resubmissions": job.resubmissions,
        "redrives": job.redrives,
        "video": f"s3://{output['bucket']}/{output['key']}" if output else None,
        "error": error.get("code"),
        "message": error.get("message"),
        "issues": issues(error),
        "advice": error.get("advice"),
        "retrying": _retries(job),
        "tried again": f"{job.next_try_at}; the hold ends at {job.held_until}" if is_held else None,
        "notice due": job.notice_due,
        "execution": f"{job.execution or job.job_id} {lives}",
    }


def issues(error: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with single fields, a line each."""
    return [f"{issue['path']}: {issue['message']}" for issue in error.get("issues", ())]


def waits_for_a_person(job: Job) -> bool:
    """Whether somebody must decide or fix something before the job gets any further."""
    if job.status is Status.INTERRUPTED:
        return not job.redrive and job.current_retry is None
    if job.status is Status.ON_HOLD:
        return job.held_since is not None
    return job.status in (Status.UNCERTAIN, Status.TIMED_OUT)


def style_of(status: Status) -> str:
    """Return the colour in which a terminal shows a status."""
    if status is Status.SUCCEEDED:
        return "green"
    if status is Status.FAILED:
        return "red"
    return "yellow" if STATES[status].list_order else "" if status in TERMINAL else "cyan"


def made_of(job: Job) -> str:
    """Return what a job was made of, as short as people say it: a file's name, a batch's line, or the kind of call."""
    key, line = job.source.get("key"), job.source.get("line")
    name = str(key).rpartition("/")[2] if key else str(job.source.get("type", "?"))
    return f"{name}:{line}" if line else name


def age(moment: str, now: float | None = None) -> str:
    """Return how long ago a moment was, in its largest unit: `40s`, `12m`, `5h`, `3d`."""
    seconds = max(0, int((time.time() if now is None else now) - datetime.fromisoformat(moment).timestamp()))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def time_left(job: Job) -> str | None:
    """Return how long the video will still take, in words; None where that is not the question."""
    if job.status is not Status.PROCESSING or job.submitted_at is None or job.expected_seconds is None:
        return None
    return progress(Expectation(*job.expected_seconds), max(0, time.time() - job.submitted_at))


def _retries(job: Job) -> list[str] | None:
    """Why a step is being repeated, how often it was, and when it is again."""
    if (now := job.current_retry) is None:
        return None
    many = f"{now['tries']} failed since {now['since']}, the next comes by {now['next_try_by']}"
    return [f"{now['error']['code']}: {now['error']['message']}", many]


def _vendor_status(job: Job) -> str | None:
    """The vendor's own word for where the video is, where that is not what the status says."""
    finished = (job.vendor_status or "").strip().lower() == Status.SUCCEEDED
    return f"{job.vendor_status}, but gives no link" if finished else job.vendor_status


def _other(job: Job, video_id: str) -> str:
    """A further video of a job: what it cost, and where it is or how to get it."""
    known = job.other_videos[video_id]
    cost = f", {known['credits_used']:g} credits" if "credits_used" in known else ""
    cost = ", may be paid" if "paid" in known else cost
    output = known.get("output")
    place = f"s3://{output['bucket']}/{output['key']}" if output else f"attach {job.job_id} {video_id}"
    return f"{video_id}{cost}: {place}"
