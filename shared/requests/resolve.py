"""Build the body of a job's generate call: read uploaded files and recipes, check them, and sign links.

Every error in a request is found here, before anything is paid for.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import ClientError
from pydantic import AfterValidator, Field

from shared import strict_json
from shared.genviral.errors import InvalidPayload
from shared.genviral.models import Strict, has_controls, parse_generate, validated
from shared.genviral.redaction import one_line
from shared.jobs.errors import (
    AssetMissing,
    RecipeInvalid,
    RecipeMissing,
    RequestFault,
    RequestTooLarge,
    RequestUnreadable,
    UploadMisplaced,
    UploadTooLarge,
    UploadUnreadable,
    UploadUnsupported,
)
from shared.jobs.links import without_secrets
from shared.requests.media_types import Kind, kind_of
from shared.requests.object_metadata import decoded, is_garbled
from shared.requests.recipes import (
    ASSET_PREFIX,
    ASSET_URL,
    ASSETS,
    DEFAULT_RECIPE,
    LABEL,
    MANIFEST_SUFFIX,
    METADATA_PREFIX,
    PLANS,
    RECIPES,
    TAG_PREFIX,
    UPLOADS,
    fill,
    is_known,
    placeholders,
    recipe_of,
    try_fill,
)
from shared.requests.s3_errors import is_archived, is_missing, is_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client

    from shared.jobs.record import Job

_ASSET_URL_SECONDS = 6 * 3600
"""How long the vendor may take to fetch the asset, at most. The link also expires with the function's own session.
https://repost.aws/knowledge-center/presigned-url-s3-bucket-expiration"""
MAX_DOCUMENT_BYTES = 256 * 1024
"""The largest recipe, request file or manifest."""
MAX_REQUEST_BYTES = 300 * 1024
"""The largest request on a job's record. DynamoDB limits the whole item to 400 KB.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""
_MAX_ASSETS = 15  # the vendor accepts 9 images, 3 videos and 3 sound clips
# Valid both as a text and as a link. A file's name or a date is never a link.
_SAMPLE = "https://example.com/sample"
_SAMPLES = {"filename": "sample.jpg", "stem": "sample", "date": "2026-11-22"}
_MAX_METADATA_BYTES = 2048
_MAX_KEY = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # allowed in a key, but in no text that is sent


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a job asks for.

    Attributes:
        body: The body for the vendor, with signed links. Never stored.
        request: The same for the record and the sidecar file, without links that give access to anything.
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


def _label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise ValueError("must be 1 to 50 letters, digits, dashes or underscores")
    return text


def _asset_key(text: str) -> str:
    if not text.startswith(ASSETS) or text == ASSETS:
        raise ValueError(f"must be the key of an object under {ASSETS}")
    return text


class Manifest(Strict):
    """Several files for one job: label → key of an object in the same bucket."""

    assets: Annotated[
        dict[Annotated[str, AfterValidator(_label)], Annotated[str, AfterValidator(_asset_key)]],
        Field(min_length=1, max_length=_MAX_ASSETS),
    ]


@dataclass(frozen=True, slots=True)
class _File:
    """A file in the uploads bucket, as it was when it was read."""

    key: str
    version_id: str | None
    size: int
    metadata: dict[str, str]
    kind: Kind | None = None


def check_recipe(text: bytes, name: str) -> None:
    """Check a recipe before there is a file for it, with sample values in place of the file's.

    Args:
        text: The uploaded recipe.
        name: The recipe's name.

    Raises:
        RecipeInvalid: No upload could become a video with it. The issues say which field is wrong and why.
    """
    if len(text) > MAX_DOCUMENT_BYTES:
        raise RecipeInvalid(f"recipe '{name}' has more than {MAX_DOCUMENT_BYTES} bytes")
    recipe = _json(text, RecipeInvalid, f"recipe '{name}'")
    try:
        filled, issues = try_fill(recipe, name, samples(recipe))
        wrong = _wrong_fields(filled.body)
    except RecursionError:
        raise RecipeInvalid(f"recipe '{name}' is nested too deeply") from None
    if issues or wrong:
        # A field that lacks its value may be invalid only because of that.
        named = {issue["path"] for issue in issues}
        rest = tuple(issue for issue in (wrong.issues if wrong else ()) if issue["path"] not in named)
        message = f"{issues[0]['path']}: {issues[0]['message']}." if issues else wrong.message if wrong else ""
        raise RecipeInvalid(f"recipe '{name}': {message}", issues=issues + rest)


def samples(recipe: object) -> dict[str, str]:
    """Return a sample value for each placeholder that needs a value."""
    needed = [place for place, has_default in placeholders(recipe).items() if not has_default and is_known(place)]
    if any(place.startswith(ASSET_PREFIX) for place in needed):  # an upload with a manifest has no asset_url
        needed = [place for place in needed if place != ASSET_URL]
    return {place: _SAMPLES.get(place, _SAMPLE) for place in needed}


def values_of(key: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the values of an upload's placeholders, but for its tags and for the links to files.

    Args:
        metadata: The object's own metadata, as S3 gives it.
    """
    # Some systems decompose characters in file names.
    name = _CONTROL.sub(" ", unicodedata.normalize("NFC", PurePosixPath(key).name))
    return {
        "filename": name,
        "stem": PurePosixPath(name.removesuffix(MANIFEST_SUFFIX)).stem,
        "date": datetime.now(UTC).date().isoformat(),
        **{f"{METADATA_PREFIX}{label.lower()}": decoded(value) for label, value in metadata.items()},
    }


