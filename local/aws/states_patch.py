"""Patch MiniStack so that its Step Functions API runs executions on `engine`.

MiniStack's own interpreter accepts any definition and ignores much of Retry. Here deployments check definitions,
executions run on the strict engine, a time scale applies to waits and backoff, and MiniStack's EventBridge sends status
changes.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import threading
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import lambda_runtime, responses
from ministack.services import eventbridge, stepfunctions
from ministack.services.cloudformation import provisioners

from local.aws import asl, engine, redrives

if TYPE_CHECKING:
    from collections.abc import Callable

_create = stepfunctions._create_state_machine
_update = stepfunctions._update_state_machine
_start = stepfunctions._start_execution
_stop = stepfunctions._stop_execution
_history = stepfunctions._get_execution_history
_describe = stepfunctions._describe_execution
_list = stepfunctions._list_executions
_handle = stepfunctions.handle_request
_put_events = eventbridge._put_events
_definition = provisioners._sfn_definition


_USUAL_PAGE, _LONGEST_PAGE = 100, 1000


class StateMachines:
    """Runs the executions of all state machines.

    Args:
        endpoint: The URL of the AWS APIs for tasks.
        time_scale: Factor for Wait states and backoff. Timeouts are not scaled.
    """

    def __init__(self, endpoint: str, time_scale: float) -> None:
        self._endpoint = endpoint
        self._time_scale = time_scale
        self._lock = threading.RLock()
        self._running: dict[str, engine.Execution] = {}
        self._stopped_at: dict[str, engine.Place | None] = {}
        self._definitions: dict[str, str] = {}
        self._redrives: defaultdict[str, redrives.Redrives] = defaultdict(redrives.Redrives)
        self._clients: dict[tuple[str, str], Any] = {}

    def install(self) -> None:
        """Replace MiniStack's interpreter."""
        stepfunctions._create_state_machine = lambda data: _refuse(data) or _create(data)
        stepfunctions._update_state_machine = lambda data: _refuse(data) or _update(data)
        stepfunctions._start_execution = _start_once
        stepfunctions._stop_execution = self._stop
        stepfunctions._get_execution_history = self._history
        stepfunctions._describe_execution = self._describe
        stepfunctions._list_executions = self._list
        stepfunctions.handle_request = self._handle
        eventbridge._put_events = self._put_events
        stepfunctions._run_execution = self._run
        provisioners._sfn_definition = _checked_definition

    def _run(self, arn: str, redrive: engine.Redrive | None = None) -> None:
        record = stepfunctions._executions[arn]
        machine = stepfunctions._state_machines[record["stateMachineArn"]]
        host = _Host(self._time_scale, functools.partial(self._client, machine["roleArn"]))
        with self._lock:
            # A redrive uses the definition from the execution's start, even after a new deployment.
            definition = self._definitions.setdefault(arn, machine["definition"])
        execution = engine.Execution(
            definition,
            arn=arn,
            machine_arn=record["stateMachineArn"],
            role_arn=machine["roleArn"],
            input_=json.loads(record["input"]),
            started=record["startDate"],
            host=host,
            redrive=redrive,
        )
        with self._lock:
            if record["status"] != "RUNNING" or arn in self._running:  # stopped before it could start
                return
            self._running[arn] = execution
        outcome = execution.run()
        with self._lock:
            if self._running.get(arn) is not execution:  # stopped, and perhaps redriven
                return
            self._forget(arn, execution)
            record.update(vars(outcome), stopDate=responses.now_iso())
        stepfunctions._emit_execution_status_event(record)

    def _forget(self, arn: str, execution: engine.Execution) -> None:
        """Keep only what the record and a redrive need of an ended execution."""
        del self._running[arn]
        self._stopped_at[arn] = execution.place
        stepfunctions._executions[arn]["events"][:] = execution.history()

    def _stop(self, data: dict[str, Any]) -> Any:
        arn = data.get("executionArn", "")
        with self._lock:
            execution = self._running.get(arn)
            if execution:
                self._forget(arn, execution)
                execution.stop(data.get("error"), data.get("cause"))
            return _stop(data)

    async def _handle(self, method: Any, path: Any, headers: Any, body: Any, query_params: Any) -> Any:
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return stepfunctions._finalize_response(self._redrive(json.loads(body or "{}")))
        return await _handle(method, path, headers, body, query_params)

    def _redrive(self, data: dict[str, Any]) -> Any:
        """Implement RedriveExecution: resume an execution at its unfinished state.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html
        """
        arn, token, now = data.get("executionArn", ""), data.get("clientToken"), datetime.now(UTC)
        with self._lock:
            record, past = stepfunctions._executions.get(arn), self._redrives[arn]
            if record is None:
                return responses.error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
            if moment := past.repeated(token, now):
                return responses.json_response({"redriveDate": moment})
            if reason := _refusal(record):
                return responses.error_response_json("ExecutionNotRedrivable", reason, 400)
            moment = past.add(token, now)
            record.update(status="RUNNING", stopDate=None, output=None, error=None, cause=None)
            stepfunctions._add_event(
                record, "ExecutionRedriven", {"executionRedrivenEventDetails": {"redriveCount": past.count}}
            )
            redrive = engine.Redrive(
                count=past.count, moment=moment, events=list(record["events"]), place=self._stopped_at.pop(arn, None)
            )
        stepfunctions._emit_execution_status_event(record)
        # Context variables hold the account and the region of the request.
        run = functools.partial(contextvars.copy_context().run, self._run, arn, redrive)
        threading.Thread(target=run, daemon=True).start()
        return responses.json_response({"redriveDate": moment})

    def _describe(self, data: dict[str, Any]) -> Any:
        status, headers, body = _describe(data)
        if status != 200:
            return status, headers, body
        return responses.json_response(json.loads(body) | self._redrive_facts(data["executionArn"]))

    def _redrive_facts(self, arn: str) -> dict[str, Any]:
        past, reason = self._redrives[arn], _refusal(stepfunctions._executions[arn])
        return {
            "redriveCount": past.count,
            "redriveDate": past.last,
            "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
            "redriveStatusReason": reason,
        }

    def _list(self, data: dict[str, Any]) -> Any:
        """Implement what MiniStack's ListExecutions lacks: validation, the default page size, and redrives.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
        """
        if data.get("maxResults", 0) > _LONGEST_PAGE:
            return responses.error_response_json("ValidationException", f"maxResults is above {_LONGEST_PAGE}", 400)
        if data.get("statusFilter") == "PENDING_REDRIVE" and not data.get("mapRunArn"):
            return responses.error_response_json("ValidationException", "PENDING_REDRIVE needs a mapRunArn", 400)
        status, headers, body = _list({**data, "maxResults": data.get("maxResults") or _USUAL_PAGE})
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        for item in answer["executions"]:
            past = self._redrives[item["executionArn"]]
            item |= {"redriveCount": past.count, "redriveDate": past.last}
        return responses.json_response(answer)

    def _put_events(self, data: dict[str, Any], **options: Any) -> Any:
        """Add the facts about redrives to MiniStack's events about executions."""
        for entry in data.get("Entries", []):
            if entry.get("Source") == "aws.states" and options.get("allow_aws_source"):
                detail = json.loads(entry["Detail"])
                facts = self._redrive_facts(detail["executionArn"])
                entry["Detail"] = json.dumps(detail | facts | {"redriveDate": _milliseconds(facts["redriveDate"])})
        return _put_events(data, **options)

    def _history(self, data: dict[str, Any]) -> Any:
        arn = data.get("executionArn", "")
        with self._lock:
            record, execution = stepfunctions._executions.get(arn), self._running.get(arn)
            if record and execution and record["status"] == "RUNNING":
                record["events"][:] = execution.history()
        return _history(data)

    def _client(self, role_arn: str, service: str) -> Any:
        """Return a client with the state machine's role. Cached per role and service, because creating one is slow."""
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
    """The host of an execution: calls the stand-in's services with the role's rights, and scales pauses."""

    def __init__(self, time_scale: float, client: Callable[[str], Any]) -> None:
        self._time_scale = time_scale
        self._client = client

    def entered(self, state: str) -> None:
        """Do nothing: the history already has it."""

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
            # Step Functions always adds this suffix, even if the API's error code lacks it.
            code = refusal["Code"].removesuffix("Exception")
            raise engine.TaskError(f"StepFunctions.{code}Exception", refusal["Message"]) from None
        except BotoCoreError as error:
            raise engine.TaskError("StepFunctions.SdkClientException", str(error)) from None
        return str(answer["executionArn"])

    def ended(self, execution: str) -> dict[str, Any] | None:
        # Step Functions gets an event at the end, so it calls DescribeExecution only once.
        if stepfunctions._executions[execution]["status"] == "RUNNING":
            return None
        answer = self._client("stepfunctions").describe_execution(executionArn=execution)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def stop(self, execution: str) -> None:
        # A role may start executions that it may not stop, such as a batch's.
        with contextlib.suppress(ClientError, BotoCoreError):
            self._client("stepfunctions").stop_execution(executionArn=execution)

    def describe(self, execution: str) -> dict[str, Any]:
        try:
            answer = self._client("stepfunctions").describe_execution(executionArn=execution)
        except ClientError as error:
            refusal = error.response["Error"]
            code = refusal["Code"].removesuffix("Exception")
            raise engine.TaskError(f"Sfn.{code}Exception", refusal["Message"]) from None
        except BotoCoreError as error:
            raise engine.TaskError("Sfn.SdkClientException", str(error)) from None
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def read(self, bucket: str, key: str) -> str:
        try:
            return str(self._client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())
        except ClientError as error:
            refusal = error.response["Error"]
            raise engine.TaskError(f"S3.{refusal['Code']}", refusal["Message"]) from None


