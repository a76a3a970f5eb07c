"""Test the batch's state machine: it waits for every row, no row fails it, other errors are left for a redrive."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from local.aws import engine
from local.aws.interpreter import TaskError
from shared.jobs.errors import BATCH_ERRORS, UploadUnreadable
from shared.runtime import AwsCallFailed, InternalError, SettingsInvalid
from tests.support.batch_job import MACHINE, PROPERTIES, ROW, SOURCE, TASKS, BatchJobRun
from tests.support.template import RESOURCES
from tests.support.video_job import MACHINE as VIDEO_JOB
from tests.support.video_job import PLATFORM
from tools.platform_errors import ERRORS, Handling, named
from tools.retries import attempts as attempts_of

REJECTIONS: set[type[Exception]] = {*BATCH_ERRORS, UploadUnreadable}
BY_NAME = sorted(REJECTIONS, key=lambda kind: kind.__name__)
EVERYWHERE = {AwsCallFailed, InternalError, SettingsInvalid}
# Errors of the optimized integration of StartExecution, besides those of the started execution. The names are those
# that AWS shows for it: `StepFunctions.` and the error's name, or the client's if its model does not name it.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
NOT_NOW = {
    "StepFunctions.ExecutionLimitExceeded",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.ThrottlingException",
    "StepFunctions.AWSStepFunctionsException",
    "StepFunctions.SdkClientException",
}
NOT_EVER = {
    "StepFunctions.ExecutionAlreadyExistsException",
    "StepFunctions.StateMachineDeletingException",
    "StepFunctions.AccessDeniedException",
}


def attempts(state: str, name: str) -> int:
    assert sum(name in retrier["ErrorEquals"] for retrier in TASKS[state]["Retry"]) <= 1
    return attempts_of(TASKS[state], name)


# ---- the ways through -------------------------------------------------------------------------------------


def test_every_row_becomes_an_execution_named_like_its_job() -> None:
    stage = BatchJobRun(rows=25, concurrency=4)
    ran = stage.play()
    assert (ran.status, ran.states) == ("SUCCEEDED", ["Plan", "Any?", "Rows", "Report"])
    made = sorted(stage.calls["make"], key=lambda call: call["input"]["source"]["line"])
    assert [call["name"] for call in made] == [job["job_id"] for job in stage.jobs]
    # The same input as a later upload of the row, so that Step Functions answers with the same execution.
    assert [call["input"] for call in made] == [
        {"job_id": job["job_id"], "source": job["source"]} for job in stage.jobs
    ]
    assert stage.most == 4
    (reported,) = stage.calls["report"]
    assert reported["plan"] == stage._scripts["plan"][0]
    assert reported["execution_id"].endswith(":s3-batch")
    assert datetime.fromisoformat(reported["started_at"]).tzinfo is not None


def test_a_row_that_fails_however_it_fails_does_not_fail_the_batch() -> None:
    for error in (
        ValueError("the job failed"),
        *(TaskError(name) for name in sorted(NOT_EVER)),
        TaskError("States.Timeout"),
    ):
        stage = BatchJobRun(rows=3, make=[error, {}])
        ran = stage.play()
        assert ran.status == "SUCCEEDED", (error, ran.error, ran.cause)
        assert len(stage.calls["make"]) == 3
        assert len(stage.calls["report"]) == 1


@pytest.mark.parametrize("name", sorted(NOT_NOW))
def test_a_row_that_cannot_be_started_now_is_started_later(name: str) -> None:
    stage = BatchJobRun(rows=1, make=[TaskError(name), {}])
    ran = stage.play()
    assert (ran.status, len(stage.calls["make"]), len(ran.backoffs)) == ("SUCCEEDED", 2, 1)
    assert attempts("Make", name) > 10


def test_a_row_whose_job_is_known_is_not_started() -> None:
    stage = BatchJobRun(rows=2, admit=[{"next": "known", "wait_seconds": 900}])
    assert stage.play().status == "SUCCEEDED"
    assert not stage.calls["make"]
    assert len(stage.calls["report"]) == 1


def test_a_row_waits_while_intake_is_stopped() -> None:
    closed = {"next": "wait", "wait_seconds": 900}
    stage = BatchJobRun(rows=1, admit=[closed, closed, {"next": "start", "wait_seconds": 900}])
    ran = stage.play()
    assert (ran.status, ran.waits, len(stage.calls["make"])) == ("SUCCEEDED", [900, 900], 1)


def test_a_check_and_a_batch_without_a_good_row_start_nothing() -> None:
    stage = BatchJobRun(plan=[{"source": SOURCE, "rows": 3, "started": 0, "concurrency": 2, "jobs": "plans/jobs.json"}])
    ran = stage.play()
    assert (ran.status, ran.states) == ("SUCCEEDED", ["Plan", "Any?", "Report"])
    assert not stage.calls["admit"] + stage.calls["make"]


@pytest.mark.parametrize("kind", BY_NAME)
def test_an_unreadable_batch_is_notified_and_fails_by_its_own_error(kind: type[Exception]) -> None:
    stage = BatchJobRun(plan=[kind("no column of that name")])
    ran = stage.play()
    assert (ran.status, ran.error, ran.states) == ("FAILED", kind.__name__, ["Plan", "Rejected", "Failed"])
    assert json.loads(ran.cause or "")["message"] == "no column of that name"
    (message,) = stage.calls["rejected"]
    assert message["source"] == SOURCE


# ---- faults of the platform -------------------------------------------------------------------------------

_OF_FUNCTION = {"Plan": "plan", "Report": "report", "Rejected": "rejected"}
_FAULTS = [*sorted(PLATFORM), *sorted(fault.__name__ for fault in EVERYWHERE), "KeyError"]


@pytest.mark.parametrize("state", _OF_FUNCTION)
@pytest.mark.parametrize("name", _FAULTS)
def test_a_fault_is_tried_again_and_then_left_for_a_redrive(state: str, name: str) -> None:
    scripts: dict[str, Any] = {"plan": [UploadUnreadable("gone")]} if state == "Rejected" else {}
    stage = BatchJobRun(rows=1, **{**scripts, _OF_FUNCTION[state]: [TaskError(name, "Not our doing.")]})
    ran = stage.play()
    assert (ran.status, ran.error, ran.states[-1]) == ("FAILED", name, state)
    tries = attempts(state, name)
    assert len(stage.calls[_OF_FUNCTION[state]]) == tries
    # Only Plan can meet a file that a person must correct, and so retries no error that it does not name.
    retried = name in PLATFORM or name == "AwsCallFailed" or state != "Plan"
    assert tries > 2 if retried else tries == 1


@pytest.mark.parametrize("name", [*_FAULTS, *named(Handling.FINAL)])
def test_a_row_that_cannot_be_admitted_is_not_started_and_the_others_are(name: str) -> None:
    """A redrive then has nothing to do. Uploading the file again starts the row."""
    tries = attempts("Admit", name)
    start = {"next": "start", "wait_seconds": 900}
    stage = BatchJobRun(rows=2, concurrency=1, admit=[TaskError(name, "Not our doing.")] * tries + [start])
    ran = stage.play()
    assert (ran.status, ran.states) == ("SUCCEEDED", ["Plan", "Any?", "Rows", "Report"]), (ran.error, ran.cause)
    assert tries > 2 or name in named(Handling.FINAL)
    assert len(stage.calls["admit"]) == tries + 1
    assert [call["name"] for call in stage.calls["make"]] == ["row-1"]


def test_no_row_however_it_ends_fails_the_batch() -> None:
    """This holds even if every row fails uncatchably, because the next state cannot read this answer."""
    stage = BatchJobRun(rows=3, admit=[{"next": "wait", "wait_seconds": "soon"}])
    ran = stage.play()
    assert (ran.status, len(stage.calls["report"])) == ("SUCCEEDED", 1)


def test_an_unreadable_list_is_retried_and_then_left_for_a_redrive() -> None:
    gone = TaskError("S3.SlowDown", "later")
    stage = BatchJobRun(rows=2, list=[gone, gone, None])
    assert (stage.play().status, len(stage.calls["make"])) == ("SUCCEEDED", 2)
    stage = BatchJobRun(rows=2, list=[gone])
    ran = stage.play()
    assert (ran.status, ran.error, ran.states[-1]) == ("FAILED", "States.ItemReaderFailed", "Rows")
    assert len(stage.calls["list"]) == 1 + MACHINE["States"]["Rows"]["Retry"][0]["MaxAttempts"]


# ---- the definition ---------------------------------------------------------------------------------------


def test_the_definition_is_sound() -> None:
    engine.check(json.dumps(MACHINE))
    assert "${" not in json.dumps(MACHINE)
    assert set(PROPERTIES["DefinitionSubstitutions"]) == {"BatchFunctionArn", "VideoJobArn", "Partition"}


def test_every_retrier_spreads_out_and_is_bounded() -> None:
    for task in TASKS.values():
        for retrier in task["Retry"]:
            assert retrier["JitterStrategy"] == "FULL"
            assert retrier["IntervalSeconds"] < retrier["MaxDelaySeconds"] <= 300
            assert 0 < retrier["MaxAttempts"] <= 100


def test_only_a_rows_end_is_caught_wholesale_and_every_name_exists() -> None:
    known = {fault.__name__ for fault in REJECTIONS | EVERYWHERE} | {error.name for error in ERRORS} | NOT_NOW
    for state, task in TASKS.items():
        retried = {name for rule in task["Retry"] for name in rule["ErrorEquals"]}
        caught = {name for rule in task.get("Catch", []) for name in rule["ErrorEquals"]}
        assert retried <= known
        assert caught == {
            "Plan": {fault.__name__ for fault in REJECTIONS},
            # The first stands for any error but a time-out.
            # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
            "Make": {"States.TaskFailed", "States.Timeout"},
            "Admit": {"States.ALL"},
        }.get(state, set())


def test_a_task_outlasts_what_it_waits_for_and_a_batch_its_rows() -> None:
    function = RESOURCES["BatchFunction"]["Properties"]
    for name, task in TASKS.items():
        time_limit = VIDEO_JOB["TimeoutSeconds"] if name == "Make" else function["Timeout"]
        assert task["TimeoutSeconds"] > time_limit, name
    assert MACHINE["TimeoutSeconds"] > 2 * TASKS["Make"]["TimeoutSeconds"]


def test_ten_thousand_rows_leave_less_than_a_state_may_hold() -> None:
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: 256 KiB
    assert len(json.dumps([ROW["Done"]["Result"]] * 10_000)) < 256 * 1024
    assert ROW["Done"]["End"]
