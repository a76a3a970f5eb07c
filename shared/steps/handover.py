"""A file from a caller without AWS keys: a form to send it to S3 with.

The key is chosen here and holds the id that the job will have, so that the caller can look for the job before the file
has arrived, and a form that is sent twice is one job. Knows S3's presigned POST and the layout of the uploads bucket;
must not know HTTP, or what becomes of the file.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from botocore.exceptions import ClientError
from pydantic import Field

from shared.genviral.models import Strict, validated
from shared.jobs import identity
from shared.jobs.errors import IntakeStopped, RecipeMissing
from shared.jobs.recipes import DEFAULT_RECIPE, RECIPES, UPLOADS
from shared.steps.bodies import json_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from shared.jobs.intake_switch import IntakeSwitch

FORM_SECONDS = 900
_MAX_STEM, _MAX_SUFFIX = 80, 16
_UNREADABLE = ("404", "NoSuchKey", "403", "AccessDenied")

ContentType = Literal[
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/heic",
    "image/avif",
    "video/mp4",
    "video/quicktime",
    "video/webm",
    "audio/mpeg",
    "audio/mp4",
    "audio/wav",
    "audio/x-wav",
    "audio/ogg",
    "audio/flac",
]


class UploadRequest(Strict):
    """What is going to be uploaded, and the recipe that it is for."""

    filename: Annotated[str, Field(min_length=1, max_length=255)]
    content_type: ContentType
    recipe: Annotated[str, Field(pattern=r"^\w[\w .-]*$", max_length=100)] = DEFAULT_RECIPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """Hands out forms.

    Args:
        switch: Whether new jobs may start.
        s3: A boto3 S3 client.
        bucket: The uploads bucket.
        max_bytes: The largest file that the form takes, in bytes.
    """

    switch: IntakeSwitch
    s3: S3Client
    bucket: str
    max_bytes: int

    def form(self, body: bytes) -> dict[str, Any]:
        """A form for one file, good for `FORM_SECONDS`.

        Args:
            body: An `UploadRequest` as JSON.

        Returns:
            `url` and `fields` of the form, the object's `key`, the `job_id` of the job that it will become, `max_bytes`
            and `expires_in_seconds`.

        Raises:
            Fault: No form: one of the classes in `shared.steps.answers`.
        """
        if self.switch.is_stopped:
            raise IntakeStopped("no new jobs are taken at the moment")
        wanted = validated(UploadRequest, json_object(body))
        self._require(wanted.recipe)
        job_id = identity.for_handover()
        key = f"{UPLOADS}{wanted.recipe}/{job_id}/{safe_name(wanted.filename)}"
        form = self.s3.generate_presigned_post(
            self.bucket,
            key,
            Fields={"Content-Type": wanted.content_type},
            Conditions=[{"Content-Type": wanted.content_type}, ["content-length-range", 1, self.max_bytes]],
            ExpiresIn=FORM_SECONDS,
        )
        return {
            "job_id": job_id,
            "key": key,
            "url": form["url"],
            "fields": form["fields"],
            "max_bytes": self.max_bytes,
            "expires_in_seconds": FORM_SECONDS,
        }

    def _require(self, recipe: str) -> None:
        try:
            self.s3.head_object(Bucket=self.bucket, Key=f"{RECIPES}{recipe}.json")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _UNREADABLE:
                raise RecipeMissing(f"there is no readable recipes/{recipe}.json in the uploads bucket") from None
            raise


def safe_name(filename: str) -> str:
    """A file's name for a key: letters and digits of any script, dots, dashes and underscores; at most 97 characters.

    What stands before a slash or backslash is a path of the caller's machine and falls away.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", filename)[-1])
    stem, dot, suffix = re.sub(r"[^\w.-]+", "-", name).strip(".-").rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    return f"{stem[:_MAX_STEM] or 'file'}{dot}{suffix[:_MAX_SUFFIX]}"
