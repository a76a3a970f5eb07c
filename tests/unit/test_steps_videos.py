"""Test second videos that were paid for: the record has them, people are notified, and attach fetches them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError

from ops.exits import Refused
from ops.facts import facts
from ops.finder import Finder
from shared import runtime
from shared.faults import Fault
from shared.genviral.errors import SubmissionUncertain, SubmissionUnconfirmed
from shared.jobs.errors import JobClosed
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.steps.batch_report import _run
from shared.steps.deliver import key_of
from shared.steps.videos import record_named_video, record_video
from tests.support.credits import priced, spent
from tests.support.fakes import (
    EXECUTION,
    JOB_ID,
    TABLE,
    UPLOADS,
    VIDEO_ID,
    VIDEOS,
    Flaky,
    Vendor,
    World,
    accepting,
    arn_of,
    caught,
    refusing,
    showing,
)
from tests.support.notifications import valid
from tests.support.operators import Machine, alive, dead, follow, operator_of, with_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobs.record import Job
    from tests.support.fakes import Answer

FIRST, SECOND = VIDEO_ID, "33333333-3333-3333-3333-333333333333"
LATER = arn_of(f"{JOB_ID}.r1")
FACTS = {"submitted_at": 1_800_000_000, "credits_used": 7}
ORIGIN = {"source": {"type": "api"}}


def count(name: str) -> float:
    """Return how often a metric was counted so far."""
    return float(sum(runtime.metrics.metric_set.get(name, {"Value": []})["Value"]))


def record(world: World, video_id: str = SECOND, store: JobStore | None = None, **options: Any) -> Job:
    return record_video(store or world.store, video_id, FACTS, job_id=JOB_ID, origin=ORIGIN, **options)


def others(world: World) -> dict[str, Any]:
    return world.record().other_videos


# ---- how there come to be two ----------------------------------------------------------------------------------------


def resubmitted_meanwhile(world: World, answer: Answer, **options: Any) -> Answer:
    """Let an operator pay again during the first call, whose attempt lives longer than allowed."""

    def slow(request: httpx.Request) -> httpx.Response:
        world.age_claim()
        dead(world)
        world.notifier().failed(EXECUTION, {"Error": "SubmissionUncertain", "Cause": "{}"})
        operator_of(world).resubmit(JOB_ID)
        assert world.submitter(**options).submit(LATER, {})["video_id"] == SECOND
        return answer(request)

    return slow


@pytest.mark.parametrize("limit", [0, 100], ids=["no limit", "daily limit"])
def test_two_paid_calls_that_an_operator_brought_about_are_both_known(world: World, limit: float) -> None:
    world.job()
    first = accepting(FIRST)
    limiter = world.limiter(limit) if limit else None
    world.know_price(3)  # or the second call would wait for the first one
    world.vendor = Vendor(
        [resubmitted_meanwhile(world, first, limiter=limiter), accepting(SECOND)], get=[priced(model=3)]
    )
    state = world.submitter(limiter=limiter).submit(EXECUTION, {})
    job = world.record()
    assert (state["video_id"], job.video_id, list(job.other_videos)) == (SECOND, SECOND, [FIRST])
    assert others(world)[FIRST]["credits_used"] == 5
    assert (job.credits_total, job.times_accepted, count("SecondVideos"), count("CreditsUsed")) == (10, 2, 1, 10)
    if limit:
        assert spent(world) == 10, "what both cost, and not what the list said"


def test_two_paid_calls_under_a_key_that_was_not_honoured_are_both_known(world: World) -> None:
    world.job()

    def slow(request: httpx.Request) -> httpx.Response:
        world.age_claim()
        assert world.submitter(trust=True).submit(EXECUTION, {})["video_id"] == SECOND
        return accepting(FIRST)(request)

    world.vendor = Vendor([slow, accepting(SECOND)])
    assert world.submitter(trust=True).submit(EXECUTION, {})["video_id"] == SECOND
    assert (world.record().video_id, list(others(world))) == (SECOND, [FIRST])


def test_a_key_that_was_honoured_brings_one_video(world: World) -> None:
    world.job()

    def slow(request: httpx.Request) -> httpx.Response:
        world.age_claim()
        world.submitter(trust=True).submit(EXECUTION, {})
        return accepting(FIRST)(request)

    world.vendor = Vendor([slow, accepting(FIRST)])
    world.submitter(trust=True).submit(EXECUTION, {})
    assert (world.record().video_id, others(world), count("SecondVideos")) == (FIRST, {}, 0)


def test_the_video_of_a_deleted_record_makes_a_new_one(world: World) -> None:
    made = world.job(metadata={"order": 1})

    def deleted(request: httpx.Request) -> httpx.Response:
        world.dynamodb.delete_item(TableName=TABLE, Key={"job_id": {"S": JOB_ID}})
        return accepting()(request)

    world.vendor = Vendor([deleted])
    assert world.submitter().submit(EXECUTION, {})["video_id"] == VIDEO_ID
    job = world.record()
    assert (job.status, job.video_id, job.source, job.execution) == (
        Status.PROCESSING,
        VIDEO_ID,
        made.source,
        EXECUTION,
    )
    assert (job.metadata, job.credits_used, job.request is not None) == ({"order": 1}, 5, True)


@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_no_failure_of_the_table_forgets_a_second_video(world: World, call: int, way: str) -> None:
    world.job()
    world.store.record_accepted(JOB_ID, FIRST)
    with contextlib.suppress(ClientError):
        record(world, store=JobStore(Flaky(world.dynamodb, {call: way}), TABLE))  # type: ignore[arg-type]  # a double of the client
    with pytest.raises(Fault):  # the poll step of the second one's execution
        world.poller().poll(LATER, SECOND, 1_800_000_000)
    assert (world.record().video_id, list(others(world))) == (FIRST, [SECOND])


@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize(("faults", "corrected"), [(1, True), (2, True), (20, False)])
def test_a_video_is_recorded_although_its_credits_cannot_be_corrected(
    world: World, faults: int, corrected: bool, way: str
) -> None:
    world.job()
    world.store.record_accepted(JOB_ID, FIRST)
    flaky = Flaky(world.dynamodb, dict.fromkeys(range(1, faults + 1), way), only="transact_write_items")
    reserved, _ = world.limiter(100).counter.reserve(5)
    correction = world.limiter(100).counter.settle(reserved, 7)
    record(world, store=JobStore(flaky, TABLE), counter=correction)  # type: ignore[arg-type]  # a double of the client
    assert others(world) == {SECOND: FACTS}
    assert spent(world) == (2 if corrected or way == "after" else 0)


@pytest.mark.parametrize("writer", ["an answer", "a named video", "an operator"])
def test_facts_of_a_further_video_survive_a_concurrent_writer(world: World, writer: str) -> None:
    world.paid_job()
    record_named_video(world.store, JOB_ID, SECOND)
    record_named_video(world.store, JOB_ID, "video-z")

    def accepted_meanwhile() -> None:
        assert others(world)[SECOND] == NAMED
        record(world)

    class Late(JobStore):
        def add_video(self, *given: Any, **options: Any) -> None:
            if "submitted_at" not in others(world)[SECOND]:
                accepted_meanwhile()
            super().add_video(*given, **options)

    late = Late(world.dynamodb, TABLE)
    if writer == "an answer":
        record(world, "video-y", store=late)
    elif writer == "a named video":
        record_named_video(late, JOB_ID, "video-y")
    else:
        world.store.transition(JOB_ID, Status.FAILED)
        machine = Machine(world, meanwhile=accepted_meanwhile)
        with contextlib.suppress(Refused):
            operator_of(world, machine).attach(JOB_ID, "video-z", force=True)
    assert others(world)[SECOND] == FACTS


def test_a_video_is_added_although_the_job_changes_meanwhile(world: World) -> None:
    world.paid_job()

    class Moving(JobStore):
        def add_video(self, *given: Any, **options: Any) -> None:
            if world.record().status is Status.PROCESSING:
                world.store.transition(JOB_ID, Status.DELIVERING)
                record(world, "a third one")
            super().add_video(*given, **options)

    record(world, store=Moving(world.dynamodb, TABLE))
    assert sorted(others(world)) == sorted([SECOND, "a third one"])


# ---- notifications ---------------------------------------------------------------------------------------------------


def test_the_notification_of_the_end_names_both(world: World) -> None:
    world.paid_job(credits_used=5)
    record(world)
    assert world.messages() == []
    world.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": "b", "key": "videos/a.mp4"})
    world.notifier().succeeded(EXECUTION)
    (message,) = world.messages()
    valid(message.body)
    assert message.body["other_videos"] == [{"video_id": SECOND, "credits_used": 7}]
    assert message.body["summary"] == "The video is ready. Genviral was paid for 2 videos of this job."
    assert f"video {SECOND} at Genviral (7 credits)" in message.email


ENDS = [Status.CANCELED, Status.UNCERTAIN, Status.FAILED, Status.TIMED_OUT, Status.ON_HOLD, Status.INTERRUPTED]


@pytest.mark.parametrize("notified", [True, False], ids=["notified before", "not notified yet"])
@pytest.mark.parametrize("status", ENDS, ids=lambda status: status.value)
def test_a_second_video_is_notified_again_under_the_same_status(world: World, status: Status, notified: bool) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    if status is not Status.INTERRUPTED:
        world.store.transition(JOB_ID, status)
    world.store.update(JOB_ID, notice_due=status.value, error={"code": "made_up", "message": "made up"})
    if notified:
        world.notifier().remind(JOB_ID)
    record(world)
    for _ in range(2):
        world.notifier().remind(JOB_ID)  # as the sweep does
    *before, last = world.messages()
    assert [message.body.get("other_videos") for message in before] == [None] * notified
    assert last.body["other_videos"] == [{"video_id": SECOND, "credits_used": 7}]
    assert len({message.body["notification_id"] for message in world.messages()}) == 1 + notified
    beside = {"JobsHeldByLimit", "JobsLeftInterrupted"}
    (metric,) = (name for name in runtime.metrics.metric_set if name.startswith("Jobs") and name not in beside)
    assert count(metric) == 1, "the status was entered once"
    assert world.record().counted is None


def test_callers_operators_and_reports_see_both(world: World) -> None:
    world.paid_job(credits_used=5)
    record(world)
    shown = world.lookup().show(JOB_ID)
    assert (shown["video_id"], shown["other_videos"]) == (FIRST, [{"video_id": SECOND, "credits_used": 7}])
    assert facts(world.record(), None)["other videos"] == [f"{SECOND}, 7 credits: attach {JOB_ID} {SECOND}"]
    planned = [{"job_id": JOB_ID, "model_id": "m", "source": {"line": 2}}]
    rows, sums = _run(planned, world.store.batch_get([JOB_ID]), None)
    assert (rows[0]["credits"], sums["credits_used"]) == (12, 12)
    assert rows[0]["other_videos"] == shown["other_videos"]


@pytest.mark.parametrize("attached", [False, True])
def test_a_job_is_found_by_either_video(world: World, attached: bool) -> None:
    with_index(world)
    with_second(world, Status.INTERRUPTED)
    if attached:
        operator_of(world).attach(JOB_ID, SECOND)
    finder = Finder(store=world.store, s3=world.s3, uploads=UPLOADS, videos=VIDEOS)
    for video_id in (FIRST, SECOND):
        assert [job.job_id for job in finder.find(video_id)] == [JOB_ID]
    with pytest.raises(Refused):
        finder.find("nobody's")


# ---- attach ----------------------------------------------------------------------------------------------------------


def with_second(world: World, status: Status) -> None:
    world.paid_job(credits_used=5)
    dead(world)
    for step in {
        Status.PROCESSING: (),
        Status.SUCCEEDED: (Status.DELIVERING, Status.SUCCEEDED),
    }.get(status, (Status.INTERRUPTED, status)):
        if world.record().status is not step:
            world.store.transition(JOB_ID, step)
    record(world)


@pytest.mark.parametrize(
    "status",
    [*(status for status in ENDS if status is not Status.ON_HOLD), Status.PROCESSING, Status.SUCCEEDED],
    ids=lambda status: status.value,
)
def test_attach_reaches_either_video_and_pays_nothing(world: World, status: Status) -> None:
    with_second(world, status)
    for number, (mine, other, credits_used) in enumerate(((SECOND, FIRST, 7), (FIRST, SECOND, 5)), 1):
        arn = operator_of(world).attach(JOB_ID, mine)
        assert arn == arn_of(f"{JOB_ID}.r{number}")
        job = world.record()
        assert (job.status, job.video_id, list(job.other_videos)) == (Status.PROCESSING, mine, [other])
        assert (job.credits_used, job.credits_total, job.times_accepted) == (credits_used, 12, 2)
        assert follow(world, arn)["video_id"] == mine
    assert not world.vendor.posts


def test_each_video_gets_a_file_of_its_own(world: World) -> None:
    with_second(world, Status.PROCESSING)
    first = key_of(world.record())
    output = {"bucket": "videos", "key": first}
    world.store.transition(JOB_ID, Status.DELIVERING, copy_began=1)
    world.store.update(JOB_ID, output=output)
    world.notifier().succeeded(EXECUTION)
    operator_of(world).attach(JOB_ID, SECOND)
    job = world.record()
    assert key_of(job) == first.replace(".mp4", ".2.mp4")
    assert (job.output, job.copy_began, job.other_videos[FIRST]["output"]) == (None, None, output)
    (shown,) = world.lookup().show(JOB_ID)["other_videos"]
    assert shown.pop("output").items() > output.items()  # with a link for a while
    assert shown == {"video_id": FIRST, "credits_used": 5}
    with pytest.raises(Refused, match=f"in the bucket already: s3://videos/{first}"):
        operator_of(world).attach(JOB_ID, FIRST)
    world.store.transition(JOB_ID, Status.DELIVERING, copy_began=2)
    world.store.update(JOB_ID, output={"bucket": "videos", "key": key_of(job)})
    world.notifier().succeeded(LATER)
    bodies = [message.body for message in world.messages()]
    assert [message["notification_id"] for message in bodies] == [f"{JOB_ID}/succeeded", f"{JOB_ID}/succeeded#r1"]
    for message in bodies:
        valid(message)


def test_a_copy_that_was_begun_goes_on_in_its_own_file(world: World) -> None:
    with_second(world, Status.PROCESSING)
    key = key_of(world.record())
    world.store.update(JOB_ID, copy_began=1)
    operator_of(world).attach(JOB_ID, SECOND)
    assert key_of(world.record()) != key
    world.store.update(JOB_ID, copy_began=2)
    operator_of(world).attach(JOB_ID, FIRST)
    assert (key_of(world.record()), world.record().copy_began) == (key, 2)


def test_a_succeeded_job_takes_no_other_video_than_its_own(world: World) -> None:
    with_second(world, Status.SUCCEEDED)
    for options in ({}, {"replace": True}):
        with pytest.raises(Refused):
            operator_of(world).attach(JOB_ID, "somebody else's", **options)


def test_an_id_that_is_replaced_stays_known(world: World) -> None:
    """It may have been the right one."""
    world.paid_job(credits_used=5)
    alive(world)
    operator_of(world).attach(JOB_ID, "mistyped", replace=True)
    assert (world.record().credits_used, others(world)[FIRST]["credits_used"]) == (None, 5)
    operator_of(world).attach(JOB_ID, FIRST)
    job = world.record()
    assert (job.credits_used, job.other_videos, job.times_accepted) == (5, {"mistyped": {}}, 1)


def test_a_video_that_becomes_known_during_an_attach_is_not_lost_to_it(world: World) -> None:
    with_second(world, Status.INTERRUPTED)
    machine = Machine(world, meanwhile=lambda: record(world, "a third one"))
    with pytest.raises(Refused, match="changed meanwhile"):
        operator_of(world, machine).attach(JOB_ID, SECOND)
    assert sorted(others(world)) == sorted([SECOND, "a third one"])


def test_a_late_second_video_does_not_end_a_job_twice(world: World) -> None:
    """The end was notified. The second video causes another notification about the same end."""
    world.paid_job()
    world.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": "b", "key": "videos/a.mp4"})
    world.notifier().succeeded(EXECUTION)
    record(world)
    world.notifier().remind(JOB_ID)
    world.notifier().failed(EXECUTION, caught(ValueError("late")))
    assert [message.body["status"] for message in world.messages()] == ["succeeded", "succeeded"]
    assert count("JobsSucceeded") == 1


# ---- videos that an answer of unknown outcome names ------------------------------------------------------------------

THIRD = "77777777-7777-7777-7777-777777777777"
NAMED = {"paid": "unknown"}


def breaking_off(video_id: str) -> Answer:
    """Answer with a 202 that ends after the video's id."""
    text = f'{{"ok": true, "code": 202, "data": {{"video_id": "{video_id}", "status": "proc'
    return lambda _: httpx.Response(202, content=text.encode())


