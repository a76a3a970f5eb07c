"""Count what a stack is doing: jobs by status, credits of the day, how long models take, alarms. Only reads.

What changes seldom, or costs more to ask, is asked for every five minutes at most, on a laptop every few seconds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from ops.console.session import is_laptop
from ops.doctor.checks import examine
from ops.doctor.deployment import Deployment
from ops.doctor.findings import State
from ops.facts import waits_for_a_person
from ops.stack import ERRORS
from shared.jobs.states import OPEN, Status

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.stack import Stack
    from shared.jobs.record import Job

_COUNTED = 1000
_LOOKED_AT = 100
_KEPT_SECONDS, _KEPT_ON_LAPTOP = 300, 5
_MAY_WAIT = (Status.ON_HOLD, Status.INTERRUPTED)
_WAIT = (Status.UNCERTAIN, Status.TIMED_OUT)


class Overview:
    """What a stack is doing."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seldom: dict[str, Any] = {}
        self._asked_at = 0.0

    def document(self, _: Call | None = None) -> dict[str, Any]:
        """Return the counts, the day's credits, the models' medians and the alarms."""
        store = self._stack.store
        counted = {status: store.count_some(status, _COUNTED) for status in Status}
        counts = {status.value: many for status, (many, _) in counted.items()}
        return {
            "counts": counts,
            "more": [status.value for status, (_, more) in counted.items() if more],
            "open": sum(counts[status] for status in OPEN),
            "held": counts[Status.ON_HOLD],
            "uncertain": counts[Status.UNCERTAIN],
            "waits_for_person": sum(counts[status] for status in _WAIT) + self._waiting(counts),
            "intake_stopped": self._stack.switch.is_stopped,
            "credits": self._credits(),
            **self._asked_seldom(),
        }

    def _waiting(self, counts: dict[str, int]) -> int:
        """How many of the jobs that may go on by themselves do not."""
        store = self._stack.store
        some = (store.page(status, limit=_LOOKED_AT)[0] for status in _MAY_WAIT if counts[status])
        return sum(waits_for_a_person(job) for jobs in some for job in store.in_full(jobs))

    def _credits(self) -> dict[str, float | None]:
        """What was used today. Nobody counts it where there is no limit."""
        credit = self._stack.credits
        if not credit.limit:
            return {"used_today": None, "limit": None}
        return {"used_today": credit.spent_today(), "limit": credit.limit}

    def _asked_seldom(self) -> dict[str, Any]:
        now = time.monotonic()
        if not self._seldom or now >= self._asked_at + (_KEPT_ON_LAPTOP if is_laptop() else _KEPT_SECONDS):
            self._seldom = {"models": self._models(), "alarms": self._alarms()}
            self._asked_at = now
        return self._seldom

    def _models(self) -> list[dict[str, Any]]:
        """How long the last videos took, by their models: from the accepted request to the video at Genviral."""
        store = self._stack.store
        last, _ = store.page(Status.SUCCEEDED, limit=_LOOKED_AT)
        took: dict[str, list[float]] = defaultdict(list)
        for job in store.in_full(last):
            if job.model_id and (seconds := _seconds(job)) is not None:
                took[job.model_id].append(seconds)
        return [
            {"model_id": model_id, "median_seconds": round(median(seconds), 1), "samples": len(seconds)}
            for model_id, seconds in sorted(took.items())
        ]

    def _alarms(self) -> list[dict[str, str]] | None:
        """The stack's alarms; None on a laptop, which has none, or without the right to see them."""
        if is_laptop():
            return None
        cloudwatch = self._stack.client("cloudwatch")
        try:
            found = cloudwatch.describe_alarms(AlarmNamePrefix=f"{self._stack.name}-", MaxRecords=100)["MetricAlarms"]
        except ERRORS:
            return None
        return [{"name": one["AlarmName"], "state": one["StateValue"], "reason": one["StateReason"]} for one in found]


def _seconds(job: Job) -> float | None:
    begun, ended = job.timeline.get(Status.PROCESSING), job.timeline.get(Status.DELIVERING)
    if begun is None or ended is None:
        return None
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
    return seconds if seconds >= 0 else None


def examined(stack: Stack, _: Call) -> dict[str, Any]:
    """Run every check of `doctor`, which takes seconds, and return what each found."""
    return {
        "findings": [
            {
                "check": result.name,
                "ok": result.state is State.OK,
                "state": result.state.value,
                "message": result.message,
                "advice": result.advice,
            }
            for result in examine(Deployment(stack))
        ]
    }
