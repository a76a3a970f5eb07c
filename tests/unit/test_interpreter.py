"""Test the in-process interpreter: what it runs, what it records, and how a run ends."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws import asl, engine, interpreter, redrives
from local.aws.interpreter import TaskError, run


class NotEnough(Exception):
    """An error of a function, named like a class."""


def call(function: str = "work", **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
    } | more


def machine(states: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states} | more


def raising(*errors: Exception, then: Any = None) -> Any:
    left = list(errors)

    def work(_: Any) -> Any:
        if left:
            raise left.pop(0)
        return then

    return work


def test_a_task_gets_the_payload_and_its_answer_is_the_output() -> None:
    definition = machine({"Call": call(End=True)})
    ran = run(definition, input={"number": 1}, tasks={"work": lambda payload: {"got": payload}})
    assert (ran.status, ran.output, ran.states) == ("SUCCEEDED", {"got": {"number": 1}}, ["Call"])
    assert [event["type"] for event in ran.events][-1] == "ExecutionSucceeded"


def test_the_context_object_knows_the_execution() -> None:
    definition = machine({"Name": {"Type": "Pass", "Parameters": {"name.$": "$$.Execution.Name"}, "End": True}})
    assert run(definition, input={}, tasks={}, name="job-1").output == {"name": "job-1"}


@pytest.mark.parametrize(
    ("named", "error", "matches"),
    [
        ("States.ALL", "KeyError", True),
        ("States.ALL", "States.Timeout", True),
        ("States.ALL", "States.Permissions", True),
        ("States.ALL", "States.DataLimitExceeded", False),
        ("States.ALL", "States.Runtime", False),
        ("States.TaskFailed", "KeyError", True),
        ("States.TaskFailed", "Lambda.Unknown", True),
        ("States.TaskFailed", "States.Permissions", True),
        ("States.TaskFailed", "States.Timeout", False),
        ("States.TaskFailed", "States.Runtime", False),
        ("States.DataLimitExceeded", "States.DataLimitExceeded", True),
        ("KeyError", "Lambda.Unknown", False),
    ],
)
def test_wildcards_match_what_they_match_on_aws(named: str, error: str, matches: bool) -> None:
    states = {
        "Call": call(End=True, Catch=[{"ErrorEquals": [named], "Next": "Caught"}]),
        "Caught": {"Type": "Succeed"},
    }
    ran = run(machine(states), input={}, tasks={"work": raising(TaskError(error, "no"))})
    assert ran.status == ("SUCCEEDED" if matches else "FAILED")


def test_waits_are_recorded_and_not_waited_for() -> None:
    definition = machine(
        {
            "Long": {"Type": "Wait", "SecondsPath": "$.long", "Next": "Short"},
            "Short": {"Type": "Wait", "Seconds": 5, "End": True},
        }
    )
    assert run(definition, input={"long": 100000}, tasks={}).waits == [100000, 5]


def test_a_retrier_backs_off_up_to_its_longest_delay_and_then_gives_up() -> None:
    retry = {"ErrorEquals": ["NotEnough"], "IntervalSeconds": 10, "BackoffRate": 2, "MaxDelaySeconds": 25}
    definition = machine({"Call": call(End=True, Retry=[retry | {"MaxAttempts": 3}])})
    ran = run(definition, input={}, tasks={"work": raising(*[NotEnough("1 of 5")] * 4)})
    assert ran.backoffs == [10, 20, 25]
    assert (ran.status, ran.error) == ("FAILED", "NotEnough")
    assert json.loads(ran.cause or "") == {"errorMessage": "1 of 5", "errorType": "NotEnough", "stackTrace": []}


def test_full_jitter_stays_below_the_delay() -> None:
    retry = {
        "ErrorEquals": ["NotEnough"],
        "IntervalSeconds": 8,
        "MaxAttempts": 5,
        "JitterStrategy": "FULL",
        "BackoffRate": 1,
    }
    definition = machine({"Call": call(End=True, Retry=[retry])})
    ran = run(definition, input={}, tasks={"work": raising(*[NotEnough()] * 5, then=1)})
    assert (ran.status, len(ran.backoffs)) == ("SUCCEEDED", 5)
    assert all(0 <= seconds <= 8 for seconds in ran.backoffs)
    assert len(set(ran.backoffs)) > 1


def test_a_retrier_counts_anew_each_time_its_state_is_entered() -> None:
    answers = iter([NotEnough(), False, NotEnough(), True])

    def work(_: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return {"done": answer}

    retry = [{"ErrorEquals": ["NotEnough"], "MaxAttempts": 1}]
    choice = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.done", "BooleanEquals": True, "Next": "End"}],
        "Default": "Call",
    }
    definition = machine({"Call": call(Next="Done?", Retry=retry), "Done?": choice, "End": {"Type": "Succeed"}})
    ran = run(definition, input={}, tasks={"work": work})
    assert (ran.status, ran.states) == ("SUCCEEDED", ["Call", "Done?", "Call", "Done?", "End"])


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (NotEnough("1 of 5"), "NotEnough"),
        (TaskError("Lambda.ServiceException", "again"), "Lambda.ServiceException"),
        (TaskError("States.Timeout"), "States.Timeout"),
    ],
)
def test_a_catcher_gets_the_error_by_name_and_a_fail_state_passes_it_on(error: Exception, caught: str) -> None:
    catch = [{"ErrorEquals": [caught], "ResultPath": "$.error", "Next": "Failed"}]
    fail = {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}
    ran = run(machine({"Call": call(End=True, Catch=catch), "Failed": fail}), input={}, tasks={"work": raising(error)})
    assert (ran.status, ran.error, ran.states) == ("FAILED", caught, ["Call", "Failed"])


def test_states_all_does_not_catch_what_aws_lets_nobody_catch() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    definition = machine({"Call": call(End=True, Catch=catch), "Caught": {"Type": "Succeed"}})
    ran = run(definition, input={}, tasks={"work": lambda _: "x" * 300_000})
    assert (ran.status, ran.error) == ("FAILED", "States.DataLimitExceeded")
    assert run(definition, input={}, tasks={"work": raising(NotEnough())}).status == "SUCCEEDED"


def test_what_a_task_is_given_counts_with_what_its_parameters_add() -> None:
    """moto checks only results. AWS also checks the input after `Parameters`."""
    definition = machine({"Call": call(End=True, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}])})
    definition["States"]["Caught"] = {"Type": "Succeed"}
    called: list[Any] = []
    ran = run(definition, input="x" * (256 * 1024 - 10), tasks={"work": called.append})
    assert (ran.status, ran.error, called) == ("FAILED", "States.DataLimitExceeded", [])
    assert run(definition, input="x" * (256 * 1024 - 100), tasks={"work": lambda _: {}}).status == "SUCCEEDED"


def test_the_machines_time_out_counts_the_waits() -> None:
    loop = {"Wait": {"Type": "Wait", "Seconds": 40, "Next": "Call"}, "Call": call(Next="Wait")}
    ran = run(machine(loop, TimeoutSeconds=100), input={}, tasks={"work": lambda _: {}})
    assert (ran.status, ran.error, ran.waits) == ("TIMED_OUT", "States.Timeout", [40, 40, 40])


def test_a_run_that_never_ends_is_stopped() -> None:
    loop = {"Wait": {"Type": "Wait", "Seconds": 1, "Next": "Call"}, "Call": call(Next="Wait")}
    with pytest.raises(interpreter.TooManyStates, match="more than 20 states"):
        run(machine(loop), input={}, tasks={"work": lambda _: {}}, max_states=20)


def test_a_function_without_a_task_is_a_mistake_of_the_test() -> None:
    definition = machine({"Call": call("other", End=True, Retry=[{"ErrorEquals": ["States.ALL"]}])})
    with pytest.raises(KeyError, match="calls other"):
        run(definition, input={}, tasks={"work": lambda _: {}})


def test_runs_of_one_definition_do_not_share_their_counters() -> None:
    definition = machine({"Call": call(End=True, Retry=[{"ErrorEquals": ["NotEnough"], "MaxAttempts": 2}])})
    for _ in range(3):
        assert (
            run(definition, input={}, tasks={"work": raising(NotEnough(), NotEnough(), then=1)}).status == "SUCCEEDED"
        )


def test_yaml_is_read_after_its_placeholders_are_replaced() -> None:
    text = "StartAt: Wait\nStates:\n  Wait: {Type: Wait, Seconds: '${Seconds}', End: true}\n".replace("'", "")
    assert run(asl.load(text, {"Seconds": "7"}), input={}, tasks={}).waits == [7]


# ---- maps and nested executions ---------------------------------------------------------------------------

NESTED = "arn:aws:states:us-east-1:123456789012:stateMachine:nested"


def mapped(reader: str = "arn:aws:states:::s3:getObject", **child: Any) -> dict[str, Any]:
    """Return a map over a list in S3 that starts an execution for each item."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": NESTED, "Name.$": "$.name", "Input": {"of.$": "$.name"}},
        "End": True,
        **child,
    }
    return {
        "Rows": {
            "Type": "Map",
            "ItemReader": {
                "Resource": reader,
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": "b", "Key.$": "$.key"},
            },
            "MaxConcurrencyPath": "$.concurrency",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                **machine({"Start": task}),
            },
            "End": True,
        }
    }


