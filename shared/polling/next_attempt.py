"""When something happens next to a job that does not move, for people: the latest moment, not the exact one.

Knows how the state machine repeats a poll and a delivery, and how often the sweep comes; tests hold both against the
definition and the template. Must not know how anything is written or sent.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from shared.faults import Fault
    from shared.jobs.record import Job

SWEEP_SECONDS = 900
"""How often the sweep comes."""


class Backoff(NamedTuple):
    """How long the state machine waits at most before it repeats a step: doubled at each try. In seconds."""

    first: int
    longest: int


USUAL = Backoff(5, 300)
BACKOFFS = {"AwsCallFailed": Backoff(2, 300)}
"""Name of an error → its backoff in `Poll` and `Deliver`, where it is not the usual one."""


def retry_of(job: Job, fault: Fault, wait_seconds: float | None = None) -> dict[str, Any]:
    """What a job's record says about a step that failed and will be repeated.

    Args:
        job: The job as it was before.
        fault: Why the step failed.
        wait_seconds: How long the state machine waits, where it is not left to its backoff.

    Returns:
        `error`; how many `tries` failed one after another, and `since` when; `next_try_by`.
    """
    before = job.current_retry or {"tries": 0, "since": from_now()}
    tries = before["tries"] + 1
    if wait_seconds is None:
        backoff = BACKOFFS.get(type(fault).__name__, USUAL)
        wait_seconds = min(backoff.longest, backoff.first * 2 ** min(tries - 1, 20))
    return {
        "error": {"error": type(fault).__name__, "code": fault.error_code, "message": fault.message},
        "tries": tries,
        "since": before["since"],
        "next_try_by": from_now(wait_seconds),
    }


def sweep_by(job: Job, quiet_seconds: int) -> str:
    """When the sweep has come to a job that has no execution.

    Args:
        job: The job.
        quiet_seconds: The sweep leaves jobs alone that changed less long ago, in seconds.
    """
    quiet_for = time.time() - (job.changed_at or 0)
    return from_now(max(0.0, quiet_seconds - quiet_for) + SWEEP_SECONDS)


def from_now(seconds: float = 0) -> str:
    """So many seconds from now, as records write moments: ISO 8601 in UTC."""
    then = datetime.fromtimestamp(time.time() + seconds, UTC)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
