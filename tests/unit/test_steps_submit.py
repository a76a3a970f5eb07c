"""Test that a job is never paid for twice and a paid video never lost, whatever fails, repeats or intervenes."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError

from shared.faults import Fault, Paid
from shared.genviral.errors import (
    InsufficientCredits,
    InvalidInput,
    InvalidPayload,
    RateLimited,
    SubmissionUncertain,
    SubmissionUnconfirmed,
)
from shared.jobs.errors import (
    AssetMissing,
    JobClosed,
    JobConflict,
    RequestTooLarge,
    RequestUnreadable,
    SubmissionInProgress,
)
from shared.jobs.states import TERMINAL, Status
from shared.requests import batches
from shared.requests.resolve import request_text
from shared.runtime import AwsCallFailed
from shared.steps import claims
from shared.steps.submit import SECONDS_FROM_CLAIM
from tests.support.fakes import (
    BODY,
    EXECUTION,
    JOB_ID,
    PROMPT,
    UPLOADS,
    VIDEO_ID,
    Answer,
    Vendor,
    World,
    accepting,
    arn_of,
    breaking,
    caught,
    refusing,
    showing,
)
from tests.support.notifications import valid
from tests.support.operators import operator_of
from tests.support.submissions import MAYBE_PAID, NOT_PAID, ONCE, WAYS

if TYPE_CHECKING:
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore
    from shared.requests.resolve import Resolution

GIVEN = {"job_id": JOB_ID}


def test_an_accepted_job_is_written_down_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # A change of the second between the answer and the poll plan would shorten the first wait.
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)
    world.job(request=BODY, metadata={"order": 1})
    state = world.submitter().submit(EXECUTION, GIVEN)
    waiting = state["waiting"]
    assert state == {
        "job_id": JOB_ID,
        "video_id": VIDEO_ID,
        "submitted_at": state["submitted_at"],
        "wait_seconds": waiting["looks"][0],
        "waiting": {"looks": waiting["looks"], "unfinished": 0, "next": waiting["looks"][0]},
    }
    job = world.record()
    assert (job.status, job.video_id, job.claim, job.credits_used) == (Status.PROCESSING, VIDEO_ID, None, 5)
    assert (job.execution, job.model_id, job.metadata) == (EXECUTION, BODY["model_id"], {"order": 1})
    assert job.deadline_at == state["submitted_at"] + 600
    (post,) = world.vendor.posts
    assert json.loads(post.content) == BODY
    assert post.headers["Idempotency-Key"] == JOB_ID


def test_links_are_sent_whole_and_kept_without_their_signature(world: World) -> None:
    world.job(request=BODY)
    world.submitter().submit(EXECUTION, GIVEN)
    assert b"X-Amz-Signature" in world.vendor.posts[0].content
    request = json.loads(world.record().request or "")
    assert request == {**BODY, "reference_image_urls": ["https://example.com/product.jpg"]}


def test_a_repeat_goes_on_with_the_video(world: World) -> None:
    world.job()
    first = world.submitter().submit(EXECUTION, GIVEN)
    again = world.submitter().submit(EXECUTION, GIVEN)
    assert (again["video_id"], again["submitted_at"]) == (first["video_id"], first["submitted_at"])
    assert len(world.vendor.posts) == 1


@pytest.mark.parametrize(("answer", "error"), NOT_PAID)
def test_a_definite_refusal_frees_the_job(world: World, answer: Answer, error: type[Fault]) -> None:
    world.vendor = Vendor([answer, accepting()])
    world.job()
    with pytest.raises(error) as raised:
        world.submitter().submit(EXECUTION, GIVEN)
    assert raised.value.paid is Paid.NO
    assert (world.record().status, world.record().claim) == (Status.QUEUED, None)
    assert world.submitter().submit(EXECUTION, GIVEN)["video_id"] == VIDEO_ID
    assert {post.headers["Idempotency-Key"] for post in world.vendor.posts} == {JOB_ID}


@pytest.mark.parametrize(("answer", "error"), MAYBE_PAID)
def test_what_may_have_been_paid_is_never_sent_again(world: World, answer: Answer, error: type[Fault]) -> None:
    world.vendor = Vendor([answer, accepting()])
    world.job()
    with pytest.raises(error) as first:
        world.submitter().submit(EXECUTION, GIVEN)
    assert first.value.paid is Paid.UNKNOWN
    for _ in range(3):
        with pytest.raises(SubmissionUncertain):
            world.submitter().submit(EXECUTION, GIVEN)
    assert len(world.vendor.posts) == 1
    world.notifier().failed(EXECUTION, caught(first.value))
    assert world.record().status is Status.UNCERTAIN


NAMED: Answer = lambda _: httpx.Response(502, json={"data": {"video_id": VIDEO_ID}})  # noqa: E731


@pytest.mark.parametrize("lost", [False, True], ids=["noted", "not noted"])
def test_a_video_that_an_uncertain_response_names_is_kept_and_notified(world: World, lost: bool) -> None:
    world.vendor = Vendor([NAMED])
    world.job()
    # The job is read again each time, for the rest of the function's time.
    store = world.flaky(dict.fromkeys(range(3, 200), "before") if lost else {})
    with pytest.raises(SubmissionUncertain) as fault:
        world.submitter(store).submit(EXECUTION, GIVEN)
    assert fault.value.video_id == VIDEO_ID
    assert world.record().possible_video_id == (None if lost else VIDEO_ID)
    if not lost:
        with pytest.raises(SubmissionUncertain) as repeated:
            world.submitter().submit(EXECUTION, GIVEN)
        assert repeated.value.video_id == VIDEO_ID
    world.notifier().failed(EXECUTION, caught(fault.value))
    job = world.record()
    assert (job.status, job.video_id, job.known_video, job.paid) == (Status.UNCERTAIN, None, VIDEO_ID, Paid.UNKNOWN)
    (message,) = world.messages()
    valid(message.body)
    assert message.body["error"]["video_id"] == VIDEO_ID
    assert f"names video {VIDEO_ID}" in message.email
    assert "attach" in message.email
    assert len(world.vendor.posts) == 1
    # No search is needed.
    follow = operator_of(world).attach(JOB_ID)
    assert world.submitter().submit(follow, GIVEN)["video_id"] == VIDEO_ID
    assert len(world.vendor.posts) == 1


def test_a_trusted_key_goes_on_though_an_answer_named_a_video(world: World) -> None:
    world.vendor = Vendor([NAMED, accepting("the-second")])
    world.job()
    with pytest.raises(SubmissionUnconfirmed) as fault:
        world.submitter(trust=True).submit(EXECUTION, GIVEN)
    assert fault.value.video_id == VIDEO_ID
    assert world.submitter(trust=True).submit(EXECUTION, GIVEN)["video_id"] == "the-second"
    assert (world.record().video_id, world.record().other_videos) == ("the-second", {VIDEO_ID: {"paid": "unknown"}})


@pytest.mark.parametrize("video_id", [5, "a/b?c", "vidéo 猫", "v" * 512])
def test_an_id_of_any_form_goes_from_the_answer_to_the_end(world: World, video_id: object) -> None:
    data = {"video_id": video_id, "status": "processing"}
    world.vendor = Vendor([lambda _: httpx.Response(202, json={"ok": True, "data": data})])
    world.job()
    state = world.submitter().submit(EXECUTION, GIVEN)
    named = str(video_id)
    assert state["video_id"] == world.record().video_id == named
    assert world.poller().poll(EXECUTION, named, state["submitted_at"], state["waiting"])["video_id"] == named
    world.notifier().failed(EXECUTION, {"Error": "TimedOut", "Cause": ""})
    (message,) = world.messages()
    assert message.body["video_id"] == named
    assert world.lookup().show(JOB_ID)["video_id"] == named
    with world.vendor.client() as client:
        assert client.get_video(named).video_id == named
    world.sfn.start_execution(stateMachineArn=world.machine, name=JOB_ID)
    operator_of(world).attach(JOB_ID)
    assert (world.record().status, world.record().video_id) == (Status.PROCESSING, named)


def test_a_process_killed_after_its_claim_ends_uncertain_without_a_resend(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "killed", execution=EXECUTION)
    world.age_claim()
    with pytest.raises(SubmissionUncertain):
        world.submitter().submit(EXECUTION, GIVEN)
    assert not world.vendor.posts


def test_no_claim_is_taken_that_there_is_no_time_to_see_through(world: World) -> None:
    world.job()
    late = replace(world.submitter(), remaining=lambda: SECONDS_FROM_CLAIM - 1.0)
    with pytest.raises(AwsCallFailed) as cut_off:
        late.submit(EXECUTION, GIVEN)
    assert (cut_off.value.paid, world.record().claim, world.vendor.posts) == (Paid.NO, None, [])
    world.submitter().submit(EXECUTION, GIVEN)
    assert len(world.vendor.posts) == 1


@pytest.mark.parametrize(("answer", "error"), MAYBE_PAID)
def test_a_trusted_key_is_sent_again_unchanged(world: World, answer: Answer, error: type[Fault]) -> None:
    world.vendor = Vendor([answer, accepting()])
    world.job()
    with pytest.raises(SubmissionUnconfirmed):
        world.submitter(trust=True).submit(EXECUTION, GIVEN)
    assert world.submitter(trust=True).submit(EXECUTION, GIVEN)["video_id"] == VIDEO_ID
    assert [post.headers["Idempotency-Key"] for post in world.vendor.posts] == [JOB_ID, JOB_ID]


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.INTERRUPTED, Status.ON_HOLD])
def test_a_trusted_key_survives_an_interruption(world: World, status: Status) -> None:
    world.job()
    world.store.claim(JOB_ID, "killed", execution=EXECUTION)
    world.age_claim()
    if status is not Status.SUBMITTING:
        world.store.transition(JOB_ID, status)
    assert world.submitter(trust=True).submit(EXECUTION, GIVEN)["video_id"] == VIDEO_ID


def test_a_trusted_key_is_not_trusted_for_ever(world: World) -> None:
    """The vendor may forget it during a hold or before a redrive. A new try starts no new hour."""
    world.vendor = Vendor([refusing(402, "insufficient_credits")])
    world.job()
    world.store.claim(JOB_ID, "killed", execution=EXECUTION)
    almost = int(time.time()) - 3500
    world.store.update(JOB_ID, claimed_at=almost, attempt_at=almost)
    with pytest.raises(InsufficientCredits):
        world.submitter(trust=True).submit(EXECUTION, GIVEN)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    operator_of(world).redrive(JOB_ID)
    assert world.record().claimed_at == almost
    world.store.update(JOB_ID, claimed_at=almost - 200)
    with pytest.raises(SubmissionUncertain):
        world.submitter(trust=True).submit(EXECUTION, GIVEN)
    assert len(world.vendor.posts) == 1


def test_a_second_video_is_not_followed_where_the_record_has_a_first(world: World) -> None:
    """Its execution would meet a record with another video, and no redrive could fix that."""
    world.job()

    def beaten(request: httpx.Request) -> httpx.Response:
        world.store.record_accepted(JOB_ID, "the-first", submitted_at=1_800_000_000)
        return accepting()(request)

    world.vendor = Vendor([beaten])
    assert world.submitter().submit(EXECUTION, GIVEN)["video_id"] == "the-first"


def test_a_claim_is_taken_over_only_by_who_has_seen_it(world: World) -> None:
    """Otherwise it would be released after an error, and the job would appear unpaid."""
    world.vendor = Vendor([refusing(402, "insufficient_credits")])
    world.job()
    submitter = world.submitter(trust=True)
    resolve = submitter.resolver.resolve

    class Overtaken:
        bucket = UPLOADS

        def resolve(self, job: Job) -> Resolution:
            if job.claim is None:
                world.store.claim(JOB_ID, "quicker", execution=EXECUTION)
                world.age_claim()
            return resolve(job)

    with pytest.raises(InsufficientCredits):
        replace(submitter, resolver=Overtaken()).submit(EXECUTION, GIVEN)  # type: ignore[arg-type]  # a double of the resolver
    assert world.record().claim is not None


def test_a_refusal_after_an_unknown_outcome_keeps_the_outcome_unknown(world: World) -> None:
    """Trusted key or not, the first call may have been paid for. A later error must not make the job appear unpaid."""
    world.vendor = Vendor([breaking(httpx.ReadTimeout), refusing(422, "invalid_payload")])
    world.complete()
    world.job()
    for error in (SubmissionUnconfirmed, InvalidPayload):
        with pytest.raises(error):
            world.submitter(trust=True).submit(EXECUTION, GIVEN)
    assert world.record().claim is not None
    world.notifier().failed(EXECUTION, caught(InvalidPayload("no")))
    assert world.record().status is Status.UNCERTAIN


def test_a_job_that_is_tried_again_says_why_until_it_is_accepted(world: World) -> None:
    world.vendor = Vendor([refusing(429), accepting()])
    queued = world.job().timeline["queued"]
    with pytest.raises(RateLimited):
        world.submitter().submit(EXECUTION, GIVEN)
    waiting = world.record()
    assert (waiting.status, (waiting.error or {})["code"]) == (Status.QUEUED, "rate_limited")
    assert waiting.timeline["queued"] == queued
    world.submitter().submit(EXECUTION, GIVEN)
    assert world.record().error is None


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("status", sorted(TERMINAL - {Status.SUCCEEDED, Status.TIMED_OUT, Status.UNCERTAIN}))
def test_nothing_is_sent_for_a_job_that_ended(world: World, status: Status, trust: bool) -> None:
    world.job()
    world.store.transition(JOB_ID, status)
    with pytest.raises(JobClosed):
        world.submitter(trust=trust).submit(EXECUTION, GIVEN)
    assert not world.vendor.asked


# ---- other writers in between ----------------------------------------------------------------------------


def meanwhile(world: World, answer: Answer, *, status: Status | None = None, **changes: Any) -> None:
    """Run an action on the job during the paid call."""

    def during(request: httpx.Request) -> httpx.Response:
        if status is not None:
            world.store.transition(JOB_ID, status)
        if changes:
            world.store.update(JOB_ID, **changes)
        return answer(request)

    world.vendor = Vendor([during, accepting("a second one")])


@pytest.mark.parametrize(
    "status", [Status.CANCELED, Status.FAILED, Status.UNCERTAIN, Status.ON_HOLD, Status.INTERRUPTED]
)
def test_a_video_is_kept_whatever_became_of_its_job_meanwhile(world: World, status: Status) -> None:
    meanwhile(world, accepting(), status=status)
    world.job()
    state = world.submitter().submit(EXECUTION, GIVEN)
    job = world.record()
    assert state["video_id"] == job.video_id == VIDEO_ID
    assert (job.claim, job.credits_used) == (None, 5)
    assert job.status is (status if status in TERMINAL else Status.PROCESSING)


@pytest.mark.parametrize("notified", [True, False], ids=["notified before", "not notified yet"])
@pytest.mark.parametrize("status", [Status.CANCELED, Status.UNCERTAIN])
def test_a_video_that_becomes_known_after_the_end_is_notified(world: World, status: Status, notified: bool) -> None:
    def during(request: httpx.Request) -> httpx.Response:
        world.store.transition(JOB_ID, status, notice_due=status.value)
        if notified:
            world.notifier().remind(JOB_ID)
        return accepting()(request)

    world.vendor = Vendor([during])
    world.job()
    world.submitter().submit(EXECUTION, GIVEN)
    for _ in range(2):
        world.notifier().remind(JOB_ID)  # as the sweep does
    *before, last = world.messages()
    assert [message.body["paid"] for message in before] == ["unknown"] * notified
    assert (last.body["status"], last.body["paid"], last.body["video_id"]) == (status, "yes", VIDEO_ID)
    assert ("paid for" in last.body["summary"]) is (status is Status.UNCERTAIN)
    assert len({message.body["notification_id"] for message in world.messages()}) == 1 + notified
    assert world.record().notice_due is None


def test_what_was_attached_before_its_answer_came_is_no_news(world: World) -> None:
    def during(request: httpx.Request) -> httpx.Response:
        world.store.record_accepted(JOB_ID, VIDEO_ID)
        world.store.transition(JOB_ID, Status.CANCELED)
        return accepting()(request)

    world.vendor = Vendor([during])
    world.job()
    world.submitter().submit(EXECUTION, GIVEN)
    assert (world.record().status, world.record().notice_due) == (Status.CANCELED, None)


def test_a_refusal_of_a_job_canceled_meanwhile_is_still_that_refusal(world: World) -> None:
    meanwhile(world, refusing(403, "insufficient_credits"), status=Status.CANCELED)
    world.job()
    with pytest.raises(InsufficientCredits):
        world.submitter().submit(EXECUTION, GIVEN)
    assert (world.record().status, world.record().claim) == (Status.CANCELED, None)


def test_a_video_on_the_record_is_never_replaced(world: World) -> None:
    meanwhile(world, accepting("late"), video_id=VIDEO_ID)
    world.job()
    world.submitter().submit(EXECUTION, GIVEN)
    assert world.record().video_id == VIDEO_ID


@pytest.mark.parametrize("second", [accepting(), refusing(402, "insufficient_credits"), refusing(409)])
def test_a_late_first_answer_is_not_lost_to_the_attempt_that_took_over(world: World, second: Answer) -> None:
    """With a trusted key two attempts may overlap. The record gets the video of either."""
    world.job()

    def slow(request: httpx.Request) -> httpx.Response:
        world.age_claim()
        with contextlib.suppress(Fault):
            world.submitter(trust=True).submit(EXECUTION, GIVEN)
        return accepting()(request)

    world.vendor = Vendor([slow, second])
    assert world.submitter(trust=True).submit(EXECUTION, GIVEN)["video_id"] == VIDEO_ID
    assert (world.record().video_id, world.record().status) == (VIDEO_ID, Status.PROCESSING)


def test_two_executions_of_one_job_pay_once(world: World) -> None:
    world.job()
    outcomes: list[object] = []

    def slow(request: httpx.Request) -> httpx.Response:
        for error, age in ((SubmissionInProgress, 0), (SubmissionUncertain, 400)):
            world.age_claim(seconds=age)
            with pytest.raises(error) as raised:
                world.submitter().submit(arn_of(f"{JOB_ID}.r1"), GIVEN)
        outcomes.append(world.notifier().failed(arn_of(f"{JOB_ID}.r1"), caught(raised.value))["status"])
        return accepting()(request)

    world.vendor = Vendor([slow, accepting("a second one")])
    world.submitter().submit(EXECUTION, GIVEN)
    assert outcomes == ["submitting"]
    assert world.vendor.accepted == 1
    assert (world.record().status, world.record().video_id) == (Status.PROCESSING, VIDEO_ID)
    assert not world.messages()


# ---- DynamoDB fails at each call -------------------------------------------------------------------------

TWICE: list[dict[int, str]] = [{call: way, call + 1: then} for call in range(2, 6) for way in WAYS for then in WAYS]


def run_job(world: World, store: JobStore, given: object) -> tuple[dict[str, Any] | None, Exception | None]:
    """Run Submit with the retries of the state machine."""
    error: Exception | None = None
    for _ in range(6):
        try:
            return world.submitter(store).submit(EXECUTION, given), None
        except (ClientError, RateLimited) as passing:
            error = passing
        except Fault as fault:
            return None, fault
    return None, error


@pytest.mark.parametrize("answers", [[accepting()], [refusing(429), accepting()]], ids=["accepted", "limited first"])
@pytest.mark.parametrize("direct", [False, True], ids=["known", "direct"])
def test_no_failure_of_the_table_pays_twice_or_loses_a_video(world: World, answers: list[Answer], direct: bool) -> None:
    given = {"request": BODY} if direct else GIVEN
    for plan in ONCE + (TWICE if direct else []):
        world.dynamodb.delete_item(TableName="jobs", Key={"job_id": {"S": JOB_ID}})
        world.vendor = Vendor([*answers, accepting("a second one")])
        if not direct:
            world.job()
        state, error = run_job(world, world.flaky(plan), given)
        assert world.vendor.accepted <= 1, plan
        if world.vendor.accepted:
            # The first poll restores what the record lacks from the execution's state.
            assert state is not None, plan
            world.poller().poll(EXECUTION, state["video_id"], state["submitted_at"])
            assert (world.record().video_id, world.record().status) == (VIDEO_ID, Status.PROCESSING), plan
        else:
            # Nothing was sent: the job is as free as before.
            assert isinstance(error, ClientError), plan
            assert world.record().claim is None, plan


def test_an_account_error_after_an_unrecorded_video_keeps_the_video(world: World) -> None:
    """The record lacks the video, and the first poll ends on hold: the hold must return to Poll, not to Submit."""
    world.job()
    # get and claim, then the write of the video, again and again
    state = world.submitter(world.flaky(dict.fromkeys(range(3, 200), "before"))).submit(EXECUTION, GIVEN)
    assert world.record().video_id is None
    world.vendor = Vendor(get=[refusing(401), showing("processing")])
    with pytest.raises(Fault) as error:
        world.poller().poll(EXECUTION, state["video_id"], state["submitted_at"])
    held = world.notifier().on_hold(EXECUTION, caught(error.value))
    assert (held["video_id"], held["submitted_at"]) == (VIDEO_ID, state["submitted_at"])


def test_a_refusal_outlives_the_failure_to_free_the_job(world: World) -> None:
    world.vendor = Vendor([refusing(422, "invalid_input", "this model takes a picture"), accepting()])
    world.job()
    with pytest.raises(InvalidInput) as raised:
        world.submitter(world.flaky(dict.fromkeys(range(3, 200), "before"))).submit(EXECUTION, GIVEN)
    world.age_claim()
    assert world.notifier().failed(EXECUTION, caught(raised.value))["status"] == "uncertain"
    assert (world.record().error or {})["error"] == "InvalidInput"


def forget() -> None:
    """Clear the state that another process would not have."""
    claims._unpaid.clear()


def test_a_job_held_with_its_claim_ends_as_uncertain(world: World) -> None:
    world.vendor = Vendor([refusing(402, "insufficient_credits"), accepting()])
    world.job()
    with pytest.raises(InsufficientCredits) as raised:
        world.submitter(world.flaky(dict.fromkeys(range(3, 200), "before"))).submit(EXECUTION, GIVEN)
    assert world.notifier().on_hold(EXECUTION, caught(raised.value))["video_id"] is None
    forget()
    world.age_claim()
    with pytest.raises(SubmissionUncertain) as uncertain:
        world.submitter().submit(EXECUTION, GIVEN)
    assert world.notifier().failed(EXECUTION, caught(uncertain.value))["status"] == "uncertain"
    assert len(world.vendor.posts) == 1


# ---- executions that were started directly --------------------------------------------------------------

DIRECT = {"request": {**BODY, "metadata": {"campaign": "autumn"}}}


def test_a_direct_execution_makes_its_own_record(world: World) -> None:
    execution = arn_of("campaign-2026-11")
    world.submitter().submit(execution, DIRECT)
    job = world.record("campaign-2026-11")
    assert (job.source, job.metadata, job.execution) == ({"type": "execution"}, {"campaign": "autumn"}, execution)
    assert world.submitter().submit(execution, DIRECT)["video_id"] == VIDEO_ID
    assert json.loads(world.vendor.posts[0].content) == BODY
    assert len(world.vendor.posts) == 1


def test_a_later_execution_with_another_request_is_a_conflict(world: World) -> None:
    world.submitter().submit(EXECUTION, DIRECT)
    with pytest.raises(JobConflict):
        world.submitter().submit(arn_of(f"{JOB_ID}.r1"), {"request": {**BODY, "prompt": "another"}})
    assert len(world.vendor.posts) == 1


def test_a_direct_execution_that_failed_before_its_record_can_be_redriven(world: World) -> None:
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="Runtime.ImportModuleError", cause="", moment="1")
    assert world.record().status is Status.INTERRUPTED
    assert world.submitter().submit(EXECUTION, DIRECT)["video_id"] == VIDEO_ID


# ---- a row of a batch is its own execution's ---------------------------------------------------------------

ROWS = [
    {"model_id": BODY["model_id"], "prompt": "a paper boat", "metadata": {"order": 1}},
    {"model_id": BODY["model_id"], "prompt": "a paper plane", "params": {"duration_seconds": 5.0}},
    {"model_id": BODY["model_id"], "prompt": "a paper boat", "metadata": {"order": 1}},
]


def planned(world: World) -> list[dict[str, Any]]:
    """Return the inputs of the executions of a batch's rows, whose bodies are stored as they say."""
    text = "\n".join(json.dumps(row) for row in ROWS).encode()
    plan = batches.plan(batches.read(text, "batches/boats.jsonl"), UPLOADS, "batches/boats.jsonl")
    world.upload(plan.key, plan.requests)
    return [{"job_id": job["job_id"], "source": job["source"]} for job in plan.jobs]


