"""Compare this project's polling with common strategies in a seeded simulation: `make bench-polling`.

Durations come from made-up distributions, and each strategy chooses when to poll. A poll costs money and a part of the
vendor's rate limit, and a late poll costs a person's time. Both are counted. Our own strategy sees only what the state
machine would see (the times of its polls), learns with ten jobs in flight, and starts without knowledge. Knows the
policy (`shared.polling.policy`) and nothing else of the project.

The benchmark also prints a bound: no strategy, not even one that knows the distribution, meets both delay targets with
fewer polls on average. It is the Lagrangian dual of that problem, solved on a grid of 1 % steps.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import math
import random
import statistics
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from shared.polling.durations import SLOTS
from shared.polling.policy import PollingPolicy, measured

PICTURE = Path(__file__).parents[1] / "docs" / "polling.png"
DOLLARS_PER_TRANSITION = 25e-6  # benchmarks/cost.py names the source
TRANSITIONS_PER_POLL = 3
IN_FLIGHT = 10
COLD, WARM, JOBS = 20, 200, 1200
MAX_POLLS, MAX_MEDIAN, MAX_P95 = 6, 0.05, 0.15

# ---- how long generations take ---------------------------------------------------------------------------------------

Generation = Callable[[random.Random, int], tuple[str, float]]
"""Random generator and the job's number → the kind of video (learned separately), and seconds."""


def log_normal(median: float, spread: float, kind: str = "model") -> Generation:
    """Return seconds around a median. About two thirds lie within ± spread, as a share."""
    return lambda rnd, _: (kind, median * math.exp(rnd.gauss(0, spread)))


def either(share: float, one: Generation, other: Generation) -> Generation:
    return lambda rnd, job: (one if rnd.random() < share else other)(rnd, job)


def drifting(rnd: random.Random, job: int) -> tuple[str, float]:
    """Drift from two minutes to four and back, over 500 jobs each way."""
    return "model", 120 * (1 + abs(1 - job / 500 % 2)) * math.exp(rnd.gauss(0, 0.1))


