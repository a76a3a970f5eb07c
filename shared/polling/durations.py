"""Keep how long the last few generations of each kind took, in the jobs table.

Each kind is one item with a fixed number of slots; the hash of a job's id selects its slot. So a write needs no read, a
repeated write changes nothing, concurrent writes of different slots keep each other's values, and new durations replace
old ones.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

SLOTS = 32


class Durations:
    """Read and write durations.

    Args:
        retention_days: How long a kind is kept after its last generation, in days.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, retention_days: int = 90) -> None:
        self._client = client
        self._table = table
        self._retention = retention_days * 86_400

    def of(self, kind: str) -> list[float]:
        """Return how long a kind's last generations took, in seconds, unordered. The read is eventually consistent."""
        item = self._client.get_item(TableName=self._table, Key={"job_id": {"S": kind}}).get("Item", {})
        return [float(value["N"]) for name, value in item.items() if name.startswith("d") and "N" in value]

    def learn(self, kind: str, job_id: str, seconds: float) -> None:
        """Store how long a job's generation took, in place of an older one."""
        slot = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big") % SLOTS
        self._client.update_item(
            TableName=self._table,
            Key={"job_id": {"S": kind}},
            UpdateExpression="SET #slot = :seconds, expires_at = :expires",
            ExpressionAttributeNames={"#slot": f"d{slot:02}"},
            ExpressionAttributeValues={
                ":seconds": {"N": f"{seconds:.1f}"},
                ":expires": {"N": str(int(time.time()) + self._retention)},
            },
        )


def kind_of(model_id: str | None, request: Mapping[str, object]) -> str:
    """Return the kind of a generation. Generations of one kind have the same model and length, so similar durations.

    Args:
        model_id: The model.
        request: The generate body.

    Returns:
        The key of the kind's item. No job can have this id.
    """
    params = request.get("params")
    length = params.get("duration_seconds") if isinstance(params, dict) else None
    return f"#model {model_id}" + (f" {length:g}s" if isinstance(length, int | float) else "")