def named_by_a_call_of_unknown_end(world: World, execution: str = EXECUTION) -> None:
    with pytest.raises(SubmissionUncertain) as fault:
        world.submitter().submit(execution, {"job_id": JOB_ID})
    world.notifier().failed(execution, caught(fault.value))
    if execution == EXECUTION:
        dead(world)


def shown_by_all(world: World, video_id: str) -> None:
    """Check that every view of the job shows the video, and that attach reaches it."""
    with_index(world)
    assert video_id in [other["video_id"] for other in world.lookup().show(JOB_ID)["other_videos"]]
    assert f"{video_id}, may be paid: attach {JOB_ID} {video_id}" in facts(world.record(), None)["other videos"]
    finder = Finder(store=world.store, s3=world.s3, uploads=UPLOADS, videos=VIDEOS)
    assert [job.job_id for job in finder.find(video_id)] == [JOB_ID]
    world.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": "b", "key": "videos/a.mp4"})
    world.notifier().succeeded(world.record().execution or EXECUTION)
    message = world.messages()[-1]
    valid(message.body)
    assert {"video_id": video_id, "paid": "unknown"} in message.body["other_videos"]
    assert f"video {video_id} at Genviral (an answer named it; nobody knows whether it was paid for)" in message.email
    known = set(world.record().other_videos) | {world.record().video_id}
    operator_of(world).attach(JOB_ID, video_id)
    job = world.record()
    assert (job.status, job.video_id) == (Status.PROCESSING, video_id)
    assert {job.video_id, *job.other_videos} == known


