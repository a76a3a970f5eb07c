"""The life of a job: every status and every move between them, in one table.

The code checks moves against it (`shared.jobs.store`), the docs print it and the tests walk it. Knows nothing of AWS.
"""

from __future__ import annotations

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


_OPEN_ENDS = frozenset({Status.ON_HOLD, Status.INTERRUPTED, Status.FAILED, Status.CANCELED})

MOVES: dict[Status, frozenset[Status]] = {
    # The claim is taken before the paid POST; a job that fails earlier (a bad recipe, say) never becomes `submitting`.
    # `processing` where the vendor's answer comes after another attempt had taken the claim over and given it back.
    # `uncertain` where an attempt that another one had reported as lost gives its claim back after all.
    Status.QUEUED: _OPEN_ENDS | {Status.SUBMITTING, Status.PROCESSING, Status.UNCERTAIN},
    # Back to `queued` when the vendor definitely refused; `uncertain` when nobody knows.
    Status.SUBMITTING: _OPEN_ENDS | {Status.QUEUED, Status.PROCESSING, Status.UNCERTAIN},
    Status.PROCESSING: _OPEN_ENDS | {Status.DELIVERING, Status.TIMED_OUT},
    # `uncertain` where the refusal that held it could not give its claim back.
    Status.ON_HOLD: _OPEN_ENDS
    | {Status.SUBMITTING, Status.PROCESSING, Status.DELIVERING, Status.UNCERTAIN, Status.TIMED_OUT},
    Status.DELIVERING: _OPEN_ENDS | {Status.PROCESSING, Status.SUCCEEDED, Status.TIMED_OUT},
    # A redriven job goes on from wherever it was.
    Status.INTERRUPTED: _OPEN_ENDS
    | {
        Status.QUEUED,
        Status.SUBMITTING,
        Status.PROCESSING,
        Status.DELIVERING,
        Status.SUCCEEDED,
        Status.UNCERTAIN,
        Status.TIMED_OUT,
    },
    # Only an operator leaves these: `attach` (a video is known: go on polling) or `resubmit` (pay again, on purpose).
    Status.UNCERTAIN: frozenset({Status.PROCESSING, Status.QUEUED}),
    Status.TIMED_OUT: frozenset({Status.PROCESSING}),
    Status.FAILED: frozenset({Status.PROCESSING, Status.QUEUED}),
    Status.CANCELED: frozenset({Status.PROCESSING}),
    # Where the vendor was paid for another video as well: that one is fetched, too.
    Status.SUCCEEDED: frozenset({Status.PROCESSING}),
}

TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.UNCERTAIN, Status.TIMED_OUT, Status.CANCELED})
OPEN = frozenset(Status) - TERMINAL
ANNOUNCED = TERMINAL | {Status.ON_HOLD, Status.INTERRUPTED}
"""Those that a notification tells of."""


def sources_of(target: Status, *, reopen: bool = False) -> frozenset[Status]:
    """Every status a job may come from on its way to `target`.

    Args:
        target: The status to enter.
        reopen: Whether an operator is asking. Only an operator takes a job out of a terminal status.
    """
    return frozenset(
        status for status, targets in MOVES.items() if target in targets and (reopen or status not in TERMINAL)
    )
