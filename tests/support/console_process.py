"""The console in its own process, as `up` starts it, for tests with real HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx

from local.__main__ import _variables
from local.build import ROOT

if TYPE_CHECKING:
    from types import TracebackType

    from local.cloud import Endpoints

_STOP_SECONDS = 30


class RunningConsole:
    """A console for a running cloud. Its page's events are in `events`, as kind and data.

    Args:
        time_scale: By what the cloud's waits are multiplied.
    """

    def __init__(self, at: Endpoints, time_scale: float) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "console", "--json", "--with-parent"],
            cwd=ROOT,
            env=kept | _variables(at, time_scale),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address: str = json.loads(self.process.stdout.readline())["console"]
        self.origin = self.address.partition("/?")[0]
        self.own = {"Origin": self.origin, "X-Console": "1"}
        self.http = httpx.Client(base_url=self.origin, timeout=60)
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()

    def __enter__(self) -> RunningConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self.process.kill()
        self.process.communicate()

    def sign_in(self) -> None:
        """Open the printed address, as a browser does."""
        assert self.http.get(self.address).status_code == 303

    def get(self, address: str, **query: Any) -> dict[str, Any]:
        """Return a document."""
        answer = self.http.get(address, params=query)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def post(self, address: str, body: bytes, **query: Any) -> dict[str, Any]:
        """Send a file or a JSON text, and return the answer."""
        answer = self.http.post(address, content=body, params=query, headers=self.own)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def listen(self) -> None:
        """Open the stream of events, and wait until it is open."""
        is_open = threading.Event()
        threading.Thread(target=self._listen, args=(is_open,), daemon=True).start()
        assert is_open.wait(_STOP_SECONDS)

    def end(self) -> tuple[int, str, str]:
        """Close its input, as the end of `up` does. Return its exit code and what else it said."""
        out, err = self.process.communicate(timeout=_STOP_SECONDS)
        return self.process.returncode, out, err

    def _listen(self, is_open: threading.Event) -> None:
        kind = ""
        with contextlib.suppress(httpx.HTTPError), self.http.stream("GET", "/api/events") as answer:  # until its end
            for line in answer.iter_lines():
                is_open.set()
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    self.events.put((kind, json.loads(value)))
