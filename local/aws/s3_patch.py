"""Patch MiniStack's S3 where this project's rights, events and metadata need AWS's behaviour."""

from __future__ import annotations

import base64
import contextvars
import json
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import Any

from ministack.core import iam_actions
from ministack.services import eventbridge, s3

_META = "x-amz-meta-"
# Printable ASCII that stays as it is in an encoded word of the encoding Q.
_UNQUOTED = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("=?_")

_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)
_headers: contextvars.ContextVar[dict[str, bytes] | None] = contextvars.ContextVar("headers", default=None)

_fire = s3._fire_s3_event
_dispatch = eventbridge._dispatch_event
_checks = iam_actions.s3_additional_checks
_extract = s3._extract_user_metadata
_respond = s3._object_response_headers


def install() -> None:
    """Make events, rights and metadata behave as on AWS.

    Events of a versioned bucket contain the version. Tags of a new object need the right to tag. Metadata beyond ASCII
    is read and returned as S3 does.
    """
    s3._extract_user_metadata = _extract_as_s3_reads
    s3._object_response_headers = _respond_as_s3_writes
    s3._fire_s3_event = _fire_with_version
    eventbridge._dispatch_event = _dispatch_with_version
    iam_actions.s3_additional_checks = _checks_with_tags


def _fire_with_version(*arguments: Any, version_id: str | None = None, **more: Any) -> None:
    token = _version.set(version_id)
    try:
        _fire(*arguments, version_id=version_id, **more)
    finally:
        _version.reset(token)


def _dispatch_with_version(event: dict[str, Any], *rest: Any, **more: Any) -> Any:
    """Add the version to events: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html."""
    version = _version.get()
    if version is not None and event.get("Source") == "aws.s3":
        detail = json.loads(event["Detail"])
        detail["object"]["version-id"] = version
        event = {**event, "Detail": json.dumps(detail)}
    return _dispatch(event, *rest, **more)


def _checks_with_tags(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> list[tuple[str, str]]:
    """Require the right to tag, for PutObject and CreateMultipartUpload.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
    """
    checks: list[tuple[str, str]] = _checks(method, path, headers, body, query)
    if headers.get("x-amz-tagging"):
        checks.append(("s3:PutObjectTagging", f"arn:aws:s3:::{path.strip('/')}"))
    return checks


def keeping_headers(app: Any) -> Any:
    """Keep each request's raw metadata headers, because MiniStack, unlike S3, decodes them as UTF-8."""

    async def serve_request(scope: dict[str, Any], receive: Any, send: Any) -> None:
        raw = {name.decode("latin-1").lower(): value for name, value in scope.get("headers", ())}
        token = _headers.set({name: value for name, value in raw.items() if name.startswith(_META)})
        try:
            await app(scope, receive, send)
        finally:
            _headers.reset(token)

    return serve_request


def _extract_as_s3_reads(headers: dict[str, str]) -> dict[str, str]:
    """Decode headers as Latin-1 with encoded words. Form fields and query parameters are UTF-8."""
    sent = _headers.get() or {}
    found: dict[str, str] = _extract(headers)
    return {name: _read(sent[name.lower()]) if name.lower() in sent else value for name, value in found.items()}


def _read(value: bytes) -> str:
    text = value.decode("latin-1")
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (MessageError, LookupError, ValueError):
        return text


def _respond_as_s3_writes(*arguments: Any, **more: Any) -> dict[str, str]:
    headers: dict[str, str] = _respond(*arguments, **more)
    return {name: _written(value) if name.startswith(_META) else value for name, value in headers.items()}


def _written(text: str) -> str:
    """Return a text in ASCII: unchanged, or as one encoded word, with the encoding Q if most of it is ASCII.

    Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata, and AWS's responses
    in localstack/localstack (tests/aws/services/s3/test_s3.snapshot.json) and minio/minio (pull request 21282).
    """
    plain = sum(" " <= character <= "~" or character == "\t" for character in text)
    if plain == len(text):
        return text
    if 2 * plain <= len(text):
        return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="
    quoted = (
        chr(byte) if chr(byte) in _UNQUOTED else "_" if byte == 0x20 else f"={byte:02X}" for byte in text.encode()
    )
    return f"=?UTF-8?Q?{''.join(quoted)}?="
