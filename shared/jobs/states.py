"""Define the life of a job: one row for each status, with all that the rest of the project needs to know of it.

The code checks transitions against this table, and takes metrics, sentences and the sweep's duties from it. The docs
print it and the tests walk it. A new status is a member of `Status` and a row. Knows nothing of AWS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Where a job is. The last five are terminal."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    PROCESSING = "processing"
    ON_HOLD = "on_hold"
    DELIVERING = "delivering"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What there is to know of a status.

    Attributes:
        leads_to: What may follow. A terminal status is left by an operator only.
        metric: Counts the jobs that enter it, each with a notification. Empty: nobody is notified.
        summary: The notification's sentence.
        next_step: What comes next, for an operator; `{job}` and `{video}` stand for the ids.
        refused: What an operator can do instead where a command was refused. Terminal statuses only.
        commands: The operator's commands that take a job out of it, of `attach` and `resubmit`.
        list_order: Its place among those that an operator's list shows first. 0: it is not one of them.
        gauge: The metric of the jobs that are there now. Empty: the status is terminal.
        is_swept: Whether the sweep checks that its jobs have a live execution.
    """

    leads_to: frozenset[Status]
    next_step: str = "nothing, it goes on automatically"
    metric: str = ""
    summary: str = ""
    refused: str = ""
    commands: tuple[str, ...] = ()
    list_order: int = 0
    gauge: str = ""
    is_swept: bool = False


MOVING = "JobsOpen"
"""The gauge of the statuses that a job should leave without anybody's help."""
_ANY_TIME = frozenset({Status.ON_HOLD, Status.INTERRUPTED, Status.FAILED, Status.CANCELED})

STATES: dict[Status, State] = {
    Status.QUEUED: State(
        # The claim is taken before the paid POST; a job that fails earlier (a bad recipe) never becomes `submitting`.
        # `processing` where the vendor's answer comes after another attempt took the claim over and gave it back.
        # `uncertain` where an attempt that another one reported as lost gives its claim back after all.
        leads_to=_ANY_TIME | {Status.SUBMITTING, Status.PROCESSING, Status.UNCERTAIN},
        next_step="nothing, it is sent automatically",
        gauge=MOVING,
        is_swept=True,
    ),
    Status.SUBMITTING: State(
        # Back to `queued` when the vendor definitely refused; `uncertain` when nobody knows.
        leads_to=_ANY_TIME | {Status.QUEUED, Status.PROCESSING, Status.UNCERTAIN},
        next_step="nothing, the paid call is under way",
        gauge=MOVING,
        is_swept=True,
    ),
    Status.PROCESSING: State(
        leads_to=_ANY_TIME | {Status.DELIVERING, Status.TIMED_OUT},
        gauge=MOVING,
        is_swept=True,
    ),
    Status.ON_HOLD: State(
        # `uncertain` where the refusal that held it could not give its claim back.
        leads_to=_ANY_TIME
        | {Status.SUBMITTING, Status.PROCESSING, Status.DELIVERING, Status.UNCERTAIN, Status.TIMED_OUT},
        next_step="do what the advice says; the job goes on automatically",
        metric="JobsHeld",
        summary="The job waits: the Genviral account needs attention.",
        list_order=4,
        gauge="JobsOnHold",
        is_swept=True,
    ),
    Status.DELIVERING: State(
        leads_to=_ANY_TIME | {Status.PROCESSING, Status.SUCCEEDED, Status.TIMED_OUT},
        next_step="nothing, the video is being copied",
        gauge=MOVING,
        is_swept=True,
    ),
    Status.INTERRUPTED: State(
        # A redriven job goes on from wherever it was.
        leads_to=_ANY_TIME
        | {Status.QUEUED, Status.SUBMITTING, Status.PROCESSING, Status.DELIVERING, Status.SUCCEEDED}
        | {Status.UNCERTAIN, Status.TIMED_OUT},
        next_step="nothing, it runs again",
        metric="JobsInterrupted",
        summary="The job was interrupted; nothing is lost.",
        commands=("attach",),
        list_order=3,
        gauge="JobsAwaitingRedrive",  # the sweep finds those that are due in an index of their own
    ),
    Status.SUCCEEDED: State(
        # Where the vendor was paid for another video as well: that one is fetched, too.
        leads_to=frozenset({Status.PROCESSING}),
        next_step="nothing, the video is in the bucket",
        metric="JobsSucceeded",
        summary="The video is ready.",
        refused="Its video is in the bucket.",
    ),
    Status.FAILED: State(
        leads_to=frozenset({Status.PROCESSING, Status.QUEUED}),
        next_step="do what the advice says, then: attach {job} {video}",
        metric="JobsFailed",
        summary="The video could not be made.",
        refused="Use resubmit, or attach if Genviral has a video.",
        commands=("attach", "resubmit"),
    ),
    Status.UNCERTAIN: State(
        leads_to=frozenset({Status.PROCESSING, Status.QUEUED}),
        next_step="search for the video at Genviral, then: attach {job} {video}, or: resubmit {job}",
        metric="JobsUncertain",
        summary="Nobody knows whether the video was paid for; a person must decide.",
        refused="Use attach or resubmit.",
        commands=("attach", "resubmit"),
        list_order=1,
    ),
    Status.TIMED_OUT: State(
        leads_to=frozenset({Status.PROCESSING}),
        next_step="attach {job} {video}",
        metric="JobsTimedOut",
        summary="The video is paid for, but did not come in time.",
        refused="Use attach.",
        commands=("attach",),
        list_order=2,
    ),
    Status.CANCELED: State(
        leads_to=frozenset({Status.PROCESSING}),
        next_step="nothing, or if Genviral has a video: attach {job} {video}",
        metric="JobsCanceled",
        summary="The video is not followed any more.",
        refused="Use attach if Genviral has a video.",
        commands=("attach",),
    ),
}

OPEN = frozenset(status for status, state in STATES.items() if state.gauge)
TERMINAL = frozenset(Status) - OPEN


def sources_of(target: Status, *, reopen: bool = False) -> frozenset[Status]:
    """Every status a job may come from on its way to `target`.

    Args:
        target: The status to enter.
        reopen: Whether an operator is asking. Only an operator takes a job out of a terminal status.
    """
    return frozenset(
        status for status, state in STATES.items() if target in state.leads_to and (reopen or status not in TERMINAL)
    )