def test_a_named_video_is_not_forgotten_when_a_trusted_key_pays_again(world: World) -> None:
    world.job()
    world.vendor = Vendor([breaking_off(FIRST), accepting(SECOND)])
    with pytest.raises(SubmissionUnconfirmed):
        world.submitter(trust=True).submit(EXECUTION, {})
    assert world.submitter(trust=True).submit(EXECUTION, {})["video_id"] == SECOND
    assert (world.record().video_id, others(world), count("SecondVideos")) == (SECOND, {FIRST: NAMED}, 1)
    shown_by_all(world, FIRST)


@pytest.mark.parametrize("end", ["failed", "interrupted"])
def test_a_video_that_stands_in_an_error_only_is_known_and_found(world: World, end: str) -> None:
    """DynamoDB accepted no write after the claim while the function ran."""
    with_index(world)
    world.job()
    world.vendor = Vendor([breaking_off(FIRST)])
    out = Flaky(world.dynamodb, dict.fromkeys(range(2, 500), "before"), only="update_item")
    with pytest.raises(SubmissionUncertain) as fault:
        world.submitter(JobStore(out, TABLE)).submit(EXECUTION, {"job_id": JOB_ID})  # type: ignore[arg-type]  # a double of the client
    assert (world.record().known_video, fault.value.video_id) == (None, FIRST)
    world.age_claim()
    for _ in range(2):
        if end == "failed":
            world.notifier().failed(EXECUTION, caught(fault.value))
        else:
            error = caught(fault.value)
            world.notifier().interrupted(
                EXECUTION, ended="FAILED", error=error["Error"], cause=error["Cause"], moment="1800000000000"
            )
    assert (world.record().possible_video_id, world.store.owner_of(FIRST)) == (FIRST, JOB_ID)
    assert_no_other_job_can_have(world, FIRST)


