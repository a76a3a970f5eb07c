"""Run a state machine in process, without sockets and without sleeping, for tests of a workflow.

The cloud on a laptop uses the same engine, so tests of Retry, Catch and Choice also hold there. Tasks are
Python callables. Waits and backoff do not sleep; they are recorded and advance a virtual clock, which the machine's own
`TimeoutSeconds` uses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.aws import asl
from local.aws.engine import Execution, FunctionError, Pause, Place, Redrive, Status, TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Run", "TaskError", "TooManyStates", "run"]

MAX_STATES = 500


class TooManyStates(Exception):
    """The run entered more states than allowed, most likely in an endless loop."""


@dataclass(frozen=True)
class Run:
    """The result of one run.

    Attributes:
        status: SUCCEEDED, FAILED or TIMED_OUT.
        output: The output of a succeeded run, a JSON value.
        error: The error name of a run that did not succeed.
        cause: Its cause.
        states: The names of the states entered, in order.
        waits: Seconds of the Wait states, in order.
        backoffs: Seconds of the retriers' pauses, in order, after jitter.
        events: The history, in the form of GetExecutionHistory.
        place: The position where it ended.
    """

    status: Status
    output: Any
    error: str | None
    cause: str | None
    states: list[str]
    waits: list[float]
    backoffs: list[float]
    events: list[dict[str, Any]]
    place: Place | None = None


def run(
    definition: str | Mapping[str, Any],
    *,
    input: Any,  # noqa: A002 - the word that Step Functions uses
    tasks: Mapping[str, Callable[[Any], Any]],
    machines: Mapping[str, Callable[[str, Any], Any]] | None = None,
    objects: Callable[[str, str], str] | None = None,
    name: str = "test",
    max_states: int = MAX_STATES,
    redrive: Run | None = None,
    paused: Callable[[float], None] = lambda _seconds: None,
) -> Run:
    """Run a state machine to its end.

    Args:
        definition: The state machine, as JSON or YAML text or as a mapping, placeholders already replaced.
        input: The execution's input, a JSON value.
        tasks: Lambda function, by name or ARN as in the definition → a callable that takes the payload and returns a
            JSON value. It fails the task by raising `TaskError`, or any other exception, whose class becomes the
            error's name, as on Lambda.
        machines: State machine to start, by ARN as in the definition → a callable that takes the execution's name and
            input and returns its output. It raises `TaskError` if the execution could not be started, and any other
            exception if it failed.
        objects: Takes a bucket and a key, and returns the text of the object that a map reads.
        name: The execution's name.
        max_states: Most states that the run may enter; those of a map's children do not count.
        redrive: A failed run of the same execution, which is resumed at the state that failed.
        paused: Called with the seconds of each pause, for the caller's own clock.

    Raises:
        asl.InvalidDefinition: The definition has no states, or moto's parser refuses it.
        TooManyStates: The run entered more than `max_states` states.
        KeyError: The definition calls a function that `tasks` does not have.
    """
    text = asl.load(definition if isinstance(definition, str) else json.dumps(definition))
    host = _Host(tasks, machines or {}, objects, max_states, json.loads(text).get("TimeoutSeconds"), paused)
    host.execution = Execution(
        text,
        arn=f"arn:aws:states:us-east-1:123456789012:execution:test:{name}",
        machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:test",
        role_arn="arn:aws:iam::123456789012:role/test",
        input_=input,
        started=_now(),
        host=host,
        redrive=_resuming(redrive) if redrive else None,
    )
    outcome = host.execution.run()
    if host.mistake:
        raise host.mistake
    output = None if outcome.output is None else json.loads(outcome.output)
    return Run(
        status=outcome.status,
        output=output,
        error=outcome.error,
        cause=outcome.cause,
        states=host.states,
        waits=host.waits,
        backoffs=host.backoffs,
        events=host.execution.history(),
        place=host.execution.place,
    )


def _resuming(run: Run) -> Redrive:
    count = 1 + sum(event["type"] == "ExecutionRedriven" for event in run.events)
    redriven = {
        "id": len(run.events) + 1,
        "previousEventId": 0,
        "type": "ExecutionRedriven",
        "timestamp": _now(),
        "executionRedrivenEventDetails": {"redriveCount": count},
    }
    return Redrive(count=count, moment=_now(), events=[*run.events, redriven], place=run.place)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class _Host:
    tasks: Mapping[str, Callable[[Any], Any]]
    machines: Mapping[str, Callable[[str, Any], Any]]
    objects: Callable[[str, str], str] | None
    max_states: int
    timeout: float | None
    paused: Callable[[float], None]
    execution: Execution = field(init=False)
    states: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    backoffs: list[float] = field(default_factory=list)
    mistake: Exception | None = None
    nested: dict[str, dict[str, Any]] = field(default_factory=dict)

    def entered(self, state: str) -> None:
        if self.mistake:
            raise self.mistake
        self.states.append(state)
        if len(self.states) > self.max_states:
            last = ", ".join(self.states[-6:])
            self.mistake = TooManyStates(f"The run entered more than {self.max_states} states; the last: {last}.")
            raise self.mistake

    def pause(self, seconds: float, reason: Pause) -> float:
        (self.waits if reason == "wait" else self.backoffs).append(seconds)
        self.paused(seconds)
        if self.timeout is not None and sum(self.waits) + sum(self.backoffs) >= self.timeout:
            self.execution.time_out()
        return 0

    def invoke(self, function: str, payload: bytes) -> Any:
        if function not in self.tasks:
            self.mistake = KeyError(f"The state machine calls {function}, and `tasks` has {sorted(self.tasks)}.")
            raise TaskError("Lambda.ResourceNotFoundException", str(self.mistake))
        try:
            answer = self.tasks[function](json.loads(payload))
        except TaskError:
            raise
        except Exception as error:
            document = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []}
            raise FunctionError(json.dumps(document, ensure_ascii=False)) from error
        return json.loads(json.dumps(answer))

    def start(self, machine: str, name: str, given: str) -> str:
        arn = f"{machine}:{name}"
        try:
            output = self.machines[machine](name, json.loads(given))
        except TaskError:
            raise
        except Exception as error:  # noqa: BLE001 - any exception means that the execution failed
            self.nested[arn] = {"status": "FAILED", "error": type(error).__name__, "cause": str(error)}
        else:
            self.nested[arn] = {"status": "SUCCEEDED", "output": json.dumps(output)}
        return arn

    def ended(self, execution: str) -> dict[str, Any]:
        return self.nested[execution]

    def stop(self, execution: str) -> None:
        """Do nothing: a nested execution has ended when `start` returns."""

    def describe(self, execution: str) -> dict[str, Any]:
        found = self.nested.get(execution.replace(":execution:", ":stateMachine:"))
        if found is None:
            raise TaskError("Sfn.ExecutionDoesNotExistException", f"Execution Does Not Exist: '{execution}'")
        return found

    def read(self, bucket: str, key: str) -> str:
        if self.objects is None:
            self.mistake = KeyError(f"The state machine reads s3://{bucket}/{key}, and there are no `objects`.")
            raise TaskError("S3.NoSuchKey", str(self.mistake))
        return self.objects(bucket, key)
