"""One run: jobs come in, everything that can go wrong does, then the sky clears and an operator acts.

Brings the parts together and keeps the history. What must hold afterwards is judged in `verdict`.
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
from ops.operator import Operator, Refused
from shared.jobs import identity, redrives
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from tests.chaos.account import Account
from tests.chaos.clock import Clock
from tests.chaos.executions import Execution, Executions
from tests.chaos.lambdas import SETTINGS, TIMEOUTS, Caller, Failed, Invocation, Lambda
from tests.chaos.observed import job_of_key
from tests.chaos.schedule import InjectedFault, Weather
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
"""Function (logical id) and event → the state that invokes it so."""
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
"""When the account is in trouble: from, to (hours), the stand-in's control, what it is told, and what ends the trouble.

The last one is longer than a job may be on hold.
"""
FILMS = 4
RECIPES = (*(f"film{number}" for number in range(FILMS)), "slow")
"""Those that make a video."""
_BODY = {"params": {"duration_seconds": 1, "fps": 8, "resolution": "480p", "aspect_ratio": "16:9"}}
_MODELS = {"slow": "standin/slow", "fails": "standin/always-fails"}


def body_of(recipe: str) -> dict[str, Any]:
    """The generate body behind a recipe's name. Few videos, because each has to be made once."""
    return {"model_id": _MODELS.get(recipe, "bytedance/seedance-2.0"), "prompt": f"a paper boat, {recipe}", **_BODY}


@dataclass(frozen=True)
class Timetable:
    """How long each part of a run lasts, in seconds.

    Attributes:
        arrivals: Jobs come in, from the beginning.
        storm: Things go wrong, from the beginning.
        outage: When the vendor is down: from, to.
        calm: Nothing goes wrong any more, and nobody acts. Longer than the longest pause between two redrives and all
            that a job does afterwards.
        settle: Jobs end after an operator's command.
        troubles: When the account is in trouble.
    """

    arrivals: float = 4 * HOUR
    storm: float = 9 * HOUR
    outage: tuple[float, float] = (5 * HOUR, 7 * HOUR)
    calm: float = redrives.LONGEST_PAUSE_SECONDS + 1.5 * HOUR
    settle: float = 4 * HOUR
    troubles: tuple[tuple[float, float, str, dict[str, Any], dict[str, Any]], ...] = _TROUBLES

    def until_morning(self) -> Timetable:
        """The same, and calm until those that wait for the next day have had their turn."""
        return replace(self, calm=12 * HOUR)


@dataclass
class Order:
    """A job as its owner sees it.

    Attributes:
        accepted: Whether somebody was told that the job is taken: then there must be a record.
        abort: Which pause or which invocation of its execution an abort comes at.
        into_outage: Whether it comes right before the vendor goes down, with no other fault to meet.
        impatient: Whether an operator resubmits it as soon as it is uncertain.
    """

    name: str
    kind: str
    recipe: str
    weather: Weather
    job_id: str = ""
    accepted: bool = False
    abort: tuple[str, int] | None = None
    aborted: bool = False
    into_outage: bool = False
    impatient: bool = False
    resubmitted: bool = False
    throttled_until: float = 0.0
    """When it is not throttled any more, in seconds since the run began."""
    history: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def meet_nothing(self) -> None:
        """Let nothing go wrong for it but what all jobs meet."""
        self.recipe, self.abort, self.impatient = "film0", None, False
        self.weather.clear_up()


@dataclass
class Picture:
    """All that can be seen at one moment."""

    records: dict[str, Job]
    notices: list[dict[str, Any]]
    files: dict[str, bytes]
    unfinished_uploads: list[str]
    running: list[str]
    items: dict[str, str]
    """Job's id → its whole record as text."""


