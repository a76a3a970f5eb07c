"""Render videos in one background worker, and keep them.

Equal clips are rendered only once. The queue's length is limited.
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
    """A requested video. `finished` is set after a success or a failure; `etag` stays empty after a failure."""

    def __init__(self, clip: Clip, file: Path) -> None:
        self.clip = clip
        self.file = file
        self.finished = threading.Event()
        self.etag = ""

    @property
    def usable(self) -> bool:
        return bool(self.etag)


class RenderQueue:
    """Renders one video at a time, in the order of the requests, into `folder`.

    Args:
        capacity: Most different clips that may wait.
    """

    def __init__(self, folder: Path, capacity: int = 256) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._waiting: queue.Queue[Rendering] = queue.Queue(capacity)
        self._renderings: dict[Clip, Rendering] = {}
        self._closing = threading.Event()
        self._worker = threading.Thread(target=self._work, name="genviral-render-queue", daemon=True)
        self._worker.start()

    def request(self, clip: Clip) -> Rendering:
        """Return the rendering of this clip, started if it is new. Callers hold the lock of `VendorState`.

        Raises:
            queue.Full: Too many different clips are waiting.
        """
        if (known := self._renderings.get(clip)) is not None:
            return known
        rendering = Rendering(clip, self._folder / f"{len(self._renderings):06}.mp4")
        self._waiting.put_nowait(rendering)
        self._renderings[clip] = rendering
        return rendering

    def count(self) -> int:
        """Return the number of different videos requested so far."""
        return len(self._renderings)

    def close(self) -> None:
        """Stop the worker, even during a rendering."""
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
                _log.warning("A video could not be rendered: %s", type(error).__name__)
            finally:
                rendering.finished.set()
