"""Invoke the real handlers as Lambda does, in a simulated process that can be killed at any call.

Knows settings and how an invocation ends. Must not know what the functions are for.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from aws_lambda_powertools.utilities.parameters.constants import DEFAULT_PROVIDERS
from botocore.retries import quota, standard
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3 import models as moto_s3

import shared.vendor
from local.genviral.faults import KINDS, Fault
from shared import runtime
from shared.delivery import Limits, copy, guard, limits
from shared.genviral.client import GenviralClient, Timeouts
from shared.steps import notify, tries
from tests.chaos import account as aws
from tests.chaos import dynamodb
from tests.chaos.clock import Turn
from tests.chaos.observed import Observed
from tests.chaos.schedule import GIVEN_UP, LOST, SLOW, InjectedFault
from tests.support.fakes import REGION, TABLE, TOPIC, UPLOADS, VIDEOS
from tests.support.template import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import pytest

    from local.genviral import GenviralStandIn
    from shared.jobs.record import Job
    from shared.jobs.states import Status
    from tests.chaos.account import Account
    from tests.chaos.clock import Clock

_TO_MOTO = BotocoreStubber.__call__
_FUNCTIONS = Path(__file__).parents[2] / "functions"
_PART_BYTES = 16_384
_LONG_TIMEOUTS = Timeouts(connect=10, read=30, write=10, pool=10, total=60)
_HANG_SECONDS, _SHORT_READ_SECONDS = 0.5, 0.15
_PROPERTIES = {
    str(resource["Properties"]["CodeUri"]).rstrip("/").rpartition("/")[2]: resource["Properties"]
    for resource in RESOURCES.values()
    if resource["Type"] == "AWS::Serverless::Function"
}
TIMEOUTS = {name: float(properties["Timeout"]) for name, properties in _PROPERTIES.items()}
"""Function → its time-out, in seconds."""
_TAKE_TIME = (GIVEN_UP, SLOW)
SETTINGS = {
    "POWERTOOLS_SERVICE_NAME": "video-pipeline",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "made-up",
    "AWS_SECRET_ACCESS_KEY": "made-up",
    "JOBS_TABLE": TABLE,
    "UPLOADS_BUCKET": UPLOADS,
    "VIDEOS_BUCKET": VIDEOS,
    "TOPIC_ARN": TOPIC,
    "RECORD_RETENTION_DAYS": "30",
    "MAX_UPLOAD_MEGABYTES": "1",
    "MAX_VIDEO_MEGABYTES": "10",
    "ALLOW_PRIVATE_OUTPUT": "true",  # the stand-in for Genviral speaks plain http
    "TRUST_VENDOR_IDEMPOTENCY": "false",
    "POLL_FLOOR_SECONDS": "30",
    "POLL_CAP_SECONDS": "300",
    "JOB_DEADLINE_MINUTES": "60",
    "HOLD_SECONDS": "600",
    "HOLD_HOURS": "0.75",
    "SWEEP_QUIET_SECONDS": "300",
}


class Failed(Exception):
    """An invocation failed.

    Attributes:
        error: The error's name, as Step Functions sees it.
        cause: The function's error document. None: Lambda itself failed.
    """

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(error)
        self.error, self.cause = error, cause


class _Killed(BaseException):
    """The process was killed. Not an `Exception`, so that no handler can catch it."""


@dataclass(frozen=True)
class Caller:
    """An execution that waits for a function.

    Attributes:
        turn: Its thread, which rests meanwhile.
        max_wait: How long it waits, in seconds.
        is_waiting: Whether it can still use the answer.
    """

    turn: Turn
    max_wait: float
    is_waiting: Callable[[], bool]


@dataclass
class Invocation:
    """One run of a handler, and its faults."""

    function: str
    job: str
    faults: list[InjectedFault]
    deadline: float
    """When Lambda ends the process, in epoch seconds."""
    died_of: str | None = None
    made: Counter[str] = field(default_factory=Counter)
    """How often each call was made."""
    out_of_time: bool = False
    unconfirmed: set[str] = field(default_factory=set)
    """Notifications that were published and are still pending in their records. A sweep sends those of several jobs."""
    counts: list[tuple[str, Status]] = field(default_factory=list)
    """Job's id and status of what it has counted and not flushed yet."""
    turn: Turn | None = None
    """Its thread, if time passes while it runs."""
    given_up: bool = False
    """Whether no caller waits for its answer any more."""
    claim: str | None = None
    """The claim that it has taken and not released."""
    videos: list[str] = field(default_factory=list)
    """The videos that the vendor accepted from it."""
    last_write_answered: bool = True
    """Whether its last update of a record was answered, even with an error."""
    unsettled: str | None = None
    """The idempotency key of a sent paid POST whose outcome is known to this process alone."""

    def fault_at(self, call: str, *kinds: str) -> InjectedFault | None:
        """Return the fault of this call, if any, and count it."""
        for fault in self.faults:
            hit = fault.call == call and fault.kind in kinds
            if hit and fault.nth <= self.made[call] and fault.fired < fault.times:
                fault.fired, fault.hit = fault.fired + 1, True
                return fault
        return None

    def fault_of_kind(self, kind: str) -> InjectedFault | None:
        """Return the fault of this kind, if any, and count it."""
        fault = next((fault for fault in self.faults if fault.kind == kind), None)
        if fault:
            fault.fired += 1
        return fault

    def check_alive(self) -> None:
        if self.died_of:
            raise _Killed

    def die(self, error: str) -> None:
        self.died_of = error
        raise _Killed


