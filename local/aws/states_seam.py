"""A seam to MiniStack: its Step Functions API runs executions on `engine`.

MiniStack's own interpreter accepts any definition and ignores much of Retry. Here definitions are checked when they are
deployed, executions run on the strict engine, Waits and back-off shrink by a time scale, and status changes go out
through MiniStack's EventBridge. It knows MiniStack's records of state machines and executions; the engine's inside and
the state machines are unknown to it.
"""

from __future__ import annotations

import functools
import json
import threading
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import lambda_runtime, responses
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from local.aws import asl, engine

if TYPE_CHECKING:
    from collections.abc import Callable

_create = stepfunctions._create_state_machine
_update = stepfunctions._update_state_machine
_start = stepfunctions._start_execution
_stop = stepfunctions._stop_execution
_history = stepfunctions._get_execution_history
_definition = provisioners._sfn_definition


class StateMachines:
    """Runs the executions of all state machines.

    Args:
        endpoint: Where tasks reach the Lambda API.
        time_scale: What Waits and back-off are multiplied by. Time-outs are never scaled.
    """

    def __init__(self, endpoint: str, time_scale: float) -> None:
        self._endpoint = endpoint
        self._time_scale = time_scale
        self._lock = threading.RLock()
        self._running: dict[str, engine.Execution] = {}
        self._clients: dict[tuple[str, str], Any] = {}

    def install(self) -> None:
        """Take the place of MiniStack's interpreter."""
        stepfunctions._create_state_machine = lambda data: _refuse(data) or _create(data)
        stepfunctions._update_state_machine = lambda data: _refuse(data) or _update(data)
        stepfunctions._start_execution = _start_once
        stepfunctions._stop_execution = self._stop
        stepfunctions._get_execution_history = self._history
        stepfunctions._run_execution = self._run
        provisioners._sfn_definition = _checked_definition

    def _run(self, arn: str) -> None:
        record = stepfunctions._executions[arn]
        machine = stepfunctions._state_machines[record["stateMachineArn"]]
        host = _Host(self._time_scale, functools.partial(self._client, machine["roleArn"]))
        execution = engine.Execution(
            machine["definition"],
            arn=arn,
            machine_arn=record["stateMachineArn"],
            role_arn=machine["roleArn"],
            input_=json.loads(record["input"]),
            started=record["startDate"],
            host=host,
        )
        with self._lock:
            if record["status"] != "RUNNING":  # stopped before it could start
                return
            self._running[arn] = execution
        outcome = execution.run()
        with self._lock:
            del self._running[arn]
            if record["status"] != "RUNNING":  # stopped; that has been told
                return
            record["events"][:] = execution.history()
            record.update(vars(outcome), stopDate=responses.now_iso())
        stepfunctions._emit_execution_status_event(record)

    def _stop(self, data: dict[str, Any]) -> Any:
        arn = data.get("executionArn", "")
        with self._lock:
            execution = self._running.get(arn)
            if execution:
                stepfunctions._executions[arn]["events"][:] = execution.history()
                execution.stop(data.get("error"), data.get("cause"))
            return _stop(data)

    def _history(self, data: dict[str, Any]) -> Any:
        arn = data.get("executionArn", "")
        with self._lock:
            record, execution = stepfunctions._executions.get(arn), self._running.get(arn)
            if record and execution and record["status"] == "RUNNING":
                record["events"][:] = execution.history()
        return _history(data)

    def _client(self, role_arn: str, service: str) -> Any:
        """A client that acts as the state machine's role. Made once per role and service: making one is slow."""
        with self._lock:
            if (role_arn, service) not in self._clients:
                identity = {"FunctionArn": _function_arn("states"), "FunctionName": "states", "Role": role_arn}
                credentials = lambda_runtime.execution_credentials(identity)
                self._clients[role_arn, service] = boto3.session.Session().client(
                    service,
                    region_name=responses.get_region(),
                    endpoint_url=self._endpoint,
                    aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=credentials["AWS_SESSION_TOKEN"] or None,
                    config=Config(retries={"total_max_attempts": 1}, read_timeout=930, max_pool_connections=64),
                )
            return self._clients[role_arn, service]


class _Host:
    """One execution's world: what the stand-in has, as far as the role may use it, and pauses in scaled time."""

    def __init__(self, time_scale: float, client: Callable[[str], Any]) -> None:
        self._time_scale = time_scale
        self._client = client

    def entered(self, state: str) -> None:
        """The history has it already."""

    def pause(self, seconds: float, reason: engine.Pause) -> float:
        return seconds * self._time_scale

    def invoke(self, function: str, payload: bytes) -> Any:
        try:
            answer = self._client("lambda").invoke(FunctionName=function, Payload=payload)
        except ClientError as error:
            refusal = error.response["Error"]
            raise engine.TaskError(f"Lambda.{refusal['Code']}", refusal["Message"]) from None
        except BotoCoreError as error:
            raise engine.TaskError("Lambda.SdkClientException", str(error)) from None
        text = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise engine.FunctionError(text)
        return json.loads(text)

    def start(self, machine: str, name: str, given: str) -> str:
        try:
            answer = self._client("stepfunctions").start_execution(stateMachineArn=machine, name=name, input=given)
        except ClientError as error:
            refusal = error.response["Error"]
            # AWS's own name for it has the suffix, whatever the API's model calls the error.
            code = refusal["Code"].removesuffix("Exception")
            raise engine.TaskError(f"StepFunctions.{code}Exception", refusal["Message"]) from None
        except BotoCoreError as error:
            raise engine.TaskError("StepFunctions.SdkClientException", str(error)) from None
        return str(answer["executionArn"])

    def ended(self, execution: str) -> dict[str, Any] | None:
        # Step Functions is told of the end by an event; the right to look is used once, for the answer.
        if stepfunctions._executions[execution]["status"] == "RUNNING":
            return None
        answer = self._client("stepfunctions").describe_execution(executionArn=execution)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def read(self, bucket: str, key: str) -> str:
        try:
            return str(self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())
        except ClientError as error:
            refusal = error.response["Error"]
            raise engine.TaskError(f"S3.{refusal['Code']}", refusal["Message"]) from None


def _function_arn(name: str) -> str:
    return f"arn:aws:lambda:{responses.get_region()}:{responses.get_account_id()}:function:{name}"


def _checked_definition(properties: dict[str, Any]) -> str:
    """What CloudFormation deploys: JSON or YAML with its substitutions made, refused if it is no state machine."""
    definition = asl.load(_definition(properties))
    engine.check(definition)
    return definition


def _refuse(data: dict[str, Any]) -> Any:
    """The answer to a definition that AWS would not take, or None."""
    try:
        if "definition" in data:
            engine.check(asl.load(data["definition"]))
    except asl.InvalidDefinition as error:
        message = f"Invalid State Machine Definition: '{error}'"
        return responses.error_response_json("InvalidDefinition", message, 400)
    return None


def _start_once(data: dict[str, Any]) -> Any:
    """Like AWS: the same name and input as a running execution answers with that execution; bad JSON is refused.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    try:
        json.loads(data.get("input", "{}"))
    except ValueError as error:
        message = f"Invalid State Machine Execution Input: '{error}'"
        return responses.error_response_json("InvalidExecutionInput", message, 400)
    machine = data.get("stateMachineArn", "")
    record = stepfunctions._executions.get(f"{machine.replace(':stateMachine:', ':execution:')}:{data.get('name')}")
    if record and record["status"] == "RUNNING" and record["input"] == data.get("input", "{}"):
        return responses.json_response({"executionArn": record["executionArn"], "startDate": record["startDate"]})
    return _start(data)