def run_map(
    nested: Any, count: int, concurrency: int = 3, *, redrive: interpreter.Run | None = None, **child: Any
) -> interpreter.Run:
    items = json.dumps([{"name": f"row-{number}"} for number in range(count)])
    return run(
        machine(mapped(**child)),
        input={"key": "list.json", "concurrency": concurrency},
        tasks={},
        machines={NESTED: nested},
        objects=lambda bucket, key: items if (bucket, key) == ("b", "list.json") else "",
        redrive=redrive,
    )


def test_a_map_starts_an_execution_for_each_item_and_so_many_at_a_time() -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def nested(name: str, given: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1
        return {"name": name, "given": given}

    ran = run_map(nested, 20)
    assert (ran.status, most) == ("SUCCEEDED", 3)
    assert [answer["Output"] for answer in ran.output] == [
        {"name": f"row-{number}", "given": {"of": f"row-{number}"}} for number in range(20)
    ]
    assert {answer["Status"] for answer in ran.output} == {"SUCCEEDED"}


class Unending:
    """A host whose nested executions run until they are stopped."""

    def __init__(self) -> None:
        self.started, self.stopped = threading.Event(), threading.Event()

    def entered(self, state: str) -> None:
        if state == "Fail":
            assert self.started.wait(5)

    def start(self, machine: str, name: str, given: str) -> str:
        self.started.set()
        return f"{machine}:{name}"

    def ended(self, execution: str) -> None:
        return None

    def stop(self, execution: str) -> None:
        assert execution == f"{NESTED}:nested"
        self.stopped.set()


@pytest.mark.parametrize("how", ["task timed out", "execution stopped", "branch failed"])
def test_a_nested_execution_is_stopped_when_nobody_waits_any_more(how: str) -> None:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": NESTED, "Name": "nested", "Input": {}},
        "End": True,
        **({"TimeoutSeconds": 1} if how == "task timed out" else {}),
    }
    branches = [machine({"Start": task}), machine({"Fail": {"Type": "Fail", "Error": "No"}})]
    states = {"Both": {"Type": "Parallel", "Branches": branches[: 2 if how == "branch failed" else 1], "End": True}}
    host = Unending()
    execution = engine.Execution(
        json.dumps(machine(states)),
        arn="arn:aws:states:us-east-1:123456789012:execution:test:test",
        machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:test",
        role_arn="arn:aws:iam::123456789012:role/test",
        input_={},
        started="2026-11-30T00:00:00.000Z",
        host=host,  # type: ignore[arg-type]  # all that this machine needs
    )
    running = threading.Thread(target=execution.run, daemon=True)
    running.start()
    assert host.started.wait(5)
    if how == "execution stopped":
        execution.stop("Canceled", None)
    assert host.stopped.wait(5)
    running.join(5)
    assert not running.is_alive()


