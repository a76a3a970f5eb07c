"""Test the state machine with the real steps: both promises hold across faults, holds and a redrive.

AWS is moto, and the vendor answers by script. Only the copy is replaced, because it has its own tests.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.aws.interpreter import TaskError
from shared.jobs.record import SUBMIT_SECONDS
from shared.jobs.states import Status
from shared.runtime import AwsCallFailed
from tests.support.fakes import (
    BODY,
    EXECUTION,
    FINISHED,
    JOB_ID,
    LINK,
    PROMPT,
    VIDEO_ID,
    Clock,
    Vendor,
    World,
    accepting,
    arn_of,
    breaking,
    refusing,
    showing,
)
from tests.support.notifications import valid_end
from tests.support.video_job import HELD, JOB, VideoJobRun, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.jobs.transitions import JobStore
    from tests.support.fakes import Answer

NOON = 1_795_348_800.0


class Topic:
    """A topic that keeps what subscribers receive."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def publish(self, **message: Any) -> None:
        self.messages.append(json.loads(json.loads(message["Message"])["default"]))

    @property
    def statuses(self) -> list[str]:
        return [message["status"] for message in self.messages]


OUTPUT = {"bucket": "videos", "key": f"videos/2026/11/22/{JOB}.mp4", "bytes": 4_711}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    with mock_aws():
        yield World(Vendor(get=[showing("processing"), FINISHED]))


@pytest.fixture
def topic() -> Topic:
    return Topic()


def stage(world: World, topic: Topic, *stores_of_submit: JobStore) -> VideoJobRun:
    """Return the functions without Lambda. Each call of Submit uses the next store, and then the last one."""
    stores = list(stores_of_submit) or [world.store]

    def submit(payload: dict[str, Any]) -> Any:
        store = stores.pop(0) if len(stores) > 1 else stores[0]
        return world.submitter(store).submit(payload["execution_id"], payload["input"])

    def poll(payload: dict[str, Any]) -> Any:
        given = (payload[name] for name in ("execution_id", "video_id", "submitted_at", "waiting"))
        return world.poller().poll(*given)

    def deliver(payload: dict[str, Any]) -> Any:
        assert payload["video_id"] == VIDEO_ID
        world.store.update(JOB, output=OUTPUT)
        return {"video": OUTPUT}

    def notify(event: str, payload: dict[str, Any]) -> Any:
        step = getattr(world.notifier(topic), event)
        return step(payload["execution_id"], *([payload["error"]] if "error" in payload else []))

    return VideoJobRun(
        Submit=[_as_function(submit)],
        Poll=[_as_function(poll)],
        Deliver=[_as_function(deliver)],
        NotifySucceeded=[_as_function(functools.partial(notify, "succeeded"))],
        NotifyFailed=[_as_function(functools.partial(notify, "failed"))],
        Hold=[_as_function(functools.partial(notify, "on_hold"))],
    )


