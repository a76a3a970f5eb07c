"""Test what the sweep resumes, and what it must leave alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.stepfunctions.models import stepfunctions_backends

from shared.executions import Pace, describing, listing
from shared.genviral.errors import SubmissionUncertain
from shared.jobs.errors import UploadUnreadable
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import OPEN, Status
from shared.jobs.transitions import JobStore
from shared.runtime import metrics
from tests.support.fakes import (
    EXECUTION,
    FINISHED,
    JOB_ID,
    REGION,
    TABLE,
    VIDEO_ID,
    Flaky,
    World,
    caught,
    failed,
    showing,
)
from tests.support.operators import (
    LATER,
    Machine,
    alive,
    claimed,
    dead,
    follow,
    operator_of,
    paid,
    uncertain,
    with_index,
)
from tests.support.sweeps import paid_items, start, sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NOTHING = {"seen": 0, "started": 0, "interrupted": 0, "redriven": 0, "notified": 0}


NOW = 1_795_348_800
DAY = 86_400


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the time by the only member of a list."""
    now = [float(NOW)]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.fixture
def world(world: World) -> World:
    """Make a world whose table has the template's indexes."""
    with_index(world)
    return world


def switch(world: World) -> IntakeSwitch:
    return IntakeSwitch(world.dynamodb, TABLE)


def sweep(world: World, **options: Any) -> dict[str, int]:
    """Run one sweep. By default the youngest change is old enough for it."""
    return sweeper(world, **options).sweep()


def notified(world: World) -> list[tuple[str, str]]:
    return [(message.body["job_id"], message.body["status"]) for message in world.messages()]


def test_a_job_that_was_never_started_is_started_once(world: World) -> None:
    world.job()
    assert sweep(world) == {"seen": 1, "started": 1, "interrupted": 0, "redriven": 0, "notified": 0}
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 0, "redriven": 0, "notified": 0}
    assert world.executions() == [JOB_ID]
    given = json.loads(world.sfn.describe_execution(executionArn=EXECUTION)["input"])
    assert given == {"job_id": JOB_ID, "source": {"type": "api"}}
    assert not notified(world)


def test_a_job_that_changed_just_now_is_left_alone(world: World) -> None:
    world.job()
    assert sweep(world, quiet_seconds=300) == NOTHING


def at(status: Status) -> Callable[[World], Any]:
    def prepare(world: World) -> None:
        if status in (Status.PROCESSING, Status.DELIVERING):
            world.paid_job()
        else:
            world.job()
        world.overwrite(JOB_ID, status=status.value)

    return prepare


SWEPT = sorted(OPEN - {Status.INTERRUPTED})


@pytest.mark.parametrize("status", SWEPT)
def test_a_job_whose_execution_lives_is_left_alone(world: World, status: Status) -> None:
    at(status)(world)
    alive(world)
    before = world.record()
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 0, "redriven": 0, "notified": 0}
    assert world.record() == before


@pytest.mark.parametrize("status", SWEPT)
def test_a_job_whose_execution_died_is_interrupted_and_notified_once(world: World, status: Status) -> None:
    at(status)(world)
    dead(world)
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 1, "redriven": 0, "notified": 0}
    assert sweep(world) == NOTHING
    job = world.record()
    assert (job.status, job.execution) == (Status.INTERRUPTED, EXECUTION)
    assert "redrive" in (job.error or {})["advice"]
    stopped = world.sfn.describe_execution(executionArn=EXECUTION)["stopDate"]
    # The late event. Its times are milliseconds.
    moment = str(round(stopped.timestamp() * 1000))
    world.notifier().interrupted(EXECUTION, ended="ABORTED", error="", cause="", moment=moment)
    assert notified(world) == [(JOB_ID, "interrupted")]


