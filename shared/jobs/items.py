"""A job's item in DynamoDB: its form, the names in it, and the conditions of more than one write.

Must not know who reads or writes it (`shared.jobs.queries`, `shared.jobs.transitions`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.jobs.attributes import plain, typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.record import Job

# Kept as JSON text: DynamoDB's numbers end at 38 digits and its documents at 32 levels, a caller's own labels need not.
_LABELS = "metadata"


def key_of(job_id: str) -> dict[str, Any]:
    return {"job_id": {"S": job_id}}


def to_item(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: typed(json.dumps(value) if name.endswith(_LABELS) else value) for name, value in attributes.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {name: plain(value) for name, value in item.items()}
    if _LABELS in attributes:
        attributes[_LABELS] = json.loads(attributes[_LABELS])
    return attributes


def as_seen(job: Job) -> tuple[str, dict[str, Any]]:
    """Return the condition that the job's status, execution and videos have not changed since it was read.

    That includes what is known of its further videos, because a write replaces all of them.
    """
    condition, values = "#status = :seen_status", {":seen_status": job.status.value}
    for name in ("execution", "video_id", "possible_video_id"):
        value = getattr(job, name)
        if value is None:
            condition += f" AND attribute_not_exists({name})"
        else:
            condition += f" AND {name} = :seen_{name}"
            values[f":seen_{name}"] = value
    others = "other_videos = :seen_others"
    if not job.other_videos:
        others = f"(attribute_not_exists(other_videos) OR {others})"
    return f"{condition} AND {others}", {**values, ":seen_others": job.other_videos}


def counted_as_read(**numbers: int) -> tuple[str, dict[str, int]]:
    """Return the condition that these counts of a job have not changed since they were read. A missing one is 0."""
    conditions = (
        f"{name} = :seen_{name}" if number else f"attribute_not_exists({name})" for name, number in numbers.items()
    )
    return " AND ".join(conditions), {f":seen_{name}": number for name, number in numbers.items() if number}
