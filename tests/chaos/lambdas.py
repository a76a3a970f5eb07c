"""The real handlers, invoked as Lambda invokes them, in a process that can be killed at any call it makes.

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
from tests.support.video_job import TEMPLATE

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
_PATIENT = Timeouts(connect=10, read=30, write=10, pool=10, total=60)
_HANG_SECONDS, _IMPATIENT_SECONDS = 0.5, 0.15
_RESOURCES = {
    str(resource["Properties"]["CodeUri"]).rstrip("/").rpartition("/")[2]: resource["Properties"]
    for resource in TEMPLATE["Resources"].values()
    if resource["Type"] == "AWS::Serverless::Function"
}
TIMEOUTS = {name: float(properties["Timeout"]) for name, properties in _RESOURCES.items()}
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
    """How an invocation ended badly.

    Attributes:
        error: The error's name, as Step Functions sees it.
        cause: What the function said; None where Lambda itself failed.
    """

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(error)
        self.error, self.cause = error, cause


class _Killed(BaseException):
    """The process is gone. Not an `Exception`: nothing in the code may survive it."""


@dataclass(frozen=True)
class Caller:
    """An execution that waits for a function.

    Attributes:
        turn: What it rests in.
        max_wait: How long it waits, in seconds.
        is_waiting: Whether it can still use the answer.
    """

    turn: Turn
    max_wait: float
    is_waiting: Callable[[], bool]


@dataclass
class Invocation:
    """One run of a handler, and what is to go wrong in it."""

    function: str
    job: str
    strikes: list[InjectedFault]
    deadline: float
    """When Lambda ends the process, in epoch seconds."""
    died_of: str | None = None
    made: Counter[str] = field(default_factory=Counter)
    """How often each call was made."""
    out_of_time: bool = False
    unannounced: set[str] = field(default_factory=set)
    """The notifications that were published and not crossed off yet. A sweep sends those of several jobs."""
    counts: list[tuple[str, Status]] = field(default_factory=list)
    """What it has put into its metrics and not sent yet: job's id and status."""
    turn: Turn | None = None
    """What it runs in, where time passes while it runs."""
    given_up: bool = False
    """Whether nobody waits for its answer any more."""
    claim: str | None = None
    """The claim that it has taken and not given back."""
    videos: list[str] = field(default_factory=list)
    """The videos that the vendor accepted from it."""
    last_write_answered: bool = True
    """Whether the last change of a record that it asked for was answered, if only with a refusal."""
    unsettled: str | None = None
    """The idempotency key of a paid POST that was sent, while nobody outside of this process knows how it ended."""

    def strike(self, call: str, *kinds: str) -> InjectedFault | None:
        """The strike that hits this call, if one does."""
        for strike in self.strikes:
            hit = strike.call == call and strike.kind in kinds
            if hit and strike.nth <= self.made[call] and strike.fired < strike.times:
                strike.fired, strike.hit = strike.fired + 1, True
                return strike
        return None

    def strike_anywhere(self, kind: str) -> InjectedFault | None:
        strike = next((strike for strike in self.strikes if strike.kind == kind), None)
        if strike:
            strike.fired += 1
        return strike

    def check_alive(self) -> None:
        if self.died_of:
            raise _Killed

    def die(self, error: str) -> None:
        self.died_of = error
        raise _Killed