def test_a_step_that_outlived_its_execution_leaves_no_job_behind(world: World) -> None:
    """People were notified that the job is interrupted and unpaid. Then the step's last write changed its status."""
    world.job()
    dead(world)
    sweep(world)
    world.store.record_accepted(JOB_ID, VIDEO_ID, execution=EXECUTION)
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
    world.store.claim(JOB_ID, "attempt")  # by a step that outlived the execution and removes the error from the record
    sweep(world)
    job = world.record()
    assert (job.status, job.claim) == (Status.INTERRUPTED, "attempt")
    assert job.error is not None
    assert job.error["message"]


def test_a_failed_interruption_is_notified_by_the_next_sweep(world: World) -> None:
    world.paid_job()
    dead(world)
    with pytest.raises(ClientError):
        sweep(world, notifier=world.notifier(store=world.flaky({2: "before"})))
    sweep(world)
    assert notified(world) == [(JOB_ID, "interrupted")]


def test_ended_jobs_are_not_read(world: World) -> None:
    paid(world, Status.TIMED_OUT)
    assert sweep(world) == NOTHING


def test_a_pending_notification_of_an_end_is_sent_once(world: World) -> None:
    uncertain(world)
    assert sweep(world, quiet_seconds=300) == NOTHING
    assert sweep(world)["notified"] == 1
    assert sweep(world) == NOTHING
    assert notified(world) == [(JOB_ID, "uncertain")]


def test_an_interruption_whose_message_was_lost_is_notified_once(world: World) -> None:
    world.paid_job()
    dead(world)
    with pytest.raises(ClientError):
        sweep(world, notifier=world.notifier(Flaky(world.sns, {1: "before", 2: "before"})))
    assert (world.record().status, notified(world)) == (Status.INTERRUPTED, [])
    for _ in range(2):
        sweep(world)
    assert notified(world) == [(JOB_ID, "interrupted")]


def test_a_message_about_a_status_that_was_left_is_crossed_off(world: World) -> None:
    world.paid_job()
    alive(world)
    world.store.update(JOB_ID, notice_due="on_hold#1")
    sweep(world)
    assert world.record().notice_due is None
    assert not notified(world)


def test_the_cancel_of_a_job_without_a_live_execution_is_notified(world: World) -> None:
    world.job()
    operator_of(world).cancel(JOB_ID)
    sweep(world)
    assert sweep(world) == NOTHING
    assert notified(world) == [(JOB_ID, "canceled")]


def test_while_intake_is_stopped_nothing_starts(world: World) -> None:
    world.job()
    switch(world).stop()
    assert sweep(world) == {"seen": 1, "started": 0, "interrupted": 0, "redriven": 0, "notified": 0}
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
        act(operator_of(world, machine))


def test_a_cut_off_attach_is_finished_even_while_intake_is_stopped(world: World) -> None:
    uncertain(world)
    cut_off(world, lambda operator: operator.attach(JOB_ID, VIDEO_ID))
    switch(world).stop()
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert not world.vendor.posts


def test_a_cut_off_resubmit_is_finished_in_its_own_execution(world: World) -> None:
    uncertain(world)
    cut_off(world, lambda operator: operator.resubmit(JOB_ID))
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    follow(world, LATER)
    assert [post.headers["Idempotency-Key"] for post in world.vendor.posts] == [f"{JOB_ID}.1"]


def test_a_cut_off_redrive_of_a_paid_job_is_finished(world: World) -> None:
    paid(world, Status.INTERRUPTED)
    cut_off(world, lambda operator: operator.redrive(JOB_ID))
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]


