"""End, hold or interrupt a job: write its status first, then count it and send one message.

The write that changes the status also marks a message as due. Sending the message removes the mark. So a retry or a
duplicate event counts and sends what is still due, or does nothing. This also holds if the answer to the write was
lost. Must not know Lambda.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Paid
from shared.genviral.errors import AccountFault
from shared.jobs import identity, redrives
from shared.jobs.errors import LIMIT_CODES, DailyLimitReached, PriceUnknown, RequestTooLarge
from shared.jobs.notifications import notification_for
from shared.jobs.record import status_of
from shared.jobs.states import STATES, TERMINAL, Status
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.jobs.waits import from_now
from shared.printable import json_text
from shared.runtime import MetricUnit, logger, metrics
from shared.steps.claims import require_no_running_attempt
from shared.steps.videos import keep_named_video

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_sns import SNSClient

    from shared.jobs.notifications import Notification
    from shared.jobs.record import Fields, Hold, Job

_ACCOUNT_ERRORS = frozenset(fault.__name__ for fault in AccountFault.__subclasses__())
_UNCERTAIN_ERRORS = frozenset({"SubmissionUncertain", "SubmissionUnconfirmed"})
_MAX_TEXT = 500
# Raised by Step Functions itself, and neither retried nor caught by States.ALL.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
_TOO_MUCH_DATA = "States.DataLimitExceeded"
_TOO_LARGE_AN_INPUT = (
    "The execution's input is too large: with what is added to it for a step, it has more than 256 KiB. Nothing was "
    "sent."
)
LIMIT_HOLD_SECONDS = 14 * 86_400
"""How long a job may wait for the daily limit, whatever `hold_hours` is."""
_AFTER_A_HOLD = {
    Status.FAILED: "This job has ended. Send it again with the operator's command `resubmit`.",
    Status.TIMED_OUT: "This job has ended, but its video is paid for. Fetch it with the operator's command `attach`.",
}
_AFTER_THE_LIMITS_HOLD = (
    "Nothing was paid. This job has waited for 14 days, as long as a job may, and is not tried again automatically. "
    "Send it again with the operator's command `resubmit`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Close, hold and interrupt jobs, and send the notifications.

    Args:
        hold_seconds: How long a held job waits before it tries again, in seconds. Needed only to hold jobs.
        hold_hours: How long the account may keep a job on hold, in hours; 0: not at all. A job that waits for the daily
            limit may wait for two weeks, whatever this is.
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

        An error from before its video was accepted ends no job that has one: another attempt was accepted meanwhile.
        Such a job is left open. The end of its execution then interrupts it, and the sweep has the video followed.

        Returns:
            `error` with the name and the readable cause, for the execution's own end.

        Raises:
            SubmissionInProgress: It is not the error of the attempt that may be sending the paid call.
        """
        name, document = _document(error)
        job = self._record(execution_arn)
        if name not in _UNCERTAIN_ERRORS:
            _require_no_running_attempt(job, execution_arn)
        keep_named_video(self.store, job, document)
        ending = _ending(job, name)
        document |= _advice_at_the_end(name, document, ending)
        is_of_before = document.get("paid", Paid.YES) != Paid.YES
        job = self._close(execution_arn, ending, document, is_without_video=is_of_before)
        cause = json_text(document, separators=(", ", ": "))
        return {"job_id": job.job_id, "status": job.status.value, "error": {"Error": name, "Cause": cause}}

    def on_hold(self, execution_arn: str, error: Mapping[str, str]) -> dict[str, Any]:
        """Put a job on hold, or keep it there. One message for the whole hold, however often it is tried.

        The account's trouble and the daily limit are two different holds, each with a message and an end of its own.
        Neither ends the other, so a job that alternates between them still reaches the end of a hold.

        Returns:
            `expired` where it has been on hold for too long, otherwise `wait_seconds` until the next try.
        """
        _, document = _document(error)
        job = self.store.separate_holds(self._record(execution_arn))
        if self._longest(document) > 0:  # otherwise there is no hold, and the job's end has a message of its own
            job = self._hold(job, document)
            self._announce(job)
        held_for = _held_for(job, document)
        return {
            "job_id": job.job_id,
            "video_id": job.video_id,
            "submitted_at": job.submitted_at,
            "expired": job.is_terminal or held_for >= self._longest(document),
            "wait_seconds": self._pause(document, held_for),
            "error": dict(error),
        }

    def canceled(self, job_id: str) -> Job:
        """Close a job because its owner does not want it any more. The vendor completes the video nevertheless.

        Raises:
            TransitionConflict: There is no such job, or it has ended otherwise.
        """
        known = self.store.get(job_id)
        job = self.store.cancel(job_id, known.execution if known else None)
        self._announce(job)
        return job

    def interrupted(self, execution_arn: str, *, ended: str, error: str, cause: str, moment: str) -> Job:
        """Note that an execution ended without closing its job.

        Args:
            ended: How it ended: FAILED, TIMED_OUT or ABORTED.
            moment: When it ended, in epoch milliseconds or ISO 8601; tells one interruption of the job from the next.
                `0`: not known, as there is no such execution.

        Returns:
            The job as it is now. It is not interrupted if it has ended, or this end was noted before.
        """
        job = self._record(execution_arn)
        if job.is_terminal or job.execution not in (None, execution_arn):
            self._announce(job)
            return job
        keep_named_video(self.store, job, _document({"Error": error, "Cause": cause})[1])
        if error == _TOO_MUCH_DATA and job.paid is Paid.NO:
            # Before Submit was called: no redrive can help.
            return self._close(execution_arn, Status.FAILED, RequestTooLarge(_TOO_LARGE_AN_INPUT).document())
        is_news, planned = _planned(job, ended=ended, error=error, cause=cause)
        job = _written(
            lambda: self.store.interrupt(
                job.job_id, execution_arn, moment=moment, ended_at=_milliseconds(moment), is_news=is_news, **planned
            )
        )
        self._announce(job)
        return job

    def interrupted_again(
        self, job: Job, execution_arn: str, *, ended: str, error: str, cause: str, moment: str
    ) -> None:
        """Note an interruption once more where a step outlived the execution and moved the job on after it.

        What people were notified of then is not true any more: the job may be paid for by now.

        Args:
            job: The job as it is now; the others are those of `interrupted`.
        """
        is_news, planned = _planned(job, ended=ended, error=error, cause=cause)
        again = f"{moment}.{int(time.time())}"
        job = _written(
            lambda: self.store.interrupt_again(job.job_id, execution_arn, moment=again, is_news=is_news, **planned)
        )
        self._announce(job)

    def remind(self, job_id: str) -> None:
        """Send a job's notification if it is still due, because whoever had to send it was cut off."""
        job = self.store.get(job_id)
        if job is not None:
            self._announce(job)

    def _record(self, execution_arn: str) -> Job:
        """Return the job's record. Create one if the execution failed before it could."""
        job_id = identity.of_execution(execution_arn)
        job = self.store.get(job_id)
        if job is None:
            job, _ = self.store.create(job_id, source={"type": "execution"}, execution=execution_arn)
        return job

    def _close(
        self, execution_arn: str, target: Status, error: dict[str, Any] | None, *, is_without_video: bool = False
    ) -> Job:
        job_id = identity.of_execution(execution_arn)
        try:
            job = self.store.close(
                job_id, target, execution=execution_arn, error=error, is_without_video=is_without_video
            )
        except TransitionConflict as refused:
            job = refused.require_job()
            _require_no_running_attempt(job, execution_arn)
            logger.info("the job was left as it is", status=job.status.value)
        self._announce(job)
        return job

    def _pause(self, document: Mapping[str, Any], held_for: float) -> int:
        """Return how long to wait until the next try, in seconds.

        The limit needs no person. So a job that waits for it is tried less often the longer it waits: after a tenth of
        the time that it has waited, and at least once an hour.
        """
        if not _is_of_limit(document):
            return self.hold_seconds
        return max(self.hold_seconds, min(int(held_for * 0.1), 3600))

    def _longest(self, document: Mapping[str, Any]) -> float:
        """Return how long a job may be on hold, in seconds."""
        return LIMIT_HOLD_SECONDS if _is_of_limit(document) else self.hold_hours * 3600

    def _hold(self, job: Job, document: dict[str, Any]) -> Job:
        if job.is_terminal:
            return job
        held_for = _held_for(job, document)
        # A job that waits for its turn says nothing about the account, which still needs a person.
        is_aside = self._account_may_refuse(job) and document["code"] == PriceUnknown.code
        changes: Fields = {"next_try_at": from_now(self._pause(document, held_for))}
        if not (is_aside and (job.error or {}).get("error") in _ACCOUNT_ERRORS):
            changes |= {"error": document, "held_until": from_now(self._longest(document) - held_for)}
        # A wait for another day has outlasted the account's hold: its next trouble is a hold of its own.
        is_over = document["code"] == DailyLimitReached.code and not self._account_may_refuse(job)
        ends: tuple[Hold, ...] = ("held_since",) if is_over else ()
        return _written(lambda: self.store.hold(job, _kind_of_hold(document), is_quiet=is_aside, ends=ends, **changes))

    def _account_may_refuse(self, job: Job) -> bool:
        """Whether the account refused the job in a hold that has not lasted too long."""
        return job.held_since is not None and time.time() - job.held_since < self.hold_hours * 3600

    def _announce(self, job: Job) -> None:
        """Count the job's status and notify people of it, if that is still due. An ended job keeps no signed link."""
        if (due := job.notice_due) is None:
            return
        # While a notification is due, somebody comes back: also for this, where it was cut off.
        job = self.store.strip_links(job)
        status = status_of(due)
        if job.counted != due:
            _count(job, status)
        try:
            # A notification of a status that the job has left is out of date.
            if status is job.status:
                publish(notification_for(job), sns=self.sns, topic_arn=self.topic_arn)
            self.store.notification_sent(job.job_id, due)
        except Exception:
            # The attempt that sends it later must not count it again.
            with suppress(ClientError, BotoCoreError, TransitionConflict):
                self.store.update(job.job_id, counted=due)
            raise