def test_an_execution_can_be_described_by_its_name() -> None:
    describe = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sfn:describeExecution",
        "Parameters": {"ExecutionArn.$": "$.arn"},
        "Catch": [{"ErrorEquals": ["Sfn.ExecutionDoesNotExistException"], "Next": "Gone"}],
        "End": True,
    }
    start = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": NESTED, "Name": "known", "Input": {}},
        "ResultPath": None,
        "Next": "Describe",
    }
    states = {"Start": start, "Describe": describe, "Gone": {"Type": "Pass", "Result": "gone", "End": True}}
    for name, output in (("known", {"Status": "SUCCEEDED", "Output": '{"a": 1}'}), ("other", "gone")):
        arn = f"{NESTED.replace(':stateMachine:', ':execution:')}:{name}"
        ran = run(machine(states), input={"arn": arn}, tasks={}, machines={NESTED: lambda *_: {"a": 1}})
        assert (ran.status, ran.output) == ("SUCCEEDED", output)


def test_a_map_may_be_longer_than_pythons_stack() -> None:
    assert run_map(lambda name, given: 1, sys.getrecursionlimit() + 10, concurrency=1).status == "SUCCEEDED"


@pytest.mark.parametrize("error", [ValueError("no"), TaskError("StepFunctions.ExecutionAlreadyExistsException")])
def test_a_child_that_fails_fails_the_map_and_one_that_catches_does_not(error: Exception) -> None:
    def nested(name: str, given: Any) -> Any:
        if name == "row-1":
            raise error
        return 1

    ran = run_map(nested, 3)
    assert (ran.status, ran.error) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    name = error.error if isinstance(error, TaskError) else "States.TaskFailed"
    for caught in (name, "States.TaskFailed"):
        catch = [{"ErrorEquals": [caught], "ResultPath": "$.error", "Next": "Caught"}]
        states = mapped(Catch=catch)
        states["Rows"]["ItemProcessor"]["States"]["Caught"] = {"Type": "Pass", "End": True}
        ran = run(
            machine(states),
            input={"key": "list.json", "concurrency": 2},
            tasks={},
            machines={NESTED: nested},
            objects=lambda bucket, key: '[{"name": "row-0"}, {"name": "row-1"}]',
        )
        assert ran.status == "SUCCEEDED"
        assert ran.output[1]["error"]["Error"] == name


