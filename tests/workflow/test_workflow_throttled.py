"""Test five minutes of throttles in every state: no row is lost or paid for twice, and one notification is sent.

Both state machines and the steps are real, except for the copy. Rows run one after another under one virtual clock.
"""

from __future__ import annotations

import functools
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from moto import mock_aws

from local.aws import interpreter
from local.aws.interpreter import TaskError
from shared.genviral.client import Model
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.steps.batch_admit import admit_row
from shared.steps.batch_plan import Planner
from shared.steps.batch_report import Reporter
from tests.support import batch_job as batch
from tests.support import video_job
from tests.support.fakes import BODY, LINK, TABLE, TOPIC, UPLOADS, VIDEOS, Vendor, World, accepting, arn_of, refusing

if TYPE_CHECKING:
    from collections.abc import Iterator

THROTTLED_SECONDS = 300.0
BATCH = "s3-batch"
VIDEO_STATES = {
    ("SubmitFunction", None): "Submit",
    ("StatusFunction", None): "Poll",
    ("DeliverFunction", None): "Deliver",
    ("NotifyFunction", "succeeded"): "NotifySucceeded",
    ("NotifyFunction", "failed"): "NotifyFailed",
    ("NotifyFunction", "on_hold"): "Hold",
}
BATCH_STATES = {"plan": "Plan", "admit": "Admit", "report": "Report", "rejected": "Rejected"}
UNREADABLE = b"\xff"
ROWS = [{**BODY, "prompt": prompt} for prompt in ("one", "one that is held first", "one that is refused")]