def stepping(rnd: random.Random, job: int) -> tuple[str, float]:
    """Replace the model every 500 jobs by one three times as fast or as slow."""
    return "model", (300 if job // 500 % 2 else 100) * math.exp(rnd.gauss(0, 0.1))


def mixed(rnd: random.Random, job: int) -> tuple[str, float]:
    """Alternate three models."""
    median, spread = ((30, 0.1), (180, 0.15), (900, 0.2))[job % 3]
    return f"model {median}", median * math.exp(rnd.gauss(0, spread))


GENERATIONS: dict[str, Generation] = {
    "short: 30 s ± 10 %": log_normal(30, 0.10),
    "narrow: 60 s ± 8 %": log_normal(60, 0.08),
    "usual: 4 min ± 25 %": log_normal(240, 0.25),
    "wide: 4 min ± 30 %": log_normal(240, 0.30),
    "very wide: 4 min ± 50 %": log_normal(240, 0.50),
    "long: 15 min ± 20 %": log_normal(900, 0.20),
    "bimodal: 75 s or 5 min": either(0.7, log_normal(75, 0.1), log_normal(300, 0.1)),
    "drifting: 2 to 4 min": drifting,
    "stepping: 100 s or 5 min": stepping,
    "mixed: 30 s, 3 min, 15 min": mixed,
}
BOUNDED = [name for name, of in GENERATIONS.items() if of not in (drifting, stepping, mixed)]

# ---- when to poll ----------------------------------------------------------------------------------------------------


class Strategy:
    """Chooses when to poll a job, in seconds since its submission, and learns from the outcome."""

    def polls(self, rnd: random.Random, kind: str, truth: float) -> Iterator[float]:
        raise NotImplementedError

    def learn(self, rnd: random.Random, kind: str, unfinished: float, finished: float) -> None:
        return


@dataclass
class Waits(Strategy):
    """Waits that depend only on chance and on the number of polls."""

    wait: Callable[[random.Random, int], float]

    def polls(self, rnd: random.Random, kind: str, truth: float) -> Iterator[float]:
        return itertools.accumulate(self.wait(rnd, number) for number in itertools.count())


class Former(Strategy):
    """The former waits of this project: a minute, then a growing, jittered wait of at most a minute."""

    def polls(self, rnd: random.Random, kind: str, truth: float) -> Iterator[float]:
        at = 60.0
        while True:
            yield at
            at += round(min(max(at * 0.15 * (0.5 + rnd.random()), 5), 60))


class Oracle(Strategy):
    """Polls right after each job's end."""

    def polls(self, rnd: random.Random, kind: str, truth: float) -> Iterator[float]:
        yield truth


@dataclass
class Learned(Strategy):
    """This project's policy, with a table of durations like the one in DynamoDB."""

    policy: PollingPolicy = field(default_factory=lambda: PollingPolicy(floor=2, cap=600))
    learns: bool = True
    slots: defaultdict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    def polls(self, rnd: random.Random, kind: str, truth: float) -> Iterator[float]:
        plan, at = self._plan(tuple(self.slots[kind].values()), round(rnd.random(), 1)), 0.0
        while True:
            at += self.policy.wait(plan, at)
            yield at

    def learn(self, rnd: random.Random, kind: str, unfinished: float, finished: float) -> None:
        if self.learns:
            self.slots[kind][rnd.randrange(SLOTS)] = measured(unfinished, finished)

    @functools.lru_cache(maxsize=64)  # noqa: B019 - a strategy lives as long as the benchmark
    def _plan(self, durations: tuple[float, ...], chance: float) -> list[int]:
        return self.policy.plan(durations, chance)

    __hash__ = object.__hash__


def durable(rnd: random.Random, number: int) -> float:
    """Yield the durable execution SDK's default waits: 5 s, times 1.5 each time, at most 5 min, plus full jitter."""
    base = min(5 * 1.5**number, 300)
    return round(base + rnd.random() * base)


OURS, COLD_OURS = "this project", "this project, never learning"
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    OURS: Learned,
    COLD_OURS: lambda: Learned(learns=False),
    "this project, before": Former,
    "fixed 5 s (as ComfyUI's API nodes)": lambda: Waits(lambda _rnd, _number: 5),
    "fixed 15 s": lambda: Waits(lambda _rnd, _number: 15),
    "fixed 30 s": lambda: Waits(lambda _rnd, _number: 30),
    "exponential from 5 s": lambda: Waits(lambda _rnd, number: 5 * 2**number),
    "durable functions' default": lambda: Waits(durable),
    "oracle": Oracle,
}

# ---- the simulation --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """The outcome of one job: its duration, the delay from its end to the poll that found it, and its polls."""

    took: float
    delay: float
    polls: int


def simulate(strategy: Strategy, generation: Generation, jobs: int, seed: str) -> list[Outcome]:
    """Simulate jobs in a row, ten at a time."""
    rnd = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))  # noqa: S311
    under_way: deque[tuple[str, float, float]] = deque()
    outcomes = []
    for number in range(jobs):
        kind, took = generation(rnd, number)
        unfinished, finished, polls = 0.0, 0.0, 0
        for at in strategy.polls(rnd, kind, took):
            unfinished, finished, polls = finished, at, polls + 1
            if at >= took:
                break
        outcomes.append(Outcome(took, finished - took, polls))
        under_way.append((kind, unfinished, finished))
        if len(under_way) > IN_FLIGHT:
            strategy.learn(rnd, *under_way.popleft())
    return outcomes


@dataclass(frozen=True)
class Figures:
    """The statistics of many outcomes."""

    polls: float
    median: float
    p95: float
    median_share: float
    p95_share: float
    per_minute: float
    """Polls a minute with 1,000 jobs in flight."""

    @classmethod
    def of(cls, outcomes: list[Outcome]) -> Figures:
        polls = statistics.fmean(one.polls for one in outcomes)
        seconds = sorted(one.delay for one in outcomes)
        shares = sorted(one.delay / one.took for one in outcomes)
        middle, late = len(outcomes) // 2, int(len(outcomes) * 0.95)
        flight = statistics.fmean(one.took + one.delay for one in outcomes)
        return cls(polls, seconds[middle], seconds[late], shares[middle], shares[late], 60_000 * polls / flight)

    @property
    def good(self) -> bool:
        """Tell whether the targets are met, to the printed precision."""
        return (
            round(self.polls, 1) <= MAX_POLLS
            and round(self.median_share, 3) <= MAX_MEDIAN
            and round(self.p95_share, 3) <= MAX_P95
        )


