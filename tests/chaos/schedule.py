"""Choose the faults of each job from the seed and the job's name alone, so that one job can be replayed.

Knows the calls that each function makes and how they can fail. Must not know how a fault is injected.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLS = {
    "uploads": ("PutItem", "GetItem", "StartExecution"),
    "api": ("PutItem", "GetItem", "StartExecution"),
    "submit": ("GetItem", "HeadObject", "GetObject", "UpdateItem", "GetSecretValue", "generate"),
    "status": ("GetItem", "UpdateItem", "GetSecretValue", "status"),
    "deliver": (
        *("GetItem", "UpdateItem", "ListObjectsV2", "GetSecretValue", "status", "CreateMultipartUpload"),
        *("UploadPart", "UploadPart", "CompleteMultipartUpload", "HeadObject", "PutObject", "DeleteObject"),
    ),
    "notify": ("GetItem", "UpdateItem", "Publish"),
    "sweep": (
        *("GetItem", "Query", "ListExecutions", "DescribeExecution", "StartExecution", "RedriveExecution"),
        *("UpdateItem", "Publish"),
    ),
}
"""Function → the calls it makes: AWS operations, and the vendor's routes in lower case."""

VENDOR_ROUTES = {"submit": ("generate",), "status": ("status",), "deliver": ("status", "output", "output", "output")}

UNPAID_ERRORS = ("rate_limited", "unauthorized", "credits_402", "server_error_json")
"""Answers to the paid POST that rule out a charge."""
UNCERTAIN_ANSWERS = (
    *("reset_after_read", "reset_before_read", "reset_after_read_unpaid", "hang", "truncated", "garbage_2xx"),
    *("not_ok_2xx", "html_200", "server_error_html", "empty_body", "redirect_private"),
)
"""Answers to the paid POST after which a charge is possible."""
_OF_ROUTE = {
    "status": (
        *("rate_limited", "server_error_html", "server_error_json", "empty_body", "reset_before_read"),
        *("reset_after_read", "hang", "garbage_2xx", "not_ok_2xx", "html_200", "not_found", "unknown_status"),
        *("succeeded_without_url", "expired_link", "truncated", "redirect_private", "unauthorized"),
    ),
    "output": (
        *("truncated", "truncated", "expired_link", "redirect", "redirect_private", "no_ranges", "html_200", "hang"),
        *("server_error_html", "empty_body", "reset_before_read", "reset_after_read", "not_found", "rate_limited"),
    ),
}
_DEATHS = ("Runtime.ExitError", "Sandbox.Timedout", "States.Timeout")
_PLATFORM = (
    *("Lambda.ServiceException", "Lambda.TooManyRequestsException", "Lambda.SdkClientException", "Lambda.Unknown"),
    *("Lambda.AWSLambdaException", "Lambda.ClientExecutionTimeoutException", "States.Timeout"),
)
_CALLER_ERRORS = ("Lambda.SdkClientException", "Lambda.ServiceException", "States.Timeout")
"""Errors that Step Functions gets while the invocation may still be running."""
FOREVER = 99
_BOTOCORE_TRIES = 3
GIVEN_UP = "given up, ran on"
SLOW = "slow answer"
SLOW_SECONDS = 100.0
LOST = ("answer lost, read time-out", "answer lost, 5xx")
"""The call takes effect, and all tries of botocore end like this."""
WRITES = {
    "uploads": ("PutItem", "StartExecution"),
    "submit": ("PutItem", "UpdateItem", "TransactWriteItems"),
    "status": ("UpdateItem",),
    "deliver": ("UpdateItem", "CompleteMultipartUpload", "PutObject"),
    "notify": ("UpdateItem", "Publish"),
}
"""Function → the writes that it makes. `api` makes those of `uploads`."""
STATES = ("Submit", "Poll", "Deliver", "NotifySucceeded", "NotifyFailed", "Hold")
OUTAGES = ("unreachable", "bad gateway", "rate limited")


@dataclass
class InjectedFault:
    """One fault of one invocation.

    Attributes:
        kind: `throttled`, `error`, `answer lost` (AWS); `killed before`, `killed after`; `not invoked`,
            `result lost`, `given up, ran on` (Lambda itself; the last one leaves the process running); `out of time`;
            `answer lost, …` (AWS, for all tries of a call); `slow answer` or another fault of the vendor.
        call: The AWS operation or the vendor's route.
        nth: The first of the invocation's calls of that name to fail, from 1.
        times: How many calls in a row fail.
        error: The error that Step Functions gets, where the invocation dies.
        seconds: How long an abandoned function rests before it continues, or how long an answer takes.
    """

    kind: str
    call: str = ""
    nth: int = 1
    times: int = 1
    error: str = ""
    seconds: float = 0.0
    fired: int = 0
    hit: bool = False
    """Whether it was injected."""

    @property
    def row(self) -> str:
        """Return its row in the table."""
        return f"{self.kind} ({self.call})" if self.call else self.kind