class ThrottledAccount:
    """A batch in a throttled account: each state of each execution for five minutes from its first call.

    Args:
        world: AWS, the vendor and the steps.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = 1_795_348_800.0
        self.throttled: Counter[str] = Counter()
        self._until: dict[tuple[str, str], float] = {}

    def play(self, content: bytes) -> interpreter.Run:
        """Upload a batch and run it to its end."""
        version = self.world.upload("batches/spring.jsonl", content)
        source = {"type": "batch", "bucket": UPLOADS, "key": "batches/spring.jsonl", "version_id": version}
        return self._run(
            batch.MACHINE,
            BATCH,
            {"source": source},
            tasks={"BatchFunction": self._batch},
            machines={batch.VIDEO_MACHINE: self._make},
            objects=lambda bucket, key: self.world.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(),
        )

    def _run(self, machine: dict[str, Any], name: str, given: Any, **options: Any) -> interpreter.Run:
        return interpreter.run(machine, input=given, name=name, paused=self._pass, **options)

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def _throttle(self, execution: str, state: str, error: str = "Lambda.TooManyRequestsException") -> None:
        until = self._until.setdefault((execution, state), self.now + THROTTLED_SECONDS)
        if self.now < until:
            self.throttled[state] += 1
            raise TaskError(error, "Rate Exceeded.")

    # ---- the batch and its rows

    def _batch(self, payload: dict[str, Any]) -> Any:
        event = payload["event"]
        self._throttle(payload.get("job_id", BATCH), BATCH_STATES[event])
        match event:
            case "plan":
                return Planner(s3=self.world.s3, known=self.world.store.batch_get, concurrency=1).plan(
                    payload["source"]
                )
            case "admit":
                switch = IntakeSwitch(self.world.dynamodb, TABLE)
                return admit_row(payload["job_id"], store=self.world.store, switch=switch, wait_seconds=900)
            case "report":
                return self._reporter.report(arn_of(BATCH), payload["plan"], payload["started_at"])
            case _:
                return self._reporter.rejected(arn_of(BATCH), payload["source"], payload["error"])

    @property
    def _reporter(self) -> Reporter:
        return Reporter(
            store=self.world.store,
            s3=self.world.s3,
            sns=self.world.sns,
            topic_arn=TOPIC,
            bucket=VIDEOS,
            models=lambda: [Model(BODY["model_id"], "Seedance", default_cost=5)],
        )

    def _make(self, name: str, given: Any) -> Any:
        self._throttle(name, "Make", "StepFunctions.ThrottlingException")
        functions = {function for function, _ in VIDEO_STATES}
        tasks = {function: functools.partial(self._video, name, function) for function in functions}
        ran = self._run(video_job.MACHINE, name, given, tasks=tasks)
        if ran.status != "SUCCEEDED":
            raise RuntimeError(ran.error)
        return ran.output

    def _video(self, job_id: str, function: str, payload: dict[str, Any]) -> Any:
        state, arn, world = VIDEO_STATES[function, payload.get("event")], arn_of(job_id), self.world
        self._throttle(job_id, state)
        match state:
            case "Submit":
                return world.submitter().submit(arn, payload["input"])
            case "Poll":
                return world.poller().poll(arn, payload["video_id"], payload["submitted_at"], payload["waiting"])
            case "Deliver":
                video = {"bucket": VIDEOS, "key": f"videos/{payload['video_id']}.mp4"}
                world.store.update(job_id, output=video)
                return {"video": video}
            case "NotifySucceeded":
                return world.notifier().succeeded(arn)
            case "NotifyFailed":
                return world.notifier().failed(arn, payload["error"])
            case _:
                return world.notifier().on_hold(arn, payload["error"])


def finished(request: httpx.Request) -> httpx.Response:
    video_id = request.url.path.rpartition("/")[2]
    data = {"video_id": video_id, "status": "succeeded", "output_url": LINK}
    return httpx.Response(200, json={"ok": True, "code": 200, "data": data})


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThrottledAccount]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    random.seed(1)  # jitter
    with mock_aws():
        post = [
            accepting("video-1"),
            refusing(402, "insufficient_credits"),
            accepting("video-2"),
            refusing(422, "invalid_input"),
        ]
        account = ThrottledAccount(World(Vendor(post=post, get=[finished])))
        account.world.complete()
        account.world.index()
        monkeypatch.setattr("time.time", lambda: account.now)
        yield account


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def test_five_minutes_of_throttles_lose_no_row_and_pay_none_twice(account: ThrottledAccount) -> None:
    ran = account.play(lines(ROWS))
    assert (ran.status, ran.states) == ("SUCCEEDED", ["Plan", "Any?", "Rows", "Report"]), (ran.error, ran.cause)
    assert account.throttled.keys() == {*batch.TASKS, *video_job.TASKS} - {"Rejected"}
    assert min(account.throttled.values()) > 1
    records = [job for status in Status for job in account.world.store.in_status(status)]
    assert Counter(job.status.value for job in records) == {"succeeded": 2, "failed": 1}
    assert (account.world.vendor.accepted, len(account.world.vendor.posts)) == (2, 4)
    keys = Counter(request.headers["Idempotency-Key"] for request in account.world.vendor.posts)
    assert sorted(keys.values()) == [1, 1, 2], "the row that was on hold was sent again, once"
    statuses = Counter(message.body["status"] for message in account.world.messages())
    assert statuses == {"succeeded": 2, "failed": 1, "on_hold": 1, "batch_finished": 1}


def test_five_minutes_of_throttles_only_delay_a_rejections_notification(account: ThrottledAccount) -> None:
    ran = account.play(UNREADABLE)
    assert (ran.error, ran.states[-1]) == ("BatchUnreadable", "Failed")
    assert account.throttled["Plan"] > 1 < account.throttled["Rejected"]
    assert [message.body["status"] for message in account.world.messages()] == ["batch_rejected"]
    assert not account.world.vendor.posts


@pytest.mark.parametrize("state", batch.TASKS)
def test_with_fewer_tries_they_lose_a_row_or_end_the_batch(
    account: ThrottledAccount, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """This shows that each state needs its long retrier."""
    task = batch.TASKS[state]
    short = [{**rule, "MaxAttempts": 6, "MaxDelaySeconds": 60} for rule in task["Retry"]]
    monkeypatch.setitem(task, "Retry", short)
    ran = account.play(UNREADABLE if state == "Rejected" else lines(ROWS))
    reports = [message.body["batch"]["counts"] for message in account.world.messages() if "batch" in message.body]
    lost = (None, [{"not_started": 3}])
    assert (ran.error, reports) == {"Admit": lost, "Make": lost}.get(state, ("Lambda.TooManyRequestsException", []))
