"""Find the jobs behind what a person has: an id of any kind, a name, a key or a link.

Most of these name the job, or its id was derived from them. For the rest, all jobs are searched: for a video's id, an
`Idempotency-Key` (its caller is on the record), a file's name, or a file that S3 has deleted. Only reads. Must not know
the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from ops.addresses import Address, readings
from ops.exits import NotFound, Refused
from shared.jobs import identity
from shared.jobs.states import Status
from shared.requests.batch_names import is_check, name_of
from shared.requests.recipes import BATCHES, REQUESTS, UPLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectVersionTypeDef

    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

_MOST_BYTES_OF_A_KEY = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_EXECUTION = re.compile(r"arn:[\w-]+:states:[^/?\s]+")  # the console's links hold it
# A batch's report, in the videos bucket, or the folder that holds it.
_REPORT = re.compile(r"batches/(.+)/(?:[^/]+\.(?:json|csv))?", re.DOTALL)
_BEGINNING = re.compile(r"[0-9A-Za-z_-]{6,74}")  # of a job's id, as people shorten it
_NOTIFICATION = re.compile(rf"([^/]+)/(?:{'|'.join(Status)})(?:#.*)?")
_NOTIFICATION_OF_NO_JOB = re.compile(r"[^/]+/(?:recipe|batch|upload)_[a-z]+(?:#.*)?")
# A finished video or a file beside it, as a key or in a link; also a job's address in the API.
_VIDEO = re.compile(
    r"(?:.*/)?videos/(?:\d{4}/\d\d/\d\d/)?([^/.?]+)(?:\.\d{1,3})?(?:\.(?:mp4|json|mp4\.partial))?(?:\?.*)?"
)

_SAVED = re.compile(r"(?:.*/)?([^/.]+)\.mp4", re.DOTALL)  # as `wait` saves a video, in any folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Find jobs.

    Args:
        uploads: The uploads bucket.
        videos: The videos bucket.
    """

    store: JobStore
    s3: S3Client
    uploads: str
    videos: str

    def find(self, what: str) -> list[Job]:
        """Return every job that may be meant, oldest first. Some come without their requests and errors.

        Raises:
            Refused: There is none; the text says where it was looked for.
        """
        addresses = readings(what, (self.uploads, self.videos))
        first = addresses[0]
        if first.bucket not in (None, self.uploads, self.videos):
            raise Refused(f"{first.bucket} is no bucket of this stack; those are {self.uploads} and {self.videos}.")
        jobs = next(filter(None, map(self._named_by, addresses)), {})
        names = {address.name for address in addresses}
        batches = set(filter(None, map(self._batch_reported_in, addresses)))
        jobs = jobs or {
            job.job_id: job
            for job in self._all()
            if _batch_of(job) in batches or any(_is_meant(job, name) for name in names)
        } | self._owners(names)
        if not jobs:
            raise NotFound(self._why_none(addresses).format(what=what, bucket=self.uploads))
        return sorted(jobs.values(), key=lambda job: job.created_at)

    def _named_by(self, address: Address) -> dict[str, Job]:
        """The jobs that an address names, without a search."""
        name = address.name
        if address.bucket != self.videos and name.startswith((UPLOADS, REQUESTS)):
            if address.version_id and (
                jobs := self._known([identity.for_object(self.uploads, name, address.version_id)])
            ):
                return jobs
            return self._known(self._job_ids_of(name))
        if _NOTIFICATION_OF_NO_JOB.fullmatch(name):
            raise Refused(
                "That notification is about a recipe or a batch as a whole, or a file that starts nothing: show that."
            )
        return self._known(_job_ids_in(name))

    def _batch_reported_in(self, address: Address) -> str | None:
        """The name of the batch whose report lies at an address. Without a bucket it may be a batch's own key."""
        report = _REPORT.fullmatch(address.name)
        is_there = address.bucket == self.videos or (address.bucket is None and address.name.endswith((".json", "/")))
        return report[1] if report and is_there else None

    def _known(self, job_ids: Iterable[str]) -> dict[str, Job]:
        jobs = (self.store.get(job_id) for job_id in dict.fromkeys(job_ids))
        return {job.job_id: job for job in jobs if job is not None}

    def _owners(self, names: Iterable[str]) -> dict[str, Job]:
        """The jobs of which one of these is a further video. The index has the own one of each job only."""
        could_be = [name for name in names if 0 < len(name.encode()) <= _MOST_BYTES_OF_A_KEY]
        ids = filter(None, map(self.store.owner_of, could_be))
        return {job_id: job for job_id, job in self._known(ids).items() if _videos_of(job) & set(names)}

    def _job_ids_of(self, key: str) -> Iterator[str]:
        """Yield the ids that the jobs of an upload may have: from its form, or from its versions, if it has any."""
        if named := identity.of_form(key):
            yield named
        versions = (version["VersionId"] for version in self._listed(key))
        yield from (identity.for_object(self.uploads, key, version) for version in ("", *versions))

    def _listed(self, key: str) -> Iterator[ObjectVersionTypeDef]:
        """An object's versions. A listing begins with the key itself."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.uploads, Prefix=key)
        listed = (version for page in pages for version in page.get("Versions", ()))
        return takewhile(lambda version: version["Key"] == key, listed)

    def _why_none(self, addresses: list[Address]) -> str:
        """Why there is no job of this, which may be a key of the uploads bucket."""
        first = addresses[0]
        if any(map(self._batch_reported_in, addresses)):
            return _NO_ROW_OF_REPORT
        if first.bucket == self.videos:
            return _NOTHING
        # A batch is often called by its name alone.
        keys = [key for address in addresses for key in (address.name, f"{BATCHES}{address.name}")]
        if there := next(filter(self._is_there, dict.fromkeys(keys)), None):
            if there.startswith(BATCHES) and is_check(there):
                return _NO_JOB_OF_CHECK
            return next((text for prefix, text in _NO_JOB_OF.items() if there.startswith(prefix)), _STARTS_NOTHING)
        return _NO_FILE if first.bucket or first.name.startswith(tuple(_NO_JOB_OF)) else _NOTHING

    def _is_there(self, key: str) -> bool:
        could_be = 0 < len(key.encode()) <= _MOST_BYTES_OF_A_KEY
        return could_be and any(version["IsLatest"] for version in self._listed(key))

    def _all(self) -> Iterator[Job]:
        # In the order of a job's life: one that moves on meanwhile is met twice rather than missed.
        for status in Status:
            yield from self.store.in_status(status)


_NOTHING = (
    "Nothing is known as {what}: no job, execution, notification, upload, video or Idempotency-Key. A record is kept "
    "for RecordRetentionDays. Is it in another stack or region (--stack, --region)?"
)
_NO_FILE = "There is no {what} in {bucket}, and no record of a job that was made of it."
_NO_JOB_OF_FILE = (
    "{what} lies in {bucket}, and there is no job of it. Its event takes seconds, at worst a day; one that failed for "
    "good is in the queue EventsDlq. If the file is old, its record may have expired."
)
_NO_ROW_OF_BATCH = (
    "{what} lies in {bucket}, and no row of it is a job. Its notification says why: it may be on its way, wrong "
    "(batch_rejected) or a check (.check.csv, .check.jsonl), which starts nothing. Old records may have expired."
)
_NO_JOB_OF_CHECK = (
    "{what} was a check: it starts no job and pays nothing. Its report and estimate are in its notification "
    "(batch_checked, or batch_rejected). To see the jobs of the batch itself, show the file that was uploaded without "
    ".check in its name."
)
_NO_ROW_OF_REPORT = (
    "{what} is the place of a batch's report, and there is no job of that batch: it was a check or was rejected, or "
    "its records have expired. The report says which."
)
_NO_JOB_OF = {UPLOADS: _NO_JOB_OF_FILE, REQUESTS: _NO_JOB_OF_FILE, BATCHES: _NO_ROW_OF_BATCH}
_STARTS_NOTHING = (
    "{what} lies in {bucket}, but no job comes of a file there: uploads/, requests/ and batches/ start jobs. Upload it "
    "again under one of these."
)


def _job_ids_in(name: str) -> Iterator[str]:
    """The jobs that could be named by this text itself."""
    if "/" not in name:
        yield identity.of_execution(name)
    if execution := _EXECUTION.search(name):
        yield identity.of_execution(execution[0])
    for form in (_NOTIFICATION, _VIDEO, _SAVED):
        if named := form.fullmatch(name):
            yield identity.of_execution(named[1])


def _batch_of(job: Job) -> str | None:
    """The name of the batch that a job is a row of."""
    return name_of(job.source["key"]) if job.source.get("type") == "batch" else None


def _videos_of(job: Job) -> set[str | None]:
    """Every video that a record names."""
    return {job.video_id, job.possible_video_id, job.known_video, *job.other_videos}


def _is_meant(job: Job, name: str) -> bool:
    """Whether something on the record is called this."""
    key, caller = job.source.get("key"), job.source.get("caller")
    return (
        name == job.video_id
        or (_BEGINNING.fullmatch(name) is not None and job.job_id.startswith(name))
        or (key is not None and f"/{key}".endswith(f"/{name}"))
        or (
            caller is not None
            and job.job_id in {identity.for_idempotency_key(caller, key) for key in (name, identity.plain_key(name))}
        )
    )