@dataclass
class FaultSchedule:
    """All faults of one job. Printed when the job breaks an invariant."""

    rng: random.Random = field(repr=False)
    intensity: float
    stubborn: dict[str, list[dict[str, Any]]]
    """Function → the same faults at each invocation, as long as faults are injected."""

    hasty: bool = False
    """Whether every attempt of Submit is abandoned and keeps running, so that attempts overlap."""
    pending: list[tuple[str, InjectedFault]] = field(default_factory=list)
    """Function, and a fault for its first invocation that makes the call."""
    throttled_state: str = ""
    """The state whose invocations are throttled for five minutes, from the first one on."""
    outage: str = "unreachable"
    """How the outage of the vendor appears to the job."""

    @classmethod
    def of(cls, seed: int, job: str) -> FaultSchedule:
        rng = random.Random(f"{seed}/{job}")  # noqa: S311 - must be repeatable
        intensity = rng.choice((0.0, 0.05, 0.2, 0.4, 0.7, 0.95))
        hasty, stubborn = rng.random() < 0.15, {}
        if rng.random() < 0.25:
            function = rng.choice(("submit", "status", "deliver", "deliver", "notify", "notify"))
            stubborn[function] = [_stubborn(rng, function)]
        throttled = rng.choice(STATES) if rng.random() < 0.2 else ""
        schedule = cls(rng, intensity, stubborn, hasty, throttled_state=throttled, outage=rng.choice(OUTAGES))
        if rng.random() < 0.3:
            schedule.pending += _lost_answer(rng)
        if rng.random() < 0.1:
            schedule.pending.append(("submit", InjectedFault(SLOW, "generate", seconds=SLOW_SECONDS)))
        return schedule

    def clear(self) -> None:
        """Remove the faults of this job alone."""
        self.intensity, self.stubborn, self.hasty, self.throttled_state = 0.0, {}, False, ""
        self.pending.clear()

    def next(self, function: str, seconds: float = 50.0) -> list[InjectedFault]:
        """Return the faults of the job's next invocation.

        Args:
            seconds: The function's time-out, in seconds.
        """
        pending = [fault for where, fault in self.pending if where == function and not fault.hit]
        if any(fault.kind == SLOW for fault in pending):
            return [fault for fault in pending if fault.kind == SLOW]
        # An abandoned invocation keeps running for moments, or nearly until its time-out.
        pauses = (0.5, 1.0, 2.0, 4.0, 20.0, seconds * 0.6, seconds - 5)
        if self.hasty and function == "submit":
            # Before the claim, between the claim and the paid call, or before the vendor answers.
            return [_given_up(self.rng, ("UpdateItem", "UpdateItem", "generate", "answer"), pauses)]
        if self.rng.random() < self.intensity * 0.1:
            calls = [call for call in CALLS[function] if call not in ("status", "UploadPart")]
            return [_given_up(self.rng, calls, pauses)]
        faults = pending + [InjectedFault(**fault) for fault in self.stubborn.get(function, ())]
        return faults + [
            _fault(self.rng, function) for share in (1.0, 0.3) if self.rng.random() < self.intensity * share
        ]


def _stubborn(rng: random.Random, function: str) -> dict[str, Any]:
    kind, call = {
        "submit": rng.choice((("rate_limited", "generate"), ("error", "UpdateItem"), ("error", "GetSecretValue"))),
        "status": rng.choice((("server_error_html", "status"), ("unknown_status", "status"), ("error", "GetItem"))),
        "deliver": rng.choice((("truncated", "output"), ("error", "UploadPart"), ("html_200", "output"))),
        "notify": rng.choice((("error", "Publish"), ("throttled", "UpdateItem"), ("killed after", "UpdateItem"))),
    }[function]
    return {"kind": kind, "call": call, "times": FOREVER, "error": "Runtime.ExitError"}


def _given_up(rng: random.Random, calls: Sequence[str], pauses: Sequence[float]) -> InjectedFault:
    return InjectedFault(GIVEN_UP, rng.choice(calls), error=rng.choice(_CALLER_ERRORS), seconds=rng.choice(pauses))


def _lost_answer(rng: random.Random) -> list[tuple[str, InjectedFault]]:
    """Return one lost answer. A fault of `uploads` also applies to `api`, which makes the same writes."""
    function = rng.choice(("uploads", "submit", "submit", "status", "deliver", "notify", "notify"))
    call = rng.choice(WRITES[function])
    nth = rng.choice((1, 1, 2)) if call == "UpdateItem" else 1
    fault = InjectedFault(rng.choice(LOST), call, nth=nth, times=_BOTOCORE_TRIES)
    return [(where, fault) for where in (("uploads", "api") if function == "uploads" else (function,))]


def _fault(rng: random.Random, function: str) -> InjectedFault:
    group = rng.choices(("aws", "killed", "lambda", "vendor", "short"), (35, 25, 10, 35, 6))[0]
    if group == "vendor" and function in VENDOR_ROUTES:
        return _of_vendor(rng, rng.choice(VENDOR_ROUTES[function]))
    if group == "short" and function == "deliver":
        return InjectedFault("out of time", "UploadPart", nth=rng.randint(1, 4))
    if group == "lambda":
        return InjectedFault(rng.choice(("not invoked", "result lost")), error=rng.choice(_PLATFORM))
    call, nth = rng.choice(CALLS[function]), rng.choice((1, 1, 2))
    if group == "killed" or call[0].islower():
        return InjectedFault(rng.choice(("killed before", "killed after")), call, nth, error=rng.choice(_DEATHS))
    return InjectedFault(
        rng.choice(("throttled", "error", "answer lost")), call, nth, times=rng.choice((1, 1, 2, FOREVER))
    )


def _of_vendor(rng: random.Random, route: str) -> InjectedFault:
    if route == "generate":
        kinds = UNPAID_ERRORS if rng.random() < 0.75 else UNCERTAIN_ANSWERS
        return InjectedFault(rng.choice(kinds), route)
    return InjectedFault(rng.choice(_OF_ROUTE[route]), route, times=rng.choice((1, 1, 2, 5)))
