"""When to look at a running generation again: one pure function, so that it can be read, tested and simulated.

Polls are few and well placed, because each costs three state transitions and counts against the vendor's rate limit.
Knows time and chance only; must not know AWS or the vendor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Resellers of the same models quote 200 s to 15 minutes; a wait near the short end loses little when it is too short.
DEFAULT_EXPECTED_SECONDS = 60.0
_GROWTH = 0.15
"""A later wait is this share of the time already waited, which bounds the delay after the end by the same share."""


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """How densely to poll, in seconds.

    Args:
        floor: No wait is shorter.
        cap: No wait is longer, but for a `Retry-After`.
    """

    floor: float
    cap: float

    def first_wait(self, expected: float = DEFAULT_EXPECTED_SECONDS) -> int:
        """Seconds to wait after the submission, given how long the generation is expected to take."""
        return self._bounded(expected)

    def next_wait(
        self,
        elapsed: float,
        chance: Callable[[], float],
        retry_after: float | None = None,
    ) -> int:
        """Seconds to wait after a poll that found the video unfinished.

        Args:
            elapsed: Seconds since the submission.
            chance: A number from 0 up to 1; spreads jobs that started together.
            retry_after: Seconds the vendor asked for. It wins over everything else.
        """
        if retry_after is not None:
            return max(1, round(retry_after))
        return self._bounded(elapsed * _GROWTH * (0.5 + chance()))

    def _bounded(self, seconds: float) -> int:
        # A Wait state takes whole seconds.
        return max(1, round(min(max(seconds, self.floor), self.cap)))
