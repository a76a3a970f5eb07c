"""Render videos in one background worker, and keep them.

The same clip is rendered once, however many jobs ask for it. The queue's length is limited.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from typing import TYPE_CHECKING

from local.genviral.render import Cancelled, Clip, render

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


class Rendering:
    """A video in the making or ready. `finished` is set in either outcome; `etag` stays empty after a failure."""

    def __init__(self, clip: Clip, file: Path) -> None:
        self.clip = clip
        self.file = file
        self.finished = threading.Event()
        self.etag = ""

    @property
    def usable(self) -> bool:
        return bool(self.etag)


class RenderQueue:
    """Makes one video at a time in the order of the requests, into `folder`.

    Args:
        capacity: How many different clips may wait.
    """

    def __init__(self, folder: Path, capacity: int = 256) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._waiting: queue.Queue[Rendering] = queue.Queue(capacity)
        self._shelf: dict[Clip, Rendering] = {}
        self._closing = threading.Event()
        self._worker = threading.Thread(target=self._work, name="genviral-render_queue", daemon=True)
        self._worker.start()

    def request(self, clip: Clip) -> Rendering:
        """Return the rendering of this clip, started if it is new. Callers hold the lock of `VendorState`.

        Raises:
            queue.Full: Too many different clips are waiting.
        """
        if (known := self._shelf.get(clip)) is not None:
            return known
        rendering = Rendering(clip, self._folder / f"{len(self._shelf):06}.mp4")
        self._waiting.put_nowait(rendering)
        self._shelf[clip] = rendering
        return rendering

    def count(self) -> int:
        """Return how many different videos were asked for so far."""
        return len(self._shelf)

    def close(self) -> None:
        """Stop the worker, in the middle of a video if need be."""
        self._closing.set()
        self._worker.join(timeout=10)

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                rendering = self._waiting.get(timeout=0.05)
            except queue.Empty:
                continue
            try:
                render(rendering.clip, rendering.file, self._closing.is_set)
                rendering.etag = hashlib.sha256(rendering.file.read_bytes()).hexdigest()
            except Cancelled:
                return
            except Exception as error:  # noqa: BLE001 -- one bad video must not stop the videos after it
                _log.warning("A video could not be made: %s", type(error).__name__)
            finally:
                rendering.finished.set()
