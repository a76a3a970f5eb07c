"""Hand a file or a prompt to the stack, so that a repeat finds the same job and never pays again.

The key of an object is derived from what is asked for, and S3 writes it only if there is none yet. So there is one
object for a wish, and one job for an object, however often the answer is lost or the command repeated. Knows S3 and how
job ids are derived. Must not know the command line.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import time
import unicodedata
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError

from ops.exits import Refused, Unanswered
from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.states import Status
from shared.requests.object_metadata import is_garbled
from shared.requests.recipes import REQUESTS, UPLOADS
from shared.requests.upload_keys import type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

_MAX_METADATA_BYTES = 2048  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_THERE, _TRY_AGAIN = "PreconditionFailed", "ConditionalRequestConflict"
_TRIES = 4
_FIRST_WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to become a job: the object's content, and the parts of its key.

    Attributes:
        place: The key's beginning, up to the last folder that people know.
        name: The file's name.
        metadata: The object's own metadata, as S3 takes it.
        occasion: The id of a further wish for the same. Each is a job of its own, and a repeat of it finds that job.
    """

    place: str
    name: str
    body: bytes = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)
    occasion: str = ""

    def key(self, number: int) -> str:
        """Return the object's key for the first, second, … job of this wish."""
        further = [self.occasion] if self.occasion else []
        asked = json.dumps([hashlib.sha256(self.body).hexdigest(), sorted(self.metadata.items()), number, *further])
        return f"{self.place}{hashlib.sha256(asked.encode()).hexdigest()[:16]}/{self.name}"


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of a wish.

    Attributes:
        is_new: Whether it was submitted now, and not before.
        job: The job's record, if it is there already.
    """

    job_id: str
    key: str
    version_id: str
    is_new: bool
    job: Job | None = None


def of_file(name: str, body: bytes, *, recipe: str, metadata: Mapping[str, str]) -> Wish:
    """Return the wish for a video of a file.

    Args:
        name: The file's name, without a folder.
        metadata: Names and values, which may be any text.

    Raises:
        Refused: Its name cannot be a key's end, or S3 cannot take the metadata.
    """
    name = unicodedata.normalize("NFC", name)
    wish = Wish(f"{UPLOADS}{recipe}/", name, body, encoded(metadata))
    if type_of(wish.key(1)) != "upload":
        raise Refused(f"The recipe {recipe} or the file's name {name} cannot be part of an upload's key. Rename it.")
    return wish


def of_request(name: str, body: bytes) -> Wish:
    """Return the wish for a whole generate body."""
    return Wish(REQUESTS, name, body)


def encoded(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as S3 takes it: what is not plain ASCII as an encoded word (RFC 2047)."""
    encoded = {name.lower(): _as_header(value) for name, value in metadata.items()}
    size = sum(len(name) + len(value) for name, value in encoded.items())
    if size > _MAX_METADATA_BYTES:
        raise Refused(f"The metadata take {size} bytes; S3 keeps {_MAX_METADATA_BYTES} at most.")
    return encoded


def _as_header(value: str) -> str:
    if value.isascii() and value.isprintable() and value == value.strip() and not is_garbled(value):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Submit wishes.

    Args:
        s3: A boto3 S3 client that repeats no call.
        bucket: The uploads bucket.
    """

    s3: S3Client
    bucket: str
    store: JobStore

    def submit(self, wish: Wish, *, again: bool = False) -> Submitted:
        """Submit a wish, unless it was submitted before.

        One whose job failed or was canceled before anything was paid is submitted once more.

        Args:
            again: Whether another video of the same is wanted, which is paid for once more.

        Raises:
            Unanswered: S3 did not answer, so nobody knows whether the file arrived; or it was deleted meanwhile.
        """
        for number in count(1):
            key = wish.key(number)
            version_id = self._put(key, wish, again=again)
            if version_id is not None:
                return Submitted(identity.for_object(self.bucket, key, version_id), key, version_id, is_new=True)
            found = self._known(key)
            if not (again or _may_be_repeated(found.job)):
                return found
        raise AssertionError

    def _put(self, key: str, wish: Wish, *, again: bool) -> str | None:
        """Write the object. Return its version, or None if it was there before."""
        kind = mimetypes.guess_type(wish.name)[0] or "application/octet-stream"
        for attempt in range(_TRIES):
            try:
                answer = self.s3.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=wish.body,
                    ContentType=kind,
                    Metadata=wish.metadata,
                    IfNoneMatch="*",
                )
                return answer.get("VersionId", "")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == _THERE:
                    # After a try whose answer was lost, it is most likely that try's. Taking it for one pays nothing.
                    return self._known(key).version_id if attempt else None
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and code != _TRY_AGAIN:
                    raise
            except HTTPClientError:
                pass
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        advice = (
            f"Look with: show {key}"
            if again
            else "Give the same command again: it finds what has arrived, and pays for nothing twice."
        )
        raise Unanswered(f"S3 did not answer, so nobody knows whether the file arrived. {advice}")

    def _known(self, key: str) -> Submitted:
        """Return what became of an object that is there."""
        listed: list[Any] = list(self.s3.list_object_versions(Bucket=self.bucket, Prefix=key).get("Versions", []))
        version_id = next((version["VersionId"] for version in listed if version["Key"] == key), None)
        if version_id is None:
            raise Unanswered(f"{key} was there a moment ago and is deleted now. Give the same command again.")
        job_id = identity.for_object(self.bucket, key, version_id)
        return Submitted(job_id, key, version_id, is_new=False, job=self.store.get(job_id))


def _may_be_repeated(job: Job | None) -> bool:
    """Whether a job ended without a video and without a payment, so that another try pays for nothing twice."""
    return job is not None and job.status in (Status.FAILED, Status.CANCELED) and job.paid is Paid.NO
