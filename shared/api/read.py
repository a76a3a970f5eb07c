"""Show one job, or list the jobs of a status."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.jobs import identity
from shared.jobs.errors import JobNotFound, QueryInvalid
from shared.jobs.states import Status
from shared.jobs.waits import sweep_by
from shared.polling.policy import Expectation, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

MAX_PAGE = 100
DEFAULT_PAGE = 25
_STATUSES = tuple(status.value for status in Status)
_PARAMETERS = ("status", "limit", "next_token")
_LINK_SECONDS = 3600
_END_OF_TIME = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Read jobs for API callers.

    Args:
        s3: A boto3 S3 client, to sign links to finished videos.
        quiet_seconds: The sweep skips jobs that changed more recently, in seconds.
    """

    store: JobStore
    s3: S3Client
    quiet_seconds: int = 0

    def show(self, job_id: str) -> dict[str, Any]:
        """Return a job: status, timeline, credits, error with advice, and a link once there is a video.

        Raises:
            JobNotFound: There is no such job.
        """
        job = self.store.get(job_id) if identity.is_job_id(job_id) else None
        if job is None:
            raise JobNotFound("there is no such job")
        return _given(
            _summary(job)
            | {
                "timeline": job.timeline,
                "elapsed_seconds": None if job.is_terminal or job.submitted_at is None else _since(job.submitted_at),
                "estimate": _estimate(job),
                "vendor_status": job.vendor_status,
                **self._waits(job),
                "recipe": job.recipe,
                "credits_used": job.credits_used,
                "other_videos": [self._with_link(other) for other in job.others] or None,
                "metadata": job.metadata or None,
                "error": None if job.status is Status.SUCCEEDED else job.shown_error,
                **job.redrive,
                "video": self._linked(job.output) if job.status is Status.SUCCEEDED and job.output else None,
            }
        )

    def list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of the jobs of a status, last changed first, and the token of the next page if there is one.

        The table's index is by status, so a status is required. The index is eventually consistent.

        Args:
            query: `status`, and optionally `limit` and `next_token`.

        Raises:
            QueryInvalid: A parameter is missing or unknown, or its value is not allowed.
        """
        status, limit, after = _page_of(query)
        jobs, end = self.store.page(status, limit=limit, after=after)
        return _given({"jobs": [_given(_summary(job)) for job in jobs], "next_token": _token(end) if end else None})

    def _waits(self, job: Job) -> dict[str, Any]:
        """Return why the job is waiting, and when something happens next."""
        if job.status is Status.ON_HOLD:
            return {"next_try_at": job.next_try_at, "held_until": job.held_until, "retrying": job.current_retry}
        sweep = sweep_by(job, self.quiet_seconds) if job.status is Status.QUEUED else None
        return {"retrying": job.current_retry, "sweep_by": sweep}

    def _with_link(self, other: dict[str, Any]) -> dict[str, Any]:
        """Add a link to another video of the job if it is in the bucket; the job itself may have failed since."""
        return {**other, "output": self._linked(other["output"])} if "output" in other else other

    def _linked(self, file: Mapping[str, Any]) -> dict[str, Any]:
        """Add a fresh link to a video. The link expires with this function's session at the latest."""
        link = self.s3.generate_presigned_url(
            "get_object", Params={"Bucket": file["bucket"], "Key": file["key"]}, ExpiresIn=_LINK_SECONDS
        )
        return {**file, "url": link, "url_expires_in_seconds": _LINK_SECONDS}


def _summary(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "status": job.status.value,
        "created_at": job.created_at,
        "source": job.origin,
        "model_id": job.model_id,
        "video_id": job.video_id,
    }


def _given(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _estimate(job: Job) -> str | None:
    """Return how long the video will still take, in words."""
    if job.status is not Status.PROCESSING or job.submitted_at is None:
        return None
    expected = Expectation(*job.expected_seconds) if job.expected_seconds else None
    return progress(expected, _since(job.submitted_at))


def _since(moment: int) -> int:
    return max(0, int(time.time()) - moment)


def _page_of(query: Mapping[str, str]) -> tuple[Status, int, tuple[int, str] | None]:
    issues = {name: "is not a known parameter" for name in query if name not in _PARAMETERS}
    status = query.get("status")
    if status not in _STATUSES:
        issues["status"] = f"must be one of {', '.join(_STATUSES)}"
    limit = query.get("limit", str(DEFAULT_PAGE))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= 3 and 1 <= int(limit) <= MAX_PAGE):
        issues["limit"] = f"must be a whole number from 1 to {MAX_PAGE}"
    after = _position(query["next_token"]) if "next_token" in query else None
    if after is None and "next_token" in query:
        issues |= {"next_token": "must be the next_token of an earlier answer"}
    if status is None or issues:
        listed = tuple({"path": name[:100], "message": message} for name, message in issues.items())
        raise QueryInvalid("the query parameters are not valid", issues=listed)
    return Status(status), int(limit), after


def _token(position: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _position(token: str) -> tuple[int, str] | None:
    """Return where a page ended. A forged token can only name another position among the jobs of the same status."""
    try:
        changed_at, job_id = json.loads(base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        return None
    usable = type(changed_at) is int and 0 <= changed_at < _END_OF_TIME
    return (changed_at, job_id) if usable and isinstance(job_id, str) and identity.is_job_id(job_id) else None
