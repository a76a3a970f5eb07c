"""Judge a form of `POST /uploads` that is sent again: with the same file, or with another one.

A form pays for one video at most. A job that failed unpaid goes on with another file, so a wrong file can be corrected.
Knows the store and the names of executions; must not know events or how an execution is started.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.executions import execution_arn
from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.errors import FormUsed
from shared.jobs.states import Status
from shared.jobs.transitions import TransitionConflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

MOST_CORRECTIONS = 5
"""How often a form may be corrected. Its holder needs no account, and each failure sends a notification."""


def resent(job: Job, source: Mapping[str, Any], *, sent_at: str, store: JobStore, state_machine_arn: str) -> Job:
    """Find out what a form's file means for the job that the form has had already.

    Args:
        job: The job, as it is.
        source: Where the file is: `bucket`, `key`, `version_id`, `etag`.
        sent_at: When it was sent, ISO 8601.

    Returns:
        The job: as it was where this is the same file, or queued again with this one.

    Raises:
        FormUsed: This is another file, and the job can take no other one.
    """
    if _is_same(job, source):
        return job
    turn = identity.number_of_turn(job.execution or "") + 1
    failed_at = job.timeline.get(Status.FAILED.value)
    is_correction = (
        job.status is Status.FAILED and job.paid is Paid.NO and failed_at is not None and _is_later(sent_at, failed_at)
    )
    if not is_correction or turn > MOST_CORRECTIONS:
        raise _used(job)
    later = execution_arn(state_machine_arn, identity.later_execution(job.job_id, turn))
    try:
        return store.correct(job, source=source, execution=later)
    except TransitionConflict as refused:
        if refused.current is not None and _is_same(refused.current, source):
            return refused.current
        raise _used(refused.current or job) from None


def _is_same(job: Job, source: Mapping[str, Any]) -> bool:
    """Whether it is the job's own file, or a copy of it that the same form sent."""
    return any(source.get(name) == job.source.get(name) is not None for name in ("version_id", "etag"))


def _is_later(sent_at: str, failed_at: str) -> bool:
    """Whether a file was sent after its job had failed. An event gives seconds, a record gives milliseconds."""
    return datetime.fromisoformat(sent_at) >= datetime.fromisoformat(failed_at).replace(microsecond=0)


def _used(job: Job) -> FormUsed:
    return FormUsed(f"this form was used before; its job {job.job_id} is {job.status} and takes no other file")
