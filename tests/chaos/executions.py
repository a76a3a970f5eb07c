"""Simulate Step Functions: run the real state machine in the local engine, under virtual time, with redrives.

Knows executions and their states. Must not know jobs or what a task does.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from local.aws import asl, engine
from tests.chaos.account import ApiError
from tests.chaos.clock import Turn
from tests.support.fakes import arn_of
from tests.support.video_job import MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.aws.engine import Pause
    from tests.chaos.clock import Clock

_REDRIVABLE = ("FAILED", "TIMED_OUT", "ABORTED")
_PAGE = 20
_MACHINE_ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:video-job"


@dataclass
class Execution:
    """One execution, including all its redrives. A host of the engine."""

    name: str
    given: Any
    started: float
    service: Executions = field(repr=False)
    status: str = "RUNNING"
    error: str | None = None
    cause: str | None = None
    ended: float | None = None
    redrives: int = 0
    steps: int = 0
    run: engine.Execution = field(init=False, repr=False)
    turn: Turn = field(init=False, repr=False)

    @property
    def arn(self) -> str:
        return arn_of(self.name)

    def begin(self, state: str | None = None, given: Any = None) -> None:
        """Run from the first state, or as a redrive does from the state that did not complete."""
        self.run = engine.Execution(
            _definition(state or MACHINE["StartAt"]),
            arn=self.arn,
            machine_arn=_MACHINE_ARN,
            role_arn="arn:aws:iam::123456789012:role/made-up",
            input_=self.given,
            started="2027-01-15T08:00:00.000Z",
            # A video job starts no other machine and reads no list, so these two methods are missing.
            host=cast("engine.Host", self),
        )
        if state:
            # The context object keeps the execution's input; only the state gets its own recorded input.
            self.run._worker.env.states.reset(given)
        self.turn = Turn(self.service.clock, self._live)
        self.turn.begin()

    def stop(self, status: str, error: str | None, cause: str | None) -> None:
        """Stop it from outside. A function that is running keeps running, as on AWS."""
        if self.status == "RUNNING":
            self._end(status, error, cause)
            self.run.stop(error, cause)

    def stopped_at(self) -> tuple[str, Any]:
        """Return the state that did not complete, and its input."""
        entered = [
            event["stateEnteredEventDetails"] for event in self.run.history() if "stateEnteredEventDetails" in event
        ]
        return entered[-1]["name"], json.loads(entered[-1]["input"])

    def _live(self) -> None:
        outcome = self.run.run()
        if self.status == "RUNNING":
            self._end(outcome.status, outcome.error, outcome.cause)

    def _end(self, status: str, error: str | None, cause: str | None) -> None:
        self.status, self.error, self.cause = status, error, cause
        self.ended = round(self.service.clock.now, 3)
        self.service.ended(self)

    # ---- what the engine asks

    def entered(self, state: str) -> None:
        self._reseed()

    def pause(self, seconds: float, reason: Pause) -> float:
        self._reseed()
        if self.service.clock.now + seconds - self.started >= MACHINE["TimeoutSeconds"]:
            self.stop("TIMED_OUT", "States.Timeout", None)
        else:
            self.service.paused(self)
            self.turn.rest(seconds)
        return 0

    def invoke(self, function: str, payload: bytes) -> Any:
        self._reseed()
        try:
            return self.service.invoke(self, function, json.loads(payload))
        finally:
            self._reseed()  # time may have passed, and others have used the generator

    def _reseed(self) -> None:
        # Jitter comes from Python's global generator; this makes it independent of other executions.
        self.steps += 1
        random.seed(f"{self.service.seed}/{self.name}/{self.steps}")


def _definition(start: str) -> str:
    return asl.load(json.dumps({**MACHINE, "StartAt": start}))


class Executions:
    """All executions by name, and the API operations that the project calls.

    Args:
        invoke: Runs a Lambda function: execution, logical id of the function, payload.
        paused: Called when an execution waits.
        ended: Called when an execution has ended.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int,
        *,
        invoke: Callable[[Execution, str, Any], Any],
        paused: Callable[[Execution], None],
        ended: Callable[[Execution], None],
    ) -> None:
        self.clock, self.seed = clock, seed
        self.invoke, self.paused, self.ended = invoke, paused, ended
        self.known: dict[str, Execution] = {}

    @property
    def running(self) -> list[Execution]:
        return [execution for execution in self.known.values() if execution.status == "RUNNING"]

    def start(self, name: str, given: Any) -> Execution:
        """Start an execution. Repeating the same start returns the running execution."""
        known = self.known.get(name)
        if known and (known.status != "RUNNING" or known.given != given):
            raise ApiError("ExecutionAlreadyExists")
        if known is None:
            known = self.known[name] = Execution(name, given, self.clock.now, self)
            self.clock.after(0, known.begin)
        return known

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer StartExecution, DescribeExecution, ListExecutions, StopExecution and RedriveExecution."""
        if operation == "StartExecution":
            execution = self.start(request["name"], json.loads(request["input"]))
            return {"executionArn": execution.arn, "startDate": execution.started}
        if operation == "ListExecutions":
            return self._page(request)
        found = self.known.get(request["executionArn"].rpartition(":")[2])
        if found is None:
            raise ApiError("ExecutionDoesNotExist")
        if operation == "DescribeExecution":
            ended = {"error": found.error, "cause": found.cause}
            return self._shown(found) | {name: value for name, value in ended.items() if value is not None}
        if operation == "StopExecution":
            found.stop("ABORTED", request.get("error"), request.get("cause"))
            return {"stopDate": found.ended}
        if operation == "RedriveExecution":
            return self._redrive(found)
        raise ApiError("UnknownOperationException")

    def _shown(self, execution: Execution) -> dict[str, Any]:
        shown = {
            "executionArn": execution.arn,
            "stateMachineArn": _MACHINE_ARN,
            "name": execution.name,
            "status": execution.status,
            "startDate": execution.started,
            "redriveCount": execution.redrives,
            "redriveStatus": "REDRIVABLE" if execution.status in _REDRIVABLE else "NOT_REDRIVABLE",
        }
        return shown if execution.ended is None else {**shown, "stopDate": execution.ended}

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        """List the latest first, in small pages, so that readers must follow the token."""
        status = request.get("statusFilter")
        found = [one for one in self.known.values() if status in (None, one.status)]
        begin = int(request.get("nextToken", 0))
        end = begin + min(request.get("maxResults", 100), _PAGE)
        page = sorted(found, key=lambda one: one.started, reverse=True)[begin:end]
        answer = {"executions": [self._shown(execution) for execution in page]}
        return answer | ({"nextToken": str(end)} if end < len(found) else {})

    def _redrive(self, execution: Execution) -> dict[str, Any]:
        if execution.status not in _REDRIVABLE:
            raise ApiError("ExecutionNotRedrivable")
        state, given = execution.stopped_at()
        execution.status, execution.error, execution.cause, execution.ended = "RUNNING", None, None, None
        execution.redrives += 1
        execution.started = self.clock.now
        self.clock.after(0, lambda: execution.begin(state, given))
        return {"redriveDate": self.clock.now}
