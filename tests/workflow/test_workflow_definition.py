"""Test the definition itself: bounded, with jitter, reachable, within AWS's limits."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from local.aws import engine
from shared.genviral.errors import InsufficientCredits
from shared.jobs.errors import LIMIT_ERRORS, DailyLimitReached, PriceUnknown
from shared.jobs.record import SUBMIT_SECONDS, Job
from shared.jobs.states import Status
from shared.polling.policy import PollingPolicy
from shared.steps.notify import LIMIT_HOLD_SECONDS
from shared.steps.submit import SECONDS_FROM_CLAIM
from tests.support.template import RESOURCES, TEMPLATE
from tests.support.video_job import MACHINE, SUBMITTED, TASKS, VideoJobRun
from tools.retries import attempts as attempts_of
from tools.retries import longest_seconds

if TYPE_CHECKING:
    from shared.faults import Fault

PARAMETERS = TEMPLATE["Parameters"]
RETRIERS = [(state, retrier) for state, task in TASKS.items() for retrier in task["Retry"]]
WAITED_FOR = ["SubmissionInProgress"]
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
HISTORY_EVENTS = 25_000


def test_the_definition_is_sound() -> None:
    engine.check(json.dumps(MACHINE))  # grammar, targets, and that every state can be reached
    assert "${" not in json.dumps(MACHINE), "the template substitutes every placeholder"


@pytest.mark.parametrize(("state", "retrier"), RETRIERS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_retrier_spreads_out_and_is_bounded(state: str, retrier: dict[str, Any]) -> None:
    if retrier["ErrorEquals"] == WAITED_FOR:
        return
    assert retrier["JitterStrategy"] == "FULL"
    assert retrier["IntervalSeconds"] < retrier["MaxDelaySeconds"] <= 300
    assert retrier["BackoffRate"] >= 1
    assert 0 < retrier["MaxAttempts"] <= 100


@pytest.mark.parametrize("state", ["Submit", "NotifyFailed"])
def test_an_attempt_that_may_run_is_awaited_until_it_must_have_ended(state: str) -> None:
    (retrier,) = [retrier for name, retrier in RETRIERS if name == state and retrier["ErrorEquals"] == WAITED_FOR]
    assert (retrier["BackoffRate"], retrier["JitterStrategy"]) == (1, "NONE")
    now = int(time.time())
    job = Job(job_id="job", status=Status.SUBMITTING, created_at="", source={}, claim="attempt", attempt_at=now)
    longest = (job.attempt_runs_until or 0) - now
    assert longest > RESOURCES["SubmitFunction"]["Properties"]["Timeout"]
    # Three attempts in a row, each of them abandoned.
    assert retrier["IntervalSeconds"] * retrier["MaxAttempts"] > 3 * longest
    assert retrier["MaxAttempts"] <= 100


def test_the_paid_call_fits_into_the_function_that_makes_it() -> None:
    function = RESOURCES["SubmitFunction"]["Properties"]["Timeout"]
    assert function == SUBMIT_SECONDS
    # Some time is left for the calls before the claim.
    assert function > SECONDS_FROM_CLAIM + 30


def test_nothing_is_caught_wholesale() -> None:
    # It would prevent a redrive after unexpected errors. Where a wildcard may be retried, another test says:
    # tests/workflow/test_workflow_platform.py.
    named = [name for task in TASKS.values() for rule in task.get("Catch", []) for name in rule["ErrorEquals"]]
    assert not {"States.ALL", "States.TaskFailed"} & set(named)


@pytest.mark.parametrize("state", TASKS)
def test_a_task_outlasts_its_function(state: str) -> None:
    function = RESOURCES[TASKS[state]["Parameters"]["FunctionName"]]["Properties"]
    assert TASKS[state]["TimeoutSeconds"] > function["Timeout"]


def test_the_machines_timeout_exceeds_the_longest_hold_and_generation() -> None:
    hold_hours, minutes = PARAMETERS["HoldHours"]["MaxValue"], PARAMETERS["JobDeadlineMinutes"]["MaxValue"]
    # A job can wait for the daily limit, then be held before its submission and once more while it is followed.
    waits = LIMIT_HOLD_SECONDS + 2 * hold_hours * 3600 + minutes * 60
    # In every state, each retrier may use up its tries, each try as long as it may last.
    tries = sum(
        longest_seconds(retrier) + retrier["MaxAttempts"] * TASKS[state]["TimeoutSeconds"]
        for state, retrier in RETRIERS
    )
    assert MACHINE["TimeoutSeconds"] > waits + tries


# The reasons for a hold, and the events of a try on hold. Decision 6 in docs/decisions has the figures.
EVENTS_OF_A_TRY = {InsufficientCredits: 16, DailyLimitReached: 16, PriceUnknown: 28}


@pytest.mark.parametrize("fault", EVENTS_OF_A_TRY, ids=lambda fault: fault.__name__)
def test_a_try_on_hold_takes_as_many_events_as_the_docs_say(fault: type[Fault]) -> None:
    tries = attempts_of(TASKS["Submit"], fault.__name__)
    stage = VideoJobRun(Submit=[*[fault("Not now.")] * tries, SUBMITTED])
    assert len(stage.play().events) - len(VideoJobRun().play().events) == EVENTS_OF_A_TRY[fault]
    assert len(stage.calls["Hold"]) == 1


@pytest.mark.parametrize("fault", LIMIT_ERRORS, ids=lambda fault: fault.__name__)
def test_the_longest_holds_and_generation_fit_into_one_history(fault: type[Fault]) -> None:
    default = {name: parameter["Default"] for name, parameter in PARAMETERS.items() if "Default" in parameter}
    holds = default["HoldHours"] * 3600 // default["HoldSeconds"]
    policy = PollingPolicy(default["PollFloorSeconds"], default["PollCapSeconds"])
    plan = policy.plan([], 0.0)
    polls, elapsed = 0, 0
    while elapsed < default["JobDeadlineMinutes"] * 60:
        elapsed += policy.wait(plan, elapsed)
        polls += 1
    assert events_of_one_poll() == 9, "docs/decisions/006-leave-errors-uncaught.md names it"
    copies = 3 * sum(retrier["MaxAttempts"] + 1 for retrier in TASKS["Deliver"]["Retry"])
    # Two weeks of waiting for the daily limit are 400 tries at most; tests/unit/test_credits_limiter.py counts them.
    # The account can hold the job before its submission, and once more while it is followed.
    waits = 400 * EVENTS_OF_A_TRY[fault] + 2 * holds * EVENTS_OF_A_TRY[InsufficientCredits]
    assert waits + polls * events_of_one_poll() + copies < 0.9 * HISTORY_EVENTS


def events_of_one_poll() -> int:
    waiting = {**SUBMITTED, "status": "processing"}
    return len(VideoJobRun(Poll=[waiting, {**waiting, "status": "succeeded"}]).play().events) - len(
        VideoJobRun().play().events
    )