def test_each_row_is_sent_by_its_own_execution(world: World) -> None:
    for given in planned(world):
        assert world.submitter().submit(arn_of(given["job_id"]), given)["video_id"] == VIDEO_ID
    assert [json.loads(post.content)["prompt"] for post in world.vendor.posts] == [row["prompt"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("by-hand", {}),
        ("by-hand", {"job_id": "by-hand"}),
        ("by-hand", {"job_id": None}),
        ("row-{0}", {"job_id": "row-{0}"}),
        ("{job_id}.r1", {"job_id": "row-{0}"}),
        ("{other}", {}),
        ("{other}", {"job_id": "{other}"}),
        ("{other}", {"job_id": None}),
    ],
)
def test_a_row_that_is_started_under_another_name_is_a_conflict(
    world: World, name: str, changed: dict[str, Any]
) -> None:
    given, other, _ = planned(world)
    words = {"job_id": given["job_id"], "other": other["job_id"]}
    name = name.format("0" * 40, **words)
    mistaken = {**given, **{key: value and value.format("0" * 40, **words) for key, value in changed.items()}}
    with pytest.raises(JobConflict) as conflict:
        world.submitter().submit(arn_of(name), mistaken)
    assert (conflict.value.paid, world.vendor.posts) == (Paid.NO, [])
    assert world.submitter().submit(arn_of(given["job_id"]), given)["video_id"] == VIDEO_ID


