"""From a job to the body of its generate call: reads the uploaded files and recipes, checks them, signs links.

Knows S3, the layout of the uploads bucket and the vendor's request model. Must not know how the call is made. All that
can be wrong with a request is found here, before anything is paid for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.genviral.errors import InvalidPayload
from shared.genviral.models import parse_generate
from shared.jobs.errors import (
    RecipeInvalid,
    RecipeMissing,
    RequestUnreadable,
    UploadTooLarge,
    UploadUnreadable,
    UploadUnsupported,
)
from shared.jobs.links import without_secrets
from shared.jobs.recipes import MAGIC_BYTES, RECIPES, Kind, fill, kind_of, recipe_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

    from shared.jobs.record import Job

_ASSET_URL_SECONDS = 6 * 3600
"""How long the vendor may take to fetch the asset. The function's own session may end sooner; AWS renews it hourly."""
_MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_METADATA_BYTES = 2048
_GONE = {"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "KeyTooLongError", "404"}
_FORBIDDEN = {"AccessDenied", "403", "MethodNotAllowed", "405", "InvalidObjectState"}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a job asks for.

    Attributes:
        body: What goes to the vendor, with signed links. Never stored.
        request: The same for the record and the sidecar file: no link in it gives access to anything.
        recipe: The recipe's name, if there was one.
        metadata: The caller's labels.
    """

    body: dict[str, Any] = field(repr=False)
    request: dict[str, Any] = field(repr=False)
    recipe: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def model_id(self) -> str:
        """The model that the request names."""
        return str(self.body["model_id"])


def parse_request(document: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check a generate body with an optional `metadata` beside the vendor's fields.

    Returns:
        The body for the vendor, and the metadata.

    Raises:
        InvalidPayload: With an issue for each field that is wrong.
    """
    if not isinstance(document, dict) or "metadata" not in document:
        return parse_generate(document).to_body(), {}
    rest = {name: value for name, value in document.items() if name != "metadata"}
    metadata = document["metadata"]
    if not isinstance(metadata, dict):
        raise _invalid_metadata("must be an object")
    try:
        size = len(json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):  # a number beyond all bounds, half a character, endless nesting
        raise _invalid_metadata("must hold nothing but JSON") from None
    if size > _MAX_METADATA_BYTES:
        raise _invalid_metadata(f"must be at most {_MAX_METADATA_BYTES} bytes of JSON")
    return parse_generate(rest).to_body(), metadata


def _invalid_metadata(message: str) -> InvalidPayload:
    return InvalidPayload("the request is not valid", issues=({"path": "metadata", "message": message},))


class Resolver:
    """Reads what jobs refer to.

    Args:
        s3: A boto3 S3 client.
        bucket: The uploads bucket.
        max_bytes: The largest upload that becomes a job, in bytes.
    """

    def __init__(self, s3: S3Client, bucket: str, *, max_bytes: int) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._max_bytes = max_bytes

    def resolve(self, job: Job) -> Resolution:
        """What the job asks for.

        Raises:
            Fault: The request cannot be sent; the class says why. Nothing has been paid for.
        """
        try:
            match job.source.get("type"):
                case "upload":
                    return self._from_upload(job.source)
                case "request":
                    return self._from_request_file(job.source)
                case _:
                    return self._from_record(job)
        except RecursionError:
            raise RequestUnreadable("the request or recipe is nested too deeply") from None

    def _from_record(self, job: Job) -> Resolution:
        if job.request is None:
            raise RequestUnreadable("the execution's input has no member 'request'")
        body, metadata = parse_request(json.loads(job.request))
        return Resolution(body, without_secrets(body), metadata=metadata or job.metadata)

    def _from_request_file(self, source: Mapping[str, Any]) -> Resolution:
        text = self._read(source["key"], source.get("version_id"))
        body, metadata = parse_request(_json(text, RequestUnreadable("the request file is not valid JSON")))
        return Resolution(body, without_secrets(body), metadata=metadata)

    def _from_upload(self, source: Mapping[str, Any]) -> Resolution:
        key, version_id = source["key"], source.get("version_id")
        name = recipe_of(key)
        metadata = self._inspect(key, version_id)
        # The kind before the recipe: a file of no known kind is wrong whatever the recipe says.
        kind = self._kind(key, version_id)
        recipe = self._recipe(name)
        path = PurePosixPath(key)
        values = {
            "filename": path.name,
            "stem": path.stem,
            "date": datetime.now(UTC).date().isoformat(),
            **{f"metadata.{label.lower()}": value for label, value in metadata.items()},
        }
        filled = fill(recipe, name, {**values, "asset_url": self._signed(key, version_id)})
        if filled.takes - {kind}:
            wanted = " and ".join(sorted(filled.takes))
            raise UploadUnsupported(f"recipe '{name}' takes {wanted}, but the file's content is {kind}")
        body, _ = parse_request(filled.body)
        shown = fill(recipe, name, {**values, "asset_url": f"s3://{self._bucket}/{key}"}).body
        labels = shown.pop("metadata", {})
        return Resolution(body, without_secrets(shown), recipe=name, metadata=labels)

    def _inspect(self, key: str, version_id: str | None) -> dict[str, str]:
        try:
            head = self._s3.head_object(Bucket=self._bucket, Key=key, **_version(version_id))
        except ClientError as error:
            raise _unreadable(error) from None
        if head["ContentLength"] == 0:
            raise UploadUnreadable("the uploaded file is empty")
        if head["ContentLength"] > self._max_bytes:
            raise UploadTooLarge(
                f"the uploaded file has {head['ContentLength']} bytes, more than the {self._max_bytes} allowed"
            )
        return head["Metadata"]

    def _kind(self, key: str, version_id: str | None) -> Kind:
        try:
            answer = self._s3.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes=0-{MAGIC_BYTES - 1}", **_version(version_id)
            )
        except ClientError as error:
            raise _unreadable(error) from None
        kind = kind_of(answer["Body"].read())
        if kind is None:
            raise UploadUnsupported("the uploaded file's content is no picture, video or sound, whatever its name says")
        return kind

    def _recipe(self, name: str) -> object:
        try:
            text = self._read(f"{RECIPES}{name}.json", None)
        except UploadUnreadable:
            raise RecipeMissing(f"there is no readable recipes/{name}.json in the uploads bucket") from None
        return _json(text, RecipeInvalid(f"recipe '{name}' is not valid JSON"))

    def _read(self, key: str, version_id: str | None) -> bytes:
        """A small document, whole."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key, **_version(version_id))
        except ClientError as error:
            raise _unreadable(error) from None
        if answer["ContentLength"] > _MAX_DOCUMENT_BYTES:
            raise UploadTooLarge(f"a request or recipe may have at most {_MAX_DOCUMENT_BYTES} bytes")
        return answer["Body"].read()

    def _signed(self, key: str, version_id: str | None) -> str:
        return self._s3.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": key, **_version(version_id)},
            ExpiresIn=_ASSET_URL_SECONDS,
        )


def _version(version_id: str | None) -> dict[str, Any]:
    return {"VersionId": version_id} if version_id else {}


def _json(text: bytes, wrong: Exception) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise wrong from None


def _unreadable(error: ClientError) -> Exception:
    """A missing or forbidden object is the uploader's matter; anything else is AWS's and is tried again."""
    code = error.response.get("Error", {}).get("Code", "")
    if code in _GONE:
        return UploadUnreadable("the object is not in the uploads bucket any more")
    if code in _FORBIDDEN:
        return UploadUnreadable("this stack may not read the object (its owner, key or storage class forbids it)")
    return error
