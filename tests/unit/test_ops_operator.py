"""Test what an operator may do with a job: who may pay, what an interrupted command leaves, and who wins a race."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError

from ops.exits import Refused
from ops.facts import facts
from ops.next_step import next_step
from ops.operator import Operator
from shared.genviral.errors import InvalidInput, SubmissionUncertain, SubmissionUnconfirmed
from shared.jobs.errors import JobClosed, RequestUnreadable
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.steps.videos import record_video
from tests.support.fakes import (
    BODY,
    EXECUTION,
    JOB_ID,
    PLAIN_BODY,
    TABLE,
    VIDEO_ID,
    Flaky,
    Repeating,
    Vendor,
    World,
    accepting,
    arn_of,
    breaking,
    caught,
    refusing,
)
from tests.support.operators import (
    LATER,
    Machine,
    alive,
    claimed,
    dead,
    ended,
    follow,
    generation_failed,
    operator_of,
    paid,
    uncertain,
)

if TYPE_CHECKING:
    from shared.faults import Fault
    from shared.jobs.record import Job

OTHER_VIDEO = "33333333-3333-3333-3333-333333333333"


# ---- attach ----------------------------------------------------------------------------------------------

BEGINNINGS: dict[str, Callable[[World], object]] = {
    "uncertain": uncertain,
    "failed": lambda world: ended(world, Status.FAILED),
    "canceled": lambda world: ended(world, Status.CANCELED),
    "canceled, never started": lambda world: world.store.transition(world.job().job_id, Status.CANCELED),
    "interrupted": lambda world: ended(world, Status.INTERRUPTED),
    "timed_out": lambda world: paid(world, Status.TIMED_OUT),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_an_attached_video_is_followed_and_not_paid_for(world: World, beginning: str) -> None:
    BEGINNINGS[beginning](world)
    began = int(time.time())
    assert operator_of(world).attach(JOB_ID, VIDEO_ID) == LATER
    job = world.record()
    # A new deadline, because the old one may have passed.
    assert began + 7200 <= (job.deadline_at or 0) <= time.time() + 7200
    assert (job.status, job.video_id, job.execution) == (Status.PROCESSING, VIDEO_ID, LATER)
    assert (job.claim, job.notice_due, job.error) == (None, None, None)
    assert f"{JOB_ID}.r1" in world.executions()
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert not world.vendor.posts


@pytest.mark.parametrize("status", ["queued", "processing", "delivering", "succeeded"])
def test_a_job_that_needs_no_video_takes_none(world: World, status: str) -> None:
    if status == "queued":
        world.job()
    else:
        world.paid_job()
    alive(world)
    for step in {"delivering": ["delivering"], "succeeded": ["delivering", "succeeded"]}.get(status, []):
        world.store.transition(JOB_ID, Status(step))
    with pytest.raises(Refused, match=f"The job is {status}"):
        operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert world.executions() == [JOB_ID]


def test_a_job_that_runs_again_is_left_to_it(world: World) -> None:
    """After a redrive the record says interrupted until the first step, but the execution runs."""
    world.paid_job()
    alive(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    acts: list[Callable[[], object]] = [
        lambda: operator_of(world).attach(JOB_ID, VIDEO_ID),
        lambda: operator_of(world).redrive(JOB_ID),
    ]
    for act in acts:
        with pytest.raises(Refused, match="running"):
            act()


def test_a_mistyped_video_can_be_replaced_but_only_on_purpose(world: World) -> None:
    paid(world, Status.INTERRUPTED)
    with pytest.raises(Refused, match=VIDEO_ID):
        operator_of(world).attach(JOB_ID, OTHER_VIDEO)
    assert world.record().video_id == VIDEO_ID
    operator_of(world).attach(JOB_ID, OTHER_VIDEO, replace=True)
    assert world.record().video_id == OTHER_VIDEO


def following_a_mistyped_video(world: World) -> None:
    world.paid_job()
    alive(world)


def test_a_mistyped_video_is_replaced_while_it_is_polled(world: World) -> None:
    following_a_mistyped_video(world)
    with pytest.raises(Refused, match=VIDEO_ID):
        operator_of(world).attach(JOB_ID, OTHER_VIDEO)
    assert operator_of(world).attach(JOB_ID, OTHER_VIDEO, replace=True) == LATER
    assert world.sfn.describe_execution(executionArn=EXECUTION)["status"] == "ABORTED"
    world.notifier().interrupted(EXECUTION, ended="ABORTED", error="", cause="", moment="1")
    job = world.record()
    assert (job.status, job.video_id, job.execution) == (Status.PROCESSING, OTHER_VIDEO, LATER)
    assert follow(world, LATER)["video_id"] == OTHER_VIDEO
    assert not world.vendor.posts
    assert not world.messages()


def test_a_video_that_is_found_in_the_same_moment_is_not_replaced(world: World) -> None:
    following_a_mistyped_video(world)
    found = Machine(world, meanwhile=lambda: world.store.transition(JOB_ID, Status.DELIVERING))
    with pytest.raises(Refused, match="delivering"):
        operator_of(world, found).attach(JOB_ID, OTHER_VIDEO, replace=True)
    assert world.sfn.describe_execution(executionArn=EXECUTION)["status"] == "RUNNING"
    assert world.record().video_id == VIDEO_ID


UNKNOWN = {
    "not known": ([refusing(404, "video_not_found")], "Genviral does not know the video"),
    "no answer": ([breaking(httpx.ReadTimeout)], "The GET was sent to Genviral, then the answer took too long"),
    "nobody there": ([breaking(httpx.ConnectError)], "could not be reached"),
    "no key": ([refusing(401, "invalid_token")], "refused to answer"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unconfirmed_video_is_attached_only_by_force(world: World, kind: str) -> None:
    answers, text = UNKNOWN[kind]
    uncertain(world)
    alive(world, f"{JOB_ID}.r7")
    world.vendor = Vendor(get=answers)
    before, executions = world.record(), world.executions()
    with pytest.raises(Refused, match=text) as refused:
        operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert "--force" in str(refused.value)
    assert "othing was changed" in str(refused.value)
    assert (world.record(), world.executions()) == (before, executions)
    asked = len(world.vendor.asked)
    assert operator_of(world).attach(JOB_ID, VIDEO_ID, force=True) == LATER
    assert (world.record().video_id, len(world.vendor.asked)) == (VIDEO_ID, asked)


@pytest.mark.parametrize("status", sorted(Status))
def test_a_video_that_another_job_has_is_attached_only_by_force(world: World, status: Status) -> None:
    uncertain(world)
    world.store.create("another", source={"type": "api"}, video_id=VIDEO_ID)
    if status is not Status.QUEUED:
        world.overwrite("another", status=status.value)
    with pytest.raises(Refused, match=f"The job another has this video; it is {status}"):
        operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert world.record().status is Status.UNCERTAIN
    operator_of(world).attach(JOB_ID, VIDEO_ID, force=True)
    assert world.record().video_id == VIDEO_ID


def test_a_video_of_a_job_that_was_given_another_one_is_free(world: World) -> None:
    """The index that is read lags behind the table."""
    uncertain(world)
    world.store.create("another", source={"type": "api"}, video_id=VIDEO_ID)
    operator = operator_of(world)
    listed = list(world.store.with_video(VIDEO_ID))
    world.store.update("another", video_id=OTHER_VIDEO)
    store = replace(operator, store=Stale(world.store, listed))  # type: ignore[arg-type]  # a double of the store
    assert store.attach(JOB_ID, VIDEO_ID) == LATER


def test_another_jobs_further_video_is_attached_only_by_force(world: World) -> None:
    uncertain(world)
    another, _ = world.store.create("another", source={"type": "api"}, video_id=OTHER_VIDEO)
    world.store.note_owner(VIDEO_ID, "another")
    world.store.add_video(another, VIDEO_ID, {"credits_used": 5, "submitted_at": 1_700_000_000})
    with pytest.raises(Refused, match="The job another has this video; it is queued"):
        operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert world.record().status is Status.UNCERTAIN
    assert operator_of(world).attach(JOB_ID, VIDEO_ID, force=True) == LATER


def test_a_video_attached_by_mistake_is_free_once_that_is_corrected(world: World) -> None:
    uncertain(world)
    world.store.create("another", source={"type": "api"}, video_id=VIDEO_ID)
    world.overwrite("another", status=Status.INTERRUPTED.value)
    operator = operator_of(world)
    operator.attach("another", OTHER_VIDEO, replace=True)
    assert world.store.owner_of(VIDEO_ID) == "another"
    assert operator.attach(JOB_ID, VIDEO_ID) == LATER


class Meanwhile:
    """A store that runs an action once, after the search for another job with the video."""

    def __init__(self, world: World, happen: Callable[[], Any]) -> None:
        self._store = world.store
        self._happen = happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def with_video(self, video_id: str) -> list[str]:
        found = list(self._store.with_video(video_id))
        happen, self._happen = self._happen, lambda: None
        happen()
        return found


BEFORE: dict[str, Callable[[World], Any]] = {
    "nobody had it": lambda _: None,
    "this job had lost it": lambda world: world.store.note_owner(VIDEO_ID, JOB_ID),
    "the other job had lost it": lambda world: world.store.note_owner(VIDEO_ID, "another"),
    "a third job had lost it": lambda world: world.store.note_owner(VIDEO_ID, "a third one"),
    "as an earlier version wrote it": lambda world: world.dynamodb.put_item(
        TableName=TABLE, Item={"job_id": {"S": f"#video {VIDEO_ID}"}, "belongs_to": {"S": "another"}}
    ),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("force", [False, True])
def test_of_two_jobs_that_are_given_one_video_at_once_only_one_gets_it(world: World, before: str, force: bool) -> None:
    uncertain(world)
    world.store.create("another", source={"type": "api"}, execution=arn_of("another"))
    world.store.transition("another", Status.FAILED)
    operator = operator_of(world)
    BEFORE[before](world)
    store = Meanwhile(world, lambda: operator.attach("another", VIDEO_ID, force=force))
    seen = world.record()
    for attempt in (replace(operator, store=store), operator):  # type: ignore[arg-type]  # a double of the store
        with pytest.raises(Refused, match="The job another has this video; it is processing"):
            attempt.attach(JOB_ID, VIDEO_ID)
    assert (world.record(), world.record("another").video_id) == (seen, VIDEO_ID)
    assert operator.attach(JOB_ID, VIDEO_ID, force=True) == LATER
    assert world.record().video_id == VIDEO_ID


def test_an_answer_that_names_the_video_in_the_same_moment_wins(world: World) -> None:
    uncertain(world)
    world.store.create("another", source={"type": "api"}, video_id=OTHER_VIDEO)

    def accepted() -> None:
        record_video(world.store, VIDEO_ID, {"submitted_at": 1_700_000_000}, job_id="another", origin={})

    with pytest.raises(Refused, match="The job another has this video"):
        replace(operator_of(world), store=Meanwhile(world, accepted)).attach(JOB_ID, VIDEO_ID)  # type: ignore[arg-type]  # a double of the store
    assert (world.record().status, list(world.record("another").other_videos)) == (Status.UNCERTAIN, [VIDEO_ID])


def test_an_attach_whose_answer_was_lost_is_not_refused_for_its_own_write(world: World) -> None:
    uncertain(world)
    operator = operator_of(world)

    class Repeated(JobStore):
        def take_up(self, *given: Any, **options: Any) -> None:
            super().take_up(*given, **options)
            super().take_up(*given, **options)

    assert replace(operator, store=Repeated(world.dynamodb, TABLE)).attach(JOB_ID, VIDEO_ID) == LATER
    assert (world.record().video_id, world.executions()) == (VIDEO_ID, [JOB_ID, f"{JOB_ID}.r1"])


@pytest.mark.parametrize("force", [False, True])
def test_a_job_that_had_anothers_video_leaves_no_trace_in_its_place(world: World, force: bool) -> None:
    """The job that Genviral was paid for keeps its further video, however often that is attached elsewhere."""
    uncertain(world)
    world.store.create("the owner", source={"type": "api"}, video_id=OTHER_VIDEO)
    record_video(world.store, VIDEO_ID, {"submitted_at": 1_700_000_000}, job_id="the owner", origin={})
    operator = operator_of(world)
    operator.attach(JOB_ID, VIDEO_ID, force=True)
    operator.attach(JOB_ID, "44444444-4444-4444-4444-444444444444", replace=True, force=force)
    world.store.create("another", source={"type": "api"})
    world.store.transition("another", Status.FAILED)
    assert world.store.owner_of(VIDEO_ID) == "the owner"
    with pytest.raises(Refused, match="The job the owner has this video"):
        operator.attach("another", VIDEO_ID)


class Stale:
    """A store whose index shows an earlier state."""

    def __init__(self, store: Any, listed: list[str]) -> None:
        self._store = store
        self._listed = listed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def with_video(self, _: str) -> list[str]:
        return self._listed


def test_the_video_on_the_record_need_not_be_named(world: World) -> None:
    paid(world, Status.TIMED_OUT)
    operator_of(world).attach(JOB_ID)
    assert (world.record().status, world.record().video_id) == (Status.PROCESSING, VIDEO_ID)


def test_a_job_without_a_video_needs_its_name(world: World) -> None:
    uncertain(world)
    with pytest.raises(Refused, match="names no video"):
        operator_of(world).attach(JOB_ID)
    assert world.record().status is Status.UNCERTAIN


@pytest.mark.parametrize("video", ["", " ", "a\nb", "..", "v" * 513])
def test_what_can_be_no_video_id_is_not_recorded(world: World, video: str) -> None:
    uncertain(world)
    with pytest.raises(Refused):
        operator_of(world).attach(JOB_ID, video)
    assert world.record().status is Status.UNCERTAIN


# ---- resubmit --------------------------------------------------------------------------------------------


def test_a_resubmission_is_paid_under_a_key_of_its_own(world: World) -> None:
    world.vendor = Vendor(
        [lambda request: (_ for _ in ()).throw(httpx.ReadTimeout("made up", request=request)), accepting()]
    )
    world.job()
    with pytest.raises(SubmissionUncertain):
        follow(world, EXECUTION)
    dead(world)
    world.notifier().failed(EXECUTION, {"Error": "SubmissionUncertain", "Cause": "{}"})
    assert operator_of(world).resubmit(JOB_ID) == LATER
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert [post.headers["Idempotency-Key"] for post in world.vendor.posts] == [JOB_ID, f"{JOB_ID}.1"]
    with pytest.raises(Refused, match="paid for"):
        operator_of(world).resubmit(JOB_ID)


@pytest.mark.parametrize(
    "status", [Status.CANCELED, Status.INTERRUPTED, Status.TIMED_OUT], ids=lambda status: status.value
)
def test_only_an_unsettled_or_unpaid_end_is_resubmitted(world: World, status: Status) -> None:
    if status is Status.TIMED_OUT:
        paid(world, status)
    else:
        ended(world, status)
    with pytest.raises(Refused):
        operator_of(world).resubmit(JOB_ID)
    assert world.executions() == [JOB_ID]


def test_the_decision_to_pay_is_about_the_job_that_was_shown(world: World) -> None:
    """Before the confirmation, the first call's answer may arrive, or another operator may act."""
    uncertain(world)

    def late_answer(_: Job) -> None:
        world.store.record_video(JOB_ID, VIDEO_ID)

    with pytest.raises(Refused, match="changed meanwhile"):
        operator_of(world).resubmit(JOB_ID, late_answer)
    assert (world.record().status, world.record().resubmissions) == (Status.UNCERTAIN, 0)


