"""What can still become of a job, and what a person should do about it, in words.

Knows statuses, errors, the commands' names, and what Step Functions says of an execution. Must not know how a command
is carried out.
"""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING, Any

from shared.executions import is_live
from shared.faults import Paid
from shared.genviral.errors import GenerationFailed, VideoNotFound
from shared.jobs.record import with_fresh_links
from shared.jobs.states import STATES, Status
from shared.polling.policy import Expectation, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.record import Job


def may_be_sending(job: Job) -> bool:
    """Whether an attempt may still be sending the paid call of a job."""
    return job.attempt_runs_until is not None and time.time() < job.attempt_runs_until


def clock_time(moment: int | None) -> str:
    """A moment as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))


def is_at_its_end(job: Job) -> bool:
    """Whether the vendor took the job and then failed to make its video. Only another video could change that."""
    error = job.error or {}
    return (
        job.status is Status.FAILED
        and job.video_id is not None
        and (error.get("error"), error.get("paid")) == (GenerationFailed.__name__, Paid.YES)
    )


def instead(job: Job) -> str:
    """What can be done where a command was refused."""
    if is_at_its_end(job):
        wrong_video = _WRONG_VIDEO.format(job=job.job_id, video=job.video_id)
        return f"Genviral could not make it, so the job is at its end: {_anew(job)}. {wrong_video}."
    if not job.is_terminal:
        return "It goes on; if its execution has ended, use redrive."
    if job.video_id is not None and job.status is not Status.SUCCEEDED:
        return "Use attach."
    advice = STATES[job.status].refused
    return with_fresh_links(advice) if job.links_stripped else advice


_WRONG_VIDEO = "If {video} was attached by mistake: attach {job} VIDEO_ID --replace"


def _anew(job: Job) -> str:
    """How to get another job for the same wish. A row's job is named by what the row asks for."""
    if job.source.get("type") == "batch":
        return "change its row and upload the batch again"
    return "ask for a new job"


def next_step(job: Job, execution: Mapping[str, Any] | None, *, intake_stopped: bool, sweep_by: str) -> str:
    """What comes next, and who has to do it.

    Args:
        execution: Its execution as Step Functions describes it, or None where there is none.
        intake_stopped: Whether no new job may start.
        sweep_by: When the sweep has come to a job without an execution.
    """
    if job.is_terminal:
        step = _at_the_end(job)
        if job.links_stripped:
            step = step.replace("resubmit {job}", "ask for a new job with fresh links, which pays")
    else:
        step = _under_way(job, execution, intake_stopped=intake_stopped, sweep_by=sweep_by)
    return step.format(job=job.job_id, video=shlex.quote(job.known_video) if job.known_video else "VIDEO_ID")


def command_in(job: Job, step: str) -> tuple[str, ...]:
    """Return the first command that a step names, in words; nothing where that still lacks the id of a video.

    For a job that has succeeded: the one that fetches its video.
    """
    if job.status is Status.SUCCEEDED:
        return ("wait", job.job_id)
    ids = ["VIDEO_ID", *([re.escape(shlex.quote(job.known_video))] if job.known_video else [])]
    found = re.search(rf"(attach|redrive|resubmit) {re.escape(job.job_id)}(?: ({'|'.join(ids)}))?", step)
    if found is None:
        return ("start-intake",) if "start-intake" in step else ()
    if found[2] == "VIDEO_ID":
        return ()
    return (found[1], job.job_id, *([job.known_video] if found[2] and job.known_video else []))


def _at_the_end(job: Job) -> str:
    if is_at_its_end(job):
        fetched = job.delivered_others
        if fetched:
            return f"nothing: Genviral could not make this video, but {', '.join(fetched)} is in the bucket"
        return f"Genviral could not make it: {_anew(job)}. {_WRONG_VIDEO}"
    if job.status is Status.FAILED and job.paid is Paid.NO and job.links_stripped:
        return "do what the advice says, then ask for a new job with fresh links"
    if job.status is Status.FAILED and job.paid is Paid.NO:
        return "do what the advice says, then ask for a new job, or: resubmit {job}, which pays"
    if job.status is Status.UNCERTAIN and job.video_id is not None:
        return "the answer came too late, but it came: attach {job} {video}"
    if job.status is Status.UNCERTAIN and job.known_video is not None:
        return (
            "the answer named an id: attach {job}, which is {video}. If Genviral does not know it, search there for "
            "the video; only if there is none: resubmit {job}"
        )
    if may_be_sending(job):
        until = clock_time(job.attempt_runs_until)
        return f"wait until {until} UTC, the paid call may still be under way; then {STATES[job.status].next_step}"
    return STATES[job.status].next_step


def _under_way(job: Job, execution: Mapping[str, Any] | None, *, intake_stopped: bool, sweep_by: str) -> str:
    if is_live(execution):
        return _going_on(job)
    if job.status is Status.INTERRUPTED:
        if job.redrive:
            return _automatically(job, intake_stopped=intake_stopped)
        if (job.error or {}).get("error") == VideoNotFound.__name__:
            return "fix the cause, then: redrive {job}, or if that is the wrong video: attach {job} VIDEO_ID --replace"
        return "fix the cause, then: redrive {job}"
    if execution is None and job.is_to_be_started and job.video_id is None and intake_stopped:
        return "intake is stopped, start-intake lets it begin"
    if execution is None and job.is_to_be_started:
        return f"nothing, the sweep starts it by {sweep_by}"
    return "its execution has ended. If it stays so: redrive {job}"


def _automatically(job: Job, *, intake_stopped: bool) -> str:
    """What becomes of an interrupted job that is redriven automatically."""
    if job.video_id is None and intake_stopped:
        return "intake is stopped, start-intake lets it go on"
    is_due = job.redrive_at is not None and job.redrive_at <= time.time()
    when = "with the next sweep, within 15 minutes" if is_due else f"at {job.redrive['redrive_at']}"
    return f"nothing, it is tried again {when}, and then until {job.redrive['redrive_until']}; sooner: redrive {{job}}"


def _going_on(job: Job) -> str:
    if job.current_retry is not None:
        return f"nothing, it is tried again by {job.current_retry['next_try_by']}"
    if job.status is Status.ON_HOLD and job.next_try_at is not None:
        return f"do what the advice says; the job is tried again at {job.next_try_at}"
    if job.status is Status.PROCESSING and job.submitted_at is not None:
        expected = Expectation(*job.expected_seconds) if job.expected_seconds else None
        return f"nothing, Genviral works on it; {progress(expected, max(0, time.time() - job.submitted_at))}"
    return STATES[job.status].next_step
