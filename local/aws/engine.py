"""Run a state machine on moto's interpreter of the Amazon States Language. Only this module imports it.

moto's interpreter is strict where it matters (Retry, Catch, jitter, timeouts, data limits), but it expects moto's own
services around it. Here it gets a `Host` instead, which says what a task answers and how long a wait lasts. Supported
are Lambda functions, nested executions that are waited for, and maps over a list in S3.
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
    """Import without moto.batch, which drags in all of EC2 (a second) for one enum of a service not used here."""
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
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
        StateTaskServiceSfn,
    )
    from moto.stepfunctions.parser.asl.component.state.fail import state_fail
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
    from moto.stepfunctions.parser.asl.eval import evaluation_details, program_state
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.asl.utils import json_path
    from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
    from moto.stepfunctions.parser.utils import TMP_THREADS

# moto logs every failure with the data that caused it: inputs do not belong in a log.
logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)

_TASKS = (":::lambda:invoke", ":::states:startExecution.sync:2")
_READER = ":::s3:getObject"
_MAX_BYTES = 256 * 1024  # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
_POLL_SECONDS = 0.05  # between two polls of a nested execution; AWS is told of its end

Pause = Literal["wait", "backoff"]
Status = Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


class FunctionError(Exception):
    """A Lambda function answered with an error. `payload` is its JSON answer, with `errorType` and `errorMessage`."""

    def __init__(self, payload: str) -> None:
        super().__init__(payload)
        self.payload = payload


class TaskError(Exception):
    """A task failed with this `Error` and `Cause`, for example `Lambda.ServiceException` or `States.Timeout`."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause


class Host(Protocol):
    """The world around an execution. Called from the interpreter's threads, several at once for parallel branches."""

    def entered(self, state: str) -> None:
        """A state was entered. An exception from here ends the execution."""

    def pause(self, seconds: float, reason: Pause) -> float:
        """Return the state machine asks for a pause of `seconds`; answers how many seconds it shall really last."""

    def invoke(self, function: str, payload: bytes) -> Any:
        """Invoke a Lambda function and return its JSON answer.

        Raises:
            FunctionError: The function ran and failed.
            TaskError: The function could not be run.
        """

    def start(self, machine: str, name: str, given: str) -> str:
        """Start an execution of another state machine with this input (JSON text); answers its ARN.

        Raises:
            TaskError: It could not be started.
        """

    def ended(self, execution: str) -> dict[str, Any] | None:
        """Return what DescribeExecution answers about an execution that has ended, or None while it runs."""

    def read(self, bucket: str, key: str) -> str:
        """Return the text of an object in S3.

        Raises:
            TaskError: It cannot be read.
        """


@dataclass(frozen=True)
class Outcome:
    """How an execution ended. `output` is JSON text, and only a succeeded execution has one."""

    status: Status
    output: str | None = None
    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Place:
    """Where an execution is.

    Attributes:
        state: The state that was entered last.
        given: What it was entered with, a JSON value.
    """

    state: str
    given: Any


@dataclass(frozen=True)
class Redrive:
    """What a redriven execution goes on with.

    A state starts anew, and its retriers count anew. That holds for a map, too: AWS would start only those of its
    children again that did not succeed.
    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html

    Attributes:
        count: How often the execution has been redriven, this time included.
        moment: When, ISO 8601.
        events: Its history so far.
        place: Where it stopped. None: it had entered no state.
    """

    count: int
    moment: str
    events: list[dict[str, Any]]
    place: Place | None