def test_a_second_person_in_the_same_minute_does_not_pay_again(world: World) -> None:
    uncertain(world)

    def faster(_: Job) -> None:
        operator_of(world).resubmit(JOB_ID)
        world.store.claim(JOB_ID, "attempt", execution=LATER)
        world.store.transition(JOB_ID, Status.UNCERTAIN)

    with pytest.raises(Refused, match="changed meanwhile"):
        operator_of(world).resubmit(JOB_ID, faster)
    assert world.record().resubmissions == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]


def test_nothing_is_sent_without_consent(world: World) -> None:
    def no(_: Job) -> None:
        raise Refused("no")

    uncertain(world)
    before = world.record()
    with pytest.raises(Refused, match="no"):
        operator_of(world).resubmit(JOB_ID, no)
    assert world.record() == before


# ---- redrive ---------------------------------------------------------------------------------------------


def test_a_redrive_resumes_the_same_execution(world: World) -> None:
    paid(world, Status.INTERRUPTED)
    before, machine = world.record(), Machine(world)
    assert operator_of(world, machine).redrive(JOB_ID) == EXECUTION
    assert machine.redriven == [EXECUTION]
    assert replace(world.record(), interrupted_at=None) == before


def test_a_redrive_gives_the_video_time_again(world: World) -> None:
    """An interrupted job could not be polled, and its deadline may have passed."""
    paid(world, Status.INTERRUPTED)
    world.store.update(JOB_ID, deadline_at=1_700_000_000)
    began = int(time.time())
    operator_of(world).redrive(JOB_ID)
    assert began + 7200 <= (world.record().deadline_at or 0) <= time.time() + 7200