REFERENCE = {"source": {"type": "request", "key": "assets/requests/boat.json"}}


def test_an_input_may_name_a_file_so_that_no_history_has_the_prompt(world: World) -> None:
    version = world.upload("assets/requests/boat.json", json.dumps({**BODY, "metadata": {"take": "1"}}).encode())
    state = world.submitter().submit(EXECUTION, REFERENCE)
    again = world.submitter().submit(EXECUTION, REFERENCE)
    assert (state["video_id"], again["video_id"]) == (VIDEO_ID, VIDEO_ID)
    (post,) = world.vendor.posts
    assert json.loads(post.content) == BODY
    job = world.record()
    place = {"type": "request", "bucket": UPLOADS, "key": "assets/requests/boat.json"}
    assert job.source == {**place, "version_id": version}
    assert job.metadata == {"take": "1"}


def test_an_execution_of_the_same_name_does_not_pay_for_another_file(world: World) -> None:
    for name in ("boat", "car"):
        world.upload(f"assets/{name}.json", json.dumps(BODY).encode())
    world.submitter().submit(EXECUTION, {"source": {"type": "request", "key": "assets/boat.json"}})
    with pytest.raises(JobConflict):
        world.submitter().submit(EXECUTION, {"source": {"type": "request", "key": "assets/car.json"}})
    assert len(world.vendor.posts) == 1


