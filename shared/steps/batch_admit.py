"""Whether a batch's row may start now: not while intake is stopped, and not where its job is known already.

Knows the store and the switch. Must not know batches, Lambda, or how an execution is started. That a known job is not
started again saves an execution; what keeps it from being paid for twice is its record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.transitions import JobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Lets rows in.

    Args:
        store: Where jobs are kept.
        switch: Whether new jobs may start.
        wait_seconds: How long a row waits before it asks again, in seconds.
    """

    store: JobStore
    switch: IntakeSwitch
    wait_seconds: int

    def admit(self, job_id: str) -> dict[str, Any]:
        """Say what a row does next.

        Args:
            job_id: The row's job.

        Returns:
            `next` is `start`, `known` or `wait`, and then for `wait_seconds`.
        """
        return {"next": self._next(job_id), "wait_seconds": self.wait_seconds}

    def _next(self, job_id: str) -> str:
        if self.store.get(job_id) is not None:
            return "known"
        return "wait" if self.switch.is_stopped else "start"
