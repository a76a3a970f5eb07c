"""Serve the console: which address answers with what, and how an error is reported. Must not know jobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ops.console import deciding, job, lookup, making, media, overview, session
from ops.console.access import Access, Guard
from ops.console.batches import BatchViews
from ops.console.calls import BadCall, Call, Unconfirmed
from ops.console.events import (
    AWS_SECONDS,
    LAPTOP_SECONDS,
    OVERVIEW_ON_AWS,
    OVERVIEW_ON_LAPTOP,
    News,
    Page,
    Watch,
)
from ops.console.jobs import JobList
from ops.console.laptop import Inbox, Laptop
from ops.console.models import Models
from ops.console.overview import Overview
from ops.console.recipes import RecipeViews
from ops.exits import Exit, Refused
from ops.stack import ERRORS, explained
from shared.requests.batches import MAX_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ops.stack import Stack

    View = Callable[[Call], Any]

STATIC = Path(__file__).resolve().parent / "static"
_CHUNK = 256 * 1024
_MOST_BYTES = 1_000_000
_BROKEN = "The console itself failed at this. Look at the jobs before you repeat anything that costs."
_STATUS = {Exit.USAGE: 400, Exit.REFUSED: 409, Exit.NOT_FOUND: 404, Exit.UNANSWERED: 502}


class Console:
    """What the console's pages are answered with.

    Args:
        version: This project's version.
    """

    def __init__(self, stack: Stack, version: str) -> None:
        self._stack = stack
        self._version = version
        on_laptop = session.is_laptop()
        self._inbox = Inbox(stack) if on_laptop else None
        self._overview = Overview(stack)
        every = OVERVIEW_ON_LAPTOP if on_laptop else OVERVIEW_ON_AWS
        news = partial(News, stack.store, self._overview, self._inbox, every)
        self._watch = Watch(news, LAPTOP_SECONDS if on_laptop else AWS_SECONDS)

    def app(self, access: Access) -> ASGIApp:
        """Return the server's application."""
        stack, models = self._stack, Models(self._stack)
        jobs, batches, recipes = JobList(stack), BatchViews(stack), RecipeViews(stack, models)
        laptop = Laptop(stack, self._inbox)
        most = int(stack.parameter("MaxUploadMegabytes")) * 1_000_000
        routes = [
            Route("/", _page),
            Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
            _get("/api/session", lambda _: session.document(stack, self._version)),
            _get("/api/overview", self._overview.document),
            _post("/api/doctor", partial(overview.examined, stack)),
            _get("/api/jobs", jobs.page),
            _get("/api/find", partial(lookup.find, stack)),
            _get("/api/jobs/{job_id}", partial(job.shown, stack, self._inbox)),
            _post("/api/jobs/{job_id}/{command}", partial(deciding.act, stack)),
            _get("/api/models", models.listed),
            _post("/api/uploads", partial(making.upload, stack), most=most),
            _post("/api/requests", partial(making.request, stack)),
            _post("/api/batches", batches.upload, most=MAX_BYTES),
            _get("/api/batches", batches.shown),
            _get("/api/recipes", recipes.listed),
            _get("/api/recipes/{name}", recipes.shown),
            _post("/api/recipes/{name}", recipes.save, method="PUT"),
            _post("/api/recipes/{name}/check", recipes.check),
            _post("/api/intake", partial(deciding.intake, stack)),
            Route("/api/events", self._events),
            Route("/media/{job_id}", partial(_media, partial(media.video, stack))),
            Route("/media/{job_id}/upload", partial(_media, partial(media.upload, stack))),
            _get("/api/laptop", laptop.shown),
            _post("/api/laptop/{switch}", laptop.turn),
        ]
        return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _unknown}), access)

    def end(self) -> None:
        """Let every page go."""
        self._watch.close()

    def close(self) -> None:
        """Leave nothing behind."""
        if self._inbox is not None:
            self._inbox.close()

    async def _events(self, _: Request) -> Response:
        return _Stream(self._watch, await self._watch.join())


class _Stream(StreamingResponse):
    """The events for one page, which leaves however its stream ends."""

    def __init__(self, watch: Watch, page: Page) -> None:
        super().__init__(watch.stream(page), media_type="text/event-stream")
        self._leave = partial(watch.leave, page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def run(console: Console, app: ASGIApp, listening: socket.socket, *, with_parent: bool = False) -> None:
    """Serve a console's application until the process gets a signal to end.

    Args:
        listening: The socket, which is closed at the end.
        with_parent: Whether to end also when the standard input closes, as it does when whoever started it is gone.
    """
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.include_server_header = False
    config.accesslog = None
    config.loglevel = "WARNING"
    config.graceful_timeout = 1
    try:
        asyncio.run(_serve(console, app, config, with_parent=with_parent))
    finally:
        console.close()


async def _serve(console: Console, app: Any, config: Config, *, with_parent: bool) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if with_parent:
        threading.Thread(target=_await_end_of_input, args=(loop, ended), daemon=True).start()

    async def end() -> None:
        await ended.wait()
        console.end()

    await serve(app, config, shutdown_trigger=end)


def _await_end_of_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    with contextlib.suppress(RuntimeError):  # it has ended already
        loop.call_soon_threadsafe(ended.set)


class _Json(JSONResponse):
    """A document in ASCII, because a text from outside may hold half of a character, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


async def _page(_: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


async def _unknown(_: Request, error: Exception) -> Response:
    """Say that there is no such address, or not with this method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    return _error(status, Exit.NOT_FOUND.name.lower(), "There is nothing at this address. Reload the page.")


def _get(address: str, view: View) -> Route:
    return Route(address, partial(_answer, view, _MOST_BYTES), methods=["GET"])


def _post(address: str, view: View, *, method: str = "POST", most: int = _MOST_BYTES) -> Route:
    return Route(address, partial(_answer, view, most), methods=[method])


async def _answer(view: View, most: int, request: Request) -> Response:
    """Answer a request with a document, or with why there is none."""
    try:
        body = await _body(request, most)
        call = Call(request.path_params, dict(request.query_params), body)
        return _Json(await run_in_threadpool(view, call))
    except (Refused, *ERRORS) as error:
        return _refusal(error)
    except Exception:  # noqa: BLE001 -- a traceback on the terminal could hold a prompt or a link
        return _error(500, "failed", _BROKEN)


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
    kind = "unconfirmed" if isinstance(error, Unconfirmed) else error.exit_code.name.lower()
    return _error(_STATUS.get(error.exit_code, 409), kind, str(error), **more)


def _error(status: int, kind: str, text: str, **more: Any) -> Response:
    return _Json({"error": {"kind": kind, "message": text, **more}}, status)


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