def figures(name: str, generation: Generation, seeds: int) -> dict[str, tuple[Figures, Figures]]:
    """Return strategy → figures of its first jobs, and of those after 200."""
    found = {}
    for strategy, make in STRATEGIES.items():
        cold, warm = [], []
        for seed in range(seeds):
            outcomes = simulate(make(), generation, JOBS, f"{name}/{seed}")
            cold += outcomes[:COLD]
            warm += outcomes[WARM:]
        found[strategy] = Figures.of(cold), Figures.of(warm)
    return found


# ---- the bound -------------------------------------------------------------------------------------------------------


def bound(generation: Generation, step: float = 0.01) -> float:
    """Return the fewest polls, on average, with which any strategy could meet both delay targets.

    For every price of missing a target, the cost of the cheapest plan minus that of the allowed misses is a lower bound
    (weak duality). The highest one is returned.
    """
    rnd = random.Random(1)  # noqa: S311
    logs = sorted(math.log(generation(rnd, 0)[1]) for _ in range(100_000))
    low, cells = logs[0] - step, math.ceil((logs[-1] - logs[0]) / step) + 2
    counts = [0] * cells
    for log in logs:
        counts[int((log - low) / step)] += 1
    ended = [0.0, *itertools.accumulate(count / len(logs) for count in counts)]
    prices = (0, 1, 2, 4, 6, 8, 10, 12, 15, 20, 30, 45)
    return max(
        _cost(ended, median, p95, step) - median * 0.5 - p95 * 0.05 for median, p95 in itertools.product(prices, prices)
    )


def _cost(ended: list[float], median: float, p95: float, step: float) -> float:
    """Compute the cost of polls and missed targets under the best plan, by dynamic programming from its end."""
    # A job that ended so many cells before a poll is late by more than 5 or 15 %. Half a cell in favour of the bound.
    late, too_late = (math.floor(math.log(1 + share) / step) + 1 for share in (MAX_MEDIAN, MAX_P95))
    cells = len(ended) - 1
    cost = [0.0] * (cells + 1)
    for now in range(cells - 1, -1, -1):
        best = math.inf
        for poll in range(now + 1, cells + 1):
            missed = median * (ended[max(now, poll - late)] - ended[now])
            missed += p95 * (ended[max(now, poll - too_late)] - ended[now])
            if missed > best:
                break
            best = min(best, missed + cost[poll])
        cost[now] = best + 1 - ended[now]
    return cost[0]


# ---- table and picture -----------------------------------------------------------------------------------------------

HEAD = (
    "| strategy | polls | delay p50 | p95 | p50 of the time | p95 "
    "| transitions | polls/min at 1,000 | $ per 1,000 jobs |"
)


def row(name: str, seen: Figures) -> str:
    """Format one line of a table."""
    transitions = seen.polls * TRANSITIONS_PER_POLL
    return (
        f"| {name} | {seen.polls:.1f} | {seen.median:.1f} s | {seen.p95:.1f} s | {seen.median_share:.1%} "
        f"| {seen.p95_share:.1%} | {transitions:.0f} | {seen.per_minute:.0f} "
        f"| {1000 * transitions * DOLLARS_PER_TRANSITION:.2f} |"
    )


def report(name: str, found: dict[str, tuple[Figures, Figures]]) -> bool:
    """Print the results. Returns whether the targets are met where they can be."""
    print(f"\n### {name}\n\n{HEAD}\n|{'---|' * 9}")
    for strategy, (_, warm) in found.items():
        print(row(strategy, warm))
    print(row(f"*this project, its first {COLD} jobs*", found[OURS][0]))
    ours, cold, fixed = found[OURS][1], found[COLD_OURS][1], found["fixed 15 s"][1]
    fewest = bound(GENERATIONS[name]) if name in BOUNDED else 0.0
    if fewest:
        print(f"\nNo strategy can meet both delay targets with fewer than {fewest:.1f} polls.")
    if worse := cold.polls > fixed.polls and cold.median_share > fixed.median_share:
        print("\nMISSED: while nothing is learned, it is worse than fixed 15 s in both.")
    if not ours.good:
        print(f"\n{'Beyond reach' if fewest > MAX_POLLS else 'MISSED'}: at most 6 polls, delay p50 5 %, p95 15 %.")
    return not worse and (ours.good or fewest > MAX_POLLS)


