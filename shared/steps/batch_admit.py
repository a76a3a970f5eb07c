"""Decide whether a row of a batch may start: not while intake is stopped, and not if its job is known already.

Knows the store and the switch. Must not know batches, Lambda, or how an execution is started. Not
starting a known job again saves an execution; its record is what keeps it from being paid for twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.transitions import JobStore


def admit_row(job_id: str, *, store: JobStore, switch: IntakeSwitch, wait_seconds: int) -> dict[str, Any]:
    """Say what a row of a batch does next.

    Args:
        job_id: The row's job.
        wait_seconds: How long a row waits before it asks again, in seconds.

    Returns:
        `next` is `start`, `known` or `wait`, and then for `wait_seconds`.
    """
    is_known = store.get(job_id) is not None
    following = "known" if is_known else "wait" if switch.is_stopped else "start"
    return {"next": following, "wait_seconds": wait_seconds}
