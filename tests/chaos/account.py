"""Simulate the AWS account of a run with moto, and build the error responses of AWS.

Knows how AWS words its errors and what an applied call means for a record. Must not know what a function is for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import botocore_stubber

from tests.chaos import dynamodb
from tests.support.fakes import REGION, TABLE, TOPIC, UPLOADS, VIDEOS
from tests.support.queues import drained
from tests.support.template import JOBS_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSResponse

_THROTTLED = {
    "dynamodb": (400, "ProvisionedThroughputExceededException"),
    "s3": (503, "SlowDown"),
    "sns": (400, "Throttling"),
    "secrets-manager": (400, "ThrottlingException"),
    "sfn": (400, "ThrottlingException"),
}
_FAILED = {
    "dynamodb": (500, "InternalServerError"),
    "s3": (500, "InternalError"),
    "sns": (500, "InternalFailure"),
    "secrets-manager": (500, "InternalServiceError"),
    "sfn": (500, "InternalFailure"),
}
_moto = BotocoreStubber.__call__


class Account:
    """The stack's resources, and a queue that receives every notification. Create it inside `moto.mock_aws`."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3", region_name=REGION)
        self.dynamodb = boto3.client("dynamodb", region_name=REGION)
        self._sqs = boto3.client("sqs", region_name=REGION)
        secrets, sns = (boto3.client(name, region_name=REGION) for name in ("secretsmanager", "sns"))
        self.dynamodb.create_table(
            TableName=TABLE,
            **{name: JOBS_TABLE[name] for name in ("BillingMode", "AttributeDefinitions", "KeySchema")},
            GlobalSecondaryIndexes=JOBS_TABLE["GlobalSecondaryIndexes"],
        )
        for bucket in (UPLOADS, VIDEOS):
            self.s3.create_bucket(Bucket=bucket)
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.secret: str = secrets.create_secret(Name="key", SecretString="not-set")["ARN"]
        self._put_secret = secrets.put_secret_value
        topic = sns.create_topic(Name=TOPIC.rpartition(":")[2])["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})

    def set_key(self, key: str) -> None:
        self._put_secret(SecretId=self.secret, SecretString=key)

    def notifications(self) -> list[dict[str, Any]]:
        """Return the notifications since the last call, in no particular order."""
        return list(drained(self._sqs, self._queue))

    def records(self) -> dict[str, str]:
        """Return each job's id → its whole record as text."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
        return {item["job_id"]["S"]: json.dumps(item) for page in pages for item in page["Items"]}

    def counted(self, day: str) -> float:
        """Return the credits counted for a day (UTC)."""
        item = self.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": f"#credits {day}"}}).get("Item", {})
        return float(item["spent"]["N"]) if item else 0.0

    def files(self) -> dict[str, bytes]:
        """Return key → content of every object in the videos bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=VIDEOS)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key: self.s3.get_object(Bucket=VIDEOS, Key=key)["Body"].read() for key in keys}

    def unfinished_uploads(self) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_multipart_uploads(Bucket=VIDEOS).get("Uploads", ())]


class ApiError(Exception):
    """An AWS service rejects a call."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.status = code, status


def answer_call(service: str, request: Any, states: Callable[[str, dict[str, Any]], dict[str, Any]]) -> AWSResponse:
    """Answer a call: Step Functions by `states`, everything else by moto."""
    if service == "dynamodb" and (answer := dynamodb.answer(request)) is not None:
        return answer
    if service != "sfn":
        if isinstance(request.body, bytearray):  # moto takes no other kind of body than bytes
            request.body = bytes(request.body)
        try:
            answered: AWSResponse = _moto(botocore_stubber, service, request)
        except KeyError:  # how moto reports a missing multipart upload
            return error_response(service, request, 404, "NoSuchUpload")
        return answered
    operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
    try:
        return _json(request, 200, states(operation, json.loads(request.body)))
    except ApiError as error:
        return error_response(service, request, error.status, error.code)


def throttled(service: str, request: Any) -> AWSResponse:
    return error_response(service, request, *_THROTTLED[service])


def failed(service: str, request: Any) -> AWSResponse:
    return error_response(service, request, *_FAILED[service])


def lost(kind: str, service: str, request: Any) -> AWSResponse:
    """Answer a call that took effect with a lost connection, or with an intermediary's error."""
    if kind.endswith("5xx"):
        return failed(service, request)
    error = ReadTimeoutError if kind.endswith("time-out") else ConnectionClosedError
    raise error(endpoint_url=request.url, error="made up")


def error_response(service: str, request: Any, status: int, code: str) -> AWSResponse:
    if service in ("s3", "sns"):
        error = f"<Error><Code>{code}</Code><Message>made up</Message></Error>"
        text = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        return dynamodb.response(request.url, status, "text/xml", text)
    return _json(request, status, {"__type": f"com.amazonaws#{code}", "message": "made up"})


def _json(request: Any, status: int, document: dict[str, Any]) -> AWSResponse:
    return dynamodb.response(request.url, status, dynamodb.JSON, json.dumps(document))


def published(request: Any) -> str:
    """Return the id of the notification that a Publish call carries."""
    message = json.loads(
        parse_qs(request.body if isinstance(request.body, str) else request.body.decode())["Message"][0]
    )
    return str(json.loads(message["default"])["notification_id"])


def clears_notification(request: Any) -> bool:
    """Tell whether an update only removes a pending notification from a record."""
    return _expression(request).startswith("REMOVE #notice_due")


def cleared_notification(request: Any) -> str:
    """Return the id of the pending notification that an update removes."""
    return f"{job_of(request)}/{change_of(request)['ExpressionAttributeValues'][':notice']['S']}"


def saves_video(request: Any) -> bool:
    """Tell whether an update saves a video's id."""
    expression = _expression(request)
    return "#video_id = :video_id" in expression or "#other_videos = :other_videos" in expression


def claim_taken(request: Any) -> str | None:
    """Return the claim that an update takes, if any."""
    change = change_of(request)
    if "#claim = :claim" not in str(change.get("UpdateExpression")):
        return None
    return str(change["ExpressionAttributeValues"][":claim"]["S"])


def gives_claim_back(request: Any) -> bool:
    """Tell whether an update releases the claim."""
    return "#claim" in _expression(request).partition("REMOVE ")[2].split(", ")


def job_of(request: Any) -> str:
    """Return the id of the job whose record a request updates."""
    return str(change_of(request)["Key"]["job_id"]["S"])


def status_set(request: Any) -> str | None:
    """Return the status that an update sets, if any."""
    status = change_of(request).get("ExpressionAttributeValues", {}).get(":status", {}).get("S")
    return str(status) if "#status = :status" in _expression(request) else None


def change_of(request: Any) -> dict[str, Any]:
    """Return the job's part of an UpdateItem or TransactWriteItems request."""
    body: dict[str, Any] = json.loads(request.body)
    if "TransactItems" in body:
        body = body["TransactItems"][0]["Update"]
    return body


def _expression(request: Any) -> str:
    return str(change_of(request).get("UpdateExpression", ""))
