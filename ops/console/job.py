"""Show one job: what is known of it, its way so far, what comes next, and what a person can do with it. Only reads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.console import deciding
from ops.console.course import Course, timeline
from ops.console.jobs import row
from ops.console.session import is_laptop, time_scale
from ops.showing import look_at
from shared.executions import is_live
from shared.jobs.identity import turn_of
from shared.jobs.links import without_secrets
from shared.jobs.notifications import notification_for, page_of_execution, page_of_object
from shared.jobs.record import notice_of
from shared.jobs.states import STATES
from shared.requests.resolve import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.console.laptop import Inbox
    from ops.showing import Shown
    from ops.stack import Stack
    from shared.jobs.record import Job

_MOST_EVENTS = 5000


def shown(stack: Stack, inbox: Inbox | None, call: Call) -> dict[str, Any]:
    """Return all that there is to know of a job.

    Args:
        inbox: The notifications that came, on a laptop.

    Raises:
        NotFound: There is no such job.
    """
    look = look_at(stack, call.path["job_id"])
    job, (request, is_shortened) = look.job, _request(stack, look.job)
    course = _course(stack, look)
    lives, last = is_live(look.execution), course.path[-1] if course.path else None
    return {
        "job": {**row(job), **look.document()},
        "facts": look.facts(),
        "next_step": look.next_step,
        "next_command": list(look.next_command),
        "request": request,
        "request_is_shortened": is_shortened,
        "asked": _asked(request),
        "video": _video(job),
        "path": course.path,
        "present": last if lives else None,
        "stopped_in": None if lives or job.is_terminal else last,
        "timeline": timeline(job.timeline, course.entries),
        "next_poll_at": course.next_poll_at if lives else None,
        "notification": notification(job, inbox),
        "links": _links(stack, look),
        "commands": deciding.commands(job, look.execution),
    }


def notification(job: Job, inbox: Inbox | None) -> dict[str, Any] | None:
    """Return the notification about a job in its present status, as it was sent; None where none was.

    Where no inbox has it, it is built once more from the record, as the function that sent it did.
    """
    if not STATES[job.status].metric or job.notice_due is not None:
        return None
    notice = notice_of(job.status, turn_of(job.execution or ""))
    built = notification_for(replace(job, notice_due=notice))
    if not job.is_terminal:
        del built.message["notification_id"]  # it also names the moment, which the record does not keep
    return {
        "subject": built.subject,
        "text": built.text,
        "message": (inbox and inbox.of_job(job.job_id, job.status)) or built.message,
        "attributes": built.attributes,
    }


def _request(stack: Stack, job: Job) -> tuple[dict[str, Any] | None, bool]:
    """Return what was asked for, without what opens its links, and whether there was something that opens them.

    A job that was not sent may have it in its file only.
    """
    text = job.request or _file_of(stack, job)
    try:
        asked = json.loads(text or "null")
        request = without_secrets(asked)
    except (ValueError, RecursionError):  # a file that is no request; its job's error says so
        return None, False
    return (request, job.links_stripped or request != asked) if isinstance(request, dict) else (None, False)


def _file_of(stack: Stack, job: Job) -> bytes | None:
    """Return the request file or the row that a job was made of; None where it is not there, or may not be read."""
    source = job.source
    if source.get("type") == "request":
        place = {"Key": source["key"], **({"VersionId": source["version_id"]} if source.get("version_id") else {})}
    elif source.get("type") == "batch" and "plan" in source:
        first, length = source["offset"], source["length"]
        place = {"Key": source["plan"], "Range": f"bytes={first}-{first + length - 1}"}
    else:
        return None
    try:
        body: bytes = stack.s3.get_object(Bucket=stack.uploads, **place)["Body"].read(MAX_DOCUMENT_BYTES)
    except ClientError:
        return None
    return body


def _asked(request: dict[str, Any] | None) -> dict[str, Any] | None:
    """What was asked of the video, to be compared with what came."""
    params = (request or {}).get("params") or {}
    names = {
        "seconds": "duration_seconds",
        "resolution": "resolution",
        "aspect": "aspect_ratio",
        "fps": "fps",
        "audio": "generate_audio",
    }
    asked = {name: params[param] for name, param in names.items() if param in params}
    return asked or None


def _video(job: Job) -> dict[str, Any] | None:
    output = job.output
    if output is None:
        return None
    names = {
        "width": "width",
        "height": "height",
        "seconds": "duration_seconds",
        "bytes": "bytes",
        "codec": "video_codec",
        "audio_codec": "audio_codec",
        "content_type": "content_type",
        "differs": "differs",
    }
    facts = {name: output[field] for name, field in names.items() if field in output}
    return {"url": row(job)["thumbnail"]["url"], **facts}


def _course(stack: Stack, look: Shown) -> Course:
    """Read the execution's history. Without the right to read it, the record alone tells the job's course."""
    if look.execution is None:
        return Course()
    executions = stack.executions
    try:
        events = executions.history(executions.arn_of(look.job), _MOST_EVENTS)
    except ClientError:
        return Course()
    return Course.of(events, time_scale=time_scale() or 1.0)


def _links(stack: Stack, look: Shown) -> dict[str, str | None] | None:
    """Return the pages of AWS's console about a job; None on a laptop, which has none."""
    if is_laptop():
        return None
    arn, source, output = stack.executions.arn_of(look.job), look.job.source, look.job.output
    return {
        "execution": page_of_execution(arn) if look.execution else None,
        "upload": page_of_object(arn, source["bucket"], source["key"]) if "key" in source else None,
        "video": page_of_object(arn, output["bucket"], output["key"]) if output else None,
    }
