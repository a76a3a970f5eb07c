"""Patch MiniStack so that web pages may read only what the CORS rules of the buckets and the APIs allow.

MiniStack allows every page to read every response of a bucket. Its HTTP APIs already follow their rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app as ministack
from ministack.services import s3

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def by_rules(app: App) -> App:
    """Answer preflights to buckets by their rules, and allow no other response to other origins."""

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        host, path, method = headers.get("host", ""), scope.get("path", ""), scope.get("method", "")
        if scope["type"] != "http" or ministack._parse_execute_api_url(host, path):
            await app(scope, receive, send)
            return
        target = ministack._s3_cors_target(host, path)
        if method == "OPTIONS" and target:
            status, given, body = s3.cors_preflight(*target, headers)
            await send({"type": "http.response.start", "status": status, "headers": _encoded(given)})
            await send({"type": "http.response.body", "body": body})
            return
        rules = _encoded(s3.cors_response_headers(target[0], method, headers) if target else {})

        async def send_by_rules(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    pair for pair in message.get("headers", ()) if not pair[0].lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": [*kept, *rules]}
            await send(message)

        await app(scope, receive, send_by_rules)

    return answer


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