def test_a_named_file_is_sent_as_it_was_when_the_job_first_read_it(world: World) -> None:
    world.upload("assets/requests/boat.json", json.dumps(BODY).encode())
    world.vendor = Vendor([refusing(402, "insufficient_credits"), accepting()])
    with pytest.raises(InsufficientCredits):
        world.submitter().submit(EXECUTION, REFERENCE)
    world.upload("assets/requests/boat.json", json.dumps({**BODY, "prompt": "another"}).encode())
    world.submitter().submit(EXECUTION, REFERENCE)
    assert [json.loads(post.content)["prompt"] for post in world.vendor.posts] == [PROMPT] * 2


def test_an_input_may_name_a_version_of_the_file(world: World) -> None:
    first = world.upload("assets/boat.json", json.dumps(BODY).encode())
    second = world.upload("assets/boat.json", json.dumps({**BODY, "prompt": "another"}).encode())
    source = {"type": "request", "bucket": UPLOADS, "key": "assets/boat.json", "version_id": first}
    world.submitter().submit(EXECUTION, {"source": source})
    assert json.loads(world.vendor.posts[0].content)["prompt"] == PROMPT
    with pytest.raises(JobConflict):
        world.submitter().submit(EXECUTION, {"source": {**source, "version_id": second}})


@pytest.mark.parametrize("key", ["requests/boat.json", "assets/", "uploads/a.json", 5, None, "assets/\ud800"])
def test_a_file_that_could_start_a_job_of_its_own_is_no_reference(world: World, key: object) -> None:
    world.upload("requests/boat.json", json.dumps(BODY).encode())
    with pytest.raises(RequestUnreadable, match="assets/"):
        world.submitter().submit(EXECUTION, {"source": {"type": "request", "key": key}})
    assert not world.vendor.posts