def _as_function(step: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def call(payload: dict[str, Any]) -> Any:
        try:
            return step(payload)
        except ClientError as error:
            raise AwsCallFailed(str(error)) from None

    return call


def test_from_request_to_video(world: World, topic: Topic) -> None:
    world.job()
    ran = stage(world, topic).play({"job_id": JOB_ID, "source": {"type": "api"}})
    assert ran.status == "SUCCEEDED", (ran.error, ran.cause)
    assert ran.output == {"version": "1", "job_id": JOB, "status": "succeeded", "video": OUTPUT}
    valid_end("succeeded", ran.output)
    assert topic.statuses == ["succeeded"]
    assert len(world.vendor.posts) == 1


@pytest.mark.parametrize(
    "answer",
    [refusing(422, "invalid_input"), refusing(402, "insufficient_credits"), breaking(httpx.ReadTimeout)],
    ids=["refused", "no credits", "uncertain"],
)
def test_a_parent_machine_can_read_why_an_execution_failed(world: World, topic: Topic, answer: Answer) -> None:
    world.job()
    world.vendor.script["POST"] = [answer]
    play = stage(world, topic)
    play._scripts["Hold"] = [lambda payload: {**HELD, "expired": True, "error": payload["error"]}]
    ran = play.play()
    assert ran.status == "FAILED"
    document = json.loads(ran.cause or "")
    valid_end("failed", document)
    assert document["error"] == ran.error
    assert document["paid"] == world.record().paid.value


@pytest.mark.parametrize("status", list(Status))
def test_an_output_may_have_any_status_of_a_job(status: Status) -> None:
    valid_end("succeeded", {"version": "1", "job_id": JOB_ID, "status": status.value, "video": OUTPUT})


def test_a_parent_machine_can_read_that_somebody_canceled_the_job(world: World) -> None:
    world.paid_job()
    world.store.cancel(JOB_ID, EXECUTION)
    output = world.notifier().succeeded(EXECUTION)
    valid_end("succeeded", output)
    assert output["status"] == "canceled"


def test_an_empty_account_holds_the_job_until_it_is_topped_up(world: World, topic: Topic) -> None:
    world.job()
    empty = refusing(402, "insufficient_credits")
    world.vendor.script["POST"] = [empty, empty, accepting()]
    world.vendor.script["GET"] = [refusing(401, "invalid_token"), showing("processing"), FINISHED]
    ran = stage(world, topic).play()
    assert ran.states.count("Hold") == 3
    assert world.record().status is Status.SUCCEEDED
    assert topic.statuses == ["on_hold", "on_hold", "succeeded"], "one notification a hold"
    assert world.vendor.accepted == 1


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_no_lost_write_pays_twice_or_loses_the_video(world: World, topic: Topic, call: int, how: str) -> None:
    # The third call records the paid video. Until then only the execution knows it, even during a hold.
    world.job()
    world.vendor.script["GET"] = [refusing(401, "invalid_token"), FINISHED]
    ran = stage(world, topic, world.flaky({call: how}), world.store).play()
    assert world.vendor.accepted == len(world.vendor.posts) <= 1
    job = world.record()
    assert (ran.status, job.status, job.video_id) == ("SUCCEEDED", Status.SUCCEEDED, VIDEO_ID)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the time of the steps. Each call of Submit takes half a minute."""
    clock = Clock(NOON)
    monkeypatch.setattr("time.time", clock)
    return clock


def overlapping(world: World, clock: Clock, answers_after: int | None) -> Callable[[dict[str, Any]], Any]:
    """Return a Submit whose first call is abandoned by Step Functions and keeps running.

    Args:
        world: The world of the job.
        clock: The time.
        answers_after: How many calls later its paid call is answered. None: never.
    """
    calls = 0

    def submit(payload: dict[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        clock.now += 30
        if calls == 1:
            world.store.claim(JOB, "the first", execution=payload["execution_id"])
            raise TaskError("Lambda.SdkClientException", "Unable to execute HTTP request: Read timed out")
        if answers_after is not None and calls == 1 + answers_after:
            world.vendor.client().generate(BODY, idempotency_key=JOB)
            world.store.record_accepted(JOB, VIDEO_ID, submitted_at=int(clock.now))
        return world.submitter().submit(payload["execution_id"], payload["input"])

    return submit


@pytest.mark.parametrize("answers_after", [1, 2, 5])
def test_a_call_that_was_given_up_and_lives_on_is_one_job_and_one_notification(
    world: World, topic: Topic, clock: Clock, answers_after: int
) -> None:
    world.job()
    play = stage(world, topic)
    play._scripts["Submit"] = [_as_function(overlapping(world, clock, answers_after))]
    ran = play.play()
    assert (ran.status, world.record().status) == ("SUCCEEDED", Status.SUCCEEDED)
    assert ran.backoffs[1:] == [30] * (answers_after - 1), "asked for at a fixed pace"
    assert topic.statuses == ["succeeded"]
    assert world.vendor.accepted == len(world.vendor.posts) == 1


def test_a_call_that_was_given_up_and_never_comes_back_is_uncertain_once(
    world: World, topic: Topic, clock: Clock
) -> None:
    world.job()
    play = stage(world, topic)
    play._scripts["Submit"] = [_as_function(overlapping(world, clock, None))]
    ran = play.play()
    assert (ran.error, world.record().status) == ("SubmissionUncertain", Status.UNCERTAIN)
    assert 30 * len(ran.backoffs) >= SUBMIT_SECONDS
    assert topic.statuses == ["uncertain"]
    assert not world.vendor.posts


@pytest.mark.parametrize(("room", "status"), [(1_000, "SUCCEEDED"), (100, "FAILED")])
def test_an_input_that_leaves_no_room_is_refused_with_advice(
    world: World, topic: Topic, room: int, status: str
) -> None:
    """Step Functions passes at most 256 KiB to a task, including what is added to the execution's input."""
    request = {"model_id": BODY["model_id"], "prompt": "A paper boat", "metadata": {"note": "x"}}
    given = {"request": request, "padding": ""}
    given["padding"] = "x" * (256 * 1024 - len(json.dumps(given)) - room)
    ran = stage(world, topic).play(given)
    assert ran.status == status
    if status == "SUCCEEDED":
        return
    assert (ran.error, ran.states[-1], world.vendor.asked) == ("States.DataLimitExceeded", "Submit", [])
    world.notifier(topic).interrupted(
        arn_of(JOB), ended="FAILED", error=ran.error or "", cause=ran.cause or "", moment="1"
    )
    (message,) = topic.messages
    assert (message["status"], message["paid"], message["error"]["code"]) == ("failed", "no", "request_too_large")
    assert "requests/<name>.json" in message["error"]["advice"]


def test_an_outage_interrupts_a_paid_job_and_a_redrive_brings_it_home(world: World, topic: Topic) -> None:
    world.job()
    world.vendor.script["GET"] = [refusing(503)]
    outage = stage(world, topic).play()
    assert (outage.status, outage.error, outage.states[-1]) == ("FAILED", "GenviralUnavailable", "Poll")
    execution = world.record().execution or ""
    world.notifier(topic).interrupted(
        execution, ended="FAILED", error=outage.error or "", cause=outage.cause or "", moment="1"
    )
    assert [(message["status"], message["paid"]) for message in topic.messages] == [("interrupted", "yes")]
    world.vendor.script["GET"] = [FINISHED]
    home = stage(world, topic).play(redrive=outage)
    assert (home.status, home.states[0]) == ("SUCCEEDED", "Poll")
    assert topic.statuses == ["interrupted", "succeeded"]
    assert world.vendor.accepted == 1


def test_a_job_beyond_the_daily_limit_goes_on_the_next_day(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = NOON
    monkeypatch.setattr("time.time", lambda: now)
    limiter = world.limiter(8)
    cost = 5.0
    world.know_price(cost)
    world.job("another")
    world.submitter(limiter=limiter).submit(arn_of("another"), {})
    world.job()
    world.vendor.script["GET"] = [FINISHED]
    sent_at: list[float] = []

    def submit(payload: dict[str, Any]) -> Any:
        state = world.submitter(limiter=limiter).submit(payload["execution_id"], payload["input"])
        sent_at.append(now)
        return state

    def hold(payload: dict[str, Any]) -> Any:
        nonlocal now
        state = world.notifier(topic).on_hold(payload["execution_id"], payload["error"])
        now += state["wait_seconds"]
        return state

    play = stage(world, topic)
    play._scripts |= {"Submit": [submit], "Hold": [hold]}
    ran = play.play()
    assert (ran.status, world.record().status) == ("SUCCEEDED", Status.SUCCEEDED)
    assert topic.statuses == ["on_hold", "succeeded"], "one notification for the whole night"
    assert topic.messages[0]["error"]["code"] == "daily_credit_limit"
    midnight = NOON + 43_200
    assert [midnight <= moment < midnight + 3600 for moment in sent_at] == [True]
    assert sum(ran.waits[:-1]) == sent_at[0] - NOON
    assert world.vendor.accepted == 2


@pytest.mark.parametrize("tries", [3, 40], ids=["a short wait", "a long one"])
def test_a_job_of_unknown_price_waits_while_another_one_is_sent(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    now = NOON
    monkeypatch.setattr("time.time", lambda: now)
    world.vendor.script["GET"] = [listing(BODY["model_id"], 5), FINISHED]
    limiter = world.limiter(100)
    world.job("another")
    reserved, counter = limiter.counter.reserve(5, probe="a probe")
    claimed = world.store.claim_counted(world.record("another"), "a probe", reservation=reserved, counter=counter)
    world.job()
    asked = 0

    def submit(payload: dict[str, Any]) -> Any:
        nonlocal asked
        asked += 1
        if asked == tries:
            limiter.release(claimed, "a probe", {"code": "rate_limited"})
        return world.submitter(limiter=limiter).submit(payload["execution_id"], payload["input"])

    play = stage(world, topic)
    play._scripts |= {"Submit": [submit]}
    ran = play.play()
    assert (ran.status, asked, world.vendor.accepted) == ("SUCCEEDED", tries, 1)
    assert topic.statuses == (["succeeded"] if tries == 3 else ["on_hold", "succeeded"])
    if tries > 3:
        assert (topic.messages[0]["error"]["code"], topic.messages[0]["paid"]) == ("price_unknown", "no")
        assert topic.messages[0]["summary"].startswith("The job waits: its price is not known yet")


def listing(model_id: str, price: float) -> Answer:
    models = [{"id": model_id, "mode": "video", "credits": {"default_cost": price}}]
    return lambda _: httpx.Response(200, json={"ok": True, "code": 200, "data": {"models": models}})


def test_nothing_private_is_left_in_the_history_or_in_a_notification(world: World, topic: Topic) -> None:
    world.vendor.script["POST"] = [
        refusing(402, "insufficient_credits"),
        refusing(422, "invalid_input", f"bad: {PROMPT}"),
    ]
    ran = stage(world, topic).play({"request": BODY})
    assert (ran.error, topic.statuses) == ("InvalidInput", ["on_hold", "failed"])
    after_submit = json.dumps([given for _, given in entries(ran)[1:]]) + (ran.cause or "")
    for private in (PROMPT, LINK, "X-Amz-Signature"):
        assert private not in after_submit + json.dumps(topic.messages)
