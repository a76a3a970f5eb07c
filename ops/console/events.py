"""Find what changes in a stack, and send it to every open page: one reader for all of them, and none without a page.

A status's part of the table's index is in the order of its last change. So what is new is its end, and a look at it
costs the least that a query can where nothing changed. The reads are the same for one page and for ten.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from ops.console.jobs import row
from ops.stack import ERRORS
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ops.console.laptop import Inbox
    from ops.console.overview import Overview
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

LAPTOP_SECONDS, AWS_SECONDS = 0.5, 5.0
"""How long the reader rests between two looks."""
OVERVIEW_ON_LAPTOP, OVERVIEW_ON_AWS = (2.0, 10.0), (60.0, 300.0)
"""Seconds between two overviews: at least, and at most where nothing changed that the reader sees."""
_PING_SECONDS = 15
_LATE_SECONDS = 30
"""The index follows the table within moments, and the clocks of functions differ by less than this."""
_MOST_WAITING = 1000
"""Events that a page may be behind. One that reads so slowly is closed, and reads all anew when it returns."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is sent to pages."""

    kind: str
    data: Any = field(repr=False)

    def text(self) -> bytes:
        """Return it as https://html.spec.whatwg.org/multipage/server-sent-events.html says; JSON has no line feeds."""
        return f"event: {self.kind}\ndata: {json.dumps(self.data, separators=(',', ':'))}\n\n".encode()


class Changes:
    """The jobs that changed since the last look."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(len(Status))
        self._seen: dict[str, tuple[Status, int]] = {}
        newest = (job.changed_at or 0 for status in Status for job in store.page(status, limit=1)[0])
        self._newest = max(newest, default=0)
        self._since = self._newest
        self._quiet_from = time.monotonic() + _LATE_SECONDS
        self.look()

    def look(self) -> list[Job]:
        """Return the jobs that changed, as they are now, those that changed first at the beginning."""
        parts = self._pool.map(lambda status: self._store.changed_since(status, self._since), Status)
        found = {job.job_id: job for job in sorted((job for part in parts for job in part), key=_moment)}
        changed = [job for job in found.values() if self._seen.get(job.job_id) != (job.status, _moment(job))]
        current = self._store.in_full(changed) if changed else []
        # Only now: where AWS does not answer, the next look must find the same.
        self._seen = {job_id: (job.status, _moment(job)) for job_id, job in found.items()}
        self._move_on(max(map(_moment, changed), default=0))
        return current

    def _move_on(self, newest: int) -> None:
        """Begin the next look early enough for changes that arrive late, and later once none can any more."""
        now = time.monotonic()
        if newest:
            self._newest = max(self._newest, newest)
            self._quiet_from = now + _LATE_SECONDS
        self._since = self._newest - (_LATE_SECONDS if now < self._quiet_from else 0)


def _moment(job: Job) -> int:
    return job.changed_at or 0


class News:
    """What is sent to pages: changed jobs, new notifications, and the overview after a change or once in a while.

    Args:
        inbox: The notifications, on a laptop.
        every: Seconds between two overviews: at least, and at most.
    """

    def __init__(self, store: JobStore, overview: Overview, inbox: Inbox | None, every: tuple[float, float]) -> None:
        self._changes = Changes(store)
        self._overview = overview
        self._inbox = inbox
        self._least, self._most = every
        self._sent: dict[str, Any] = {}
        self._sent_at = 0.0
        self._is_due = True

    @property
    def steps(self) -> tuple[Callable[[], list[Event]], ...]:
        """What to do at each look, in this order. Each returns what is new, so that no step waits for the next one."""
        return self._changed_jobs, self._notifications, self._changed_overview

    def _changed_jobs(self) -> list[Event]:
        found = [Event("job", row(job)) for job in self._changes.look()]
        self._is_due = self._is_due or bool(found)
        return found

    def _notifications(self) -> list[Event]:
        return [Event("notification", one) for one in (self._inbox.news() if self._inbox else ())]

    def _changed_overview(self) -> list[Event]:
        passed = time.monotonic() - self._sent_at
        if passed < (self._least if self._is_due else self._most):
            return []
        now = self._overview.document()
        self._sent_at, self._is_due = time.monotonic(), False
        before, self._sent = self._sent, now
        return [] if now == before else [Event("overview", now)]


Page = asyncio.Queue[Event | None]
"""Events to be sent to a page. None: its stream ends."""


@dataclass(slots=True)
class Watch:
    """Send pages what changes, as long as there is one.

    Args:
        source: Begins to look, and returns what says at each call what is new. Both may take their time.
        rest: Seconds between two looks, at least.
    """

    source: Callable[[], News]
    rest: float
    _pages: set[Page] = field(default_factory=set, init=False)
    _reader: asyncio.Task[None] | None = field(default=None, init=False)
    _begun: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def join(self) -> Page:
        """Return a page that gets each change from now on, so that it misses none after what it reads itself."""
        page: Page = asyncio.Queue(_MOST_WAITING)
        self._pages.add(page)
        if self._reader is None or self._reader.done():
            self._begun.clear()
            self._reader = asyncio.create_task(self._read())
        try:
            await self._begun.wait()
        except asyncio.CancelledError:
            self.leave(page)
            raise
        return page

    async def stream(self, page: Page) -> AsyncGenerator[bytes, None]:
        """Yield the events for a page, until its stream is closed."""
        yield b": open\n\n"
        while True:
            try:
                event = await asyncio.wait_for(page.get(), _PING_SECONDS)
            except TimeoutError:
                event = Event("ping", {})
            if event is None:
                return
            yield event.text()

    def leave(self, page: Page) -> None:
        """Tell a page nothing more."""
        self._pages.discard(page)

    def close(self) -> None:
        """Close every page's stream."""
        for page in list(self._pages):
            self._end(page)

    async def _read(self) -> None:
        news: News | None = None
        is_answered = True
        try:
            while self._pages:
                begun = time.monotonic()
                # What AWS does not answer now, it may answer later: the next look finds what this one missed.
                try:
                    if news is None:
                        news = await run_in_threadpool(self.source)
                        self._begun.set()
                    for step in news.steps:
                        self._send(await run_in_threadpool(step))
                    if not is_answered:
                        self._send([Event("answers", True)])
                    is_answered = True
                except ERRORS:
                    self._send([Event("answers", False)])
                    is_answered = False
                # On a busy machine a look takes longer: it must not take all of the time.
                await asyncio.sleep(max(self.rest, 2 * (time.monotonic() - begun)))
        finally:
            self._begun.set()
            self.close()  # a page whose stream ends asks for another one

    def _send(self, events: list[Event]) -> None:
        for event in events:
            for page in list(self._pages):
                try:
                    page.put_nowait(event)
                except asyncio.QueueFull:
                    self._end(page)

    def _end(self, page: Page) -> None:
        self.leave(page)
        while not page.empty():
            page.get_nowait()
        page.put_nowait(None)