def test_a_cut_off_redrive_of_an_unpaid_job_is_finished_and_pays_once(world: World) -> None:
    world.job()
    dead(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    cut_off(world, lambda operator: operator.redrive(JOB_ID))
    switch(world).stop()
    assert sweep(world) == NOTHING | {"seen": 1}
    switch(world).start()
    assert sweep(world)["started"] == 1
    assert world.executions() == [JOB_ID, f"{JOB_ID}.r1"]
    for _ in range(2):
        follow(world, LATER)
    assert len(world.vendor.posts) == 1
    assert not notified(world)


def test_a_cut_off_redrive_of_a_claimed_job_is_finished_and_sends_nothing(world: World) -> None:
    claimed(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    cut_off(world, lambda operator: operator.redrive(JOB_ID))
    assert sweep(world)["started"] == 1
    with pytest.raises(SubmissionUncertain):
        follow(world, LATER)
    assert not world.vendor.posts


# ---- what stands still -----------------------------------------------------------------------------------

IDLE = {"OldestOpenJobSeconds": 0, "JobsOpen": 0, "JobsOnHold": 0, "JobsAwaitingRedrive": 0}


def measured(world: World) -> dict[str, int]:
    """Return the metrics of one sweep that leaves every job alone."""
    metrics.clear_metrics()
    assert sweep(world, quiet_seconds=10**9) == NOTHING
    return {name: int(metrics.metric_set[name]["Value"][-1]) for name in IDLE}


def test_a_sweep_measures_what_stands_still_and_for_how_long(world: World, clock: list[float]) -> None:
    assert clock == [NOW]
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
            world.store.transition(name, Status.DELIVERING)
        if status is not Status.QUEUED:
            world.store.transition(name, status)
        world.overwrite(name, changed_at=NOW - age)
    # Neither the held nor the interrupted job counts.
    assert measured(world) == {
        "OldestOpenJobSeconds": 5_000,
        "JobsOpen": 2,
        "JobsOnHold": 1,
        "JobsAwaitingRedrive": 1,
    }


def test_what_stands_still_is_measured_even_where_a_job_is_in_trouble(world: World) -> None:
    world.job()
    with pytest.raises(ClientError):
        sweep(world, sfn=Flaky(world.sfn, {1: "before"}, only="start_execution"))
    assert metrics.metric_set["JobsOpen"]["Value"] == [1.0]


# ---- bounds ----------------------------------------------------------------------------------------------


def test_no_kind_of_duty_keeps_another_waiting(world: World) -> None:
    """Every sweep ends early, and each kind still gets its turn, the longest unchanged jobs first."""
    for number in range(8):
        world.job(f"queued-{number}")
        world.overwrite(f"queued-{number}", changed_at=1_000 + number)
    world.paid_job("dead")
    dead(world, "dead")
    world.paid_job("ended")
    world.store.transition("ended", Status.CANCELED, notice_due="canceled")
    readings = iter([300.0] * 6)
    count = sweep(world, remaining=lambda: next(readings, 5.0))
    assert (count["started"], count["interrupted"], count["notified"]) == (2, 1, 1)
    assert {"queued-0", "queued-1"} < set(world.executions())


def test_a_sweep_that_runs_out_of_time_stops(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}")
    count = sweep(world, remaining=lambda: 5.0 if world.executions() else 60.0)
    assert (count["seen"], count["started"]) == (1, 1)


def test_one_job_in_trouble_does_not_keep_the_others_waiting(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}")
    with pytest.raises(ClientError):  # so that the function's own alarm fires
        sweep(world, sfn=Flaky(world.sfn, {1: "before"}, only="start_execution"))
    assert world.executions() == ["job-1", "job-2"]
    assert sweep(world)["started"] == 1


def test_a_job_resumed_while_its_interruption_is_notified_stays_resumed(world: World) -> None:
    """An operator redrives the job between the sweep's read of the record and its write."""
    world.paid_job()
    dead(world)

    class Table:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.dynamodb, name)

        def get_item(self, **arguments: Any) -> Any:
            item = world.dynamodb.get_item(**arguments)
            operator_of(world, Machine(world, redrivable=False)).redrive(JOB_ID)
            return item

    store = JobStore(Table(), TABLE)  # type: ignore[arg-type]  # a double of the client
    sweep(world, notifier=world.notifier(store=store))
    assert (world.record().status, world.record().execution) == (Status.PROCESSING, LATER)
    assert not notified(world)


# ---- what runs is read by the page -----------------------------------------------------------------------


class Counting(Machine):
    """Counts the calls to Step Functions.

    Args:
        unlisted: Executions that the list does not have yet.
        refused: The list is refused.
    """

    def __init__(self, world: World, *, unlisted: tuple[str, ...] = (), refused: bool = False) -> None:
        super().__init__(world)
        self.unlisted, self.refused = unlisted, refused
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name != "exceptions":
            self.calls[name] += 1
        return super().__getattr__(name)

    def describe_execution(self, **arguments: str) -> Any:
        self.calls["describe_execution"] += 1
        return super().describe_execution(**arguments)

    def list_executions(self, **arguments: Any) -> Any:
        self.calls["list_executions"] += 1
        if self.refused:
            raise failed("ListExecutions", "AccessDeniedException")
        assert arguments["statusFilter"] == "RUNNING"
        page = self._sfn.list_executions(**arguments)
        return {**page, "executions": [one for one in page["executions"] if one["name"] not in self.unlisted]}


@pytest.mark.parametrize(("jobs", "pages"), [(0, 0), (1, 1), (1000, 1), (1001, 2)])
def test_what_is_listed_as_running_is_not_described(world: World, jobs: int, pages: int) -> None:
    names = [f"job-{number}" for number in range(jobs)]
    start(world, names)
    machine = Counting(world)
    table: Any = Table(world, names)
    assert sweep(world, sfn=machine, store=JobStore(table, TABLE))["seen"] == jobs
    assert machine.calls == Counter({"list_executions": pages} if pages else {})


def test_a_list_that_is_behind_changes_nothing_but_the_calls(world: World) -> None:
    for name in ("listed", "unlisted"):
        world.paid_job(name)
        alive(world, name)
    machine = Counting(world, unlisted=("unlisted",))
    assert sweep(world, sfn=machine) == NOTHING | {"seen": 2}
    assert machine.calls == {"list_executions": 1, "describe_execution": 1}


def test_without_a_list_each_job_is_described_and_the_error_reported(world: World) -> None:
    world.paid_job("alive")
    alive(world, "alive")
    world.job("new")
    machine = Counting(world, refused=True)
    with pytest.raises(ClientError):  # so that the function's own alarm fires
        sweep(world, sfn=machine)
    assert world.executions() == ["alive", "new"]
    assert machine.calls["describe_execution"] == 2


def test_a_long_list_leaves_time_for_the_rest(world: World) -> None:
    names = [f"job-{number}" for number in range(2_500)]
    start(world, names)
    world.job("new")
    left = iter([300.0, 300.0, 200.0])
    machine = Counting(world)
    assert sweep(world, sfn=machine, remaining=lambda: next(left, 100.0))["started"] == 1
    assert machine.calls["list_executions"] == 2


def test_queued_jobs_cost_no_call_while_intake_is_stopped(world: World) -> None:
    for number in range(3):
        world.job(f"job-{number}")
    switch(world).stop()
    machine = Counting(world)
    sweep(world, sfn=machine)
    assert machine.calls == {"list_executions": 1}


class Table:
    """A jobs table with many paid jobs, without moto, which needs minutes for what DynamoDB reads in a second."""

    def __init__(self, world: World, names: Iterable[str]) -> None:
        self._dynamodb = world.dynamodb
        self._items = paid_items(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)

    def get_paginator(self, operation: str) -> Table:
        assert operation == "query"
        return self

    def paginate(self, **query: Any) -> Iterator[dict[str, Any]]:
        if query["IndexName"] != "by_status" or query["ExpressionAttributeValues"][":status"] != {"S": "processing"}:
            yield from self._dynamodb.get_paginator("query").paginate(**query)
            return
        for first in range(0, len(self._items), 3_000):  # about a megabyte
            items = self._items[first : first + 3_000]
            yield {"Items": [] if query.get("Select") == "COUNT" else items, "Count": len(items)}


def test_twenty_thousand_live_jobs_take_at_most_sixty_calls(world: World) -> None:
    names = [f"job-{number:05}" for number in range(20_000)]
    start(world, names)
    machine = Counting(world)
    table: Any = Table(world, names)
    assert sweep(world, sfn=machine, store=JobStore(table, TABLE)) == NOTHING | {"seen": 20_000}
    assert machine.calls == {"list_executions": 20}


@pytest.mark.parametrize(("calls", "seconds"), [(3, 0.0), (4, 0.5), (9, 3.0)])
def test_calls_are_spread_as_the_quota_has_it(calls: int, seconds: float) -> None:
    now = 0.0

    def sleep(duration: float) -> None:
        nonlocal now
        now += duration

    pace = Pace(3, 2, clock=lambda: now, sleep=sleep)
    for _ in range(calls):
        pace.wait()
    assert now == seconds


@pytest.mark.parametrize(("pace", "burst", "per_second"), [(describing, 250, 10), (listing, 100, 2)])
def test_the_paces_are_below_the_quotas_of_the_smaller_regions(pace: Any, burst: int, per_second: int) -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
    assert pace().burst < burst
    assert pace().per_second < per_second


# ---- outages ---------------------------------------------------------------------------------------------


class Redriver(Counting):
    """Step Functions with a redrive, after which the execution runs."""

    def redrive_execution(self, **arguments: str) -> None:
        execution = execution_of(arguments["executionArn"])
        if execution.status not in ("FAILED", "ABORTED", "TIMED_OUT"):
            message = f"Execution is {execution.status}"
            raise ClientError({"Error": {"Code": "ExecutionNotRedrivable", "Message": message}}, "RedriveExecution")
        super().redrive_execution(**arguments)
        execution.status, execution.stop_date = "RUNNING", None


def execution_of(arn: str = EXECUTION) -> Any:
    return stepfunctions_backends[DEFAULT_ACCOUNT_ID][REGION].describe_execution(arn)


def fails(world: World, error: str = "GenviralUnavailable", *, ended: str = "FAILED", is_heard: bool = True) -> None:
    """End the job's execution in this way."""
    if JOB_ID not in world.executions():
        alive(world)
    execution = execution_of()
    execution.status, execution.error, execution.cause = ended, error, "{}"
    execution.stop_date = datetime.fromtimestamp(time.time(), UTC)
    if is_heard:
        moment = str(round(time.time() * 1000))
        world.notifier().interrupted(EXECUTION, ended=ended, error=error, cause="{}", moment=moment)


def statuses(world: World) -> list[str]:
    return [message.body["status"] for message in world.messages()]


def test_an_outage_recovers_automatically_and_is_notified_once(world: World, clock: list[float]) -> None:
    world.paid_job()
    machine = Redriver(world)
    fails(world)
    job = world.record()
    assert (job.status, job.redrive_at, job.redrive_until) == (Status.INTERRUPTED, NOW + 900, NOW + 13 * DAY)
    clock[0] += 899
    assert sweep(world, sfn=machine) == NOTHING
    for pause in (900, 1800, 3600):
        clock[0] = float(world.record().redrive_at or 0)
        assert sweep(world, sfn=machine) == NOTHING | {"seen": 1, "redriven": 1}
        assert sweep(world, sfn=machine) == NOTHING | {"seen": 1}, "it runs"
        clock[0] += 2400
        fails(world)
        assert world.record().redrive_at == clock[0] + pause * 2
    assert (machine.redriven, world.record().redrives) == ([EXECUTION] * 3, 3)
    clock[0] = float(world.record().redrive_at or 0)
    sweep(world, sfn=machine)
    world.vendor.script["GET"] = [FINISHED]
    world.poller().poll(EXECUTION, VIDEO_ID, NOW)
    job = world.record()
    assert (job.status, job.redrives, job.redrive_at, job.redrive_until) == (Status.DELIVERING, 0, None, None)
    assert sweep(world, sfn=machine) == NOTHING | {"seen": 1}
    assert statuses(world) == ["interrupted"]
    assert not world.vendor.posts


def test_people_learn_of_the_next_try_and_when_no_try_is_left(world: World, clock: list[float]) -> None:
    world.paid_job()
    machine = Redriver(world)
    fails(world)
    clock[0] = float(NOW + 13 * DAY - 3600)
    world.store.update(JOB_ID, redrives=50, redrive_at=int(clock[0]))
    assert sweep(world, sfn=machine)["redriven"] == 1
    clock[0] += 2400
    metrics.clear_metrics()
    fails(world)
    first, last = world.messages()
    assert (first.body["redrive_at"], first.body["redrive_until"]) == ("2026-11-22T12:15:00Z", "2026-12-05T12:00:00Z")
    assert "tried again automatically" in first.body["summary"]
    assert "Retry:   2026-11-22T12:15:00Z, and then again until 2026-12-05T12:00:00Z" in first.email
    assert "Nothing" in first.body["error"]["advice"]
    assert "redrive_at" not in last.body
    assert "without success" in last.body["error"]["advice"]
    assert "redrive" in last.body["error"]["advice"]
    assert metrics.metric_set["JobsLeftInterrupted"]["Value"] == [1.0]
    clock[0] += 30 * DAY
    assert sweep(world, sfn=machine) == NOTHING


def test_a_new_outage_after_the_vendor_had_answered_is_news(world: World, clock: list[float]) -> None:
    world.paid_job()
    machine = Redriver(world)
    for _ in range(2):
        fails(world)
        clock[0] += 900
        assert sweep(world, sfn=machine)["redriven"] == 1
        world.vendor.script["GET"] = [showing("processing")]
        world.poller().poll(EXECUTION, VIDEO_ID, NOW)
    assert statuses(world) == ["interrupted", "interrupted"]


@pytest.mark.parametrize(
    ("error", "ended", "redriven"),
    [
        ("GenviralUnavailable", "FAILED", True),
        ("AwsCallFailed", "FAILED", True),
        ("Lambda.TooManyRequestsException", "FAILED", True),
        ("GenviralUnavailable", "ABORTED", False),
        ("States.Timeout", "TIMED_OUT", False),
        ("VideoNotFound", "FAILED", False),
        ("InternalError", "FAILED", False),
    ],
)
@pytest.mark.parametrize("is_heard", [True, False], ids=["event came", "event was lost"])
def test_only_what_passes_is_redriven(
    world: World, clock: list[float], error: str, ended: str, redriven: bool, is_heard: bool
) -> None:
    world.paid_job()
    machine = Redriver(world)
    fails(world, error, ended=ended, is_heard=is_heard)
    sweep(world, sfn=machine)
    clock[0] += DAY
    for _ in range(2):
        sweep(world, sfn=machine)
    assert bool(machine.redriven) is redriven
    assert statuses(world) == ["interrupted"]


@pytest.mark.parametrize("ended", ["FAILED", "ABORTED"])
def test_an_unreported_end_after_a_redrive_is_recorded_first(world: World, clock: list[float], ended: str) -> None:
    world.paid_job()
    machine = Redriver(world)
    fails(world)
    clock[0] += 900
    sweep(world, sfn=machine)
    clock[0] += 2400
    fails(world, ended=ended, is_heard=False)
    assert sweep(world, sfn=machine) == NOTHING | {"seen": 1, "interrupted": 1}
    assert len(machine.redriven) == 1
    if ended == "FAILED":
        assert world.record().redrive_at == clock[0] + 1800
        assert statuses(world) == ["interrupted"]
    else:  # it was stopped
        assert world.record().redrive_at is None
        assert statuses(world) == ["interrupted", "interrupted"]


def test_two_sweeps_at_once_redrive_once(world: World, clock: list[float]) -> None:
    world.paid_job()
    fails(world)
    clock[0] += 900

    class Slow(Redriver):
        def redrive_execution(self, **arguments: str) -> None:
            sweep(world, sfn=other)
            super().redrive_execution(**arguments)

    other, machine = Redriver(world), Slow(world)
    assert sweep(world, sfn=machine)["redriven"] == 0
    assert (len(other.redriven), len(machine.redriven)) == (1, 0)
    assert world.record().status is Status.INTERRUPTED


def test_a_job_that_somebody_canceled_in_the_same_moment_is_not_redriven(world: World, clock: list[float]) -> None:
    world.paid_job()
    fails(world)
    clock[0] += 900

    class Canceled(Redriver):
        def describe_execution(self, **arguments: str) -> Any:
            if world.record().status is Status.INTERRUPTED:
                operator_of(world).cancel(JOB_ID)
            return super().describe_execution(**arguments)

    machine = Canceled(world)
    assert sweep(world, sfn=machine)["redriven"] == 0
    assert not machine.redriven
    assert world.record().status is Status.CANCELED


def test_a_redrive_that_aws_refused_for_now_is_tried_by_the_next_sweep(world: World, clock: list[float]) -> None:
    world.paid_job()
    fails(world)
    clock[0] += 900
    machine = Redriver(world)
    with pytest.raises(ClientError):
        sweep(world, sfn=Flaky(machine, {1: "before"}, only="redrive_execution"))
    assert sweep(world, sfn=machine)["redriven"] == 1


@pytest.mark.parametrize("deadline", [NOW - 5, NOW + 10 * DAY], ids=["over", "far"])
def test_an_outage_does_not_count_against_the_deadline_of_a_video(
    world: World, clock: list[float], deadline: int
) -> None:
    world.paid_job()
    world.store.update(JOB_ID, deadline_at=deadline)
    fails(world)
    clock[0] += 900
    sweep(world, sfn=Redriver(world))
    assert world.record().deadline_at == max(deadline, NOW + 900 + 7200)
    world.vendor.script["GET"] = [showing("processing")]
    assert world.poller().poll(EXECUTION, VIDEO_ID, NOW)["status"] == "processing"


def test_an_unpaid_job_waits_for_the_kill_switch_and_is_sent_once(world: World, clock: list[float]) -> None:
    world.job()
    fails(world, "GenviralUnreachable")
    assert world.messages()[0].body["paid"] == "no"
    clock[0] += 900
    machine = Redriver(world)
    switch(world).stop()
    assert sweep(world, sfn=machine) == NOTHING | {"seen": 1}
    assert machine.calls == {"list_executions": 1}
    switch(world).start()
    assert sweep(world, sfn=machine)["redriven"] == 1
    for _ in range(2):
        assert follow(world, EXECUTION)["video_id"] == VIDEO_ID
    assert len(world.vendor.posts) == 1
    assert world.record().redrive_until is None


def test_a_claim_of_unknown_outcome_is_redriven_and_not_sent_again(world: World, clock: list[float]) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    fails(world, "AwsCallFailed")
    clock[0] += 900
    assert sweep(world, sfn=Redriver(world))["redriven"] == 1
    with pytest.raises(SubmissionUncertain):
        follow(world, EXECUTION)
    assert not world.vendor.posts


@pytest.mark.parametrize("is_paid", [True, False])
def test_what_cannot_be_redriven_goes_on_in_a_later_execution(world: World, clock: list[float], is_paid: bool) -> None:
    if is_paid:
        world.paid_job()
    else:
        world.job()
        world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    fails(world)
    clock[0] += 900
    full = {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "Execution history event limit exceeded"}
    assert sweep(world, sfn=Machine(world, redrivable=False, shown=full))["started"] == 1
    job = world.record()
    assert (job.execution, job.redrives, job.redrive_at) == (LATER, 0, None)
    if is_paid:
        assert follow(world, LATER)["video_id"] == VIDEO_ID
    else:
        with pytest.raises(SubmissionUncertain):
            follow(world, LATER)
    assert not world.vendor.posts


def test_a_later_execution_that_could_not_start_is_started_by_the_next(world: World, clock: list[float]) -> None:
    world.job()
    fails(world, "RateLimited")
    clock[0] += 900
    machine = Machine(world, redrivable=False)
    with pytest.raises(ClientError):
        sweep(world, sfn=Flaky(machine, {1: "before"}, only="start_execution"))
    assert sweep(world, sfn=machine)["started"] == 1
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert statuses(world) == ["interrupted"]


@pytest.mark.parametrize("end", ["failed", "canceled", "canceled by an operator"])
def test_the_end_of_a_job_ends_the_outage_that_it_was_in(world: World, clock: list[float], end: str) -> None:
    """A form's job may continue with another file, and its next outage must be notified."""
    assert clock == [NOW]
    world.job()
    fails(world, "GenviralUnreachable")
    if end == "failed":
        world.notifier().failed(EXECUTION, caught(UploadUnreadable("made up")))
    elif end == "canceled":
        world.notifier().canceled(JOB_ID)
    else:
        operator_of(world).cancel(JOB_ID)
    job = world.record()
    assert (job.is_terminal, job.redrives, job.redrive_at, job.redrive_until) == (True, 0, None, None)


def test_the_event_of_a_redriven_end_does_not_interrupt_the_job_again(world: World, clock: list[float]) -> None:
    world.paid_job()
    machine = Redriver(world)
    fails(world, "InternalError", is_heard=False)
    operator_of(world, machine).redrive(JOB_ID)
    clock[0] += 60
    world.poller().poll(EXECUTION, VIDEO_ID, NOW)
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="InternalError", cause="", moment=f"{NOW}000")
    assert (world.record().status, statuses(world)) == (Status.PROCESSING, [])
    fails(world, "InternalError")
    assert statuses(world) == ["interrupted"]


