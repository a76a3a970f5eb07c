"""What a person may do with a job that the system will not do by itself.

Every change is one conditional write first and an execution second. The write names the execution that follows, so a
command that was cut off between the two is finished by its repeat, or by the sweep. Knows the store, Step Functions and
the names of executions; must not know the command line.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.outlook import LIVE, instead, is_live
from shared.genviral.errors import GenviralFault, SubmissionUncertain, SubmissionUnconfirmed, VideoNotFound
from shared.genviral.responses import is_video_id
from shared.jobs import identity
from shared.jobs.errors import JobClosed
from shared.jobs.states import OPEN, Status
from shared.jobs.store import MoveRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.record import Job
    from shared.jobs.store import JobStore

_ATTACHABLE = (Status.UNCERTAIN, Status.TIMED_OUT, Status.FAILED, Status.CANCELED, Status.INTERRUPTED)
_RESUBMITTABLE = (Status.UNCERTAIN, Status.FAILED)
# Those that wait for a person come first.
_LISTED = (Status.UNCERTAIN, Status.TIMED_OUT, Status.INTERRUPTED, Status.ON_HOLD)
_LATER_EXECUTIONS = 999
# Too old, too long a history, or running again; the last two are how a service answers that knows no redrive.
_NOT_REDRIVABLE = "ExecutionNotRedrivable"
_CANNOT_REDRIVE = (_NOT_REDRIVABLE, "ExecutionDoesNotExist", "InvalidAction", "UnknownOperationException")
_GAVE_UP = (SubmissionUncertain.__name__, SubmissionUnconfirmed.__name__, JobClosed.__name__)


class Refused(Exception):
    """The command cannot be carried out; the text says why and what can be done instead. Nothing was changed."""


def _agree(_: Job) -> None:
    """The caller has decided already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Acts on jobs.

    Args:
        store: Where jobs are kept.
        sfn: A boto3 Step Functions client.
        state_machine_arn: The machine that runs jobs.
        deadline_seconds: How long a job that is attached may take from now, in seconds.
        ask: Asks the vendor for a video. What it raises says that the vendor does not know it, or cannot be asked.
    """

    store: JobStore
    sfn: SFNClient
    state_machine_arn: str
    deadline_seconds: int
    ask: Callable[[str], object]

    def list(self, status: Status | None) -> Iterator[Job]:
        """The jobs of one status; without one, those that wait for a person, then the open ones. Oldest change first.

        Requests and errors are left out.
        """
        for name in [status] if status else [*_LISTED, *sorted(OPEN - set(_LISTED))]:
            yield from self.store.in_status(name)

    def show(self, job_id: str) -> tuple[Job, dict[str, Any] | None]:
        """A job, and its execution as Step Functions describes it, if that exists.

        Raises:
            Refused: There is no such job.
        """
        job = self._job(job_id)
        return job, self._execution(job)

    def attach(self, job_id: str, video_id: str | None = None, *, replace: bool = False, force: bool = False) -> str:
        """Go on with a video that the vendor has: poll it and bring it home. Pays nothing.

        The vendor is asked for the video before anything is written, and the table for another job that has it.

        Args:
            job_id: The job.
            video_id: The vendor's id of the video. None: the one that the record names.
            replace: Whether it may take the place of another video on the record (an id that was mistyped before),
                also while that one is still being looked for.
            force: Whether nobody is asked: the vendor may not know the video, and another job may have it.

        Returns:
            The ARN of the execution that goes on.

        Raises:
            Refused: The job is in no state for it, or has another video; the vendor does not know the video or cannot
                be asked; or another job has it.
        """
        job = self._job(job_id)
        if video_id is None and (video_id := job.known_video) is None:
            raise Refused("The job names no video. Give the id; Genviral shows it in its studio.")
        if not is_video_id(video_id):
            raise Refused("That is no video id. Genviral shows it in its studio.")
        has_another = job.video_id not in (None, video_id)
        if has_another and not replace:
            raise Refused(f"The job has another video: {job.video_id}. Attach that one, or add --replace.")
        execution = self._execution(job)
        if job.status is Status.PROCESSING and job.video_id == video_id and execution is None:
            return self._start(job.job_id, self._arn_of(job))
        follows_another = job.status is Status.PROCESSING and has_another
        if not follows_another:
            _require(job, _ATTACHABLE)
        closed_but_running = is_live(execution) and not follows_another
        if closed_but_running and not job.is_terminal:
            raise Refused("The job's execution is running again. Wait for its end, or cancel the job first.")
        if not force:
            self._require_free(job, video_id)
        if closed_but_running:
            # It has nothing left to do: its job has ended.
            self._stop(job)
        now = int(time.time())
        arn = self._take_up(
            job,
            Status.PROCESSING,
            remove=("claim", "held_since", "notice_due", "error"),
            video_id=video_id,
            submitted_at=job.submitted_at or now,
            deadline_at=now + self.deadline_seconds,
        )
        if is_live(execution) and follows_another:
            # Only now: its end is not the job's any more, so nobody is told of an interruption. Where this is cut off,
            # it ends by itself, and delivers nothing: the job has another video.
            self._stop(job)
        return arn

    def _require_free(self, job: Job, video_id: str) -> None:
        """Refuse a video that the vendor does not know, or that another job has."""
        try:
            self.ask(video_id)
        except VideoNotFound:
            raise Refused(
                f"Genviral does not know the video {video_id}. Is the id right, and does the stack's API key belong to "
                "the workspace that started it? Nothing was changed. Attach it all the same with --force."
            ) from None
        except GenviralFault as fault:
            raise Refused(
                f"{fault.message} So nobody knows whether the video exists, and nothing was changed. Try again, or "
                "attach it without asking, with --force."
            ) from None
        for other_id in self.store.with_video(video_id):
            other = self.store.get(other_id) if other_id != job.job_id else None
            if other is not None and other.video_id == video_id:
                raise Refused(
                    f"The job {other_id} has this video; it is {other.status}. Nothing was changed. Attach it to both "
                    "with --force."
                )

    def resubmit(self, job_id: str, approve: Callable[[Job], None] = _agree) -> str:
        """Send the paid call once more, on purpose. May pay a second time.

        Args:
            job_id: The job.
            approve: Sees the job that the decision is about, and raises `Refused` to leave it alone. If the job
                changes meanwhile, nothing is sent.

        Returns:
            The ARN of the execution that goes on.

        Raises:
            Refused: The job is in no state for it, or has a video.
        """
        job = self._job(job_id)
        if job.video_id is not None:
            raise Refused(f"The job is paid for: its video is {job.video_id}. {instead(job)}")
        if job.status is Status.QUEUED and job.resubmissions and self._execution(job) is None:
            approve(job)
            return self._start(job.job_id, self._arn_of(job))
        _require(job, _RESUBMITTABLE)
        approve(job)
        return self._take_up(
            job,
            Status.QUEUED,
            remove=("claim", "held_since", "notice_due", "error"),
            resubmissions=job.resubmissions + 1,
        )

    def redrive(self, job_id: str, approve: Callable[[Job], None] = _agree) -> str:
        """Resume a job whose execution is dead, at the state that failed.

        A job that is paid for, or may be, is never sent again. One that is not yet is now sent, once.

        Args:
            job_id: The job.
            approve: Asked before a job that is not paid for goes on; raises `Refused` to leave it alone.

        Returns:
            The ARN of the execution that goes on: the same one, or a later one where that cannot be redriven any more.

        Raises:
            Refused: The job has ended, or its execution is alive.
        """
        job = self._job(job_id)
        if job.is_terminal:
            raise Refused(f"The job is {job.status}; only one that was interrupted can be redriven. {instead(job)}")
        execution = self._execution(job)
        if is_live(execution):
            raise Refused("The job's execution is running; there is nothing to redrive.")
        if job.video_id is None and job.claim is None:
            approve(job)
        arn = self._arn_of(job)
        if execution is None:
            return self._start(job.job_id, arn)
        # One attempt gave the paid call up, then the answer to another came after all; or two attempts brought two
        # videos, and this execution follows the one that the record does not have. A redrive would only fail again.
        gave_up = job.video_id is not None and execution.get("error") in _GAVE_UP
        if not gave_up and self._redriven(arn):
            return arn
        # The claim stays: a call of unknown end ends as uncertain, and is not repeated.
        target = Status.SUBMITTING if job.video_id is None else Status.PROCESSING
        return self._take_up(job, target, remove=("held_since", "notice_due"))

    def _redriven(self, arn: str) -> bool:
        """Redrive an execution. False where that is not possible any more.

        Raises:
            Refused: It runs already.
        """
        try:
            self.sfn.redrive_execution(executionArn=arn)
        except ClientError as error:
            said = error.response["Error"]
            if said["Code"] not in _CANNOT_REDRIVE:
                raise
            if said["Code"] == _NOT_REDRIVABLE and self._runs_again(arn, said.get("Message", "")):
                raise Refused("The job's execution runs again already; there is nothing to redrive.") from None
            return False
        return True

    def _runs_again(self, arn: str, said: str) -> bool:
        """Whether an execution that cannot be redriven is alive, which a description may be too old to say.

        https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html: it is eventually
        consistent, has a reason, and says REDRIVABLE only where the redrive that was refused just now is possible.
        """
        execution = self._describe(arn) or {"status": "gone"}
        reasons = f"{said} {execution.get('redriveStatusReason', '')}"
        return (
            is_live(execution)
            or execution.get("redriveStatus") == "REDRIVABLE"
            or any(status in reasons for status in LIVE)
        )

    def cancel(self, job_id: str) -> Job:
        """Stop following a job. The vendor knows no cancel: a paid video goes on there, and `attach` finds it again.

        Raises:
            Refused: The job has ended otherwise.
        """
        job = self._job(job_id)
        if job.status is not Status.CANCELED:
            try:
                # The end of the execution makes the notice go out.
                job = self.store.move(
                    job.job_id,
                    Status.CANCELED,
                    notice_due=f"{Status.CANCELED}{identity.turn_of(job.execution or '')}",
                    remove=("held_since", "error"),
                )
            except MoveRefused as refused:
                raise Refused(f"The job is {_status(refused)}; there is nothing to cancel.") from None
        if is_live(self._execution(job)):
            self._stop(job)
        return job

    def _take_up(self, job: Job, target: Status, *, remove: tuple[str, ...], **attributes: Any) -> str:
        """Give the job as it was seen a new status and a later execution, and start that."""
        arn = self._free_arn(job.job_id)
        condition, values = _as_seen(job)
        try:
            self.store.move(
                job.job_id,
                target,
                reopen=True,
                stay=True,
                condition=condition,
                values=values,
                remove=remove,
                execution=arn,
                **attributes,
            )
        except MoveRefused as refused:
            raise Refused(f"The job has changed meanwhile; it is {_status(refused)}. Look at it again.") from None
        return self._start(job.job_id, arn)

    def _start(self, job_id: str, arn: str) -> str:
        try:
            self.sfn.start_execution(
                stateMachineArn=self.state_machine_arn,
                name=arn.rpartition(":")[2],
                input=json.dumps({"job_id": job_id}),
            )
        except self.sfn.exceptions.ExecutionAlreadyExists:
            return arn  # by the sweep, or by this command before it was cut off
        return arn

    def _stop(self, job: Job) -> None:
        self.sfn.stop_execution(
            executionArn=self._arn_of(job), error="JobClosed", cause=f"An operator closed it: the job is {job.status}."
        )

    def _free_arn(self, job_id: str) -> str:
        """The first later execution that was not started yet."""
        for number in range(1, _LATER_EXECUTIONS + 1):
            arn = self._arn(identity.later_execution(job_id, number))
            if self._describe(arn) is None:
                return arn
        raise Refused("The job was taken up too often. Ask for a new one.")

    def _job(self, job_id: str) -> Job:
        # An execution's name or ARN will do: that is what the console shows.
        job = self.store.get(identity.of_execution(job_id))
        if job is None:
            raise Refused(f"There is no job {job_id}, or its record has expired.")
        return job

    def _execution(self, job: Job) -> dict[str, Any] | None:
        return self._describe(self._arn_of(job))

    def _describe(self, arn: str) -> dict[str, Any] | None:
        try:
            return dict(self.sfn.describe_execution(executionArn=arn))
        except self.sfn.exceptions.ExecutionDoesNotExist:
            return None

    def _arn_of(self, job: Job) -> str:
        return job.execution or self._arn(job.job_id)

    def _arn(self, name: str) -> str:
        return f"{self.state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"


def _require(job: Job, statuses: tuple[Status, ...]) -> None:
    if job.status not in statuses:
        raise Refused(f"The job is {job.status}; this is for jobs that are {', '.join(statuses)}.")


def _as_seen(job: Job) -> tuple[str, dict[str, str]]:
    """The condition that nobody has moved the job, taken it up or found its video since it was read."""
    condition, values = "#status = :seen", {":seen": job.status.value}
    for name, value in (("execution", job.execution), ("video_id", job.video_id)):
        if value is None:
            condition += f" AND attribute_not_exists({name})"
        else:
            condition += f" AND {name} = :seen_{name}"
            values[f":seen_{name}"] = value
    return condition, values


def _status(refused: MoveRefused) -> str:
    return "gone" if refused.current is None else refused.current.status.value
