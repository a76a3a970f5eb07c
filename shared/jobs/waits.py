"""Tell people by when something happens next to a waiting job: the latest moment, not the exact one.

The figures here repeat the state machine's retries and the sweep's schedule. Tests compare them with the definition and
the template.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.faults import Fault
    from shared.jobs.record import Job

SWEEP_SECONDS = 900
"""How often the sweep runs."""


USUAL = (5, 300)
"""A backoff of `Poll` and `Deliver`: the first and the longest wait in seconds. The wait doubles with each try."""
BACKOFFS = {"AwsCallFailed": (2, 300)}
"""Name of an error → its backoff, where it differs from `USUAL`."""


def retry_of(job: Job, fault: Fault, wait_seconds: float | None = None) -> dict[str, Any]:
    """Describe for the job's record that a step failed and will be repeated.

    Args:
        job: The job as it was before.
        fault: Why the step failed.
        wait_seconds: How long the state machine waits, where this is not its backoff.

    Returns:
        `error`, the number of `tries` that failed in a row, `since` when they fail, and `next_try_by`.
    """
    before = job.current_retry or {"tries": 0, "since": from_now()}
    tries = before["tries"] + 1
    if wait_seconds is None:
        first, longest = BACKOFFS.get(type(fault).__name__, USUAL)
        wait_seconds = min(longest, first * 2 ** min(tries - 1, 20))
    return {
        "error": {"error": type(fault).__name__, "code": fault.error_code, "message": fault.message},
        "tries": tries,
        "since": before["since"],
        "next_try_by": from_now(wait_seconds),
    }


def sweep_by(job: Job, quiet_seconds: int) -> str:
    """Return by when the sweep starts a job that has no execution.

    Args:
        quiet_seconds: The sweep skips jobs that changed more recently, in seconds.
    """
    quiet_for = time.time() - (job.changed_at or 0)
    return from_now(max(0.0, quiet_seconds - quiet_for) + SWEEP_SECONDS)


def from_now(seconds: float = 0) -> str:
    """Return the moment that many seconds from now, in ISO 8601 and UTC, as records have it."""
    then = datetime.fromtimestamp(time.time() + seconds, UTC)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
