"""The kill switch: whether new jobs may start. It is one item of the jobs table, under a name that no job can have.

While intake is stopped, the API refuses requests, and uploads are recorded as queued jobs without an execution. The
sweep starts them afterwards. Disabling the EventBridge rule instead would lose the uploads of that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.jobs.errors import IntakeStopped

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
        return "Item" in self._client.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)

    def require_open(self) -> None:
        """Raise `IntakeStopped` while no new job may start."""
        if self.is_stopped:
            raise IntakeStopped("no new jobs are taken at the moment")

    def stop(self) -> None:
        """Let no new job start."""
        self._client.put_item(TableName=self._table, Item={**_KEY})

    def start(self) -> None:
        """Let jobs start again."""
        self._client.delete_item(TableName=self._table, Key=_KEY)
