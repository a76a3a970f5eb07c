"""What a job will cost, and whether the stack's daily limit covers it. Nobody asks where no limit is set.

Joins the counter in the table with the vendor's list of prices. A price is what Genviral took for the last video of the
same model and parameters; before there was one, it is the list's; for a model without a price there, the highest of the
list; and where the list has no prices at all, one credit. What Genviral names after the paid call counts in its place.
Must not know Lambda or how a job is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.jobs.errors import DailyLimitReached
from shared.jobs.store import CounterRefused, MoveRefused
from shared.runtime import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.budget import Budget
    from shared.jobs.record import Job
    from shared.jobs.store import JobStore
    from shared.steps.catalogue import Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """Counts jobs against the limit.

    Args:
        store: Where jobs are kept.
        budget: The limit and its counter.
        catalogue: The vendor's models with what they cost.
    """

    store: JobStore
    budget: Budget
    catalogue: Catalogue

    def cost(self, model_id: str, kind: str) -> float:
        """What a job will cost, in credits.

        Args:
            model_id: Its model.
            kind: Its `price_kind`.

        Raises:
            GenviralFault: Nobody has paid for its like, and the vendor's list cannot be had. Nothing was sent.
        """
        known = self.budget.price(kind)
        if known is not None:
            return known
        listed = {
            model["id"]: float(model["default_cost"])
            for model in self.catalogue.models()
            if model.get("default_cost") is not None
        }
        return listed.get(model_id, max(listed.values(), default=1.0))

    def claim(self, job: Job, attempt: str, cost: float, **attributes: Any) -> Job:
        """Take a job's claim and count its cost today, both or neither.

        Raises:
            DailyLimitReached: The limit does not cover it. Nothing was written.
            MoveRefused: As `JobStore.claim_counted`.
        """
        limit = self.budget.limit
        if cost > limit:
            raise DailyLimitReached(
                f"This job costs {cost:g} credits, more than the stack's whole daily limit of {limit:g}, so it cannot "
                "go on on any day while the limit stands."
            )
        reserved, counter = self.budget.reserve(cost)
        try:
            return self.store.claim_counted(job, attempt, reserved=reserved, counter=counter, **attributes)
        except CounterRefused as refused:
            raise DailyLimitReached(
                f"This job costs {cost:g} credits. {refused.attributes['spent']:g} of the stack's daily limit of "
                f"{limit:g} are used or reserved on {reserved['day']} (UTC), so it waits for the next day, which "
                "begins at 00:00 UTC."
            ) from None

    def release(self, job: Job, attempt: str, error: Mapping[str, Any], *, at_any_rate: bool = True) -> None:
        """Give a job's claim back after a refusal, and its credits with it.

        Args:
            job: The job with its claim.
            attempt: Whose claim it is.
            error: The refusal.
            at_any_rate: Whether the claim goes back where the credits cannot.

        Raises:
            MoveRefused: The claim is not this attempt's any more.
        """
        if job.reserved is None:
            self.store.release(job.job_id, attempt, error)
            return
        try:
            self.store.release(job.job_id, attempt, error, counter=self.budget.settle(job.reserved, 0))
        except (ClientError, BotoCoreError) as failure:
            if not at_any_rate:
                raise
            # A job whose claim stays would end as uncertain. Counting one job too many for a day is the lesser evil.
            logger.warning("the credits could not be given back", reason=type(failure).__name__, reserved=job.reserved)
            self.store.release(job.job_id, attempt, error)

    def correction(self, job: Job, credits_used: float | None) -> dict[str, Any] | None:
        """What changes in the counter where a job's second video cost something else than was reserved. None: nothing.

        Returns:
            The half of a transaction, an `Update` without a condition.
        """
        if job.reserved is None or credits_used in (None, job.reserved["credits"]):
            return None
        return self.budget.settle(job.reserved, credits_used)

    def settle(self, job: Job, video_id: str, kind: str, credits_used: float) -> None:
        """Count what a paid job did cost, and remember it. Not worth a job: a failure leaves the estimate."""
        try:
            self.budget.learn(kind, credits_used)
            if job.reserved is not None and credits_used != job.reserved["credits"]:
                self.store.settle(job.job_id, video_id, counter=self.budget.settle(job.reserved, credits_used))
        except MoveRefused:
            logger.info("the credits were counted already, or the record has no such video")
        except (ClientError, BotoCoreError) as failure:
            logger.warning("the day's credits could not be corrected", reason=type(failure).__name__)
