"""Virtual time: a queue of scheduled actions, and threads that take turns.

One action runs at a time and nothing sleeps, so a run is deterministic. Knows no jobs, no AWS, no faults.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_800_000_000.0
"""When every run begins, in epoch seconds."""
_TURN_TIMEOUT_SECONDS = 120.0


class Clock:
    """The virtual time and its queue of actions. Calling it returns the time, as `time.time` does."""

    def __init__(self) -> None:
        self.now = START
        self._numbers = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], object]]] = []

    def __call__(self) -> float:
        return self.now

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.now - START

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Schedule an action in so many seconds. Actions due at the same moment run in the order of the calls."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), action))

    def run(self, until: Callable[[], bool]) -> None:
        """Run the actions in order until the condition holds after one of them, or none is left."""
        while self._queue and not until():
            self.now, _, action = heapq.heappop(self._queue)
            action()


class Turn:
    """A thread that runs only in its turn, and gives the turn back when it rests or ends."""

    def __init__(self, clock: Clock, body: Callable[[], None]) -> None:
        self._clock = clock
        self._body = body
        self._mine = threading.Semaphore(0)
        self._given_back = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None
        self._ended = False
        self._rests = 0

    @property
    def this_rest(self) -> int:
        """Identify the current rest."""
        return self._rests

    def begin(self) -> None:
        """Take the first turn."""
        self._thread.start()
        self._await_its_rest()

    def rest(self, seconds: float) -> None:
        """Pause for so many seconds, or until woken. Call it in the thread."""
        self._rests += 1
        this = self._rests
        self._clock.after(seconds, lambda: self.wake(this))
        self._given_back.release()
        self._mine.acquire()

    def wake(self, rest: int | None = None) -> None:
        """Resume the thread until it rests again.

        Args:
            rest: Resume only if the thread is still in this rest. None: always.
        """
        if not self._ended and rest in (None, self._rests):
            self._rests += 1
            self._mine.release()
            self._await_its_rest()

    def _await_its_rest(self) -> None:
        if not self._given_back.acquire(timeout=_TURN_TIMEOUT_SECONDS):
            raise TimeoutError("an execution neither rested nor ended")
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            self._body()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that gave the turn
            self._failure = error
        self._ended = True
        self._given_back.release()