class Lambda:
    """All functions, in one process that simulates a fresh one for each invocation.

    Args:
        states: Answers calls of Step Functions: operation and request to answer.
        clock: Returns the time, in epoch seconds.
        limit: The daily limit, in credits. 0: none.
        overrun: How long a process may last, in multiples of its time-out. On AWS: 1.
        outage: Job and call → how the vendor fails just now. None: it is up.
        ended_late: Called with the outcome of an abandoned invocation.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        account: Account,
        vendor: GenviralStandIn,
        states: Callable[[str, dict[str, Any]], dict[str, Any]],
        clock: Clock,
        *,
        limit: float = 0,
        overrun: float = 1,
        outage: Callable[[str, str], str | None] = lambda _job, _call: None,
        ended_late: Callable[[Invocation, Any], None] = lambda _invocation, _outcome: None,
    ) -> None:
        self._states = states
        self._clock = clock
        self._outage, self._overrun, self._ended_late = outage, overrun, ended_late
        self.observed = Observed(clock, TIMEOUTS["submit"])
        self._vendor_faults = vendor._server.faults
        self._now: Invocation | None = None
        self.fired: Counter[str] = Counter()
        """Row of the table → how often it happened."""
        self.sent: Counter[str] = Counter()
        """Idempotency key → how many paid POSTs were sent."""
        self.sent_on: dict[str, str] = {}
        """Idempotency key → the day (UTC) of the last one."""
        self.unknown: set[str] = set()
        """Idempotency keys of paid POSTs whose outcome was lost."""
        self.resent: set[str] = set()
        """Those that were sent again."""
        self.may_repeat: Counter[str] = Counter()
        """Notification → how many duplicates are allowed: SNS and a crash permit only at-least-once delivery."""
        self._patch_environment(patch, account, vendor, clock)
        patch.setenv("DAILY_CREDIT_LIMIT", f"{limit:g}")
        self.handlers = {name: _load(name) for name in sorted(path.parent.name for path in _FUNCTIONS.glob("*/app.py"))}
        timeouts: Timeouts = self.handlers["submit"]._TIMEOUTS
        self.max_wait = self.max_wait_of(timeouts)
        """How long the product waits for the answer to the paid call, in seconds."""
        patch.setattr(self.handlers["submit"], "_TIMEOUTS", _LONG_TIMEOUTS)
        for name in ("status", "deliver"):
            patch.setattr(self.handlers[name], "POLL", _LONG_TIMEOUTS)
        patch.setattr(self.handlers["deliver"], "Limits", self._limits)

    def max_wait_of(self, timeouts: Timeouts) -> float:
        """Return how long a client with these time-outs waits for an answer, in seconds."""
        return min(timeouts.read, timeouts.total)

    def invoke(
        self, function: str, event: Any, *, job: str, faults: list[InjectedFault], caller: Caller | None = None
    ) -> Any:
        """Run a handler to its end.

        Args:
            caller: The execution that waits for the answer. None: a caller that does not wait while time passes.

        Raises:
            Failed: The handler raised, its process died, or Lambda failed.
        """
        invocation = Invocation(function, job, faults, deadline=self._clock.now + TIMEOUTS[function])
        if fault := invocation.fault_of_kind("not invoked"):
            self.fired[fault.row] += 1
            raise Failed(fault.error)
        if fault := next((fault for fault in faults if fault.kind in _TAKE_TIME), None):
            return self._run_in_thread(invocation, event, fault, caller)
        return self._handle(invocation, event, caller)

    def _handle(self, invocation: Invocation, event: Any, caller: Caller | None) -> Any:
        self._now = invocation
        for provider in DEFAULT_PROVIDERS.values():
            provider.clear_cache()  # a fresh process has nothing cached
        self._plan_vendor(invocation.faults)
        arrives = False
        try:
            handler = self.handlers[invocation.function].handler
            answer = handler(json.loads(json.dumps(event)), _Context(invocation, self._clock))
            lost = invocation.fault_of_kind("result lost")
            arrives = not (lost or invocation.given_up or (caller and not caller.is_waiting()))
            if lost is None and not invocation.given_up:
                invocation.unsettled = None
        except _Killed:
            raise Failed(
                str(invocation.died_of), _error_document(str(invocation.died_of), "the process ended")
            ) from None
        except Exception as error:  # noqa: BLE001 - as Lambda reports it
            self.observed.failed(invocation, type(error).__name__)
            raise Failed(type(error).__name__, _error_document(type(error).__name__, str(error))) from None
        finally:
            self.observed.ended(invocation, arrives=arrives)
            self._close(invocation)
        if lost:
            raise Failed(lost.error)
        return json.loads(json.dumps(answer))

    def _run_in_thread(self, invocation: Invocation, event: Any, fault: InjectedFault, caller: Caller | None) -> Any:
        """Run a handler that rests at a call while time passes. It may outlive its caller's wait."""
        ended: list[Any] = []
        waits = caller is not None and fault.kind != GIVEN_UP

        def body() -> None:
            try:
                ended.append(self._handle(invocation, event, caller))
            except Failed as failed:
                ended.append(failed)
            if invocation.given_up:
                self._ended_late(invocation, ended[0])
            elif caller is not None:
                self._clock.after(0, functools.partial(caller.turn.wake, caller.turn.this_rest))

        invocation.turn = Turn(self._clock, body)
        invocation.given_up = not waits
        invocation.turn.begin()
        if not ended and caller is not None and waits:
            caller.turn.rest(caller.max_wait)
        if not ended:
            invocation.given_up = True
            raise Failed("States.Timeout" if waits else fault.error)
        (outcome,) = ended
        if isinstance(outcome, Failed):
            raise outcome
        return outcome

    def _pause(self, seconds: float) -> None:
        """Use up the process's time. Nothing else runs meanwhile."""
        if self._now is not None:
            self._now.deadline -= seconds

    def _rest(self, invocation: Invocation, seconds: float) -> None:
        """Let time pass in a process, until its time-out at most."""
        if invocation.turn is None:
            return
        left = invocation.deadline - self._clock.now + (self._overrun - 1) * TIMEOUTS[invocation.function]
        counted = dict(runtime.metrics.metric_set)
        runtime.metrics.metric_set.clear()
        self._now = None
        invocation.turn.rest(min(seconds, left))
        self._now = invocation
        runtime.metrics.metric_set.update(counted)
        # Other invocations have used the generator. A replay of this job alone must continue in the same way.
        random.seed(f"{invocation.job}/{self._clock.elapsed}")
        if seconds >= left:
            invocation.die("Sandbox.Timedout")

    def _close(self, invocation: Invocation) -> None:
        for left in self._vendor_faults.document():
            fault = next(one for one in invocation.faults if (one.call, one.kind) == (left["route"], left["kind"]))
            fault.fired -= left["times"]
        self._vendor_faults.clear()
        for fault in invocation.faults:
            self.fired[fault.row] += fault.fired
            fault.fired = 0
        if invocation.unsettled:
            self.unknown.add(invocation.unsettled)
        self.may_repeat.update(invocation.unconfirmed)
        self._now = None
        sys.tracebacklimit = 1000  # the handlers set it to zero

    def _plan_vendor(self, faults: list[InjectedFault]) -> None:
        for fault in faults:
            if fault.kind in KINDS:
                self._vendor_faults.add(
                    Fault(route=fault.call, kind=fault.kind, times=fault.times, seconds=_HANG_SECONDS)
                )
                fault.fired += fault.times

    # ---- calls to AWS and to the vendor

    def _to_aws(self, stubber: Any, event_name: str, request: Any, **_: Any) -> Any:
        """Answer every call of botocore. Calls of the suite itself meet no faults."""
        # The integration tests' cloud may run in the same process, and its listener continues meanwhile.
        if urlsplit(request.url).hostname == "127.0.0.1":
            return _TO_MOTO(stubber, event_name, request)
        service, operation = event_name.split(".")[1:]
        if (invocation := self._now) is None:
            return aws.answer_call(service, request, self._states)
        invocation.check_alive()
        invocation.made[operation] += 1
        lost = invocation.fault_at(operation, *LOST)
        if operation == "TransactWriteItems":  # also an update of a job, with the faults of one
            operation = "UpdateItem"
            invocation.made[operation] += 1
        self._linger(invocation, operation)
        if fault := invocation.fault_at(operation, "killed before"):
            invocation.die(fault.error)
        if fault := invocation.fault_at(operation, "throttled", "error"):
            self.observed.unanswered(invocation, operation)
            return aws.throttled(service, request) if fault.kind == "throttled" else aws.failed(service, request)
        answer = aws.answer_call(service, request, self._states)
        lost = lost or invocation.fault_at(operation, "answer lost")
        self._record_effects(invocation, operation, request, answer, lost=lost is not None)
        if fault := invocation.fault_at(operation, "killed after"):
            invocation.die(fault.error)
        if invocation.fault_at(operation, "out of time"):
            invocation.out_of_time = True
        return aws.lost(lost.kind, service, request) if lost else answer

    def _linger(self, invocation: Invocation, call: str) -> None:
        if fault := invocation.fault_at(call, GIVEN_UP):
            self._rest(invocation, fault.seconds)

    def _record_effects(self, invocation: Invocation, operation: str, request: Any, answer: Any, *, lost: bool) -> None:
        if operation == "Publish":
            notification = aws.published(request)
            if lost or invocation.given_up:  # botocore publishes it again, or its successor did
                self.may_repeat[notification] += 1
            invocation.unconfirmed.add(notification)
        elif operation == "UpdateItem":
            self.observed.changed(invocation, request, done=answer.status_code == 200, lost=lost)
            if answer.status_code != 200:
                return
            if aws.clears_notification(request):
                invocation.unconfirmed -= {aws.cleared_notification(request)}
            elif aws.saves_video(request):
                invocation.unsettled = None

    def to_vendor(self, request: httpx.Request, network: httpx.BaseTransport) -> httpx.Response:
        """Send every call of the vendor's client."""
        invocation = self._now
        assert invocation is not None
        invocation.check_alive()
        call = "generate" if request.method == "POST" else "status"
        invocation.made[call] += 1
        self._linger(invocation, call)
        if fault := invocation.fault_at(call, "killed before"):
            invocation.die(fault.error)
        if outage := self._outage(invocation.job, call):
            self.fired[f"vendor outage: {outage} ({call})"] += 1
            return _of_outage(outage, request)
        if call == "generate":
            self._record_sent(invocation, request.headers["Idempotency-Key"])
        if self._hangs(call):
            timeout = {**request.extensions["timeout"], "read": _SHORT_READ_SECONDS}
            request.extensions = {**request.extensions, "timeout": timeout}
        response = network.handle_request(request)
        if call == "generate":
            invocation.made["answer"] += 1
            self._linger(invocation, "answer")
        if fault := invocation.fault_at(call, SLOW):
            self._await(invocation, request, response, fault.seconds)
        if fault := invocation.fault_at(call, "killed after"):
            response.close()
            invocation.die(fault.error)
        if call == "generate" and _is_unpaid(response):
            invocation.unsettled = None
        return response

    def _await(self, invocation: Invocation, request: httpx.Request, response: httpx.Response, seconds: float) -> None:
        """Wait for an answer as long as the product's client does."""
        self.observed.not_awaited.add(invocation.job)
        self._rest(invocation, min(seconds, self.max_wait))
        if seconds > self.max_wait:
            response.close()
            raise httpx.ReadTimeout("made up", request=request)
        self.observed.not_awaited.discard(invocation.job)

    def _record_sent(self, invocation: Invocation, key: str) -> None:
        self.sent[key] += 1
        self.observed.sent(invocation, key)
        self.sent_on[key] = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
        if key in self.unknown:
            self.resent.add(key)
        # Unknown until its outcome is recorded or returned.
        invocation.unsettled = key

    def _hangs(self, route: str) -> bool:
        return any((fault["route"], fault["kind"]) == (route, "hang") for fault in self._vendor_faults.document())

    def _flush_metrics(self) -> None:
        if self._now is not None:
            self.observed.flushed(self._now, self._now.counts)
            self._now.counts = []
        runtime.metrics.clear_metrics()

    def _count(self, count: Callable[[Job, Status], None], job: Job, status: Status) -> None:
        """Count an end, and remember the job, which the metrics do not name."""
        count(job, status)
        if self._now is not None:
            self._now.counts.append((job.job_id, status))

    def _limits(self, **options: Any) -> Limits:
        # Small parts, so that a small video has several.
        idle = _SHORT_READ_SECONDS if self._hangs("output") else 30.0
        return Limits(
            **{
                **options,
                "allow_http": True,
                "allow_private": False,
                "part_bytes": _PART_BYTES,
                "buffer_bytes": _PART_BYTES,
                "idle_seconds": idle,
            }
        )

    def _patch_environment(
        self, patch: pytest.MonkeyPatch, account: Account, vendor: GenviralStandIn, clock: Clock
    ) -> None:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("GENVIRAL_BASE_URL", vendor.url)
        patch.setenv("API_KEY_SECRET", account.secret)
        patch.setenv("STATE_MACHINE_ARN", f"arn:aws:states:{REGION}:123456789012:stateMachine:video-job")
        patch.setenv("BATCH_MACHINE_ARN", f"arn:aws:states:{REGION}:123456789012:stateMachine:batch-job")
        patch.setattr("time.time", clock)
        patch.setattr(BotocoreStubber, "__call__", lambda *given, **more: self._to_aws(*given, **more))
        patch.setattr(sys, "tracebacklimit", 1000, raising=False)
        dynamodb.speed_up(patch)
        # Nothing sleeps, and no function is slowed down by the retries of another one.
        patch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        patch.setattr(quota.RetryQuota, "acquire", lambda *_: True)
        patch.setattr(copy, "_BACKOFF_SECONDS", 0.0)
        patch.setattr(tries, "time", SimpleNamespace(sleep=self._pause))
        patch.setattr(limits, "MIB", 1)
        patch.setattr(limits, "MIN_PART_BYTES", 1)
        patch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
        # The vendor's files are on the loopback, which counts as public here. Other private addresses stay private.
        port = httpx.URL(vendor.url).port
        patch.setattr(guard, "_PORTS", {"https": 443, "http": port})
        loopback = IPv4Network("127.0.0.0/8")
        patch.setattr(guard, "_SPECIAL_IPV4", tuple(net for net in guard._SPECIAL_IPV4 if net != loopback))
        patch.setattr(shared.vendor, "GenviralClient", functools.partial(_Client, self))
        patch.setattr(runtime.metrics, "flush_metrics", self._flush_metrics)
        patch.setattr(notify, "_count", functools.partial(self._count, notify._count))
        shared.vendor.genviral.cache_clear()
        runtime.client.cache_clear()


