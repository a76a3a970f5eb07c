"""Run a state machine on moto's interpreter of the Amazon States Language. Only this module imports it.

moto's interpreter is strict where it matters (Retry, Catch, jitter, timeouts, data limits), but it expects moto's own
services. Here a `Host` replaces them and provides the results of tasks and the length of waits. The engine supports
Lambda functions, nested executions that are waited for, DescribeExecution, and maps over a list in S3.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import sys
import threading
import time
import types
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from local.aws import asl, pins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pins.require("moto")


@contextmanager
def _without_batch() -> Iterator[None]:
    """Import without moto.batch, which imports all of EC2 (one second) for one unused enum."""
    utils = types.ModuleType("moto.batch.utils")
    vars(utils)["JobStatus"] = Enum("JobStatus", ["SUCCEEDED", "FAILED"])
    stand_ins = {"moto.batch": types.ModuleType("moto.batch"), "moto.batch.utils": utils}
    added = [name for name in stand_ins if name not in sys.modules]
    sys.modules.update({name: stand_ins[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


with _without_batch():
    from moto.stepfunctions.parser.api import HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name import failure_event
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.flow.start_at import StartAt
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_eval_s3 import (
        ResourceEvalS3,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import distributed_iteration_component
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor import (
        distributed_item_processor_worker,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
        StateTaskServiceAwsSdk,
    )
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.component.state.fail import state_fail
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
    from moto.stepfunctions.parser.asl.eval import evaluation_details, program_state
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
    from moto.stepfunctions.parser.asl.jsonata import jsonata
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.asl.utils import json_path
    from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
    from moto.stepfunctions.parser.utils import TMP_THREADS

# moto logs every failure with the data that caused it, but inputs must not be logged.
logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)

_DESCRIBE = ":::aws-sdk:sfn:describeExecution"
_TASKS = (":::lambda:invoke", ":::states:startExecution.sync:2", _DESCRIBE)
_READER = ":::s3:getObject"
_MAX_BYTES = 256 * 1024  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_POLL_SECONDS = 0.05  # between two polls of a nested execution; AWS uses an event instead

Pause = Literal["wait", "backoff"]
Status = Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


class FunctionError(Exception):
    """A Lambda function failed. `payload` is its JSON answer, with `errorType` and `errorMessage`."""

    def __init__(self, payload: str) -> None:
        super().__init__(payload)
        self.payload = payload


class TaskError(Exception):
    """A task failed. `error` and `cause` are its `Error`, such as `States.Timeout`, and `Cause`."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause


class Host(Protocol):
    """The services around an execution. Its methods are called from several threads at once for parallel branches."""

    def entered(self, state: str) -> None:
        """Handle that a state was entered. An exception ends the execution."""

    def pause(self, seconds: float, reason: Pause) -> float:
        """Return the real length, in seconds, of a pause for which the state machine asks for `seconds`."""

    def invoke(self, function: str, payload: bytes) -> Any:
        """Invoke a Lambda function and return its JSON answer.

        Raises:
            FunctionError: The function ran and failed.
            TaskError: The function could not be run.
        """

    def start(self, machine: str, name: str, given: str) -> str:
        """Start an execution of another state machine with this input (JSON text), and return its ARN.

        Raises:
            TaskError: It could not be started.
        """

    def ended(self, execution: str) -> dict[str, Any] | None:
        """Return the DescribeExecution response of an ended execution, or None while it runs."""

    def stop(self, execution: str) -> None:
        """Stop a nested execution whose parent waits no longer. As on AWS, this may fail and then changes nothing."""

    def describe(self, execution: str) -> dict[str, Any]:
        """Return the DescribeExecution response of any execution.

        Raises:
            TaskError: It cannot be described.
        """

    def read(self, bucket: str, key: str) -> str:
        """Return the text of an object in S3.

        Raises:
            TaskError: It cannot be read.
        """


@dataclass(frozen=True)
class Outcome:
    """The result of an execution. `output` is JSON text; None unless it succeeded."""

    status: Status
    output: str | None = None
    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Place:
    """The position of an execution.

    Attributes:
        state: The state that was entered last.
        given: The state's input, a JSON value.
    """

    state: str
    given: Any


