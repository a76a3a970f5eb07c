"""Test notifications: one for each end, hold and interruption, whatever fails or repeats; foreign events end no job."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from shared import runtime
from shared.faults import Paid
from shared.genviral.errors import (
    AccountFault,
    AuthenticationFailed,
    GenerationFailed,
    InsufficientCredits,
    InvalidInput,
    SubmissionUncertain,
)
from shared.jobs.errors import (
    LIMIT_ERRORS,
    AssetMissing,
    DailyLimitReached,
    JobClosed,
    PriceUnknown,
    RecipeMissing,
    TimedOut,
)
from shared.jobs.states import OPEN, TERMINAL, Status
from shared.jobs.transitions import JobStore
from tests.support.fakes import (
    BODY,
    EXECUTION,
    JOB_ID,
    PLAIN_BODY,
    TABLE,
    VIDEO_ID,
    Flaky,
    Repeating,
    World,
    arn_of,
    caught,
)
from tests.support.operators import operator_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.faults import Fault
    from shared.jobs.record import Job

OUTPUT = {"bucket": "example-videos", "key": "videos/a.mp4", "bytes": 3}
MISSING = caught(RecipeMissing("there is no readable recipes/default.json"))
NO_CREDITS = caught(InsufficientCredits("Not enough credits"))


def delivered(world: World) -> None:
    world.paid_job(metadata={"order": 1})
    world.store.transition(JOB_ID, Status.DELIVERING, output=OUTPUT)


def interrupt(world: World, moment: str = "1", execution: str = EXECUTION, **how: str) -> None:
    ending = {"ended": "FAILED", "error": "AwsCallFailed", "cause": "", **how}
    world.notifier().interrupted(execution, moment=moment, **ending)


ENDINGS: list[tuple[str, Callable[[World], object], Callable[[Any], Any]]] = [
    ("succeeded", delivered, lambda notifier: notifier.succeeded(EXECUTION)),
    ("failed", lambda world: world.job(), lambda notifier: notifier.failed(EXECUTION, MISSING)),
    ("on_hold", lambda world: world.job(), lambda notifier: notifier.on_hold(EXECUTION, NO_CREDITS)),
    (
        "interrupted",
        lambda world: world.paid_job(),
        lambda notifier: notifier.interrupted(EXECUTION, ended="FAILED", error="X", cause="", moment="1"),
    ),
]
each_ending = pytest.mark.parametrize(("status", "prepare", "notify"), ENDINGS, ids=[name for name, *_ in ENDINGS])


@each_ending
def test_one_message_however_often_it_is_notified(world: World, status: str, prepare: Any, notify: Any) -> None:
    prepare(world)
    for _ in range(3):
        notify(world.notifier())
    (message,) = world.messages()
    assert (message.body["status"], message.attributes["status"]) == (status, status)
    assert world.record().status == status
    assert world.record().notice_due is None


@each_ending
def test_a_message_that_could_not_be_sent_is_sent_by_the_repeat(
    world: World, status: str, prepare: Any, notify: Any
) -> None:
    prepare(world)
    with pytest.raises(ClientError):
        notify(world.notifier(sns=Flaky(world.sns, {1: "before"})))
    assert world.record().status == status
    assert not world.messages()
    for _ in range(2):
        notify(world.notifier())
    assert [message.body["status"] for message in world.messages()] == [status]


@each_ending
@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("way", ["before", "after"])
def test_a_failure_of_the_table_loses_no_message(
    world: World, status: str, prepare: Any, notify: Any, call: int, way: str
) -> None:
    prepare(world)
    try:
        notify(world.notifier(store=JobStore(Flaky(world.dynamodb, {call: way}), TABLE)))  # type: ignore[arg-type]  # a double of the client
    except ClientError:
        notify(world.notifier())
    messages = world.messages()
    assert {message.body["status"] for message in messages} == {status}
    # A message whose removal from the record failed is sent again under the same id.
    assert len({message.body["notification_id"] for message in messages}) == 1
    assert len(messages) <= 2
    assert world.record().notice_due is None


# ---- an end is counted once ------------------------------------------------------------------------------


def counted() -> dict[str, float]:
    """Return how often each end, hold and interruption was counted."""
    return {
        name: sum(metric["Value"]) for name, metric in runtime.metrics.metric_set.items() if name.startswith("Jobs")
    }


ONE: dict[str, dict[str, float]] = {
    "succeeded": {"JobsSucceeded": 1},
    "failed": {"JobsFailed": 1},
    "on_hold": {"JobsHeld": 1},
    "interrupted": {"JobsInterrupted": 1, "JobsLeftInterrupted": 1},
}


@each_ending
@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("way", ["before", "after"])
def test_no_failure_of_the_table_leaves_an_end_uncounted(
    world: World, status: str, prepare: Any, notify: Any, call: int, way: str
) -> None:
    prepare(world)
    with suppress(ClientError):
        notify(world.notifier(store=JobStore(Flaky(world.dynamodb, {call: way}), TABLE)))  # type: ignore[arg-type]  # a double of the client
    for _ in range(2):
        notify(world.notifier())
    assert counted() == ONE[status]


@each_ending
def test_an_end_whose_write_botocore_repeated_is_counted(world: World, status: str, prepare: Any, notify: Any) -> None:
    """Its answer was lost, and the repeat finds what the first one has written."""

    prepare(world)
    notify(world.notifier(store=JobStore(Repeating(world.dynamodb), TABLE)))  # type: ignore[arg-type]  # a double of the client
    assert counted() == ONE[status]
    assert len(world.messages()) == 1


@each_ending
def test_an_end_is_counted_once_although_its_notification_fails_first(
    world: World, status: str, prepare: Any, notify: Any
) -> None:
    prepare(world)
    for _ in range(3):
        with pytest.raises(ClientError):
            notify(world.notifier(sns=Flaky(world.sns, {1: "before"})))
        assert counted() == ONE[status]
    for _ in range(2):
        world.notifier().remind(JOB_ID)  # as the sweep does
    assert counted() == ONE[status]
    assert len(world.messages()) == 1


def test_a_cancel_is_counted_once_by_any_notifier(world: World) -> None:
    world.paid_job()
    operator_of(world).cancel(JOB_ID)  # which has no metrics of its own
    for _ in range(2):
        interrupt(world, ended="ABORTED", error="JobClosed")
    assert counted() == {"JobsCanceled": 1}


def test_success_says_where_the_video_is(world: World) -> None:
    delivered(world)
    world.store.update(JOB_ID, error={"code": "old"})
    state = world.notifier().succeeded(EXECUTION)
    assert state == {"version": "1", "job_id": JOB_ID, "status": "succeeded", "video": OUTPUT}
    (message,) = world.messages()
    assert message.body["video"] == OUTPUT
    assert (message.body["paid"], message.body["video_id"], message.body["metadata"]) == ("yes", VIDEO_ID, {"order": 1})
    assert "error" not in message.body
    assert message.attributes["source"] == "api"
    assert message.body["execution"] == EXECUTION


CASES: list[tuple[Callable[[World], Any], Exception, str, str]] = [
    (lambda world: world.job(), InvalidInput("no"), "failed", "no"),
    (lambda world: world.job(), InsufficientCredits("no"), "failed", "no"),
    (lambda world: world.paid_job(), GenerationFailed("no", paid=Paid.YES), "failed", "yes"),
    (lambda world: world.paid_job(), TimedOut("late"), "timed_out", "yes"),
    # A hold that lasted too long must not make a paid video appear unpaid.
    (lambda world: world.paid_job(), AuthenticationFailed("no", paid=Paid.YES), "timed_out", "yes"),
    (lambda world: claimed(world), SubmissionUncertain("?"), "uncertain", "unknown"),
    # The attempt that seemed lost has returned with an error, and released its claim.
    (lambda world: world.job(), SubmissionUncertain("?"), "uncertain", "no"),
    (lambda world: claimed(world), InvalidInput("no"), "uncertain", "unknown"),
    (lambda world: claimed(world), InsufficientCredits("no"), "uncertain", "unknown"),
]


def claimed(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.age_claim()


BEFORE_THE_VIDEO = [
    GenerationFailed("no"),
    AssetMissing("no"),
    InvalidInput("no"),
    InsufficientCredits("no"),
    DailyLimitReached("no"),
    JobClosed("no"),
    SubmissionUncertain("?"),
]


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.DELIVERING, Status.ON_HOLD, Status.INTERRUPTED])
@pytest.mark.parametrize("error", BEFORE_THE_VIDEO, ids=lambda error: type(error).__name__)
def test_an_error_from_before_its_video_ends_no_job_that_has_one(
    world: World, error: Exception, status: Status
) -> None:
    """An abandoned attempt keeps running, and was accepted after another one had failed."""
    world.paid_job()
    if status is not Status.PROCESSING:
        world.store.transition(JOB_ID, status)
    before = world.record()
    state = world.notifier().failed(EXECUTION, caught(error))
    assert (state["status"], state["error"]["Error"]) == (status, type(error).__name__)
    assert (world.record(), world.messages()) == (before, [])


def test_a_video_accepted_while_its_job_closes_keeps_the_job_open(world: World) -> None:
    world.job()

    class Late(JobStore):
        def close(self, job_id: str, target: Status, **options: Any) -> Any:
            if target is Status.FAILED:
                world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
                world.store.record_accepted(JOB_ID, VIDEO_ID, submitted_at=1, deadline_at=2)
            return super().close(job_id, target, **options)

    world.notifier(store=Late(world.dynamodb, TABLE)).failed(EXECUTION, MISSING)
    assert (world.record().status, world.messages()) == (Status.PROCESSING, [])


HOLDS: dict[str, tuple[Fault, int, int, int]] = {
    "the account": (InsufficientCredits("no"), 0, 900, 72 * 3600),
    "the account, for two hours": (InsufficientCredits("no"), 7200, 900, 70 * 3600),
    "the daily limit": (DailyLimitReached("no"), 0, 900, 14 * 86_400),
    "an unknown price": (PriceUnknown("no"), 0, 900, 14 * 86_400),
    "the daily limit, for five hours": (DailyLimitReached("no"), 18_000, 1800, 14 * 86_400 - 18_000),
}


@pytest.mark.parametrize("kind", HOLDS)
def test_a_job_on_hold_says_when_it_is_tried_again_and_until_when(world: World, kind: str) -> None:
    """Covers a job that an older version put on hold, with both kinds of hold in `held_since`."""
    fault, held_for, next_try, end = HOLDS[kind]
    world.job()
    if held_for:
        since = int(time.time()) - held_for
        world.store.transition(JOB_ID, Status.ON_HOLD, held_since=since, error=fault.document())
    answer = world.notifier().on_hold(EXECUTION, caught(fault))
    shown = world.lookup().show(JOB_ID)
    until = {
        name: datetime.fromisoformat(shown[name]).timestamp() - time.time() for name in ("next_try_at", "held_until")
    }
    assert until == {"next_try_at": pytest.approx(next_try, abs=3), "held_until": pytest.approx(end, abs=3)}
    assert answer["wait_seconds"] == next_try
    world.store.claim(JOB_ID, "attempt")
    assert not {"next_try_at", "held_until"} & set(world.lookup().show(JOB_ID))


@pytest.mark.parametrize(("prepare", "error", "status", "paid"), CASES)
def test_a_failure_ends_the_job_by_what_was_paid(
    world: World, prepare: Callable[[World], Any], error: Exception, status: str, paid: str
) -> None:
    prepare(world)
    state = world.notifier().failed(EXECUTION, caught(error))
    assert (state["status"], world.record().status) == (status, status)
    assert state["error"]["Error"] == type(error).__name__
    document = json.loads(str(error))
    if isinstance(error, AccountFault) and status != "uncertain":
        advice = "`resubmit`" if status == "failed" else "`attach`"
        assert (world.record().error or {})["advice"].startswith(document["advice"])
        assert advice in (world.record().error or {})["advice"]
        document["advice"] = (world.record().error or {})["advice"]
    assert json.loads(state["error"]["Cause"]) == document == world.record().error
    (message,) = world.messages()
    assert (message.body["status"], message.body["paid"]) == (status, paid)
    assert message.attributes["error_code"] == json.loads(str(error))["code"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"Error": "Lambda.Unknown", "Cause": "The function went away"}, "The function went away"),
        (
            {"Error": "Sandbox.Timedout", "Cause": '{"errorMessage": "Task timed out after 60.00 seconds"}'},
            "Task timed out after 60.00 seconds",
        ),
        ({"Error": "States.Runtime", "Cause": "input: my secret prompt"}, "the execution ended with States.Runtime"),
        ({"Error": "States.Timeout"}, "the execution ended with States.Timeout"),
        ({"Error": "KeyError", "Cause": '{"errorMessage": "my secret"}'}, "the execution ended with KeyError"),
        ({"Error": "X", "Cause": "[1, 2]"}, "the execution ended with X"),
    ],
)
def test_the_platforms_text_is_passed_on_only_where_it_quotes_nothing(
    world: World, error: dict[str, str], said: str
) -> None:
    world.job()
    world.notifier().failed(EXECUTION, error)
    assert world.messages()[0].body["error"]["message"] == said


# ---- holds -----------------------------------------------------------------------------------------------


def test_a_second_end_of_the_same_kind_is_notified_under_another_id(world: World) -> None:
    world.job()
    world.notifier().failed(EXECUTION, caught(SubmissionUncertain("no answer")))
    later = operator_of(world).resubmit(JOB_ID)
    world.notifier().failed(later, caught(SubmissionUncertain("no answer again")))
    ids = [message.body["notification_id"] for message in world.messages()]
    assert ids == [f"{JOB_ID}/uncertain", f"{JOB_ID}/uncertain#r1"]


def test_a_second_cancel_is_notified_under_another_id(world: World) -> None:
    world.paid_job()
    world.notifier().canceled(JOB_ID)
    operator_of(world).attach(JOB_ID, VIDEO_ID)
    world.notifier().canceled(JOB_ID)
    ids = [message.body["notification_id"] for message in world.messages()]
    assert ids == [f"{JOB_ID}/canceled", f"{JOB_ID}/canceled#r1"]


def test_a_hold_is_notified_once_however_often_it_is_tried(world: World) -> None:
    world.job()
    for number, attempt in enumerate(("one", "two", "three")):
        world.store.claim(JOB_ID, attempt, given_back=number, execution=EXECUTION)
        world.store.release(JOB_ID, attempt, {"code": "rate_limited"})
        state = world.notifier().on_hold(EXECUTION, NO_CREDITS)
        assert (state["expired"], state["wait_seconds"], state["video_id"]) == (False, 900, None)
        assert state["error"] == NO_CREDITS
    assert len(world.messages()) == 1


def test_each_hold_is_notified_under_its_own_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.paid_job()
    now = 1_800_000_000.1
    for hold in (0, 0.5):  # seconds
        monkeypatch.setattr(time, "time", lambda hold=hold: now + hold)
        assert world.notifier().on_hold(EXECUTION, NO_CREDITS)["video_id"] == VIDEO_ID
        world.store.record_accepted(JOB_ID, VIDEO_ID)
    ids = [message.body["notification_id"] for message in world.messages()]
    assert len(set(ids)) == len(ids) == 2


def test_a_hold_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.job()
    now = time.time()
    assert not world.notifier().on_hold(EXECUTION, NO_CREDITS)["expired"]
    for seconds, expired in ((72 * 3600 - 10, False), (72 * 3600 + 10, True)):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: now + seconds)
        assert world.notifier().on_hold(EXECUTION, NO_CREDITS)["expired"] is expired
    world.notifier().failed(EXECUTION, NO_CREDITS)
    assert [message.body["status"] for message in world.messages()] == ["on_hold", "failed"]
    assert world.record().held_since is None


def test_no_hold_hours_fail_at_once(world: World) -> None:
    world.job()
    assert world.notifier(hold_hours=0).on_hold(EXECUTION, NO_CREDITS)["expired"]
    assert world.messages() == []


@pytest.mark.parametrize("hold_hours", [0, 1])
@pytest.mark.parametrize("fault", LIMIT_ERRORS, ids=lambda fault: fault.code)
def test_the_limits_holds_last_two_weeks_and_end_with_advice_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: type[Fault], hold_hours: int
) -> None:
    world.job()
    notifier, error, now = world.notifier(hold_hours=hold_hours), caught(fault("It is so.")), time.time()
    for days, expired in ((0, False), (13.9, False), (14.1, True)):
        monkeypatch.setattr(time, "time", lambda days=days: now + days * 86_400)
        assert notifier.on_hold(EXECUTION, error)["expired"] is expired
    notifier.failed(EXECUTION, error)
    held, ended = world.messages()
    assert (held.body["status"], ended.body["status"]) == ("on_hold", "failed")
    assert fault.advice in held.email
    assert fault.advice not in ended.email
    assert "is not tried again automatically" in ended.email
    assert "`resubmit`" in ended.email


ENDS_OF_HOLDS: dict[str, Callable[[World], Any]] = {
    "paid": lambda world: world.store.record_accepted(JOB_ID, VIDEO_ID),
    "failed": lambda world: world.notifier().failed(EXECUTION, NO_CREDITS),
    "canceled": lambda world: world.notifier().canceled(JOB_ID),
    "canceled by an operator": lambda world: operator_of(world).cancel(JOB_ID),
    "interrupted": lambda world: interrupt(world),
    "resubmitted": lambda world: (world.store.transition(JOB_ID, Status.FAILED), operator_of(world).resubmit(JOB_ID)),
    "attached": lambda world: (
        world.store.transition(JOB_ID, Status.FAILED),
        operator_of(world).attach(JOB_ID, VIDEO_ID),
    ),
}


@pytest.mark.parametrize("end", ENDS_OF_HOLDS)
def test_what_ends_one_kind_of_hold_ends_the_other(world: World, end: str) -> None:
    world.job()
    for error in (caught(DailyLimitReached("no")), NO_CREDITS):
        world.notifier().on_hold(EXECUTION, error)
    assert None not in (world.record().held_since, world.record().limit_held_since)
    ENDS_OF_HOLDS[end](world)
    assert (world.record().held_since, world.record().limit_held_since) == (None, None)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_job_that_ended_is_not_held(world: World, status: Status) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    world.store.transition(JOB_ID, status)
    assert world.notifier().on_hold(EXECUTION, NO_CREDITS)["expired"]
    assert (world.record().status, world.messages()) == (status, [])


def test_a_job_canceled_while_it_is_being_held_stays_canceled(world: World) -> None:
    world.paid_job()
    world.notifier().on_hold(EXECUTION, NO_CREDITS)

    class Canceling(JobStore):
        def transition(self, job_id: str, target: Status, **options: Any) -> Any:
            world.store.transition(JOB_ID, Status.CANCELED)
            return super().transition(job_id, target, **options)

    assert world.notifier(store=Canceling(world.dynamodb, TABLE)).on_hold(EXECUTION, NO_CREDITS)["expired"]
    assert world.record().status is Status.CANCELED


# ---- interruptions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(OPEN))
def test_whatever_was_open_is_interrupted_with_advice(world: World, status: Status) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    if status is not Status.INTERRUPTED:
        world.store.transition(JOB_ID, status)
    interrupt(world, error="", cause="", ended="TIMED_OUT")
    (message,) = world.messages()
    assert message.body["status"] == "interrupted"
    assert message.body["error"]["error"] == "TIMED_OUT"
    assert "redrive" in message.body["error"]["advice"]


def test_each_interruption_is_notified_once(world: World) -> None:
    world.paid_job()
    interrupt(world, "1")
    interrupt(world, "1")
    world.poller().poll(EXECUTION, VIDEO_ID, int(time.time()))
    interrupt(world, "1")
    assert world.record().status is Status.PROCESSING
    interrupt(world, "2")
    ids = [message.body["notification_id"] for message in world.messages()]
    assert len(set(ids)) == len(ids) == 2


@pytest.mark.parametrize("late", ["1", "2", "1970-01-01T00:00:00.001Z"])
@pytest.mark.parametrize("goes_on", [Status.PROCESSING, Status.DELIVERING])
def test_news_that_is_late_interrupts_no_job_that_goes_on(world: World, late: str, goes_on: Status) -> None:
    """EventBridge retries for a day, and may repeat an event."""
    world.paid_job()
    for moment in ("1", "2"):
        interrupt(world, moment)
        world.poller().poll(EXECUTION, VIDEO_ID, int(time.time()))
    world.store.transition(JOB_ID, goes_on, stay=True)
    interrupt(world, late)
    assert world.record().status is goes_on
    assert len(world.messages()) == 2
    interrupt(world, "3")
    assert world.record().status is Status.INTERRUPTED


def test_a_hold_after_an_interruption_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.paid_job()
    world.notifier().on_hold(EXECUTION, NO_CREDITS)
    interrupt(world)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100 * 3600)
    assert not world.notifier().on_hold(EXECUTION, NO_CREDITS)["expired"]
    assert [message.body["status"] for message in world.messages()] == ["on_hold", "interrupted", "on_hold"]


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_the_end_of_an_ended_jobs_execution_changes_nothing(world: World, status: Status) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    before = world.store.transition(JOB_ID, status)
    interrupt(world)
    assert (world.record(), world.messages()) == (before, [])


def test_an_execution_without_a_record_gets_one(world: World) -> None:
    interrupt(world, execution=arn_of("campaign"), error="Runtime.ImportModuleError")
    job = world.record("campaign")
    assert (job.status, job.execution) == (Status.INTERRUPTED, arn_of("campaign"))
    assert len(world.messages()) == 1


# ---- foreign executions ----------------------------------------------------------------------------------

FOREIGN = arn_of(f"{JOB_ID}.r1")


@pytest.mark.parametrize(
    "notify",
    [
        lambda notifier: notifier.succeeded(FOREIGN),
        lambda notifier: notifier.failed(FOREIGN, caught(JobClosed("the job is processing"))),
        lambda notifier: notifier.interrupted(FOREIGN, ended="FAILED", error="X", cause="", moment="1"),
    ],
)
def test_a_foreign_execution_does_not_end_the_job(world: World, notify: Any) -> None:
    before = world.paid_job()
    notify(world.notifier())
    assert (world.record(), world.messages()) == (before, [])


@pytest.mark.parametrize("due", ["on_hold#1", "interrupted#1", "failed"])
def test_an_outdated_notification_is_not_sent(world: World, due: str) -> None:
    """It is left from a failed SNS call, and found by a foreign or repeated event after the job has continued."""
    world.paid_job()
    world.store.update(JOB_ID, notice_due=due)
    interrupt(world, execution=FOREIGN)
    assert not world.messages()


# ---- the message -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["uploads/ shoe.jpg", "uploads/schühchen 👟\n.jpg", "uploads/" + "x" * 200, "uploads/   "]
)
def test_a_subject_is_one_that_sns_takes(world: World, key: str) -> None:
    world.store.create(JOB_ID, source={"type": "upload", "key": key})
    world.notifier().failed(EXECUTION, MISSING)
    (message,) = world.messages()
    assert message.subject.isascii()
    assert message.subject.isprintable()
    assert 0 < len(message.subject) <= 100
    assert message.subject[0] != " "


def test_an_attribute_that_sns_would_refuse_is_left_out(world: World) -> None:
    world.store.create(JOB_ID, source={"type": "upload", "key": "uploads/\x01/a.jpg"}, recipe="\x01")
    world.notifier().failed(EXECUTION, MISSING)
    (message,) = world.messages()
    assert set(message.attributes) == {"status", "source", "error_code"}


def test_the_caller_and_the_request_are_nobodys_business(world: World) -> None:
    world.store.create(JOB_ID, source={"type": "api", "caller": "arn:me"}, request='{"prompt": "secret prompt"}')
    world.notifier().failed(EXECUTION, MISSING)
    text = json.dumps(world.messages()[0].body)
    assert "arn:me" not in text
    assert "secret prompt" not in text


# ---- signed links ----------------------------------------------------------------------------------------


def accepted(world: World) -> Job:
    """Record a job's video, without the write that would have replaced the request."""
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    return world.store.record_accepted(JOB_ID, VIDEO_ID, submitted_at=1, deadline_at=2)