@pytest.mark.parametrize(
    "given",
    [
        {**REFERENCE, "request": BODY},
        {**REFERENCE, "request": None},
        {"source": {**REFERENCE["source"], "bucket": "another"}},
        {"source": {**REFERENCE["source"], "version": "1"}},
        {"source": {**REFERENCE["source"], "version_id": 1}},
        {"source": {**REFERENCE["source"], "version_id": ""}},
    ],
)
def test_nothing_that_an_input_says_of_its_file_is_ignored(world: World, given: dict[str, Any]) -> None:
    world.upload("assets/requests/boat.json", json.dumps(BODY).encode())
    with pytest.raises(RequestUnreadable):
        world.submitter().submit(EXECUTION, given)
    assert not world.vendor.posts


def test_a_missing_file_is_told_before_anything_is_paid(world: World) -> None:
    assert world.s3
    with pytest.raises(Fault) as fault:
        world.submitter().submit(EXECUTION, REFERENCE)
    assert isinstance(fault.value, AssetMissing), "it is waited for, like the files of a manifest"
    assert fault.value.paid is Paid.NO


@pytest.mark.parametrize("request_too", [False, True])
def test_an_input_that_names_another_job_is_a_conflict_whatever_it_is(world: World, request_too: bool) -> None:
    world.job()
    given: dict[str, Any] = {**GIVEN, "source": {"type": "upload"}, **({"request": BODY} if request_too else {})}
    for name in ("by-hand", "by-hand.r1"):
        with pytest.raises(JobConflict) as conflict:
            world.submitter().submit(arn_of(name), given)
    assert world.notifier().failed(arn_of("by-hand"), caught(conflict.value))["status"] == "failed"
    assert (world.vendor.posts, world.record().status) == ([], Status.QUEUED)
    assert world.submitter().submit(arn_of(f"{JOB_ID}.r1"), GIVEN)["video_id"] == VIDEO_ID