@pytest.mark.parametrize(
    ("tolerated", "status"),
    [
        ({"ToleratedFailureCount": 1}, "FAILED"),
        ({"ToleratedFailureCount": 2}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 49.9}, "FAILED"),
        ({"ToleratedFailurePercentage": 50.0}, "SUCCEEDED"),
    ],
)
def test_a_map_fails_when_more_children_failed_than_it_tolerates(tolerated: dict[str, Any], status: str) -> None:
    def nested(name: str, given: Any) -> Any:
        if name in ("row-1", "row-3"):
            raise ValueError(name)
        return 1

    states = mapped()
    states["Rows"] |= tolerated
    items = json.dumps([{"name": f"row-{number}"} for number in range(4)])
    ran = run(
        machine(states),
        input={"key": "list.json", "concurrency": 2},
        tasks={},
        machines={NESTED: nested},
        objects=lambda bucket, key: items,
    )
    assert ran.status == status


def test_a_map_whose_list_cannot_be_read_may_read_it_again() -> None:
    answers: list[Any] = [TaskError("S3.SlowDown", "later"), '[{"name": "row-0"}]']

    def objects(bucket: str, key: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, TaskError):
            raise answer
        return str(answer)

    states = mapped()
    states["Rows"]["Retry"] = [{"ErrorEquals": ["States.ItemReaderFailed"], "MaxAttempts": 1}]
    ran = run(
        machine(states),
        input={"key": "k", "concurrency": 1},
        tasks={},
        machines={NESTED: lambda name, given: 1},
        objects=objects,
    )
    assert (ran.status, len(ran.output), len(ran.backoffs)) == ("SUCCEEDED", 1, 1)


