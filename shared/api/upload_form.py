"""Issue presigned POST forms to callers without AWS credentials.

The form's key contains the id of the future job. So the caller can ask for the job before the file has arrived, and a
form that is sent twice is one job.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import ClientError
from pydantic import AfterValidator, Field, ValidationInfo

from shared.api.json_body import json_object
from shared.genviral.models import Strict, validated
from shared.jobs import identity
from shared.jobs.errors import RecipeMissing
from shared.requests.recipes import DEFAULT_RECIPE, RECIPES, UPLOADS
from shared.requests.s3_errors import is_unreadable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from shared.jobs.intake_switch import IntakeSwitch

FORM_SECONDS = 900
_MAX_STEM, _MAX_SUFFIX = 80, 16
# General categories: letters, marks, numbers, and "other symbols", which emoji are.
_KEPT = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "So"})
# Some scripts and emoji need them between two characters, to join or to separate these.
_JOINERS = "\u200c\u200d"
_STRAY_JOINERS = re.compile(rf"(?<![^\x00-\x7f])[{_JOINERS}]+|[{_JOINERS}]+(?![^\x00-\x7f])")
_SKIN_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))

CONTENT_TYPES: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("image/jpg", "image/pjpeg", "image/jfif", "image/x-citrix-jpeg"),
    "image/png": ("image/x-png", "image/apng", "image/x-citrix-png"),
    "image/webp": (),
    "image/gif": (),
    "image/heic": ("image/heic-sequence",),
    "image/heif": ("image/heif-sequence",),
    "image/avif": ("image/avif-sequence",),
    "video/mp4": ("video/x-m4v", "video/m4v"),
    "video/quicktime": ("video/mov", "video/x-quicktime"),
    "video/webm": (),
    "video/3gpp": ("video/3gp", "video/3gpp2"),
    "audio/mpeg": ("audio/mp3", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3", "audio/x-mpeg-3", "audio/mpg"),
    "audio/mp4": ("audio/x-m4a", "audio/m4a", "audio/x-m4b", "audio/m4b", "audio/x-mp4", "audio/mp4a-latm"),
    "audio/aac": ("audio/x-aac", "audio/aacp", "audio/x-hx-aac-adts", "audio/vnd.dlna.adts"),
    "audio/wav": ("audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"),
    "audio/ogg": ("audio/x-ogg", "audio/opus", "audio/vorbis", "application/ogg"),
    "audio/flac": ("audio/x-flac",),
    "audio/webm": (),
    "audio/3gpp": ("audio/3gpp2",),
}
"""Content type of a form → other names that browsers, phones and programs use for it."""
_CANONICAL = {name: kind for kind, others in CONTENT_TYPES.items() for name in (kind, *others)}
# Sent where the caller's system does not know the type.
_UNKNOWN = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-unknown"})
_OF_SUFFIX = {
    suffix: kind
    for kind, suffixes in {
        "image/jpeg": "jpg jpeg jpe jfif pjpeg pjp",
        "image/png": "png apng",
        "image/webp": "webp",
        "image/gif": "gif",
        "image/heic": "heic heics",
        "image/heif": "heif heifs hif",
        "image/avif": "avif avifs",
        "video/mp4": "mp4 m4v",
        "video/quicktime": "mov qt",
        "video/webm": "webm",
        "video/3gpp": "3gp 3g2",
        "audio/mpeg": "mp3",
        "audio/mp4": "m4a m4b",
        "audio/aac": "aac",
        "audio/wav": "wav wave",
        "audio/ogg": "ogg oga opus",
        "audio/flac": "flac",
    }.items()
    for suffix in suffixes.split()
}


def _content_type(declared: str, info: ValidationInfo) -> str:
    """Return the form's content type: the usual name of the declared type, or the type of the file's suffix."""
    name = declared.partition(";")[0].strip().lower()
    _, dot, suffix = str(info.data.get("filename", "")).lower().rpartition(".")
    found = _OF_SUFFIX.get(dot and suffix) if name in _UNKNOWN else _CANONICAL.get(name)
    if found is None:
        raise ValueError(f"must be one of {', '.join(CONTENT_TYPES)}")
    return found


class UploadRequest(Strict):
    """The file that will be uploaded, and the recipe to use it with."""

    filename: Annotated[str, Field(min_length=1, max_length=255)]
    content_type: Annotated[
        str,
        Field(
            max_length=255,
            description="Case and parameters are ignored. For application/octet-stream or nothing, the suffix decides.",
            json_schema_extra={"enum": sorted(_CANONICAL)},
        ),
        AfterValidator(_content_type),
    ]
    recipe: Annotated[str, Field(pattern=r"^\w[\w .-]*$", max_length=100)] = DEFAULT_RECIPE


def presign_upload(body: bytes, *, switch: IntakeSwitch, s3: S3Client, bucket: str, max_bytes: int) -> dict[str, Any]:
    """Issue a form for one file, valid for `FORM_SECONDS`.

    Args:
        body: An `UploadRequest` as JSON.
        bucket: The uploads bucket.
        max_bytes: The largest file that the form accepts, in bytes.

    Returns:
        `url` and `fields` of the form, the object's `key`, the future job's `job_id`, `max_bytes` and
        `expires_in_seconds`.

    Raises:
        Fault: The request is not accepted: one of the classes in `shared.api.errors`.
    """
    switch.require_open()
    wanted = validated(UploadRequest, json_object(body))
    _require_recipe(wanted.recipe, s3, bucket)
    name = safe_name(wanted.filename)
    job_id = identity.for_upload_form(wanted.recipe, name)
    key = f"{UPLOADS}{wanted.recipe}/{job_id}/{name}"
    form = s3.generate_presigned_post(
        bucket,
        key,
        Fields={"Content-Type": wanted.content_type},
        Conditions=[{"Content-Type": wanted.content_type}, ["content-length-range", 1, max_bytes]],
        ExpiresIn=FORM_SECONDS,
    )
    return {"job_id": job_id, "key": key, **form, "max_bytes": max_bytes, "expires_in_seconds": FORM_SECONDS}


def _require_recipe(recipe: str, s3: S3Client, bucket: str) -> None:
    try:
        s3.head_object(Bucket=bucket, Key=f"{RECIPES}{recipe}.json")
    except ClientError as error:
        if is_unreadable(error):
            raise RecipeMissing(f"there is no readable recipes/{recipe}.json in the uploads bucket") from None
        raise


def safe_name(filename: str) -> str:
    """Make a file's name safe for a key: letters, marks and digits of any script, emoji, dots, dashes, underscores.

    The result has at most 97 characters. Everything up to the last slash or backslash is a path on the caller's machine
    and is dropped.
    """
    given = unicodedata.normalize("NFC", re.split(r"[/\\]", filename)[-1])
    stem, dot, suffix = _safe(given).rpartition(".")
    if not dot:
        nothing_safe_before_a_suffix = suffix and given.rpartition(".")[0] and not _safe(given.rpartition(".")[0])
        stem, dot, suffix = ("", ".", suffix) if nothing_safe_before_a_suffix else (suffix, "", "")
    return f"{_cut(stem, _MAX_STEM) or 'file'}{dot}{_cut(suffix, _MAX_SUFFIX)}".rstrip(".-")


def _safe(text: str) -> str:
    kept = "".join(character if _is_kept(character) else "\0" for character in text)
    tidied = _STRAY_JOINERS.sub("", re.sub("\0+", "-", kept))
    return unicodedata.normalize("NFC", tidied).strip(".-")


def _is_kept(character: str) -> bool:
    return character in "._-" + _JOINERS + _SKIN_TONES or unicodedata.category(character) in _KEPT


def _cut(text: str, length: int) -> str:
    """Cut a text to a length, without splitting a character that consists of several code points."""
    while text[length:] and (_continues(text[length]) or text[length - 1] in _JOINERS):
        length -= 1
    return text[:length]


def _continues(character: str) -> bool:
    return character in _JOINERS + _SKIN_TONES or unicodedata.category(character).startswith("M")
