"""List jobs, newest first, page by page. Only reads; must not know the server.

The table's index has the jobs of one status in the order of their last change. So a list is the front of eleven such
rows, merged; a page costs a query for each and one read of the records that it shows, however many jobs there are.
"""

from __future__ import annotations

import base64
import heapq
import json
import mimetypes
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ops.console.calls import BadCall
from ops.facts import document, made_of, waits_for_a_person
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ops.console.calls import Call
    from ops.stack import Stack
    from shared.jobs.record import Job

_DEFAULT, _MOST = 50, 200
_MOST_SEARCHED = 1000
"""How many jobs are read to fill a page that shows only some of them: more and more at a time, up to so many."""
Positions = dict[Status, tuple[int, str] | None]
"""Status → the job after which its part of the list goes on; None: from its beginning. One that is at its end is not in
it."""


class JobList:
    """The jobs of a stack, as a page lists them."""

    def __init__(self, stack: Stack) -> None:
        self._store = stack.store
        self._pool = ThreadPoolExecutor(len(Status))

    def page(self, call: Call) -> dict[str, Any]:
        """Return the jobs that a page asks for, and where the next page begins.

        Raises:
            BadCall: The status, the limit or the place is none.
        """
        limit = call.number("limit", _DEFAULT, most=_MOST)
        source, text = call.query.get("source", ""), call.query.get("text", "").strip().casefold()
        places = _places(call.query.get("after", ""), call.query.get("status", ""))
        found: list[Job] = []
        read = 0
        while places and len(found) < limit and read < _MOST_SEARCHED:
            wide = max(limit, 3 * read) if source or text else limit - len(found)
            jobs, places = self._next(places, min(wide, _MOST_SEARCHED - read))
            read += len(jobs)
            wanted = [job for job in jobs if source in ("", job.source.get("type"))]
            found += [job for job in self._store.in_full(wanted) if _has(job, text)]
        found.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)
        return {"jobs": list(map(row, found)), "after": _written(places) if places else None}

    def _next(self, places: Positions, limit: int) -> tuple[list[Job], Positions]:
        """Return the jobs of all these statuses that changed last, and where each status goes on."""
        pages = self._pool.map(partial(self._read, limit=limit), places.items())
        parts = dict(zip(places, pages, strict=True))
        # Not sorted: where several jobs changed in one second, only the index knows in which order it goes on.
        fronts = (jobs for jobs, _ in parts.values())
        merged = list(islice(heapq.merge(*fronts, key=lambda job: -(job.changed_at or 0)), limit))
        after: Positions = {}
        for status, (jobs, more) in parts.items():
            taken = [job for job in merged if job.status is status]
            if more or len(taken) < len(jobs):
                after[status] = _changed(taken[-1]) if taken else places[status]
        return merged, after

    def _read(self, place: tuple[Status, tuple[int, str] | None], *, limit: int) -> tuple[list[Job], bool]:
        status, after = place
        jobs, more = self._store.page(status, limit=limit, after=after)
        return jobs, more is not None


def row(job: Job) -> dict[str, Any]:
    """Return a job as a line of a list."""
    age = time.time() - datetime.fromisoformat(job.created_at).timestamp()
    return {
        **document(job),
        "made_of": made_of(job),
        "age_seconds": max(0, int(age)),
        "waits_for_person": waits_for_a_person(job),
        "credits_total": job.credits_total,
        "thumbnail": _thumbnail(job),
    }


def rows(jobs: Iterable[Job]) -> dict[str, Any]:
    """Return jobs as lines of a list, the newest first."""
    return {"jobs": [row(job) for job in sorted(jobs, key=lambda job: job.created_at, reverse=True)]}


def _thumbnail(job: Job) -> dict[str, str | None]:
    """What shows a job: its video, or the picture that it is made of."""
    address = f"/media/{quote(job.job_id, safe='')}"
    if job.output is not None:
        return {"kind": "video", "url": address}
    kind = mimetypes.guess_type(str(job.source.get("key", "")))[0] or ""
    if job.source.get("type") == "upload" and kind.startswith("image/"):
        return {"kind": "image", "url": f"{address}/upload"}
    return {"kind": None, "url": None}


def _has(job: Job, text: str) -> bool:
    """Whether something that people know of a job holds a text."""
    labels = (f"{name} {value}" for name, value in job.metadata.items())
    words = (job.job_id, job.source.get("key"), job.recipe, job.model_id, job.video_id, *labels)
    return not text or any(text in str(word).casefold() for word in words if word)


def _changed(job: Job) -> tuple[int, str]:
    return job.changed_at or 0, job.job_id


def _places(after: str, status: str) -> Positions:
    """Return where a page begins: where the last one ended, or at the beginning of one or of all statuses."""
    try:
        if after:
            places = json.loads(base64.urlsafe_b64decode(after))
            return {Status(name): (int(at[0]), str(at[1])) if at else None for name, at in places.items()}
        return dict.fromkeys([Status(status)] if status else Status)
    except (ValueError, AttributeError, TypeError, IndexError):
        raise BadCall("There is no such status, or no such place in the list. Reload the page.") from None


def _written(places: Positions) -> str:
    return base64.urlsafe_b64encode(json.dumps(places).encode()).decode()
