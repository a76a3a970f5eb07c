"""Test that every writer follows the table of transitions, and that only one attempt gets the claim."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.credits.counter import CreditCounter
from shared.jobs.errors import DailyLimitReached
from shared.jobs.states import OPEN, STATES, TERMINAL, Status, sources_of
from shared.jobs.transitions import JobStore, TransitionConflict
from tests.support.fakes import EXECUTION, JOB_ID, TABLE, VIDEO_ID, Flaky, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobs.record import Hold, Job

TRANSITION_PAIRS = [(source, target) for source in Status for target in Status]


class OneAtATime(Flaky):
    """A client whose calls are serial: DynamoDB writes items atomically, and moto does not with threads."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        member = super().__getattr__(name)
        if name == "exceptions":
            return member

        def call(**arguments: Any) -> Any:
            with self._lock:
                return member(**arguments)

        return call


def put(world: World, status: Status, **attributes: Any) -> Job:
    """Create a job in this status directly."""
    world.job(**attributes)
    world.overwrite(JOB_ID, status=status.value)
    return world.record()


def test_the_table_of_transitions_is_complete() -> None:
    assert set(STATES) == set(Status)
    assert set(Status) == OPEN | TERMINAL
    assert {status.value for status in TERMINAL} >= {"succeeded", "failed", "uncertain", "timed_out", "canceled"}
    assert all(STATES[status].summary and STATES[status].refused for status in TERMINAL)
    assert {bool(state.metric) == bool(state.summary) for state in STATES.values()} == {True}
    assert STATES[Status.SUCCEEDED].leads_to == {Status.PROCESSING}, "for another video that was paid for as well"
    # Every open job can be interrupted, and an interruption permits the same transitions.
    assert all(Status.INTERRUPTED in STATES[status].leads_to for status in OPEN)
    of_open = {target for source in OPEN for target in STATES[source].leads_to}
    assert STATES[Status.INTERRUPTED].leads_to >= of_open - {Status.INTERRUPTED}


@pytest.mark.parametrize("reopen", [False, True], ids=["automatically", "by an operator"])
def test_every_transition_of_the_table_and_no_other(world: World, reopen: bool) -> None:
    world.job()
    item = world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": JOB_ID}})["Item"]
    for source, target in TRANSITION_PAIRS:
        if reopen and source in OPEN:
            continue
        world.dynamodb.put_item(TableName=TABLE, Item=item | {"status": {"S": source.value}})
        if target in STATES[source].leads_to and (reopen or source in OPEN):
            job = world.store.transition(JOB_ID, target, reopen=reopen)
            assert (job.status, set(job.timeline)) == (target, {"queued", target.value})
        else:
            with pytest.raises(TransitionConflict) as refused:
                world.store.transition(JOB_ID, target, reopen=reopen)
            assert refused.value.current is not None
            assert refused.value.current.status is source
    assert sources_of(Status.QUEUED) < sources_of(Status.QUEUED, reopen=True)


def test_no_transition_creates_a_job(world: World) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: world.store.transition(JOB_ID, Status.PROCESSING),
        lambda: world.store.update(JOB_ID, output={"key": "x"}),
        lambda: world.store.record_video(JOB_ID, VIDEO_ID),
        lambda: world.store.record_accepted(JOB_ID, VIDEO_ID),
        lambda: world.store.release(JOB_ID, "attempt", {"code": "rate_limited"}),
        lambda: world.store.refuse_claim(JOB_ID, "attempt"),
        lambda: world.store.end_attempt(JOB_ID, "attempt"),
    ]
    for attempt in attempts:
        with pytest.raises(TransitionConflict) as refused:
            attempt()
        assert refused.value.current is None
    world.store.notification_sent(JOB_ID, "failed")
    assert world.store.get(JOB_ID) is None


