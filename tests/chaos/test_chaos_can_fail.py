"""The fault injection finds what it is made to find: each feature taken out breaks the invariant that it is there for.

Each row is a small run in which every job meets one kind of fault. It is clean as the product is, and not clean
without the feature.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.jobs.record import Job
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.steps import submit
from shared.steps.claims import Claims
from tests.chaos.fault_injection import HOUR, Timetable
from tests.chaos.lambdas import Lambda
from tests.chaos.run import storm_over
from tests.chaos.schedule import FOREVER, GIVEN_UP, LOST, SLOW, SLOW_SECONDS, STATES, InjectedFault
from tests.support.video_job import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.chaos.fault_injection import Order

SHORT = Timetable(arrivals=600, storm=HOUR, outage=(HOUR, HOUR), calm=HOUR, settle=0.5 * HOUR, troubles=())


def attempts_overlap(order: Order) -> None:
    order.weather.hasty = True


def an_operator_pays_again_before_the_answer_comes(order: Order) -> None:
    order.impatient = True
    order.weather.pending.append(("submit", InjectedFault(GIVEN_UP, "answer", error="States.Timeout", seconds=850)))


def the_answer_takes_long(order: Order) -> None:
    order.weather.pending.append(("submit", InjectedFault(SLOW, "generate", seconds=SLOW_SECONDS)))


def the_claim_is_not_answered(order: Order) -> None:
    order.weather.pending.append(("submit", InjectedFault(LOST[0], "UpdateItem", nth=1, times=3)))


def a_state_is_throttled(order: Order) -> None:
    """Each job in another state, and it comes there."""
    state = order.weather.throttled_state = STATES[int(order.name[-4:]) % len(STATES)]
    if state == "NotifyFailed":
        order.recipe = "missing"
    if state == "Hold":
        order.weather.stubborn = {"submit": [{"kind": "credits_402", "call": "generate", "times": FOREVER}]}


def the_vendor_goes_down(order: Order) -> None:
    order.into_outage = True


# ---- what is taken out


def no_waiting_for_attempts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "attempt_runs_until", None)


def no_second_videos(patch: pytest.MonkeyPatch) -> None:
    def first_only(store: JobStore, video_id: str, facts: Mapping[str, Any], *, job_id: str, **_: Any) -> Job:
        try:
            return store.record_accepted(job_id, video_id, **facts)
        except TransitionConflict as refused:
            if refused.current is None or refused.current.video_id is None:
                raise
            return refused.current

    patch.setattr(submit, "record_video", first_only)


def little_time_for_the_paid_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lambda, "max_wait_of", lambda *_: 35.0)


def no_second_look_at_a_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Claims, "_insist", Claims._take)


def short_retriers_for_throttles(patch: pytest.MonkeyPatch) -> None:
    """As they were in the states that call `notify`: six tries, two minutes at most."""
    name = "Lambda.TooManyRequestsException"
    short = {"ErrorEquals": [name], "IntervalSeconds": 2, "BackoffRate": 2, "MaxDelaySeconds": 60, "MaxAttempts": 6}
    for task in TASKS.values():
        rest = [{**rule, "ErrorEquals": [one for one in rule["ErrorEquals"] if one != name]} for rule in task["Retry"]]
        patch.setitem(task, "Retry", [{**short, "JitterStrategy": "FULL"}, *rest])


def no_redrives_by_the_sweep(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobStore, "due_for_redrive", lambda *_, **__: iter(()))


@dataclass(frozen=True)
class Case:
    """What every job meets, the feature that must be there for it, and the row of the table that says so.

    Attributes:
        meets: Says what a job meets.
        without: Takes the feature out.
        row: The row of the table. It is zero with the feature.
        jobs: How many jobs there are.
        least: What the row is without the feature at least.
        options: What else the run is like.
    """

    meets: Callable[[Order], None]
    without: Callable[[pytest.MonkeyPatch], None]
    row: str
    jobs: int = 3
    least: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.without.__name__


CASES = [
    Case(attempts_overlap, no_waiting_for_attempts, "uncertain while the attempt may still be running"),
    Case(
        an_operator_pays_again_before_the_answer_comes,
        no_second_videos,
        "accepted videos that their record does not know",
        # Two calls can be accepted only where Lambda lets processes outlive their time-outs, as it never should.
        least=2,
        options={"overrun": 3},
    ),
    Case(the_answer_takes_long, little_time_for_the_paid_call, "slow answers that were not waited for", least=3),
    Case(the_claim_is_not_answered, no_second_look_at_a_claim, "uncertain without a POST", least=3),
    Case(a_state_is_throttled, short_retriers_for_throttles, "executions failed by throttles", jobs=6, least=6),
    Case(
        the_vendor_goes_down,
        no_redrives_by_the_sweep,
        "paid jobs that a passing fault left for an operator",
        options={"times": replace(SHORT, storm=2.5 * HOUR, outage=(600, 600 + 2 * HOUR), calm=6 * HOUR)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_invariant_fails_without_the_feature_that_it_is_about(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def shape(order: Order) -> None:
        order.meet_nothing()
        case.meets(order)

    options = {"times": SHORT, "recipes": ("film0",), **case.options}
    with storm_over(case.jobs, shape=shape, **options) as (_, verdict):
        assert not verdict.breaches, verdict.failures()
        assert verdict.faults(), "something must have gone wrong"
    case.without(monkeypatch)
    with storm_over(case.jobs, shape=shape, **options) as (_, verdict):
        assert int(str(verdict.facts[case.row])) >= case.least, verdict.table()