def _planned(job: Job, *, ended: str, error: str, cause: str) -> tuple[bool, Fields]:
    """Return what follows an interruption: whether people are notified, and the fields of the record."""
    plan = redrives.plan(job, ended=ended, error=error, now=int(time.time()))
    advised = plan.advise(reason_of(ended=ended, error=error, cause=cause))
    return plan.is_news, {"error": advised, "redrive_at": plan.redrive_at, "redrive_until": plan.redrive_until}


def _written(write: Callable[[], Job]) -> Job:
    """Return the job after a write, or as it is where the write was refused."""
    try:
        return write()
    except TransitionConflict as refused:
        return refused.require_job()


def reason_of(*, ended: str, error: str, cause: str) -> dict[str, Any]:
    """Return why an execution left its job open, for the job's record. The arguments are the execution's own."""
    _, document = _document({"Error": error or ended, "Cause": cause})
    return {"advice": "Fix what the message names, then redrive the execution.", **document}


def publish(notice: Notification, *, sns: SNSClient, topic_arn: str) -> None:
    """Send one message: the data to programs, the text to people."""
    sns.publish(
        TopicArn=topic_arn,
        Subject=notice.subject,
        Message=json.dumps(
            {"default": json_text(notice.message), "email": notice.text, "sms": notice.short}, ensure_ascii=False
        ),
        MessageStructure="json",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in notice.attributes.items()
        },
    )


