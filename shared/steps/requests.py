"""Jobs as an API caller sees them: asked for, and looked at.

Everything that can be judged without the vendor is judged before a job is accepted. Knows jobs and how they begin; must
not know HTTP beyond the status that belongs to an error.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.jobs import identity
from shared.jobs.errors import BodyTooLarge, IntakeStopped, JobConflict, JobNotFound, KeyUnusable
from shared.jobs.resolve import parse_request
from shared.jobs.states import Status
from shared.steps.intake import start

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

    from shared.faults import Fault
    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.store import JobStore

MAX_BODY_BYTES = 256 * 1024
_MAX_KEY = 255
_LINK_SECONDS = 3600

HTTP_STATUS: dict[type[Fault], int] = {
    InvalidJson: 400,
    KeyUnusable: 400,
    JobNotFound: 404,
    JobConflict: 409,
    BodyTooLarge: 413,
    InvalidPayload: 422,
    IntakeStopped: 503,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Takes requests and answers questions about jobs.

    Args:
        store: Where jobs are kept.
        switch: Whether new jobs may start.
        sfn: A boto3 Step Functions client.
        state_machine_arn: The machine that runs jobs.
        s3: A boto3 S3 client, to sign links to finished videos.
    """

    store: JobStore
    switch: IntakeSwitch
    sfn: SFNClient
    state_machine_arn: str
    s3: S3Client

    def ask(self, body: bytes, *, caller: str, key: str | None) -> Job:
        """Accept a request as a job, or find the job that the same request made before.

        Args:
            body: The generate body as JSON, with an optional `metadata`.
            caller: Who asks; idempotency keys of different callers never meet.
            key: The caller's `Idempotency-Key`.

        Raises:
            Fault: The request is not accepted: one of the classes in `HTTP_STATUS`.
        """
        if key is not None and not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
            raise KeyUnusable("the Idempotency-Key cannot be used")
        if self.switch.is_stopped:
            raise IntakeStopped("no new jobs are taken at the moment")
        document = _json(body)
        _, metadata = parse_request(document)
        fingerprint = identity.fingerprint(document)
        job, _ = self.store.create(
            identity.new() if key is None else identity.for_idempotency_key(caller, key),
            source={"type": "api", "caller": caller},
            request=json.dumps(
                {name: value for name, value in document.items() if name != "metadata"}, ensure_ascii=False
            ),
            fingerprint=fingerprint,
            metadata=metadata,
            model_id=document["model_id"],
        )
        if job.fingerprint != fingerprint:
            raise JobConflict("this Idempotency-Key was used before, with another request")
        start(job, sfn=self.sfn, state_machine_arn=self.state_machine_arn)
        return job

    def show(self, job_id: str) -> dict[str, Any]:
        """A job, for its caller: status, timeline, credits, error with advice, and a link once there is a video.

        Raises:
            JobNotFound: There is no such job.
        """
        job = self.store.get(job_id) if identity.is_job_id(job_id) else None
        if job is None:
            raise JobNotFound("there is no such job")
        shown = {
            "job_id": job.job_id,
            "status": job.status.value,
            "created_at": job.created_at,
            "timeline": job.timeline,
            "elapsed_seconds": None if job.is_terminal or job.submitted_at is None else _since(job.submitted_at),
            "recipe": job.recipe,
            "model_id": job.model_id,
            "video_id": job.video_id,
            "credits_used": job.credits_used,
            "metadata": job.metadata or None,
            "error": None if job.status is Status.SUCCEEDED else job.error,
            "video": self._video(job),
        }
        return {name: value for name, value in shown.items() if value is not None}

    def _video(self, job: Job) -> dict[str, Any] | None:
        """The finished video with a link that is signed now, so that it lives as long as it says."""
        if job.status is not Status.SUCCEEDED or job.output is None:
            return None
        link = self.s3.generate_presigned_url(
            "get_object",
            Params={"Bucket": job.output["bucket"], "Key": job.output["key"]},
            ExpiresIn=_LINK_SECONDS,
        )
        return {**job.output, "url": link, "url_expires_in_seconds": _LINK_SECONDS}


def _since(moment: int) -> int:
    return max(0, int(time.time()) - moment)


def _json(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body has {len(body)} bytes, more than the {MAX_BODY_BYTES} allowed")
    try:
        document = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidJson("the request's body is not valid JSON") from None
    if not isinstance(document, dict):
        raise InvalidPayload("the request's body must be a JSON object")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are Python's own, not JSON's