def canceled_then_reminded(world: World) -> None:
    world.store.transition(JOB_ID, Status.CANCELED, notice_due="canceled")
    world.notifier().remind(JOB_ID)


ENDS: dict[str, Callable[[World], object]] = {
    "succeeded": lambda world: (
        accepted(world),
        world.store.transition(JOB_ID, Status.DELIVERING),
        world.notifier().succeeded(EXECUTION),
    ),
    "failed": lambda world: world.notifier().failed(EXECUTION, caught(InvalidInput("no"))),
    "uncertain": lambda world: world.notifier().failed(EXECUTION, caught(SubmissionUncertain("no answer"))),
    "timed out": lambda world: (accepted(world), world.notifier().failed(EXECUTION, caught(TimedOut("late")))),
    "hold is over": lambda world: world.notifier().failed(EXECUTION, caught(InsufficientCredits("none"))),
    "canceled by its owner": lambda world: world.notifier().canceled(JOB_ID),
    "canceled by an operator": lambda world: operator_of(world).cancel(JOB_ID),
    "canceled, notified by the sweep": canceled_then_reminded,
    "its execution's input was too large": lambda world: world.notifier().interrupted(
        EXECUTION, ended="FAILED", error="States.DataLimitExceeded", cause="", moment="1"
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_ended_job_keeps_nothing_that_opens_a_link(world: World, end: str) -> None:
    world.job(request=BODY)
    ENDS[end](world)
    job = world.record()
    assert job.is_terminal
    assert json.loads(job.request or "") == PLAIN_BODY
    assert job.links_stripped
    assert "0123456789abcdef" not in json.dumps(world.dynamodb.scan(TableName=TABLE)["Items"])


@pytest.mark.parametrize("status", sorted(OPEN))
def test_an_open_job_keeps_its_links(world: World, status: Status) -> None:
    """It may still be sent: a held job with the next try, an interrupted one by a redrive."""
    job = world.job(request=BODY)
    world.store.strip_links(replace(job, status=status))
    assert json.loads(world.record().request or "") == BODY
    assert not world.record().links_stripped


def test_a_job_that_was_taken_up_while_it_ended_keeps_its_links(world: World) -> None:
    ended = world.job(request=BODY)
    world.store.strip_links(replace(ended, status=Status.FAILED))
    assert not world.record().links_stripped


def test_a_job_whose_links_open_nothing_is_left_as_it_is(world: World) -> None:
    world.job(request=PLAIN_BODY)
    world.notifier().failed(EXECUTION, caught(InvalidInput("no")))
    job = world.record()
    assert (json.loads(job.request or ""), job.links_stripped) == (PLAIN_BODY, False)


def test_an_end_cut_off_before_links_were_removed_is_finished_by_a_repeat(world: World) -> None:
    world.job(request=BODY)
    table: Any = Flaky(world.dynamodb, {2: "before"}, only="update_item")
    with pytest.raises(ClientError):
        world.notifier(store=JobStore(table, TABLE)).failed(EXECUTION, caught(InvalidInput("no")))
    assert not world.messages()
    world.notifier().remind(JOB_ID)
    assert world.record().links_stripped
    assert len(world.messages()) == 1


def test_a_request_that_cannot_be_sent_does_not_keep_its_job_open(world: World) -> None:
    world.store.create(JOB_ID, source={"type": "execution"}, request="[" * 100_000 + "]" * 100_000)
    world.notifier().failed(EXECUTION, caught(InvalidInput("no")))
    assert (world.record().request, world.record().links_stripped) == ("{}", True)