def test_a_video_that_an_error_names_beside_another_one_is_counted_once(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.store.end_attempt(JOB_ID, "attempt")
    record_named_video(world.store, JOB_ID, FIRST)
    for _ in range(2):
        world.notifier().failed(EXECUTION, caught(SubmissionUncertain("made up", video_id=SECOND)))
    assert (world.record().named_videos, count("SecondVideos")) == ([SECOND, FIRST], 1)


@pytest.mark.parametrize("named", [7, "", "a\nb", ["x"], None])
def test_what_an_error_calls_a_video_and_is_none_is_not_written_down(world: World, named: object) -> None:
    world.job()
    cause = json.dumps({"code": "made_up", "message": "made up", "video_id": named})
    world.notifier().failed(EXECUTION, {"Error": "MadeUp", "Cause": cause})
    assert (world.record().status, world.record().possible_video_id) == (Status.FAILED, None)


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "in the error only"])
def test_a_named_video_is_not_forgotten_when_an_operator_pays_again(world: World, noted: bool) -> None:
    world.job()
    world.vendor = Vendor([breaking_off(FIRST), accepting(SECOND)], get=[refusing(404, "video_not_found")])
    named_by_a_call_of_unknown_end(world)
    if not noted:
        world.store.update(JOB_ID, remove=("possible_video_id",))
        world.dynamodb.delete_item(TableName=TABLE, Key={"job_id": {"S": f"#video {FIRST}"}})
    operator_of(world).resubmit(JOB_ID)
    assert follow(world, LATER)["video_id"] == SECOND
    assert (world.record().video_id, others(world), count("SecondVideos")) == (SECOND, {FIRST: NAMED}, 1)
    world.vendor = Vendor()
    shown_by_all(world, FIRST)


