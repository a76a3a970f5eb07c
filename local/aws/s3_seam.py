"""A seam to MiniStack: what its S3 does unlike AWS, as far as this project's rights and events meet it.

Knows MiniStack's buckets, its checks of rights and its events; no bucket of this project.
"""

from __future__ import annotations

import contextvars
import json
from typing import Any

from ministack.core import iam_actions
from ministack.services import eventbridge, s3

_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version", default=None)

_fire = s3._fire_s3_event
_dispatch = eventbridge._dispatch_event
_checks = iam_actions.s3_additional_checks


def install() -> None:
    """Put the version into events of a versioned bucket, and ask for the right to tag where a new object has tags."""
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
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""
    version = _version.get()
    if version is not None and event.get("Source") == "aws.s3":
        detail = json.loads(event["Detail"])
        detail["object"]["version-id"] = version
        event = {**event, "Detail": json.dumps(detail)}
    return _dispatch(event, *rest, **more)


def _checks_with_tags(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> list[tuple[str, str]]:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, the same for CreateMultipartUpload."""
    checks: list[tuple[str, str]] = _checks(method, path, headers, body, query)
    if headers.get("x-amz-tagging"):
        checks.append(("s3:PutObjectTagging", f"arn:aws:s3:::{path.strip('/')}"))
    return checks