# ---- requests that are too large ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        {**BODY, "raw_params": {"list": [1e15] * 50_000}},  # 250 KB as written, and 900 KB as serialized by Python
        {**BODY, "prompt": "x" * 310_000},
    ],
    ids=["by its numbers", "by its text"],
)
def test_a_request_that_fits_no_record_is_refused_with_advice_that_helps(
    world: World, request_: dict[str, Any]
) -> None:
    with pytest.raises(RequestTooLarge) as raised:
        world.submitter().submit(EXECUTION, {"request": request_})
    assert world.notifier().failed(EXECUTION, caught(raised.value))["status"] == "failed"
    (message,) = world.messages()
    assert (message.body["paid"], message.body["error"]["code"]) == ("no", "request_too_large")
    assert "requests/<name>.json" in message.body["error"]["advice"]


def test_the_largest_request_that_is_taken_fits_into_its_record(world: World) -> None:
    """It has texts of the greatest length in the widest characters, and as many links as allowed."""
    link = "https://example.com/" + "x" * 5_000
    texts = dict.fromkeys(("prompt", "speech_text", "negative_prompt"), "\N{SAUROPOD}" * 20_000)
    largest = {**BODY, **texts, "params": {"duration_seconds": 5}, "reference_image_urls": [link] * 9}
    with pytest.raises(RequestTooLarge):
        request_text({**largest, "raw_params": {"text": "x" * 65_000}})
    assert world.submitter().submit(EXECUTION, {"request": largest})["video_id"] == VIDEO_ID
    item = world.dynamodb.get_item(TableName="jobs", Key={"job_id": {"S": JOB_ID}})["Item"]
    assert len(json.dumps(item, ensure_ascii=False).encode()) < 400 * 1000


