"""The kill switch: whether new jobs may start. One item of the jobs table, under a name that no job can have.

While intake is stopped the API refuses, and uploads are written down as queued jobs without an execution; the sweeper
starts them afterwards. (Disabling the EventBridge rule instead would lose the uploads of that time.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY = {"job_id": {"S": "#intake"}}


class IntakeSwitch:
    """Whether new jobs may start."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @property
    def is_stopped(self) -> bool:
        """Whether an operator has stopped the intake."""
        answer = self._client.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
        return "Item" in answer

    def stop(self) -> None:
        """Let no new job start."""
        self._client.put_item(TableName=self._table, Item={**_KEY})

    def start(self) -> None:
        """Let jobs start again."""
        self._client.delete_item(TableName=self._table, Key=_KEY)
