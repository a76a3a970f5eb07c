"""Access a running local cloud from a test: what users do, subscribers receive and the vendor charged."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.queues import drained

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from local.cloud import Cloud

TIMEOUT_SECONDS = float(os.environ.get("TEST_TIMEOUT_SECONDS", "180"))
T = TypeVar("T")


class Signature(httpx.Auth):
    """Signs calls of the HTTP API as the account's root."""

    requires_request_body = True

    def __init__(self, region: str) -> None:
        self._signer = SigV4Auth(Credentials("test", "test"), "execute-api", region)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        self._signer.add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


class RunningCloud:
    """The running cloud, with helpers for its tests."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.at = cloud.endpoints
        self.s3 = cloud.client("s3")
        self.sfn = cloud.client("stepfunctions")
        self.table = cloud.client("dynamodb")
        self.api = httpx.Client(base_url=self.at.api_url, auth=Signature(self.at.region), timeout=30)
        self._received: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._sqs = cloud.client("sqs")
        self._queue = self.subscribe("test-subscriber")

    def close(self) -> None:
        self.api.close()

    # ---- what a user does

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, without its AWS settings and with those that reach this cloud."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GENVIRAL_"))}
        return kept | {
            "AWS_ENDPOINT_URL": self.at.aws_endpoint,
            "AWS_REGION": self.at.region,
            "AWS_DEFAULT_REGION": self.at.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def upload(self, key: str, body: bytes, **options: Any) -> None:
        self.s3.put_object(Bucket=self.at.uploads_bucket, Key=key, Body=body, **options)

    def post(self, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.api.post("/videos", content=content, headers=headers)

    def get(self, job_id: str) -> dict[str, Any]:
        answer = self.api.get(f"/videos/{job_id}")
        return {**answer.json(), "http": answer.status_code}

    # ---- what a test asks

    def await_notification(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for the first notification that matches."""
        return until(
            lambda: next((notification for notification in self.all_notifications() if wanted(notification)), None)
        )

    @property
    def notifications(self) -> dict[str, list[dict[str, Any]]]:
        """All notifications by job, those about no job under the empty name.

        They are received here and not in a thread: this cloud outlives a test, and a unit test that counts calls or
        opens no sockets may be the next one in the process.
        """
        for notification in drained(self._sqs, self._queue):
            self._received[notification.get("job_id", "")].append(notification)
        return self._received

    def all_notifications(self) -> list[dict[str, Any]]:
        return [notification for notifications in self.notifications.values() for notification in notifications]

    def notification_of_upload(self, key: str, status: str | None = None) -> dict[str, Any]:
        return self.await_notification(
            lambda notification: notification["source"].get("key") == key and status in (None, notification["status"])
        )

    def notification_of_job(self, job_id: str, status: str | None = None) -> dict[str, Any]:
        return self.await_notification(
            lambda notification: notification.get("job_id") == job_id and status in (None, notification["status"])
        )

    def execution(self, job_id: str) -> dict[str, Any]:
        """Return the job's execution once it has ended."""
        arn = f"{self.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"

        def ended() -> dict[str, Any] | None:
            execution: dict[str, Any] = self.sfn.describe_execution(executionArn=arn)
            return execution if execution["status"] != "RUNNING" else None

        return until(ended)

    def history(self, arn: str) -> list[dict[str, Any]]:
        """Return all events of an execution. One page has 1,000, and with short waits a job may need more."""
        pages = self.sfn.get_paginator("get_execution_history").paginate(executionArn=arn, maxResults=1000)
        return [event for page in pages for event in page["events"]]

    def vendor(self) -> dict[str, Any]:
        """Return the vendor's own state."""
        state: dict[str, Any] = httpx.get(f"{self.at.genviral_admin_url}/state").json()
        return state

    def paid(self, job_id: str) -> int:
        """Return how often the vendor charged for the job."""
        return sum(submission["idempotency_key"] == job_id for submission in self.vendor()["submissions"])

    def control_vendor(self, what: str, **order: Any) -> None:
        httpx.post(f"{self.at.genviral_admin_url}/{what}", json=order).raise_for_status()

    def free_probes(self) -> None:
        """Free the locks of the daily limit's counters."""
        table = self.at.jobs_table
        locked = self.table.scan(TableName=table, FilterExpression="attribute_exists(probe)")["Items"]
        for counter in (item for item in locked if item["job_id"]["S"].startswith("#credits")):
            self.table.update_item(
                TableName=table, Key={"job_id": counter["job_id"]}, UpdateExpression="REMOVE probe, probe_until"
            )

    def subscribe(self, queue: str, topic: str = "", **attributes: str) -> str:
        """Create a queue that is subscribed to a topic, by default that of notifications, and return its URL."""
        topic = topic or self.at.topic_arn
        sns = self.cloud.client("sns")
        url: str = self._sqs.create_queue(QueueName=queue)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"} | attributes,
        )
        return url


def until(ask: Callable[[], T | None]) -> T:
    """Poll until there is an answer. Fail when it takes too long."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while (answer := ask()) is None:
        if time.monotonic() > end:
            pytest.fail("nothing came within the time that a test waits")
        time.sleep(0.05)
    return answer
