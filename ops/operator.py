"""What a person may do with a job that the system will not do by itself.

Every change is one conditional write first and an execution second, so a command that is interrupted can be repeated.
Knows the store, Step Functions and the names of executions; must not know the command line.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.jobs import identity
from shared.jobs.states import TERMINAL, Status
from shared.jobs.store import MoveRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.record import Job
    from shared.jobs.store import JobStore

_REOPENABLE = (Status.UNCERTAIN, Status.TIMED_OUT, Status.FAILED, Status.CANCELED, Status.INTERRUPTED)
_LATER_EXECUTIONS = 999


class Refused(Exception):
    """The command cannot be carried out; the text says why and what can be done instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Acts on jobs.

    Args:
        store: Where jobs are kept.
        sfn: A boto3 Step Functions client.
        state_machine_arn: The machine that runs jobs.
        deadline_seconds: How long a job that is taken up again may take from now, in seconds.
    """

    store: JobStore
    sfn: SFNClient
    state_machine_arn: str
    deadline_seconds: int

    def list(self, status: Status | None) -> Iterator[Job]:
        """The jobs of one status, or all that are open or need a person; those longest unchanged first."""
        wanted = [status] if status else [name for name in Status if name not in TERMINAL or name is Status.UNCERTAIN]
        for name in wanted:
            yield from self.store.in_status(name)

    def show(self, job_id: str) -> tuple[Job, dict[str, Any] | None]:
        """A job and its execution, if that still exists."""
        job = self._job(job_id)
        return job, self._execution(job)

    def attach(self, job_id: str, video_id: str) -> str:
        """Go on with a video that the vendor has: poll it and bring it home. Pays nothing.

        Returns:
            The new execution's ARN.
        """
        job = self._job(job_id)
        if job.video_id not in (None, video_id):
            raise Refused(f"The job has another video already: {job.video_id}. Attach that one.")
        return self._take_up(
            job,
            Status.PROCESSING,
            from_=_REOPENABLE,
            video_id=video_id,
            submitted_at=job.submitted_at or int(time.time()),
            deadline_at=int(time.time()) + self.deadline_seconds,
        )

    def resubmit(self, job_id: str) -> str:
        """Send the paid call once more, on purpose. May pay a second time.

        Returns:
            The new execution's ARN.
        """
        job = self._job(job_id)
        if job.video_id is not None:
            raise Refused(f"The job is paid for: its video is {job.video_id}. Use attach or redrive.")
        return self._take_up(
            job, Status.QUEUED, from_=(Status.UNCERTAIN, Status.FAILED), resubmissions=job.resubmissions + 1
        )

    def redrive(self, job_id: str) -> str:
        """Resume the job's failed execution at the state that failed. Pays nothing: a claimed job is never sent again.

        Returns:
            The ARN of the execution that goes on: the same one, or a new one where that cannot be redriven any more.
        """
        job = self._job(job_id)
        if job.is_terminal:
            raise Refused(f"The job is {job.status}: only one that was interrupted can be redriven. See attach.")
        arn = job.execution or self._arn(job.job_id)
        try:
            self.sfn.redrive_execution(executionArn=arn)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _NOT_REDRIVABLE:
                raise
            return self._start_again(job)
        return arn

    def cancel(self, job_id: str) -> None:
        """Stop following a job. The vendor knows no cancel: a paid video goes on there, and `attach` finds it again."""
        job = self._job(job_id)
        try:
            self.store.move(job.job_id, Status.CANCELED, remove=("held_since",))
        except MoveRefused as refused:
            raise Refused(f"The job is {_status(refused)}; there is nothing to cancel.") from None
        arn = job.execution or self._arn(job.job_id)
        try:
            self.sfn.stop_execution(executionArn=arn, error="Canceled", cause="An operator canceled the job.")
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return

    def _take_up(self, job: Job, target: Status, *, from_: tuple[Status, ...], **attributes: Any) -> str:
        if job.status not in from_:
            allowed = ", ".join(status.value for status in from_)
            raise Refused(f"The job is {job.status}; this is for jobs that are {allowed}.")
        name = self._free_name(job.job_id)
        try:
            self.store.move(
                job.job_id,
                target,
                reopen=True,
                condition="#status = :seen",
                values={":seen": job.status.value},
                remove=("claim", "held_since", "notice_due", "error"),
                execution=self._arn(name),
                **attributes,
            )
        except MoveRefused as refused:
            raise Refused(f"The job has become {_status(refused)} meanwhile. Look again.") from None
        return self._start(job.job_id, name)

    def _start_again(self, job: Job) -> str:
        if job.video_id is None and job.claim is not None:
            raise Refused("Nobody knows whether the job was paid for. Ask Genviral, then use attach or resubmit.")
        name = self._free_name(job.job_id)
        self.store.note(job.job_id, execution=self._arn(name))
        return self._start(job.job_id, name)

    def _start(self, job_id: str, name: str) -> str:
        started = self.sfn.start_execution(
            stateMachineArn=self.state_machine_arn, name=name, input=json.dumps({"job_id": job_id})
        )
        return started["executionArn"]

    def _free_name(self, job_id: str) -> str:
        """The first name of a later execution that was not used yet."""
        for number in range(1, _LATER_EXECUTIONS):
            name = identity.later_execution(job_id, number)
            if self._describe(self._arn(name)) is None:
                return name
        raise Refused("The job was taken up too often; start a new one.")

    def _job(self, job_id: str) -> Job:
        job = self.store.get(job_id) if identity.is_job_id(job_id) else None
        if job is None:
            raise Refused(f"There is no job {job_id}.")
        return job

    def _execution(self, job: Job) -> dict[str, Any] | None:
        return self._describe(job.execution or self._arn(job.job_id))

    def _describe(self, arn: str) -> dict[str, Any] | None:
        try:
            return dict(self.sfn.describe_execution(executionArn=arn))
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return None

    def _arn(self, name: str) -> str:
        return f"{self.state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"


# The last two are what an emulator says that knows no redrive.
_NOT_REDRIVABLE = {
    "ExecutionNotRedrivable",
    "ExecutionDoesNotExist",
    "InvalidAction",
    "UnknownOperationException",
}


def _status(refused: MoveRefused) -> str:
    return "gone" if refused.current is None else refused.current.status.value
