"""What fell through: jobs without an execution, open jobs whose execution is dead, and notifications never sent.

The execution-status rule is delivered at best effort, and a process can die between a record and its execution, or
between a status and its notification. So every open job that has not changed for a while is held against Step
Functions, and a notification that is still due is sent. Repeating a sweep changes nothing. Knows the store, Step
Functions and how a job is interrupted; must not know the vendor.
"""

from __future__ import annotations

import functools
import itertools
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.jobs.states import OPEN, Status
from shared.jobs.store import MoveRefused
from shared.runtime import MetricUnit, logger, metrics
from shared.steps.notify import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.store import JobStore
    from shared.steps.notify import Announcer

# Jobs that wait for their start come first. Interrupted ones are known, and told; they wait for a redrive.
_SWEPT = (Status.QUEUED, *sorted(OPEN - {Status.QUEUED, Status.INTERRUPTED}))
_LIVE = ("RUNNING", "PENDING_REDRIVE")
# What should move on by itself. A job on hold waits for the account, an interrupted one for a redrive.
_MOVING = OPEN - {Status.ON_HOLD, Status.INTERRUPTED}
_GAUGES = {"JobsOpen": _MOVING, "JobsOnHold": {Status.ON_HOLD}, "JobsAwaitingRedrive": {Status.INTERRUPTED}}
_RESERVE_SECONDS = 10.0


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
        """Look at open jobs, and at those whose notification is still due; then measure what stands still.

        Returns:
            How many were looked at, started, found with a dead execution, and told.

        Raises:
            ClientError: AWS failed for a job. The others were looked at all the same; the next sweep tries again.
        """
        count = {"seen": 0, "started": 0, "interrupted": 0, "told": 0}
        trouble: ClientError | BotoCoreError | None = None
        for job_id, act in self._duties():
            if self.remaining() < _RESERVE_SECONDS:
                logger.warning("the sweep ran out of time; the next one goes on", count=count)
                break
            count["seen"] += 1
            try:
                done = act()
            except (ClientError, BotoCoreError) as error:
                # One job must not keep the others waiting.
                logger.warning("a job could not be looked after", job_id=job_id, reason=type(error).__name__)
                trouble = error
            else:
                if done is not None:
                    logger.info("picked up", job_id=job_id, done=done)
                    count[done] += 1
        for name, value in (("SweptStarted", count["started"]), ("SweptInterrupted", count["interrupted"])):
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        self._measure()
        if trouble is not None:
            raise trouble
        return count

    def _measure(self) -> None:
        """Tell CloudWatch what stands still, which no count of what happens can show."""
        found = {status: self.store.standing(status) for status in OPEN}
        since = [moment for status in _MOVING if (moment := found[status][1]) is not None]
        oldest = max(0, int(time.time()) - min(since)) if since else 0
        metrics.add_metric(name="OldestOpenJobSeconds", unit=MetricUnit.Seconds, value=oldest)
        for name, statuses in _GAUGES.items():
            jobs = sum(found[status][0] for status in statuses)
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=jobs)

    def _duties(self) -> Iterator[tuple[str, Callable[[], str | None]]]:
        """What is to be done: jobs, and what to do about each."""
        before = int(time.time()) - self.quiet_seconds
        for status in _SWEPT:
            for job in itertools.islice(self.store.in_status(status, unchanged_since=before), self.most):
                yield job.job_id, functools.partial(self._look_after, job)
        for job_id in itertools.islice(self.store.untold(unchanged_since=before), self.most):
            yield job_id, functools.partial(self._tell, job_id)

    def _tell(self, job_id: str) -> str:
        self.announcer.remind(job_id)
        return "told"

    def _look_after(self, job: Job) -> str | None:
        arn = job.execution or f"{self.state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{job.job_id}"
        execution = self._execution(arn)
        if execution is not None and execution["status"] in _LIVE:
            return None
        if execution is None and job.video_id is not None:
            # An operator's command was cut off. Following a paid video pays nothing, so the switch does not matter.
            return self._start(job, arn)
        if execution is None and job.status is Status.QUEUED:
            return None if self.switch.is_stopped else self._start(job, arn)
        self._interrupt(job, arn, execution or {})
        return "interrupted"

    def _execution(self, arn: str) -> dict[str, Any] | None:
        try:
            return dict(self.sfn.describe_execution(executionArn=arn))
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return None

    def _start(self, job: Job, arn: str) -> str | None:
        """Start the very execution that the record names: a job that was taken up again has a later one."""
        try:
            self.sfn.start_execution(
                stateMachineArn=self.state_machine_arn,
                name=arn.rpartition(":")[2],
                input=json.dumps({"job_id": job.job_id, "source": job.source}),
            )
        except self.sfn.exceptions.ExecutionAlreadyExists:
            return None
        return "started"

    def _interrupt(self, job: Job, arn: str, execution: dict[str, Any]) -> None:
        end = {
            "ended": execution.get("status", "gone"),
            "error": execution.get("error") or "",
            "cause": execution.get("cause") or "",
        }
        moment = _milliseconds(execution.get("stopDate"))
        self.announcer.interrupted(arn, **end, moment=str(moment))
        # A step can outlive its execution and move the job on after that interruption. What was told then, if it was,
        # is not true any more: the job may be paid for by now.
        try:
            self.store.move(
                job.job_id,
                Status.INTERRUPTED,
                condition="execution = :own AND #status <> :there",
                values={":own": arn, ":there": Status.INTERRUPTED.value},
                error=reason_of(**end),
                notice_due=f"{Status.INTERRUPTED}#{moment}.{int(time.time())}",
            )
        except MoveRefused:
            return
        self.announcer.remind(job.job_id)


def _milliseconds(moment: Any) -> int:
    # As the status event writes it, so that the sweep and a late event agree that it is the same interruption.
    return round(moment.timestamp() * 1000) if moment is not None else 0