def test_what_cannot_be_redriven_any_more_goes_on_in_a_later_execution(world: World) -> None:
    paid(world, Status.INTERRUPTED)
    too_old = {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "Execution redrivable period exceeded"}
    assert operator_of(world, Machine(world, redrivable=False, shown=too_old)).redrive(JOB_ID) == LATER
    assert (world.record().status, world.record().execution) == (Status.PROCESSING, LATER)
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert not world.vendor.posts


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("made up", {"status": "RUNNING"}),
        ("made up", {"redriveStatusReason": "Execution is RUNNING and cannot be redriven"}),
        ("made up", {"redriveStatus": "REDRIVABLE"}),
        ("Execution is PENDING_REDRIVE", {}),
    ],
)
def test_a_redrive_given_twice_starts_no_second_execution(world: World, said: str, shown: dict[str, str]) -> None:
    """A description may be too old to show that the first redrive has begun."""
    paid(world, Status.INTERRUPTED)
    before = world.record()
    with pytest.raises(Refused, match="runs again"):
        operator_of(world, Machine(world, redrivable=False, said=said, shown=shown)).redrive(JOB_ID)
    assert world.executions() == [JOB_ID]
    assert replace(world.record(), interrupted_at=None) == before


@pytest.mark.parametrize("error", ["SubmissionUncertain", "SubmissionUnconfirmed"])
def test_a_video_that_came_after_another_attempt_gave_up_is_followed(world: World, error: str) -> None:
    """The execution is in its Fail state, where every redrive would fail."""
    world.paid_job()
    dead(world)
    world.notifier().failed(EXECUTION, {"Error": error, "Cause": "{}"})
    world.notifier().interrupted(EXECUTION, ended="FAILED", error=error, cause="", moment="1")
    assert (world.record().status, world.record().video_id) == (Status.INTERRUPTED, VIDEO_ID)
    machine = Machine(world, shown={"status": "FAILED", "error": error})
    assert operator_of(world, machine).redrive(JOB_ID) == LATER
    assert not machine.redriven
    assert world.record().status is Status.PROCESSING
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert not world.vendor.posts