@dataclass(frozen=True)
class Redrive:
    """The data for redriving an execution.

    The state restarts, and its retriers start at zero. So does a map; AWS would restart only its failed children.
    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html

    Attributes:
        count: The number of redrives, including this one.
        moment: The time of this one, ISO 8601.
        events: The history so far.
        place: The position where it stopped. None: it had entered no state.
    """

    count: int
    moment: str
    events: list[dict[str, Any]]
    place: Place | None


def check(definition: str) -> None:
    """Check a definition (JSON) as CreateStateMachine does: grammar, targets, and resources that this engine supports.

    Raises:
        asl.InvalidDefinition: The definition has mistakes; the text lists them.
    """
    machine = json.loads(definition)
    asl.check_targets(machine)
    others = sorted(set(_resources(machine)))
    if others:
        raise asl.InvalidDefinition(f"this does not run on the laptop: {', '.join(others)}")
    _program(definition)


class Execution:
    """One run of a state machine. `run` blocks; `stop`, `time_out` and `history` may be called from other threads.

    Args:
        definition: The state machine as JSON.
        arn: The execution's ARN, with its account and region.
        machine_arn: The state machine's ARN.
        role_arn: The role of the state machine.
        input_: The execution's input, a JSON value.
        started: When it was started, ISO 8601.
        host: Runs tasks and sets the length of pauses.
        redrive: The data for a redrive. None: it starts from the beginning.
    """

    def __init__(
        self,
        definition: str,
        *,
        arn: str,
        machine_arn: str,
        role_arn: str,
        input_: Any,
        started: str,
        host: Host,
        redrive: Redrive | None = None,
    ) -> None:
        region, account = arn.split(":")[3:5]
        around = evaluation_details.AWSExecutionDetails(account=account, region=region, role_arn=role_arn)
        # All environments of an execution, including those of branches and tasks, share this object.
        around.host = _Stoppable(host)
        self._host = around.host
        self._worker = _Worker(
            evaluation_details.EvaluationDetails(
                aws_execution_details=around,
                execution_details=evaluation_details.ExecutionDetails(
                    arn=arn, name=arn.rsplit(":", 1)[-1], role_arn=role_arn, inpt=input_, start_time=started
                ),
                state_machine_details=evaluation_details.StateMachineDetails(
                    arn=machine_arn, name=machine_arn.rsplit(":", 1)[-1], typ="STANDARD", definition=definition
                ),
            ),
            around.host,
            redrive,
        )

    def run(self) -> Outcome:
        """Run to the end and return the outcome."""
        self._worker._execution_logic()
        TMP_THREADS.clear()  # otherwise moto keeps every thread forever
        env = self._worker.env
        state = env.program_state()
        if isinstance(state, program_state.ProgramEnded):
            return Outcome("SUCCEEDED", output=to_json_str(env.states.get_input(), separators=(",", ":")))
        if isinstance(state, program_state.ProgramTimedOut):
            return Outcome("TIMED_OUT", error="States.Timeout")
        if isinstance(state, program_state.ProgramStopped):
            return Outcome("ABORTED", error=state.error, cause=state.cause)
        error = state.error or {}
        return Outcome("FAILED", error=error.get("error"), cause=error.get("cause"))

    def stop(self, error: str | None, cause: str | None) -> None:
        """End the execution before its next state. As on AWS, a running task is not interrupted."""
        self._host.stopped = True
        self._worker.stop(datetime.now(UTC), error, cause)

    def time_out(self) -> None:
        """End the execution as if its `TimeoutSeconds` had passed."""
        self._worker.env.set_timed_out()

    @property
    def place(self) -> Place | None:
        """The position where it is or stopped. None: it has entered no state yet."""
        entered = self._worker.env.event_manager.entered
        return Place(entered["name"], json.loads(entered["input"])) if entered else None

    def history(self) -> list[dict[str, Any]]:
        """Return the events so far, in the form of GetExecutionHistory."""
        events: list[dict[str, Any]] = json.loads(to_json_str(self._worker.env.event_manager.get_event_history()))
        return events


