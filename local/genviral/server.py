"""Receive requests over sockets and send replies, intact or with a planned fault.

It supports HTTP/1.1 with keep-alive, and never logs a body, a header, a query or a key.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from local import web_guard
from local.genviral.admin import ADMIN_PATH, Admin, RequestCounts
from local.genviral.app import BASE_PATH, App, resolve
from local.genviral.faults import FaultPlan
from local.genviral.http_messages import Reply, Request
from local.genviral.media import MediaStore
from local.genviral.render_queue import RenderQueue
from local.genviral.vendor_state import KEYS, VendorState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 1_000_000
_TRICKLE_STEPS = 20


class GenviralStandIn:
    """The whole stand-in in this process, on the loopback. Use it as a context manager, or call `start` and `stop`.

    Args:
        port: 0 chooses a free port.
        generation_seconds: Seconds from acceptance to the end of a generation.
        honour_idempotency: Replay a repeated `Idempotency-Key` instead of charging again.
        link_seconds: Lifetime of an `output_url`, in seconds.

    Raises:
        OSError: The port is taken.

    Attributes:
        url: Base URL of the API.
        admin_url: Base URL of the controls.
        keys: Account name → API key.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        generation_seconds: float = 6.0,
        honour_idempotency: bool = False,
        link_seconds: float = 3600.0,
    ) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._files = tempfile.TemporaryDirectory(prefix="genviral-standin-")
        folder = Path(self._files.name)
        origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{origin}{BASE_PATH}"
        self.admin_url = f"{origin}{ADMIN_PATH}"
        self.keys = dict(KEYS)
        self._render_queue = RenderQueue(folder / "videos")
        self._media = MediaStore(folder / "media")
        state = VendorState(
            self._render_queue, generation_seconds=generation_seconds, honour_idempotency=honour_idempotency
        )
        self._server.app = App(state, self._media, origin=origin, link_seconds=link_seconds)
        self._server.admin = Admin(state, self._server.faults, self._server.counts)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close all connections, stop the worker and remove all files."""
        self._server.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.close_connections()
        self._render_queue.close()
        self._media.close()
        self._files.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    app: App
    admin: Admin

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.faults = FaultPlan()
        self.counts = RequestCounts()
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Shut down keep-alive connections, which ends their threads."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already closed

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log bugs, but not a connection that the client closed."""
        if not isinstance(sys.exc_info()[1], OSError):
            _log.exception("The stand-in has a bug")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "genviral-standin"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120.0

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve every method in the same way: the base class calls `do_<METHOD>`."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None:
        """Print nothing: the base class would print query strings with signatures."""

    def _serve(self) -> None:
        if web_guard.refused(self.headers.items()):
            self.close_connection = True
            self._send(Reply(403, web_guard.REFUSED.encode(), {"Content-Type": "text/plain"}), "refused")
            return
        url = urlsplit(self.path)
        is_admin = url.path == ADMIN_PATH or url.path.startswith(f"{ADMIN_PATH}/")
        route, video_id = ("admin", None) if is_admin else resolve(self.command, url.path)
        fault = self.server.faults.take(route, video_id)
        if fault is not None and fault.kind == "reset_before_read":
            self._send(Reply(0, reset=True), route)
            return
        body = self._body()
        if body is None:
            self.close_connection = True
            self._send(Reply(413), route)
            return
        request = Request(
            method=self.command,
            route=route,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            video_id=video_id,
        )
        answer = self.server.admin.answer if is_admin else self.server.app.answer
        reply = answer(request) if fault is None else fault.spoil(request, answer)
        self._send(reply, route)

    def _body(self) -> bytes | None:
        """Return the request's body; None if its length is unknown or too large."""
        if "Transfer-Encoding" in self.headers:
            return None
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            return None
        return self.rfile.read(int(length))

    def _send(self, reply: Reply, route: str) -> None:
        self.server.closing.wait(reply.delay)
        if route not in ("admin", "refused"):
            self.server.counts.add(route, "reset" if reply.reset else str(reply.status))
        _log.info("%s %s %s", self.command, route, "reset" if reply.reset else reply.status)
        if reply.reset:
            self._reset()
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        if self.command != "HEAD":
            self._send_body(reply)

    def _send_body(self, reply: Reply) -> None:
        body = reply.body
        if reply.truncated:
            self.close_connection = True
            body = body[: len(body) // 2]
        step = max(1, len(body) // _TRICKLE_STEPS) if reply.trickle else max(1, len(body))
        for start in range(0, len(body), step):
            self.server.closing.wait(reply.trickle / _TRICKLE_STEPS)
            self.wfile.write(body[start : start + step])
            self.wfile.flush()

    def _reset(self) -> None:
        """Close with RST, by a zero linger time and without a shutdown."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
