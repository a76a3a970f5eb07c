"""Pick up what fell through: jobs without an execution, open jobs whose execution is dead, interrupted jobs whose
redrive is due, and notifications that were never sent.

EventBridge may lose the event of an execution's end, and a process can die between a record and its execution, or
between a status and its notification. So every open job that has not changed for a while is compared with Step
Functions, and notifications that are still due are sent. Jobs that an outage interrupted are redriven, with growing
pauses. Repeating a sweep changes nothing. Must not know the vendor.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.executions import Executions, Pace, Redriven, describing, ended_at, is_live, listing
from shared.jobs import redrives
from shared.jobs.states import MOVING, OPEN, STATES, Status
from shared.jobs.transitions import TransitionConflict
from shared.runtime import MetricUnit, logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore
    from shared.steps.notify import Notifier

_COUNTED = {"SweptStarted": "started", "SweptInterrupted": "interrupted", "SweptRedriven": "redriven"}
_RESERVE_SECONDS = 10.0
_LISTING_SHARE = 0.5
"""The share of the remaining time for listing running executions. It is enough for about 400,000."""

Duty = tuple[str, "Callable[[], str | None]"]


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Pick up what fell through, once.

    Args:
        notifier: Interrupts jobs and says so.
        quiet_seconds: Jobs that changed less long ago are left alone, in seconds.
        deadline_seconds: How long the video of a job that is redriven may take from then on at least, in seconds.
        remaining: Seconds that are left.
        describe_pace: Spreads the calls about single executions.
        list_pace: Spreads the calls about pages of them.
    """

    store: JobStore
    switch: IntakeSwitch
    notifier: Notifier
    sfn: SFNClient
    state_machine_arn: str
    quiet_seconds: int
    deadline_seconds: int
    remaining: Callable[[], float]
    describe_pace: Pace = field(default_factory=describing)
    list_pace: Pace = field(default_factory=listing)
    _running: set[str] | None = field(init=False, default=None)
    _standing: dict[Status, tuple[int, int | None]] = field(init=False, default_factory=dict)
    _trouble: ClientError | BotoCoreError | None = field(init=False, default=None)

    @property
    def _executions(self) -> Executions:
        return Executions(sfn=self.sfn, state_machine_arn=self.state_machine_arn)

    def sweep(self) -> dict[str, int]:
        """Check open jobs, and those whose redrive or notification is due; then publish the gauges.

        Returns:
            How many were checked, started, found with a dead execution, redriven, and notified of.

        Raises:
            ClientError: AWS failed for a job. The others were checked all the same; the next sweep tries again.
        """
        count = {"seen": 0, "started": 0, "interrupted": 0, "redriven": 0, "notified": 0}
        for job_id, act in _in_turn(self._duties()):
            if self.remaining() < _RESERVE_SECONDS:
                logger.warning("the sweep ran out of time; the next one goes on", count=count)
                break
            count["seen"] += 1
            try:
                done = act()
            except (ClientError, BotoCoreError) as error:
                # One job must not stop the others.
                logger.warning("a job could not be looked after", job_id=job_id, reason=type(error).__name__)
                self._trouble = error
            else:
                if done is not None:
                    logger.info("picked up", job_id=job_id, done=done)
                    count[done] += 1
        for name, counted in _COUNTED.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=count[counted])
        self._measure()
        if self._trouble is not None:
            raise self._trouble
        return count

    def _measure(self) -> None:
        """Publish how many jobs are in which status, and for how long. Counts of events do not show that."""
        # Statuses that were read to their end need not be read again.
        found = {status: self._standing.get(status) or self.store.count(status) for status in OPEN}
        moving = (since for status, (_, since) in found.items() if STATES[status].gauge == MOVING)
        since = [moment for moment in moving if moment is not None]
        oldest = max(0, int(time.time()) - min(since)) if since else 0
        metrics.add_metric(name="OldestOpenJobSeconds", unit=MetricUnit.Seconds, value=oldest)
        gauges: Counter[str] = Counter()
        for status, (jobs, _) in found.items():
            gauges[STATES[status].gauge] += jobs
        for name, jobs in gauges.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=jobs)

    def _duties(self) -> Iterator[Iterator[Duty]]:
        """Yield the duties by kind. In each kind, the jobs that are longest unchanged come first."""
        now = int(time.time())
        before = now - self.quiet_seconds
        for status, state in STATES.items():
            if state.is_swept:
                yield self._quiet(status, before)
        yield _each(self.store.due_for_redrive(now=now), self._redrive)
        yield (
            (job_id, functools.partial(self._notify, job_id))
            for job_id in self.store.pending_notifications(unchanged_since=before)
        )

    def _quiet(self, status: Status, before: int) -> Iterator[Duty]:
        """Yield the jobs of a status that have not changed for a while, and count all jobs of that status."""
        count, oldest = 0, None
        for job in self.store.in_status(status):
            count, oldest = count + 1, oldest or job.changed_at
            if (job.changed_at or 0) < before:
                yield job.job_id, functools.partial(self._look_after, job)
        self._standing[status] = (count, oldest)

    def _notify(self, job_id: str) -> str:
        self.notifier.remind(job_id)
        return "notified"

    def _look_after(self, job: Job) -> str | None:
        arn = self._executions.arn_of(job)
        # While intake is stopped there may be many, and nothing can be done for them.
        if self._is_listed(arn) or (job.status is Status.QUEUED and self._must_wait(job)):
            return None
        execution = self._describe(arn)
        if is_live(execution):
            return None
        if execution is None and job.is_to_be_started:
            return None if self._must_wait(job) else self._start(job)
        self._interrupt(arn, execution or {})
        return "interrupted"

    def _redrive(self, due: Job) -> str | None:
        """Redrive a job that a passing fault interrupted, at the state that failed. Never pays twice: steps repeat."""
        arn = self._executions.arn_of(due)
        # It may still run since the last redrive.
        job = None if self._is_listed(arn) else self.store.get(due.job_id)
        if job is None or self._must_wait(job):
            return None
        execution = self._describe(arn)
        if is_live(execution):
            return None
        if execution is not None and job.interrupted_by != f"{arn}#{ended_at(execution)}":
            # It ran again, and its end was not handled yet.
            self._interrupt(arn, execution)
            return "interrupted"
        try:
            self.store.redriving(job, deadline_at=self._later_deadline(job))
            is_overtaken = redrives.was_overtaken(job, (execution or {}).get("error"))
            return self._go_on_later(job) if is_overtaken else self._resume(job, arn)
        except TransitionConflict:
            return None

    def _resume(self, job: Job, arn: str) -> str | None:
        match self._executions.redrive(arn):
            case Redriven.RESUMED:
                return "redriven"
            case Redriven.RUNS_ALREADY:
                return None
        return self._go_on_later(job)  # its history is full, or it is gone

    def _go_on_later(self, job: Job) -> str | None:
        """Go on in a later execution. It sends nothing where a video is known or a claim exists."""
        later = self._executions.later(job.job_id)
        if later is None:
            return None
        target = Status.SUBMITTING if job.video_id is None else Status.PROCESSING
        self.store.take_up(job, target, later)
        return self._start(replace(job, execution=later))

    def _later_deadline(self, job: Job) -> int | None:
        """Return a deadline for a video that could not be polled: the outage must not count against it."""
        if job.video_id is None:
            return None
        return max(job.deadline_at or 0, int(time.time()) + self.deadline_seconds)

    def _must_wait(self, job: Job) -> bool:
        """Whether a job may not go on because intake is stopped. Following a paid video pays nothing."""
        return job.video_id is None and self.switch.is_stopped

    def _is_listed(self, arn: str) -> bool:
        """Whether Step Functions lists an execution as running. The list may lack one that does."""
        if self._running is None:
            self._running = self._list()
        return arn in self._running

    def _list(self) -> set[str]:
        """List the running executions, page by page while there is time. Missing ones are described one by one."""
        listed: set[str] = set()
        enough = self.remaining() * (1 - _LISTING_SHARE)
        try:
            for page in self._executions.running():
                listed.update(page)
                if self.remaining() < enough:
                    logger.warning("not all running executions could be listed", listed=len(listed))
                    break
                self.list_pace.wait()
        except (ClientError, BotoCoreError) as error:
            logger.warning("the running executions could not be listed", reason=type(error).__name__)
            self._trouble = error
        return listed

    def _describe(self, arn: str) -> dict[str, Any] | None:
        self.describe_pace.wait()
        return self._executions.describe(arn)

    def _start(self, job: Job) -> str | None:
        return "started" if self._executions.start_job(job) else None

    def _interrupt(self, arn: str, execution: dict[str, Any]) -> None:
        end = {
            "ended": execution.get("status", "gone"),
            "error": execution.get("error") or "",
            "cause": execution.get("cause") or "",
            "moment": str(ended_at(execution)),
        }
        job = self.notifier.interrupted(arn, **end)
        if job.status is not Status.INTERRUPTED and not job.is_terminal:
            self.notifier.interrupted_again(job, arn, **end)


def _each(jobs: Iterable[Job], act: Callable[[Job], str | None]) -> Iterator[Duty]:
    for job in jobs:
        yield job.job_id, functools.partial(act, job)


def _in_turn(kinds: Iterable[Iterator[Duty]]) -> Iterator[Duty]:
    """Yield one duty of each kind in turn, so that no kind delays another."""
    left = list(kinds)
    while left:
        for kind in tuple(left):
            duty = next(kind, None)
            if duty is None:
                left.remove(kind)
            else:
                yield duty