def _milliseconds(moment: str) -> int | None:
    """Return a moment in epoch milliseconds, so that moments can be compared. None: it is not known."""
    if moment.isdecimal():
        return int(moment) or None
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _count(job: Job, status: Status) -> None:
    """Count in the metrics that a job has entered this status."""
    metrics.add_metric(name=STATES[status].metric, unit=MetricUnit.Count, value=1)
    if status is Status.ON_HOLD and _is_of_limit(job.error):
        metrics.add_metric(name="JobsHeldByLimit", unit=MetricUnit.Count, value=1)
    if status is Status.INTERRUPTED:
        is_left = job.status is status and job.redrive_at is None
        metrics.add_metric(name="JobsLeftInterrupted", unit=MetricUnit.Count, value=int(is_left))
    if status in TERMINAL and status in job.timeline:
        began, ended = (datetime.fromisoformat(moment) for moment in (job.created_at, job.timeline[status]))
        seconds = (ended - began).total_seconds()
        logger.info("the job ended", status=status.value, seconds=seconds)
        if status is Status.SUCCEEDED:
            metrics.add_metric(name="SecondsToFinish", unit=MetricUnit.Seconds, value=seconds)


def _is_of_limit(document: Mapping[str, Any] | None) -> bool:
    """Whether an error's document is about the daily limit."""
    return document is not None and document.get("code") in LIMIT_CODES


def _kind_of_hold(document: Mapping[str, Any]) -> Hold:
    """Return the attribute that says since when a job is on hold for such an error."""
    return "limit_held_since" if _is_of_limit(document) else "held_since"


def _held_for(job: Job, document: Mapping[str, Any]) -> float:
    """Return how long a job has been on hold for such an error, in seconds."""
    now = time.time()
    return now - (getattr(job, _kind_of_hold(document)) or now)


def _advice_at_the_end(error: str, document: Mapping[str, Any], ending: Status) -> dict[str, str]:
    """Return the advice for a job that a hold has ended: it is not tried again automatically."""
    if ending is Status.FAILED and _is_of_limit(document):
        return {"advice": _AFTER_THE_LIMITS_HOLD}
    if error in _ACCOUNT_ERRORS and ending in _AFTER_A_HOLD:
        return {"advice": f"{document.get('advice', '')} {_AFTER_A_HOLD[ending]}".strip()}
    return {}


def _require_no_running_attempt(job: Job, execution_arn: str) -> None:
    """Refuse to end a job while another attempt may still be sending its paid call.

    Raises:
        SubmissionInProgress: It may.
    """
    if not job.is_terminal and job.execution in (None, execution_arn):
        require_no_running_attempt(job)


def _ending(job: Job, error: str) -> Status:
    """Return the status in which a job ends by this error."""
    # A claim that is still there means a paid call of unknown outcome, whatever was reported last.
    if error in _UNCERTAIN_ERRORS or (job.claim is not None and job.video_id is None):
        return Status.UNCERTAIN
    # A hold that lasted too long must not make a paid video appear unpaid.
    if error == "TimedOut" or (error in _ACCOUNT_ERRORS and job.video_id is not None):
        return Status.TIMED_OUT
    return Status.FAILED


def _document(error: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return a caught error's name and its document, without what Lambda or Step Functions wrapped around it."""
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
