"""Tell the course of a job from its execution's history: the states it entered, what failed, and the next poll.

Knows the names of the state machine's states, and what Step Functions writes. Must not know the table or the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STEPS = {
    "Submit": "The request is sent to Genviral",
    "Deliver": "The video is copied",
    "Hold": "The job is put on hold",
    "HoldWait": "It waits for the next try",
    "Resume?": "It is tried again",
}
_POLL, _WAIT = "Poll", "Wait"
_SILENT = frozenset({"Begin", _WAIT, "Finished?", "Held?", "Failed"})
_ENDED_BADLY = ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted")


@dataclass(slots=True)
class Course:
    """The course of an execution.

    Attributes:
        path: The states that were entered, in order, with repeats.
        entries: What happened, oldest first: `at`, `kind`, `text`, `count`. Polls in a row are one entry, and so are
            the failed tries of a state.
        next_poll_at: When it is polled next, while it waits for that.
    """

    path: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    next_poll_at: str | None = None
    _failed: dict[str, Any] | None = None

    @classmethod
    def of(cls, events: Sequence[Mapping[str, Any]], *, time_scale: float = 1.0) -> Course:
        """Return the course that a history tells.

        Args:
            time_scale: By what the waits of the state machine are multiplied, on a laptop.
        """
        course = cls()
        for event in events:
            course._add(event)
        if events:
            course.next_poll_at = _due(events[-1], time_scale)
        return course

    def _add(self, event: Mapping[str, Any]) -> None:
        kind, at = str(event["type"]), moment(event["timestamp"])
        if entered := event.get("stateEnteredEventDetails"):
            self._enter(entered["name"], at)
        elif kind == "TaskScheduled" and self._failed is not None:
            self._failed["kind"] = "retry"  # it was tried once more
        elif kind in _ENDED_BADLY:
            error = _error_in(event)
            self._note(at, "error", f"The execution ended: {error}" if error else "The execution was stopped")
        elif kind == "ExecutionRedriven":
            self._note(at, "state", "It was redriven")
        elif kind.startswith(("Task", "LambdaFunction")) and (error := _error_in(event)):
            self._fail(at, error)

    def _enter(self, name: str, at: str) -> None:
        self.path.append(name)
        self._failed = None
        if name == _POLL:
            self._note(at, "poll", "Genviral was polled")
        elif name.startswith("Notify"):
            self._note(at, "notification", "A notification is sent")
        elif name not in _SILENT:
            self._note(at, "state", _STEPS.get(name, name))

    def _fail(self, at: str, error: str) -> None:
        state = self.path[-1] if self.path else "?"
        text = f"{state} failed: {error}"
        if self._failed is not None and self._failed["text"] == text:
            self._failed |= {"at": at, "count": self._failed["count"] + 1}
            return
        self.entries.append({"at": at, "kind": "error", "text": text, "count": 1})
        self._failed = self.entries[-1]

    def _note(self, at: str, kind: str, text: str) -> None:
        last = self.entries[-1] if self.entries else {}
        if kind == "poll" and last.get("kind") == kind:
            last |= {"at": at, "count": last["count"] + 1}
            return
        self.entries.append({"at": at, "kind": kind, "text": text, "count": 1})


def timeline(statuses: Mapping[str, str], entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what happened to a job, oldest first: the statuses of its record, and its execution's course."""
    entered = [
        {"at": at, "kind": "status", "text": status.replace("_", " "), "count": 1} for status, at in statuses.items()
    ]
    return sorted([*entered, *entries], key=lambda entry: datetime.fromisoformat(entry["at"]))


def moment(time: datetime) -> str:
    """Return a moment as records have it."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error_in(event: Mapping[str, Any]) -> str | None:
    details = (value for name, value in event.items() if name.endswith("EventDetails"))
    return next((detail["error"] for detail in details if detail.get("error")), None)


def _due(event: Mapping[str, Any], time_scale: float) -> str | None:
    """Return when the next poll is due, where the last thing that happened was to wait for it."""
    entered = event.get("stateEnteredEventDetails", {})
    if entered.get("name") != _WAIT:
        return None
    try:
        seconds = float(json.loads(entered["input"])["wait_seconds"]) * time_scale
    except (KeyError, TypeError, ValueError):
        return None
    return moment(event["timestamp"] + timedelta(seconds=seconds))
