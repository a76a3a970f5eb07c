"""Make sweeps, and many open jobs with running executions.

Shared by the tests of the sweep and its benchmark. Knows how moto stores executions, and no expected results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.stepfunctions.models import Execution, stepfunctions_backends

from shared.jobs.intake_switch import IntakeSwitch
from shared.steps.sweep import Sweeper
from tests.support.fakes import REGION, TABLE, World, arn_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def sweeper(world: World, **options: Any) -> Sweeper:
    """Make a sweep. By default the youngest change is old enough for it."""
    return Sweeper(
        **{
            "store": world.store,
            "switch": IntakeSwitch(world.dynamodb, TABLE),
            "notifier": world.notifier(),
            "sfn": world.sfn,
            "state_machine_arn": world.machine,
            "quiet_seconds": -1,
            "deadline_seconds": 7200,
            "remaining": lambda: 300.0,
            **options,
        }
    )


def start(world: World, names: Iterable[str]) -> None:
    """Start running executions. moto's own call searches all of them each time."""
    machine = stepfunctions_backends[DEFAULT_ACCOUNT_ID][REGION].describe_state_machine(world.machine)
    machine.executions += [
        Execution(REGION, DEFAULT_ACCOUNT_ID, "video-job", name, world.machine, "{}") for name in names
    ]


def paid_items(names: Iterable[str]) -> list[dict[str, Any]]:
    """Make the items of paid jobs that have not changed for a long time."""
    return [
        {
            "job_id": {"S": name},
            "status": {"S": "processing"},
            "changed_at": {"N": str(1_700_000_000 + number)},
            "created_at": {"S": "2026-11-22T10:15:30.482Z"},
            "source": {"M": {"type": {"S": "api"}}},
            "execution": {"S": arn_of(name)},
            "video_id": {"S": f"video-{number}"},
            "model_id": {"S": "bytedance/seedance-2.0"},
        }
        for number, name in enumerate(names)
    ]
