"""Upload batches, and show how far each row is. The same rows are never paid for twice.

While a batch runs, there is no report: its plan names the jobs of its rows. Only rows that are not done are read again,
as many at a time as may run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.batches import SUFFIXES, Batches
from ops.console.calls import BadCall
from shared.jobs.states import TERMINAL
from shared.requests.recipes import BATCHES

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.stack import Stack
    from shared.jobs.transitions import JobStore

_READ = 100
_SHOWN = 500
"""The most rows that a page is sent; the report has them all."""
_KEPT = 20
_NOT_STARTED = "not_started"
_OF_ROWS = ("line", "job_id", "status", "credits", "error")


@dataclass(slots=True)
class _Progress:
    """How far the rows of one batch are."""

    rows: list[dict[str, Any]]
    _left: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self._left = [row for row in self.rows if "status" not in row]

    def look(self, store: JobStore) -> list[dict[str, Any]]:
        """Read the first rows that are not done, which are those that run, and return all rows."""
        some = self._left[:_READ]
        known = store.batch_get(row["job_id"] for row in some)
        for row in some:
            if (job := known.get(row["job_id"])) is not None:
                facts = {"status": job.status.value, "credits": job.credits_total, "error": job.shown_error}
                row |= {name: value for name, value in facts.items() if value is not None}
        self._left = [row for row in self._left if row.get("status") not in TERMINAL]
        return [{"status": _NOT_STARTED, **row} for row in self.rows]


class BatchViews:
    """The batches of a stack, as a page sees them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._batches = Batches(stack)
        self._progress: dict[str, _Progress] = {}

    def upload(self, call: Call) -> dict[str, Any]:
        """Upload a file, to be checked or to be run.

        Raises:
            BadCall: It is no .csv or .jsonl.
            Refused: It cannot be read as a batch; nothing was uploaded.
        """
        name = call.query.get("name", "").replace("\\", "/").rpartition("/")[2]
        if not name.lower().endswith(SUFFIXES):
            raise BadCall("A batch is a file whose name ends with .csv or .jsonl.")
        key, version_id, batch_id = self._batches.upload(name, call.body, check=call.flag("check"))
        return {"batch_id": batch_id, "key": key, "version_id": version_id}

    def shown(self, call: Call) -> dict[str, Any]:
        """Return what became of a batch, with its first rows as `items`.

        Raises:
            BadCall: No batch is named.
            NotFound: There is no such batch.
        """
        key = call.query.get("key", "")
        if not key:
            raise BadCall("The address names no batch.")
        if "version_id" in call.query and key.startswith(BATCHES):
            batch_id = self._batches.id_of(key, call.query["version_id"])
        else:
            key, batch_id = self._batches.latest([key])
        return self.described(key, batch_id)

    def described(self, key: str, batch_id: str) -> dict[str, Any]:
        """Return what became of an upload, with its first rows as `items`."""
        shown, rows = self._batches.show_rows(key, batch_id)
        if not rows and shown["status"] == "running":
            rows = self._running(batch_id)
            counts = Counter(row["status"] for row in rows)
            shown |= {"rows": len(rows), "counts": dict(counts.most_common())} if rows else {}
        items = [{name: row[name] for name in _OF_ROWS if name in row} for row in rows[:_SHOWN]]
        return {**shown, "items": items, "more": max(0, len(rows) - _SHOWN)}

    def _running(self, batch_id: str) -> list[dict[str, Any]]:
        if batch_id not in self._progress:
            planned = self._batches.planned(batch_id)
            if planned is None:
                return []
            while len(self._progress) >= _KEPT:
                del self._progress[next(iter(self._progress))]
            self._progress[batch_id] = _Progress(planned)
        return self._progress[batch_id].look(self._stack.store)