def check(definition: str) -> None:
    """Check a definition (JSON) as CreateStateMachine does: grammar, targets, and what this engine carries.

    Raises:
        asl.InvalidDefinition: Lists the mistakes.
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
        arn: The execution's ARN; its account and region are the execution's own.
        machine_arn: The state machine's ARN.
        role_arn: The role of the state machine.
        input_: The execution's input, a JSON value.
        started: When it was started, ISO 8601.
        host: Answers tasks and pauses.
        redrive: What it goes on with. None: it starts from the beginning.
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
        # Every environment of an execution, also those of branches and tasks, shares this object.
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
        """Run to the end and say how it ended."""
        self._worker._execution_logic()
        TMP_THREADS.clear()  # moto keeps every thread that it ever started
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
        """End the execution before its next state. A task that is running is not interrupted, as on AWS."""
        self._host.stopped = True
        self._worker.stop(datetime.now(UTC), error, cause)

    def time_out(self) -> None:
        """End the execution as if its `TimeoutSeconds` were over."""
        self._worker.env.set_timed_out()

    @property
    def place(self) -> Place | None:
        """Where it is, or where it stopped. None: it has entered no state yet."""
        entered = self._worker.env.event_manager.entered
        return Place(entered["name"], json.loads(entered["input"])) if entered else None

    def history(self) -> list[dict[str, Any]]:
        """Return the events so far, in the form of GetExecutionHistory."""
        events: list[dict[str, Any]] = json.loads(to_json_str(self._worker.env.event_manager.get_event_history()))
        return events


class _Stopped(Exception):
    """The execution was stopped before moto's interpreter was running, which moto would not notice."""


class _Stoppable:
    """A host that lets no state be entered any more once its execution was stopped."""

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
    """The history, and the state of the machine itself (not of a branch or a child) that was entered last."""

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
        """Whether a redrive resumes with this state's task: it is scheduled, and the state is not entered again."""
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
        """moto tells its own service here that the execution is over; `run` returns instead."""

    def _execution_logic(self) -> None:
        if self._redrive is None:
            super()._execution_logic()
            return
        program = self._get_evaluation_entrypoint()
        if place := self._redrive.place:
            program = copy.copy(program)
            program.start_at = StartAt(place.state)
            # The context object keeps the execution's own input; only the state gets what it was entered with.
            self.env.states.reset(place.given)
        program.eval(self.env)

    def _get_evaluation_entrypoint(self) -> Any:
        return _program(self._evaluation_details.state_machine_details.definition)

    def _get_evaluation_environment(self) -> Any:
        return self.env


_parsing = threading.Lock()


@functools.lru_cache(maxsize=32)
def _program(definition: str) -> Any:
    """Parse once per definition. moto's parsers share tables between threads without a lock, and are slow."""
    with _parsing:
        try:
            return AmazonStateLanguageParser.parse(definition)[0]
        except Exception as error:  # noqa: BLE001 - moto raises whatever its parser meets
            raise asl.InvalidDefinition(str(error) or type(error).__name__) from None


