"""Serve the console: which address answers with what, and how an error is told. Must not know jobs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ops.console import job, making, media, session
from ops.console.access import Access, Guard
from ops.console.calls import BadCall, Call
from ops.console.events import AWS_SECONDS, LAPTOP_SECONDS, Watch, jobs_of
from ops.console.jobs import JobList
from ops.exits import Exit, Refused
from ops.stack import ERRORS, explained

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from ops.stack import Stack

    View = Callable[[Call], Any]

STATIC = Path(__file__).resolve().parent / "static"
_CHUNK = 256 * 1024
_MOST_BYTES = 1_000_000
_STATUS = {Exit.USAGE: 400, Exit.REFUSED: 409, Exit.NOT_FOUND: 404, Exit.UNANSWERED: 502}


@dataclass(frozen=True)
class Console:
    """What the console's pages are answered with.

    Args:
        version: This project's version.
    """

    stack: Stack
    version: str
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        rest = LAPTOP_SECONDS if session.is_laptop() else AWS_SECONDS
        object.__setattr__(self, "watch", Watch([partial(jobs_of, self.stack.store)], rest))

    def app(self, access: Access) -> ASGIApp:
        """Return the server's application."""
        stack = self.stack
        jobs = JobList(stack)
        most = int(stack.parameter("MaxUploadMegabytes")) * 1_000_000
        routes = [
            Route("/", _page),
            Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
            _get("/api/session", lambda _: session.document(stack, self.version)),
            _get("/api/jobs", jobs.page),
            _get("/api/jobs/{job_id}", partial(job.shown, stack)),
            _post("/api/uploads", partial(making.upload, stack), most=most),
            _post("/api/requests", partial(making.request, stack)),
            Route("/api/events", self._events),
            Route("/media/{job_id}", partial(_media, partial(media.video, stack))),
            Route("/media/{job_id}/upload", partial(_media, partial(media.upload, stack))),
        ]
        return Guard(Starlette(routes=routes), access)

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self.watch.stream(), media_type="text/event-stream")


def run(console: Console, app: ASGIApp, listening: socket.socket) -> None:
    """Serve a console's application until the process is told to end."""
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.include_server_header = False
    config.accesslog = None
    config.loglevel = "WARNING"
    config.graceful_timeout = 1
    asyncio.run(_serve(console, app, config))


async def _serve(console: Console, app: Any, config: Config) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)

    async def end() -> None:
        await ended.wait()
        console.watch.close()

    await serve(app, config, shutdown_trigger=end)


async def _page(_: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


def _get(address: str, view: View) -> Route:
    return Route(address, partial(_answer, view, _MOST_BYTES), methods=["GET"])


def _post(address: str, view: View, *, method: str = "POST", most: int = _MOST_BYTES) -> Route:
    return Route(address, partial(_answer, view, most), methods=[method])


async def _answer(view: View, most: int, request: Request) -> Response:
    """Answer a request with a document, or with why there is none."""
    try:
        body = await _body(request, most)
        call = Call(request.path_params, dict(request.query_params), body)
        return JSONResponse(await run_in_threadpool(view, call))
    except (Refused, *ERRORS) as error:
        return _refusal(error)


async def _body(request: Request, most: int) -> bytes:
    """Read what was sent, but not more than is of use."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise BadCall(f"That is more than {most / 1_000_000:g} MB, which is the most here. Nothing was done.")
    return bytes(body)


def _refusal(error: Exception) -> Response:
    """Say why there is no answer, in words for people. What AWS said itself is left out."""
    if not isinstance(error, Refused):
        return _error(502, Exit.UNANSWERED.name.lower(), explained(error))
    more = {"issues": error.issues} if isinstance(error, BadCall) and error.issues else {}
    return _error(_STATUS.get(error.exit_code, 409), error.exit_code.name.lower(), str(error), **more)


def _error(status: int, kind: str, text: str, **more: Any) -> Response:
    return JSONResponse({"error": {"kind": kind, "message": text, **more}}, status)


async def _media(opened: Callable[[str, str], media.Media], request: Request) -> Response:
    try:
        found = await run_in_threadpool(opened, request.path_params["job_id"], request.headers.get("range", ""))
    except (Refused, *ERRORS) as error:
        return _refusal(error)
    if found.body is None:
        return Response(status_code=found.status, headers=found.headers)
    if request.method == "HEAD":
        found.body.close()
        return Response(headers=found.headers)
    return StreamingResponse(_chunks(found.body), found.status, found.headers)


async def _chunks(body: Any) -> AsyncIterator[bytes]:
    """Yield a file in parts. A browser often goes away before the end: what it plays from is closed then."""
    try:
        while part := await run_in_threadpool(body.read, _CHUNK):
            yield part
    finally:
        with contextlib.suppress(OSError):
            body.close()
