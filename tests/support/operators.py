"""An operator in a made-up account, and jobs in the states that need one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.__main__ import main
from ops.operator import Operator
from shared.jobs.states import Status
from tests.support.fakes import (
    EXECUTION,
    JOB_ID,
    TABLE,
    UPLOADS,
    VIDEO_ID,
    VIDEOS,
    Vendor,
    World,
    arn_of,
    showing,
)
from tests.support.template import JOBS_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

LATER = arn_of(f"{JOB_ID}.r1")


def with_index(world: World) -> None:
    """Give the jobs table the template's indexes, with the attributes that they project."""
    if world.dynamodb.describe_table(TableName=TABLE)["Table"].get("GlobalSecondaryIndexes"):
        return
    for index in JOBS_TABLE["GlobalSecondaryIndexes"]:
        world.dynamodb.update_table(
            TableName=TABLE,
            AttributeDefinitions=JOBS_TABLE["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )


class Machine:
    """Step Functions with a redrive, which moto lacks, and an action that may happen in between.

    Args:
        world: The world with the executions.
        redrivable: Whether a redrive succeeds.
        said: The text of the error otherwise.
        shown: Additional fields of a description. If a redrive is refused, only afterwards.
        meanwhile: Runs before a job is resumed.
    """

    def __init__(
        self,
        world: World,
        *,
        redrivable: bool = True,
        said: str = "made up",
        shown: dict[str, str] | None = None,
        meanwhile: Callable[[], Any] | None = None,
    ) -> None:
        self._sfn = world.sfn
        self._redrivable = redrivable
        self._said = said
        self._shown = shown or {}
        self._refused = False
        self._meanwhile = meanwhile
        self.redriven: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sfn, name)

    def describe_execution(self, **arguments: str) -> Any:
        # The last call before a job is resumed checks whether the name of the later execution is free.
        if ".r" in arguments["executionArn"] and self._meanwhile is not None:
            happen, self._meanwhile = self._meanwhile, None
            happen()
        described = self._sfn.describe_execution(**arguments)
        return described | (self._shown if self._redrivable or self._refused else {})

    def redrive_execution(self, **arguments: str) -> None:
        if not self._redrivable:
            self._refused = True
            raise ClientError({"Error": {"Code": "ExecutionNotRedrivable", "Message": self._said}}, "RedriveExecution")
        self.redriven.append(arguments["executionArn"])


def operator_of(world: World, sfn: Any = None) -> Operator:
    with_index(world)
    machine: Any = sfn or Machine(world)
    return Operator(
        store=world.store,
        sfn=machine,
        state_machine_arn=world.machine,
        deadline_seconds=7200,
        ask=lambda video_id: world.vendor.client().get_video(video_id),
    )


def alive(world: World, name: str = JOB_ID) -> str:
    arn: str = world.sfn.start_execution(stateMachineArn=world.machine, name=name)["executionArn"]
    return arn


def dead(world: World, name: str = JOB_ID) -> None:
    world.sfn.stop_execution(executionArn=alive(world, name), error="Gone", cause="made up")


def uncertain(world: World) -> None:
    claimed(world)
    world.store.transition(JOB_ID, Status.UNCERTAIN, notice_due="uncertain", error={"code": "submission_uncertain"})


def claimed(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.age_claim()
    dead(world)


def ended(world: World, status: Status) -> None:
    """Create a job without a video in this final status."""
    world.job()
    dead(world)
    world.store.transition(JOB_ID, status, execution=EXECUTION)


def paid(world: World, status: Status) -> None:
    world.paid_job()
    dead(world)
    world.store.transition(JOB_ID, status)


def follow(world: World, arn: str) -> dict[str, Any]:
    """Run Submit for this execution."""
    return world.submitter().submit(arn, {"job_id": JOB_ID})


def generation_failed(world: World, source: str = "api") -> None:
    """Make a job whose video the vendor accepted and could not generate."""
    world.paid_job()
    world.store.set_source(JOB_ID, {"type": source})
    dead(world)
    world.vendor = Vendor(get=[showing("failed", error="no reason")])
    state = world.poller().poll(EXECUTION, VIDEO_ID, 1_700_000_000)
    world.notifier().failed(EXECUTION, state["error"])
    assert world.record().status is Status.FAILED


STACK = "genviral-video"


@dataclass
class CommandLine:
    """AWS behind the commands: recorded calls, a stack of this project, and a redrive, which moto lacks."""

    world: World
    capsys: pytest.CaptureFixture[str]
    calls: set[str] = field(default_factory=set)
    fails: dict[str, Exception] = field(default_factory=dict)
    answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=lambda: {"DescribeStacks", "RedriveExecution"})

    def answer(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation == "RedriveExecution":
            return {}
        if arguments["StackName"] != STACK:
            message = f"Stack with id {arguments['StackName']} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, operation)
        outputs = {
            "JobsTable": TABLE,
            "StateMachineArn": self.world.machine,
            "BatchMachineArn": self.world.batch_machine,
            "UploadsBucket": UPLOADS,
            "VideosBucket": VIDEOS,
            "ApiKeySecretArn": "genviral-key",
        }
        parameters = {
            "RecordRetentionDays": "365",
            "MaxUploadMegabytes": "25",
            "SweepQuietSeconds": "300",
            "JobDeadlineMinutes": "120",
            "DailyCreditLimit": "0",
            "GenviralBaseUrl": "https://vendor.example/api/v1",
            **self.parameters,
        }
        return {
            "Stacks": [
                {
                    "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()],
                    "Parameters": [
                        {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
                    ],
                }
            ]
        }

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command, and return its exit status and both outputs."""
        self.capsys.readouterr()
        status = main(list(arguments))
        said = self.capsys.readouterr()
        return status, said.out, said.err