def test_a_list_that_cannot_be_read_fails_the_map() -> None:
    def objects(bucket: str, key: str) -> str:
        raise TaskError("S3.NoSuchKey", "gone")

    ran = run(
        machine(mapped()), input={"key": "k", "concurrency": 1}, tasks={}, machines={NESTED: print}, objects=objects
    )
    assert (ran.status, ran.error, ran.cause) == ("FAILED", "States.ItemReaderFailed", "gone")


@pytest.mark.parametrize(
    ("states", "mistake"),
    [
        ({"A": {"Type": "Pass", "Next": "B"}}, "/States/A names the missing state 'B'"),
        ({"A": {"Type": "Succeed"}, "B": {"Type": "Succeed"}}, "/States/B cannot be reached"),
        ({"A": call(End=True, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "C"}])}, "missing state 'C'"),
        (
            {"A": {"Type": "Parallel", "End": True, "Branches": [machine({"B": {"Type": "Pass", "Next": "D"}})]}},
            "/States/A/Branches/0/States/B names the missing state 'D'",
        ),
        ({"A": {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": True}}, "does not run.*sns:publish"),
        (mapped(reader="arn:aws:states:::s3:listObjectsV2"), "does not run.*listObjectsV2"),
        ({"A": {"Type": "Wait", "End": True}}, "Wait"),
        ({"A": call(End=True, Retry=[{"ErrorEquals": ["A", "States.ALL"]}])}, "States.ALL must appear alone"),
    ],
)
def test_a_definition_that_aws_would_refuse_is_refused(states: dict[str, Any], mistake: str) -> None:
    with pytest.raises(asl.InvalidDefinition, match=mistake):
        engine.check(json.dumps(machine(states)))


# ---- redrive ---------------------------------------------------------------------------------------------

TWO_STEPS = machine(
    {
        "Keep": {"Type": "Pass", "Result": {"from": "Keep"}, "Next": "Call"},
        "Call": {
            **call(Next="End", Retry=[{"ErrorEquals": ["NotEnough"], "MaxAttempts": 2}]),
            "Parameters": {
                "FunctionName": "work",
                "Payload": {
                    "given.$": "$",
                    "input.$": "$$.Execution.Input",
                    "redrives.$": "$$.Execution.RedriveCount",
                },
            },
        },
        "End": {"Type": "Succeed"},
    }
)


def types(ran: interpreter.Run) -> list[str]:
    return [event["type"] for event in ran.events]


def test_a_redrive_resumes_the_failed_state_with_its_input_and_new_tries() -> None:
    given, payloads = {"number": 7}, []

    def work(payload: Any) -> Any:
        payloads.append(payload)
        if len(payloads) <= 8:
            raise NotEnough
        return payload

    ran = run(TWO_STEPS, input=given, tasks={"work": work})
    for count in (1, 2):
        assert (ran.status, ran.error) == ("FAILED", "NotEnough")
        assert len(ran.backoffs) == 2
        before = ran.events
        ran = run(TWO_STEPS, input=given, tasks={"work": work}, redrive=ran)
        assert ran.events[: len(before)] == before
        assert ran.events[len(before)]["executionRedrivenEventDetails"] == {"redriveCount": count}
        assert [event["id"] for event in ran.events] == list(range(1, len(ran.events) + 1))
    assert (ran.status, ran.states) == ("SUCCEEDED", ["Call", "End"])
    assert payloads[-1] == {"given": {"from": "Keep"}, "input": given, "redrives": 2}
    assert [payload["redrives"] for payload in payloads] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert types(ran).count("PassStateEntered") == types(ran).count("TaskStateEntered") == 1
    assert types(ran).count("TaskScheduled") == 9


def test_a_redrive_enters_a_fail_state_again_and_fails_again() -> None:
    definition = machine({"Stop": {"Type": "Fail", "Error": "No"}})
    ran = run(definition, input={}, tasks={})
    again = run(definition, input={}, tasks={}, redrive=ran)
    assert (again.status, again.error, types(again).count("FailStateEntered")) == ("FAILED", "No", 2)


def test_a_redrive_counts_the_time_of_the_machine_anew() -> None:
    loop = {"Wait": {"Type": "Wait", "Seconds": 40, "Next": "Call"}, "Call": call(Next="Wait")}
    definition = machine(loop, TimeoutSeconds=100)
    ran = run(definition, input={}, tasks={"work": lambda _: {}})
    again = run(definition, input={}, tasks={"work": lambda _: {}}, redrive=ran)
    assert (again.status, again.waits) == ("TIMED_OUT", [40, 40, 40])


def test_a_redrive_of_a_map_resumes_at_the_map_and_not_in_a_child() -> None:
    failing = [True]

    def nested(name: str, given: Any) -> Any:
        if failing:
            raise NotEnough
        return given

    ran = run_map(nested, 2)
    assert ran.status == "FAILED"
    assert ran.place is not None
    assert ran.place.state == "Rows"
    failing.clear()
    assert run_map(nested, 2, redrive=ran).status == "SUCCEEDED"


NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"status": "ABORTED"}, None),
        ({"status": "TIMED_OUT"}, None),
        ({"events": 24_998}, None),
        ({"stopped": NOW - timedelta(days=14)}, None),
        ({"status": "RUNNING", "stopped": None}, "Execution is RUNNING and cannot be redriven"),
        ({"status": "SUCCEEDED"}, "Execution is SUCCEEDED and cannot be redriven"),
        ({"events": 24_999}, "Execution history event limit exceeded"),
        ({"stopped": NOW - timedelta(days=14, seconds=1)}, "Execution redrivable period exceeded"),
        ({"started": NOW - timedelta(days=366)}, "Execution has exceeded the max execution time"),
    ],
)
def test_what_aws_refuses_to_redrive_is_refused(facts: dict[str, Any], reason: str | None) -> None:
    usual: dict[str, Any] = {"status": "FAILED", "started": NOW - timedelta(days=20), "stopped": NOW, "events": 100}
    assert redrives.refusal(**{**usual, **facts}, now=NOW) == reason


