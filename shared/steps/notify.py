"""How a job ends, holds or is interrupted: the status is written first, then one message is sent.

The write that changes the status also says that a message is due, and the message crosses that off. So whoever comes
second, a retry or a duplicate event, either sends what is still due or does nothing. Must not know Lambda.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.genviral.errors import AccountFault
from shared.jobs import identity
from shared.jobs.errors import DailyLimitReached
from shared.jobs.next_try import from_now
from shared.jobs.notices import notice_for
from shared.jobs.states import Status
from shared.jobs.store import JobStore, MoveRefused
from shared.runtime import MetricUnit, logger, metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sns import SNSClient

    from shared.jobs.notices import Notice
    from shared.jobs.record import Job

_ACCOUNT_ERRORS = frozenset(fault.__name__ for fault in AccountFault.__subclasses__())
_UNCERTAIN_ERRORS = frozenset({"SubmissionUncertain", "SubmissionUnconfirmed"})
_MAX_TEXT = 500
LIMIT_HOLD_SECONDS = 14 * 86_400
"""How long a job may wait for the daily limit, however short `hold_hours` is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer:
    """Closes, holds and interrupts jobs, and says so.

    Args:
        store: Where jobs are kept.
        sns: A boto3 SNS client.
        topic_arn: Where messages go.
        hold_seconds: How long a held job waits before it tries again, in seconds. Needed only to hold jobs.
        hold_hours: How long a job may be on hold, in hours. One that waits for the daily limit may be for two weeks.
    """

    store: JobStore
    sns: SNSClient
    topic_arn: str
    hold_seconds: int = 0
    hold_hours: float = 0

    def succeeded(self, execution_arn: str) -> dict[str, Any]:
        """Close a job whose video is in the bucket."""
        job = self._close(execution_arn, Status.SUCCEEDED, None)
        return {"job_id": job.job_id, "status": job.status.value, "video": job.output}

    def failed(self, execution_arn: str, error: Mapping[str, str]) -> dict[str, Any]:
        """Close a job with the error that ended it: failed, uncertain or timed out.

        Returns:
            `error` with the name and the readable cause, for the execution's own end.
        """
        name, document = _document(error)
        job = self._record(execution_arn)
        job = self._close(execution_arn, _ending(job, name), document)
        cause = json.dumps(document, ensure_ascii=False, separators=(", ", ": "))
        return {"job_id": job.job_id, "status": job.status.value, "error": {"Error": name, "Cause": cause}}

    def on_hold(self, execution_arn: str, error: Mapping[str, str]) -> dict[str, Any]:
        """Put a job on hold, or keep it there. One message for the whole hold, however often it is tried.

        The account's trouble and the daily limit are two different holds: they are told, and end, each by itself.

        Returns:
            `expired` where it has been on hold for too long, otherwise `wait_seconds` until the next try.
        """
        _, document = _document(error)
        job = self._record(execution_arn)
        if self.hold_hours > 0:  # otherwise there is no hold to speak of, and the end has a message of its own
            job = self._hold(job, document)
            self._announce(job)
        held_for = time.time() - (job.held_since or int(time.time()))
        return {
            "job_id": job.job_id,
            "video_id": job.video_id,
            "submitted_at": job.submitted_at,
            "expired": job.is_terminal or held_for >= self._longest(document),
            "wait_seconds": self._pause(document, held_for),
            "error": dict(error),
        }

    def canceled(self, job_id: str) -> Job:
        """Close a job because its owner does not want it any more. The vendor knows no cancel: its work goes on there.

        Raises:
            MoveRefused: There is no such job, or it has ended otherwise.
        """
        known = self.store.get(job_id)
        turn = identity.turn_of(known.execution or "") if known else ""
        try:
            job = self.store.move(
                job_id, Status.CANCELED, notice_due=f"{Status.CANCELED}{turn}", remove=("held_since", "error")
            )
            metrics.add_metric(name="JobsCanceled", unit=MetricUnit.Count, value=1)
        except MoveRefused as refused:
            if refused.current is None or refused.current.status is not Status.CANCELED:
                raise
            job = refused.current
        self._announce(job)
        return job

    def interrupted(self, execution_arn: str, *, ended: str, error: str, cause: str, moment: str) -> None:
        """Note that an execution ended without closing its job.

        Args:
            execution_arn: The execution.
            ended: How it ended: FAILED, TIMED_OUT or ABORTED.
            error: Its error's name.
            cause: Its error's cause.
            moment: When it ended; tells one interruption of the job from the next.
        """
        job = self._record(execution_arn)
        if job.is_terminal or job.execution not in (None, execution_arn):
            self._announce(job)
            return
        interruption = f"{execution_arn}#{moment}"
        try:
            job = self.store.move(
                job.job_id,
                Status.INTERRUPTED,
                stay=True,
                # An operator may have taken the job up again since it was read.
                condition="(attribute_not_exists(interrupted_by) OR interrupted_by <> :interruption)"
                " AND (attribute_not_exists(execution) OR execution = :own)",
                values={":interruption": interruption, ":own": execution_arn},
                interrupted_by=interruption,
                execution=execution_arn,
                error=reason_of(ended=ended, error=error, cause=cause),
                notice_due=f"{Status.INTERRUPTED}#{moment}",
                # A redrive that meets the account's trouble again begins a hold of its own.
                remove=("held_since",),
            )
            metrics.add_metric(name="JobsInterrupted", unit=MetricUnit.Count, value=1)
        except MoveRefused as refused:
            if refused.current is None:
                raise
            job = refused.current
        self._announce(job)

    def remind(self, job_id: str) -> None:
        """Send a job's notification if it is still due: whoever decided on it did not get so far."""
        job = self.store.get(job_id)
        if job is not None:
            self._announce(job)

    def _record(self, execution_arn: str) -> Job:
        """The job's record. One is made where the execution failed before it could make its own."""
        job_id = identity.of_execution(execution_arn)
        job = self.store.get(job_id)
        if job is None:
            job, _ = self.store.create(job_id, source={"type": "execution"}, execution=execution_arn)
        return job

    def _close(self, execution_arn: str, target: Status, error: dict[str, Any] | None) -> Job:
        job_id = identity.of_execution(execution_arn)
        try:
            job = self.store.move(
                job_id,
                target,
                # An execution that is not this job's (any more) must not end it.
                condition="(attribute_not_exists(execution) OR execution = :own)",
                values={":own": execution_arn},
                error=error,
                execution=execution_arn,
                # A job that an operator took up again may end a second time, the same way.
                notice_due=f"{target.value}{identity.turn_of(execution_arn)}",
                remove=("held_since",),
            )
            metrics.add_metric(name=_METRICS[target], unit=MetricUnit.Count, value=1)
            seconds = _seconds(job)
            logger.info("the job ended", status=target.value, seconds=seconds)
            if target is Status.SUCCEEDED:
                metrics.add_metric(name="SecondsToFinish", unit=MetricUnit.Seconds, value=seconds)
        except MoveRefused as refused:
            if refused.current is None:
                raise
            job = refused.current
            logger.info("the job was left as it is", status=job.status.value)
        self._announce(job)
        return job

    def _pause(self, document: Mapping[str, Any], held_for: float) -> int:
        """How long to wait until the next try, in seconds.

        Nobody has to mend anything for the limit, so the longer a job waits for it, the rarer it is tried: a tenth of
        the time that it has waited, but once an hour.
        """
        if not _is_of_limit(document):
            return self.hold_seconds
        return max(self.hold_seconds, min(int(held_for * 0.1), 3600))

    def _longest(self, document: Mapping[str, Any]) -> float:
        """How long a job may be on hold, in seconds."""
        longest = self.hold_hours * 3600
        return max(longest, LIMIT_HOLD_SECONDS) if _is_of_limit(document) and longest else longest

    def _hold(self, job: Job, document: dict[str, Any]) -> Job:
        if job.is_terminal:
            return job
        now = time.time()
        goes_on = job.held_since is not None and _is_of_limit(job.error) == _is_of_limit(document)
        held_for = now - job.held_since if goes_on and job.held_since else 0
        begins: dict[str, Any] = {
            "condition": "(attribute_not_exists(held_since) OR held_since = :seen)",
            "values": {":seen": job.held_since or 0},
            "held_since": int(now),
            # In milliseconds: an interruption may end a hold and begin the next one within a second.
            "notice_due": f"{Status.ON_HOLD}#{round(now * 1000)}",
        }
        try:
            held = self.store.move(
                job.job_id,
                Status.ON_HOLD,
                stay=True,
                error=document,
                next_try_at=from_now(self._pause(document, held_for)),
                held_until=from_now(self._longest(document) - held_for),
                **({} if goes_on else begins),
            )
        except MoveRefused as refused:
            if refused.current is None:
                raise
            return refused.current
        if not goes_on:
            metrics.add_metric(name="JobsHeld", unit=MetricUnit.Count, value=1)
            if _is_of_limit(document):
                metrics.add_metric(name="JobsHeldByLimit", unit=MetricUnit.Count, value=1)
        return held

    def _announce(self, job: Job) -> None:
        if job.notice_due is None:
            return
        # A notice of a status that the job has left is out of date.
        if job.notice_due.partition("#")[0] == job.status:
            publish(notice_for(job), sns=self.sns, topic_arn=self.topic_arn)
        self.store.notice_sent(job.job_id, job.notice_due)


