"""Test every error that Step Functions and Lambda document for a task: where each state sends it, and how long."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from awslambdaric.lambda_runtime_exception import FaultException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType

from shared.requests import batches
from tests.support.batch_job import MACHINE as BATCH_JOB
from tests.support.batch_job import TASKS as BATCH_TASKS
from tests.support.video_job import MACHINE as VIDEO_JOB
from tests.support.video_job import TASKS as VIDEO_TASKS
from tools import translate_template as plain
from tools.platform_errors import ERRORS, Handling, named
from tools.retries import first_percentile_seconds, longest_seconds, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TASKS = VIDEO_TASKS | BATCH_TASKS
FUNCTIONS = {name: task for name, task in TASKS.items() if task["Resource"].endswith(":lambda:invoke")}
ROWS = BATCH_JOB["States"]["Rows"]
RETRIERS = [(name, rule) for name, state in {**TASKS, "Rows": ROWS}.items() for rule in state["Retry"]]
# The functions behind these raise no error that a person must decide about.
WITHOUT_DECISIONS = {"Hold", "NotifySucceeded", "NotifyFailed", "Admit", "Report", "Rejected"}
LAST_RESORT = "States.TaskFailed"

LONG, QUICK, SHORT = (5, 300, 20), (2, 300, 18), (5, 60, 3)
NAMED: dict[Handling, tuple[int, int, int] | None] = {
    Handling.THROTTLED: LONG,
    Handling.PASSING: QUICK,
    Handling.MEMORY: SHORT,
    Handling.DEPLOYMENT: None,
    Handling.FINAL: None,
    Handling.ABSENT: None,
}
"""The named retriers of a state that calls a function: first pause, longest pause, retries. Without the wildcard."""

MINUTES_15, MINUTES_90 = 900, 5400
# None of these is transient.
MAY_BE_SHORT = {
    "PriceUnknown": "no fault: the job is on hold afterwards, and tried again",
    "GenerationFailed": "the vendor's own result; a retry or two may change it",
    "RecipeMissing": "a second upload, which comes within minutes or not at all",
    "AssetMissing": "the same",
    "DeliveryIncomplete": "each try copies more of the video",
    "Runtime.OutOfMemory": "a new environment does, or none",
    LAST_RESORT: "most likely a bug",
}


def figures(rule: dict[str, Any]) -> tuple[int, int, int]:
    return rule["IntervalSeconds"], rule["MaxDelaySeconds"], rule["MaxAttempts"]


def states() -> Iterator[dict[str, Any]]:
    """Return every state of both machines."""
    row = ROWS["ItemProcessor"]["States"]
    yield from [*VIDEO_JOB["States"].values(), *BATCH_JOB["States"].values(), *row.values()]


# ---- the list is complete ----------------------------------------------------------------------------------


def test_every_error_that_lambda_documents_for_invoke_is_in_the_list() -> None:
    """If this fails, AWS has documented another one. Add its handling to `tools/platform_errors.py`."""
    model = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke")
    documented = {f"Lambda.{error.name}" for error in model.error_shapes}
    assert len(documented) > 40
    assert documented <= {error.name for error in ERRORS}


def test_every_error_of_the_runtime_and_the_states_language_is_listed() -> None:
    runtime = {value for value in vars(FaultException).values() if str(value).startswith("Runtime.")}
    language = {error.to_name() for error in StatesErrorNameType}
    assert len(runtime) > 5
    assert len(language) > 10
    assert runtime | language <= {error.name for error in ERRORS}


def test_an_error_is_listed_once_with_its_source() -> None:
    assert len({error.name for error in ERRORS}) == len(ERRORS)
    for error in ERRORS:
        assert error.source.startswith("https://"), error
        assert bool(error.needs) == (error.handling is Handling.ABSENT), error


def test_the_machines_name_no_error_of_the_platform_that_the_list_lacks() -> None:
    listed = {error.name for error in ERRORS}
    for state in states():
        for rule in (*state.get("Retry", []), *state.get("Catch", [])):
            dotted = {name for name in rule["ErrorEquals"] if "." in name and not name.startswith("StepFunctions.")}
            assert dotted <= listed


# ---- each error has its place ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", FUNCTIONS)
@pytest.mark.parametrize("handling", NAMED)
def test_every_error_goes_where_the_list_says_in_every_task_state(state: str, handling: Handling) -> None:
    for name in named(handling):
        rules = [rule for rule in FUNCTIONS[state]["Retry"] if name in rule["ErrorEquals"]]
        assert [figures(rule) for rule in rules] == ([NAMED[handling]] if NAMED[handling] else []), name
        caught = rule_for(FUNCTIONS[state], "Catch", name)
        # A catcher would prevent the redrive. A row of a batch has none and ends as not started.
        assert bool(caught) == (state == "Admit" and handling is not Handling.FINAL), name


def test_the_kinds_that_are_left_are_those_of_the_map_and_the_wildcards() -> None:
    assert set(Handling) - set(NAMED) == {Handling.LIST, Handling.WILDCARD}
    assert [(rule["ErrorEquals"], figures(rule)) for rule in ROWS["Retry"]] == [(named(Handling.LIST), LONG)]
    assert "Catch" not in ROWS


@pytest.mark.parametrize("state", TASKS)
def test_the_wildcard_is_alone_last_and_hides_no_decision(state: str) -> None:
    rules = [rule for rule in TASKS[state]["Retry"] if {LAST_RESORT, "States.ALL"} & set(rule["ErrorEquals"])]
    if state in WITHOUT_DECISIONS:
        assert [rule["ErrorEquals"] for rule in rules] == [[LAST_RESORT]]
        assert TASKS[state]["Retry"][-1] == rules[0]
        assert figures(rules[0]) == SHORT
    else:
        assert not rules


def test_what_may_start_an_execution_ends_a_row_at_worst() -> None:
    model = botocore.session.get_session().get_service_model("stepfunctions").operation_model("StartExecution")
    for error in model.error_shapes:
        assert rule_for(TASKS["Make"], "Catch", f"StepFunctions.{error.name}"), error.name


# ---- how long it lasts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "rule"), RETRIERS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_passing_fault_may_last_fifteen_minutes_but_not_in_silence(state: str, rule: dict[str, Any]) -> None:
    short = set(rule["ErrorEquals"]) <= MAY_BE_SHORT.keys()
    assert short or first_percentile_seconds(rule) >= MINUTES_15
    assert longest_seconds(rule) <= MINUTES_90, "until then, the job says nothing"


@pytest.mark.parametrize("state", FUNCTIONS)
def test_a_throttled_state_is_the_most_patient(state: str) -> None:
    rule = rule_for(FUNCTIONS[state], "Retry", "Lambda.TooManyRequestsException")
    assert rule is not None
    others = [other for other in FUNCTIONS[state]["Retry"] if "DeliveryIncomplete" not in other["ErrorEquals"]]
    assert longest_seconds(rule) == max(map(longest_seconds, others))


# ---- what cannot come --------------------------------------------------------------------------------------


def functions_without(*properties: str) -> bool:
    functions = [one for one in plain.template()["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    assert len(functions) >= len(FUNCTIONS) / 2
    return not any(name in function["Properties"] for function in functions for name in properties)


def states_without(*words: str) -> bool:
    return not any(word in json.dumps([VIDEO_JOB, BATCH_JOB]) for word in words)


def only_the_shared_layer() -> bool:
    resources = plain.template()["Resources"].values()
    layers = [one for one in resources if one["Type"] == "AWS::Lambda::LayerVersion"]
    return len(layers) == 1 and all(
        len(one["Properties"]["Layers"]) == 1 for one in resources if one["Type"] == "AWS::Lambda::Function"
    )


ABSENT: dict[str, Callable[[], bool]] = {
    "a function in a VPC": lambda: functions_without("VpcConfig"),
    "a function with a file system": lambda: functions_without("FileSystemConfigs"),
    "a function with SnapStart": lambda: functions_without("SnapStart"),
    "a durable function": lambda: functions_without("DurableConfig"),
    "a response that is streamed": lambda: "RESPONSE_STREAM" not in json.dumps(plain.template(), default=str),
    "an extension": only_the_shared_layer,
    "a state with `HeartbeatSeconds`": lambda: states_without("HeartbeatSeconds"),
    "an HTTP task": lambda: states_without(":http:invoke"),
    "a map with a `ResultWriter`": lambda: states_without("ResultWriter"),
    "a map that a row's failure can fail": lambda: ROWS["ToleratedFailureCount"] >= batches.MAX_ROWS,
    "a Parallel state": lambda: states_without('"Parallel"'),
    "a Choice state without a `Default`": lambda: all(
        "Default" in state for state in states() if state["Type"] == "Choice"
    ),
    "an intrinsic function": lambda: states_without('"States.Format', '"States.String', '"States.Json', '"States.Math'),
    "a state machine in JSONata": lambda: states_without("JSONata"),
}


def test_what_cannot_come_still_cannot() -> None:
    """If this fails, the project has begun to use it. Handle its errors in every state that can raise them."""
    assert {error.needs for error in ERRORS if error.needs} == ABSENT.keys()
    assert [needs for needs, holds in ABSENT.items() if not holds()] == []
