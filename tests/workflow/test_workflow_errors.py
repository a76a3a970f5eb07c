"""Test every error that a task can raise, at every state: where it leads, and how often it is retried."""

from __future__ import annotations

import json

import pytest

from local.aws.interpreter import TaskError
from shared import delivery
from shared.api.errors import HTTP_STATUS
from shared.faults import Branch, Fault
from shared.genviral.errors import (
    TABLE,
    Call,
    GenerationFailed,
    GenviralUnavailable,
    InsufficientCredits,
    SubmissionUncertain,
    SubmissionUnconfirmed,
)
from shared.jobs.errors import (
    JOB_ERRORS,
    AssetMissing,
    JobClosed,
    PriceUnknown,
    RecipeMissing,
    SubmissionInProgress,
    TimedOut,
)
from shared.runtime import AwsCallFailed, InternalError, SettingsInvalid
from tests.support.video_job import (
    HEALTHY,
    HELD,
    MACHINE,
    PLATFORM,
    SUBMITTED,
    TASKS,
    Scripts,
    VideoJobRun,
    ended,
    said,
)
from tools.platform_errors import ERRORS, Handling, named
from tools.retries import attempts as attempts_of

PAID_CALL = {row.fault for row in TABLE if row.call is not Call.READ}
POLLING = {row.fault for row in TABLE if row.call is not Call.SUBMIT}
EVERYWHERE = {AwsCallFailed, InternalError, SettingsInvalid}
MEETS: dict[str, set[type[Fault]]] = {
    # It also reads the price list if a daily limit is set.
    "Submit": PAID_CALL | {GenviralUnavailable} | set(JOB_ERRORS) - {TimedOut} | EVERYWHERE,
    "Poll": POLLING | {JobClosed} | EVERYWHERE,
    "Deliver": POLLING | {GenerationFailed, JobClosed} | set(delivery.ERRORS) | EVERYWHERE,
    "Hold": EVERYWHERE,
    "NotifySucceeded": EVERYWHERE,
    # Where another attempt may be sending the paid call while this one's refusal is to end the job.
    "NotifyFailed": EVERYWHERE | {SubmissionInProgress},
}
# A job that was closed meanwhile has been notified. When an operator reopens it, a redrive continues at that state.
LEFT_UNCAUGHT = {("Poll", JobClosed), ("Deliver", JobClosed)}
# Retried while the vendor surely knows the key, but not by a redrive days later: then a person decides.
RETRIED_THEN_UNCERTAIN = {SubmissionUnconfirmed}
# The first must never be sent again; the others need another deployment or a higher limit. Where a person decides about
# no error, errors without their own retrier are tried a few times.
ONE_TRY = {SubmissionUncertain, InternalError, SettingsInvalid, delivery.OutputTooLarge}

UNDECIDED = {state for state, faults in MEETS.items() if {fault.branch for fault in faults} == {Branch.RETRY}}
"""The states without errors that a person must decide about. They also retry errors that they do not name."""
# A second upload may still add these.
WAITED_FOR = {RecipeMissing, AssetMissing}
# Another job is being sent, which takes seconds. Only a long wait for it is a hold.
TRIED_THEN_HELD = {PriceUnknown}

CASES = [(state, fault) for state, faults in MEETS.items() for fault in sorted(faults, key=lambda kind: kind.__name__)]


def branch_of(state: str, fault: type[Fault]) -> Branch:
    if (state, fault) in LEFT_UNCAUGHT:
        return Branch.RETRY
    return Branch.UNCERTAIN if fault in RETRIED_THEN_UNCERTAIN else fault.branch


def attempts(state: str, name: str) -> int:
    """Return how often the definition tries a state that always raises this error."""
    naming = [retrier for retrier in TASKS[state]["Retry"] if name in retrier["ErrorEquals"]]
    assert len(naming) <= 1, "only the first retrier that names an error counts"
    return attempts_of(TASKS[state], name)


def longest_wait(state: str, name: str) -> float:
    """Return how long a state waits at most for an error to pass, in seconds."""
    (retrier,) = [retrier for retrier in TASKS[state]["Retry"] if name in retrier["ErrorEquals"]]
    delays = (retrier["IntervalSeconds"] * retrier["BackoffRate"] ** number for number in range(retrier["MaxAttempts"]))
    return float(sum(min(delay, retrier["MaxDelaySeconds"]) for delay in delays))


def stage_with(state: str, *script: object) -> VideoJobRun:
    """Return a run in which `state` is reached and answers by this script."""
    way_there: dict[str, Scripts] = {
        "Hold": {"Submit": [InsufficientCredits("Empty."), SUBMITTED]},
        "NotifyFailed": {"Poll": [ended("failed", GenerationFailed("No."))]},
    }
    return VideoJobRun(**{**way_there.get(state, {}), state: list(script)})


