"""Claim the right to send a job's one paid call. Give it back if nothing was paid; keep it if that is unknown.

A write whose answer was lost may have landed, or may land later. So an attempt that does not know whether it has the
claim asks again. If that fails, it gives the claim back, even one that has not landed yet. If DynamoDB fails then, too,
this process remembers the claim, and its next call gives it back. Must not know the vendor or what is sent.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Fault, Paid
from shared.jobs.errors import SubmissionInProgress
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.runtime import AwsCallFailed, logger
from shared.steps.tries import pause, tries

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.credits.limiter import CreditLimiter, Estimate
    from shared.jobs.record import Job

SECONDS_FROM_CLAIM = 260
"""What the claim, the paid call and writing down its outcome may take at most, in seconds."""
_SECONDS_FROM_CALL = 240  # without the claim itself
_TRIES = 3
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_FIRST_OF_UNKNOWN_OUTCOME = 500
_STILL_RUNNING = "TransactionInProgressException"
_unpaid: dict[str, dict[str, Any]] = {}
"""This process's attempts that paid nothing but could not give their claim back → the error that proves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Takes claims and gives them back.

    Args:
        remaining: Seconds that are left for it.
        limiter: Counts jobs against the daily limit. None: there is no limit.
    """

    store: JobStore
    remaining: Callable[[], float]
    limiter: CreditLimiter | None
    sleep: Callable[[float], None] = pause

    def take(self, job: Job, attempt: str, estimate: Estimate | None, **facts: Any) -> Job:
        """Take the claim of a job as it was read, or take it over. Send the call only if this returns.

        Args:
            job: The job. A claim that it has is taken over.
            attempt: Names this attempt.
            estimate: What the job may cost, where it is to be counted against the daily limit.
            **facts: What was resolved for this attempt.

        Returns:
            The job with this attempt's claim.

        Raises:
            TransitionConflict: As `JobStore.claim`. The job that comes with it has no claim of this attempt.
            DailyLimitReached: The limit does not cover it. Nothing was written.
            PriceUnknown: Its price is not known, and another such job is being sent. Nothing was written.
            AwsCallFailed: There is too little time.
            ClientError, BotoCoreError: DynamoDB could not be asked.
        """
        self._require_time(SECONDS_FROM_CLAIM)
        claimed = self._insist(job, attempt, estimate, facts)
        try:
            self._require_time(_SECONDS_FROM_CALL)
        except AwsCallFailed:
            self._disown(job, attempt)
            raise
        return claimed

    def give_back(self, job: Job, attempt: str, refusal: Fault) -> None:
        """Give the claim back after a definite refusal. A failure to do so never hides the refusal."""
        reason = refusal.document()
        self._try_to(lambda last: self._release(job, attempt, reason, at_any_rate=last), attempt, reason)

    def keep(self, job_id: str, attempt: str) -> None:
        """Keep the claim, because the outcome of the call is unknown, and record that this attempt has ended."""
        try:
            self.store.end_attempt(job_id, attempt)
        except TransitionConflict:
            logger.info("the claim was gone already")
        except (ClientError, BotoCoreError) as error:
            # Others wait until the attempt must have ended.
            logger.warning("the attempt's end could not be written down", reason=type(error).__name__)

    def recognised(self, job: Job) -> Job:
        """Return the job, after giving back a claim that this process knows to be unpaid.

        Raises:
            ClientError, BotoCoreError: It could still not be given back.
        """
        if job.claim is None or (refusal := _unpaid.get(job.claim)) is None:
            return job
        with suppress(TransitionConflict):
            self._release(job, job.claim, refusal, at_any_rate=True)
        del _unpaid[job.claim]
        return self.store.get(job.job_id) or job

    def _require_time(self, seconds: float) -> None:
        """Require time for the call and its record. If they are cut off, the job ends as uncertain."""
        if self.remaining() < seconds:
            raise AwsCallFailed("too much of the function's time was gone before the paid call", paid=Paid.NO)

    def _insist(self, job: Job, attempt: str, estimate: Estimate | None, facts: dict[str, Any]) -> Job:
        """Take the claim even if answers are lost. A repeat finds the claim that an earlier try wrote."""
        number = 0
        while True:
            number += 1
            try:
                return self._take(job, attempt, estimate, facts)
            except (ClientError, BotoCoreError) as error:
                if number == 1 and not _may_have_landed(error):
                    raise
                logger.warning("the claim was not answered", reason=type(error).__name__)
                if number == _TRIES:
                    self._disown(job, attempt)
                    raise
            except TransitionConflict as refused:
                now = refused.current
                landed = now is not None and now.claim == attempt  # and then somebody closed the job
                if landed or number > 1:
                    self._disown(job, attempt)
                if now is not None and landed:
                    raise TransitionConflict(replace(now, claim=job.claim)) from None
                raise
            except Fault:
                if number > 1:
                    self._disown(job, attempt)
                raise

    def _take(self, job: Job, attempt: str, estimate: Estimate | None, facts: dict[str, Any]) -> Job:
        if self.limiter is None or estimate is None:
            counted = self.limiter is not None
            seen = job.claims_given_back
            return self.store.claim(
                job.job_id, attempt, take_over=job.claim, is_counted=counted, given_back=seen, **facts
            )
        return self.limiter.claim(job, attempt, estimate, **facts)

    def _disown(self, job: Job, attempt: str) -> None:
        """Give up a claim that nothing was sent for, whether it has landed, will land, or never does."""
        if job.claim is not None:
            # The call of the attempt that it was taken over from may have been paid for.
            self.keep(job.job_id, attempt)
            return
        reason = AwsCallFailed("the claim was not answered, so nothing was sent", paid=Paid.NO).document()
        self._try_to(lambda last: self._undo(job.job_id, attempt, reason, at_any_rate=last), attempt, reason)

    def _undo(self, job_id: str, attempt: str, reason: dict[str, Any], *, at_any_rate: bool) -> None:
        now = self.store.get(job_id)
        if now is None:
            return
        if now.claim != attempt:
            with suppress(TransitionConflict):
                self.store.refuse_claim(job_id, attempt)
                return
            now = self.store.get(job_id)  # it landed in this moment
        if now is not None:
            self._release(now, attempt, reason, at_any_rate=at_any_rate)

    def _try_to(self, give_back: Callable[[bool], None], attempt: str, reason: dict[str, Any]) -> None:
        """Try to give a claim back while there is time. After a few tries, do so even if its credits stay counted."""
        for number in tries(self.remaining, self.sleep):
            try:
                give_back(number >= _TRIES)
            except TransitionConflict:
                logger.info("the claim was gone already")
                return
            except (ClientError, BotoCoreError) as error:
                logger.warning("the claim could not be given back", reason=type(error).__name__)
            else:
                return
        _unpaid[attempt] = reason

    def _release(self, job: Job, attempt: str, reason: dict[str, Any], *, at_any_rate: bool) -> None:
        if self.limiter is None:
            self.store.release(job.job_id, attempt, reason)
        else:
            self.limiter.release(job, attempt, reason, at_any_rate=at_any_rate)


def require_no_running_attempt(job: Job) -> None:
    """Refuse to decide about a claim while its attempt may still get an answer.

    Raises:
        SubmissionInProgress: It may, for the next `retry_after` seconds.
    """
    until = job.attempt_runs_until
    if until is None or (left := until - time.time()) <= 0:
        return
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(until))
    raise SubmissionInProgress(
        f"An earlier attempt may still be sending the paid call. It has ended by {moment} UTC at the latest.",
        retry_after=round(left, 1),
    )


def _may_have_landed(error: ClientError | BotoCoreError) -> bool:
    """Whether a write may have had its effect although it failed."""
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _FIRST_OF_UNKNOWN_OUTCOME)
    return status >= _FIRST_OF_UNKNOWN_OUTCOME or error.response["Error"].get("Code") == _STILL_RUNNING
