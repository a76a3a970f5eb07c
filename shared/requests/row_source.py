"""Read a batch row's source from its execution's input. A module of its own, because Submit needs only this."""

from __future__ import annotations

from typing import Any

BATCH = "batch"
"""The type of a row's source."""
_SOURCE = {"type": str, "bucket": str, "key": str, "line": int, "plan": str, "offset": int, "length": int}
OTHER_IDS = "other_ids"
"""The ids under which an earlier upload may run the same row. Only rows with another id under that rule have it."""


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
