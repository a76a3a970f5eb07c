"""What the sweep picks up, and what it must leave alone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import OPEN, Status
from shared.jobs.store import JobStore
from shared.runtime import metrics
from shared.steps.sweep import Sweeper
from tests.unit.fakes import EXECUTION, JOB_ID, TABLE, VIDEO_ID, Flaky, World, arn_of
from tests.unit.test_ops import LATER, Machine, alive, claimed, dead, follow, operator, paid, uncertain, with_index

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = {"seen": 0, "started": 0, "interrupted": 0, "told": 0}


@pytest.fixture
def world(world: World) -> World:
    """A world whose table has the template's indexes."""
    with_index(world)
    return world


def switch(world: World) -> IntakeSwitch:
    return IntakeSwitch(world.dynamodb, TABLE)


def sweep(world: World, **options: Any) -> dict[str, int]:
    """One sweep. Unless told otherwise, to it the youngest change is old enough."""
    return Sweeper(
        **{
            "store": world.store,
            "switch": switch(world),
            "announcer": world.announcer(),
            "sfn": world.sfn,
            "state_machine_arn": world.machine,
            "quiet_seconds": -1,
            "most": 10,
            "remaining": lambda: 300.0,
            **options,
        }
    ).sweep()


def told(world: World) -> list[tuple[str, str]]:
    return [(message.body["job_id"], message.body["status"]) for message in world.messages()]


def test_a_job_that_was_never_started_is_started_once(world: World) -> None:
    world.job()
    assert sweep(world) == {"seen": 1, "started": 1, "interrupted": 0, "told": 0}
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 0, "told": 0}
    assert world.executions() == [JOB_ID]
    given = json.loads(world.sfn.describe_execution(executionArn=EXECUTION)["input"])
    assert given == {"job_id": JOB_ID, "source": {"type": "api"}}
    assert not told(world)


def test_a_job_that_changed_just_now_is_left_alone(world: World) -> None:
    world.job()
    assert sweep(world, quiet_seconds=300) == NOTHING


def at(status: Status) -> Callable[[World], Any]:
    def prepare(world: World) -> None:
        if status in (Status.PROCESSING, Status.DELIVERING):
            world.paid_job()
        else:
            world.job()
        if world.record().status is not status:
            world.store.move(JOB_ID, status)

    return prepare


SWEPT = sorted(OPEN - {Status.INTERRUPTED})


@pytest.mark.parametrize("status", SWEPT)
def test_a_job_whose_execution_lives_is_left_alone(world: World, status: Status) -> None:
    at(status)(world)
    alive(world)
    before = world.record()
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 0, "told": 0}
    assert world.record() == before


@pytest.mark.parametrize("status", SWEPT)
def test_a_job_whose_execution_died_unseen_is_interrupted_and_told_once(world: World, status: Status) -> None:
    at(status)(world)
    dead(world)
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 1, "told": 0}
    assert sweep(world) == NOTHING
    job = world.record()
    assert (job.status, job.execution) == (Status.INTERRUPTED, EXECUTION)
    assert "redrive" in (job.error or {})["advice"]
    stopped = world.sfn.describe_execution(executionArn=EXECUTION)["stopDate"]
    # The event that was late; its times are milliseconds.
    moment = str(round(stopped.timestamp() * 1000))
    world.announcer().interrupted(EXECUTION, ended="ABORTED", error="", cause="", moment=moment)
    assert told(world) == [(JOB_ID, "interrupted")]


def test_a_step_that_outlived_its_execution_leaves_no_job_behind(world: World) -> None:
    """It was told that the job is interrupted and unpaid; then the step's last write moved the job on."""
    world.job()
    dead(world)
    sweep(world)
    world.store.paid(JOB_ID, VIDEO_ID, execution=EXECUTION)
    for _ in range(2):
        sweep(world)
    assert world.record().status is Status.INTERRUPTED
    assert [(message.body["status"], message.body["paid"]) for message in world.messages()] == [
        ("interrupted", "no"),
        ("interrupted", "yes"),
    ]
    assert len({message.body["notification_id"] for message in world.messages()}) == 2


