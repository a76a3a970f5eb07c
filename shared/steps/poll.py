"""Poll a job's video once, and say how long to wait until the next poll.

Also repairs the record where it fell behind the execution: a video that could not be written down at submission, a job
that comes back from a hold or a redrive. Must not know Lambda or the shape of events.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Fault, Paid
from shared.genviral.errors import GenerationFailed, RateLimited
from shared.genviral.redaction import redact, strings_of
from shared.genviral.responses import BLANK
from shared.jobs import identity
from shared.jobs.errors import JobClosed, TimedOut
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.runtime import MetricUnit, logger, metrics
from shared.steps.retries import note_retry
from shared.steps.videos import record_video, report_second_video

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.genviral.client import GenviralClient, Video
    from shared.jobs.record import Job, Removable
    from shared.polling.schedule import PollScheduler


_TRIES = 3
_HAS_ANOTHER = "the job has another video now; this one is not followed any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Poller:
    """Poll videos.

    Args:
        scheduler: Says how long to wait next, and when the video is late.
    """

    store: JobStore
    vendor: GenviralClient
    scheduler: PollScheduler

    def poll(
        self, execution_arn: str, video_id: str, submitted_at: int, waiting: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask the vendor once.

        Args:
            execution_arn: The execution; its name says which job it is.
            video_id: The vendor's video.
            submitted_at: When it was asked for, in epoch seconds.
            waiting: The polls of it, past and planned (`PollScheduler`). None is for an execution of an older version.

        Returns:
            What the state machine carries on: the input and `status`, with `wait_seconds` while it is processing and
            `error` (`Error` and `Cause`) when it failed or its deadline is over.

        Raises:
            Fault: The vendor could not be asked, or the job was closed meanwhile. It stays paid for.
        """
        job_id = identity.of_execution(execution_arn)
        state = {"job_id": job_id, "video_id": video_id, "submitted_at": submitted_at, "waiting": waiting}
        metrics.add_metric(name="Polls", unit=MetricUnit.Count, value=1)
        # This comes first: a hold or an operator must find the video on the record, whatever the vendor says now.
        job = self._with_its_video(job_id, video_id, submitted_at, execution_arn)
        overdue = time.time() > (job.deadline_at or submitted_at + self.scheduler.deadline_seconds)
        try:
            video = self.vendor.get_video(video_id)
        except Fault as fault:
            # After the deadline the error is raised: the state machine's retries end, polls would not.
            if not isinstance(fault, RateLimited) or fault.retry_after is None or overdue:
                note_retry(self.store, job, fault)
                raise
            goes_on = self._processing(waiting, submitted_at, fault.retry_after)
            note_retry(self.store, job, fault, goes_on["wait_seconds"])
            return state | goes_on
        if job.status not in (Status.PROCESSING, Status.DELIVERING):
            job = self._followed(job, job_id, video_id, submitted_at, execution_arn)
        word = _shown(job, video.other_word) if video.other_word else None
        self._note_answer(job, word)
        if video.status == "succeeded":
            if job.status is not Status.DELIVERING:
                self._move_on(job_id, video_id)
                self.scheduler.learn(job, waiting, submitted_at)
            return state | {"status": "succeeded"}
        if video.status == "failed":
            return state | _ended("failed", failure(job, video))
        if overdue:
            late = _late(video, word, round((time.time() - submitted_at) / 60))
            reason = f"; it adds: {_shown(job, video.error)}" if video.error else ""
            return state | _ended("timed_out", TimedOut(f"{late}{reason}"))
        logger.info("not finished yet", video_id=video_id, vendor_status=word or video.status)
        return state | self._processing(waiting, submitted_at)

    def _processing(
        self, waiting: Mapping[str, Any] | None, submitted_at: int, retry_after: float | None = None
    ) -> dict[str, Any]:
        return {"status": "processing", **self.scheduler.next_poll(waiting, submitted_at, retry_after)}

    def _with_its_video(self, job_id: str, video_id: str, submitted_at: int, execution_arn: str) -> Job:
        """Return the job's record, which has the execution's video as the job's own.

        Raises:
            JobClosed: The job was closed, or has another video. This one is on the record nevertheless.
        """
        job = self.store.get(job_id)
        if job is None or job.video_id is None:
            job = self._followed(job, job_id, video_id, submitted_at, execution_arn)
        if job.video_id == video_id:
            return job
        if video_id not in job.other_videos:
            self._recorded(job_id, video_id, submitted_at, execution_arn)
        raise JobClosed(_HAS_ANOTHER, paid=Paid.YES)

    def _followed(self, job: Job | None, job_id: str, video_id: str, submitted_at: int, execution_arn: str) -> Job:
        """Return the job's record, with its video, in the status of a video that is being made."""
        deadline_at = job.deadline_at if job else None
        try:
            return self.store.record_accepted(
                job_id,
                video_id,
                submitted_at=submitted_at,
                deadline_at=deadline_at or submitted_at + self.scheduler.deadline_seconds,
            )
        except TransitionConflict as refused:
            now = refused.current
            if now is not None and (now.status, now.video_id) == (Status.DELIVERING, video_id):
                return now  # another poll was quicker
            if now is not None and now.video_id is not None:
                raise closed(refused) from None
        # Only the execution knows the video: Submit could not record it, and then the job ended or was deleted.
        job = self._recorded(job_id, video_id, submitted_at, execution_arn)
        if job.is_terminal:
            raise closed(TransitionConflict(job))
        return job

    def _recorded(self, job_id: str, video_id: str, submitted_at: int, execution_arn: str) -> Job:
        """Return the job's record, with the execution's video, whatever happened to the job meanwhile.

        A video beside another one is counted once it is written. A lost answer is asked for again here: a later call
        would find the video there, and could not tell whether it was counted.
        """
        deadline_at = submitted_at + self.scheduler.deadline_seconds
        facts = {"submitted_at": submitted_at, "deadline_at": deadline_at}
        origin = {"source": {"type": "execution"}, "execution": execution_arn}
        for number in range(1, _TRIES + 1):
            try:
                job = record_video(self.store, video_id, facts, job_id=job_id, origin=origin)
                break
            except (ClientError, BotoCoreError):
                if number == _TRIES:
                    raise
        if job.video_id != video_id or job.named_videos:
            report_second_video(job, video_id)
        return job

    def _note_answer(self, job: Job, word: str | None) -> None:
        """Record what the vendor says instead of `processing`, and that it answers again. May fail."""
        if word == job.vendor_status and job.retrying is None:
            return
        try:
            remove: tuple[Removable, ...] = ("retrying",) if word else ("retrying", "vendor_status")
            self.store.update(job.job_id, vendor_status=word, remove=remove)
        except (TransitionConflict, ClientError, BotoCoreError) as error:
            logger.warning("the vendor's answer could not be noted", reason=type(error).__name__)

    def _move_on(self, job_id: str, video_id: str) -> None:
        try:
            self.store.begin_delivery(job_id, video_id)
        except TransitionConflict as refused:
            raise closed(refused) from None


