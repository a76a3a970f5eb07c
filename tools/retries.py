"""Read from a definition how Retry and Catch handle an error: which rule applies, and how long it retries."""

from __future__ import annotations

import math
import random
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_FINAL = {"States.Runtime", "States.DataLimitExceeded"}
_RUNS = 20_000


def rule_for(task: Mapping[str, Any], field: str, error: str) -> dict[str, Any] | None:
    """Return the first rule of `Retry` or `Catch` that matches an error, by its name or by a wildcard."""
    rules: list[dict[str, Any]] = task.get(field, [])
    return next((rule for rule in rules if _matches(rule["ErrorEquals"], error)), None)


def attempts(task: Mapping[str, Any], error: str) -> int:
    """Return how often a state is tried if it always ends with this error."""
    retrier = rule_for(task, "Retry", error)
    return 1 + (retrier["MaxAttempts"] if retrier else 0)


def longest_seconds(retrier: Mapping[str, Any]) -> float:
    """Return the longest total of a retrier's pauses, in seconds."""
    return sum(_caps(retrier))


def first_percentile_seconds(retrier: Mapping[str, Any]) -> float:
    """Return the seconds of pauses that 99 of 100 executions exceed before they give up.

    With the jitter FULL, each pause is uniformly random between 0 and the pause without jitter.
    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html#error-handling-retrying-after-an-error
    """
    if retrier.get("JitterStrategy") != "FULL":
        return longest_seconds(retrier)
    return _first_percentile(tuple(_caps(retrier)))


@cache
def _first_percentile(caps: tuple[float, ...]) -> float:
    rng = random.Random("first percentile")  # noqa: S311 - the same figures in each run
    totals = sorted(sum(rng.uniform(0, cap) for cap in caps) for _ in range(_RUNS))
    return totals[_RUNS // 100]


def _caps(retrier: Mapping[str, Any]) -> list[float]:
    first, rate, most = retrier["IntervalSeconds"], retrier["BackoffRate"], retrier.get("MaxDelaySeconds", math.inf)
    return [min(first * rate**number, most) for number in range(retrier["MaxAttempts"])]


def _matches(named: list[str], error: str) -> bool:
    if error in named:
        return True
    wildcards = {"States.ALL"} if error == "States.Timeout" else {"States.ALL", "States.TaskFailed"}
    return error not in _FINAL and bool(wildcards & set(named))