@pytest.mark.parametrize(
    ("state", "kind"), CASES, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_every_error_takes_the_branch_of_its_table(state: str, kind: type[Fault]) -> None:
    branch = branch_of(state, kind)
    if branch is Branch.HOLD:
        check_held(state, kind("It happened."))
    elif branch is Branch.RETRY:
        check_left_for_a_redrive(state, kind("It happened."))
    else:
        check_closed(state, kind("It happened."))
    tries = attempts(state, kind.__name__)
    once = kind in ONE_TRY and state not in UNDECIDED
    if kind in TRIED_THEN_HELD:
        assert 240 < longest_wait(state, kind.__name__) < 900
    elif kind in WAITED_FOR:
        assert 120 < longest_wait(state, kind.__name__) < 600
    elif branch in (Branch.HOLD, Branch.REJECT) or once or (state, kind) in LEFT_UNCAUGHT:
        assert tries == 1
    elif branch is Branch.RETRY or kind is SubmissionUnconfirmed:
        assert tries > 2


def check_left_for_a_redrive(state: str, error: Fault | TaskError) -> None:
    """Check that the state is tried as often as defined, and that the execution then fails in it."""
    name = error.error if isinstance(error, TaskError) else type(error).__name__
    stage = stage_with(state, error)
    ran = stage.play()
    assert (ran.status, ran.error, ran.states[-1]) == ("FAILED", name, state)
    assert len(stage.calls[state]) == attempts(state, name)
    assert said(ran.cause) == (error.cause if isinstance(error, TaskError) else str(error))
    if state not in ("Hold", "NotifyFailed"):
        assert not stage.calls["Hold"] + stage.calls["NotifyFailed"]


def check_closed(state: str, fault: Fault) -> None:
    """Check that the job is closed with one notification, and the execution ends with the real error and its cause."""
    stage = stage_with(state, fault)
    ran = stage.play()
    assert (ran.status, ran.error, ran.cause) == ("FAILED", type(fault).__name__, str(fault))
    assert ran.states[-3:] == [state, "NotifyFailed", "Failed"]
    assert len(stage.calls[state]) == attempts(state, type(fault).__name__)
    assert [call["error"]["Error"] for call in stage.calls["NotifyFailed"]] == [type(fault).__name__]


def check_held(state: str, fault: Fault) -> None:
    """Check that the job waits and continues automatically, and that a job with a video is not submitted again."""
    tries = attempts(state, type(fault).__name__)
    stage = VideoJobRun(**{state: [*[fault] * tries, *HEALTHY[state]]})
    ran = stage.play()
    held = ran.states.index("Hold")
    resumed = "Submit" if state == "Submit" else "Poll"
    assert ran.states[held - 1 : held + 5] == [state, "Hold", "Held?", "HoldWait", "Resume?", resumed]
    assert HELD["wait_seconds"] in ran.waits
    assert said(stage.calls["Hold"][0]["error"]["Cause"]) == str(fault)
    assert len(stage.calls["Submit"]) == (tries + 1 if state == "Submit" else 1)
    assert ran.status == "SUCCEEDED"


@pytest.mark.parametrize("state", TASKS)
@pytest.mark.parametrize("name", sorted(PLATFORM))
def test_a_platform_fault_is_retried_and_then_left_for_a_redrive(state: str, name: str) -> None:
    assert attempts(state, name) > 2
    check_left_for_a_redrive(state, TaskError(name, "Not our doing."))


@pytest.mark.parametrize("state", TASKS)
@pytest.mark.parametrize("name", ["Runtime.ImportModuleError", "Lambda.ResourceNotFoundException", "KeyError"])
def test_what_only_a_person_can_fix_is_left_for_a_redrive_soon(state: str, name: str) -> None:
    assert attempts(state, name) == (4 if state in UNDECIDED else 1)
    check_left_for_a_redrive(state, TaskError(name, "What is this?"))


@pytest.mark.parametrize("state", TASKS)
@pytest.mark.parametrize("name", named(Handling.FINAL))
def test_an_error_that_cannot_be_retried_is_left_for_a_redrive_at_once(state: str, name: str) -> None:
    stage = stage_with(state, TaskError(name, "Too large."))
    ran = stage.play()
    assert (ran.status, ran.error, ran.states[-1], len(stage.calls[state])) == ("FAILED", name, state, 1)


def test_what_comes_late_is_waited_for_and_nothing_is_paid_twice() -> None:
    """A recipe or a file of a manifest may be late, because `aws s3 sync` uploads in no order."""
    stage = VideoJobRun(Submit=[RecipeMissing("No."), AssetMissing("No."), AssetMissing("No."), SUBMITTED])
    ran = stage.play()
    assert (ran.status, len(stage.calls["Submit"]), len(ran.backoffs)) == ("SUCCEEDED", 4, 3)
    assert not stage.calls["NotifyFailed"]


def test_the_machine_names_no_error_that_does_not_exist() -> None:
    of_the_platform = {error.name for error in ERRORS}
    known = {state: {fault.__name__ for fault in faults} | of_the_platform for state, faults in MEETS.items()}
    for state, task in TASKS.items():
        named = [name for rule in (*task["Retry"], *task.get("Catch", [])) for name in rule["ErrorEquals"]]
        assert set(named) <= known[state], state


def test_every_error_of_every_table_can_be_met_somewhere() -> None:
    tables = {row.fault for row in TABLE} | set(JOB_ERRORS) | set(delivery.ERRORS) | EVERYWHERE
    assert tables - set().union(*MEETS.values()) == {TimedOut}, "TimedOut is what Poll answers, not what it raises"
    named = json.dumps(MACHINE)
    of_the_api = set(HTTP_STATUS) - tables
    assert of_the_api
    assert not [fault.__name__ for fault in of_the_api if f'"{fault.__name__}"' in named], "these end in an HTTP answer"


def test_reading_the_video_is_retried_alike_in_poll_and_deliver() -> None:
    for fault in POLLING:
        assert attempts("Poll", fault.__name__) == attempts("Deliver", fault.__name__), fault
