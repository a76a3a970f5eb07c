"""Simulate the surroundings of a job: an AWS account (moto), a vendor that counts charges, failing DynamoDB calls.

Shared by the tests of `shared.jobs`, `shared.steps` and `functions`.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from shared.api.cancel import cancel_job
from shared.api.create import create_job
from shared.api.read import Lookup
from shared.api.upload_form import presign_upload
from shared.credits.counter import CreditCounter, price_kind
from shared.credits.limiter import CreditLimiter
from shared.delivery import Limits
from shared.genviral.client import GenviralClient, Timeouts
from shared.genviral.model_list import ModelList
from shared.jobs.attributes import typed
from shared.jobs.errors import TimedOut
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.record import notice_of
from shared.jobs.transitions import JobStore
from shared.polling.durations import Durations
from shared.polling.policy import PollingPolicy
from shared.polling.schedule import PollScheduler
from shared.requests.resolve import Resolver
from shared.steps.deliver import Deliverer
from shared.steps.notify import Notifier
from shared.steps.poll import Poller
from shared.steps.submit import Submitter
from tests.support.template import JOBS_TABLE, ROOT

if TYPE_CHECKING:
    from shared.api.callers import Caller
    from shared.jobs.record import Job
    from shared.jobs.states import Status

EVENTS = ROOT / "events"
REGION = "us-east-1"
TABLE, UPLOADS, VIDEOS = "jobs", "example-uploads", "example-videos"
KEY = "pub_5f2c81d7.sk_9a8b7c6d5e4f"
PROMPT = "A very private red shoe, turning slowly on a marble table"
BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": PROMPT,
    "reference_image_urls": ["https://example.com/product.jpg?X-Amz-Signature=0123456789abcdef"],
    "params": {"duration_seconds": 5},
}
PLAIN_BODY = {**BODY, "reference_image_urls": ["https://example.com/product.jpg"]}
"""The same without signed links, so that a job may be sent again after its end."""
VIDEO_ID = "22222222-2222-2222-2222-222222222222"
LINK = "https://cdn.example.com/out/video.mp4?token=very-secret-token"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
TOPIC = f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:videos"
CHAT_TOPIC = f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:chat"
JOB_ID = "s3-4f1c8a3d2b5e697081a2b3c4d5e6f70819283a4b"


def arn_of(name: str) -> str:
    return f"arn:aws:states:{REGION}:{DEFAULT_ACCOUNT_ID}:execution:video-job:{name}"


EXECUTION = arn_of(JOB_ID)


def event(name: str) -> dict[str, Any]:
    """Return a sample event of the repository."""
    document: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return document


@functools.cache
def client(service: str) -> Any:
    """Return a client without retries, shared by all tests. moto answers it while a test's world exists."""
    config = Config(retries={"total_max_attempts": 1}, signature_version="s3v4" if service == "s3" else None)
    return boto3.client(service, region_name=REGION, config=config)


def failed(operation: str, code: str = "InternalServerError") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "made up"}}, operation)


class Flaky:
    """A client whose n-th call fails, before it takes effect or after it (a lost answer)."""

    def __init__(
        self, real: Any, fails: dict[int, str] | None = None, *, only: str = "", code: str = "InternalServerError"
    ) -> None:
        self._real = real
        self.fails = fails or {}
        self._only = only
        self._code = code
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        member: Any = getattr(self._real, name)
        if name == "exceptions" or (self._only and name != self._only):
            return member

        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            how = self.fails.get(len(self.calls))
            if how == "before":
                raise failed(name, self._code)
            answer = member(**arguments)
            if how == "after":
                raise failed(name, self._code)
            return answer

        return call


class Repeating:
    """A client that makes the first updates of a job twice, as botocore does after a lost answer. By default all."""

    def __init__(self, real: Any, *, times: float = math.inf) -> None:
        self._real = real
        self._left = times

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._real, name)
        if name != "update_item" or not self._left:
            return member
        self._left -= 1

        def twice(**arguments: Any) -> Any:
            member(**arguments)
            return member(**arguments)

        return twice