def reason_of(*, ended: str, error: str, cause: str) -> dict[str, Any]:
    """Why an execution left its job open, for the job's record. The arguments are the execution's own."""
    _, document = _document({"Error": error or ended, "Cause": cause})
    return {"advice": "Mend what the message names, then redrive the execution.", **document}


def publish(notice: Notice, *, sns: SNSClient, topic_arn: str) -> None:
    """Send one message: the data to programs, the text to people."""
    sns.publish(
        TopicArn=topic_arn,
        Subject=notice.subject,
        Message=json.dumps(
            {
                "default": json.dumps(notice.message, ensure_ascii=False),
                "email": notice.text,
                "sms": notice.short,
            },
            ensure_ascii=False,
        ),
        MessageStructure="json",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in notice.attributes.items()
        },
    )


_METRICS = {
    Status.SUCCEEDED: "JobsSucceeded",
    Status.FAILED: "JobsFailed",
    Status.UNCERTAIN: "JobsUncertain",
    Status.TIMED_OUT: "JobsTimedOut",
}


def _is_of_limit(document: Mapping[str, Any] | None) -> bool:
    """Whether an error's document is that of the daily limit."""
    return document is not None and document.get("code") == DailyLimitReached.code


def _seconds(job: Job) -> float:
    """From the request to the job's end, in seconds."""
    began, ended = (datetime.fromisoformat(moment) for moment in (job.created_at, job.timeline[job.status]))
    return (ended - began).total_seconds()


def _ending(job: Job, error: str) -> Status:
    """How a job ends by this error."""
    # A claim that is still there means a paid call of unknown end, whatever was reported last.
    if error in _UNCERTAIN_ERRORS or (job.claim is not None and job.video_id is None):
        return Status.UNCERTAIN
    # A hold that lasted too long must not make a paid video look like one that was never bought.
    if error == "TimedOut" or (error in _ACCOUNT_ERRORS and job.video_id is not None):
        return Status.TIMED_OUT
    return Status.FAILED


def _document(error: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """A caught error's name and its document, out of the wrapping that Lambda or Step Functions put around it."""
    name, text = error.get("Error", "Unknown"), error.get("Cause", "")
    for _ in range(2):  # Lambda's own document around ours
        try:
            document = json.loads(text)
        except ValueError:
            break
        if not isinstance(document, dict):
            break
        if "code" in document and "message" in document:
            return name, document
        text = str(document.get("errorMessage", ""))
    # Only Lambda's own sentences are known to quote nothing: an interpreter's error may repeat a state's whole input.
    said = text[:_MAX_TEXT] if name.startswith(("Lambda.", "Sandbox.", "Runtime.")) else ""
    return name, {"error": name, "code": name, "message": said or f"the execution ended with {name}"}
