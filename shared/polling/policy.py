"""Plan when to poll a running generation. Pure functions, so that they are easy to test and simulate.

A poll costs three state transitions and counts against the vendor's rate limit; a late poll costs a person's time. So
the polls of a job are planned when it is submitted, from how long its model's last generations took: dense where it is
likely to finish, none elsewhere. The known durations are blended with a guess that holds for any model. At first there
is only this guess; its weight falls with each known duration. Must not know AWS.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# Time is divided into cells, each 4 % longer than the one before: from 5 seconds to about 2.4 hours.
_RATIO = 1.04
_EDGES = [5 * _RATIO**index for index in range(191)]
_MIDDLES = [edge * math.sqrt(_RATIO) for edge in _EDGES[:-1]]
_CELLS = len(_MIDDLES)

# The log-normal guess about an unknown model. Resellers of the same models quote 200 s to 15 minutes; short clips of
# small models take less.
_GUESS_MEDIAN, _GUESS_SPREAD = 200.0, 0.9
_GUESS_WORTH = 3.0
"""The guess initially weighs as much as this many generations; its weight falls with each real one."""

_WORTH_A_POLL = 0.036
"""A delay of this share of the time until the poll is as bad as one more poll; twice the delay is four times as bad."""
_NEIGHBOURS = 5
_BLUR = (0.04, 0.15)
"""A known duration stands for durations around it: up to its fifth neighbours, within these shares of itself."""
_JITTER = 0.04
"""A plan is stretched or shrunk by up to this share, which is about the distance of its polls. So jobs that started
together are polled one after the other, and each plan stays as good as it was."""
_ENOUGH = 0.995
"""A plan ends where this share of jobs has finished; later polls follow at a fixed share of the time waited."""
_GROWTH = 0.15
_UNSEEN = 0.25
"""How long before a poll a generation is assumed to have ended at most, as a share of the time until the poll. A larger
share notices sooner that a model became faster; a smaller one causes fewer early polls otherwise."""
_FEW = 5
"""With fewer durations than this there is no estimate."""
_DEADLINE_FACTOR, _LONGEST_DEADLINE = 4.0, 86_400
"""A job is late after this many times the time in which nine of ten finish, or after a day if that is sooner."""


class Expectation(NamedTuple):
    """How long half of the generations take at most, and nine of ten, in whole seconds."""

    p50: int
    p90: int


def expectation(durations: Sequence[float]) -> Expectation | None:
    """Estimate how long a generation takes; None while too few durations are known.

    Args:
        durations: How long the last generations took, in seconds.
    """
    if len(durations) < _FEW:
        return None
    deciles = quantiles(durations, n=10, method="inclusive")
    return Expectation(round(deciles[4]), round(deciles[8]))


def deadline(expected: Expectation | None, floor: float) -> int:
    """Return how long a generation may take before it counts as stuck, in seconds.

    Args:
        expected: How long it should take, if that is known.
        floor: The deadline is never shorter, in seconds.
    """
    return round(max(floor, min(_DEADLINE_FACTOR * expected.p90, _LONGEST_DEADLINE) if expected else 0))


def progress(expected: Expectation | None, elapsed: float) -> str:
    """Describe the remaining time to a person who waits. It depends on the elapsed time only, so it never goes back.

    Args:
        expected: What was expected when the job was submitted.
        elapsed: Seconds since then.
    """
    if expected is None:
        return "no estimate yet: too few videos like this one so far"
    left = expected.p50 - elapsed
    if elapsed > max(expected.p90, expected.p50 * (1 + _BLUR[1])):
        return "taking longer than usual"
    if left < 10:
        return "should finish any moment"
    if left < 90:
        return f"about {math.ceil(left / 10) * 10} s left"
    return f"about {math.ceil(left / 60)} min left"


def measured(unfinished: float, finished: float) -> float:
    """Estimate how long a generation took, in seconds: the middle between its last two polls.

    Args:
        unfinished: When a poll last found it unfinished, in seconds since the submission. 0 if none did.
        finished: When a poll found it finished.
    """
    return (max(unfinished, finished * (1 - _UNSEEN * 2)) + finished) / 2


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """How densely to poll, in seconds.

    Args:
        floor: The shortest wait.
        cap: The longest wait, except for a `Retry-After`.
    """

    floor: float
    cap: float

    def plan(self, durations: Sequence[float], chance: float) -> list[int]:
        """Plan when to poll, in whole seconds since the submission.

        Args:
            durations: How long the last generations of this kind took, in seconds. May be empty.
            chance: A random number from 0 up to 1, which spreads jobs that started together.
        """
        stretch = 1 + _JITTER * (2 * chance - 1)
        polls: list[int] = []
        for poll in _cheapest(_likelihood(durations), self.floor):
            second = round(poll * stretch)
            if second >= (polls[-1] if polls else 0) + self.floor:
                polls.append(second)
        return polls

    def wait(self, plan: Sequence[int], elapsed: float, retry_after: float | None = None) -> int:
        """Return how many seconds to wait until the next poll. A Wait state takes whole seconds.

        Args:
            plan: What `plan` returned for this job. After its end, waits grow with the time already waited.
            elapsed: Seconds since the submission.
            retry_after: Seconds the vendor asked for. They override the plan and the cap, but not the floor: endless
                polls at one a second would fill the execution's history.
        """
        if retry_after is not None:
            return max(1, round(max(retry_after, self.floor)))
        index = bisect_right(plan, elapsed)
        wait = plan[index] - elapsed if index < len(plan) else elapsed * _GROWTH
        return max(1, round(min(max(wait, self.floor), self.cap)))


def _likelihood(durations: Sequence[float]) -> list[float]:
    """Return the probability that a generation finishes in each cell. The sum is 1."""
    worth = _GUESS_WORTH / (len(durations) + 1)
    cells = [worth * share for share in _GUESS]
    logs = sorted(math.log(max(seconds, _EDGES[0])) for seconds in durations)
    for index, log in enumerate(logs):
        first, last = index - _NEIGHBOURS, index + _NEIGHBOURS
        near = (logs[min(last, len(logs) - 1)] - logs[max(first, 0)]) / 2 if len(logs) > _NEIGHBOURS else math.inf
        blur = min(max(near, _BLUR[0]), _BLUR[1])
        low, high = _cell(log - blur), _cell(log + blur)
        for cell in range(low, high + 1):
            cells[cell] += 1 / (high - low + 1)
    total = sum(cells)
    return [share / total for share in cells]


def _cell(log: float) -> int:
    return min(max(int((log - math.log(_EDGES[0])) / math.log(_RATIO)), 0), _CELLS - 1)


def _cheapest(likelihood: Sequence[float], floor: float) -> list[float]:
    """Choose the edges at which to poll so that polls and delays together cost least, by dynamic programming.

    This is the inspection problem of reliability theory (Barlow, Hunter and Proschan, 1963). What a plan costs after a
    poll does not depend on the polls before, so the best plan is found from its end to its beginning.
    """
    # Sums of 1, x and x² over all cells before an edge give the mean of (1 - x/poll)² over any range of cells.
    ended, first, second = (
        [0.0, *accumulate(share * middle**power for share, middle in zip(likelihood, _MIDDLES, strict=True))]
        for power in (0, 1, 2)
    )
    cost, following = [0.0] * (_CELLS + 1), [_CELLS] * (_CELLS + 1)
    for now in range(_CELLS - 1, -1, -1):
        best, earliest = math.inf, (_EDGES[now] if now else 0) + floor
        for poll in range(now + 1, _CELLS + 1):
            at = _EDGES[poll]
            if at < earliest and poll < _CELLS:
                continue
            delay = (
                ended[poll] - ended[now] - 2 * (first[poll] - first[now]) / at + (second[poll] - second[now]) / at**2
            ) / _WORTH_A_POLL**2
            if delay > best:
                break
            if (total := 1 - ended[now] + delay + cost[poll]) < best:
                best, following[now] = total, poll
        cost[now] = best
    polls, now = [], 0
    while now < _CELLS and ended[now] < _ENOUGH:
        now = following[now]
        polls.append(_EDGES[now])
    return polls


def _guess() -> list[float]:
    weights = [math.exp(-((math.log(middle / _GUESS_MEDIAN) / _GUESS_SPREAD) ** 2) / 2) for middle in _MIDDLES]
    return [weight / sum(weights) for weight in weights]


_GUESS = _guess()
