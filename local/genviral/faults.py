"""Inject faults. A fault either replaces the application or changes its reply."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.genviral import errors
from local.genviral.http_messages import Reply, Request, html_reply, json_reply

ALL = ("generate", "status", "output", "models")
_API = ("generate", "status", "models")

Answer = Callable[[Request], Reply]
"""The application, which handles the request with all its effects."""


class Fault(BaseModel):
    """One planned fault.

    Attributes:
        times: Number of matching requests that it still affects.
        video_id: The only video whose requests it affects.
        retry_after: `Retry-After` of `rate_limited`, seconds or an HTTP date.
        seconds: Duration of `hang` and `slow`.
    """

    model_config = ConfigDict(extra="forbid")

    route: str
    kind: str
    times: int = Field(1, ge=1)
    video_id: str | None = None
    retry_after: str | float | None = None
    seconds: float = Field(5.0, ge=0, le=300)

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if self.route not in ALL:
            raise ValueError(f"unknown route; use one of: {', '.join(ALL)}")
        usable = [name for name, kind in KINDS.items() if self.route in kind.routes]
        if self.kind not in usable:
            raise ValueError(f"unknown kind for {self.route}; use one of: {', '.join(usable)}")
        return self

    def spoil(self, request: Request, answer: Answer) -> Reply:
        """Return the reply with this fault."""
        return KINDS[self.kind].spoil(self, request, answer)


@dataclass(frozen=True)
class Kind:
    routes: tuple[str, ...]
    spoil: Callable[[Fault, Request, Answer], Reply]


def _refuse(refusal: errors.Refusal, headers: dict[str, str] | None = None) -> Reply:
    return json_reply(refusal.status, refusal.envelope(), headers)


def _rate_limited(fault: Fault, _request: Request, _answer: Answer) -> Reply:
    wait = fault.retry_after
    return _refuse(
        errors.rate_limited(), {"Retry-After": f"{wait:g}" if isinstance(wait, float) else wait} if wait else None
    )


def _reset_after_read(_fault: Fault, request: Request, answer: Answer) -> Reply:
    answer(request)
    return Reply(0, reset=True)


def _reset_unpaid(_fault: Fault, _request: Request, _answer: Answer) -> Reply:
    return Reply(0, reset=True)


def _hang(fault: Fault, request: Request, answer: Answer) -> Reply:
    return replace(answer(request), delay=fault.seconds)


def _slow(fault: Fault, request: Request, answer: Answer) -> Reply:
    return replace(answer(request), trickle=fault.seconds)


def _truncated(_fault: Fault, request: Request, answer: Answer) -> Reply:
    return replace(answer(request), truncated=True)


def _garbage(_fault: Fault, request: Request, answer: Answer) -> Reply:
    answer(request)
    return Reply(200, b'{"ok": true, "code": 202, "da', {"Content-Type": "application/json"})


def _not_ok(_fault: Fault, _request: Request, _answer: Answer) -> Reply:
    return json_reply(200, {"ok": False, "code": 200, "message": "Something went wrong"})


def _not_found(_fault: Fault, request: Request, _answer: Answer) -> Reply:
    if request.route == "output":
        return html_reply(404, "Not Found")
    return _refuse(errors.video_not_found() if request.route == "status" else errors.route_not_found())


def _with_data(reply: Reply, **changes: Any) -> Reply:
    document = json.loads(reply.body)
    document.get("data", {}).update(changes)
    return json_reply(reply.status, document)


def _unknown_status(_fault: Fault, request: Request, answer: Answer) -> Reply:
    return _with_data(answer(request), status="queued_somewhere", output_url=None)


def _without_url(_fault: Fault, request: Request, answer: Answer) -> Reply:
    return _with_data(answer(request), status="succeeded", output_url=None)


def _expired_link(_fault: Fault, request: Request, answer: Answer) -> Reply:
    if request.route == "output":
        return html_reply(403, "Request has expired")
    reply = answer(request)
    return replace(reply, body=re.sub(rb"([?&]expires=)\d+", rb"\g<1>1", reply.body))


def _redirect(_fault: Fault, request: Request, _answer: Answer) -> Reply:
    return Reply(302, headers={"Location": f"{request.path}?{urlencode(request.query)}"})


def _no_ranges(_fault: Fault, request: Request, answer: Answer) -> Reply:
    whole = {name: value for name, value in request.headers.items() if name not in ("range", "if-range")}
    reply = answer(replace(request, headers=whole))
    reply.headers.pop("Accept-Ranges", None)
    return reply


def _instead(make: Callable[[], Reply]) -> Callable[[Fault, Request, Answer], Reply]:
    """Return a fault that replies without calling the application."""
    return lambda _fault, _request, _answer: make()


KINDS: dict[str, Kind] = {
    "rate_limited": Kind(ALL, _rate_limited),
    "server_error_html": Kind(ALL, _instead(lambda: html_reply(502, "Bad Gateway"))),
    "server_error_json": Kind(_API, _instead(lambda: _refuse(errors.generation_failed()))),
    "credits_402": Kind(("generate",), _instead(lambda: _refuse(errors.insufficient_credits(402)))),
    "empty_body": Kind(ALL, _instead(lambda: Reply(502))),
    "reset_before_read": Kind(ALL, _reset_unpaid),
    "reset_after_read": Kind(ALL, _reset_after_read),
    "reset_after_read_unpaid": Kind(ALL, _reset_unpaid),
    "hang": Kind(ALL, _hang),
    "garbage_2xx": Kind(_API, _garbage),
    "not_ok_2xx": Kind(_API, _not_ok),
    "html_200": Kind(ALL, _instead(lambda: html_reply(200, "Just a moment"))),
    "unauthorized": Kind(ALL, _instead(lambda: _refuse(errors.key_unknown()))),
    "not_found": Kind(ALL, _not_found),
    "unknown_status": Kind(("status",), _unknown_status),
    "succeeded_without_url": Kind(("status",), _without_url),
    "expired_link": Kind(("status", "output"), _expired_link),
    "truncated": Kind(ALL, _truncated),
    "redirect_private": Kind(ALL, _instead(lambda: Reply(302, headers={"Location": "http://169.254.169.254/"}))),
    "redirect": Kind(("status", "output", "models"), _redirect),
    "no_ranges": Kind(("output",), _no_ranges),
    "slow": Kind(ALL, _slow),
}


class FaultPlan:
    """Planned faults in the order they were added. The first that matches a request is used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def take(self, route: str, video_id: str | None) -> Fault | None:
        """Use and return the planned fault for this request, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.route == route and fault.video_id in (None, video_id):
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                    return fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def document(self) -> list[dict[str, Any]]:
        with self._lock:
            return [fault.model_dump() for fault in self._faults]
