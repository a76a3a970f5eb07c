"""What goes wrong: drawn for each job from the seed and the job's name alone, so that a job can be replayed alone.

Knows the calls that each function makes and the ways in which they fail. Must not know how a fault is brought about.
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
"""Function → the calls it makes: AWS operations, and the vendor's routes in small letters."""

VENDOR_ROUTES = {"submit": ("generate",), "status": ("status",), "deliver": ("status", "output", "output", "output")}

REFUSALS = ("rate_limited", "unauthorized", "credits_402", "server_error_json")
"""Answers to the paid POST that rule a payment out."""
UNCLEAR = (
    *("reset_after_read", "reset_before_read", "reset_after_read_unpaid", "hang", "truncated", "garbage_2xx"),
    *("not_ok_2xx", "html_200", "server_error_html", "empty_body", "redirect_private"),
)
"""Answers to the paid POST that leave it open."""
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
_NOT_HEARD_FROM = ("Lambda.SdkClientException", "Lambda.ServiceException", "States.Timeout")
"""What Step Functions is told of an invocation that may be running."""
FOREVER = 99
_BOTOCORE_TRIES = 3
GIVEN_UP = "given up, ran on"
SLOW = "slow answer"
SLOW_SECONDS = 100.0
LOST = ("answer lost, read time-out", "answer lost, 5xx")
"""The call has its effect, and all of botocore's tries end like this."""
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
            `result lost`, `given up, ran on` (Lambda itself; the last one's process runs on); `out of time`;
            `answer lost, …` (AWS, for all tries of a call); `slow answer` or another one of the vendor's.
        call: The AWS operation or the vendor's route.
        nth: Which of the invocation's calls of that name, counted from one.
        times: How many calls in a row.
        error: What Step Functions is told, where the invocation dies.
        seconds: How long a function that was given up rests before it runs on, or an answer takes.
    """

    kind: str
    call: str = ""
    nth: int = 1
    times: int = 1
    error: str = ""
    seconds: float = 0.0
    fired: int = 0
    hit: bool = False
    """Whether it has happened."""

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"{self.kind} ({self.call})" if self.call else self.kind


@dataclass
class Weather:
    """All that goes wrong for one job. It is printed when the job fails the suite."""

    rng: random.Random = field(repr=False)
    intensity: float
    stubborn: dict[str, list[dict[str, Any]]]
    """Function → the same strikes at each invocation, as long as the storm lasts."""

    hasty: bool = False
    """Whether each attempt of Submit is given up and runs on, so that several of them are under way at once."""
    pending: list[tuple[str, InjectedFault]] = field(default_factory=list)
    """Function and a strike that waits for the first invocation of it that makes the call."""
    throttled_state: str = ""
    """The state in which every invocation is throttled for five minutes, from the first one on."""
    outage: str = "unreachable"
    """What the job sees of a vendor that is down."""

    @classmethod
    def of(cls, seed: int, job: str) -> Weather:
        rng = random.Random(f"{seed}/{job}")  # noqa: S311 - chance that can be repeated is the point
        intensity = rng.choice((0.0, 0.05, 0.2, 0.4, 0.7, 0.95))
        hasty, stubborn = rng.random() < 0.15, {}
        if rng.random() < 0.25:
            function = rng.choice(("submit", "status", "deliver", "deliver", "notify", "notify"))
            stubborn[function] = [_stubborn(rng, function)]
        throttled = rng.choice(STATES) if rng.random() < 0.2 else ""
        weather = cls(rng, intensity, stubborn, hasty, throttled_state=throttled, outage=rng.choice(OUTAGES))
        if rng.random() < 0.3:
            weather.pending += _lost_answer(rng)
        if rng.random() < 0.1:
            weather.pending.append(("submit", InjectedFault(SLOW, "generate", seconds=SLOW_SECONDS)))
        return weather

    def clear_up(self) -> None:
        """Let nothing go wrong but what all jobs meet."""
        self.intensity, self.stubborn, self.hasty, self.throttled_state = 0.0, {}, False, ""
        self.pending.clear()

    def next(self, function: str, seconds: float = 50.0) -> list[InjectedFault]:
        """What goes wrong during the job's next invocation.

        Args:
            seconds: The function's time-out, in seconds.
        """
        pending = [strike for where, strike in self.pending if where == function and not strike.hit]
        if any(strike.kind == SLOW for strike in pending):
            return [strike for strike in pending if strike.kind == SLOW]
        # One that is given up runs on for moments, or nearly as long as Lambda lets it.
        pauses = (0.5, 1.0, 2.0, 4.0, 20.0, seconds * 0.6, seconds - 5)
        if self.hasty and function == "submit":
            # Before the claim, between the claim and the paid call, or while the vendor has not answered yet.
            return [_given_up(self.rng, ("UpdateItem", "UpdateItem", "generate", "answer"), pauses)]
        if self.rng.random() < self.intensity * 0.1:
            calls = [call for call in CALLS[function] if call not in ("status", "UploadPart")]
            return [_given_up(self.rng, calls, pauses)]
        strikes = pending + [InjectedFault(**strike) for strike in self.stubborn.get(function, ())]
        return strikes + [
            _strike(self.rng, function) for share in (1.0, 0.3) if self.rng.random() < self.intensity * share
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
    return InjectedFault(GIVEN_UP, rng.choice(calls), error=rng.choice(_NOT_HEARD_FROM), seconds=rng.choice(pauses))


def _lost_answer(rng: random.Random) -> list[tuple[str, InjectedFault]]:
    """One lost answer; to whatever takes the job in, if it is a write of that."""
    function = rng.choice(("uploads", "submit", "submit", "status", "deliver", "notify", "notify"))
    call = rng.choice(WRITES[function])
    nth = rng.choice((1, 1, 2)) if call == "UpdateItem" else 1
    strike = InjectedFault(rng.choice(LOST), call, nth=nth, times=_BOTOCORE_TRIES)
    return [(where, strike) for where in (("uploads", "api") if function == "uploads" else (function,))]


def _strike(rng: random.Random, function: str) -> InjectedFault:
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
        kinds = REFUSALS if rng.random() < 0.75 else UNCLEAR
        return InjectedFault(rng.choice(kinds), route)
    return InjectedFault(rng.choice(_OF_ROUTE[route]), route, times=rng.choice((1, 1, 2, 5)))