class _Stopped(Exception):
    """The execution was stopped before moto's interpreter ran, which moto would ignore."""


class _Stoppable:
    """A host that raises when a stopped execution enters a state."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.stopped = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def entered(self, state: str) -> None:
        if self.stopped:
            raise _Stopped
        self._host.entered(state)


class _History(EventManager):  # type: ignore[misc]
    """The history, and the last entered state of the machine itself (not of a branch or a child)."""

    def __init__(self, host: _Stoppable, own: Any, redrive: Redrive | None) -> None:
        super().__init__()
        self._host = host
        self._own = own
        place = redrive.place if redrive else None
        self.entered: dict[str, Any] | None = {"name": place.state, "input": json.dumps(place.given)} if place else None
        self._scheduled_again = place is not None
        if redrive:
            self._history_event_list.extend(redrive.events)
            self._event_id_gen._next_id = len(redrive.events) + 1

    def add_event(self, context: Any, event_type: Any, event_details: Any = None, **options: Any) -> int:
        entered = (event_details or {}).get("stateEnteredEventDetails")
        if entered and self._is_scheduled_again(event_type):
            event: int = context.last_published_event_id
        else:
            event = super().add_event(context, event_type, event_details, **options)
        if entered:
            if context is self._own:
                self.entered = entered
            self._host.entered(entered["name"])
        return event

    def _is_scheduled_again(self, event_type: Any) -> bool:
        """Whether a redrive resumes at this state: its task is scheduled again, but the state is not entered again."""
        again, self._scheduled_again = self._scheduled_again, False
        return again and event_type == HistoryEventType.TaskStateEntered


class _Worker(ExecutionWorker):  # type: ignore[misc]
    def __init__(self, details: Any, host: _Stoppable, redrive: Redrive | None) -> None:
        super().__init__(details, self, None, {})
        self._redrive = redrive
        self.env = super()._get_evaluation_environment()
        if redrive:
            self.env.event_history_context = EventHistoryContext(len(redrive.events))
        self.env.event_manager = _History(host, self.env.event_history_context, redrive)
        # https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
        execution = self.env.states.context_object.context_object_data["Execution"]
        execution |= {"RedriveCount": redrive.count, "RedriveTime": redrive.moment} if redrive else {"RedriveCount": 0}

    def terminated(self) -> None:
        """Do nothing: moto would notify its own service, but here `run` returns."""

    def _execution_logic(self) -> None:
        if self._redrive is None:
            super()._execution_logic()
            return
        program = self._get_evaluation_entrypoint()
        if place := self._redrive.place:
            program = copy.copy(program)
            program.start_at = StartAt(place.state)
            # The context object keeps the execution's input; only the state gets its own input.
            self.env.states.reset(place.given)
        program.eval(self.env)

    def _get_evaluation_entrypoint(self) -> Any:
        return _program(self._evaluation_details.state_machine_details.definition)

    def _get_evaluation_environment(self) -> Any:
        return self.env


_parsing = threading.Lock()


@functools.lru_cache(maxsize=32)
def _program(definition: str) -> Any:
    """Parse each definition once. moto's parsers are slow, and share tables between threads without a lock."""
    with _parsing:
        try:
            return AmazonStateLanguageParser.parse(definition)[0]
        except Exception as error:  # noqa: BLE001 - moto's parser raises many kinds
            raise asl.InvalidDefinition(str(error) or type(error).__name__) from None