def test_a_job_that_is_interrupted_once_more_says_why(world: World) -> None:
    world.job()
    dead(world)
    sweep(world)
    world.store.claim(JOB_ID, "attempt")  # by a step that outlived the execution; it takes the error off the record
    sweep(world)
    job = world.record()
    assert (job.status, job.claim) == (Status.INTERRUPTED, "attempt")
    assert job.error is not None
    assert job.error["message"]


def test_a_failed_interruption_is_told_by_the_next_sweep(world: World) -> None:
    world.paid_job()
    dead(world)
    with pytest.raises(ClientError):
        sweep(world, announcer=world.announcer(store=world.flaky({2: "before"})))
    sweep(world)
    assert told(world) == [(JOB_ID, "interrupted")]


def test_ended_jobs_are_not_looked_at(world: World) -> None:
    paid(world, Status.TIMED_OUT)
    assert sweep(world) == NOTHING


def test_an_end_that_nobody_was_told_of_is_told_once(world: World) -> None:
    uncertain(world)
    assert sweep(world, quiet_seconds=300) == NOTHING
    assert sweep(world)["told"] == 1
    assert sweep(world) == NOTHING
    assert told(world) == [(JOB_ID, "uncertain")]


def test_an_interruption_whose_message_was_lost_is_told_once(world: World) -> None:
    world.paid_job()
    dead(world)
    with pytest.raises(ClientError):
        sweep(world, announcer=world.announcer(Flaky(world.sns, {1: "before", 2: "before"})))
    assert (world.record().status, told(world)) == (Status.INTERRUPTED, [])
    for _ in range(2):
        sweep(world)
    assert told(world) == [(JOB_ID, "interrupted")]


def test_a_message_about_a_status_that_was_left_is_crossed_off(world: World) -> None:
    world.paid_job()
    alive(world)
    world.store.note(JOB_ID, notice_due="on_hold#1")
    sweep(world)
    assert world.record().notice_due is None
    assert not told(world)


def test_the_cancel_of_a_job_without_a_live_execution_is_told(world: World) -> None:
    world.job()
    operator(world).cancel(JOB_ID)
    sweep(world)
    assert sweep(world) == NOTHING
    assert told(world) == [(JOB_ID, "canceled")]


def test_while_intake_is_stopped_nothing_starts(world: World) -> None:
    world.job()
    switch(world).stop()
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 0, "told": 0}
    assert world.executions() == []
    switch(world).start()
    sweep(world)
    assert world.executions() == [JOB_ID]


def test_the_switch_works_in_the_middle_of_a_sweep(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}")

    class Pressed(Machine):
        def start_execution(self, **arguments: str) -> Any:
            switch(world).stop()
            return world.sfn.start_execution(**arguments)

    assert sweep(world, sfn=Pressed(world))["started"] == 1


def test_the_switch_stays_where_it_was_put_and_is_no_job(world: World) -> None:
    assert not switch(world).is_stopped
    for press, stopped in ((IntakeSwitch.stop, True), (IntakeSwitch.start, False)):
        for _ in range(2):
            press(switch(world))
            assert switch(world).is_stopped is stopped
            assert not [job for status in Status for job in world.store.in_status(status)]


# ---- what an operator's command left ---------------------------------------------------------------------


def cut_off(world: World, act: Callable[[Any], Any]) -> None:
    machine = Flaky(Machine(world, redrivable=False), {1: "before"}, only="start_execution")
    with pytest.raises(ClientError):
        act(operator(world, machine))


def test_a_cut_off_attach_is_finished_even_while_intake_is_stopped(world: World) -> None:
    uncertain(world)
    cut_off(world, lambda desk: desk.attach(JOB_ID, VIDEO_ID))
    switch(world).stop()
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert not world.vendor.posts


def test_a_cut_off_resubmit_is_finished_in_its_own_execution(world: World) -> None:
    uncertain(world)
    cut_off(world, lambda desk: desk.resubmit(JOB_ID))
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    follow(world, LATER)
    assert [post.headers["Idempotency-Key"] for post in world.vendor.posts] == [f"{JOB_ID}.1"]


def test_a_cut_off_redrive_of_a_paid_job_is_finished(world: World) -> None:
    paid(world, Status.INTERRUPTED)
    cut_off(world, lambda desk: desk.redrive(JOB_ID))
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]


