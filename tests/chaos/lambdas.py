"""The real handlers, invoked as Lambda invokes them, in a process that can be killed at any call it makes.

Knows settings and how an invocation ends. Must not know what the functions are for.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from aws_lambda_powertools.utilities.parameters.base import DEFAULT_PROVIDERS
from botocore.retries import quota, standard
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3 import models as moto_s3

import shared.vendor
from local.genviral.faults import KINDS, Fault
from shared import runtime
from shared.delivery import Limits, copy, guard, limits
from shared.genviral.client import GenviralClient, Timeouts
from tests.chaos import account as aws
from tests.chaos.clock import Turn
from tests.chaos.weather import GIVEN_UP, Strike
from tests.unit.fakes import REGION, TABLE, TOPIC, UPLOADS, VIDEOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import pytest

    from local.genviral import GenviralStandIn
    from tests.chaos.account import Account
    from tests.chaos.clock import Clock

_FUNCTIONS = Path(__file__).parents[2] / "functions"
_PART_BYTES = 16_384
_PATIENT = Timeouts(connect=10, read=30, write=10, pool=10, total=60)
_HANG_SECONDS, _IMPATIENT_SECONDS = 0.5, 0.15
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
    "ALLOW_PRIVATE_OUTPUT": "false",
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


@dataclass
class Invocation:
    """One run of a handler, and what is to go wrong in it."""

    function: str
    job: str
    strikes: list[Strike]
    died_of: str | None = None
    made: Counter[str] = field(default_factory=Counter)
    """How often each call was made."""
    out_of_time: bool = False
    unannounced: str | None = None
    """The notification that was published and not crossed off yet."""
    turn: Turn | None = None
    """What it runs on in, after it was given up."""
    unsettled: str | None = None
    """The idempotency key of a paid POST that was sent, while nobody outside of this process knows how it ended."""

    def strike(self, call: str, *kinds: str) -> Strike | None:
        """The strike that hits this call, if one does."""
        for strike in self.strikes:
            hit = strike.call == call and strike.kind in kinds
            if hit and strike.nth <= self.made[call] and strike.fired < strike.times:
                strike.fired += 1
                return strike
        return None

    def strike_anywhere(self, kind: str) -> Strike | None:
        strike = next((strike for strike in self.strikes if strike.kind == kind), None)
        if strike:
            strike.fired += 1
        return strike

    def check_alive(self) -> None:
        if self.died_of:
            raise _Killed

    def die(self, strike: Strike) -> None:
        self.died_of = strike.error
        raise _Killed


class Lambda:
    """All functions, in one process that plays a fresh one for each invocation.

    Args:
        states: Answers calls of Step Functions: operation and request to answer.
        clock: Tells the time, in epoch seconds.
        limit: The daily limit, in credits. 0: none.
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
    ) -> None:
        self._states = states
        self._clock = clock
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
        patch.setattr(self.handlers["submit"], "_TIMEOUTS", _PATIENT)
        for name in ("status", "deliver"):
            patch.setattr(self.handlers[name], "LOOK", _PATIENT)
        patch.setattr(self.handlers["deliver"], "Limits", self._limits)

    def invoke(self, function: str, event: Any, *, job: str, strikes: list[Strike]) -> Any:
        """Run a handler to its end.

        Raises:
            Failed: The handler raised, its process died, or Lambda failed.
        """
        invocation = Invocation(function, job, strikes)
        if strike := invocation.strike_anywhere("not invoked"):
            self.fired[strike.row] += 1
            raise Failed(strike.error)
        if strike := next((strike for strike in strikes if strike.kind == GIVEN_UP), None):
            return self._give_up(invocation, event, strike)
        return self._handle(invocation, event)

    def _handle(self, invocation: Invocation, event: Any) -> Any:
        self._now = invocation
        for provider in DEFAULT_PROVIDERS.values():
            provider.clear_cache()  # a fresh process has nothing cached
        self._plan_vendor(invocation.strikes)
        try:
            handler = self.handlers[invocation.function].handler
            answer = handler(json.loads(json.dumps(event)), _Context(invocation.function, invocation))
            lost = invocation.turn is not None or invocation.strike_anywhere("result lost")
            if not lost:
                invocation.unsettled = None
        except _Killed:
            raise Failed(str(invocation.died_of), _said(str(invocation.died_of), "the process ended")) from None
        except Exception as error:  # noqa: BLE001 - as Lambda reports it
            raise Failed(type(error).__name__, _said(type(error).__name__, str(error))) from None
        finally:
            self._close(invocation)
        if isinstance(lost, Strike):
            raise Failed(lost.error)
        return json.loads(json.dumps(answer))

    def _give_up(self, invocation: Invocation, event: Any, strike: Strike) -> Any:
        """Run a handler that stops for a while at a call. Whoever invoked it does not wait, and it goes on later."""
        ended: list[Any] = []

        def body() -> None:
            try:
                ended.append(self._handle(invocation, event))
            except Failed as failed:
                ended.append(failed)

        invocation.turn = Turn(self._clock, body)
        invocation.turn.begin()
        if not ended:
            raise Failed(strike.error)
        (outcome,) = ended
        if isinstance(outcome, Failed):
            raise outcome
        return outcome

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
        if invocation.unannounced:
            self.may_repeat[invocation.unannounced] += 1
        self._now = None
        sys.tracebacklimit = 1000  # the handlers set it to nothing, for the runtime's sake

    def _plan_vendor(self, strikes: list[Strike]) -> None:
        for strike in strikes:
            if strike.kind in KINDS:
                fault = Fault(route=strike.call, kind=strike.kind, times=strike.times, seconds=_HANG_SECONDS)
                self._vendor_faults.add(fault)
                strike.fired += strike.times

    # ---- the ways out of a process

    def _to_aws(self, _stubber: Any, event_name: str, request: Any, **_: Any) -> Any:
        """Every call of botocore, also those of the suite itself, which nothing happens to."""
        _, service, operation = event_name.split(".")
        if (invocation := self._now) is None:
            return aws.carry(service, request, self._states)
        invocation.check_alive()
        if operation == "TransactWriteItems":  # an update of a job as well, and struck as one
            operation = "UpdateItem"
        invocation.made[operation] += 1
        self._linger(invocation, operation)
        if strike := invocation.strike(operation, "killed before"):
            invocation.die(strike)
        if invocation.strike(operation, "throttled"):
            return aws.throttled(service, request)
        if invocation.strike(operation, "error"):
            return aws.failed(service, request)
        answer = aws.carry(service, request, self._states)
        lost = invocation.strike(operation, "answer lost")
        self._keep_books(invocation, operation, request, answer, lost=lost is not None)
        if strike := invocation.strike(operation, "killed after"):
            invocation.die(strike)
        if invocation.strike(operation, "out of time"):
            invocation.out_of_time = True
        if lost:
            raise aws.lost(request)
        return answer

    def _linger(self, invocation: Invocation, call: str) -> None:
        if (strike := invocation.strike(call, GIVEN_UP)) and invocation.turn:
            self._now = None
            invocation.turn.rest(strike.seconds)
            self._now = invocation

    def _keep_books(self, invocation: Invocation, operation: str, request: Any, answer: Any, *, lost: bool) -> None:
        if operation == "Publish":
            notification = aws.published(request)
            if lost or invocation.turn:  # botocore publishes it again, or who took over did
                self.may_repeat[notification] += 1
            invocation.unannounced = notification
        elif operation == "UpdateItem" and answer.status_code == 200:
            if aws.crosses_off(request):
                invocation.unannounced = None
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
            invocation.die(strike)
        if call == "generate":
            self._note_sent(invocation, request.headers["Idempotency-Key"])
        if self._hangs(call):
            timeout = {**request.extensions["timeout"], "read": _IMPATIENT_SECONDS}
            request.extensions = {**request.extensions, "timeout": timeout}
        response = network.handle_request(request)
        if strike := invocation.strike(call, "killed after"):
            response.close()
            invocation.die(strike)
        if call == "generate" and _refuses(response):
            invocation.unsettled = None
        return response

    def _note_sent(self, invocation: Invocation, key: str) -> None:
        self.sent[key] += 1
        self.sent_on[key] = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
        if key in self.unknown:
            self.resent.add(key)
        # Until somebody learns how it ended.
        invocation.unsettled = key

    def _hangs(self, route: str) -> bool:
        return any((fault["route"], fault["kind"]) == (route, "hang") for fault in self._vendor_faults.document())

    def _limits(self, **options: Any) -> Limits:
        # One worker, so that calls have an order; small parts, so that a small film has several.
        idle = _IMPATIENT_SECONDS if self._hangs("output") else 30.0
        return Limits(
            **{
                **options,
                "allow_http": True,
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
        # Nobody sleeps, and no function is slowed down by what happened to another one.
        patch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        patch.setattr(quota.RetryQuota, "acquire", lambda *_: True)
        patch.setattr(copy, "_BACKOFF_SECONDS", 0.0)
        patch.setattr(limits, "MIB", 1)
        patch.setattr(limits, "MIN_PART_BYTES", 1)
        patch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
        # The vendor's files lie on the loopback, which counts as public here; all else that is private stays so.
        port = httpx.URL(vendor.url).port
        patch.setattr(guard, "_PORTS", {"https": 443, "http": port})
        loopback = guard.IPv4Network("127.0.0.0/8")
        patch.setattr(guard, "_SPECIAL_IPV4", tuple(net for net in guard._SPECIAL_IPV4 if net != loopback))
        patch.setattr(shared.vendor, "GenviralClient", functools.partial(GenviralClient, transport=_Wire(self)))
        patch.setattr(runtime.metrics, "flush_metrics", runtime.metrics.clear_metrics)  # nobody reads them here
        shared.vendor.genviral.cache_clear()
        runtime.client.cache_clear()


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

    function_name: str
    invocation: Invocation
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:made-up"
    aws_request_id: str = "8248615f-5a1e-4010-9072-176343532439"

    def get_remaining_time_in_millis(self) -> int:
        return 0 if self.invocation.out_of_time else 300_000


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
