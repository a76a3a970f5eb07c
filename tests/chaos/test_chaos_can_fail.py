"""Show that the fault injection can fail: removing a feature breaks the invariant that it protects.

Each row is a small run in which every job meets one kind of fault. It has no breaches with the feature, and some
without it.
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
from tests.chaos.run import inject_faults
from tests.chaos.schedule import FOREVER, GIVEN_UP, LOST, SLOW, SLOW_SECONDS, STATES, InjectedFault
from tests.support.video_job import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.chaos.fault_injection import Order

SHORT = Timetable(arrivals=600, faults=HOUR, outage=(HOUR, HOUR), recovery=HOUR, settle=0.5 * HOUR, troubles=())


def attempts_overlap(order: Order) -> None:
    order.schedule.hasty = True


def an_operator_pays_again_before_the_answer_comes(order: Order) -> None:
    order.impatient = True
    order.schedule.pending.append(("submit", InjectedFault(GIVEN_UP, "answer", error="States.Timeout", seconds=850)))


def the_answer_takes_long(order: Order) -> None:
    order.schedule.pending.append(("submit", InjectedFault(SLOW, "generate", seconds=SLOW_SECONDS)))


def the_claim_is_not_answered(order: Order) -> None:
    order.schedule.pending.append(("submit", InjectedFault(LOST[0], "UpdateItem", nth=1, times=3)))


def a_state_is_throttled(order: Order) -> None:
    """Throttle each job in a different state, and make sure that it gets there."""
    state = order.schedule.throttled_state = STATES[int(order.name[-4:]) % len(STATES)]
    if state == "NotifyFailed":
        order.recipe = "missing"
    if state == "Hold":
        order.schedule.stubborn = {"submit": [{"kind": "credits_402", "call": "generate", "times": FOREVER}]}


def the_vendor_goes_down(order: Order) -> None:
    order.into_outage = True


# ---- features that are removed


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


def no_second_read_of_a_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Claims, "_insist", Claims._take)


def short_retriers_for_throttles(patch: pytest.MonkeyPatch) -> None:
    """Use the former retriers of the states that call `notify`: six tries, two minutes at most."""
    name = "Lambda.TooManyRequestsException"
    short = {"ErrorEquals": [name], "IntervalSeconds": 2, "BackoffRate": 2, "MaxDelaySeconds": 60, "MaxAttempts": 6}
    for task in TASKS.values():
        rest = [{**rule, "ErrorEquals": [one for one in rule["ErrorEquals"] if one != name]} for rule in task["Retry"]]
        patch.setitem(task, "Retry", [{**short, "JitterStrategy": "FULL"}, *rest])


def no_redrives_by_the_sweep(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobStore, "due_for_redrive", lambda *_, **__: iter(()))


@dataclass(frozen=True)
class Case:
    """The fault that every job meets, the feature that handles it, and the row of the table that shows it.

    Attributes:
        meets: Sets the faults of a job.
        without: Removes the feature.
        row: The row of the table. Zero with the feature.
        jobs: How many jobs there are.
        least: The least value of the row without the feature.
        options: Other options of the run.
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
        # Two calls are accepted only if Lambda lets a process outlive its time-out, which it should never do.
        least=2,
        options={"overrun": 3},
    ),
    Case(the_answer_takes_long, little_time_for_the_paid_call, "slow answers that were not waited for", least=3),
    Case(the_claim_is_not_answered, no_second_read_of_a_claim, "uncertain without a POST", least=3),
    Case(a_state_is_throttled, short_retriers_for_throttles, "executions failed by throttles", jobs=6, least=6),
    Case(
        the_vendor_goes_down,
        no_redrives_by_the_sweep,
        "paid jobs that a passing fault left for an operator",
        options={"times": replace(SHORT, faults=2.5 * HOUR, outage=(600, 600 + 2 * HOUR), recovery=6 * HOUR)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_invariant_fails_without_the_feature_that_it_is_about(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def shape(order: Order) -> None:
        order.remove_faults()
        case.meets(order)

    options = {"times": SHORT, "recipes": ("film0",), **case.options}
    with inject_faults(case.jobs, shape=shape, **options) as (_, report):
        assert not report.breaches, report.failures()
        assert report.faults(), "something must have gone wrong"
    case.without(monkeypatch)
    with inject_faults(case.jobs, shape=shape, **options) as (_, report):
        assert int(str(report.facts[case.row])) >= case.least, report.table()