def test_of_two_named_videos_none_is_forgotten(world: World) -> None:
    world.job()
    world.vendor = Vendor(
        [breaking_off(FIRST), breaking_off(THIRD), accepting(SECOND)], get=[refusing(404, "video_not_found")]
    )
    named_by_a_call_of_unknown_end(world)
    operator_of(world).resubmit(JOB_ID)
    named_by_a_call_of_unknown_end(world, LATER)
    job = world.record()
    assert (job.known_video, job.other_videos, job.named_videos) == (THIRD, {FIRST: NAMED}, [THIRD, FIRST])
    assert count("SecondVideos") == 1
    operator_of(world).resubmit(JOB_ID)
    assert follow(world, arn_of(f"{JOB_ID}.r2"))["video_id"] == SECOND
    assert (world.record().video_id, others(world)) == (SECOND, {FIRST: NAMED, THIRD: NAMED})
    world.vendor = Vendor()
    shown_by_all(world, THIRD)


def test_a_named_video_that_is_accepted_after_all_is_the_jobs(world: World) -> None:
    world.job()
    world.vendor = Vendor([breaking_off(FIRST), breaking_off(SECOND), accepting(FIRST)])
    for _ in range(2):
        with pytest.raises(SubmissionUnconfirmed):
            world.submitter(trust=True).submit(EXECUTION, {})
    assert world.submitter(trust=True).submit(EXECUTION, {})["video_id"] == FIRST
    assert (world.record().video_id, others(world)) == (FIRST, {SECOND: NAMED})
    record(world, SECOND)
    assert (others(world), world.record().times_accepted) == ({SECOND: FACTS}, 2)


