"""The stack's own limit on credits a day: one counter for each UTC day, and what videos have cost so far.

Both are items of the jobs table, under names that no job can have. The counter changes only in one transaction with the
job that it counts (`shared.jobs.store`), so that no crash and no race counts a job twice or leaves it out. Knows the
items; must not know the vendor, nor what becomes of a job that the limit does not cover.
"""

from __future__ import annotations

import hashlib
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400
_DAYS_KEPT = 35
_PRICE_DAYS_KEPT = 90


class Budget:
    """A day's credits.

    Args:
        client: A boto3 DynamoDB client.
        table: The jobs table's name.
        limit: How many credits jobs may use in one UTC day.
    """

    def __init__(self, client: DynamoDBClient, table: str, limit: float) -> None:
        self._client = client
        self._table = table
        self.limit = limit

    def reserve(self, cost: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Count a job that is about to be sent, today.

        Args:
            cost: What it will cost in credits; not more than the limit.

        Returns:
            What the job's record keeps of it (`day`, `credits`), and the half of a transaction that raises the counter.
            Its condition is that the limit covers the job.
        """
        reserved = {"day": time.strftime("%Y-%m-%d", time.gmtime(time.time())), "credits": cost}
        write = self._change(reserved, _exact(cost))
        write["ConditionExpression"] = "attribute_not_exists(spent) OR spent <= :room"
        write["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        write["ExpressionAttributeValues"][":room"] = {"N": str(_exact(self.limit) - _exact(cost))}
        return reserved, write

    def settle(self, reserved: Mapping[str, Any], cost: float) -> dict[str, Any]:
        """The half of a transaction that counts what a job did cost in the place of what was reserved for it."""
        return self._change(reserved, _exact(cost) - _exact(reserved["credits"]))

    def price(self, kind: str) -> float | None:
        """What the last video of a kind cost; None where none was paid yet. One read, not a consistent one."""
        item = self._client.get_item(TableName=self._table, Key=_key(kind)).get("Item", {})
        return float(item["credits"]["N"]) if "credits" in item else None

    def learn(self, kind: str, cost: float) -> None:
        """Remember what a video of a kind cost."""
        self._client.update_item(
            TableName=self._table,
            Key=_key(kind),
            UpdateExpression="SET credits = :credits, expires_at = :expires",
            ExpressionAttributeValues={
                ":credits": {"N": str(_exact(cost))},
                ":expires": {"N": str(int(time.time()) + _PRICE_DAYS_KEPT * _DAY_SECONDS)},
            },
        )

    def _change(self, reserved: Mapping[str, Any], difference: Decimal) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": _key(f"#credits {reserved['day']}"),
            "UpdateExpression": "SET expires_at = :expires ADD spent :credits",
            "ExpressionAttributeValues": {
                ":credits": {"N": str(difference)},
                ":expires": {"N": str(int(time.time()) + _DAYS_KEPT * _DAY_SECONDS)},
            },
        }


def price_kind(model_id: str, request: Mapping[str, object]) -> str:
    """The videos that cost the same, as far as can be told: a model's, with the same parameters.

    Returns:
        The key of the item with their price. No job can have this name.
    """
    params = json.dumps([request.get("params"), request.get("raw_params")], sort_keys=True)
    return f"#price {model_id} {hashlib.sha256(params.encode()).hexdigest()[:16]}"


def _key(name: str) -> dict[str, Any]:
    return {"job_id": {"S": name}}


def _exact(number: float) -> Decimal:
    return Decimal(str(number))
