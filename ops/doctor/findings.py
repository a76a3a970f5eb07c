"""Define what a check finds: that something holds, that it does not, or that nobody can know it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    """It holds."""
    WARNING = "warning"
    """Jobs run, but somebody should look at it."""
    PROBLEM = "problem"
    """It does not hold: jobs do not run as they should, or somebody will not hear of it."""
    UNKNOWN = "unknown"
    """The check could not be made."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        message: What it found, in one line.
        advice: What to do, where the check's own advice does not fit.
        is_unanswered: Whether AWS or Genviral could not be asked, or denied it.
    """

    state: State
    message: str
    advice: str = ""
    is_unanswered: bool = False


ok = partial(Finding, State.OK)
warning = partial(Finding, State.WARNING)
problem = partial(Finding, State.PROBLEM)
unknown = partial(Finding, State.UNKNOWN)
unanswered = partial(Finding, State.UNKNOWN, is_unanswered=True)