@pytest.mark.parametrize("answer", [breaking_off(SECOND), accepting(SECOND)], ids=["named", "accepted"])
def test_a_video_of_a_call_that_ends_after_an_attach_is_known(world: World, answer: Answer) -> None:
    world.job()
    alive(world)

    def attached_meanwhile(request: httpx.Request) -> httpx.Response:
        operator_of(world).cancel(JOB_ID)
        operator_of(world).attach(JOB_ID, FIRST)
        return answer(request)

    world.vendor = Vendor([attached_meanwhile])
    with contextlib.suppress(SubmissionUncertain):
        world.submitter().submit(EXECUTION, {})
    assert (world.record().video_id, list(others(world)), count("SecondVideos")) == (FIRST, [SECOND], 1)


def test_a_named_video_is_not_forgotten_when_another_one_is_attached(world: World) -> None:
    world.job()
    world.vendor = Vendor([breaking_off(FIRST)])
    named_by_a_call_of_unknown_end(world)
    operator_of(world).attach(JOB_ID, SECOND)
    assert (world.record().video_id, others(world)) == (SECOND, {FIRST: NAMED})
    operator_of(world).attach(JOB_ID, FIRST)
    assert (world.record().video_id, list(others(world))) == (FIRST, [SECOND])


ASKED: dict[str, tuple[Answer, str | None]] = {
    "known": (showing("processing"), f"Use: attach {JOB_ID} {FIRST}"),
    "not known": (refusing(404, "video_not_found"), None),
    "failed": (showing("failed", error="made up"), None),
    "no answer": (refusing(503), "Nothing was sent. Try again."),
}


