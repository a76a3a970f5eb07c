"""When to look at a running generation: pure functions, so that they can be read, tested and simulated.

A look costs three state transitions and counts against the vendor's rate limit; a late look costs a person's time. So
the looks at one job are planned when it is submitted, from how long its model's last generations took: dense where it
is likely to finish, none where it is not. What is known about a model is blended with a guess about any model, which
is all there is at first and soon counts for little. Knows time and chance only; must not know AWS or the vendor.
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

# Time in cells that each are 4 % longer than the one before: from 5 seconds to about 2.4 hours.
_RATIO = 1.04
_EDGES = [5 * _RATIO**index for index in range(191)]
_MIDDLES = [edge * math.sqrt(_RATIO) for edge in _EDGES[:-1]]
_CELLS = len(_MIDDLES)

# A guess about a model that nothing is known of, log-normal. Resellers of the same models quote 200 s to 15 minutes;
# short clips of small models take less.
_GUESS_MEDIAN, _GUESS_SPREAD = 200.0, 0.9
_GUESS_WORTH = 3.0
"""So many generations' worth of trust the guess starts with; each real one takes its share of it away."""

_WORTH_A_LOOK = 0.036
"""A delay of this share of the time until the look is as bad as one look more; twice the delay is four times as bad."""
_NEIGHBOURS = 5
_BLUR = (0.04, 0.15)
"""A duration seen stands for durations around it: as far as its fifth neighbours, within these shares of itself."""
_JITTER = 0.04
"""A plan is stretched or shrunk by up to this share: about the distance of its looks, so that jobs that started
together are looked at one after the other, while each plan stays as good as it was."""
_ENOUGH = 0.995
"""A plan ends where so many of the jobs are finished; later looks follow at a fixed share of the time waited."""
_GROWTH = 0.15
_UNSEEN = 0.25
"""How far before a look a generation may have ended for what is learned from it, as a share of the time until then.
The more, the sooner a model that became faster is noticed; the less, the fewer looks come too early otherwise."""
_FEW = 5
"""With fewer durations than this, nothing is said about how long it will take."""
_PATIENCE, _LONGEST_PATIENCE = 4.0, 86_400
"""A job is late after so many times the time in which nine of ten are finished, but no later than after a day."""


class Expectation(NamedTuple):
    """How long a generation takes, in whole seconds: half of them, and nine of ten."""

    p50: int
    p90: int


def expectation(durations: Sequence[float]) -> Expectation | None:
    """What to tell people to expect, or None while too little is known.

    Args:
        durations: How long the last generations took, in seconds.
    """
    if len(durations) < _FEW:
        return None
    deciles = quantiles(durations, n=10, method="inclusive")
    return Expectation(round(deciles[4]), round(deciles[8]))


def deadline(expected: Expectation | None, floor: float) -> int:
    """How long a generation may take before it counts as stuck, in seconds.

    Args:
        expected: How long it should take, if that is known.
        floor: The deadline is never shorter, in seconds.
    """
    return round(max(floor, min(_PATIENCE * expected.p90, _LONGEST_PATIENCE) if expected else 0))


def progress(expected: Expectation | None, elapsed: float) -> str:
    """What to tell a person who waits. It never goes backwards, because it depends on the elapsed time alone.

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
    """How long a generation took, as far as looks can tell, in seconds: the middle between the last two.

    Args:
        unfinished: When it was last seen unfinished, in seconds since the submission. 0 where it never was.
        finished: When it was seen finished.
    """
    return (max(unfinished, finished * (1 - _UNSEEN * 2)) + finished) / 2


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """How densely to poll, in seconds.

    Args:
        floor: No wait is shorter.
        cap: No wait is longer, but for a `Retry-After`.
    """

    floor: float
    cap: float

    def plan(self, durations: Sequence[float], chance: float) -> list[int]:
        """When to look, in whole seconds since the submission.

        Args:
            durations: How long the last generations of this kind took, in seconds. None are needed.
            chance: A number from 0 up to 1; spreads jobs that started together.
        """
        stretch = 1 + _JITTER * (2 * chance - 1)
        looks: list[int] = []
        for look in _cheapest(_likelihood(durations), self.floor):
            second = round(look * stretch)
            if second >= (looks[-1] if looks else 0) + self.floor:
                looks.append(second)
        return looks

    def wait(self, plan: Sequence[int], elapsed: float, retry_after: float | None = None) -> int:
        """Seconds to wait now, while the video is not finished. A Wait state takes whole seconds.

        Args:
            plan: What `plan` returned for this job. Where it is over, waits grow with the time already waited.
            elapsed: Seconds since the submission.
            retry_after: Seconds the vendor asked for. They win over the plan and the cap, not over the floor: looks
                without an end at one a second would fill the execution's history.
        """
        if retry_after is not None:
            return max(1, round(max(retry_after, self.floor)))
        index = bisect_right(plan, elapsed)
        wait = plan[index] - elapsed if index < len(plan) else elapsed * _GROWTH
        return max(1, round(min(max(wait, self.floor), self.cap)))


def _likelihood(durations: Sequence[float]) -> list[float]:
    """How likely a generation is to finish in each cell; sums up to 1."""
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
    """The edges at which to look so that looks and delays together cost least, by dynamic programming.

    The inspection problem of reliability theory (Barlow, Hunter and Proschan, 1963): what a plan costs from one look
    on does not depend on the looks before, so the best plan is found from its end to its beginning.
    """
    # Sums over all cells before an edge, of 1, x and x²: with them the mean of (1 - x/look)² over any cells is at hand.
    ended, first, second = (
        [0.0, *accumulate(share * middle**power for share, middle in zip(likelihood, _MIDDLES, strict=True))]
        for power in (0, 1, 2)
    )
    cost, following = [0.0] * (_CELLS + 1), [_CELLS] * (_CELLS + 1)
    for now in range(_CELLS - 1, -1, -1):
        best, earliest = math.inf, (_EDGES[now] if now else 0) + floor
        for look in range(now + 1, _CELLS + 1):
            at = _EDGES[look]
            if at < earliest and look < _CELLS:
                continue
            delay = (
                ended[look] - ended[now] - 2 * (first[look] - first[now]) / at + (second[look] - second[now]) / at**2
            ) / _WORTH_A_LOOK**2
            if delay > best:
                break
            if (total := 1 - ended[now] + delay + cost[look]) < best:
                best, following[now] = total, look
        cost[now] = best
    looks, now = [], 0
    while now < _CELLS and ended[now] < _ENOUGH:
        now = following[now]
        looks.append(_EDGES[now])
    return looks


def _guess() -> list[float]:
    weights = [math.exp(-((math.log(middle / _GUESS_MEDIAN) / _GUESS_SPREAD) ** 2) / 2) for middle in _MIDDLES]
    return [weight / sum(weights) for weight in weights]


_GUESS = _guess()
