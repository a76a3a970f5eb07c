"""Run the paid step: resolve the request, claim the job, call generate once, record the answer.

Repeating it is safe at every point. A repeat finds a video (goes on with it, no POST), a claim whose attempt may still
be running (`SubmissionInProgress`, no POST), one whose end nobody knows (`SubmissionUncertain`, no POST), or a free job
(POST). Must not know Lambda or the shape of events.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Fault, Paid
from shared.genviral.errors import SubmissionUncertain, SubmissionUnconfirmed
from shared.jobs import identity
from shared.jobs.errors import JobClosed, JobConflict
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.requests.batch_identity import is_own_row, newer_ids
from shared.requests.resolve import request_text
from shared.requests.row_source import BATCH, OTHER_IDS, request_file_in, source_in
from shared.runtime import MetricUnit, add_metric, add_source, logger
from shared.steps.claims import SECONDS_FROM_CLAIM, Claims, require_no_running_attempt
from shared.steps.tries import pause, tries
from shared.steps.videos import record_named_video, record_video, report_if_second, report_second_video

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.credits.limiter import CreditLimiter, Estimate
    from shared.genviral.client import Generation, GenviralClient
    from shared.jobs.record import Job
    from shared.polling.schedule import PollScheduler
    from shared.requests.resolve import Resolution, Resolver

__all__ = ["SECONDS_FROM_CLAIM", "Submitter"]

_Written = TypeVar("_Written")

_TRUSTED_SECONDS = 3600
"""How long an Idempotency-Key is trusted, in seconds. Vendors forget keys; retries take minutes."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What an attempt must know before it claims the job.

    Attributes:
        resolution: What the job asks for.
        request: The same as the record keeps it.
        known: How long such videos took before, in seconds.
        estimate: What it may cost, where it is to be counted against the daily limit.
    """

    resolution: Resolution
    request: str
    known: list[float]
    estimate: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Send jobs to the vendor.

    Args:
        resolver: Turns a job into a generate body.
        scheduler: Says when to poll the video, and when it is late.
        trust_idempotency: Whether the vendor is trusted to charge once for one `Idempotency-Key`.
        remaining: Seconds that are left for it.
        limiter: Counts jobs against the daily limit. None: there is no limit.
    """

    store: JobStore
    resolver: Resolver
    vendor: GenviralClient
    scheduler: PollScheduler
    trust_idempotency: bool
    remaining: Callable[[], float]
    limiter: CreditLimiter | None = None
    sleep: Callable[[float], None] = pause

    def submit(self, execution_arn: str, given: object) -> dict[str, Any]:
        """Send the execution's job to the vendor, unless that was done before.

        Args:
            execution_arn: The execution; its name says which job it is.
            given: The execution's input. `{"request": {…generate body…}}` where somebody started it directly, or
                `{"source": {"type": "request", "key": "assets/…"}}` to name a file with that body.

        Returns:
            What the state machine carries on: job_id, video_id, submitted_at (epoch seconds), wait_seconds, waiting.

        Raises:
            SubmissionInProgress: An earlier attempt may still be running. Nothing was sent this time.
            SubmissionUncertain: An attempt may have been paid for, and nobody knows. Nothing was sent this time.
            DailyLimitReached: The stack's daily limit does not cover it. Nothing was sent.
            PriceUnknown: Its price is not known, and another such job is being sent. Nothing was sent.
            Fault: Anything else that a person should read; nothing was paid for.
        """
        job = self._claims.recognised(self._job(execution_arn, given))
        if job.video_id is not None:
            return self._resumed(job)
        self._require_open(job)
        job = self.store.separate_holds(job)  # while its error still says of which kind it is
        try:
            prepared = self._prepare(job)
        except Fault:
            if self._is_overtaken(job):
                return self.submit(execution_arn, given)
            raise
        attempt = uuid.uuid4().hex
        claimed = self._claim(job, attempt, prepared, execution_arn)
        if claimed is None:
            return self.submit(execution_arn, given)
        if claimed.video_id is not None:
            return self._resumed(claimed)
        try:
            generation = self._send(claimed, prepared.resolution)
        except Fault as refusal:
            # A refusal that cannot rule out a payment keeps its claim, and so does one after an attempt of unknown end:
            # a repeat then ends as uncertain, not as a POST.
            if refusal.paid is Paid.NO and job.claim is None:
                self._claims.give_back(claimed, attempt, refusal)
            else:
                self._claims.keep(job.job_id, attempt)
            raise
        return self._accepted(claimed, generation, prepared)

    @property
    def _claims(self) -> Claims:
        return Claims(store=self.store, remaining=self.remaining, limiter=self.limiter, sleep=self.sleep)

    def _job(self, execution_arn: str, given: object) -> Job:
        job_id = identity.of_execution(execution_arn)
        named = given.get("job_id") if isinstance(given, dict) else None
        if named not in (None, job_id):
            # It was started by hand under another name, and would pay for that job once more.
            raise JobConflict("the execution's input names another job than the execution's own name does")
        request = given.get("request") if isinstance(given, dict) else None
        source, file = source_in(given), request_file_in(given, self.resolver.bucket)
        job = self.store.get(job_id)
        if file is not None and (job is None or job.source == {"type": "execution"}):
            source = self._pinned(file)
        if job is None:
            # A batch's rows get their records here and not before, or a sweep would start those that wait their turn.
            job, _ = self.store.create(job_id, source=source or {"type": "execution"}, execution=execution_arn)
        elif source is not None and job.source == {"type": "execution"} and job.execution == execution_arn:
            # Its interruption made the record, before this execution came this far.
            job = self.store.set_source(job_id, source)
        if file is not None and not file.items() <= job.source.items():
            raise JobConflict("an execution of this name was started before, with another request")
        if request is None:
            return job
        fingerprint = identity.fingerprint(request)
        # A record without one was made by this execution just now, or by its interruption before it came this far.
        if job.fingerprint is None and job.execution == execution_arn:
            return self.store.update(job_id, request=request_text(request), fingerprint=fingerprint)
        if job.fingerprint != fingerprint:
            raise JobConflict("an execution of this name was started before, with another request")
        return job

    def _pinned(self, file: dict[str, str]) -> dict[str, str]:
        """Return a request file's source with its version: all attempts of the job send the same."""
        version_id = file.get("version_id") or self.resolver.newest_version(file["key"])
        return {**file, "version_id": version_id} if version_id else file

    def _prepare(self, job: Job) -> _Prepared:
        """Find out all that the paid call needs, and all that can be wrong with it. Repeating it is free."""
        resolution = self.resolver.resolve(job)
        if not is_own_row(job.job_id, job.source, resolution.body, resolution.metadata):
            raise JobConflict("the row that the execution's input names is another job's")
        self._require_no_twin(job, resolution)
        request = request_text(resolution.request)
        known = self.scheduler.known(resolution.model_id, resolution.request)
        # The key before the claim: reading it can fail or hang, and a claim that is cut off ends as uncertain.
        self.vendor.check_key()
        # A claim that is taken over was counted when it was taken, for the same payment.
        limiter = self.limiter if job.claim is None else None
        estimate = limiter.estimate(resolution.model_id, resolution.request) if limiter else None
        return _Prepared(resolution, request, known, estimate)

    def _require_no_twin(self, job: Job, resolution: Resolution) -> None:
        """Refuse a row that an earlier upload of its batch runs under another id.

        Rows were named by another rule before, and a batch of then may still be under way. Each of the two has made its
        record before it looks for the other's, so at most one of them goes on.
        """
        if job.source.get("type") != BATCH:
            return
        others, newer = job.source.get(OTHER_IDS, []), newer_ids(job.source, resolution.body, resolution.metadata)
        ids = others if job.job_id in newer else [*others, *newer]
        for other in filter(None, map(self.store.get, ids)):
            is_twin = other.job_id in others or job.job_id in other.source.get(OTHER_IDS, ())
            if is_twin and not (other.is_terminal and other.paid is Paid.NO):
                raise JobConflict(f"job {other.job_id} of an earlier upload of this batch is the same row")

    def _is_overtaken(self, job: Job) -> bool:
        """Whether another attempt has claimed the job since it was read: what became of that one counts."""
        now = self.store.get(job.job_id)
        return now is not None and (now.claim, now.video_id) != (job.claim, job.video_id)

    def _claim(self, job: Job, attempt: str, prepared: _Prepared, execution_arn: str) -> Job | None:
        """Return the job with this attempt's claim, or a job that has a video already. None: read the job again."""
        resolution = prepared.resolution
        facts: dict[str, Any] = {
            "execution": execution_arn,
            "recipe": resolution.recipe,
            "model_id": resolution.model_id,
            "metadata": resolution.metadata or None,
        }
        try:
            return self._claims.take(job, attempt, prepared.estimate, **facts)
        except TransitionConflict as refused:
            now = refused.current
            if now is None:
                raise JobClosed("the job's record was deleted") from None
            if now.video_id is not None:
                return now
            if now.execution not in (None, execution_arn) and not now.is_terminal:
                raise JobClosed("another execution has the job now; this one sends nothing") from None
            # Only the claim that was read is taken over, and only a job as it was read is counted. Each new attempt
            # needs a change by somebody else, so this ends.
            if _claimed_so_far(now) != _claimed_so_far(job) and not now.is_terminal:
                return None
            raise _closed(now) from None

    def _require_open(self, job: Job) -> None:
        """Send nothing for a job that has ended, or whose claim another attempt has."""
        if job.is_terminal:
            raise _closed(job)
        if job.claim is None:
            return
        # Also with a trusted key: two calls with one key at the same time are more than most vendors promise.
        require_no_running_attempt(job)
        if not (self.trust_idempotency and _is_recent(job)):
            raise _closed(job)

    def _send(self, job: Job, resolution: Resolution) -> Generation:
        try:
            return self.vendor.generate(resolution.body, idempotency_key=job.idempotency_key)
        except SubmissionUncertain as uncertain:
            add_metric(name="SubmissionsUncertain", unit=MetricUnit.Count, value=1)
            if uncertain.video_id is not None:
                self._keep_named_video(job.job_id, uncertain.video_id)
            if self.trust_idempotency:
                raise SubmissionUnconfirmed(
                    uncertain.message,
                    http_status=uncertain.http_status,
                    retry_after=uncertain.retry_after,
                    video_id=uncertain.video_id,
                ) from None
            raise

    def _keep_named_video(self, job_id: str, video_id: str) -> None:
        """Note a video that may be the job's. The error names it as well, so a failure to do so loses nothing."""
        logger.warning("an answer of unknown outcome names what may be a video", video_id=video_id)
        job = self._insist(lambda: record_named_video(self.store, job_id, video_id), "the job's record")
        if job is not None:
            report_if_second(job, video_id)

    def _insist(self, write: Callable[[], _Written], what: str) -> _Written | None:
        """Record what nobody else knows. Try again while there is time.

        Returns:
            What `write` returned. None also if it never did.
        """
        for _ in tries(self.remaining, self.sleep):
            try:
                return write()
            except (ClientError, BotoCoreError, TransitionConflict) as error:
                logger.warning(f"{what} could not be written", reason=type(error).__name__)
        return None

    def _accepted(self, job: Job, generation: Generation, prepared: _Prepared) -> dict[str, Any]:
        source = str(job.source.get("type", "execution"))
        add_source(source)
        add_metric(name="JobsSubmitted", unit=MetricUnit.Count, value=1)
        add_metric(name="CreditsUsed", unit=MetricUnit.Count, value=generation.credits_used or 0)
        # Before the record is written: should that fail, this line and the execution's state both still know the video.
        logger.info(
            "the vendor accepted the job",
            video_id=generation.video_id,
            credits_used=generation.credits_used,
            source_type=source,
        )
        submitted_at = int(time.time())
        saved = self._insist(lambda: self._save(job, generation, prepared, submitted_at), "the job's record")
        # Otherwise the poll step writes it down from the execution's state.
        if saved is not None:
            if saved.video_id != generation.video_id or saved.named_videos:
                report_second_video(saved, generation.video_id)
            if saved.video_id != generation.video_id:
                return self._resumed(saved)
            self._settle(job, generation.video_id, prepared.resolution.request, generation.credits_used)
        return self._state(job.job_id, generation.video_id, submitted_at, prepared.known)

    def _save(self, job: Job, generation: Generation, prepared: _Prepared, submitted_at: int) -> Job:
        facts = {
            "credits_used": generation.credits_used,
            "submitted_at": submitted_at,
            "request": prepared.request,
            **self.scheduler.facts(prepared.known, submitted_at),
        }
        origin = {
            "source": job.source,
            "execution": job.execution,
            "fingerprint": job.fingerprint,
            "recipe": job.recipe,
            "model_id": job.model_id,
            "metadata": job.metadata or None,
        }
        counter = self.limiter.correction(job, generation.credits_used) if self.limiter else None
        return record_video(self.store, generation.video_id, facts, job_id=job.job_id, origin=origin, counter=counter)

    def _settle(self, job: Job, video_id: str, request: Mapping[str, Any], credits_used: float | None) -> None:
        """Count what a video cost, then remember its price. Neither is worth a job: a failure leaves what was reserved.

        The counter comes first: while it holds a probe's guess, it may let jobs go that the limit does not cover.
        """
        limiter = self.limiter
        if limiter is None:
            return
        self._insist(lambda: limiter.settle(job, video_id, credits_used), "the day's credits")
        self._insist(lambda: limiter.learn(request, video_id, credits_used), "the video's price")

    def _resumed(self, job: Job) -> dict[str, Any]:
        request = json.loads(job.request or "{}")
        if job.video_id is not None and _is_unsettled(job):
            self._settle(job, job.video_id, request, job.credits_used)
        known = self.scheduler.known(job.model_id, request)
        return self._state(job.job_id, job.video_id, job.submitted_at or int(time.time()), known)

    def _state(self, job_id: str, video_id: str | None, submitted_at: int, known: list[float]) -> dict[str, Any]:
        state = {"job_id": job_id, "video_id": video_id, "submitted_at": submitted_at}
        return state | self.scheduler.first_poll(job_id, known, submitted_at)


def _is_unsettled(job: Job) -> bool:
    """Whether the attempt that wrote the job's video down was cut off before it counted what the video cost.

    Without a cost, that attempt may still be under way: somebody attached its video before the answer came. Then it
    settles its reservation, or a probe's lock expires. After a resubmission, or an attached video that no answer named,
    nobody can tell what the reservation is of.
    """
    is_clear = not job.resubmissions and job.attached_id is None
    return job.reserved is not None and job.credits_used is not None and is_clear


def _claimed_so_far(job: Job) -> tuple[object, ...]:
    """Return what a job's next claim depends on, besides its status, execution and video."""
    return job.claim, job.resubmissions, job.claims_given_back


def _is_recent(job: Job) -> bool:
    """Whether the vendor surely still knows the Idempotency-Key of the first attempt of unknown end."""
    return job.claimed_at is not None and time.time() - job.claimed_at < _TRUSTED_SECONDS


def _closed(job: Job) -> Fault:
    """Return why nothing is sent for a job without a video."""
    if job.claim is not None:
        return SubmissionUncertain(
            "an earlier attempt sent the paid call, or was about to, and ended before its outcome was written down",
            video_id=job.known_video,
        )
    return JobClosed(f"the job is {job.status}")
