"""Where jobs are kept: one DynamoDB table, changed only by conditional writes.

Every change names the statuses it may start from (`shared.jobs.states`), so two writers cannot both win and a late or
repeated event cannot undo a newer one. The claim lives here: it is what stops a job from being paid for twice. Nothing
is ever read, changed and written back. Knows nothing of the vendor or of files, and of a notification only that it is
due.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from shared.jobs.record import Job
from shared.jobs.states import Status, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

# Kept as JSON text: DynamoDB's numbers end at 38 digits and its documents at 32 levels, a caller's own labels need not.
_LABELS = "metadata"

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class MoveRefused(Exception):
    """A conditional write found the job elsewhere than expected. Control flow between modules; never leaves a handler.

    Args:
        current: The job as it is, or None where there is no such job.
    """

    def __init__(self, current: Job | None) -> None:
        super().__init__("no such job" if current is None else f"the job is {current.status}")
        self.current = current


class JobStore:
    """The jobs table.

    Args:
        client: A boto3 DynamoDB client.
        table: The table's name.
        retention_days: How long a record is kept after its last change of status, in days.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, retention_days: int = 90) -> None:
        self._client = client
        self._table = table
        self._retention = retention_days * 86_400

    def create(self, job_id: str, *, source: Mapping[str, Any], **attributes: Any) -> tuple[Job, bool]:
        """Put a new job in `queued`, or find the one that is there.

        Returns:
            The job, and whether this call made it.
        """
        now = _now()
        item = {
            "job_id": job_id,
            "status": Status.QUEUED.value,
            "created_at": now,
            "source": dict(source),
            "timeline": {Status.QUEUED.value: now},
            **self._stamps(),
            **{name: value for name, value in attributes.items() if value is not None},
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_to_item(item),
                ConditionExpression="attribute_not_exists(job_id)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            existing = self.get(job_id)
            if existing is None:  # expired between the two calls
                return self.create(job_id, source=source, **attributes)
            return existing, False
        return Job.from_attributes(item), True

    def get(self, job_id: str) -> Job | None:
        """The job as it is now (a strongly consistent read), or None."""
        item = self._client.get_item(TableName=self._table, Key=_key(job_id), ConsistentRead=True).get("Item")
        return Job.from_attributes(_from_item(item)) if item else None

    def in_status(self, status: Status, *, unchanged_since: int | None = None) -> Iterator[Job]:
        """The jobs of a status, those longest unchanged first, without their requests and errors.

        Read from an index that follows the table within moments; `get` tells what is true now.

        Args:
            status: The status.
            unchanged_since: Only jobs that entered it before this moment, in epoch seconds.
        """
        condition, values = "#status = :status", {":status": {"S": status.value}}
        if unchanged_since is not None:
            condition += " AND changed_at < :before"
            values[":before"] = {"N": str(unchanged_since)}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_status",
            KeyConditionExpression=condition,
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues=values,
        )
        for page in pages:
            for item in page["Items"]:
                yield Job.from_attributes(_from_item(item))

    def untold(self, *, unchanged_since: int) -> Iterator[str]:
        """The ids of jobs whose notification was due before this moment (epoch seconds) and is not crossed off.

        Read from an index that holds no other jobs and follows the table within moments.
        """
        for status in Status:
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName="by_notice",
                KeyConditionExpression="#status = :status",
                FilterExpression="changed_at < :before",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":status": {"S": status.value}, ":before": {"N": str(unchanged_since)}},
            )
            for page in pages:
                for item in page["Items"]:
                    yield item["job_id"]["S"]

    def page(
        self, status: Status, *, limit: int, after: tuple[int, str] | None = None
    ) -> tuple[list[Job], tuple[int, str] | None]:
        """Some of the jobs of a status, those changed last first, without their requests and errors.

        Args:
            status: The status.
            limit: How many at most.
            after: Where the page before ended.

        Returns:
            The jobs, and where the page ended if there are more.
        """
        options: dict[str, Any] = {}
        if after is not None:
            changed_at, job_id = after
            options["ExclusiveStartKey"] = _to_item(
                {"status": status.value, "changed_at": changed_at, "job_id": job_id}
            )
        answer = self._client.query(
            TableName=self._table,
            IndexName="by_status",
            KeyConditionExpression="#status = :status",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": {"S": status.value}},
            ScanIndexForward=False,
            Limit=limit,
            **options,
        )
        last = _from_item(answer.get("LastEvaluatedKey", {}))
        jobs = [Job.from_attributes(_from_item(item)) for item in answer["Items"]]
        return jobs, (last["changed_at"], last["job_id"]) if last else None

    def claim(self, job_id: str, attempt: str, *, take_over: bool = False, **attributes: Any) -> Job:
        """Take the one right to send the paid POST.

        Args:
            job_id: The job.
            attempt: Names this attempt, so that only it can give the claim back.
            take_over: Whether an attempt of unknown end may lose its claim. Only where the vendor's idempotency is
                trusted.
            **attributes: What was resolved for this attempt (request, model_id, recipe).

        Raises:
            MoveRefused: The job is claimed by an attempt whose end nobody knows, is paid for, or has ended.
        """
        # botocore repeats a write whose answer was lost, so an attempt may find a claim that is its own.
        free = "" if take_over else " AND (attribute_not_exists(claim) OR claim = :claim)"
        return self.move(
            job_id,
            Status.SUBMITTING,
            condition=f"attribute_not_exists(video_id){free}",
            remove=("error",),
            stay=True,
            claim=attempt,
            **attributes,
        )

    def release(self, job_id: str, attempt: str, error: Mapping[str, Any]) -> Job:
        """Give the claim back after a definite refusal: nothing was paid, and the POST may be sent again.

        The refusal stays on the record until the next attempt, so that a job which is being retried says why. A job
        that has ended meanwhile stays where it is, and loses the claim all the same.

        Raises:
            MoveRefused: The claim is not this attempt's any more.
        """
        own: dict[str, Any] = {
            "condition": "claim = :attempt",
            "values": {":attempt": attempt},
            "remove": ("claim",),
        }
        try:
            return self.move(job_id, Status.QUEUED, error=dict(error), **own)
        except MoveRefused:
            return self._update(job_id, {}, **own)

    def paid(self, job_id: str, video_id: str, **attributes: Any) -> Job:
        """Write down the vendor's video: from here on the job is paid for. May be repeated with the same video.

        Raises:
            MoveRefused: Another video is on the record, or the job has ended.
        """
        return self.move(
            job_id,
            Status.PROCESSING,
            condition="(attribute_not_exists(video_id) OR video_id = :video)",
            values={":video": video_id},
            remove=("claim", "held_since", "error"),
            stay=True,
            video_id=video_id,
            **attributes,
        )

    def keep(self, job_id: str, video_id: str, **attributes: Any) -> Job:
        """Write down the video of a job that has ended meanwhile: it is paid for all the same. The status stays.

        Raises:
            MoveRefused: There is no such job, or another video is on its record.
        """
        return self._update(
            job_id,
            {"video_id": video_id, **attributes},
            condition="attribute_exists(job_id) AND (attribute_not_exists(video_id) OR video_id = :video_id)",
            remove=("claim",),
        )

    def move(
        self,
        job_id: str,
        target: Status,
        *,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        reopen: bool = False,
        stay: bool = False,
        **attributes: Any,
    ) -> Job:
        """Change a job's status, and attributes with it, if the table of moves allows it.

        Args:
            job_id: The job.
            target: The status to enter.
            condition: A further DynamoDB condition.
            values: The values that `condition` names.
            remove: Attributes to take away.
            reopen: Whether an operator asks, who alone may leave a terminal status.
            stay: Whether a job that is there already may enter again.
            **attributes: Attributes to set. None leaves one as it is.

        Raises:
            MoveRefused: The job is somewhere from where this move is not allowed.
        """
        sources = sorted(sources_of(target, reopen=reopen) | ({target} if stay else set()))
        allowed = {f":from{index}": status.value for index, status in enumerate(sources)}
        return self._update(
            job_id,
            {**attributes, "status": target.value, **self._stamps()},
            entered=target,
            condition=f"#status IN ({', '.join(allowed)})" + (f" AND {condition}" if condition else ""),
            values={**allowed, **(values or {})},
            remove=remove,
        )

    def note(self, job_id: str, *, remove: Iterable[str] = (), **attributes: Any) -> Job:
        """Set attributes without a change of status.

        Raises:
            MoveRefused: There is no such job.
        """
        return self._update(job_id, attributes, condition="attribute_exists(job_id)", remove=remove)

    def notice_sent(self, job_id: str, notice: str) -> None:
        """Cross off a notification that was due. Nothing happens if another one has become due since."""
        try:
            self._update(
                job_id, {}, condition="notice_due = :notice", values={":notice": notice}, remove=("notice_due",)
            )
        except MoveRefused:
            return

    def _stamps(self) -> dict[str, int]:
        now = int(time.time())
        return {"changed_at": now, "expires_at": now + self._retention}

    def _update(
        self,
        job_id: str,
        attributes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        entered: Status | None = None,
    ) -> Job:
        changes = {name: value for name, value in attributes.items() if value is not None}
        removed = tuple(remove)
        names = {f"#{name}": name for name in (*changes, *removed)}
        bound: dict[str, Any] = {f":{name}": value for name, value in changes.items()} | dict(values or {})
        sets = [f"#{name} = :{name}" for name in changes]
        if entered not in (None, Status.QUEUED):  # a job is queued once: when it was asked for
            names |= {"#timeline": "timeline", "#entered": entered.value}
            bound[":now"] = _now()
            sets.append("#timeline.#entered = :now")
        if "#status" in condition:
            names["#status"] = "status"
        clauses = (("SET", sets), ("REMOVE", [f"#{name}" for name in removed]))
        request: dict[str, Any] = {
            "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if bound:
            request["ExpressionAttributeValues"] = _to_item(bound)
        try:
            answer = self._client.update_item(TableName=self._table, Key=_key(job_id), **request)
        except self._client.exceptions.ConditionalCheckFailedException as error:
            item: dict[str, Any] | None = error.response.get("Item")  # type: ignore[assignment]
            raise MoveRefused(Job.from_attributes(_from_item(item)) if item else None) from None
        return Job.from_attributes(_from_item(answer["Attributes"]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(job_id: str) -> dict[str, Any]:
    return {"job_id": {"S": job_id}}


def _to_item(attributes: Mapping[str, Any]) -> dict[str, Any]:
    # DynamoDB's serializer refuses floats, so that none is rounded unseen; JSON's own text form rounds none.
    exact = json.loads(json.dumps(attributes), parse_float=Decimal)
    return {
        name: _serialize(json.dumps(attributes[name]) if name.endswith(_LABELS) else value)
        for name, value in exact.items()
    }


def _from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {name: _plain(_deserialize(value)) for name, value in item.items()}
    if _LABELS in attributes:
        attributes[_LABELS] = json.loads(attributes[_LABELS])
    return attributes


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value