def test_a_cut_off_redrive_of_an_unpaid_job_is_told_and_can_be_repeated(world: World) -> None:
    """The sweep sends nothing that nobody asked it to."""
    claimed(world)
    world.store.move(JOB_ID, Status.INTERRUPTED)
    cut_off(world, lambda desk: desk.redrive(JOB_ID))
    assert sweep(world)["interrupted"] == 1
    assert told(world) == [(JOB_ID, "interrupted")]
    assert operator(world).redrive(JOB_ID) == LATER
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]


# ---- what stands still -----------------------------------------------------------------------------------

IDLE = {"OldestOpenJobSeconds": 0, "JobsOpen": 0, "JobsOnHold": 0, "JobsAwaitingRedrive": 0}


def measured(world: World) -> dict[str, int]:
    """What one sweep measures that leaves every job alone."""
    metrics.clear_metrics()
    assert sweep(world, quiet_seconds=10**9) == NOTHING
    return {name: int(metrics.metric_set[name]["Value"][-1]) for name in IDLE}


def test_a_sweep_measures_what_stands_still_and_for_how_long(world: World) -> None:
    assert measured(world) == IDLE
    for name, status, age in (
        ("new", Status.QUEUED, 10),
        ("stuck", Status.DELIVERING, 5_000),
        ("held", Status.ON_HOLD, 90_000),
        ("dead", Status.INTERRUPTED, 900_000),
        ("done", Status.SUCCEEDED, 9_000_000),
    ):
        world.paid_job(name) if status is not Status.QUEUED else world.job(name)
        if status is Status.SUCCEEDED:
            world.store.move(name, Status.DELIVERING)
        if status is not Status.QUEUED:
            world.store.move(name, status)
        world.store.note(name, changed_at=int(time.time()) - age)
    found = measured(world)
    assert found.pop("OldestOpenJobSeconds") - 5_000 in (0, 1)  # neither the held nor the interrupted job counts
    assert found == {"JobsOpen": 2, "JobsOnHold": 1, "JobsAwaitingRedrive": 1}


def test_what_stands_still_is_measured_even_where_a_job_is_in_trouble(world: World) -> None:
    world.job()
    with pytest.raises(ClientError):
        sweep(world, sfn=Flaky(world.sfn, {1: "before"}, only="start_execution"))
    assert metrics.metric_set["JobsOpen"]["Value"] == [1.0]


# ---- bounds ----------------------------------------------------------------------------------------------


def test_every_job_gets_its_turn_over_pages_and_sweeps(world: World) -> None:
    for number in range(7):
        world.job(f"job-{number}")
    started = [sweep(world, most=3) for _ in range(3)]
    # Those longest unchanged come first, so a sweep that may see three sees the same three while they are queued.
    assert started[0]["seen"] == 3
    for name in world.executions():
        world.store.claim(name, "attempt", execution=arn_of(name))
    sweep(world, most=3)
    assert len(world.executions()) == 6


def test_a_sweep_that_runs_out_of_time_stops(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}")
    left = iter([60.0, 5.0])
    assert sweep(world, remaining=lambda: next(left)) == {"seen": 1, "started": 1, "interrupted": 0, "told": 0}


def test_one_job_in_trouble_does_not_keep_the_others_waiting(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}")
    with pytest.raises(ClientError):  # so that the function's own alarm tells
        sweep(world, sfn=Flaky(world.sfn, {1: "before"}, only="start_execution"))
    assert world.executions() == ["job-1", "job-2"]
    assert sweep(world)["started"] == 1


def test_a_job_taken_up_while_its_interruption_is_told_stays_up(world: World) -> None:
    """Between the sweep's look at the record and its write, an operator redrives the job."""
    world.paid_job()
    dead(world)

    class Table:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.dynamodb, name)

        def get_item(self, **arguments: Any) -> Any:
            item = world.dynamodb.get_item(**arguments)
            operator(world, Machine(world, redrivable=False)).redrive(JOB_ID)
            return item

    store = JobStore(Table(), TABLE)  # type: ignore[arg-type]
    sweep(world, announcer=world.announcer(store=store))
    assert (world.record().status, world.record().execution) == (Status.PROCESSING, LATER)
    assert not told(world)