def test_a_second_create_finds_the_first(world: World) -> None:
    first, made = world.store.create(JOB_ID, source={"type": "api"}, fingerprint="one")
    second, made_again = world.store.create(JOB_ID, source={"type": "upload"}, fingerprint="two")
    assert (made, made_again) == (True, False)
    assert second == first == world.record()
    assert first.status is Status.QUEUED


def test_one_of_many_attempts_gets_the_claim(world: World) -> None:
    world.job()
    start, won = threading.Barrier(8), []
    store = JobStore(OneAtATime(world.dynamodb), TABLE)  # type: ignore[arg-type]  # a double of the client

    def race(attempt: str) -> None:
        start.wait(10)
        try:
            store.claim(JOB_ID, attempt)
        except TransitionConflict:
            return
        won.append(attempt)

    threads = [threading.Thread(target=race, args=(f"attempt-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    job = world.record()
    assert (job.status, job.claim) == (Status.SUBMITTING, won[0])


def test_a_claim_whose_response_was_lost_is_found_by_its_attempt_only(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "mine")
    assert world.store.claim(JOB_ID, "mine").claim == "mine"
    with pytest.raises(TransitionConflict):
        world.store.claim(JOB_ID, "yours")
    with pytest.raises(TransitionConflict):
        world.store.claim(JOB_ID, "yours", take_over="somebody else's")
    assert world.store.claim(JOB_ID, "yours", take_over="mine").claim == "yours"


@pytest.mark.parametrize("take_over", [None, "mine"])
@pytest.mark.parametrize("status", sorted(set(Status) - {Status.QUEUED}))
def test_a_paid_or_ended_job_cannot_be_claimed(world: World, status: Status, take_over: str | None) -> None:
    put(world, status, video_id=VIDEO_ID)
    with pytest.raises(TransitionConflict):
        world.store.claim(JOB_ID, "attempt", take_over=take_over)
    assert world.record().claim is None


def test_only_its_owner_gives_a_claim_back(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "mine")
    with pytest.raises(TransitionConflict):
        world.store.release(JOB_ID, "yours", {"code": "rate_limited"})
    assert world.record().claim == "mine"
    world.store.release(JOB_ID, "mine", {"code": "rate_limited"})
    released = world.record()
    assert (released.status, released.claim) == (Status.QUEUED, None)
    with pytest.raises(TransitionConflict):
        world.store.release(JOB_ID, "mine", {"code": "rate_limited"})


def test_a_job_that_ended_meanwhile_loses_its_claim_and_keeps_its_end(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "mine")
    world.store.transition(JOB_ID, Status.CANCELED)
    world.store.release(JOB_ID, "mine", {"code": "rate_limited"})
    job = world.record()
    assert (job.status, job.claim) == (Status.CANCELED, None)


def test_a_job_has_one_video(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt")
    first = world.store.record_accepted(JOB_ID, VIDEO_ID, credits_used=2.5)
    again = world.store.record_accepted(JOB_ID, VIDEO_ID)
    assert (first.status, first.claim, first.credits_used) == (Status.PROCESSING, None, 2.5)
    assert again.video_id == VIDEO_ID
    for write in (world.store.record_accepted, world.store.record_video):
        with pytest.raises(TransitionConflict) as refused:
            write(JOB_ID, "another")
        assert refused.value.current is not None
        assert refused.value.current.video_id == VIDEO_ID
    assert world.record() == again


def test_a_video_is_kept_for_a_job_that_ended(world: World) -> None:
    put(world, Status.CANCELED, claim="attempt")
    with pytest.raises(TransitionConflict):
        world.store.record_accepted(JOB_ID, VIDEO_ID)
    job = world.store.record_video(JOB_ID, VIDEO_ID, credits_used=5)
    assert (job.status, job.video_id, job.claim, job.credits_used) == (Status.CANCELED, VIDEO_ID, None, 5)


def test_a_pending_notification_is_removed_only_by_its_own_id(world: World) -> None:
    world.job()
    world.store.update(JOB_ID, notice_due="interrupted#2")
    world.store.notification_sent(JOB_ID, "interrupted#1")
    assert world.record().notice_due == "interrupted#2"
    world.store.notification_sent(JOB_ID, "interrupted#2")
    assert world.record().notice_due is None


LABELS: list[Any] = [
    {"price": 0.1, "big": 12345678901234567890123456789012345678901234567890, "small": 1e-300},
    {"name": "Schühchen 👟", "": "empty", "nested": {"list": [1, None, True, {"x": []}]}},
    json.loads('{"deep": ' + "[" * 60 + "]" * 60 + "}"),
]


@pytest.mark.parametrize("labels", LABELS)
def test_labels_come_back_as_they_were(world: World, labels: dict[str, Any]) -> None:
    world.job(metadata=labels)
    assert world.record().metadata == labels
    assert world.store.update(JOB_ID, metadata={**labels, "more": 1}).metadata == {**labels, "more": 1}


def test_numbers_and_texts_come_back_as_they_were(world: World) -> None:
    world.job()
    output = {"seconds": 5.033333, "bytes": 12, "key": "videos/ü👟.mp4", "tracks": [1.5, 2]}
    job = world.store.update(JOB_ID, output=output, submitted_at=1_700_000_000)
    assert job == world.record()
    assert job.output == output
    assert isinstance(job.submitted_at, int)
    assert world.store.update(JOB_ID, error=None, credits_used=2.5).output == output


def test_a_record_expires_after_its_last_change_of_status(world: World) -> None:
    def expires_at() -> int:
        item = world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": JOB_ID}})["Item"]
        return int(item["expires_at"]["N"])

    store = JobStore(world.dynamodb, TABLE, retention_days=30)
    store.create(JOB_ID, source={"type": "api"})
    assert 0 <= expires_at() - time.time() - 30 * 86_400 + 5 <= 10
    JobStore(world.dynamodb, TABLE, retention_days=60).transition(JOB_ID, Status.FAILED)
    assert 0 <= expires_at() - time.time() - 60 * 86_400 + 5 <= 10


@pytest.fixture
def watched(world: World) -> tuple[JobStore, Flaky]:
    client = Flaky(world.dynamodb)
    return JobStore(client, TABLE), client  # type: ignore[arg-type]  # a double of the client


def test_nothing_is_written_without_a_condition(watched: tuple[JobStore, Flaky]) -> None:
    store, client = watched
    store.create(JOB_ID, source={"type": "api"})
    store.claim(JOB_ID, "one")
    store.release(JOB_ID, "one", {"code": "rate_limited"})
    store.claim(JOB_ID, "two", given_back=1)
    store.claim(JOB_ID, "three", take_over="two", given_back=1)
    store.record_accepted(JOB_ID, VIDEO_ID)
    store.record_video(JOB_ID, VIDEO_ID)
    store.update(JOB_ID, notice_due="x")
    store.notification_sent(JOB_ID, "x")
    store.transition(JOB_ID, Status.CANCELED)
    budget = CreditCounter(client, TABLE, 10)  # type: ignore[arg-type]  # a double of the client
    counted, _ = store.create("counted", source={"type": "api"})
    for attempt in ("one", "two"):
        reserved, counter = budget.reserve(5)
        store.claim_counted(counted, attempt, reservation=reserved, counter=counter)
        store.release("counted", attempt, {"code": "rate_limited"}, counter=budget.settle(reserved, 0))
        counted = replace(counted, claims_given_back=counted.claims_given_back + 1)
    reserved, counter = budget.reserve(5)
    store.claim_counted(counted, "three", reservation=reserved, counter=counter)
    store.record_accepted("counted", VIDEO_ID)
    store.settle("counted", VIDEO_ID, counter=budget.settle(reserved, 4))
    paid = store.get("counted")
    assert paid is not None
    store.add_video(paid, "another", {"credits_used": 4}, counter=budget.settle(reserved, 4))
    store.note_owner("another", "counted")
    store.refuse_claim("counted", "four")
    store.create("other", source={"type": "api"})
    store.claim("other", "one")
    store.end_attempt("other", "one")
    other = store.get("other")
    assert other is not None
    store.name_video(other, "perhaps")
    down, _ = store.create("down", source={"type": "api"})
    down = store.transition("down", Status.INTERRUPTED, redrive_at=1, redrive_until=2, interrupted_by="an end")
    store.redriving(down, deadline_at=None)
    store.end_outage("down")
    store.take_up(down, Status.SUBMITTING, EXECUTION)
    taken_up = store.get("down")
    assert taken_up is not None
    store.take_up(taken_up, Status.PROCESSING, EXECUTION, owner=store.read_owner("given"), video_id="given")
    store.separate_holds(store.update("down", held_since=1, error={"code": DailyLimitReached.code}))
    store.create("signed", source={"type": "api"}, request='{"a": "https://example.com/x?sig=1"}')
    store.strip_links(store.cancel("signed", None))
    store.create("finished", source={"type": "api"})
    store.record_accepted("finished", "its own")
    store.begin_delivery("finished", "its own")
    writes = [(name, arguments) for name, arguments in client.calls if name != "get_item"]
    assert {name for name, _ in writes} == {"put_item", "update_item", "transact_write_items"}
    conditional = [
        arguments["TransactItems"][0]["Update"] if name == "transact_write_items" else arguments
        for name, arguments in writes
    ]
    assert all(arguments.get("ConditionExpression") for arguments in conditional)
    covered = {name for name, member in vars(JobStore).items() if callable(member) and not name.startswith("_")}
    assert covered == {
        *("create", "claim", "release", "record_accepted", "record_video", "update", "notification_sent", "transition"),
        *("claim_counted", "settle", "refuse_claim", "end_attempt", "add_video", "name_video", "note_owner"),
        *("take_up", "redriving", "end_outage", "strip_links", "separate_holds"),
        *("begin_delivery", "cancel", "close", "hold", "interrupt", "interrupt_again", "correct", "set_source"),
    }


def test_reads_are_consistent(watched: tuple[JobStore, Flaky]) -> None:
    store, client = watched
    store.get(JOB_ID)
    assert client.calls == [
        ("get_item", {"TableName": TABLE, "Key": {"job_id": {"S": JOB_ID}}, "ConsistentRead": True})
    ]


def test_a_record_of_a_newer_version_can_be_read(world: World) -> None:
    world.job(something_new={"a": 1})
    assert world.record().job_id == JOB_ID


def test_a_record_shows_no_request_when_it_is_printed(world: World) -> None:
    assert "private" not in repr(world.job())


@pytest.mark.parametrize("kind", ["held_since", "limit_held_since"])
def test_a_hold_begins_once_for_all_who_read_the_job_before(world: World, kind: Hold) -> None:
    seen = world.paid_job()
    first = world.store.hold(seen, kind)
    with pytest.raises(TransitionConflict):
        world.store.hold(seen, kind)
    assert world.record() == first


def test_a_form_is_corrected_once_for_all_who_read_the_job_before(world: World) -> None:
    world.job()
    world.store.update(JOB_ID, execution=EXECUTION)
    seen = world.store.close(JOB_ID, Status.FAILED, execution=EXECUTION)
    first = world.store.correct(seen, source={"type": "upload"}, execution=f"{EXECUTION}-r1")
    world.store.close(JOB_ID, Status.FAILED, execution=f"{EXECUTION}-r1")
    with pytest.raises(TransitionConflict):
        world.store.correct(seen, source={"type": "upload"}, execution=f"{EXECUTION}-r1")
    assert (world.record().status, world.record().resubmissions) == (Status.FAILED, first.resubmissions)
