"""Patch MiniStack so that it answers programs on this machine, and only those web pages that `AllowedOrigins` names.

MiniStack does not distinguish users, so every client may do everything, including a page in the developer's browser.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import parse_qs

from ministack import app as ministack

from local.web_guard import REFUSED, Sender

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

# Gives a document from a bucket an opaque origin, so that it has no more rights than any other page.
_SANDBOX = (b"content-security-policy", b"sandbox")


def guarded(app: App, allowed_origins: Collection[str]) -> App:
    """Refuse requests of web pages before reading their bodies.

    Args:
        app: The app for all other requests.
        allowed_origins: The origins whose pages may call HTTP APIs, and buckets by their CORS rules.
    """

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
        elif _let_in(scope, allowed_origins):
            await app(scope, receive, _sandboxing(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(REFUSED)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": [*headers, (b"connection", b"close")]})
            await send({"type": "http.response.body", "body": REFUSED.encode()})

    return answer


def _let_in(scope: dict[str, Any], allowed_origins: Collection[str]) -> bool:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    sender = Sender(headers)
    if not sender.at_home:
        return False
    return not sender.is_page or (sender.is_page_of(allowed_origins) and _is_public(scope, dict(headers)))


def _is_public(scope: dict[str, Any], headers: dict[str, str]) -> bool:
    """Whether AWS serves this to pages: an HTTP API, a bucket with CORS rules, or an object by a presigned URL."""
    host, path = headers.get("host", ""), scope["path"]
    if ministack._parse_execute_api_url(host, path):
        return True
    if any(name.lower() in ("authorization", "x-amz-target") for name in headers):
        return False  # a call of another service
    if ministack._s3_cors_target(host, path) is None:
        return False
    query = parse_qs(scope["query_string"].decode("latin-1"))
    form = scope.get("method") in ("POST", "OPTIONS") and not query
    return form or (scope.get("method") in ("GET", "HEAD") and "X-Amz-Signature" in query)


def _sandboxing(send: Any) -> Any:
    async def send_sandboxed(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _SANDBOX]}
        await send(message)

    return send_sandboxed
