"""Test when polls happen: few, timely and spread by chance; durations are learned and shown to people."""

from __future__ import annotations

import math
import random
import re
import statistics
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.polling.policy import Expectation, PollingPolicy, deadline, expectation, measured, progress

POLICY = PollingPolicy(floor=2, cap=600)
SECONDS = st.floats(0, 1e6)
DURATIONS = st.lists(st.floats(0, 1e5), max_size=40)
CHANCE = st.floats(0, 0.999999)


def follow(plan: list[int], took: float, policy: PollingPolicy = POLICY) -> tuple[int, float, float]:
    """Return the number of polls, the last time the video was unfinished, and when it was found finished."""
    unfinished, at, polls = 0.0, 0.0, 0
    while at < took or polls == 0:
        unfinished, at, polls = at, at + policy.wait(plan, at), polls + 1
    return polls, unfinished, at


def seeded() -> random.Random:
    return random.Random(7)  # noqa: S311 - nothing secret, and the same each time


def around(rnd: random.Random, median: float, spread: float) -> float:
    return median * math.exp(rnd.gauss(0, spread))


# ---- limits ----------------------------------------------------------------------------------------------------------


@given(DURATIONS, CHANCE, st.integers(1, 600))
def test_a_plan_is_short_rising_and_keeps_the_floor(durations: list[float], chance: float, floor: int) -> None:
    plan = PollingPolicy(floor, 600).plan(durations, chance)
    assert 1 <= len(plan) <= 60
    assert all(isinstance(poll, int) for poll in plan)
    assert all(later - earlier >= floor for earlier, later in pairwise([0, *plan]))


@given(DURATIONS, SECONDS, st.integers(1, 600), st.integers(1, 3600))
def test_waits_stay_between_floor_and_cap(durations: list[float], elapsed: float, floor: int, cap: int) -> None:
    policy = PollingPolicy(floor, cap)
    wait = policy.wait(policy.plan(durations, 0.5), elapsed)
    assert isinstance(wait, int)
    assert min(floor, cap) <= wait <= cap


@given(SECONDS, st.floats(0, 3600))
def test_a_retry_after_wins_over_all_but_the_floor(elapsed: float, retry_after: float) -> None:
    assert POLICY.wait([10, 20], elapsed, retry_after) == round(max(retry_after, POLICY.floor))


def test_after_the_plan_waits_grow_with_the_time_waited() -> None:
    assert [POLICY.wait([10, 20], elapsed) for elapsed in (0, 10, 20, 100, 1000, 10_000)] == [10, 10, 3, 15, 150, 600]
    assert POLICY.wait([], 100) == 15


# ---- where the polls fall --------------------------------------------------------------------------------------------


def test_nothing_is_polled_long_before_anything_can_be_finished() -> None:
    plan = POLICY.plan([60 + number % 5 for number in range(32)], 0.5)
    assert 50 <= plan[0] <= 66
    assert sum(poll <= 70 for poll in plan) <= 5


def test_nothing_is_polled_between_two_modes() -> None:
    plan = POLICY.plan([75 + number % 8 for number in range(16)] + [300 + number % 30 for number in range(16)], 0.5)
    assert sum(poll < 100 for poll in plan) >= 2
    assert sum(110 < poll < 250 for poll in plan) <= 1
    assert sum(250 < poll < 400 for poll in plan) >= 3


def test_once_warm_few_polls_find_a_video_soon() -> None:
    rnd = seeded()
    polls, shares = [], []
    for _ in range(20):
        plan = POLICY.plan([around(rnd, 240, 0.25) for _ in range(27)], rnd.random())
        for took in (around(rnd, 240, 0.25) for _ in range(50)):
            number, _, at = follow(plan, took)
            polls.append(number)
            shares.append((at - took) / took)
    assert statistics.fmean(polls) <= 6
    assert statistics.median(shares) <= 0.052
    assert statistics.quantiles(shares, n=20)[-1] <= 0.155


def test_without_history_it_is_never_worse_than_every_15_seconds() -> None:
    rnd = seeded()
    plans = [POLICY.plan([], chance / 10) for chance in range(10)]
    for median in (15, 30, 45, 60, 80, 100, 130, 200, 300, 450, 600, 900):
        took = [around(rnd, median, 0.1) for _ in range(200)]
        followed = [follow(rnd.choice(plans), one) for one in took]
        more_polls = sum(polls for polls, _, _ in followed) > sum(math.ceil(one / 15) for one in took)
        delay = statistics.median(at - one for (_, _, at), one in zip(followed, took, strict=True))
        assert not (more_polls and delay > statistics.median(-one % 15 for one in took)), median


def test_jobs_that_start_together_are_polled_one_after_the_other() -> None:
    durations = [300 + number for number in range(32)]
    first = {POLICY.plan(durations, chance / 100)[0] for chance in range(100)}
    assert max(first) - min(first) >= 0.06 * min(first)
    assert len(first) >= 15


# ---- what is learned -------------------------------------------------------------------------------------------------


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_measured_time_lies_between_polls_and_close_to_the_last(one: int, other: int) -> None:
    unfinished, finished = sorted((one, other))
    seconds = measured(unfinished, finished)
    assert max(unfinished, 0.75 * finished) * 0.999 <= seconds <= finished


def test_a_model_that_changes_is_followed_by_polls_alone() -> None:
    rnd = seeded()
    slots: dict[int, float] = {}
    for median in (300, 100, 300):
        shares = []
        for _ in range(200):
            took = around(rnd, median, 0.1)
            _, unfinished, at = follow(POLICY.plan(list(slots.values()), rnd.random()), took)
            slots[rnd.randrange(32)] = measured(unfinished, at)
            shares.append((at - took) / took)
        assert statistics.median(shares[100:]) <= 0.05
        assert abs(statistics.median(slots.values()) / median - 1) < 0.1


# ---- what people are shown -------------------------------------------------------------------------------------------


def test_nothing_is_expected_from_a_handful() -> None:
    assert expectation([60] * 4) is None
    assert "no estimate yet" in progress(None, 10)
    assert expectation(list(range(100, 201))) == Expectation(150, 190)


def test_a_job_is_late_after_four_times_the_usual_within_its_bounds() -> None:
    assert deadline(None, 7200) == 7200
    assert deadline(Expectation(60, 90), 7200) == 7200
    assert deadline(Expectation(1800, 3000), 7200) == 12_000
    assert deadline(Expectation(30_000, 60_000), 7200) == 86_400


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_progress_never_goes_backwards(p50: int, more: int) -> None:
    expected = Expectation(p50, p50 + more)
    words, left = [], math.inf
    for elapsed in range(0, 2 * (p50 + more) + 60, max(1, (p50 + more) // 200)):
        text = progress(expected, elapsed)
        if number := re.fullmatch(r"about (\d+) (s|min) left", text):
            seconds = int(number[1]) * (60 if number[2] == "min" else 1)
            assert seconds <= left
            left = seconds
            text = "about"
        if text not in words:
            words.append(text)
        assert words[-1] == text, "what was over has come back"
    order = ["about", "should finish any moment", "taking longer than usual"]
    assert words == [word for word in order if word in words]
    assert words[-1] == order[-1]


def test_progress_reads_well() -> None:
    said = [progress(Expectation(200, 300), elapsed) for elapsed in (0, 100, 115, 165, 195, 290, 301)]
    assert said == [
        "about 4 min left",
        "about 2 min left",
        "about 90 s left",
        "about 40 s left",
        "should finish any moment",
        "should finish any moment",
        "taking longer than usual",
    ]
