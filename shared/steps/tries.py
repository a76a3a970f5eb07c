"""Repeat a call with growing pauses, as long as the function has time.

Knows only time. Must not know what is repeated, or after which failures.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESERVE_SECONDS = 20.0
"""The time that is kept for a last call that hangs and for the function's own answer."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


def pause(seconds: float) -> None:
    """Pause for so many seconds."""
    time.sleep(seconds)


def tries(remaining: Callable[[], float], sleep: Callable[[float], None]) -> Iterator[int]:
    """Yield the number of each try, the first one at once, until the time is used up.

    Args:
        remaining: Seconds that are left of the function's time.
        sleep: Pauses for so many seconds.
    """
    number, seconds = 1, _FIRST_PAUSE
    while True:
        yield number
        if remaining() - seconds < RESERVE_SECONDS:
            return
        sleep(seconds)
        number, seconds = number + 1, min(2 * seconds, _LONGEST_PAUSE)
