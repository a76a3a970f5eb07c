"""Open web pages in a headless Chromium: a site with one page, and the browser."""

from __future__ import annotations

import http.server
import json
import queue
import shutil
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT_SECONDS = 90


class Site:
    """A web server with one page at its own origin. The page posts its results to `/shown`."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.shown: queue.Queue[dict[str, Any]] = queue.Queue()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(site.page.encode())

            def do_POST(self) -> None:
                site.shown.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.origin = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def browser(address: str, folder: Path, *switches: str) -> Iterator[None]:
    """Open an address in a browser, with a folder for its profile."""
    assert CHROMIUM is not None
    # Its sandbox needs rights that a container lacks. It opens only our own pages.
    usual = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    with subprocess.Popen(  # noqa: S603 - a browser on the project's own page
        [CHROMIUM, *usual, *switches, f"--user-data-dir={folder}", "--remote-debugging-port=0", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()
