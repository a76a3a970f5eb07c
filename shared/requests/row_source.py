"""Read a job's source from its execution's input. A module of its own, because Submit needs only this."""

from __future__ import annotations

from typing import Any

from shared.jobs.errors import RequestUnreadable
from shared.printable import in_line
from shared.requests.recipes import ASSETS

BATCH = "batch"
"""The type of a row's source."""
REQUEST = "request"
"""The type of a request file's source."""
_SOURCE = {"type": str, "bucket": str, "key": str, "line": int, "plan": str, "offset": int, "length": int}
OTHER_IDS = "other_ids"
"""The ids under which an earlier upload may run the same row. Only rows with another id under that rule have it."""


def request_file_in(given: object, bucket: str) -> dict[str, str] | None:
    """Return the source of a request file that somebody names in an execution's input, or None where nobody does.

    Args:
        given: The execution's input: `{"source": {"type": "request", "key": "assets/…"}}`. `version_id` is optional.
        bucket: The uploads bucket.

    Raises:
        RequestUnreadable: Something of it would be ignored, or the file might start a job of its own.
    """
    if not isinstance(given, dict) or not isinstance(source := given.get("source"), dict):
        return None
    # With an id it is a job that an upload, or this project, began: its record says where the request is.
    if source.get("type") != REQUEST or given.get("job_id") is not None:
        return None
    if "request" in given:
        raise RequestUnreadable("an execution's input may have a request or name a request file, not both")
    if unknown := source.keys() - {"type", "bucket", "key", "version_id"}:
        raise RequestUnreadable(
            f"the source in the execution's input has an unknown member: {in_line(str(min(unknown)))}"
        )
    if source.get("bucket", bucket) != bucket:
        raise RequestUnreadable(
            "the request file that the execution's input names must lie in this stack's uploads bucket"
        )
    key, version_id = source.get("key"), source.get("version_id")
    if not isinstance(key, str) or not key.startswith(ASSETS) or key == ASSETS or not _is_text(key):
        raise RequestUnreadable(f"the key of a request file that an execution's input names must lie under {ASSETS}")
    if version_id is None:
        return {"type": REQUEST, "bucket": bucket, "key": key}
    if not isinstance(version_id, str) or not _is_text(version_id):
        raise RequestUnreadable("the version_id of a request file must be a text")
    return {"type": REQUEST, "bucket": bucket, "key": key, "version_id": version_id}


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return bool(text)


def source_in(given: object) -> dict[str, Any] | None:
    """Return the source of a batch's row in an execution's input, or None where the execution is not a row's."""
    source = given.get("source") if isinstance(given, dict) else None
    if not isinstance(source, dict) or source.get("type") != BATCH:
        return None
    if any(type(source.get(name)) is not kind for name, kind in _SOURCE.items()):
        return None
    others = source.get(OTHER_IDS, [])
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        return None
    return {name: source[name] for name in (*_SOURCE, OTHER_IDS) if name in source}
