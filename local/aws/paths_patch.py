"""Patch MiniStack so that an HTTP API serves only the exact paths of its routes.

MiniStack ignores extra slashes in a path, but API Gateway does not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app as ministack

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]

_SERVED_AT = re.compile(r"/_aws/execute-api/[^/]+(/.*)?", re.DOTALL)
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting.html
_NOT_FOUND = b'{"message":"Not Found"}'


def exact(app: App) -> App:
    """Answer 404 to a path of an HTTP API with an extra slash."""

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = _path_of(scope)
        if path is None or not (path.startswith("//") or (path.endswith("/") and path != "/")):
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_NOT_FOUND)).encode())]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else _NOT_FOUND})

    return answer


def _path_of(scope: dict[str, Any]) -> str | None:
    """Return the path within an HTTP API; None for a request to anything else."""
    if scope["type"] != "http":
        return None
    path = str(scope["path"])
    if served := _SERVED_AT.fullmatch(path):
        return served[1] or "/"
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return path if ministack._EXECUTE_API_RE.match(host) else None
