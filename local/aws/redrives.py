"""Decide which executions can be redriven, by AWS's rules for RedriveExecution.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

REDRIVABLE_PERIOD = timedelta(days=14)
LONGEST_EXECUTION = timedelta(days=365)
MOST_EVENTS = 24_999
"""The history must be shorter than this, because a redrive adds its own event and one more."""
_TOKENS, _TOKEN_LIFE = 10, timedelta(minutes=15)


def refusal(*, status: str, started: datetime, stopped: datetime | None, events: int, now: datetime) -> str | None:
    """Return the `redriveStatusReason` of an execution that cannot be redriven, or None.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html

    Args:
        status: The execution's status.
        started: Its start time.
        stopped: Its end time, if it has ended.
        events: The length of its history.
        now: The current time.
    """
    if stopped is None or status in ("RUNNING", "SUCCEEDED", "PENDING_REDRIVE"):
        return f"Execution is {status} and cannot be redriven"
    if events >= MOST_EVENTS:
        return "Execution history event limit exceeded"
    if now - started > LONGEST_EXECUTION:
        return "Execution has exceeded the max execution time"
    if now - stopped > REDRIVABLE_PERIOD:
        return "Execution redrivable period exceeded"
    return None


@dataclass
class Redrives:
    """The redrives of one execution."""

    count: int = 0
    last: str | None = None
    """The time of the last one, ISO 8601."""
    _tokens: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def repeated(self, token: str | None, now: datetime) -> str | None:
        """Return the time of the redrive with this client token, or None if the token is unknown or too old."""
        used, moment = self._tokens.get(token or "", (None, None))
        return moment if used is not None and now - used <= _TOKEN_LIFE else None

    def add(self, token: str | None, now: datetime) -> str:
        """Count a redrive and return its time, ISO 8601."""
        self.count += 1
        self.last = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if token:
            self._tokens[token] = (now, self.last)
            while len(self._tokens) > _TOKENS:
                del self._tokens[next(iter(self._tokens))]
        return self.last