def test_a_client_token_stands_for_one_redrive_for_a_quarter_of_an_hour() -> None:
    past = redrives.Redrives()
    moment = past.add("a", NOW)
    assert past.repeated("a", NOW + timedelta(minutes=15)) == moment
    assert past.repeated("a", NOW + timedelta(minutes=15, seconds=1)) is None
    assert past.repeated("b", NOW) is None
    assert past.repeated(None, NOW) is None
    for number in range(10):
        past.add(str(number), NOW)
    assert past.repeated("a", NOW) is None
    assert (past.count, past.repeated("0", NOW)) == (11, past.last)


@pytest.mark.parametrize(
    ("expression", "status", "output"),
    [
        ("{% $states.input.seconds + 1 %}", "SUCCEEDED", 6),
        ("{% $uppercase($states.input.name) %}", "SUCCEEDED", "SHOE"),
        ("{% $states.input.seconds + 'one' %}", "FAILED", None),
    ],
)
def test_an_expression_in_jsonata_is_evaluated(expression: str, status: str, output: Any) -> None:
    only = {"Type": "Pass", "Output": expression, "End": True}
    ran = run(machine({"Only": only}, QueryLanguage="JSONata"), input={"seconds": 5, "name": "shoe"}, tasks={})
    assert (ran.status, ran.output) == (status, output)
