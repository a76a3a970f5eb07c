"""Estimate what a job may cost, and check that the stack's daily limit covers it. Unused where no limit is set.

A combination of model and parameters reserves the highest price that it ever had here. Without one, it reserves the
highest price of its model, here or in the vendor's list; without that, the highest price of all; and without any price,
one credit. The cost that Genviral names after the paid call replaces the reservation. Jobs whose price is unknown or
changes are sent one at a time (a probe), so only one answer at a time can exceed what was reserved on that day.
Must not know Lambda or how a job is claimed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.credits.counter import is_probed, price_kind
from shared.jobs.errors import DailyLimitReached, PriceUnknown
from shared.jobs.transitions import CounterConflict, TransitionConflict
from shared.runtime import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.credits.counter import CreditCounter
    from shared.genviral.model_list import ModelList
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

_PRICE_UNKNOWN = (
    "It is not known yet what this video costs. With a daily limit, such jobs are sent one at a time, and another one "
    "is being sent now."
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job may cost.

    Attributes:
        credits: What is to be reserved for it.
        is_known: Whether it is the price that such videos have had here, time after time.
    """

    credits: float
    is_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditLimiter:
    """Counts jobs against the limit.

    Args:
        counter: The limit and its counter.
        model_list: The vendor's models with what they cost.
    """

    store: JobStore
    counter: CreditCounter
    model_list: ModelList

    def estimate(self, model_id: str, request: Mapping[str, Any]) -> Estimate:
        """Estimate what a job may cost.

        Args:
            request: Its generate body.

        Raises:
            GenviralFault: No past charge is known, and the vendor's price list is unavailable. Nothing was sent.
        """
        price = self.counter.price(price_kind(model_id, request))
        if price is None:
            return Estimate(self._guess(model_id), is_known=False)
        if price.is_known:
            return Estimate(price.highest, is_known=True)
        return Estimate(self._within_a_day(price.highest, price.last), is_known=False)

    def claim(self, job: Job, attempt: str, estimate: Estimate, **attributes: Any) -> Job:
        """Take a job's claim and count what it may cost today, both or neither.

        Raises:
            DailyLimitReached: The limit does not cover it. Nothing was written.
            PriceUnknown: Its price is not known, and another such job is being sent. Nothing was written.
            TransitionConflict: As `JobStore.claim_counted`.
        """
        cost, limit = estimate.credits, self.counter.limit
        if cost > limit:
            raise DailyLimitReached(
                f"This job costs {cost:g} credits, more than the stack's whole daily limit of {limit:g}, so it cannot "
                "go on on any day while the limit stands."
            )
        # This comes first: transactions that many waiting jobs try in vain would delay the jobs that may continue.
        if not estimate.is_known and self.counter.probe_of_another(attempt):
            raise PriceUnknown(_PRICE_UNKNOWN)
        reserved, counter = self.counter.reserve(cost, probe=None if estimate.is_known else attempt)
        try:
            return self.store.claim_counted(job, attempt, reservation=reserved, counter=counter, **attributes)
        except CounterConflict as refused:
            # The probe may free some of the credits that are missing.
            if not estimate.is_known and is_probed(refused.attributes, time.time()):
                raise PriceUnknown(_PRICE_UNKNOWN) from None
            at_most = "" if estimate.is_known else " at most, as far as is known"
            raise DailyLimitReached(
                f"This job costs {cost:g} credits{at_most}. {refused.attributes['spent']:g} of the stack's daily limit "
                f"of {limit:g} are used or reserved on {reserved['day']} (UTC). The next day begins at 00:00 UTC."
            ) from None

    def release(self, job: Job, attempt: str, error: Mapping[str, Any], *, at_any_rate: bool = True) -> None:
        """Give a job's claim back after a refusal, and its credits with it.

        Args:
            job: The job with its claim.
            attempt: Whose claim it is.
            error: The refusal.
            at_any_rate: Whether the claim goes back where the credits cannot.

        Raises:
            TransitionConflict: The claim is not this attempt's any more.
        """
        if job.reserved is None:
            self.store.release(job.job_id, attempt, error)
            return
        try:
            self.store.release(job.job_id, attempt, error, counter=self.counter.settle(job.reserved, 0))
        except (ClientError, BotoCoreError) as failure:
            if not at_any_rate:
                raise
            # A job whose claim stays would end as uncertain. Counting one job too many for a day is the lesser evil.
            logger.warning("the credits could not be given back", reason=type(failure).__name__, reserved=job.reserved)
            self.store.release(job.job_id, attempt, error)

    def correction(self, job: Job, credits_used: float | None) -> dict[str, Any] | None:
        """Return what changes in the counter once a job's video has been accepted. None: nothing.

        Returns:
            The half of a transaction, an `Update` without a condition.
        """
        if job.reserved is None:
            return None
        cost = job.reserved["credits"] if credits_used is None else credits_used
        if cost == job.reserved["credits"] and "probe" not in job.reserved:
            return None
        return self.counter.settle(job.reserved, cost)

    def settle(self, job: Job, video_id: str, credits_used: float | None) -> None:
        """Count what a paid job did cost. Repeating it changes nothing.

        Args:
            job: The job, with what was reserved for it.
            video_id: The vendor's id.
            credits_used: What the vendor took. None: it did not say, and what was reserved stays counted.

        Raises:
            ClientError, BotoCoreError: DynamoDB could not be asked. What was reserved stays counted.
        """
        counter = self.correction(job, credits_used)
        if counter is None:
            return
        try:
            self.store.settle(job.job_id, video_id, counter=counter)
        except TransitionConflict:
            logger.info("the credits were counted already, or the record has no such video")

    def learn(self, request: Mapping[str, Any], video_id: str, credits_used: float | None) -> None:
        """Remember what a video cost. Repeating it changes nothing.

        Args:
            request: The generate body.
            video_id: The vendor's id.
            credits_used: What the vendor took. None: it did not say, and nothing is learned.

        Raises:
            ClientError, BotoCoreError: DynamoDB could not be asked.
        """
        if credits_used is not None and (model_id := request.get("model_id")):
            self.counter.learn(model_id, price_kind(model_id, request), credits_used, video_id)

    def _guess(self, model_id: str) -> float:
        """Return what to reserve for a combination that was never paid for."""
        listed = {
            model["id"]: float(model["default_cost"])
            for model in self.model_list.models()
            if model.get("default_cost") is not None
        }
        of_model = _known(listed.get(model_id), self.counter.highest(model_id))
        prices = of_model or _known(*listed.values(), self.counter.highest(None))
        return self._within_a_day(max(prices, default=1.0), listed.get(model_id, 0.0))

    def _within_a_day(self, highest: float, likely: float) -> float:
        """Return at most a day's whole limit. Otherwise a job that is likely to be cheaper could never be sent."""
        return min(highest, max(self.counter.limit, likely))


def _known(*prices: float | None) -> list[float]:
    return [price for price in prices if price is not None]
