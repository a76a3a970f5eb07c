"""Name, start, describe, stop and redrive the Step Functions executions that run jobs.

Knows AWS's API and its quotas. Must not know what becomes of a job (`shared.steps`, `ops`).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.jobs import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.record import Job

LIVE = ("RUNNING", "PENDING_REDRIVE")
"""The statuses of an execution that continues automatically."""
_LATER_EXECUTIONS = 999
_FIRST_EVENTS = 200
_PAGE = 1000  # https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
# An execution that is too old, has too long a history or runs again. The last two: a service without redrives.
_NOT_REDRIVABLE = "ExecutionNotRedrivable"
_CANNOT_REDRIVE = (_NOT_REDRIVABLE, "ExecutionDoesNotExist", "InvalidAction", "UnknownOperationException")

# AWS documents no answer of its own for an execution that has ended; some services refuse to stop it.
_NOTHING_TO_STOP = ("ExecutionDoesNotExist", "ValidationException")


def execution_arn(state_machine_arn: str, name: str) -> str:
    """The ARN of the execution of this name."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"


def is_live(execution: Mapping[str, Any] | None) -> bool:
    """Whether an execution goes on automatically."""
    return execution is not None and execution["status"] in LIVE


def ended_at(execution: Mapping[str, Any]) -> int:
    """Return when an execution ended, in epoch milliseconds as in the status event; 0 if that is unknown.

    So a description and a late event of the same end have the same moment.
    """
    moment = execution.get("stopDate")
    return round(moment.timestamp() * 1000) if moment is not None else 0


class Redriven(Enum):
    """What came of a redrive."""

    RESUMED = auto()
    RUNS_ALREADY = auto()
    IMPOSSIBLE = auto()
    """AWS does not redrive it any more: it ended too long ago, or its history is full."""


@dataclass(slots=True)
class Pace:
    """Spreads calls so that a quota of AWS holds: some at once, then so many a second.

    Args:
        burst: How many calls may be made at once.
        per_second: How many more each second.
        clock: The time in seconds.
    """

    burst: float
    per_second: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _left: float = field(init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._since = self.burst, self.clock()

    def wait(self) -> None:
        """Wait until the next call may be made."""
        now = self.clock()
        self._left = min(self.burst, self._left + (now - self._since) * self.per_second)
        self._since = now
        if self._left < 1:
            self.sleep((1 - self._left) / self.per_second)
            self._left, self._since = 1, self.clock()
        self._left -= 1


# Below the quotas of the smaller regions, so that something is left to others.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
def describing() -> Pace:
    """Pace calls of DescribeExecution: 250 at once, then 10 a second are allowed."""
    return Pace(200, 8)


def listing() -> Pace:
    """Pace calls of ListExecutions: 100 at once, then 2 a second are allowed."""
    return Pace(80, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """The executions of one state machine."""

    sfn: SFNClient
    state_machine_arn: str

    def arn(self, name: str) -> str:
        """The ARN of the execution of this name."""
        return execution_arn(self.state_machine_arn, name)

    def arn_of(self, job: Job) -> str:
        """The ARN of the execution that works on a job, whether it was started or not."""
        return job.execution or self.arn(job.job_id)

    def describe(self, arn: str) -> dict[str, Any] | None:
        """Return what Step Functions says about an execution; None if it does not exist."""
        try:
            return dict(self.sfn.describe_execution(executionArn=arn))
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return None

    def entered(self, arn: str, state: str) -> int:
        """Return how often an execution has entered a state, as far as its newest thousand events say."""
        history = self.sfn.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=_PAGE)
        return sum(event.get("stateEnteredEventDetails", {}).get("name") == state for event in history["events"])

    def history(self, arn: str, most: int) -> list[dict[str, Any]]:
        """Return the newest events of an execution, oldest first; none where it was never started.

        Args:
            most: How many at most, give or take a page. An execution has 25,000 at most.
        """
        paginator = self.sfn.get_paginator("get_execution_history")
        pages = paginator.paginate(
            executionArn=arn, reverseOrder=True, PaginationConfig={"MaxItems": most, "PageSize": min(most, _PAGE)}
        )
        try:
            newest: list[Any] = [event for page in pages for event in page["events"]]
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return []
        return newest[::-1]

    def output_of(self, arn: str, state: str) -> Any:
        """Return what one of an execution's first states gave; None where that has not ended, or was never started."""
        try:
            events = self.sfn.get_execution_history(executionArn=arn, maxResults=_FIRST_EVENTS)["events"]
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return None
        left = (event.get("stateExitedEventDetails", {}) for event in events)
        return next((json.loads(one["output"]) for one in left if one.get("name") == state), None)

    def running(self) -> Iterator[list[str]]:
        """The ARNs of the executions that run, page by page; those started or redriven last come first.

        The list is eventually consistent: an execution that is missing may run all the same.
        """
        options: dict[str, Any] = {}
        while True:
            page = self.sfn.list_executions(
                stateMachineArn=self.state_machine_arn, statusFilter="RUNNING", maxResults=_PAGE, **options
            )
            yield [execution["executionArn"] for execution in page["executions"]]
            if "nextToken" not in page:
                return
            options = {"nextToken": page["nextToken"]}

    def start_job(self, job: Job) -> bool:
        """Start the execution of a job that has a record already, the one that the record names.

        The input says which job it is and where it came from, never what it asks for. A repeated event, or a process
        that is killed between the record and this call, ends with one record and one execution.

        Returns:
            Whether this call started it. False: it was started before.
        """
        return self.start(self.arn_of(job), {"job_id": job.job_id, "source": job.source})

    def start(self, arn: str, given: Mapping[str, Any]) -> bool:
        """Start the execution of this ARN. False: it was started before."""
        try:
            self.sfn.start_execution(
                stateMachineArn=self.state_machine_arn, name=arn.rpartition(":")[2], input=json.dumps(given)
            )
        except self.sfn.exceptions.ExecutionAlreadyExists:
            return False
        return True

    def stop(self, arn: str, *, cause: str) -> None:
        """End an execution whose job was closed. Nothing happens where it has ended before, or was never started."""
        try:
            self.sfn.stop_execution(executionArn=arn, error="JobClosed", cause=cause)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOTHING_TO_STOP:
                raise

    def redrive(self, arn: str) -> Redriven:
        """Resume an execution at the state that failed."""
        try:
            self.sfn.redrive_execution(executionArn=arn)
        except ClientError as error:
            said = error.response["Error"]
            if said["Code"] not in _CANNOT_REDRIVE:
                raise
            if said["Code"] == _NOT_REDRIVABLE and self._runs_again(arn, said.get("Message", "")):
                return Redriven.RUNS_ALREADY
            return Redriven.IMPOSSIBLE
        return Redriven.RESUMED

    def _runs_again(self, arn: str, said: str) -> bool:
        """Whether an execution that cannot be redriven is alive, which a description may be too old to say.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html: it is eventually
        consistent, has a reason, and says REDRIVABLE only where the redrive that was refused just now is possible.
        """
        execution = self.describe(arn) or {"status": "gone"}
        reasons = f"{said} {execution.get('redriveStatusReason', '')}"
        return (
            is_live(execution)
            or execution.get("redriveStatus") == "REDRIVABLE"
            or any(status in reasons for status in LIVE)
        )

    def later(self, job_id: str) -> str | None:
        """The ARN of a job's first later execution that was not started yet, or None where all names are used up."""
        arns = (self.arn(identity.later_execution(job_id, number)) for number in range(1, _LATER_EXECUTIONS + 1))
        return next((arn for arn in arns if self.describe(arn) is None), None)