def _wrong_fields(body: object) -> InvalidPayload | None:
    try:
        parse_request(body)
    except InvalidPayload as invalid:
        return invalid
    return None


def parse_request(document: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check a generate body with an optional `metadata` beside the vendor's fields.

    Returns:
        The body for the vendor, and the metadata.

    Raises:
        InvalidPayload: It is not valid. There is an issue for each wrong field.
    """
    if not isinstance(document, dict):
        return parse_generate(document).to_body(), {}
    rest = {name: value for name, value in document.items() if name != "metadata"}
    metadata = document.get("metadata")
    if metadata is None:  # null means absent, as in every other field
        return parse_generate(rest).to_body(), {}
    if not isinstance(metadata, dict):
        raise _invalid_metadata("must be an object")
    try:
        size = len(json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):  # an infinite number, half of a surrogate pair, or too deep nesting
        raise _invalid_metadata("must contain only JSON") from None
    if any(map(has_controls, metadata)):
        raise _invalid_metadata("must have names without control characters")
    if size > _MAX_METADATA_BYTES:
        raise _invalid_metadata(f"must be at most {_MAX_METADATA_BYTES} bytes of JSON")
    return parse_generate(rest).to_body(), metadata


def request_text(request: object) -> str:
    """Return a request as the text that a job's record keeps.

    Raises:
        RequestTooLarge: It does not fit there.
        RequestUnreadable: It contains half of a surrogate pair.
    """
    text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        raise RequestUnreadable("the request contains an invalid character") from None
    if size > MAX_REQUEST_BYTES:
        raise RequestTooLarge(
            f"the request has {size:,} bytes, more than the {MAX_REQUEST_BYTES:,} that a job's record can keep"
        )
    return text


def _invalid_metadata(message: str) -> InvalidPayload:
    return InvalidPayload("the request is not valid", issues=({"path": "metadata", "message": message},))


class Resolver:
    """Resolve jobs to generate bodies.

    Args:
        bucket: The uploads bucket.
        max_bytes: The largest upload that becomes a job, in bytes.
    """

    def __init__(self, s3: S3Client, bucket: str, *, max_bytes: int) -> None:
        self._s3 = s3
        self.bucket = bucket
        self._max_bytes = max_bytes

    def resolve(self, job: Job) -> Resolution:
        """Return what the job asks for.

        Raises:
            Fault: The request cannot be sent; the class says why. Nothing has been paid for.
        """
        try:
            resolution = self._from_source(job)
            _refuse_garbled(resolution.body)
            _refuse_garbled({"metadata": resolution.metadata})
        except RecursionError:
            raise RequestUnreadable("the request or recipe is nested too deeply") from None
        return resolution

    def newest_version(self, key: str) -> str | None:
        """Return the newest version of an object; None where the bucket keeps none.

        Raises:
            AssetMissing: It is not there, or not yet.
            UploadUnreadable: It may not be read.
        """
        version_id: str | None = self._ask(self._s3.head_object, key, missing=AssetMissing).get("VersionId")
        return version_id

    def _from_source(self, job: Job) -> Resolution:
        match job.source.get("type"):
            case "upload":
                return self._from_upload(job.source)
            case "request":
                return self._from_request_file(job.source)
            case "batch":
                return self._from_plan(job.source)
            case _:
                return self._from_record(job)

    def _from_record(self, job: Job) -> Resolution:
        if job.request is None:
            raise RequestUnreadable("the execution's input has no member 'request', and names no request file")
        if job.links_stripped:  # reopened while it was ending
            raise RequestUnreadable(
                "the secrets in the request's links were removed when the job ended; ask for a new job"
            )
        body, metadata = parse_request(json.loads(job.request))
        return Resolution(body, without_secrets(body), metadata=metadata or job.metadata)

    def _from_request_file(self, source: Mapping[str, Any]) -> Resolution:
        text = self._read(source["key"], source.get("version_id"))
        body, metadata = parse_request(_json(text, RequestUnreadable, "the request file"))
        return Resolution(body, without_secrets(body), metadata=metadata)

    def _from_plan(self, source: Mapping[str, Any]) -> Resolution:
        """Read a batch's row from its plan."""
        if not source["plan"].startswith(PLANS):
            raise RequestUnreadable(f"a row's plan must lie under {PLANS}")
        text = self._read(source["plan"], None, part=(source["offset"], source["length"]))
        body, metadata = parse_request(_json(text, RequestUnreadable, "the plan's row"))
        return Resolution(body, without_secrets(body), metadata=metadata)

    def _from_upload(self, source: Mapping[str, Any]) -> Resolution:
        key, version_id = source["key"], source.get("version_id")
        name = self._recipe_named_by(key)
        upload = self._inspect(key, version_id)
        # The files are checked before the recipe, because a file of no known kind is wrong with any recipe.
        files = self._assets(upload) if key.endswith(MANIFEST_SUFFIX) else {ASSET_URL: self._known(upload)}
        recipe = self._recipe(name)
        values = self._values(upload, recipe)
        filled = fill(recipe, name, values | {place: self._signed(file) for place, file in files.items()})
        for place, kinds in filled.takes.items():
            if place in files and kinds - {files[place].kind}:
                which = "the file's" if place == ASSET_URL else f"{place}'s"
                wanted = " and ".join(sorted(kinds))
                raise UploadUnsupported(f"recipe '{name}' takes {wanted}, but {which} content is {files[place].kind}")
        body, _ = parse_request(filled.body)
        kept = {place: f"s3://{self.bucket}/{file.key}" for place, file in files.items()}
        shown = fill(recipe, name, values | kept).body
        labels = shown.pop("metadata", None) or {}
        return Resolution(body, without_secrets(shown), recipe=name, metadata=labels)

    def _recipe_named_by(self, key: str) -> str:
        """Return the recipe of an upload. A file named like a recipe is an error: its folder was probably forgotten."""
        name, file = recipe_of(key), key.removeprefix(UPLOADS)
        could_be_one = name == DEFAULT_RECIPE != file and file and not {"/", "."} & set(file)
        if could_be_one and self._is_recipe(file):
            raise UploadMisplaced(f"there is a recipe '{file}': a file for it belongs under {UPLOADS}{file}/")
        return name

    def _is_recipe(self, name: str) -> bool:
        try:
            self._ask(self._s3.head_object, f"{RECIPES}{name}.json")
        except UploadUnreadable:
            return False
        return True

    def _values(self, upload: _File, recipe: object) -> dict[str, str]:
        """Return the values of the placeholders that do not stand for a file."""
        values = values_of(upload.key, upload.metadata)
        if any(place.startswith(TAG_PREFIX) for place in placeholders(recipe)):
            values |= {f"{TAG_PREFIX}{name}": value for name, value in self._tags(upload)}
        return values

    def _tags(self, upload: _File) -> Iterator[tuple[str, str]]:
        answer = self._ask(self._s3.get_object_tagging, upload.key, upload.version_id)
        return ((tag["Key"], tag["Value"]) for tag in answer["TagSet"])

    def _assets(self, manifest: _File) -> dict[str, _File]:
        """Return the files that a manifest names, by their placeholders."""
        text = self._read(manifest.key, manifest.version_id)
        document = validated(Manifest, _json(text, RequestUnreadable, "the manifest"))
        files = {}
        for label, key in document.assets.items():
            try:
                files[f"{ASSET_PREFIX}{label}"] = self._known(self._inspect(key, None, missing=AssetMissing))
            except RequestFault as fault:
                raise type(fault)(f"asset '{label}', {one_line(key)[:_MAX_KEY]}: {fault.message}") from None
        return files

    def _inspect(
        self, key: str, version_id: str | None, *, missing: type[UploadUnreadable] = UploadUnreadable
    ) -> _File:
        head = self._ask(self._s3.head_object, key, version_id, missing=missing)
        if head["ContentLength"] == 0:
            raise UploadUnreadable("the uploaded file is empty")
        if head["ContentLength"] > self._max_bytes:
            raise UploadTooLarge(
                f"the uploaded file has {head['ContentLength']} bytes, more than the {self._max_bytes} allowed"
            )
        # Link to the version that was checked, even if the key is overwritten in the meantime.
        return _File(key, version_id or head.get("VersionId"), head["ContentLength"], head["Metadata"])

    def _known(self, file: _File) -> _File:
        """Return the file with the kind of its content."""
        kind = kind_of(lambda *part: self._read(file.key, file.version_id, part=part), file.size)
        if kind is None:
            raise UploadUnsupported(
                "the uploaded file's content is not a picture, video or sound, whatever its name says"
            )
        return replace(file, kind=kind)

    def _recipe(self, name: str) -> object:
        try:
            text = self._read(f"{RECIPES}{name}.json", None)
        except UploadUnreadable:
            raise RecipeMissing(f"there is no readable recipes/{name}.json in the uploads bucket") from None
        return _json(text, RecipeInvalid, f"recipe '{name}'")

    def _read(self, key: str, version_id: str | None, *, part: tuple[int, int] | None = None) -> bytes:
        """Read a small document, or a part of a large file given as offset and length in bytes."""
        span: Any = {"Range": f"bytes={part[0]}-{part[0] + part[1] - 1}"} if part else {}
        answer = self._ask(self._s3.get_object, key, version_id, **span)
        if answer["ContentLength"] > MAX_DOCUMENT_BYTES:
            raise UploadTooLarge(f"a request or recipe may have at most {MAX_DOCUMENT_BYTES} bytes")
        return bytes(answer["Body"].read())

    def _ask(
        self,
        call: Callable[..., Any],
        key: str,
        version_id: str | None = None,
        *,
        missing: type[UploadUnreadable] = UploadUnreadable,
        **options: Any,
    ) -> Any:
        """Ask S3 about an object.

        Raises:
            UploadUnreadable: It is missing (then `missing`) or forbidden. Any other error is AWS's and is retried.
        """
        try:
            return call(Bucket=self.bucket, Key=key, **_version(version_id), **options)
        except ClientError as error:
            if is_missing(error):
                raise missing("the object is not in the uploads bucket") from None
            if is_unreadable(error) or is_archived(error):
                raise UploadUnreadable(
                    "this stack may not read the object (its owner, key or storage class forbids it)"
                ) from None
            raise

    def _signed(self, file: _File) -> str:
        return self._s3.generate_presigned_url(
            "get_object",
            Params={"Bucket": self.bucket, "Key": file.key, **_version(file.version_id)},
            ExpiresIn=_ASSET_URL_SECONDS,
        )


def _version(version_id: str | None) -> dict[str, Any]:
    return {"VersionId": version_id} if version_id else {}


def _refuse_garbled(document: dict[str, Any]) -> None:
    """Refuse a damaged text, wherever it came from: a file's name, its metadata or a request."""
    if found := strict_json.first_text(is_garbled, document):
        path, wrong = one_line(".".join(found[:-1]))[:_MAX_KEY], "contains U+FFFD or an unreadable encoded word"
        raise InvalidPayload(
            f"{path} {wrong}: the text was damaged before it arrived. Write it again, also a file's name or metadata.",
            issues=({"path": path, "message": wrong},),
        )


def _json(data: bytes, fault: type[RequestFault], what: str) -> object:
    try:
        text = strict_json.text_of(data)
    except UnicodeError:
        raise fault(f"{what} is not valid UTF-8; save it as UTF-8") from None
    if strict_json.has_lost_character(text):
        raise fault(
            f"{what} contains U+FFFD, which marks a character that was lost before the upload; write the text again"
        )
    try:
        return strict_json.loads(text)
    except strict_json.RepeatedKey as repeated:
        raise fault(f"{what} has the key '{one_line(repeated.key)[:_MAX_KEY]}' twice in one object") from None
    except json.JSONDecodeError as wrong:  # its text has none of the file's
        raise fault(
            f"{what} is not valid JSON: line {wrong.lineno}, column {wrong.colno}: {wrong.msg.lower()}"
        ) from None
    except (ValueError, RecursionError):
        raise fault(f"{what} is not valid JSON") from None