class Clock:
    """A replacement for `time.time` that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


Answer = Callable[[httpx.Request], httpx.Response]


def accepting(video_id: str = VIDEO_ID) -> Answer:
    data = {"video_id": video_id, "status": "processing", "output_url": None, "credits_used": 5}
    return lambda _: httpx.Response(202, json={"ok": True, "code": 202, "data": data})


def refusing(status: int, code: str = "", message: str = "no", **headers: str) -> Answer:
    body = {"ok": False, "code": status, "message": message} | ({"error_code": code} if code else {})
    return lambda _: _json_response(status, body, **headers)


def _json_response(status: int, document: object, **headers: str) -> httpx.Response:
    """Return an answer of JSON in ASCII escapes: only they can hold lone surrogates."""
    content = json.dumps(document).encode()
    return httpx.Response(status, content=content, headers={"content-type": "application/json", **headers})


def breaking(error: type[httpx.RequestError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("made up", request=request)

    return answer


def showing(status: str, **data: Any) -> Answer:
    shown = {"video_id": VIDEO_ID, "status": status, **data}
    return lambda _: _json_response(200, {"ok": True, "code": 200, "data": shown})


FINISHED = showing("succeeded", output_url=LINK)


class Vendor(httpx.MockTransport):
    """Answers by script, repeats the last answer, and keeps the requests."""

    def __init__(self, post: list[Answer] | None = None, get: list[Answer] | None = None) -> None:
        self.script = {"POST": post or [accepting()], "GET": get or [showing("processing")]}
        self.asked: list[httpx.Request] = []
        self.accepted = 0
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        script = self.script[request.method]
        answer = (script.pop(0) if len(script) > 1 else script[0])(request)
        self.accepted += answer.status_code == 202
        return answer

    @property
    def posts(self) -> list[httpx.Request]:
        """Return the paid calls."""
        return [request for request in self.asked if request.method == "POST"]

    def client(self) -> GenviralClient:
        return GenviralClient(
            lambda refresh: KEY, base_url="https://vendor.example/api/v1", timeouts=Timeouts(), transport=self
        )


@dataclass
class TimeLeft:
    """The time left to a function, in seconds. Only pauses use it up."""

    seconds: float

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds -= seconds


@dataclass
class Message:
    """What subscribers get: a body for programs, a subject and a text for people."""

    body: dict[str, Any]
    subject: str
    attributes: dict[str, str]
    email: str = ""
    sms: str = ""

    @classmethod
    def of(cls, text: str, subject: str, labels: dict[str, Any]) -> Message:
        parts = json.loads(text)
        attributes = {name: str(value["Value"]) for name, value in labels.items()}
        return cls(json.loads(parts["default"]), subject, attributes, parts["email"], parts["sms"])


@dataclass
class World:
    """The account, the vendor, and the steps that use them."""

    vendor: Vendor = field(default_factory=Vendor)

    def __post_init__(self) -> None:
        self.dynamodb, self.sfn = client("dynamodb"), client("stepfunctions")
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "job_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "job_id", "KeyType": "HASH"}],
        )
        self.store = JobStore(self.dynamodb, TABLE)

    # The rest is created on first use, because most tests need only one of them.

    @functools.cached_property
    def s3(self) -> Any:
        s3 = client("s3")
        for bucket in (UPLOADS, VIDEOS):
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return s3

    @functools.cached_property
    def sns(self) -> Any:
        sns = client("sns")
        sns.create_topic(Name=TOPIC.rpartition(":")[2])
        return sns

    def index(self) -> None:
        """Give the jobs table the index that lists use, as the template declares it."""
        by_status = next(index for index in JOBS_TABLE["GlobalSecondaryIndexes"] if index["IndexName"] == "by_status")
        keys = {key["AttributeName"] for key in by_status["KeySchema"]}
        self.dynamodb.update_table(
            TableName=TABLE,
            AttributeDefinitions=[one for one in JOBS_TABLE["AttributeDefinitions"] if one["AttributeName"] in keys],
            GlobalSecondaryIndexUpdates=[{"Create": by_status}],
        )

    def complete(self) -> None:
        """Create all resources, for tests with clients of their own."""
        assert self.s3
        assert self.sns

    @functools.cached_property
    def machine(self) -> str:
        """Create a state machine that ends at once. Only its starts count."""
        return self._state_machine("video-job")

    @functools.cached_property
    def batch_machine(self) -> str:
        """Create the same for batches."""
        return self._state_machine("batch-job")

    def _state_machine(self, name: str) -> str:
        arn: str = self.sfn.create_state_machine(
            name=name,
            definition='{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}',
            roleArn=f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/made-up",
        )["stateMachineArn"]
        return arn

    # ---- what lies in it ----------------------------------------------------------------------------------

    def upload(self, key: str, body: bytes, **options: Any) -> str:
        version: str = self.s3.put_object(Bucket=UPLOADS, Key=key, Body=body, **options)["VersionId"]
        return version

    def recipe(self, recipe: object, name: str = "default") -> None:
        text = recipe if isinstance(recipe, bytes) else json.dumps(recipe).encode()
        self.upload(f"recipes/{name}.json", text)

    def job(self, job_id: str = JOB_ID, request: dict[str, Any] | None = None, **attributes: Any) -> Job:
        """Create a queued job with its own request, by default one whose links need no signature."""
        body = json.dumps(request or PLAIN_BODY)
        job, _ = self.store.create(
            job_id,
            source={"type": "api"},
            request=body,
            fingerprint="made up",
            **attributes,
        )
        return job

    def paid_job(self, job_id: str = JOB_ID, **attributes: Any) -> Job:
        """Create a job that the vendor is processing."""
        self.job(job_id, **attributes)
        self.store.claim(job_id, "attempt", execution=arn_of(job_id))
        return self.store.record_accepted(job_id, VIDEO_ID, submitted_at=1_700_000_000, deadline_at=4_000_000_000)

    def age_claim(self, job_id: str = JOB_ID, seconds: int = 400) -> None:
        """Make a claim so old that the attempt that took it must have ended."""
        self.store.update(job_id, claimed_at=int(time.time()) - seconds, attempt_at=int(time.time()) - seconds)

    def overwrite(self, job_id: str, **attributes: Any) -> None:
        """Write attributes into a job's item directly."""
        self.dynamodb.update_item(
            TableName=TABLE,
            Key={"job_id": {"S": job_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in attributes),
            ExpressionAttributeNames={f"#{name}": name for name in attributes},
            ExpressionAttributeValues={f":{name}": typed(value) for name, value in attributes.items()},
        )

    def entered(self, status: Status) -> None:
        """Leave a paid job in a status, an hour ago and before its notification was sent."""
        timeline = self.paid_job().timeline | {status.value: "2026-11-22T10:15:30.000Z"}
        error = TimedOut("the video did not come").document()
        entry = {"status": status.value, "changed_at": int(time.time()) - 3600, "timeline": timeline}
        self.overwrite(JOB_ID, **entry, notice_due=notice_of(status), error=error)

    def record(self, job_id: str = JOB_ID) -> Job:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def messages(self) -> list[Message]:
        """Return the messages published so far."""
        topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics.get(TOPIC)
        return [
            Message.of(text, subject, labels)
            for _, text, subject, labels, _ in (topic.sent_notifications if topic else ())
        ]

    @functools.cached_property
    def chat(self) -> Any:
        """Create the chat room's topic. Calling it returns the messages published so far."""
        self.sns.create_topic(Name=CHAT_TOPIC.rpartition(":")[2])
        topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[CHAT_TOPIC]
        return lambda: [json.loads(text) for _, text, *_ in topic.sent_notifications]

    @functools.cached_property
    def events(self) -> Any:
        """Create a queue of all events of the default bus. Calling it returns those that came since the last call."""
        sqs, events = client("sqs"), client("events")
        url = sqs.create_queue(QueueName="events")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="all", EventPattern=json.dumps({"source": ["genviral.video"]}))
        events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])

        def received() -> list[dict[str, Any]]:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            return [json.loads(message["Body"]) for message in messages]

        return received

    def executions(self, machine: str | None = None) -> list[str]:
        found = self.sfn.list_executions(stateMachineArn=machine or self.machine)["executions"]
        return sorted(execution["name"] for execution in found)

    # ---- the steps ----------------------------------------------------------------------------------------

    def flaky(self, fails: dict[int, str]) -> JobStore:
        """Return a store whose n-th call to DynamoDB fails: `before` or `after` it takes effect."""
        return JobStore(Flaky(self.dynamodb, fails), TABLE)  # type: ignore[arg-type]  # a double of the client

    def scheduler(self, durations: Durations | None = None) -> PollScheduler:
        known = durations or Durations(self.dynamodb, TABLE)
        return PollScheduler(policy=PollingPolicy(5, 600), durations=known, deadline_seconds=600)

    def resolver(self, **options: Any) -> Resolver:
        return Resolver(self.s3, UPLOADS, **{"max_bytes": 1_000_000, **options})

    def limiter(self, limit: float, client: Any = None) -> CreditLimiter:
        """Return a daily limit whose counter and jobs use the client."""
        table = client or self.dynamodb
        return CreditLimiter(
            store=JobStore(table, TABLE),
            counter=CreditCounter(table, TABLE, limit),
            model_list=ModelList(lambda: self.vendor.client()),
        )

    def know_price(self, cost: float, request: dict[str, Any] = BODY) -> None:
        """Record as many charges for videos like this one as it takes to know their price."""
        budget = CreditCounter(self.dynamodb, TABLE, 1)
        for number in range(3):
            budget.learn(request["model_id"], price_kind(request["model_id"], request), cost, f"{cost}/{number}")

    def submitter(
        self, store: JobStore | None = None, *, trust: bool = False, limiter: CreditLimiter | None = None
    ) -> Submitter:
        time_left = TimeLeft(300.0)
        return Submitter(
            store=store or self.store,
            resolver=self.resolver(),
            vendor=self.vendor.client(),
            scheduler=self.scheduler(),
            trust_idempotency=trust,
            remaining=time_left,
            sleep=time_left.sleep,
            limiter=limiter,
        )

    def poller(self, store: JobStore | None = None) -> Poller:
        return Poller(
            store=store or self.store,
            vendor=self.vendor.client(),
            scheduler=self.scheduler(),
        )

    def deliverer(self, **options: Any) -> Deliverer:
        return Deliverer(
            store=self.store,
            vendor=self.vendor.client(),
            s3=self.s3,
            bucket=VIDEOS,
            limits=Limits(),
            remaining=lambda: 300.0,
            **options,
        )

    def notifier(self, sns: Any = None, store: JobStore | None = None, **options: Any) -> Notifier:
        return Notifier(
            **{
                "store": store or self.store,
                "sns": sns or self.sns,
                "topic_arn": TOPIC,
                "hold_seconds": 900,
                "hold_hours": 72,
                **options,
            }
        )

    def create_job(self, body: bytes, *, caller: Caller, key: str | None, sfn: Any = None) -> Job:
        return create_job(
            body,
            caller=caller,
            key=key,
            store=self.store,
            switch=IntakeSwitch(self.dynamodb, TABLE),
            sfn=sfn or self.sfn,
            state_machine_arn=self.machine,
        )

    def lookup(self) -> Lookup:
        return Lookup(store=self.store, s3=self.s3)

    def cancel_job(self, job_id: str, sfn: Any = None, **options: Any) -> dict[str, Any]:
        notifier = self.notifier(**options)
        return cancel_job(job_id, notifier=notifier, sfn=sfn or self.sfn, state_machine_arn=self.machine)

    def presign_upload(self, body: bytes) -> dict[str, Any]:
        switch = IntakeSwitch(self.dynamodb, TABLE)
        return presign_upload(body, switch=switch, s3=self.s3, bucket=UPLOADS, max_bytes=1_000_000)


def caught(fault: Exception) -> dict[str, str]:
    """Return a fault as Step Functions passes it to a Catch: the fault's document inside the runtime's."""
    name = type(fault).__name__
    return {"Error": name, "Cause": json.dumps({"errorMessage": str(fault), "errorType": name, "stackTrace": []})}
