"""Run many jobs while faults are injected, then without faults, and then let an operator act.

Combines the parts and records the history. `report` checks the outcome.
"""

from __future__ import annotations

import functools
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from local.aws.engine import FunctionError, TaskError
from local.genviral import GenviralStandIn, vendor_state
from ops.exits import Refused
from ops.operator import Operator
from shared.jobs import identity, redrives
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from tests.chaos.account import Account
from tests.chaos.clock import Clock
from tests.chaos.executions import Execution, Executions
from tests.chaos.lambdas import SETTINGS, TIMEOUTS, Caller, Failed, Invocation, Lambda
from tests.chaos.observed import job_of_key
from tests.chaos.schedule import FaultSchedule, InjectedFault
from tests.support.fakes import PNG, TABLE, UPLOADS, event
from tests.support.video_job import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from shared.jobs.record import Job

HOUR = 3600.0
THROTTLED_SECONDS = 300.0
SWEEP_SECONDS = 900.0
_QUIET_SECONDS = float(SETTINGS["SWEEP_QUIET_SECONDS"])
_GENERATION_SECONDS = 60.0
_STATE_OF = {
    (str(task["Parameters"]["FunctionName"]), task["Parameters"]["Payload"].get("event")): state
    for state, task in TASKS.items()
}
"""Function (logical id) and event → the state that invokes it."""
_FUNCTIONS = {
    "SubmitFunction": "submit",
    "StatusFunction": "status",
    "DeliverFunction": "deliver",
    "NotifyFunction": "notify",
}
_TROUBLES = (
    (0.7, 1.1, "key", {"key": "valid", "state": "revoked"}, {"key": "valid", "state": "valid"}),
    (2.0, 2.3, "credits", {"key": "valid", "credits": 0}, {"key": "valid", "credits": 1_000_000}),
    (3.0, 4.1, "key", {"key": "valid", "state": "no_plan"}, {"key": "valid", "state": "valid"}),
)
"""The account's troubles: from, to (hours), the stand-in's control, its value during the trouble, its value after it.

The last one is longer than a job may be on hold.
"""
VIDEO_RECIPES = 4
RECIPES = (*(f"film{number}" for number in range(VIDEO_RECIPES)), "slow")
"""Recipes that make a video."""
_BODY = {"params": {"duration_seconds": 1, "fps": 8, "resolution": "480p", "aspect_ratio": "16:9"}}
_MODELS = {"slow": "standin/slow", "fails": "standin/always-fails"}


def body_of(recipe: str) -> dict[str, Any]:
    """Return the generate body of a recipe. Few videos, because each must be rendered once."""
    return {"model_id": _MODELS.get(recipe, "bytedance/seedance-2.0"), "prompt": f"a paper boat, {recipe}", **_BODY}


@dataclass(frozen=True)
class Timetable:
    """The durations of the parts of a run, in seconds.

    Attributes:
        arrivals: Jobs arrive, from the beginning.
        faults: Faults are injected, from the beginning.
        outage: When the vendor is down: from, to.
        recovery: No faults, and no operator. Longer than the longest pause between two redrives and the rest of a job
            after it.
        settle: Jobs end after an operator's command.
        troubles: When the account is in trouble.
    """

    arrivals: float = 4 * HOUR
    faults: float = 9 * HOUR
    outage: tuple[float, float] = (5 * HOUR, 7 * HOUR)
    recovery: float = redrives.LONGEST_PAUSE_SECONDS + 1.5 * HOUR
    settle: float = 4 * HOUR
    troubles: tuple[tuple[float, float, str, dict[str, Any], dict[str, Any]], ...] = _TROUBLES

    def until_morning(self) -> Timetable:
        """Return the same with a recovery that covers the jobs that wait for the next day."""
        return replace(self, recovery=12 * HOUR)


