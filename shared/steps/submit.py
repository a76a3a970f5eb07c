"""The paid step: resolve the request, claim the job, call generate once, write down what came back.

Repeating it is safe at every point. A repeat finds a video (goes on with it, no POST), a claim whose end nobody knows
(`SubmissionUncertain`, no POST), or a free job (POST). Must not know Lambda or the shape of events.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Fault, Paid
from shared.genviral.errors import SubmissionUncertain, SubmissionUnconfirmed
from shared.jobs import identity
from shared.jobs.budget import price_kind
from shared.jobs.errors import DailyLimitReached, JobClosed, JobConflict
from shared.jobs.row_source import source_in
from shared.jobs.store import JobStore, MoveRefused
from shared.runtime import AwsCallFailed, MetricUnit, logger, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.genviral.client import Generation, GenviralClient
    from shared.jobs.record import Job
    from shared.jobs.resolve import Resolution, Resolver
    from shared.steps.patience import Patience
    from shared.steps.purse import Purse

SECONDS_FROM_CLAIM = 75
"""What the claim, the paid call and writing down its outcome may take at most, in seconds."""
_TRUSTED_SECONDS = 3600
"""How long an Idempotency-Key is trusted, in seconds. Vendors forget keys; retries take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Sends jobs to the vendor.

    Args:
        store: Where jobs are kept.
        resolver: Turns a job into a generate body.
        vendor: The vendor's client.
        patience: Says when to look for the video, and when it is late.
        trust_idempotency: Whether the vendor is trusted to charge once for one `Idempotency-Key`.
        remaining: Seconds that are left for it.
        purse: Counts jobs against the daily limit. None: there is no limit.
    """

    store: JobStore
    resolver: Resolver
    vendor: GenviralClient
    patience: Patience
    trust_idempotency: bool
    remaining: Callable[[], float]
    purse: Purse | None = None

    def submit(self, execution_arn: str, given: object) -> dict[str, Any]:
        """Send the execution's job to the vendor, unless that was done before.

        Args:
            execution_arn: The execution; its name says which job it is.
            given: The execution's input. `{"request": {…generate body…}}` where somebody started it directly.

        Returns:
            What the state machine carries on: job_id, video_id, submitted_at (epoch seconds), wait_seconds, waiting.

        Raises:
            SubmissionUncertain: An attempt may have been paid for, and nobody knows. Nothing was sent this time.
            DailyLimitReached: The stack's daily limit does not cover it. Nothing was sent.
            Fault: Anything else that a person should read; nothing was paid for.
        """
        job = self._job(execution_arn, given)
        if job.video_id is not None:
            return self._resumed(job)
        if self._is_closed(job):
            raise _closed(job)
        resolution = self.resolver.resolve(job)
        known = self.patience.known(resolution.model_id, resolution.request)
        # The key before the claim: reading it can fail or hang, and a claim that is cut off ends as uncertain.
        self.vendor.check_key()
        attempt = uuid.uuid4().hex
        claimed = self._claim(job, attempt, resolution, execution_arn)
        if claimed is None:
            return self.submit(execution_arn, given)
        if claimed.video_id is not None:
            return self._resumed(claimed)
        try:
            generation = self._send(claimed, resolution)
        except Fault as refusal:
            # A refusal that cannot rule out a payment keeps its claim, and so does one after an attempt of unknown end:
            # a repeat then ends as uncertain, not as a POST.
            if refusal.paid is Paid.NO and job.claim is None:
                self._release(claimed, attempt, refusal)
            raise
        return self._accepted(claimed, generation, resolution, known)

    def _job(self, execution_arn: str, given: object) -> Job:
        job_id = identity.of_execution(execution_arn)
        request = given.get("request") if isinstance(given, dict) else None
        row = source_in(given)
        job = self.store.get(job_id)
        if job is None:
            # A batch's rows get their records here and not before, or a sweep would start those that wait their turn.
            job, _ = self.store.create(job_id, source=row or {"type": "execution"}, execution=execution_arn)
        elif row is not None and job.source == {"type": "execution"} and job.execution == execution_arn:
            # Its interruption made the record, before this execution came this far.
            job = self.store.note(job_id, source=row)
        if request is None:
            return job
        fingerprint = identity.fingerprint(request)
        # A record without one was made by this execution just now, or by its interruption before it came this far.
        if job.fingerprint is None and job.execution == execution_arn:
            return self.store.note(job_id, request=json.dumps(request, ensure_ascii=False), fingerprint=fingerprint)
        if job.fingerprint != fingerprint:
            raise JobConflict("an execution of this name was started before, with another request")
        return job

    def _claim(self, job: Job, attempt: str, resolution: Resolution, execution_arn: str) -> Job | None:
        """The job with this attempt's claim, or a job that has a video already. None: it must be looked at anew."""
        facts: dict[str, Any] = {
            "end_hold": (job.error or {}).get("code") == DailyLimitReached.code,
            "execution": execution_arn,
            "recipe": resolution.recipe,
            "model_id": resolution.model_id,
            "metadata": resolution.metadata or None,
        }
        try:
            # A claim that is taken over was counted when it was taken, for the same payment.
            if self.purse is None or job.claim is not None:
                self._require_time()
                return self.store.claim(
                    job.job_id, attempt, take_over=job.claim, counted=self.purse is not None, **facts
                )
            cost = self.purse.cost(resolution.model_id, _price_kind(resolution))
            self._require_time()
            return self.purse.claim(job, attempt, cost, **facts)
        except MoveRefused as refused:
            now = refused.current
            if now is None:
                raise JobClosed("the job's record was deleted") from None
            if now.video_id is not None:
                return now
            # Only the claim that was read is taken over, and only a job as it was read is counted. Each new look needs
            # a change by somebody else, so there is an end.
            if (now.claim, now.resubmissions) != (job.claim, job.resubmissions) and not self._is_closed(now):
                return None
            raise _closed(now) from None

    def _require_time(self) -> None:
        """A call that is cut off between the claim and the record of its outcome ends as uncertain."""
        if self.remaining() < SECONDS_FROM_CLAIM:
            raise AwsCallFailed("too much of the function's time was gone before the paid call", paid=Paid.NO)

    def _is_closed(self, job: Job) -> bool:
        """Whether nothing may be sent for a job without a video."""
        return job.is_terminal or (job.claim is not None and not (self.trust_idempotency and _is_recent(job)))

    def _send(self, job: Job, resolution: Resolution) -> Generation:
        try:
            return self.vendor.generate(resolution.body, idempotency_key=job.idempotency_key)
        except SubmissionUncertain as uncertain:
            metrics.add_metric(name="SubmissionsUncertain", unit=MetricUnit.Count, value=1)
            if self.trust_idempotency:
                raise SubmissionUnconfirmed(
                    uncertain.message, http_status=uncertain.http_status, retry_after=uncertain.retry_after
                ) from None
            raise

    def _accepted(self, job: Job, generation: Generation, resolution: Resolution, known: list[float]) -> dict[str, Any]:
        source = str(job.source.get("type", "execution"))
        # Each of these also by where jobs come from: a second set of dimensions, beside all of them together. It names
        # the stack as well, or two stacks in one account would count for each other.
        metrics.add_dimensions(service=str(metrics.service), source=source)
        metrics.add_metric(name="JobsSubmitted", unit=MetricUnit.Count, value=1)
        metrics.add_metric(name="CreditsUsed", unit=MetricUnit.Count, value=generation.credits_used or 0)
        # Before the record is written: should that fail, this line and the execution's state both still know the video.
        logger.info(
            "the vendor accepted the job",
            video_id=generation.video_id,
            credits_used=generation.credits_used,
            source_type=source,
        )
        submitted_at = int(time.time())
        facts = {
            "credits_used": generation.credits_used,
            "submitted_at": submitted_at,
            "request": json.dumps(resolution.request, ensure_ascii=False),
            **self.patience.facts(known, submitted_at),
        }
        try:
            self._save(job, generation.video_id, facts)
        except MoveRefused as refused:
            logger.error("the video is paid for, but its job has another video or was deleted")
            if refused.current is not None and refused.current.video_id is not None:
                return self._resumed(refused.current)
        except (ClientError, BotoCoreError) as error:
            # The poll step writes it down from the execution's state.
            logger.warning("the job's record could not be written", reason=type(error).__name__)
        else:
            if self.purse is not None and generation.credits_used is not None:
                self.purse.settle(job, generation.video_id, _price_kind(resolution), generation.credits_used)
        return self._state(job.job_id, generation.video_id, submitted_at, known)

    def _save(self, job: Job, video_id: str, facts: dict[str, Any]) -> None:
        try:
            self.store.paid(job.job_id, video_id, **facts)
        except MoveRefused as refused:
            # Canceled or given up while the call was under way: the video is paid for all the same. Whoever was told of
            # that end is told of this too; the sweep sends it.
            ended = refused.current
            due = f"{ended.status}#{facts['submitted_at']}" if ended is not None and ended.video_id is None else None
            self.store.keep(job.job_id, video_id, notice_due=due, **facts)

    def _release(self, job: Job, attempt: str, refusal: Fault) -> None:
        """Give the claim back. The refusal counts for more than a failure to do so: a claim that stays pays nothing."""
        try:
            if self.purse is None:
                self.store.release(job.job_id, attempt, refusal.document())
            else:
                self.purse.release(job, attempt, refusal.document())
        except MoveRefused:
            logger.info("the claim was gone already")
        except (ClientError, BotoCoreError) as error:
            logger.warning("the claim could not be given back", reason=type(error).__name__)

    def _resumed(self, job: Job) -> dict[str, Any]:
        known = self.patience.known(job.model_id, json.loads(job.request or "{}"))
        return self._state(job.job_id, job.video_id, job.submitted_at or int(time.time()), known)

    def _state(self, job_id: str, video_id: str | None, submitted_at: int, known: list[float]) -> dict[str, Any]:
        state = {"job_id": job_id, "video_id": video_id, "submitted_at": submitted_at}
        return state | self.patience.begin(job_id, known, submitted_at)


def _is_recent(job: Job) -> bool:
    """Whether the vendor surely still knows the Idempotency-Key of the first attempt of unknown end."""
    return job.claimed_at is not None and time.time() - job.claimed_at < _TRUSTED_SECONDS


def _price_kind(resolution: Resolution) -> str:
    return price_kind(resolution.model_id, resolution.request)


def _closed(job: Job) -> Fault:
    """Why nothing is sent for a job without a video."""
    if job.claim is not None:
        return SubmissionUncertain(
            "an earlier attempt sent the paid call, or was about to, and ended before its outcome was written down"
        )
    return JobClosed(f"the job is {job.status}")