@pytest.mark.parametrize("kind", ASKED)
def test_nobody_pays_again_before_genviral_was_asked_for_the_named_video(world: World, kind: str) -> None:
    answer, refusal = ASKED[kind]
    world.job()
    world.vendor = Vendor([breaking_off(FIRST), accepting(SECOND)], get=[answer])
    named_by_a_call_of_unknown_end(world)
    before = world.record()
    approved: list[Any] = []
    with pytest.raises(Refused, match=refusal) if refusal else contextlib.nullcontext():
        operator_of(world).resubmit(JOB_ID, approved.append)
    assert (len(approved), world.record() == before) == ((0, True) if refusal else (1, False))


@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("call", range(3, 9))
def test_no_failure_of_the_table_forgets_a_named_video(world: World, call: int, way: str) -> None:
    world.job()
    world.store.name_video(world.record(), FIRST)
    world.vendor = Vendor([breaking_off(THIRD), accepting(SECOND)])
    for _ in range(2):
        with contextlib.suppress(Fault):
            world.submitter(world.flaky({call: way}), trust=True).submit(EXECUTION, {})
    job = world.record()
    if len(world.vendor.posts) == 2:
        assert (job.video_id, job.other_videos) == (SECOND, {FIRST: NAMED, THIRD: NAMED})
    else:
        assert (job.known_video, job.other_videos) == (THIRD, {FIRST: NAMED})


@pytest.mark.parametrize("way", ["before", "after"])
def test_a_second_video_is_counted_whatever_becomes_of_its_write(world: World, way: str) -> None:
    """Covers a repeated write, which finds the first one's effect."""
    world.job()
    client = Flaky(world.dynamodb)

    def another_meanwhile(request: httpx.Request) -> httpx.Response:
        record(world, FIRST)
        client.fails = {len(client.calls) + 3: way}  # the first video is found, the owner noted, then this
        return accepting(SECOND)(request)

    world.vendor = Vendor([another_meanwhile])
    world.submitter(JobStore(client, TABLE)).submit(EXECUTION, {})  # type: ignore[arg-type]  # a double of the client
    assert (list(others(world)), count("SecondVideos")) == ([SECOND], 1)


def first_is_paid(world: World) -> None:
    world.paid_job()


def first_is_named(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    record_named_video(world.store, JOB_ID, FIRST)


@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 8))
@pytest.mark.parametrize("first", [first_is_paid, first_is_named])
def test_a_second_video_that_only_the_execution_knows_is_counted_once(
    world: World, first: Callable[[World], None], call: int, way: str
) -> None:
    """This holds whichever call to the table fails, also if only its answer is lost."""
    first(world)
    for store in (world.flaky({call: way}), world.store, world.store):
        with contextlib.suppress(Fault, ClientError):
            world.poller(store).poll(EXECUTION, SECOND, 1_800_000_000)
    known = {FIRST, SECOND} - {world.record().video_id}
    assert (set(others(world)), count("SecondVideos")) == (known, 1)