@pytest.mark.parametrize("command", ["resubmit", "redrive"])
def test_what_the_vendor_could_not_make_is_at_its_end(world: World, command: str) -> None:
    generation_failed(world)
    with pytest.raises(Refused, match="at its end: ask for a new job") as refused:
        getattr(operator_of(world), command)(JOB_ID)
    assert f"If {VIDEO_ID} was attached by mistake: attach {JOB_ID} VIDEO_ID --replace." in str(refused.value)
    assert "resubmit" not in str(refused.value)
    assert world.executions() == [JOB_ID]


@pytest.mark.parametrize("command", ["resubmit", "redrive"])
def test_a_failed_job_whose_video_came_late_is_attached(world: World, command: str) -> None:
    ended(world, Status.FAILED)
    world.store.record_video(JOB_ID, VIDEO_ID)
    with pytest.raises(Refused, match=r"Use attach\."):
        getattr(operator_of(world), command)(JOB_ID)


def test_a_claim_of_unknown_end_stays_one(world: World) -> None:
    claimed(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    operator_of(world, Machine(world, redrivable=False)).redrive(JOB_ID)
    with pytest.raises(SubmissionUncertain):
        follow(world, LATER)
    assert not world.vendor.posts


@pytest.mark.parametrize("status", [Status.INTERRUPTED, Status.ON_HOLD, Status.QUEUED], ids=lambda status: status.value)
def test_a_job_that_was_never_sent_asks_first_and_is_sent_once(world: World, status: Status) -> None:
    world.job()
    dead(world)
    if status is not Status.QUEUED:
        world.store.transition(JOB_ID, status)

    def no(_: Job) -> None:
        raise Refused("no")

    machine = Machine(world, redrivable=False)
    with pytest.raises(Refused, match="no"):
        operator_of(world, machine).redrive(JOB_ID, no)
    assert world.executions() == [JOB_ID]
    operator_of(world, machine).redrive(JOB_ID)
    for _ in range(2):
        follow(world, LATER)
    assert len(world.vendor.posts) == 1


def test_a_job_whose_call_may_be_refused_after_all_asks_first(world: World) -> None:
    """Its claim may be released between the question and the redrive, which then sends the paid call."""
    claimed(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    asked: list[str | None] = []
    operator_of(world).redrive(JOB_ID, lambda job: asked.append(job.claim))
    assert asked == ["attempt"]


def test_a_redrive_whose_answer_was_lost_ends_the_outage_at_its_repeat(world: World) -> None:
    paid(world, Status.INTERRUPTED)
    world.store.update(JOB_ID, redrives=3, redrive_at=1, redrive_until=2)
    said = "Execution is RUNNING and is not redrivable"
    with pytest.raises(Refused, match="runs again"):
        operator_of(world, Machine(world, redrivable=False, said=said)).redrive(JOB_ID)
    job = world.record()
    assert (job.redrives, job.redrive_at, job.redrive_until) == (0, None, None)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_an_aws_failure_for_one_job_does_not_delay_the_others(world: World, code: str) -> None:
    jobs = [world.paid_job(name) for name in ("a", "b", "c")]
    for job in jobs:
        dead(world, job.job_id)
        world.store.transition(job.job_id, Status.INTERRUPTED)
    machine = Machine(world)
    flaky = Flaky(machine, {1: "before"}, only="redrive_execution", code=code)
    done = {job.job_id: reason for job, reason in operator_of(world, flaky).redrive_all(jobs)}
    assert code in (done.pop("a") or "")
    assert done == {"b": None, "c": None}
    assert machine.redriven == [arn_of("b"), arn_of("c")]


def test_an_ended_job_is_not_redriven(world: World) -> None:
    uncertain(world)
    with pytest.raises(Refused, match="attach or resubmit"):
        operator_of(world).redrive(JOB_ID)


# ---- cancel ----------------------------------------------------------------------------------------------


def test_a_canceled_job_ends_and_its_end_is_notified_once(world: World) -> None:
    world.paid_job()
    alive(world)
    operator_of(world).cancel(JOB_ID)
    assert world.record().status is Status.CANCELED
    assert world.sfn.describe_execution(executionArn=EXECUTION)["status"] == "ABORTED"
    for _ in range(2):  # the status event, which may come twice
        world.notifier().interrupted(EXECUTION, ended="ABORTED", error="", cause="", moment="1")
    assert [message.body["status"] for message in world.messages()] == ["canceled"]
    assert world.messages()[0].body["paid"] == "yes"


def test_a_cancel_during_the_paid_call_keeps_the_video_for_attach(world: World) -> None:
    world.job()
    alive(world)

    def answer(request: httpx.Request) -> httpx.Response:
        operator_of(world).cancel(JOB_ID)
        return accepting()(request)

    world.vendor = Vendor([answer])
    follow(world, EXECUTION)
    assert (world.record().status, world.record().video_id) == (Status.CANCELED, VIDEO_ID)
    operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert len(world.vendor.posts) == 1


def test_a_job_canceled_before_it_began_is_never_sent(world: World) -> None:
    world.job()
    operator_of(world).cancel(JOB_ID)
    alive(world)
    with pytest.raises(JobClosed):
        follow(world, EXECUTION)
    assert not world.vendor.posts


def test_a_held_job_can_be_canceled(world: World) -> None:
    world.job()
    alive(world)
    world.notifier().on_hold(EXECUTION, {"Error": "InsufficientCredits", "Cause": "{}"})
    operator_of(world).cancel(JOB_ID)
    job = world.record()
    assert (job.status, job.held_since, job.error) == (Status.CANCELED, None, None)


def test_an_ended_job_is_not_canceled(world: World) -> None:
    uncertain(world)
    with pytest.raises(Refused, match="uncertain"):
        operator_of(world).cancel(JOB_ID)


# ---- what may come in between ----------------------------------------------------------------------------

Act = Callable[[Operator], Any]
RESUMING: dict[str, tuple[Callable[[World], None], Act]] = {
    "attach": (uncertain, lambda operator: operator.attach(JOB_ID, VIDEO_ID)),
    "resubmit": (uncertain, lambda operator: operator.resubmit(JOB_ID)),
    "redrive": (lambda world: paid(world, Status.INTERRUPTED), lambda operator: operator.redrive(JOB_ID)),
    "replace": (following_a_mistyped_video, lambda operator: operator.attach(JOB_ID, OTHER_VIDEO, replace=True)),
}


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("name", RESUMING)
def test_a_command_cut_off_before_the_start_is_finished_by_its_repeat(world: World, name: str, how: str) -> None:
    prepare, act = RESUMING[name]
    prepare(world)
    with pytest.raises(ClientError):
        act(operator_of(world, Flaky(Machine(world, redrivable=False), {1: how}, only="start_execution")))
    first = world.record()
    if how == "before":
        assert act(operator_of(world, Machine(world, redrivable=False))) == LATER
    else:  # it had begun, so a repeat does nothing
        with pytest.raises(Refused):
            act(operator_of(world, Machine(world, redrivable=False)))
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    assert world.record() == first
    assert world.record().resubmissions == (1 if name == "resubmit" else 0)


@pytest.mark.parametrize("name", RESUMING)
def test_a_command_whose_write_was_repeated_recognises_its_own(world: World, name: str) -> None:
    prepare, act = RESUMING[name]
    prepare(world)
    operator = operator_of(world, Machine(world, redrivable=False))
    assert act(replace(operator, store=JobStore(Repeating(world.dynamodb, times=1), TABLE))) == LATER  # type: ignore[arg-type]  # a double of the client
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    assert world.record().resubmissions == (1 if name == "resubmit" else 0)


def test_a_cancel_whose_write_was_repeated_stops_the_execution(world: World) -> None:
    world.paid_job()
    alive(world)
    operator = replace(operator_of(world), store=JobStore(Repeating(world.dynamodb, times=1), TABLE))  # type: ignore[arg-type]  # a double of the client
    assert operator.cancel(JOB_ID).status is Status.CANCELED
    assert world.sfn.describe_execution(executionArn=EXECUTION)["status"] == "ABORTED"


def test_a_cancel_cut_off_before_the_stop_is_finished_by_its_repeat(world: World) -> None:
    world.paid_job()
    alive(world)
    with pytest.raises(ClientError):
        operator_of(world, Flaky(world.sfn, {1: "before"}, only="stop_execution")).cancel(JOB_ID)
    for _ in range(2):
        operator_of(world).cancel(JOB_ID)
    assert world.sfn.describe_execution(executionArn=EXECUTION)["status"] == "ABORTED"


STOPS: dict[str, Act] = {
    "cancel": lambda operator: operator.cancel(JOB_ID),
    "replace": lambda operator: operator.attach(JOB_ID, OTHER_VIDEO, replace=True),
}


@pytest.mark.parametrize("code", ["ValidationException", "ExecutionDoesNotExist"])
@pytest.mark.parametrize("name", STOPS)
def test_an_execution_that_ends_just_before_its_stop_fails_no_command(world: World, name: str, code: str) -> None:
    following_a_mistyped_video(world)
    STOPS[name](operator_of(world, Flaky(Machine(world), {1: "after"}, only="stop_execution", code=code)))
    job = world.record()
    assert (job.status, job.execution) == {
        "cancel": (Status.CANCELED, EXECUTION),
        "replace": (Status.PROCESSING, LATER),
    }[name]


@pytest.mark.parametrize("name", STOPS)
def test_a_stop_that_fails_otherwise_is_no_success(world: World, name: str) -> None:
    following_a_mistyped_video(world)
    with pytest.raises(ClientError, match="AccessDenied"):
        STOPS[name](
            operator_of(
                world, Flaky(Machine(world), {1: "before"}, only="stop_execution", code="AccessDeniedException")
            )
        )


def test_what_a_cut_off_cancel_left_running_stops_before_a_reopening(world: World) -> None:
    world.paid_job()
    alive(world)
    world.store.transition(JOB_ID, Status.CANCELED)
    operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert world.sfn.describe_execution(executionArn=EXECUTION)["status"] == "ABORTED"
    assert world.record().execution == LATER


@pytest.mark.parametrize("name", RESUMING)
def test_of_two_operators_one_wins(world: World, name: str) -> None:
    prepare, act = RESUMING[name]
    prepare(world)
    other = operator_of(world, Machine(world, redrivable=False))
    with pytest.raises(Refused, match="changed meanwhile"):
        act(operator_of(world, Machine(world, redrivable=False, meanwhile=lambda: act(other))))
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    assert world.record().resubmissions == (1 if name == "resubmit" else 0)


def test_the_old_executions_end_does_not_touch_a_resumed_job(world: World) -> None:
    uncertain(world)
    operator_of(world).attach(JOB_ID, VIDEO_ID)
    before = world.record()
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="X", cause="", moment="1")
    world.notifier().failed(EXECUTION, {"Error": "SubmissionUncertain", "Cause": "{}"})
    assert world.record() == before
    assert not world.messages()


# ---- links that open nothing any more --------------------------------------------------------------------


UNCERTAIN = [
    SubmissionUncertain("no answer"),
    SubmissionUncertain("no answer", video_id=VIDEO_ID),
    SubmissionUnconfirmed("no answer"),
]


@pytest.mark.parametrize("error", UNCERTAIN, ids=["nothing is known", "an id is known", "sent again"])
@pytest.mark.parametrize(("body", "is_stripped"), [(BODY, True), (PLAIN_BODY, False)])
def test_resubmit_is_not_advised_for_a_job_whose_links_were_stripped(
    world: World, error: Fault, body: dict[str, Any], is_stripped: bool
) -> None:
    world.job(request=body)
    dead(world)
    world.notifier().failed(EXECUTION, caught(error))
    (message,) = world.messages()
    job = world.record()
    api = world.lookup().show(JOB_ID)["error"]["advice"]
    shown = [message.email, message.body["error"]["advice"], api, facts(job, None)["advice"]]
    assert [is_stripped] * 4 == ["fresh links" in text for text in shown]
    assert [not is_stripped] * 4 == ["resubmit" in text for text in shown]


@pytest.mark.parametrize("error", [InvalidInput("no"), SubmissionUncertain("no answer")])
def test_a_job_whose_links_were_stripped_is_not_sent_again(world: World, error: Fault) -> None:
    world.job(request=BODY)
    dead(world)
    world.notifier().failed(EXECUTION, caught(error))
    with pytest.raises(Refused, match="new job with fresh links"):
        operator_of(world).resubmit(JOB_ID)
    job = world.record()
    assert "resubmit" not in next_step(job, None, intake_stopped=False, sweep_by="")
    assert "fresh links" in next_step(job, None, intake_stopped=False, sweep_by="")
    assert not world.vendor.asked


def test_a_job_resumed_just_before_its_links_were_stripped_is_not_sent(world: World) -> None:
    world.job(request=PLAIN_BODY)
    world.store.update(JOB_ID, links_stripped=True)
    with pytest.raises(RequestUnreadable, match="ask for a new job"):
        world.submitter().submit(EXECUTION, {})
    assert not world.vendor.asked


def test_a_video_is_attached_to_a_job_whose_links_were_stripped(world: World) -> None:
    world.job(request=BODY)
    dead(world)
    world.notifier().failed(EXECUTION, caught(SubmissionUncertain("no answer")))
    operator_of(world).attach(JOB_ID, VIDEO_ID)
    assert world.record().status is Status.PROCESSING
