"""Let in only the person who started the console: a token, a cookie, and no web page but its own.

The console listens on the loopback, which every page in a browser and every program on the machine can reach. A browser
tells in headers that no page can change who sends a request; `Host` reveals a page whose own name resolves to
127.0.0.1. The token is in the address that was printed, and becomes a cookie that scripts cannot read.

The rules: https://www.w3.org/TR/fetch-metadata/, https://www.rfc-editor.org/rfc/rfc6454#section-7,
https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-5.6.7.1 (SameSite)
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_HEADER = "x-console"
"""A header that only a page of the console's own can send: another origin would have to ask first, and is refused."""
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What each answer says, unless it says something else itself."""
_FOREIGN = "Refused: this console serves its own page on this machine, and no other."
_CLOSED = "This console is closed to you. Open the address that was printed when it was started: it holds the token."


@dataclass(frozen=True)
class Access:
    """Who may use the console.

    Args:
        port: The port that it listens on.

    Attributes:
        token: What the printed address holds.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _session: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The cookie's name. A browser sends cookies to all ports of a host, so each console has its own."""
        return f"genviral-console-{self.port}"

    def answer(self, request: Request) -> Response | None:
        """Return what a request gets instead of what it asks for; None where it is let in."""
        if not self._is_own(request):
            return _error(request, 403, "refused", _FOREIGN)
        if request.url.path == "/" and "token" in request.query_params:
            return self._signed_in(request)
        if not _same(request.cookies.get(self.cookie, ""), self._session):
            return _error(request, 401, "closed", _CLOSED)
        return None

    def _signed_in(self, request: Request) -> Response:
        if request.method not in _SAFE or not _same(request.query_params["token"], self.token):
            return _error(request, 401, "closed", _CLOSED)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer

    def _is_own(self, request: Request) -> bool:
        """Whether a request comes from the console's own page, or from a person who typed its address."""
        hosts, headers = request.headers.getlist("host"), request.headers
        if len(hosts) != 1 or hosts[0] not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            return False
        origins = request.headers.getlist("origin")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return False
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        return request.method in _SAFE or (bool(origins) and headers.get(OWN_HEADER) == "1")


class Guard:
    """Ask `Access` about every request, and add to every answer what a browser must know."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-cache"  # kept, and asked for again each time
            await send(message)

        instead = self._access.answer(Request(scope))
        if instead is not None:
            await _discard(receive)
        await (instead or self._app)(scope, receive, with_headers)


async def _discard(receive: Receive) -> None:
    """Read what a refused request sends: whoever is still sending may lose the answer, and the connection."""
    while (await receive()).get("more_body"):
        pass


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode(), known.encode())


def _error(request: Request, status: int, kind: str, text: str) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": {"kind": kind, "message": text}}, status)
    return PlainTextResponse(f"{text}\n", status)
