"""Copy a finished video to S3, and write a description beside it.

The vendor is asked for a fresh link right before the copy; the link is stored nowhere. A delivery may be repeated: the
job's key stays the same, and a copy that is already there is found. Must not know Lambda or the shape of events.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.delivery import Delivery, DeliveryIncomplete, Limits, MediaFacts, deliver
from shared.faults import Fault, Paid
from shared.genviral.errors import GenviralUnavailable
from shared.jobs import identity
from shared.jobs.errors import JobClosed
from shared.jobs.links import without_secrets
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.printable import json_text
from shared.runtime import MetricUnit, metrics
from shared.steps.poll import closed, failure
from shared.steps.retries import note_retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    from shared.genviral.client import GenviralClient
    from shared.jobs.record import Job

# Encoders round to whole frames. That is not a different length.
_SECONDS_OFF = 0.5
_SECONDS_SHARE_OFF = 0.02
_RATIO = re.compile(r"([1-9]\d{0,4}(?:\.\d{1,4})?):([1-9]\d{0,4}(?:\.\d{1,4})?)")
# The aspect ratios that models sell, the wider side first. What they deliver has sides that their blocks of 16, 32 or
# 64 pixels divide, and that moves a ratio by up to 7 %: 832x480, 1280x704, 1344x768, 1280x768 are all sold as 16:9.
_RATIOS = (1 / 1, 5 / 4, 4 / 3, 3 / 2, 16 / 9, 2 / 1, 21 / 9)
_RATIO_SHARE_OFF = 0.07
_MAX_METADATA = 600  # characters of each value; there are three


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverer:
    """Deliver videos to the videos bucket.

    Args:
        bucket: The videos bucket.
        limits: Caps and guards of the copy.
        remaining: Seconds that are left for it.
    """

    store: JobStore
    vendor: GenviralClient
    s3: S3Client
    bucket: str
    limits: Limits
    remaining: Callable[[], float]

    def deliver(self, execution_arn: str, video_id: str) -> dict[str, Any]:
        """Copy the job's video into the bucket and describe it on the record.

        Returns:
            `video`: bucket, key, bytes, content type, checksum and what is known of the medium. No link.

        Raises:
            Fault: Nothing was published. The video stays paid for and can be delivered by a redrive.
        """
        job, first = self._open(identity.of_execution(execution_arn), video_id)
        key = key_of(job)
        try:
            delivery = deliver(
                lambda: self._fresh_link(job, video_id),
                s3=self.s3,
                bucket=self.bucket,
                key=key,
                limits=self.limits,
                metadata=_metadata(job, video_id),
                tags={"job_id": job.job_id},
                remaining=self.remaining,
                before_publish=lambda: self._require_own(job.job_id, video_id),
                first=first,
            )
        except DeliveryIncomplete:
            raise  # not an error: the next call continues the copy
        except Fault as fault:
            note_retry(self.store, job, fault)
            raise
        video = _facts(self.bucket, key, delivery) | _differences(job, delivery.media)
        self._describe(job, video_id, video)
        try:
            self.store.update(job.job_id, output=video, remove=("retrying",), video=video_id)
        except TransitionConflict as refused:
            raise closed(refused) from None
        metrics.add_metric(name="BytesDelivered", unit=MetricUnit.Bytes, value=delivery.bytes)
        return {"video": video}

    def _open(self, job_id: str, video_id: str) -> tuple[Job, bool]:
        """Return the job, and whether this is the first copy of its video."""
        job = self.store.get(job_id)
        try:
            if job is None or job.status is not Status.DELIVERING:
                # It may be there already: botocore repeats a write whose answer was lost.
                job = self.store.begin_delivery(job_id, video_id)
            if job.copy_began is not None:
                return job, False
            return self.store.update(job_id, copy_began=int(time.time()), video=video_id), True
        except TransitionConflict as refused:
            raise closed(refused) from None

    def _require_own(self, job_id: str, video_id: str) -> None:
        """Require that the job still has this video. An operator may have given it another one during the copy."""
        job = self.store.get(job_id)
        if job is not None and job.video_id not in (None, video_id):
            raise JobClosed("the job has another video now; this one was not delivered", paid=Paid.YES)

    def _fresh_link(self, job: Job, video_id: str) -> str:
        video = self.vendor.get_video(video_id)
        if video.status == "failed":
            raise failure(job, video)
        if video.output_url is None:
            raise GenviralUnavailable("the vendor gives no link to the finished video at the moment", paid=Paid.YES)
        return video.output_url

    def _describe(self, job: Job, video_id: str, video: dict[str, Any]) -> None:
        sidecar = {
            "version": 1,
            "job_id": job.job_id,
            "video_id": video_id,
            "model_id": job.model_id,
            "credits_used": job.credits_used,
            "source": job.source,
            "recipe": job.recipe,
            "metadata": job.metadata,
            "request": without_secrets(json.loads(job.request)) if job.request else None,
            "timeline": job.timeline,
            "video": video,
        }
        self.s3.put_object(
            Bucket=self.bucket,
            Key=key_of(job, "json"),
            Body=json_text(sidecar, indent=2).encode(),
            ContentType="application/json",
        )


def key_of(job: Job, extension: str = "mp4") -> str:
    """Return the key of a job's file. It depends on the record only, so every attempt has the same one."""
    created = datetime.fromisoformat(job.created_at).astimezone(UTC)
    which = "" if job.delivery == 1 else f".{job.delivery}"
    return f"videos/{created:%Y/%m/%d}/{job.job_id}{which}.{extension}"


