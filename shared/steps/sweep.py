"""What fell through: jobs without an execution, and open jobs whose execution is dead.

The execution-status rule is delivered at best effort, and a process can die between a record and its execution. So
every job that has not changed for a while is held against Step Functions. Repeating a sweep changes nothing. Knows the
store, Step Functions and how a job is interrupted; must not know the vendor.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.jobs.states import OPEN, Status
from shared.runtime import MetricUnit, logger, metrics
from shared.steps.intake import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.store import JobStore
    from shared.steps.notify import Announcer

# Interrupted jobs are known, and told; they wait for a redrive.
_SWEPT = sorted(OPEN - {Status.INTERRUPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Picks up what fell through.

    Args:
        store: Where jobs are kept.
        switch: Whether new jobs may start.
        announcer: Interrupts jobs and says so.
        sfn: A boto3 Step Functions client.
        state_machine_arn: The machine that runs jobs.
        quiet_seconds: Jobs that changed less long ago are left alone, in seconds.
        most: How many jobs of a status are looked at in one sweep; those longest unchanged first.
        remaining: Seconds that are left.
    """

    store: JobStore
    switch: IntakeSwitch
    announcer: Announcer
    sfn: SFNClient
    state_machine_arn: str
    quiet_seconds: int
    most: int
    remaining: Callable[[], float]

    def sweep(self) -> dict[str, int]:
        """Look at open jobs.

        Returns:
            How many were looked at, started, and found with a dead execution.
        """
        count = {"seen": 0, "started": 0, "interrupted": 0}
        stopped = self.switch.is_stopped
        for job in self._suspects():
            if self.remaining() < _RESERVE_SECONDS:
                logger.warning("the sweep ran out of time; the next one goes on", count=count)
                break
            count["seen"] += 1
            arn = job.execution or f"{self.state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{job.job_id}"
            execution = self._execution(arn)
            if execution is None and job.status is Status.QUEUED:
                if not stopped:
                    start(job, sfn=self.sfn, state_machine_arn=self.state_machine_arn)
                    count["started"] += 1
            elif execution is None or execution["status"] != "RUNNING":
                self._interrupt(arn, execution or {})
                count["interrupted"] += 1
        for name, value in (("SweptStarted", count["started"]), ("SweptInterrupted", count["interrupted"])):
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        return count

    def _suspects(self) -> Iterator[Job]:
        before = int(time.time()) - self.quiet_seconds
        for status in _SWEPT:
            yield from itertools.islice(self.store.in_status(status, unchanged_since=before), self.most)

    def _execution(self, arn: str) -> dict[str, Any] | None:
        try:
            return dict(self.sfn.describe_execution(executionArn=arn))
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return None

    def _interrupt(self, arn: str, execution: dict[str, Any]) -> None:
        self.announcer.interrupted(
            arn,
            ended=execution.get("status", "gone"),
            error=execution.get("error") or "",
            cause=execution.get("cause") or "",
            moment=str(_milliseconds(execution.get("stopDate"))),
        )


_RESERVE_SECONDS = 10.0


def _milliseconds(moment: Any) -> int:
    # As the status event writes it, so that the sweep and a late event agree that it is the same interruption.
    return round(moment.timestamp() * 1000) if moment is not None else 0