class _Client(GenviralClient):
    """The vendor's client. It records which invocation knows of which video."""

    def __init__(self, lambda_: Lambda, *given: Any, **more: Any) -> None:
        super().__init__(*given, transport=_Wire(lambda_), **more)
        self._lambda = lambda_

    def generate(self, *given: Any, **more: Any) -> Any:
        generation = super().generate(*given, **more)
        if self._lambda._now is not None:
            self._lambda._now.videos.append(generation.video_id)
        return generation


class _Wire(httpx.BaseTransport):
    """The transport between the vendor's client and the vendor."""

    def __init__(self, lambda_: Lambda) -> None:
        self._lambda = lambda_
        self._network = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._lambda.to_vendor(request, self._network)


@dataclass
class _Context:
    """The context that Lambda passes with the event."""

    invocation: Invocation
    clock: Clock
    function_name: str = "made-up"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:made-up"
    aws_request_id: str = "8248615f-5a1e-4010-9072-176343532439"

    def get_remaining_time_in_millis(self) -> int:
        return 0 if self.invocation.out_of_time else round((self.invocation.deadline - self.clock.now) * 1000)


def _of_outage(outage: str, request: httpx.Request) -> httpx.Response:
    """Return the response of a vendor that is down, or raise its connection error."""
    if outage == "unreachable":
        raise httpx.ConnectError("made up", request=request)
    status = {"bad gateway": 502, "rate limited": 429}[outage]
    return httpx.Response(status, headers={"Content-Type": "text/html"}, text="<html>down</html>", request=request)


def _is_unpaid(response: httpx.Response) -> bool:
    """Tell whether an answer to the paid POST rules out a charge, by the vendor's page: a 4xx, or its own 500."""
    own_error = response.headers.get("Content-Type", "").startswith("application/json")
    return 400 <= response.status_code < 500 or (response.status_code == 500 and own_error)


def _error_document(kind: str, message: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": kind, "stackTrace": []}, ensure_ascii=False)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"chaos_function_{name}", _FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses need their module there
    spec.loader.exec_module(module)
    return module
