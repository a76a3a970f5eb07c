"""Say what a person decides before something is paid for: the questions, whoever asks them.

The command line asks on a terminal, the console on its page; both ask the same. Must not know either.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ops.exits import Refused
from shared.faults import Paid
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

_COUNTED = 1000


def before_resubmit(job: Job) -> str:
    """Return what to ask before the paid call of a job is sent again."""
    if job.claim is None:
        return "The job was not paid for. Sending it again pays for it."
    return "The job may be paid for already. Sending it again may pay a second time."


def before_redrive(job: Job, switch: IntakeSwitch) -> str:
    """Return what to ask before a job without a video goes on.

    Raises:
        Refused: Intake is stopped, so it must not.
    """
    if switch.is_stopped:
        raise Refused("Intake is stopped, and this job has no video yet. Redrive it after start-intake.")
    return redrive_question(job)


def redrive_question(job: Job) -> str:
    """Return what a redrive of a job without a video means for money."""
    if job.claim is None:
        return "The job is not paid for yet. Going on sends its paid call, once."
    return (
        "The job may be paid for already. Going on sends nothing, unless the call before turns out to be refused: then "
        "it sends the paid call, once."
    )


def before_redrive_all(jobs: Sequence[Job]) -> str:
    """Return what to ask before many jobs go on."""
    unpaid = sum(job.paid is Paid.NO for job in jobs)
    unknown = sum(job.paid is Paid.UNKNOWN for job in jobs)
    return (
        f"Jobs to redrive: {len(jobs)}. Not paid for yet, so that their paid call is sent: {unpaid}. Perhaps paid for, "
        f"so that it is sent only where the call before turns out to be refused: {unknown}."
    )


def before_start(store: JobStore) -> tuple[int, str | None]:
    """Return how many jobs wait for intake, and what to ask before they start; None where none waits."""
    waiting = len(list(itertools.islice(store.in_status(Status.QUEUED), _COUNTED)))
    if not waiting:
        return 0, None
    many = f"{waiting} or more" if waiting == _COUNTED else str(waiting)
    return waiting, f"Jobs that are queued now: {many}. Each will be sent and paid for."