class Storm:
    """A run of the suite.

    Args:
        only: Run no other job than this one. It meets the same faults at the same times.
        limit: The daily limit, in credits. 0: none.
        overrun: How many times its time-out a process may last. On AWS: once.
        times: How long each part of the run lasts.
        shape: Changes what a job is to meet, before the run begins.
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
        self.calm = False
        self.happened: Counter[str] = Counter()
        """Faults that are no strikes: row of the table → how often."""
        self.outlasted_by_throttles: list[str] = []
        """Jobs whose execution failed because five minutes of throttles were too long for it."""
        self.hit_by_outage: set[str] = set()
        """Jobs that looked for their video while the vendor was down."""
        self.stranded: list[str] = []
        """Jobs that a finished sweep left without an execution."""
        self.parked: list[tuple[Order, dict[str, Any]]] = []
        """Events that Lambda gave up on: what lies in the dead-letter queue."""
        self.sweeps = Counter[str]()
        self._sweep_weather = Weather(random.Random(f"{seed}/sweep"), 0.3, {})  # noqa: S311
        self.orders = [order for order in map(self._order, range(jobs)) if only in ("", order.name)]
        for order in self.orders:
            shape(order)
        self.by_name = {order.name: order for order in self.orders}
        self.by_id: dict[str, Order] = {}

    def run(self) -> tuple[Picture, Picture]:
        """Let it happen. Returns what there is after the storm, and what there is after the operator."""
        self._set_up()
        for order in self.orders:
            self._arrive(order)
        for begins, ends, control, trouble, mended in self.times.troubles:
            self.clock.after(begins * HOUR, functools.partial(self._trouble, control, trouble))
            self.clock.after(ends * HOUR, functools.partial(self._tell_vendor, control, mended))
        self.clock.after(SWEEP_SECONDS, self._sweep)
        self.clock.run(until=lambda: self.clock.elapsed >= self.times.storm)
        self.calm = True
        for order, parked in self.parked:
            self._asynchronously("uploads", parked, order)
        self._settle(self.times.calm)
        after_storm = self._look()
        self._operate(after_storm)
        return after_storm, self._look()

    # ---- what the world is like

    def _set_up(self) -> None:
        for name in (*(f"film{number}" for number in range(FILMS)), *_MODELS):
            self.account.s3.put_object(
                Bucket=UPLOADS, Key=f"recipes/{name}.json", Body=json.dumps(body_of(name)).encode()
            )
        self.account.set_key(self.vendor.keys["valid"])
        self._tell_vendor("credits", {"key": "valid", "credits": 1_000_000})

    def _order(self, number: int) -> Order:
        name = f"job-{number:04}"
        weather = Weather.of(self.seed, name)
        rng = weather.rng
        kind = rng.choices(("upload", "request", "api", "execution"), (50, 8, 30, 12))[0]
        recipe = rng.choices(
            (*(f"film{n}" for n in range(FILMS)), "slow", "fails", "missing"), (*[21] * FILMS, 6, 5, 5)
        )[0]
        order = Order(name, kind, recipe, weather)
        if rng.random() < 0.08:
            order.abort = (rng.choice(("pause", "invoke")), rng.randint(1, 5))
        order.impatient = rng.random() < 0.3
        if rng.random() < 0.1:
            order.into_outage = True
            order.meet_nothing()
        return order

    def _arrive(self, order: Order) -> None:
        rng = order.weather.rng
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
        # As a bucket without versions says it: moto's version ids would differ from run to run.
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
        self._tell_vendor(control, trouble)

    def _tell_vendor(self, control: str, document: dict[str, Any]) -> None:
        httpx.post(f"{self.vendor.admin_url}/{control}", json=document, trust_env=False).raise_for_status()

    # ---- invocations

    def _invoke(self, function: str, message: Any, order: Order, caller: Caller | None = None) -> Any:
        strikes = [] if self.calm else order.weather.next(function, TIMEOUTS[function] * self.overrun)
        return self._run(function, message, order, strikes, caller)

    def _run(
        self, function: str, message: Any, order: Order, strikes: list[InjectedFault], caller: Caller | None = None
    ) -> Any:
        struck = f" [{', '.join(strike.row for strike in strikes)}]" if strikes else ""
        try:
            answer = self.functions.invoke(function, message, job=order.name, strikes=strikes, caller=caller)
        except Failed as failed:
            order.history.append(f"{self.clock.elapsed:8.0f}s {function}{struck}: {failed.error}")
            raise
        order.history.append(f"{self.clock.elapsed:8.0f}s {function}{struck}: {_short(answer)}")
        return answer

    def _ended_late(self, invocation: Invocation, outcome: Any) -> None:
        order = self.by_name.get(invocation.job)
        if order is not None:
            said = outcome.error if isinstance(outcome, Failed) else _short(outcome)
            order.history.append(f"{self.clock.elapsed:8.0f}s   {invocation.function}, given up before, ends: {said}")

    def _asynchronously(self, function: str, message: dict[str, Any], order: Order, attempt: int = 1) -> None:
        """As EventBridge invokes a function: Lambda tries twice more, then the event is parked."""
        try:
            self._invoke(function, message, order)
        except Failed:
            if attempt < 3:
                self.clock.after(60 * attempt, lambda: self._asynchronously(function, message, order, attempt + 1))
            elif function == "uploads":
                self.happened["event parked in the dead-letter queue"] += 1
                self.parked.append((order, message))

    def _call_api(self, message: dict[str, Any], order: Order, attempt: int = 1) -> None:
        """As a careful caller does: the same request with the same key until it is answered."""
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
            if order.seen["invoke"] % 2:  # the word of it may be faster than the function that still runs
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
            self.clock.after(order.weather.rng.choice((1.0, 10.0, 120.0, HOUR)), lambda: self._resubmit(order))
        return answer

    def _is_throttled(self, order: Order, state: str) -> bool:
        if self.calm or state != order.weather.throttled_state:
            return False
        order.throttled_until = order.throttled_until or self.clock.elapsed + THROTTLED_SECONDS
        throttled = self.clock.elapsed < order.throttled_until
        if throttled:
            self.happened[f"throttled for five minutes ({state})"] += 1
        return throttled

    def _outage(self, job: str, call: str) -> str | None:
        """What a call of the vendor meets while it is down. A paid call that may have arrived is another story."""
        begins, ends = self.times.outage
        if not begins <= self.clock.elapsed < ends:
            return None
        if call == "generate":
            return "unreachable"
        self.hit_by_outage.add(job)
        return self.by_name[job].weather.outage

    def _resubmit(self, order: Order) -> None:
        """As an operator does who does not look twice."""
        if self.calm:
            return
        try:
            self._operator().resubmit(order.job_id)
        except Refused:
            outcome = "refused"
        else:
            outcome, order.resubmitted = "done", True
        order.history.append(f"{self.clock.elapsed:8.0f}s the operator resubmits: {outcome}")
        self.happened[f"operator: resubmit {outcome}"] += 1

    # ---- what happens to executions

    def _is_due(self, order: Order, where: str) -> bool:
        due = not self.calm and not order.aborted and order.abort == (where, order.seen[where])
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
        rng, message = order.weather.rng, _status_change(execution)
        fate = 1.0 if self.calm else rng.random()
        if fate < 0.25:
            self.happened["execution-status event lost"] += 1
            order.history.append(f"{self.clock.elapsed:8.0f}s its status event is lost")
            return
        copies = 2 if fate < 0.4 else 1
        self.happened["execution-status event repeated"] += copies - 1
        for _ in range(copies):
            delay = 1.0 if self.calm else rng.choice((0.5, 5.0, 60.0, 1500.0))
            self.clock.after(delay, lambda: self._asynchronously("notify", message, order))

    def _sweep(self) -> None:
        self.clock.after(SWEEP_SECONDS, self._sweep)
        strikes = [] if self.calm else self._sweep_weather.next("sweep")
        try:
            self.functions.invoke("sweep", {}, job="sweep", strikes=strikes)
        except Failed as failed:
            self.sweeps[f"failed: {failed.error}"] += 1
            return
        self.sweeps["done"] += 1
        for order in self.orders:
            if order.job_id not in self.executions.known and (job := self.store.get(order.job_id)) is not None:
                age = self.clock.now - _changed_at(self.account, job.job_id)
                if job.status is Status.QUEUED and age > _QUIET_SECONDS + 1:
                    self.stranded.append(order.name)

    # ---- afterwards

    def _settle(self, seconds: float) -> None:
        """Let everything come to rest, for a fixed time: a replay of one job shall be the same."""
        rest = self.clock.now + seconds
        self.clock.run(until=lambda: self.clock.now >= rest)

    def _look(self) -> Picture:
        found = {order.name: self.store.get(order.job_id) for order in self.orders}
        return Picture(
            records={name: job for name, job in found.items() if job is not None},
            notices=self.account.heard(),
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
            ask=lambda _: None,  # this operator attaches what the vendor's books name
        )

    def _operate(self, picture: Picture) -> None:
        operator = self._operator()
        self._each(
            picture.records, lambda job: job.status is Status.INTERRUPTED, lambda job: operator.redrive(job.job_id)
        )
        self._settle(self.times.settle)
        videos = {
            job_of_key(paid["idempotency_key"]): paid["video_id"]
            for paid in self.submissions()
            if self.film(paid["video_id"])
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

    # ---- the vendor's side

    def submissions(self) -> list[dict[str, Any]]:
        """What the vendor was paid for."""
        books: dict[str, Any] = httpx.get(f"{self.vendor.admin_url}/state", trust_env=False).json()
        return [paid for paid in books["submissions"] if paid["idempotency_key"]]

    def film(self, video_id: str) -> bytes | None:
        """The file of a video, if the vendor has finished it."""
        video = self.vendor._server.app._vendor_state.video(video_id)
        return (
            video.rendering.file.read_bytes() if video and video.status() == "succeeded" and video.rendering else None
        )


def warm_up(vendor: GenviralStandIn, recipes: Iterable[str] = RECIPES) -> None:
    """Have the videos of these recipes made before the clock starts to run: making one takes real time."""
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
