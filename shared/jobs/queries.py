"""Read jobs: one by its id, many at once, those of a status, and those with something due.

Knows the table and its indexes. Must not write.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.jobs.items import from_item, key_of, to_item
from shared.jobs.record import Job
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

# The attributes that lists of jobs need.
_OVERVIEW = (
    *("job_id", "status", "created_at", "source", "model_id", "video_id", "claim", "credits_used", "output"),
    "other_videos",
)
# What a list needs beside that, and no index has.
_DETAILS = (
    *("error", "recipe", "timeline", "submitted_at", "expected_seconds", "held_since", "next_try_at", "held_until"),
    *("redrive_at", "redrive_until", "redrives", "retrying"),
)
_MOST_A_CALL = 100  # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
OWNER_OF = "#video "  # no job can have such a name


class Owner(NamedTuple):
    """Which job a video belongs to, from the video's own item in the table.

    Attributes:
        video_id: The video.
        job_id: The job that it was last given to. None: there is no such item. Most jobs' own videos have none.
        times: How often that was written. It tells whether the item is still as it was read.
    """

    video_id: str
    job_id: str | None
    times: int


class JobQueries:
    """The jobs table, to be read."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, job_id: str) -> Job | None:
        """Return the job as it is now (a strongly consistent read), or None."""
        item = self._client.get_item(TableName=self._table, Key=key_of(job_id), ConsistentRead=True).get("Item")
        return Job.from_attributes(from_item(item)) if item else None

    def batch_get(self, job_ids: Iterable[str], *more: str) -> dict[str, Job]:
        """Return those of many jobs that exist, by id, as they are now; without their requests.

        Args:
            more: Further attributes that are wanted.
        """
        names = {f"#{name}": name for name in (*_OVERVIEW, *_DETAILS, *more)}
        found: dict[str, Job] = {}
        todo = [key_of(job_id) for job_id in job_ids]
        while todo:
            some, todo = todo[:_MOST_A_CALL], todo[_MOST_A_CALL:]
            answer = self._client.batch_get_item(
                RequestItems={
                    self._table: {
                        "Keys": some,
                        "ConsistentRead": True,
                        "ProjectionExpression": ", ".join(names),
                        "ExpressionAttributeNames": names,
                    }
                }
            )
            for item in answer["Responses"].get(self._table, []):
                job = Job.from_attributes(from_item(item))
                found[job.job_id] = job
            # DynamoDB returns the keys that it had no room or no capacity for.
            left = answer["UnprocessedKeys"].get(self._table, {"Keys": []})["Keys"]
            if len(left) == len(some):
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - it only spreads out
            todo += left
        return found

    def in_full(self, jobs: Sequence[Job]) -> list[Job]:
        """Return jobs of an index with what only their records have, such as their credits and labels."""
        known = self.batch_get((job.job_id for job in jobs), "metadata", "changed_at", "execution")
        return [known.get(job.job_id, job) for job in jobs]

    def in_status(self, status: Status) -> Iterator[Job]:
        """The jobs of a status, those longest unchanged first, without their requests and errors.

        Read from an index that follows the table within moments; `get` tells what is true now.
        """
        yield from map(Job.from_attributes, self._items(self._query("by_status", status)))

    def with_video(self, video_id: str) -> Iterator[str]:
        """The ids of the jobs that have this video.

        Reads the whole index `by_status`, which follows the table within moments: about 40 MB for 100,000 jobs. In the
        order of a job's life, so that one which moves on meanwhile is met twice rather than missed.
        """
        yield from self._ids_in("by_status", "video_id = :video", {":video": video_id})

    def count(self, status: Status) -> tuple[int, int | None]:
        """How many jobs a status has, and since when the one longest unchanged is there (epoch seconds).

        Read from an index that follows the table within moments.
        """
        query = self._query("by_status", status)
        oldest = self._client.query(**query, Limit=1)["Items"]
        if not oldest:
            return 0, None
        pages = self._client.get_paginator("query").paginate(**query, Select="COUNT")
        return sum(page["Count"] for page in pages), int(oldest[0]["changed_at"]["N"])

    def count_some(self, status: Status, most: int) -> tuple[int, bool]:
        """How many jobs a status has, counted up to a bound, and whether there are more."""
        answer = self._client.query(**self._query("by_status", status), Select="COUNT", Limit=most)
        return answer["Count"], "LastEvaluatedKey" in answer

    def pending_notifications(self, *, unchanged_since: int) -> Iterator[str]:
        """The ids of jobs whose notification was due before this moment (epoch seconds) and is not crossed off.

        Read from an index that holds no other jobs and follows the table within moments.
        """
        yield from self._ids_in("by_notice", "changed_at < :before", {":before": unchanged_since})

    def due_for_redrive(self, *, now: int) -> Iterator[Job]:
        """The interrupted jobs that are due to be redriven, the longest due first: `job_id` and `execution` only.

        Read from an index that holds no others and follows the table within moments; `get` tells what is true now.
        """
        query = self._query("by_redrive", Status.INTERRUPTED, {":now": now})
        query["KeyConditionExpression"] += " AND redrive_at <= :now"
        for attributes in self._items(query):
            yield Job.from_attributes({"created_at": "", "source": {}, **attributes})

    def page(
        self, status: Status, *, limit: int, after: tuple[int, str] | None = None
    ) -> tuple[list[Job], tuple[int, str] | None]:
        """Some of the jobs of a status, those changed last first, without their requests and errors.

        Args:
            limit: How many at most.
            after: Where the page before ended.

        Returns:
            The jobs, and where the page ended if there are more.
        """
        options: dict[str, Any] = {}
        if after is not None:
            changed_at, job_id = after
            options["ExclusiveStartKey"] = to_item({"status": status.value, "changed_at": changed_at, "job_id": job_id})
        answer = self._client.query(**self._query("by_status", status), ScanIndexForward=False, Limit=limit, **options)
        last = from_item(answer.get("LastEvaluatedKey", {}))
        jobs = [Job.from_attributes(from_item(item)) for item in answer["Items"]]
        return jobs, (last["changed_at"], last["job_id"]) if last else None

    def changed_since(self, status: Status, moment: int) -> list[Job]:
        """The jobs that entered a status at this moment (epoch seconds) or later, those longest there first.

        Read from an index that follows the table within moments. Where nothing changed, it costs the least that a query
        can.
        """
        query = self._query("by_status", status, {":since": moment})
        query["KeyConditionExpression"] += " AND changed_at >= :since"
        return [Job.from_attributes(attributes) for attributes in self._items(query)]

    def owner_of(self, video_id: str) -> str | None:
        """The job that a video was last given to, or that it is a further one of. The index has other jobs' videos."""
        return self.read_owner(video_id).job_id

    def read_owner(self, video_id: str) -> Owner:
        """Whose a video is, as it is now, for `take_up`."""
        answer = self._client.get_item(TableName=self._table, Key=key_of(f"{OWNER_OF}{video_id}"), ConsistentRead=True)
        item = from_item(answer.get("Item", {}))
        return Owner(video_id, item.get("belongs_to"), item.get("times", 0))

    def _query(self, index: str, status: Status, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The query for the jobs of a status, with further values for its conditions."""
        return {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": "#status = :status",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": to_item({":status": status.value, **(values or {})}),
        }

    def _items(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for page in self._client.get_paginator("query").paginate(**query):
            yield from map(from_item, page["Items"])

    def _ids_in(self, index: str, condition: str, values: Mapping[str, Any]) -> Iterator[str]:
        """The ids of the jobs in an index that fulfil a condition, status by status in the order of a job's life."""
        for status in Status:
            query = self._query(index, status, values)
            for item in self._items({**query, "FilterExpression": condition, "ProjectionExpression": "job_id"}):
                yield item["job_id"]