def closed(refused: TransitionConflict) -> JobClosed:
    """Return the error of a paid job that cannot go on, because it was closed meanwhile."""
    if refused.current is not None and refused.current.video_id is not None and not refused.current.is_terminal:
        return JobClosed(_HAS_ANOTHER, paid=Paid.YES)
    return JobClosed(f"the job is {refused.found}; its video is not followed any more", paid=Paid.YES)


def failure(job: Job, video: Video) -> GenerationFailed:
    """Return the vendor's reason for a failed generation, without what it may quote from the request."""
    reason = _shown(job, video.error) if video.error else "no reason given"
    return GenerationFailed(f"the generation failed: {reason}", paid=Paid.YES)


def _shown(job: Job, text: str) -> str:
    return redact(text, strings_of(json.loads(job.request or "{}")))


def _late(video: Video, word: str | None, minutes: int) -> str:
    """Describe at the deadline what the vendor says, and no more."""
    if word is None:
        return f"the vendor had not finished after {minutes} minutes"
    if video.lacks_link:
        return f'the vendor says "{word}", but after {minutes} minutes it gives no link to the video'
    if word == BLANK:
        return f"after {minutes} minutes the vendor gives a status without a word"
    return f'after {minutes} minutes the vendor says "{word}", a status that this project does not know'


def _ended(status: str, fault: Fault) -> dict[str, Any]:
    # Like a caught error, so that the following states need not know where it came from.
    return {"status": status, "error": {"Error": type(fault).__name__, "Cause": str(fault)}}