def test_a_second_video_is_not_counted_before_it_is_on_the_record(world: World) -> None:
    world.paid_job()
    out = Flaky(world.dynamodb, dict.fromkeys(range(100), "before"), only="update_item")
    for _ in range(2):
        with pytest.raises(ClientError):
            world.poller(JobStore(out, TABLE)).poll(EXECUTION, SECOND, 1_800_000_000)  # type: ignore[arg-type]  # a double of the client
    assert (others(world), count("SecondVideos")) == ({}, 0)
    with pytest.raises(JobClosed):
        world.poller().poll(EXECUTION, SECOND, 1_800_000_000)
    assert (list(others(world)), count("SecondVideos")) == ([SECOND], 1)


# ---- whose a video is ------------------------------------------------------------------------------------------------


def another_uncertain_job(world: World) -> None:
    world.job("another")
    world.store.claim("another", "made up", execution=arn_of("another"))
    world.store.transition("another", Status.UNCERTAIN)


def assert_no_other_job_can_have(world: World, video_id: str) -> None:
    another_uncertain_job(world)
    with pytest.raises(Refused, match=f"The job {JOB_ID} has this video"):
        operator_of(world).attach("another", video_id)
    finder = Finder(store=world.store, s3=world.s3, uploads=UPLOADS, videos=VIDEOS)
    assert [job.job_id for job in finder.find(video_id)] == [JOB_ID]


def test_a_video_named_for_one_job_is_not_attached_to_another(world: World) -> None:
    with_index(world)
    world.job()
    world.vendor = Vendor([breaking_off(FIRST)])
    named_by_a_call_of_unknown_end(world)
    assert_no_other_job_can_have(world, FIRST)


def test_a_paid_video_without_credits_stays_paid_when_it_changes_places(world: World) -> None:
    world.paid_job()
    dead(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    record(world)
    operator_of(world).attach(JOB_ID, SECOND)
    assert ("submitted_at" in others(world)[FIRST], world.record().times_accepted) == (True, 2)
    another_uncertain_job(world)
    with pytest.raises(Refused, match=f"The job {JOB_ID} has this video"):
        operator_of(world).attach("another", FIRST)


def test_an_id_in_other_letters_is_the_same_video(world: World) -> None:
    written = "abcdef11-1111-1111-1111-111111111111"
    world.job()
    world.store.record_accepted(JOB_ID, written)
    another_uncertain_job(world)
    world.vendor = Vendor(get=[showing("processing", video_id=written)])
    with pytest.raises(Refused, match=f"The job {JOB_ID} has this video"):
        operator_of(world).attach("another", written.upper())
    world.store.update(JOB_ID, video_id="an unlike one")
    world.store.note_owner(written, "another")
    operator_of(world).attach("another", written.upper())
    assert world.record("another").video_id == written


def test_a_video_that_failed_is_not_attached_but_on_purpose(world: World) -> None:
    another_uncertain_job(world)
    world.vendor = Vendor(get=[showing("failed", error="made up")])
    with pytest.raises(Refused, match="failed, so there is nothing to fetch"):
        operator_of(world).attach("another", FIRST)
    assert world.record("another").status is Status.UNCERTAIN
    operator_of(world).attach("another", FIRST, force=True)
    assert world.record("another").video_id == FIRST


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.INTERRUPTED, Status.UNCERTAIN])
def test_a_resubmission_that_is_too_early_says_when_it_is_allowed(world: World, status: Status) -> None:
    world.job()
    world.store.claim(JOB_ID, "made up", execution=EXECUTION)
    if status is not Status.SUBMITTING:
        world.store.transition(JOB_ID, status)
    with pytest.raises(Refused, match=r"Resubmit it from .* UTC on"):
        operator_of(world).resubmit(JOB_ID)