@dataclass
class Order:
    """A job as its owner sees it.

    Attributes:
        accepted: Whether the caller got a confirmation. Then there must be a record.
        abort: The pause or the invocation of its execution at which the execution is aborted.
        into_outage: Whether it arrives right before the vendor's outage, without other faults.
        impatient: Whether an operator resubmits it as soon as it is uncertain.
    """

    name: str
    kind: str
    recipe: str
    schedule: FaultSchedule
    job_id: str = ""
    accepted: bool = False
    abort: tuple[str, int] | None = None
    aborted: bool = False
    into_outage: bool = False
    impatient: bool = False
    resubmitted: bool = False
    throttled_until: float = 0.0
    """When its throttling ends, in seconds since the run began."""
    history: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def remove_faults(self) -> None:
        """Remove the faults of this job alone."""
        self.recipe, self.abort, self.impatient = "film0", None, False
        self.schedule.clear()


@dataclass
class Snapshot:
    """Everything that can be seen at one moment."""

    records: dict[str, Job]
    notifications: list[dict[str, Any]]
    files: dict[str, bytes]
    unfinished_uploads: list[str]
    running: list[str]
    items: dict[str, str]
    """Job's id → its whole record as text."""


class FaultInjection:
    """A run of jobs under injected faults.

    Args:
        only: Run this job only. It meets the same faults at the same times.
        limit: The daily limit, in credits. 0: none.
        overrun: How long a process may last, in multiples of its time-out. On AWS: 1.
        times: The durations of the parts.
        shape: Changes the faults of a job before the run begins.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        vendor: GenviralStandIn,
        *,
        seed: int,
        jobs: int,
        only: str = "",
        limit: float = 0,
        overrun: float = 1,
        times: Timetable = Timetable(),
        shape: Callable[[Order], None] = lambda _order: None,
    ) -> None:
        self.seed, self.size, self.limit, self.overrun = seed, jobs, limit, overrun
        self.times = times.until_morning() if limit else times
        self.began = time.monotonic()
        self.clock = Clock()
        patch.setattr(vendor_state, "time", SimpleNamespace(monotonic=self.clock))
        self.vendor = vendor
        self.account = Account()
        self.executions = Executions(self.clock, seed, invoke=self._task, paused=self._paused, ended=self._ended)
        self.functions = Lambda(
            *(patch, self.account, vendor, self.executions.answer, self.clock),
            limit=limit,
            overrun=overrun,
            outage=self._outage,
            ended_late=self._ended_late,
        )
        self.store = JobStore(self.account.dynamodb, TABLE)
        self.faults_over = False
        self.happened: Counter[str] = Counter()
        """Faults outside of `InjectedFault`: row of the table → how often."""
        self.outlasted_by_throttles: list[str] = []
        """Jobs whose execution failed after five minutes of throttles."""
        self.hit_by_outage: set[str] = set()
        """Jobs that polled while the vendor was down."""
        self.stranded: list[str] = []
        """Jobs that a completed sweep left without an execution."""
        self.parked: list[tuple[Order, dict[str, Any]]] = []
        """Events in the dead-letter queue."""
        self.sweeps = Counter[str]()
        self._sweep_schedule = FaultSchedule(random.Random(f"{seed}/sweep"), 0.3, {})  # noqa: S311
        self.orders = [order for order in map(self._order, range(jobs)) if only in ("", order.name)]
        for order in self.orders:
            shape(order)
        self.by_name = {order.name: order for order in self.orders}
        self.by_id: dict[str, Order] = {}

    def run(self) -> tuple[Snapshot, Snapshot]:
        """Run everything. Returns the state after the faults, and the state after the operator."""
        self._set_up()
        for order in self.orders:
            self._arrive(order)
        for begins, ends, control, trouble, fixed in self.times.troubles:
            self.clock.after(begins * HOUR, functools.partial(self._trouble, control, trouble))
            self.clock.after(ends * HOUR, functools.partial(self._control_vendor, control, fixed))
        self.clock.after(SWEEP_SECONDS, self._sweep)
        self.clock.run(until=lambda: self.clock.elapsed >= self.times.faults)
        self.faults_over = True
        for order, parked in self.parked:
            self._asynchronously("uploads", parked, order)
        self._settle(self.times.recovery)
        after_faults = self._snapshot()
        self._operate(after_faults)
        return after_faults, self._snapshot()

    # ---- setup and arrivals

    def _set_up(self) -> None:
        for name in (*(f"film{number}" for number in range(VIDEO_RECIPES)), *_MODELS):
            self.account.s3.put_object(
                Bucket=UPLOADS, Key=f"recipes/{name}.json", Body=json.dumps(body_of(name)).encode()
            )
        self.account.set_key(self.vendor.keys["valid"])
        self._control_vendor("credits", {"key": "valid", "credits": 1_000_000})

    def _order(self, number: int) -> Order:
        name = f"job-{number:04}"
        schedule = FaultSchedule.of(self.seed, name)
        rng = schedule.rng
        kind = rng.choices(("upload", "request", "api", "execution"), (50, 8, 30, 12))[0]
        recipe = rng.choices(
            (*(f"film{n}" for n in range(VIDEO_RECIPES)), "slow", "fails", "missing"), (*[21] * VIDEO_RECIPES, 6, 5, 5)
        )[0]
        order = Order(name, kind, recipe, schedule)
        if rng.random() < 0.08:
            order.abort = (rng.choice(("pause", "invoke")), rng.randint(1, 5))
        order.impatient = rng.random() < 0.3
        if rng.random() < 0.1:
            order.into_outage = True
            order.remove_faults()
        return order

    def _arrive(self, order: Order) -> None:
        rng = order.schedule.rng
        first = rng.uniform(0, self.times.arrivals)
        if order.into_outage:
            first = self.times.outage[0] - rng.uniform(1, 100)
        repeats = [first + rng.choice((0.0, 1.0, 30.0, 200.0, 2 * HOUR)) for _ in range(rng.randint(0, 4))]
        begin = {"upload": self._upload, "request": self._upload, "api": self._post, "execution": self._start}[
            order.kind
        ]
        begin(order, [first, *repeats])
        self.by_id[order.job_id] = order

    def _upload(self, order: Order, moments: list[float]) -> None:
        content = PNG if order.recipe != "missing" else b"no picture"
        key = f"uploads/{order.recipe}/{order.name}.jpg"
        if order.kind == "request":
            key, content = f"requests/{order.name}.json", json.dumps(body_of(order.recipe)).encode()
        put = self.account.s3.put_object(Bucket=UPLOADS, Key=key, Body=content)
        message = event("uploads_object_created")
        message["detail"]["bucket"]["name"] = UPLOADS
        # Without a version id, as from an unversioned bucket: moto's ids differ from run to run.
        item = {"key": key, "size": len(content), "etag": put["ETag"].strip('"'), "sequencer": order.name}
        message["detail"]["object"] = item
        order.job_id = identity.for_object(UPLOADS, key, f"{item['etag']}/{item['sequencer']}")
        order.accepted = True
        for moment in moments:
            self.clock.after(moment, lambda: self._asynchronously("uploads", message, order))

    def _post(self, order: Order, moments: list[float]) -> None:
        message = event("api_post_videos")
        message["headers"]["idempotency-key"] = order.name
        message["body"] = json.dumps(body_of(order.recipe))
        order.job_id = identity.for_idempotency_key("arn:aws:sts::123456789012:assumed-role/publisher", order.name)
        for moment in moments:
            self.clock.after(moment, lambda: self._call_api(message, order))

    def _start(self, order: Order, moments: list[float]) -> None:
        order.job_id, order.accepted = order.name, True
        self.clock.after(moments[0], lambda: self.executions.start(order.name, {"request": body_of(order.recipe)}))

    def _trouble(self, control: str, trouble: dict[str, Any]) -> None:
        self.happened[f"account: {trouble.get('state', 'no credits')}"] += 1
        self._control_vendor(control, trouble)

    def _control_vendor(self, control: str, document: dict[str, Any]) -> None:
        httpx.post(f"{self.vendor.admin_url}/{control}", json=document, trust_env=False).raise_for_status()

    # ---- invocations

    def _invoke(self, function: str, message: Any, order: Order, caller: Caller | None = None) -> Any:
        faults = [] if self.faults_over else order.schedule.next(function, TIMEOUTS[function] * self.overrun)
        return self._run(function, message, order, faults, caller)

    def _run(
        self, function: str, message: Any, order: Order, faults: list[InjectedFault], caller: Caller | None = None
    ) -> Any:
        injected = f" [{', '.join(fault.row for fault in faults)}]" if faults else ""
        try:
            answer = self.functions.invoke(function, message, job=order.name, faults=faults, caller=caller)
        except Failed as failed:
            order.history.append(f"{self.clock.elapsed:8.0f}s {function}{injected}: {failed.error}")
            raise
        order.history.append(f"{self.clock.elapsed:8.0f}s {function}{injected}: {_short(answer)}")
        return answer

    def _ended_late(self, invocation: Invocation, outcome: Any) -> None:
        order = self.by_name.get(invocation.job)
        if order is not None:
            said = outcome.error if isinstance(outcome, Failed) else _short(outcome)
            order.history.append(f"{self.clock.elapsed:8.0f}s   {invocation.function}, abandoned before, ends: {said}")

    def _asynchronously(self, function: str, message: dict[str, Any], order: Order, attempt: int = 1) -> None:
        """Invoke a function as EventBridge does: Lambda retries twice, then the event is parked."""
        try:
            self._invoke(function, message, order)
        except Failed:
            if attempt < 3:
                self.clock.after(60 * attempt, lambda: self._asynchronously(function, message, order, attempt + 1))
            elif function == "uploads":
                self.happened["event parked in the dead-letter queue"] += 1
                self.parked.append((order, message))

    def _call_api(self, message: dict[str, Any], order: Order, attempt: int = 1) -> None:
        """Call the API as a careful caller does: repeat the request with the same key until it is answered."""
        try:
            answer = self._invoke("api", message, order)
        except Failed:
            answer = {"statusCode": 500}
        if answer["statusCode"] == 202:
            assert json.loads(answer["body"])["job_id"] == order.job_id
            order.accepted = True
        elif answer["statusCode"] >= 500 and attempt < 6:
            self.clock.after(5, lambda: self._call_api(message, order, attempt + 1))

    def _task(self, execution: Execution, function: str, payload: Any) -> Any:
        order = self.by_id[identity.of_execution(execution.arn)]
        order.seen["invoke"] += 1
        if self._is_due(order, "invoke"):
            execution.stop("ABORTED", "Aborted", "made up")
            if order.seen["invoke"] % 2:  # the status event may arrive before the function ends
                self._asynchronously("notify", _status_change(execution), order)
        state = _STATE_OF[function, payload.get("event")]
        if self._is_throttled(order, state):
            raise TaskError("Lambda.TooManyRequestsException", "made up")
        caller = Caller(execution.turn, float(TASKS[state]["TimeoutSeconds"]), lambda: execution.status == "RUNNING")
        try:
            answer = self._invoke(_FUNCTIONS[function], payload, order, caller)
        except Failed as failed:
            if failed.cause is None or failed.error == "States.Timeout":
                raise TaskError(failed.error, "made up") from None
            raise FunctionError(failed.cause) from None
        if order.impatient and answer.get("status") == Status.UNCERTAIN:
            self.clock.after(order.schedule.rng.choice((1.0, 10.0, 120.0, HOUR)), lambda: self._resubmit(order))
        return answer

    def _is_throttled(self, order: Order, state: str) -> bool:
        if self.faults_over or state != order.schedule.throttled_state:
            return False
        order.throttled_until = order.throttled_until or self.clock.elapsed + THROTTLED_SECONDS
        throttled = self.clock.elapsed < order.throttled_until
        if throttled:
            self.happened[f"throttled for five minutes ({state})"] += 1
        return throttled

    def _outage(self, job: str, call: str) -> str | None:
        """Return how a call to the vendor fails during the outage. A paid call never reaches the vendor then."""
        begins, ends = self.times.outage
        if not begins <= self.clock.elapsed < ends:
            return None
        if call == "generate":
            return "unreachable"
        self.hit_by_outage.add(job)
        return self.by_name[job].schedule.outage

    def _resubmit(self, order: Order) -> None:
        """Resubmit as an operator does who does not check first."""
        if self.faults_over:
            return
        try:
            self._operator().resubmit(order.job_id)
        except Refused:
            outcome = "refused"
        else:
            outcome, order.resubmitted = "done", True
        order.history.append(f"{self.clock.elapsed:8.0f}s the operator resubmits: {outcome}")
        self.happened[f"operator: resubmit {outcome}"] += 1

    # ---- events of executions

    def _is_due(self, order: Order, where: str) -> bool:
        due = not self.faults_over and not order.aborted and order.abort == (where, order.seen[where])
        if due:
            order.aborted = True
            self.happened[f"execution aborted ({'at rest' if where == 'pause' else 'while a function ran'})"] += 1
            order.history.append(f"{self.clock.elapsed:8.0f}s execution aborted")
        return due

    def _paused(self, execution: Execution) -> None:
        order = self.by_id[identity.of_execution(execution.arn)]
        order.seen["pause"] += 1
        if self._is_due(order, "pause"):
            self.clock.after(0.5, lambda: self._abort(execution))

    def _abort(self, execution: Execution) -> None:
        execution.stop("ABORTED", "Aborted", "made up")
        execution.turn.wake()

    def _ended(self, execution: Execution) -> None:
        order = self.by_id[identity.of_execution(execution.arn)]
        order.history.append(
            f"{self.clock.elapsed:8.0f}s execution {execution.name[-4:]} {execution.status} {execution.error or ''}"
        )
        if execution.status == "SUCCEEDED":
            return
        if execution.error == "Lambda.TooManyRequestsException":
            self.outlasted_by_throttles.append(order.name)
        rng, message = order.schedule.rng, _status_change(execution)
        fate = 1.0 if self.faults_over else rng.random()
        if fate < 0.25:
            self.happened["execution-status event lost"] += 1
            order.history.append(f"{self.clock.elapsed:8.0f}s its status event is lost")
            return
        copies = 2 if fate < 0.4 else 1
        self.happened["execution-status event repeated"] += copies - 1
        for _ in range(copies):
            delay = 1.0 if self.faults_over else rng.choice((0.5, 5.0, 60.0, 1500.0))
            self.clock.after(delay, lambda: self._asynchronously("notify", message, order))

    def _sweep(self) -> None:
        self.clock.after(SWEEP_SECONDS, self._sweep)
        faults = [] if self.faults_over else self._sweep_schedule.next("sweep")
        try:
            self.functions.invoke("sweep", {}, job="sweep", faults=faults)
        except Failed as failed:
            self.sweeps[f"failed: {failed.error}"] += 1
            return
        self.sweeps["done"] += 1
        for order in self.orders:
            if order.job_id not in self.executions.known and (job := self.store.get(order.job_id)) is not None:
                age = self.clock.now - _changed_at(self.account, job.job_id)
                if job.status is Status.QUEUED and age > _QUIET_SECONDS + 1:
                    self.stranded.append(order.name)

    # ---- after the faults

    def _settle(self, seconds: float) -> None:
        """Run for a fixed time, so that the replay of one job is the same."""
        rest = self.clock.now + seconds
        self.clock.run(until=lambda: self.clock.now >= rest)

    def _snapshot(self) -> Snapshot:
        found = {order.name: self.store.get(order.job_id) for order in self.orders}
        return Snapshot(
            records={name: job for name, job in found.items() if job is not None},
            notifications=self.account.notifications(),
            files=self.account.files(),
            unfinished_uploads=self.account.unfinished_uploads(),
            running=[execution.name for execution in self.executions.running],
            items=self.account.records(),
        )

    def _operator(self) -> Operator:
        return Operator(
            store=self.store,
            sfn=boto3.client("stepfunctions", region_name=SETTINGS["AWS_REGION"]),
            state_machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:video-job",
            deadline_seconds=3600,
            ask=lambda _: None,  # this operator knows the video from the vendor's submissions
        )

    def _operate(self, snapshot: Snapshot) -> None:
        operator = self._operator()
        self._each(
            snapshot.records, lambda job: job.status is Status.INTERRUPTED, lambda job: operator.redrive(job.job_id)
        )
        self._settle(self.times.settle)
        videos = {
            job_of_key(paid["idempotency_key"]): paid["video_id"]
            for paid in self.submissions()
            if self.video_file(paid["video_id"])
        }
        records = {order.name: job for order in self.orders if (job := self.store.get(order.job_id)) is not None}
        self._each(
            records,
            lambda job: job.status is not Status.SUCCEEDED and job.job_id in videos,
            lambda job: operator.attach(job.job_id, job.video_id or videos[job.job_id]),
        )
        self._settle(self.times.settle)

    def _each(self, records: dict[str, Job], wanted: Callable[[Job], bool], act: Callable[[Job], str]) -> None:
        for job in filter(wanted, records.values()):
            try:
                act(job)
            except Refused as refused:
                outcome = f"refused: {refused}"
                self.happened[f"operator: {job.status} job refused"] += 1
            else:
                outcome = "done"
                self.happened[f"operator: {job.status} job taken up"] += 1
            self.by_id[job.job_id].history.append(
                f"{self.clock.elapsed:8.0f}s the operator takes up the {job.status} job: {outcome}"
            )

    # ---- the vendor

    def submissions(self) -> list[dict[str, Any]]:
        """Return the submissions that the vendor charged for."""
        state: dict[str, Any] = httpx.get(f"{self.vendor.admin_url}/state", trust_env=False).json()
        return [paid for paid in state["submissions"] if paid["idempotency_key"]]

    def video_file(self, video_id: str) -> bytes | None:
        """Return the file of a video, if the vendor has finished it."""
        video = self.vendor._server.app._vendor_state.video(video_id)
        return (
            video.rendering.file.read_bytes() if video and video.status() == "succeeded" and video.rendering else None
        )


def warm_up(vendor: GenviralStandIn, recipes: Iterable[str] = RECIPES) -> None:
    """Render the videos of these recipes before the run, because rendering takes real time."""
    for name in recipes:
        answer = httpx.post(
            f"{vendor.url}/studio/videos/generate",
            json=body_of(name),
            headers={"Authorization": f"Bearer {vendor.keys['valid']}"},
            trust_env=False,
        )
        answer.raise_for_status()
    for rendering in vendor._render_queue._renderings.values():
        assert rendering.finished.wait(60)


def _changed_at(account: Account, job_id: str) -> float:
    item = account.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": job_id}}, ConsistentRead=True)["Item"]
    return float(item["changed_at"]["N"])


def _status_change(execution: Execution) -> dict[str, Any]:
    message = event("notify_execution_status_change")
    moment = round((execution.ended or 0) * 1000)
    message["detail"] |= {
        "executionArn": execution.arn,
        "name": execution.name,
        "status": execution.status,
        "stopDate": moment,
        "error": execution.error,
        "cause": execution.cause,
    }
    return message


def _short(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "done"
    return str(answer.get("status") or answer.get("statusCode") or ("expired" if answer.get("expired") else "done"))