@pytest.mark.parametrize("error", ["GenerationFailed", "AssetMissing", "SubmissionUncertain", "DailyLimitReached"])
@pytest.mark.parametrize("is_heard", [True, False], ids=["event came", "event was lost"])
def test_a_video_accepted_after_another_failed_attempt_is_followed(
    world: World, clock: list[float], error: str, is_heard: bool
) -> None:
    """Its execution is in the state `Failed`, where a redrive would fail again."""
    world.paid_job()
    fails(world, error, is_heard=is_heard)
    machine = Redriver(world)
    sweep(world, sfn=machine)
    (message,) = world.messages()
    assert (message.body["status"], message.body["paid"]) == ("interrupted", "yes")
    assert "redrive_at" in message.body
    assert "another one was accepted" in message.body["error"]["message"]
    clock[0] += 900
    assert sweep(world, sfn=machine)["started"] == 1
    assert not machine.redriven
    assert (world.record().status, world.record().execution) == (Status.PROCESSING, LATER)
    assert follow(world, LATER)["video_id"] == VIDEO_ID
    assert not world.vendor.posts


def test_an_operator_who_redrives_a_job_begins_anew(world: World, clock: list[float]) -> None:
    world.paid_job()
    machine = Redriver(world)
    fails(world)
    clock[0] += 900
    sweep(world, sfn=machine)
    fails(world)
    operator_of(world, machine).redrive(JOB_ID)
    job = world.record()
    assert (job.redrives, job.redrive_at, job.redrive_until) == (0, None, None)
    clock[0] += 2400
    fails(world)
    assert statuses(world) == ["interrupted", "interrupted"]
    assert world.record().redrive_at == clock[0] + 900
