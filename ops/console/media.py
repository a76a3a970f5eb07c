"""Send the videos and the uploaded pictures of jobs to a page. Only reads.

A file from outside is sent with a type that its own bytes prove, and only as a picture or a video: never as a page, a
script or an SVG, which could run in the console's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.exits import NotFound
from shared.delivery.media import SNIFF_BYTES, content_type
from shared.requests.s3_errors import is_missing

if TYPE_CHECKING:
    from ops.stack import Stack
    from shared.jobs.record import Job

POLICY = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
"""What a file may do that is opened by itself: be shown. (Browsers make a page with a style around a video.)"""
_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
_VIDEOS = ("video/mp4", "video/quicktime", "video/webm")
_PICTURES = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
)


@dataclass(frozen=True, slots=True)
class Media:
    """A file, or a part of one, to be sent.

    Attributes:
        body: What it can be read from; whoever has it closes it.
        status: 206 for a part, 416 for a part that is not there.
    """

    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


def video(stack: Stack, job_id: str, part: str) -> Media:
    """Open a job's finished video.

    Args:
        part: The header `Range`; empty for all of it.

    Raises:
        NotFound: There is none.
    """
    place = _job(stack, job_id).output or {}
    kind = place.get("content_type", _VIDEOS[0])
    if "key" not in place or kind not in _VIDEOS:
        raise NotFound("There is no video of this job.")
    return _opened(stack, {"Bucket": place["bucket"], "Key": place["key"]}, kind, part, "private, no-cache")


def upload(stack: Stack, job_id: str, part: str) -> Media:
    """Open the picture or the video that a job was made of.

    Raises:
        NotFound: There is none, or it is something else by its content.
    """
    source = _job(stack, job_id).source
    if source.get("type") != "upload":
        raise NotFound("This job was not made of a file.")
    place = {"Bucket": source["bucket"], "Key": source["key"]}
    if source.get("version_id"):
        place["VersionId"] = source["version_id"]
    kind = _type_of(_get(stack, place, Range=f"bytes=0-{SNIFF_BYTES - 1}")["Body"].read())
    if kind is None:
        raise NotFound("The file is no picture or video that a browser shows.")
    return _opened(stack, place, kind, part, "private, max-age=86400, immutable")


def _job(stack: Stack, job_id: str) -> Job:
    job = stack.store.get(job_id)
    if job is None:
        raise NotFound("There is no such job, or its record has expired.")
    return job


def _opened(stack: Stack, place: dict[str, str], kind: str, part: str, cache: str) -> Media:
    options = {"Range": part} if _RANGE.fullmatch(part) else {}
    try:
        answer = _get(stack, place, **options)
    except ClientError as error:
        if error.response["Error"].get("Code") != "InvalidRange":
            raise
        return Media(None, status=416)
    headers = {
        "Content-Type": kind,
        "Content-Length": str(answer["ContentLength"]),
        "Content-Security-Policy": POLICY,
        "Accept-Ranges": "bytes",
        "Cache-Control": cache,
    }
    if "ContentRange" in answer and options:
        return Media(answer["Body"], {**headers, "Content-Range": answer["ContentRange"]}, 206)
    return Media(answer["Body"], headers)


def _get(stack: Stack, place: dict[str, str], **options: str) -> Any:
    try:
        return stack.s3.get_object(**place, **options)
    except ClientError as error:
        if is_missing(error):
            raise NotFound("The file is not in the bucket any more.") from None
        raise


def _type_of(head: bytes) -> str | None:
    """Return the type of a picture or a video that every browser shows, by its first bytes."""
    return next((kind for begin, kind in _PICTURES if begin.match(head)), None) or content_type(head)
