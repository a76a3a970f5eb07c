"""How long generations took: the last few of each kind, kept in the jobs table.

One item a kind with a fixed number of slots; a job writes to the slot that its id falls on. So nothing is read to be
written, a repeated write changes nothing, writers cannot lose each other's news, and what a model used to take is
overwritten by what it takes now. Knows the item; must not know what the durations are good for
(`shared.polling.policy`).
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
    """What the table knows of durations.

    Args:
        client: A boto3 DynamoDB client.
        table: The jobs table's name.
        retention_days: How long a kind is remembered that nobody asks for any more, in days.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, retention_days: int = 90) -> None:
        self._client = client
        self._table = table
        self._retention = retention_days * 86_400

    def of(self, kind: str) -> list[float]:
        """How long the last generations of a kind took, in seconds, in no order. One read, not a consistent one."""
        item = self._client.get_item(TableName=self._table, Key={"job_id": {"S": kind}}).get("Item", {})
        return [float(value["N"]) for name, value in item.items() if name.startswith("d") and "N" in value]

    def learn(self, kind: str, job_id: str, seconds: float) -> None:
        """Remember how long a job's generation took, in the place of an older one."""
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
    """The generations that take about equally long: a model's, and of those the ones that ask for the same length.

    Args:
        model_id: The model.
        request: The generate body.

    Returns:
        The key of their item. No job can have this name.
    """
    params = request.get("params")
    length = params.get("duration_seconds") if isinstance(params, dict) else None
    return f"#model {model_id}" + (f" {length:g}s" if isinstance(length, int | float) else "")