def _resources(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield the resources that this engine does not carry."""
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
    """Sleep as long as the host says, or until the execution is over."""
    end = time.monotonic() + env.aws_execution_details.host.pause(seconds, reason)
    while env.is_running() and (left := end - time.monotonic()) > 0:
        # In slices: moto's event is cleared as soon as it is set, so a waiter can miss it.
        env.program_state_event.wait(min(left, 0.5))


def _invoke(env: Any, parameters: dict[str, Any], region: str, state_credentials: Any) -> None:
    """Stands in for moto's call of the Lambda API."""
    around = {name: value for name, value in parameters.items() if name != "Payload"}
    if len(json.dumps(around)) + len(parameters["Payload"]) > _MAX_BYTES:
        # moto checks results only. On AWS, what a task is given after `Parameters` counts as well.
        # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
        failure = TaskError("States.DataLimitExceeded", "The input of the task has more than 256 KiB.")
        raise failure_event.FailureEventException(_failure(env, failure))
    try:
        payload = env.aws_execution_details.host.invoke(parameters["FunctionName"], parameters["Payload"])
    except FunctionError as error:
        raise lambda_eval_utils.LambdaFunctionErrorException("Unhandled", error.payload) from None
    except TaskError as error:
        raise failure_event.FailureEventException(_failure(env, error)) from None
    if not env.is_running():  # timed out in the meantime: the answer comes too late to be part of the history
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


def _start(self: Any, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any) -> None:
    """Stands in for moto's call of its own Step Functions API."""
    machine, name, given = (normalised_parameters.get(key) for key in ("StateMachineArn", "Name", "Input"))
    try:
        arn = env.aws_execution_details.host.start(machine, name, given)
    except TaskError as error:
        raise failure_event.FailureEventException(_failure(env, error, self._get_sfn_resource(), "states")) from None
    env.stack.append({"ExecutionArn": arn, "StartDate": datetime.now(UTC).isoformat(timespec="milliseconds")})


def _await_end(
    self: Any, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
) -> None:
    """Stands in for what moto does about `.sync:2`: it asks twice a second, and reads the answer wrongly."""
    started = env.stack.pop()
    host = env.aws_execution_details.host
    while (ended := host.ended(started["ExecutionArn"])) is None:
        if not env.is_running():
            raise TimeoutError
        time.sleep(_POLL_SECONDS)
    # As on AWS, the nested execution's own names begin with capitals, and its input and output are JSON values.
    answer = {name[0].upper() + name[1:]: value for name, value in ended.items() if value is not None}
    answer |= {name: json.loads(answer[name]) for name in ("Input", "Output") if name in answer}
    if ended["status"] != "SUCCEEDED":
        error = TaskError("States.TaskFailed", json.dumps(answer, default=str))
        raise failure_event.FailureEventException(_failure(env, error, self._get_sfn_resource(), "states"))
    env.stack.append(answer)


def _read(env: Any, resource_runtime_part: Any, state_credentials: Any) -> None:
    """Stands in for moto's call of the S3 API."""
    place = env.stack.pop()
    try:
        env.stack.append(env.aws_execution_details.host.read(place["Bucket"], place["Key"]))
    except TaskError as error:
        failure = TaskError("States.ItemReaderFailed", error.cause)
        raise failure_event.FailureEventException(_failure(env, failure, "getObject", "s3")) from None


def _work(self: Any, job: Any, worker_frame: Any) -> None:
    """One worker of a map: item after item. moto calls itself once for each, and ends at Python's recursion limit."""
    while job is not None:
        frame = worker_frame.open_inner_frame()
        self._eval_job(env=frame, job=job)
        worker_frame.delete_frame(frame)
        self._job_pool.close_job(job)
        job = None if self.stopped() or not worker_frame.is_running() else self._job_pool.next_job()


def _map(self: Any, env: Any, eval_input: Any) -> None:
    """Fail the map when more children failed than it tolerates, as AWS does; moto does not look.

    https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html#maprun-fail-threshold
    """
    _run_map(self, env, eval_input)
    counted = eval_input.map_run_record.item_counter
    failed, total = counted.failed.get(), counted.total.get()
    if failed > max(eval_input.tolerated_failure_count, eval_input.tolerated_failure_percentage * total / 100):
        error = TaskError("States.ExceedToleratedFailureThreshold", f"{failed} of the map's executions failed.")
        raise failure_event.FailureEventException(_failure(env, error, "map", "states"))


def _error_name(name: str) -> Any:
    """moto refuses `States.…` where AWS takes it: in a Fail state that passes on what was caught."""
    return StatesErrorName.from_name(name) if name.startswith("States.") else CustomErrorName(name)


def _equals(self: Any, env: Any) -> None:
    """Match wildcards as AWS does: `States.ALL` all that may be caught, `States.TaskFailed` all of that but time-outs.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    name = env.stack.pop().error_name
    named = {error.error_name for error in self.error_names}
    caught = name not in ("States.Runtime", "States.DataLimitExceeded") and (
        "States.ALL" in named or ("States.TaskFailed" in named and name != "States.Timeout")
    )
    env.stack.append(name in named or caught)


class _BackOff(threading.local):
    """Stands in for the module `time` in moto's retrier, which sleeps without saying for which execution."""

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
StateTaskServiceSfn._eval_service_task = _start
StateTaskServiceSfn._eval_integration_pattern = _await_end
ResourceEvalS3._handle_get_object = staticmethod(_read)
distributed_item_processor_worker.DistributedItemProcessorWorker._eval_pool = _work
distributed_iteration_component.DistributedIterationComponent._map_run = _map
state_fail.CustomErrorName = _error_name
ErrorEqualsDecl._eval_body = _equals
retrier_decl.time = _back_off
retrier_decl.RetrierDecl._eval_body = _retry
WaitFunction._wait_interval = _wait
json_path.parse = _path
# A program is shared by all executions of a definition, so the key of a component must not depend on who asks first.
EvalComponent.heap_key = property(lambda self: str(id(self)))