COLOURS = ["#d81b60", "#f48fb1", "#8d6e63", "#1e88e5", "#1565c0", "#0d47a1", "#ef6c00", "#7cb342", "#212121"]
_WIDTH, _HEIGHT, _LEFT, _TOP, _COLUMNS = 380, 270, 56, 34, 4
_POLLS, _SHARES = (1, 300), (0.002, 1.5)


def _at(panel: tuple[int, int], polls: float, share: float) -> tuple[float, float]:
    x, y = (
        (math.log(min(max(value, low), high)) - math.log(low)) / (math.log(high) - math.log(low))
        for value, (low, high) in ((polls, _POLLS), (share, _SHARES))
    )
    return panel[0] + _LEFT + x * (_WIDTH - _LEFT - 20), panel[1] + _TOP + (1 - y) * (_HEIGHT - _TOP - 44)


def draw(found: dict[str, dict[str, tuple[Figures, Figures]]], path: Path) -> None:
    """Draw one panel a distribution: polls (x) and median delay (y), both logarithmic, with the targets as an area."""
    rows = math.ceil((len(found) + 1) / _COLUMNS)
    image = Image.new("RGB", (_WIDTH * _COLUMNS, _HEIGHT * rows), "white")
    pen, font, small = ImageDraw.Draw(image), ImageFont.load_default(14), ImageFont.load_default(11)
    for number, (name, strategies) in enumerate(found.items()):
        panel = (number % _COLUMNS * _WIDTH, number // _COLUMNS * _HEIGHT)
        corner, end = _at(panel, _POLLS[0], _SHARES[1]), _at(panel, _POLLS[1], _SHARES[0])
        pen.rectangle((_at(panel, 1, MAX_MEDIAN), _at(panel, MAX_POLLS, _SHARES[0])), fill="#e8f5e9")
        pen.rectangle((corner, end), outline="#9e9e9e")
        pen.text((corner[0], panel[1] + 10), name, fill="black", font=font)
        for polls in (1, 3, 6, 30, 100):
            pen.text((_at(panel, polls, 1)[0], end[1] + 4), str(polls), fill="#616161", font=small, anchor="ma")
        for share in (0.01, 0.05, 0.2, 1):
            place = corner[0] - 5, _at(panel, 1, share)[1]
            pen.text(place, f"{share:.0%}", fill="#616161", font=small, anchor="rm")
        pen.text(((corner[0] + end[0]) / 2, end[1] + 19), "polls a job", fill="#616161", font=small, anchor="ma")
        for colour, (_, warm) in zip(COLOURS, strategies.values(), strict=True):
            x, y = _at(panel, warm.polls, warm.median_share)
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour)
    x, y = len(found) % _COLUMNS * _WIDTH + _LEFT, len(found) // _COLUMNS * _HEIGHT + _TOP
    for line, (colour, name) in enumerate(zip(COLOURS, STRATEGIES, strict=True)):
        pen.ellipse((x, y + line * 21, x + 10, y + line * 21 + 10), fill=colour)
        pen.text((x + 18, y + line * 21 - 1), name, fill="black", font=small)
    pen.text((x, y + 200), "upwards: median delay, as a share of the time", fill="#616161", font=small)
    image.quantize(64).save(path, optimize=True)


def main() -> None:
    """Run the command line. Exit 1 if a target that can be met is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling")
    parser.add_argument("--seeds", type=int, default=3, help=f"repeats of {JOBS} jobs each")
    parser.add_argument("--only", default="", help="distributions that begin like this")
    options = parser.parse_args()
    found, good = {}, True
    print(f"{options.seeds} x {JOBS - WARM} jobs a line, after {WARM} to learn from, {IN_FLIGHT} in flight.")
    for name, generation in GENERATIONS.items():
        if name.startswith(options.only):
            found[name] = figures(name, generation, options.seeds)
            good &= report(name, found[name])
    if not options.only:
        draw(found, PICTURE)
        print(f"\nPicture: {PICTURE.relative_to(Path.cwd())}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
