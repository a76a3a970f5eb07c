"""Tell from an error of S3 why an object cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "KeyTooLongError", "404"})
# `MethodNotAllowed` answers for a version that is a delete marker.
_FORBIDDEN = frozenset({"AccessDenied", "403", "MethodNotAllowed", "405"})


def is_missing(error: ClientError) -> bool:
    """Whether the object is not there. Without the right to list its bucket, S3 says that it is forbidden instead."""
    return _code(error) in _MISSING


def is_unreadable(error: ClientError) -> bool:
    """Whether the object is missing or forbidden. A retry does not help; any other error may pass."""
    return _code(error) in _MISSING | _FORBIDDEN


def is_archived(error: ClientError) -> bool:
    """Whether the object is in a storage class from which it must be restored first."""
    return _code(error) == "InvalidObjectState"


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