class Lambda:
    """All functions, in one process that plays a fresh one for each invocation.

    Args:
        states: Answers calls of Step Functions: operation and request to answer.
        clock: Tells the time, in epoch seconds.
        limit: The daily limit, in credits. 0: none.
        overrun: How many times its time-out a process may last. On AWS: once.
        outage: How the vendor cannot be reached just now: job and call. None: it can.
        ended_late: Is told what became of an invocation that nobody waited for.
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
        """Row of the table → how often it really happened."""
        self.sent: Counter[str] = Counter()
        """Idempotency key → how many paid POSTs left the house."""
        self.sent_on: dict[str, str] = {}
        """Idempotency key → the day (UTC) on which the last of them did."""
        self.unknown: set[str] = set()
        """Idempotency keys of paid POSTs whose outcome nobody was left to know."""
        self.resent: set[str] = set()
        """Those that were sent again all the same."""
        self.may_repeat: Counter[str] = Counter()
        """Notification → how many more copies of it are nobody's fault: at least once is what SNS and a crash allow."""
        self._patch_environment(patch, account, vendor, clock)
        patch.setenv("DAILY_CREDIT_LIMIT", f"{limit:g}")
        self.handlers = {name: _load(name) for name in sorted(path.parent.name for path in _FUNCTIONS.glob("*/app.py"))}
        timeouts: Timeouts = self.handlers["submit"]._TIMEOUTS
        self.max_wait = self.max_wait_of(timeouts)
        """How long the product waits for the answer to the paid call, in seconds."""
        patch.setattr(self.handlers["submit"], "_TIMEOUTS", _PATIENT)
        for name in ("status", "deliver"):
            patch.setattr(self.handlers[name], "POLL", _PATIENT)
        patch.setattr(self.handlers["deliver"], "Limits", self._limits)

    def max_wait_of(self, timeouts: Timeouts) -> float:
        """How long a client with these time-outs waits for an answer, in seconds."""
        return min(timeouts.read, timeouts.total)

    def invoke(
        self, function: str, event: Any, *, job: str, strikes: list[InjectedFault], caller: Caller | None = None
    ) -> Any:
        """Run a handler to its end.

        Args:
            caller: The execution that waits for the answer. None: somebody who does not wait while time passes.

        Raises:
            Failed: The handler raised, its process died, or Lambda failed.
        """
        invocation = Invocation(function, job, strikes, deadline=self._clock.now + TIMEOUTS[function])
        if strike := invocation.strike_anywhere("not invoked"):
            self.fired[strike.row] += 1
            raise Failed(strike.error)
        if strike := next((strike for strike in strikes if strike.kind in _TAKE_TIME), None):
            return self._apart(invocation, event, strike, caller)
        return self._handle(invocation, event, caller)

    def _handle(self, invocation: Invocation, event: Any, caller: Caller | None) -> Any:
        self._now = invocation
        for provider in DEFAULT_PROVIDERS.values():
            provider.clear_cache()  # a fresh process has nothing cached
        self._plan_vendor(invocation.strikes)
        arrives = False
        try:
            handler = self.handlers[invocation.function].handler
            answer = handler(json.loads(json.dumps(event)), _Context(invocation, self._clock))
            lost = invocation.strike_anywhere("result lost")
            arrives = not (lost or invocation.given_up or (caller and not caller.is_waiting()))
            if lost is None and not invocation.given_up:
                invocation.unsettled = None
        except _Killed:
            raise Failed(str(invocation.died_of), _said(str(invocation.died_of), "the process ended")) from None
        except Exception as error:  # noqa: BLE001 - as Lambda reports it
            self.observed.failed(invocation, type(error).__name__)
            raise Failed(type(error).__name__, _said(type(error).__name__, str(error))) from None
        finally:
            self.observed.ended(invocation, arrives=arrives)
            self._close(invocation)
        if lost:
            raise Failed(lost.error)
        return json.loads(json.dumps(answer))

    def _apart(self, invocation: Invocation, event: Any, strike: InjectedFault, caller: Caller | None) -> Any:
        """Run a handler that rests at a call, while time passes. It may outlive its caller's wait."""
        ended: list[Any] = []
        waits = caller is not None and strike.kind != GIVEN_UP

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
            raise Failed("States.Timeout" if waits else strike.error)
        (outcome,) = ended
        if isinstance(outcome, Failed):
            raise outcome
        return outcome

    def _pause(self, seconds: float) -> None:
        """Use up a process's time. Nobody else moves meanwhile."""
        if self._now is not None:
            self._now.deadline -= seconds

    def _rest(self, invocation: Invocation, seconds: float) -> None:
        """Let time pass in a process, as long as Lambda lets it live."""
        if invocation.turn is None:
            return
        left = invocation.deadline - self._clock.now + (self._overrun - 1) * TIMEOUTS[invocation.function]
        counted = dict(runtime.metrics.metric_set)
        runtime.metrics.metric_set.clear()
        self._now = None
        invocation.turn.rest(min(seconds, left))
        self._now = invocation
        runtime.metrics.metric_set.update(counted)
        # Whatever the others drew meanwhile, this one goes on as it does when it is replayed alone.
        random.seed(f"{invocation.job}/{self._clock.elapsed}")
        if seconds >= left:
            invocation.die("Sandbox.Timedout")

    def _close(self, invocation: Invocation) -> None:
        for fault in self._vendor_faults.document():
            strike = next(s for s in invocation.strikes if (s.call, s.kind) == (fault["route"], fault["kind"]))
            strike.fired -= fault["times"]
        self._vendor_faults.clear()
        for strike in invocation.strikes:
            self.fired[strike.row] += strike.fired
            strike.fired = 0
        if invocation.unsettled:
            self.unknown.add(invocation.unsettled)
        self.may_repeat.update(invocation.unannounced)
        self._now = None
        sys.tracebacklimit = 1000  # the handlers set it to nothing, for the runtime's sake

    def _plan_vendor(self, strikes: list[InjectedFault]) -> None:
        for strike in strikes:
            if strike.kind in KINDS:
                fault = Fault(route=strike.call, kind=strike.kind, times=strike.times, seconds=_HANG_SECONDS)
                self._vendor_faults.add(fault)
                strike.fired += strike.times

    # ---- the ways out of a process

    def _to_aws(self, stubber: Any, event_name: str, request: Any, **_: Any) -> Any:
        """Every call of botocore, also those of the suite itself, which nothing happens to."""
        # The integration tests' cloud may live in the same process; its listener goes on meanwhile.
        if urlsplit(request.url).hostname == "127.0.0.1":
            return _TO_MOTO(stubber, event_name, request)
        service, operation = event_name.split(".")[1:]
        if (invocation := self._now) is None:
            return aws.carry(service, request, self._states)
        invocation.check_alive()
        invocation.made[operation] += 1
        lost = invocation.strike(operation, *LOST)
        if operation == "TransactWriteItems":  # an update of a job as well, and struck as one
            operation = "UpdateItem"
            invocation.made[operation] += 1
        self._linger(invocation, operation)
        if strike := invocation.strike(operation, "killed before"):
            invocation.die(strike.error)
        if strike := invocation.strike(operation, "throttled", "error"):
            self.observed.unanswered(invocation, operation)
            return aws.throttled(service, request) if strike.kind == "throttled" else aws.failed(service, request)
        answer = aws.carry(service, request, self._states)
        lost = lost or invocation.strike(operation, "answer lost")
        self._keep_books(invocation, operation, request, answer, lost=lost is not None)
        if strike := invocation.strike(operation, "killed after"):
            invocation.die(strike.error)
        if invocation.strike(operation, "out of time"):
            invocation.out_of_time = True
        return aws.lost(lost.kind, service, request) if lost else answer

    def _linger(self, invocation: Invocation, call: str) -> None:
        if strike := invocation.strike(call, GIVEN_UP):
            self._rest(invocation, strike.seconds)

    def _keep_books(self, invocation: Invocation, operation: str, request: Any, answer: Any, *, lost: bool) -> None:
        if operation == "Publish":
            notification = aws.published(request)
            if lost or invocation.given_up:  # botocore publishes it again, or who took over did
                self.may_repeat[notification] += 1
            invocation.unannounced.add(notification)
        elif operation == "UpdateItem":
            self.observed.changed(invocation, request, done=answer.status_code == 200, lost=lost)
            if answer.status_code != 200:
                return
            if aws.crosses_off(request):
                invocation.unannounced -= {aws.crossed_off(request)}
            elif aws.saves_video(request):
                invocation.unsettled = None

    def to_vendor(self, request: httpx.Request, network: httpx.BaseTransport) -> httpx.Response:
        """Every call of the vendor's client."""
        invocation = self._now
        assert invocation is not None
        invocation.check_alive()
        call = "generate" if request.method == "POST" else "status"
        invocation.made[call] += 1
        self._linger(invocation, call)
        if strike := invocation.strike(call, "killed before"):
            invocation.die(strike.error)
        if outage := self._outage(invocation.job, call):
            self.fired[f"vendor outage: {outage} ({call})"] += 1
            return _of_outage(outage, request)
        if call == "generate":
            self._note_sent(invocation, request.headers["Idempotency-Key"])
        if self._hangs(call):
            timeout = {**request.extensions["timeout"], "read": _IMPATIENT_SECONDS}
            request.extensions = {**request.extensions, "timeout": timeout}
        response = network.handle_request(request)
        if call == "generate":
            invocation.made["answer"] += 1
            self._linger(invocation, "answer")
        if strike := invocation.strike(call, SLOW):
            self._await(invocation, request, response, strike.seconds)
        if strike := invocation.strike(call, "killed after"):
            response.close()
            invocation.die(strike.error)
        if call == "generate" and _refuses(response):
            invocation.unsettled = None
        return response

    def _await(self, invocation: Invocation, request: httpx.Request, response: httpx.Response, seconds: float) -> None:
        """Wait for an answer as long as the client does in the product."""
        self.observed.not_awaited.add(invocation.job)
        self._rest(invocation, min(seconds, self.max_wait))
        if seconds > self.max_wait:
            response.close()
            raise httpx.ReadTimeout("made up", request=request)
        self.observed.not_awaited.discard(invocation.job)

    def _note_sent(self, invocation: Invocation, key: str) -> None:
        self.sent[key] += 1
        self.observed.sent(invocation, key)
        self.sent_on[key] = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
        if key in self.unknown:
            self.resent.add(key)
        # Until somebody learns how it ended.
        invocation.unsettled = key

    def _hangs(self, route: str) -> bool:
        return any((fault["route"], fault["kind"]) == (route, "hang") for fault in self._vendor_faults.document())

    def _flush_metrics(self) -> None:
        if self._now is not None:
            self.observed.flushed(self._now, self._now.counts)
            self._now.counts = []
        runtime.metrics.clear_metrics()

    def _count(self, count: Callable[[Job, Status], None], job: Job, status: Status) -> None:
        """Count an end, and remember whose it is: the metrics do not say."""
        count(job, status)
        if self._now is not None:
            self._now.counts.append((job.job_id, status))

    def _limits(self, **options: Any) -> Limits:
        # One worker, so that calls have an order; small parts, so that a small video has several.
        idle = _IMPATIENT_SECONDS if self._hangs("output") else 30.0
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
        # Nobody sleeps, and no function is slowed down by what happened to another one.
        patch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        patch.setattr(quota.RetryQuota, "acquire", lambda *_: True)
        patch.setattr(copy, "_BACKOFF_SECONDS", 0.0)
        patch.setattr(tries, "time", SimpleNamespace(sleep=self._pause))
        patch.setattr(limits, "MIB", 1)
        patch.setattr(limits, "MIN_PART_BYTES", 1)
        patch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
        # The vendor's files lie on the loopback, which counts as public here; all else that is private stays so.
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
    """The vendor's client, and who knows of which video by it."""

    def __init__(self, lambda_: Lambda, *given: Any, **more: Any) -> None:
        super().__init__(*given, transport=_Wire(lambda_), **more)
        self._lambda = lambda_

    def generate(self, *given: Any, **more: Any) -> Any:
        generation = super().generate(*given, **more)
        if self._lambda._now is not None:
            self._lambda._now.videos.append(generation.video_id)
        return generation


