"""Record every video that the vendor was paid for on its job, whatever happened to the job meanwhile.

A job usually has one video. It has more if an operator paid again while the first call was still under way, or if the
vendor ignored a trusted key. Then the record has all of them. Must not know how a job is sent or followed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.genviral.ids import is_video_id
from shared.jobs.record import MAY_BE_PAID, notice_of
from shared.jobs.states import STATES
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.runtime import MetricUnit, logger, metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.record import Job

_ROUNDS = 10
_COUNTED_TRIES = 3
_OF_THE_VIDEO = ("credits_used", "submitted_at")


def record_video(
    store: JobStore,
    video_id: str,
    facts: Mapping[str, Any],
    *,
    job_id: str,
    origin: Mapping[str, Any],
    counter: Mapping[str, Any] | None = None,
) -> Job:
    """Write down a video that was accepted for a job.

    Args:
        video_id: The vendor's id.
        facts: What the record is to say of it: `submitted_at` (epoch seconds), and what else is known.
        origin: What a new record is made of, `source` above all, where the job's own was deleted.
        counter: What it changes in the daily limit's counter if it is not the job's first video: an `Update` without a
            condition.

    Returns:
        The job as it is now. Its video is this one, or another one: then this one is among its `other_videos`.

    Raises:
        TransitionConflict: The job changed again and again.
    """
    for _ in range(_ROUNDS - 1):
        try:
            return store.record_accepted(job_id, video_id, **facts)
        except TransitionConflict as refused:
            now = refused.current
        try:
            if now is None:
                logger.warning("the record of a paid job was deleted; it gets a new one")
                store.create(job_id, **origin)
            elif now.video_id is None and now.possible_video_id not in (None, video_id):
                _name(store, now, video_id)
            elif now.video_id in (None, video_id):
                return _keep(store, now, video_id, facts)
            elif "submitted_at" in (known := now.other_videos.get(video_id, {})):
                store.note_owner(video_id, job_id)  # the try that added it may have failed before this
                return now
            else:
                of_it = {name: value for name, value in known.items() if name not in MAY_BE_PAID}
                of_it |= {name: facts.get(name) for name in _OF_THE_VIDEO}
                _add(store, now, video_id, of_it, counter, again=_notified_again(now, facts["submitted_at"]))
        except TransitionConflict:
            continue  # somebody else was quicker
    return store.record_accepted(job_id, video_id, **facts)


def record_named_video(store: JobStore, job_id: str, video_id: str) -> Job | None:
    """Write down a video that an answer of unknown outcome names: the job may or may not be paid for.

    An id that was named before is kept as a further video of the job. If the job has a video of its own, this one
    becomes a further video.

    Returns:
        The job as it is now. None: its record was deleted.

    Raises:
        TransitionConflict: The job changed again and again.
    """
    for number in range(1, _ROUNDS + 1):
        now = store.get(job_id)
        if now is None or video_id == now.video_id:
            return now
        if video_id == now.possible_video_id or video_id in now.other_videos:
            store.note_owner(video_id, job_id)  # the try that named it may have failed before this
            return now
        try:
            if now.video_id is None:
                return _name(store, now, video_id)
            _add(store, now, video_id, MAY_BE_PAID, None, again=_notified_again(now, int(time.time())))
        except TransitionConflict:
            if number == _ROUNDS:
                raise
    return store.get(job_id)


def keep_named_video(store: JobStore, job: Job, document: Mapping[str, Any]) -> None:
    """Write down the video that an error names, if its job's record does not have it yet.

    The attempt that had the error records it, but may have failed to. A video that only an error names cannot be found.

    Args:
        job: The job as it was read.
        document: The error's document.
    """
    video_id = document.get("video_id")
    # Whoever stops an execution by hand may write anything into its error.
    if not isinstance(video_id, str) or not is_video_id(video_id):
        return
    if video_id in (job.video_id, job.possible_video_id) or video_id in job.other_videos:
        return
    try:
        now = record_named_video(store, job.job_id, video_id)
    except TransitionConflict:
        logger.warning("the video that an error names could not be written down", video_id=video_id)
        return
    if now is not None:
        report_if_second(now, video_id)


def report_if_second(job: Job, video_id: str) -> None:
    """Report a video that an answer of unknown outcome named, if its job has or may have another one."""
    if job.video_id not in (None, video_id) or job.other_videos:
        report_second_video(job, video_id)


def report_second_video(job: Job, video_id: str) -> None:
    """Count a video that was paid for, or may be, although its job has another one, and log both."""
    metrics.add_metric(name="SecondVideos", unit=MetricUnit.Count, value=1)
    others = sorted({*job.other_videos, *filter(None, (job.video_id, job.possible_video_id))} - {video_id})
    logger.error("the job has more than one video", video_id=video_id, other_video_ids=others)


def _name(store: JobStore, job: Job, video_id: str) -> Job:
    named = store.name_video(job, video_id)
    for name in filter(None, (job.possible_video_id, video_id)):
        store.note_owner(name, job.job_id)
    return named


def _add(
    store: JobStore,
    job: Job,
    video_id: str,
    of_it: Mapping[str, Any],
    counter: Mapping[str, Any] | None,
    *,
    again: Mapping[str, Any],
) -> None:
    # The last try leaves the counter out. The reservation then stays counted, but the video is recorded.
    for counted in (*[counter] * _COUNTED_TRIES, None):
        try:
            store.add_video(job, video_id, of_it, counter=counted, **again)
            break
        except (ClientError, BotoCoreError) as failure:
            if counted is None:
                raise
            logger.warning("the day's credits could not be corrected", reason=type(failure).__name__)
    # This comes last, because the record of a paid video must not wait for it.
    store.note_owner(video_id, job.job_id)


def _keep(store: JobStore, job: Job, video_id: str, facts: Mapping[str, Any]) -> Job:
    """Record the video of a job that ended while the call was under way, or that is being delivered already."""
    again = _notified_again(job, facts["submitted_at"]) if job.video_id is None else {}
    return store.record_video(job.job_id, video_id, **facts, **again)


def _notified_again(job: Job, moment: int) -> dict[str, Any]:
    """Return what makes another notification due, where people were notified of the job's status. The sweep sends it.

    The status was counted when it was entered, unless its own notification is still due.
    """
    if not STATES[job.status].metric:
        return {}
    due = notice_of(job.status, str(moment))
    is_counted = job.notice_due is None or job.counted == job.notice_due
    return {"notice_due": due, "counted": due if is_counted else None}