def _refusal(record: dict[str, Any]) -> str | None:
    """Return why AWS would not redrive an execution, or None."""
    return redrives.refusal(
        status=record["status"],
        started=datetime.fromisoformat(record["startDate"]),
        stopped=datetime.fromisoformat(record["stopDate"]) if record["stopDate"] else None,
        events=len(record["events"]),
        now=datetime.now(UTC),
    )


def _milliseconds(moment: str | None) -> int | None:
    return round(datetime.fromisoformat(moment).timestamp() * 1000) if moment else None


def _function_arn(name: str) -> str:
    return f"arn:aws:lambda:{responses.get_region()}:{responses.get_account_id()}:function:{name}"


def _checked_definition(properties: dict[str, Any]) -> str:
    """Return a definition for CloudFormation, from JSON or YAML with its substitutions, and check it."""
    definition = asl.load(_definition(properties))
    engine.check(definition)
    return definition


def _refuse(data: dict[str, Any]) -> Any:
    """Return the error response for an invalid definition, or None."""
    try:
        if "definition" in data:
            engine.check(asl.load(data["definition"]))
    except asl.InvalidDefinition as error:
        message = f"Invalid State Machine Definition: '{error}'"
        return responses.error_response_json("InvalidDefinition", message, 400)
    return None


def _start_once(data: dict[str, Any]) -> Any:
    """Return a running execution with the same name and input, and refuse invalid JSON, as AWS does.

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