def test_half_a_character_is_no_request(world: World) -> None:
    with pytest.raises(RequestUnreadable):
        world.submitter().submit(EXECUTION, {"request": {**BODY, "prompt": "\ud83d"}})


def test_an_input_that_step_functions_cannot_pass_on_ends_its_job(world: World) -> None:
    """It fails before Submit is called, with an error that States.ALL does not catch. A redrive would fail again."""
    for _ in range(2):
        world.notifier().interrupted(
            EXECUTION, ended="FAILED", error="States.DataLimitExceeded", cause="made up", moment="1"
        )
    (message,) = world.messages()
    assert (message.body["status"], message.body["paid"]) == ("failed", "no")
    assert message.body["error"]["code"] == "request_too_large"
    assert "requests/<name>.json" in message.body["error"]["advice"]


def test_too_much_data_does_not_end_a_paid_job(world: World) -> None:
    world.paid_job()
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="States.DataLimitExceeded", cause="", moment="1")
    assert world.record().status is Status.INTERRUPTED


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, RequestUnreadable),
        (None, RequestUnreadable),
        ({"request": None}, RequestUnreadable),
        ({"request": "text"}, InvalidPayload),
        ({"request": [1]}, InvalidPayload),
        ({"request": {**BODY, "reference_image_urls": ["https://example.com/x"] * 10}}, InvalidPayload),
        ({"request": {**BODY, "metadata": {"long": "x" * 200_000}}}, InvalidPayload),
        ({"request": {**BODY, "metadata": "text"}}, InvalidPayload),
    ],
)
def test_a_bad_direct_request_is_named_and_notified_as_unpaid(world: World, given: object, error: type[Fault]) -> None:
    with pytest.raises(error) as raised:
        world.submitter().submit(EXECUTION, given)
    assert world.notifier().failed(EXECUTION, caught(raised.value))["status"] == "failed"
    assert not world.vendor.asked
    (message,) = world.messages()
    assert (message.body["error"]["error"], message.body["paid"]) == (error.__name__, "no")
    assert len(json.dumps(message.body)) < 10_000