def _resources(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield the resources that this engine does not support."""
    for state in machine["States"].values():
        resource = str(state.get("Resource", ""))
        if state.get("Type") == "Task" and not (resource.endswith(_TASKS) or ":function:" in resource):
            yield resource
        reader = state.get("ItemReader")
        if reader and not reader["Resource"].endswith(_READER):
            yield reader["Resource"]
        for nested, _ in asl.machines_in(state):
            yield from _resources(nested)


def _sleep(env: Any, seconds: float, reason: Pause) -> None:
    """Sleep for the host's length of the pause, or until the execution ends."""
    end = time.monotonic() + env.aws_execution_details.host.pause(seconds, reason)
    while env.is_running() and (left := end - time.monotonic()) > 0:
        # In slices, because moto clears its event as soon as it is set, so a waiter can miss it.
        env.program_state_event.wait(min(left, 0.5))


def _invoke(env: Any, parameters: dict[str, Any], region: str, state_credentials: Any) -> None:
    """Replace moto's call of the Lambda API."""
    around = {name: value for name, value in parameters.items() if name != "Payload"}
    if len(json.dumps(around)) + len(parameters["Payload"]) > _MAX_BYTES:
        # moto checks only results. AWS also checks a task's input after `Parameters`.
        # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
        failure = TaskError("States.DataLimitExceeded", "The input of the task has more than 256 KiB.")
        raise failure_event.FailureEventException(_failure(env, failure))
    try:
        payload = env.aws_execution_details.host.invoke(parameters["FunctionName"], parameters["Payload"])
    except FunctionError as error:
        raise lambda_eval_utils.LambdaFunctionErrorException("Unhandled", error.payload) from None
    except TaskError as error:
        raise failure_event.FailureEventException(_failure(env, error)) from None
    if not env.is_running():  # timed out in the meantime, so the answer is too late for the history
        raise TimeoutError
    env.stack.append({"ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200})


def _failure(env: Any, error: TaskError, resource: str = "invoke", kind: str = "lambda") -> Any:
    timed_out = error.error == "States.Timeout"
    details = {"error": error.error, "cause": error.cause, "resource": resource, "resourceType": kind}
    return failure_event.FailureEvent(
        env=env,
        error_name=_error_name(error.error),
        event_type=HistoryEventType.TaskTimedOut if timed_out else HistoryEventType.TaskFailed,
        event_details={"taskTimedOutEventDetails" if timed_out else "taskFailedEventDetails": details},
    )


def _evaluate(expression: str) -> Any:
    """Evaluate JSONata. moto expects a Java machine for it, and brings none."""
    from jsonata import Jsonata  # the project's own state machines have none

    try:
        value = Jsonata(expression).evaluate(None)
        return json.loads(json.dumps(value))
    except Exception as error:  # noqa: BLE001 - the package raises many kinds
        raise jsonata.JSONataException("States.QueryEvaluationError", str(error)) from None


def _start(self: Any, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any) -> None:
    """Replace moto's call of its own Step Functions API."""
    machine, name, given = (normalised_parameters.get(key) for key in ("StateMachineArn", "Name", "Input"))
    try:
        arn = env.aws_execution_details.host.start(machine, name, given)
    except TaskError as error:
        raise failure_event.FailureEventException(_failure(env, error, self._get_sfn_resource(), "states")) from None
    env.stack.append({"ExecutionArn": arn, "StartDate": datetime.now(UTC).isoformat(timespec="milliseconds")})


def _await_end(
    self: Any, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
) -> None:
    """Replace moto's `.sync:2`, which polls twice a second and misreads the answer."""
    started = env.stack.pop()
    host = env.aws_execution_details.host
    while (ended := host.ended(started["ExecutionArn"])) is None:
        if not env.is_running():  # the task timed out, or its execution was stopped or failed in another branch
            # https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-sync
            host.stop(started["ExecutionArn"])
            raise TimeoutError
        time.sleep(_POLL_SECONDS)
    # As on AWS, the nested execution's fields begin with capitals, and its input and output are JSON values.
    answer = _capitals(ended)
    answer |= {name: json.loads(answer[name]) for name in ("Input", "Output") if name in answer}
    if ended["status"] != "SUCCEEDED":
        error = TaskError("States.TaskFailed", json.dumps(answer, default=str))
        raise failure_event.FailureEventException(_failure(env, error, self._get_sfn_resource(), "states"))
    env.stack.append(answer)


def _describe(
    self: Any, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
) -> None:
    """Replace moto's call of DescribeExecution by the AWS SDK. Here the input and output stay JSON texts."""
    try:
        found = env.aws_execution_details.host.describe(normalised_parameters["ExecutionArn"])
    except TaskError as error:
        failure = _failure(env, error, self._get_sfn_resource(), self._get_sfn_resource_type())
        raise failure_event.FailureEventException(failure) from None
    env.stack.append(json.loads(json.dumps(_capitals(found), default=str)))


def _capitals(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name[0].upper() + name[1:]: value for name, value in fields.items() if value is not None}


def _read(env: Any, resource_runtime_part: Any, state_credentials: Any) -> None:
    """Replace moto's call of the S3 API."""
    place = env.stack.pop()
    try:
        env.stack.append(env.aws_execution_details.host.read(place["Bucket"], place["Key"]))
    except TaskError as error:
        failure = TaskError("States.ItemReaderFailed", error.cause)
        raise failure_event.FailureEventException(_failure(env, failure, "getObject", "s3")) from None


def _work(self: Any, job: Any, worker_frame: Any) -> None:
    """Process a map's items in a loop. moto's worker recurses for each item and hits Python's recursion limit."""
    while job is not None:
        frame = worker_frame.open_inner_frame()
        self._eval_job(env=frame, job=job)
        worker_frame.delete_frame(frame)
        self._job_pool.close_job(job)
        job = None if self.stopped() or not worker_frame.is_running() else self._job_pool.next_job()


def _map(self: Any, env: Any, eval_input: Any) -> None:
    """Fail the map when more children failed than it tolerates, as AWS does; moto does not check.

    https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html#maprun-fail-threshold
    """
    _run_map(self, env, eval_input)
    counted = eval_input.map_run_record.item_counter
    failed, total = counted.failed.get(), counted.total.get()
    if failed > max(eval_input.tolerated_failure_count, eval_input.tolerated_failure_percentage * total / 100):
        error = TaskError("States.ExceedToleratedFailureThreshold", f"{failed} of the map's executions failed.")
        raise failure_event.FailureEventException(_failure(env, error, "map", "states"))


def _error_name(name: str) -> Any:
    """Accept `States.…` in a Fail state that passes on a caught error, as AWS does; moto refuses it."""
    return StatesErrorName.from_name(name) if name.startswith("States.") else CustomErrorName(name)


def _equals(self: Any, env: Any) -> None:
    """Match wildcards as AWS does: `States.ALL` any catchable error, `States.TaskFailed` any of these but timeouts.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    name = env.stack.pop().error_name
    named = {error.error_name for error in self.error_names}
    caught = name not in ("States.Runtime", "States.DataLimitExceeded") and (
        "States.ALL" in named or ("States.TaskFailed" in named and name != "States.Timeout")
    )
    env.stack.append(name in named or caught)


class _BackOff(threading.local):
    """Replacement for `time` in moto's retrier, which sleeps without passing its execution."""

    env: Any

    def sleep(self, seconds: float) -> None:
        _sleep(self.env, seconds, "backoff")


_back_off = _BackOff()
_find_retrier = retrier_decl.RetrierDecl._eval_body
_parse_path = json_path.parse


def _retry(self: Any, env: Any) -> None:
    _back_off.env = env
    _find_retrier(self, env)


def _wait(self: Any, env: Any, wait_seconds: float) -> None:
    _sleep(env, wait_seconds, "wait")


@functools.lru_cache(maxsize=1024)
def _path(path: str) -> Any:
    with _parsing:
        return _parse_path(path)


_run_map = distributed_iteration_component.DistributedIterationComponent._map_run

lambda_eval_utils.execute_lambda_function_integration = _invoke
jsonata._eval_jsonata = _evaluate
StateTaskServiceSfn._eval_service_task = _start
StateTaskServiceSfn._eval_integration_pattern = _await_end
StateTaskServiceAwsSdk._eval_service_task = _describe
ResourceEvalS3._handle_get_object = staticmethod(_read)
distributed_item_processor_worker.DistributedItemProcessorWorker._eval_pool = _work
distributed_iteration_component.DistributedIterationComponent._map_run = _map
state_fail.CustomErrorName = _error_name
ErrorEqualsDecl._eval_body = _equals
retrier_decl.time = _back_off
retrier_decl.RetrierDecl._eval_body = _retry
WaitFunction._wait_interval = _wait
json_path.parse = _path
# All executions of a definition share a program, so a component's key must not depend on the first execution.
EvalComponent.heap_key = property(lambda self: str(id(self)))