class _Wire(httpx.BaseTransport):
    """The network between the vendor's client and the vendor."""

    def __init__(self, lambda_: Lambda) -> None:
        self._lambda = lambda_
        self._network = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._lambda.to_vendor(request, self._network)


@dataclass
class _Context:
    """What Lambda passes beside the event."""

    invocation: Invocation
    clock: Clock
    function_name: str = "made-up"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:made-up"
    aws_request_id: str = "8248615f-5a1e-4010-9072-176343532439"

    def get_remaining_time_in_millis(self) -> int:
        return 0 if self.invocation.out_of_time else round((self.invocation.deadline - self.clock.now) * 1000)


def _of_outage(outage: str, request: httpx.Request) -> httpx.Response:
    """What comes back from a vendor that is down."""
    if outage == "unreachable":
        raise httpx.ConnectError("made up", request=request)
    status = {"bad gateway": 502, "rate limited": 429}[outage]
    return httpx.Response(status, headers={"Content-Type": "text/html"}, text="<html>down</html>", request=request)


def _refuses(response: httpx.Response) -> bool:
    """Whether an answer to the paid POST rules a payment out, by the vendor's page: a 4xx, or its own 500."""
    own_words = response.headers.get("Content-Type", "").startswith("application/json")
    return 400 <= response.status_code < 500 or (response.status_code == 500 and own_words)


def _said(kind: str, message: str) -> str:
    return json.dumps({"errorMessage": message, "errorType": kind, "stackTrace": []}, ensure_ascii=False)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"chaos_function_{name}", _FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
