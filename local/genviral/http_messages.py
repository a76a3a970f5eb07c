"""Define requests and replies as plain data, including the ways to break a reply when it is sent.

`server` receives and sends them; `app` and `faults` create replies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """A request. `route` is its name for counts; header names are in lower case."""

    method: str
    route: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    video_id: str | None = None


@dataclass
class Reply:
    """A reply and how to send it.

    Attributes:
        delay: Seconds of silence before the first byte.
        trickle: Seconds over which the body is spread.
        truncated: Send half of the announced body, then close.
        reset: Send nothing and reset the connection.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    trickle: float = 0.0
    truncated: bool = False
    reset: bool = False


def json_reply(status: int, document: Any, headers: dict[str, str] | None = None) -> Reply:
    body = json.dumps(document, ensure_ascii=False).encode()
    return Reply(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})


def html_reply(status: int, title: str) -> Reply:
    page = f"<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status, page.encode(), {"Content-Type": "text/html; charset=utf-8"})