def _metadata(job: Job, video_id: str) -> dict[str, str]:
    # S3 takes only ASCII in an object's metadata, 2 KB in all. The code of 200 emojis alone is longer.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    facts = {"job-id": job.job_id, "video-id": video_id, "model-id": job.model_id or ""}
    return {name: quote(value, safe="/._-")[:_MAX_METADATA] for name, value in facts.items() if value}


def _differences(job: Job, media: MediaFacts | None) -> dict[str, Any]:
    """Return where the video differs from the request. That is reported, and never a reason to lose a paid video."""
    asked = json.loads(job.request or "{}").get("params", {})
    if media is None or not asked:
        return {}
    differs: dict[str, Any] = {}
    seconds = asked.get("duration_seconds")
    if seconds and media.duration and abs(media.duration - seconds) > max(_SECONDS_OFF, seconds * _SECONDS_SHARE_OFF):
        differs["duration_seconds"] = {"asked": seconds, "got": media.duration}
    ratio = _RATIO.fullmatch(str(asked.get("aspect_ratio")))
    if ratio and not _is_called(float(ratio[1]) / float(ratio[2]), media.width / media.height):
        differs["aspect_ratio"] = {"asked": ratio[0], "got": f"{media.width}:{media.height}"}
    return {"differs": differs} if differs else {}


def _is_called(asked: float, got: float) -> bool:
    """Whether a picture has the aspect ratio that was asked for: no other ratio that models sell is closer."""
    off = abs(math.log(got / asked))
    closest = min(abs(math.log(got / ratio)) for sold in _RATIOS for ratio in (sold, 1 / sold))
    return off <= min(closest + 1e-6, math.log(1 + _RATIO_SHARE_OFF))


def _facts(bucket: str, key: str, delivery: Delivery) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "bucket": bucket,
        "key": key,
        "version_id": delivery.version_id,
        "bytes": delivery.bytes,
        "content_type": delivery.content_type,
        "crc32": delivery.crc32,
    }
    if (media := delivery.media) is not None:
        facts |= {
            "duration_seconds": media.duration,
            "width": media.width,
            "height": media.height,
            "video_codec": media.video_codec,
            "audio_codec": media.audio_codec,
        }
    return {name: value for name, value in facts.items() if value is not None}
