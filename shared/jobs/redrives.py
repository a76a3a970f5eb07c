"""Decide when to redrive an interrupted job automatically: which errors pass, how long to wait, when to give up.

Pure functions and one table. Redriving costs nothing but a few calls, and never pays twice: every step may be repeated.
Knows errors by their names, because an execution's end tells no more. Must not know Step Functions or the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.faults import Branch
from shared.genviral.errors import TABLE, SubmissionUnconfirmed
from shared.jobs.errors import JOB_ERRORS

if TYPE_CHECKING:
    from shared.jobs.record import Job


class Prospect(StrEnum):
    """Whether an error passes."""

    PASSES = "passes"
    """The vendor, the network or AWS is in trouble. A person can do nothing."""
    DOUBTFUL = "doubtful"
    """It may pass; or a person has to fix something, and then the next try succeeds."""
    LASTS = "lasts"
    """Only a person can help. Also every error that is not in the table."""


_PASSING = (
    *("RateLimited", "GenviralUnreachable", "GenviralUnavailable", "OutputUnreachable", "DeliveryIncomplete"),
    *("States.Timeout", "Sandbox.Failure", "Sandbox.Timedout", "Sandbox.Timeout"),
    *("Lambda.ClientExecutionTimeoutException", "Lambda.ResourceConflictException", "Lambda.ResourceNotReadyException"),
    *("Lambda.SdkClientException", "Lambda.ServiceException", "Lambda.TooManyRequestsException"),
    *("Lambda.ThrottlingException", "Lambda.InternalFailure", "Lambda.ServiceUnavailable"),
    *("Lambda.RequestTimeoutException", "Lambda.RequestAbortedException"),
    "SubmissionInProgress",  # the attempt that was waited for ends within minutes
)
_DOUBTFUL = (
    # A refused link or a broken file may be the trouble of the host, or the file may be gone.
    *("OutputExpired", "OutputInvalid"),
    # An outage, a throttle, a missing permission: the name does not tell.
    *("AwsCallFailed", "Lambda.AWSLambdaException", "Lambda.Unknown", "Runtime.ExitError", "Runtime.OutOfMemory"),
    *("States.TaskFailed", "Lambda.ServiceQuotaExceededException"),
    *("Lambda.CodeArtifactUserPendingException", "Lambda.CodeArtifactUserDeletedException"),
    *("Lambda.KMSAccessDeniedException", "Lambda.KMSDisabledException", "Lambda.KMSInvalidStateException"),
    "Lambda.KMSNotFoundException",
)
# `SubmissionUnconfirmed` is caught by the state machine, so the job has ended with it.
_LASTING = ("VideoNotFound", "OutputTooLarge", "InternalError", "SettingsInvalid", "SubmissionUnconfirmed")
PROSPECTS: dict[str, Prospect] = (
    dict.fromkeys(_PASSING, Prospect.PASSES)
    | dict.fromkeys(_DOUBTFUL, Prospect.DOUBTFUL)
    | dict.fromkeys(_LASTING, Prospect.LASTS)
)
"""The name of an execution's error → whether it passes. Every error that a state retries has its place here."""

OF_SENDING = frozenset(
    fault.__name__
    for fault in (*(row.fault for row in TABLE), *JOB_ERRORS)
    if fault.branch in (Branch.REJECT, Branch.FAIL, Branch.HOLD, Branch.UNCERTAIN)
) | {SubmissionUnconfirmed.__name__}
"""Names of the errors that end a job which has no video. They end an execution too, in a state that a redrive would
only repeat. A job that has a video all the same goes on in a later execution: another attempt was accepted."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 900, 6 * 3600
LONGEST_SECONDS = 13 * 86_400
"""Tries end so long after the first interruption. AWS redrives an execution for 14 days after its end.
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html"""


_ADVICE = {
    Prospect.PASSES: "Nothing: the job is tried again automatically{condition}, and nothing is lost.",
    Prospect.DOUBTFUL: "The job is tried again automatically{condition}. If it does not pass: {advice}",
    Prospect.LASTS: "{advice}",
}
_OVERTAKEN = (
    "An attempt to send the job failed, but another one was accepted. Its video is paid for and will be followed."
)
_TRIES_ENDED = "It was tried again automatically for {days} days, without success. {advice}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows an interruption.

    Attributes:
        advice: What people are advised to do; `{advice}` stands for the error's own advice.
        is_news: Whether people have to be notified of it.
        redrive_at: When the job is redriven automatically, in epoch seconds. None: a person has to act.
        redrive_until: Until when tries go on, in epoch seconds.
        message: What happened, if the error does not say all of it. None: the error's own message.
    """

    advice: str
    is_news: bool = True
    redrive_at: int | None = None
    redrive_until: int | None = None
    message: str | None = None

    def advise(self, document: dict[str, Any]) -> dict[str, Any]:
        """The error's document with the advice of the plan."""
        advice = self.advice.format(advice=document["advice"], days=LONGEST_SECONDS // 86_400)
        if self.message is None:
            return {**document, "advice": advice}
        return {"error": document["error"], "code": document["code"], "message": self.message, "advice": advice}


def plan(job: Job, *, ended: str, error: str, now: int) -> Plan:
    """Plan what follows the interruption of a job.

    An outage begins with the first interruption that passes. It ends when the vendor answers, when a person takes the
    job up, or when no try is left; the record then loses `redrive_until`. People are notified when it begins, and when
    no try is left.

    Args:
        job: The job as it was before.
        ended: How the execution ended. Only one that failed is tried again: who stopped it meant it.
        error: The execution's error.
        now: The present moment in epoch seconds.
    """
    is_overtaken = ended == "FAILED" and was_overtaken(job, error)
    prospect = Prospect.PASSES if is_overtaken else PROSPECTS.get(error, Prospect.LASTS)
    if prospect is Prospect.LASTS or ended != "FAILED":
        return Plan(_ADVICE[Prospect.LASTS])
    message = _OVERTAKEN if is_overtaken else None
    until = job.redrive_until or now + LONGEST_SECONDS
    at = now + pause(job.redrives)
    if at > until:
        return Plan(_TRIES_ENDED, message=message)
    # A stopped intake holds back what has no video.
    condition = "" if job.video_id is not None else " while intake is open"
    return Plan(_ADVICE[prospect].replace("{condition}", condition), job.redrive_until is None, at, until, message)


def was_overtaken(job: Job, error: str | None) -> bool:
    """Whether an execution ended because one attempt to send the job failed, while another one was accepted.

    Args:
        job: The job, which is open.
        error: The execution's error.
    """
    return job.video_id is not None and error in OF_SENDING


def pause(redrives: int) -> int:
    """How long to wait before the next redrive, in seconds: a quarter of an hour, then twice as long each time.

    Args:
        redrives: How often the job was redriven in this outage.
    """
    return int(min(FIRST_PAUSE_SECONDS * 2 ** min(redrives, 10), LONGEST_PAUSE_SECONDS))
