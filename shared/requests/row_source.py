"""Read a job's source from its execution's input. A module of its own, because Submit needs only this."""

from __future__ import annotations

from typing import Any

from shared.jobs.errors import RequestUnreadable
from shared.requests.recipes import ASSETS

BATCH = "batch"
"""The type of a row's source."""
REQUEST = "request"
"""The type of a request file's source."""
_SOURCE = {"type": str, "bucket": str, "key": str, "line": int, "plan": str, "offset": int, "length": int}
OTHER_IDS = "other_ids"
"""The ids under which an earlier upload may run the same row. Only rows with another id under that rule have it."""


def source_in(given: object, bucket: str = "") -> dict[str, Any] | None:
    """Return the source that an execution's input names: a batch's row, or a request file by its key.

    Args:
        given: The execution's input.
        bucket: The uploads bucket, which holds the request file.

    Returns:
        None where the input names neither.

    Raises:
        RequestUnreadable: The request file is not under `assets/`. Elsewhere it might start a job of its own.
    """
    if not isinstance(given, dict) or not isinstance(source := given.get("source"), dict):
        return None
    # With an id it is a job that an upload, or this project, began: its record says where the request is.
    if source.get("type") == REQUEST and "job_id" not in given:
        key = source.get("key")
        if not isinstance(key, str) or not key.startswith(ASSETS) or key == ASSETS:
            raise RequestUnreadable(f"a request file that an execution's input names must lie under {ASSETS}")
        return {"type": REQUEST, "bucket": bucket, "key": key}
    if source.get("type") != BATCH:
        return None
    if any(type(source.get(name)) is not kind for name, kind in _SOURCE.items()):
        return None
    others = source.get(OTHER_IDS, [])
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        return None
    return {name: source[name] for name in (*_SOURCE, OTHER_IDS) if name in source}
