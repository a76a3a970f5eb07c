"""Send a GET over a guarded HTTP/1.1 connection, and read the response's head and body.

h11 reads heads and chunks, by the same rules as httpx. A body of known length goes directly from the socket into the
caller's buffer, which is then uploaded to S3. The delivery's deadline applies to every read and write.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import h11

from shared.delivery.guard import Target, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.delivery.limits import Limits

Headers = list[tuple[bytes, bytes]]
"""Header fields of a request."""
_HEAD_BYTES = 64 * 1024
_HEAD_FIELDS = 480
_INTERIM_ANSWERS = 200
_RECEIVE_BYTES = 64 * 1024
_BODILESS = frozenset({204, 304})


class DeadlineExceeded(Exception):
    """This delivery is out of time, or another worker has failed. Never leaves the package."""


class Truncated(Exception):
    """The body ended too early. Never leaves the package."""


class Surplus(Exception):
    """The body continued beyond the range in its head. Never leaves the package."""


class Deadline:
    """The deadline of one delivery, shared by its workers.

    Args:
        remaining: Returns the seconds that the caller has left.
        limits: For `total_seconds` and `reserve_seconds`.
    """

    def __init__(self, remaining: Callable[[], float], limits: Limits) -> None:
        self._remaining = remaining
        self._reserve = limits.reserve_seconds
        self._end = time.monotonic() + limits.total_seconds
        self._stopped = threading.Event()

    def left(self) -> float:
        """Return the seconds left, more than zero.

        Raises:
            DeadlineExceeded: None are left.
        """
        left = min(self._end - time.monotonic(), self._remaining() - self._reserve)
        if left <= 0 or self._stopped.is_set():
            raise DeadlineExceeded
        return left

    def stop(self) -> None:
        """Make every worker end at its next read."""
        self._stopped.set()

    def resume(self) -> None:
        """Allow new work after a `stop`, with the same deadline."""
        self._stopped.clear()

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the deadline."""
        self._stopped.wait(min(seconds, self.left()))


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection:
    """A connection to an address that the guard has checked. Certificates are verified for the host's name.

    Raises:
        OutputRefused, OutputUnreachable: As `guard.resolve`.
        OSError: No address accepts a connection.
        DeadlineExceeded: The deadline has passed.
    """

    def __init__(self, target: Target, limits: Limits, deadline: Deadline) -> None:
        self.target = target
        self._idle = limits.idle_seconds
        self._deadline = deadline
        self._timeout = 0.0
        self._socket = _connect(target, limits, deadline)

    def get(self, headers: Headers) -> Response:
        """Send a GET for the target's path and read the response's head. Interim responses (1xx) are skipped.

        Raises:
            OSError: The connection broke or timed out.
            h11.ProtocolError: The response is not HTTP/1.1, or its head is too large.
            DeadlineExceeded: The deadline has passed.
        """
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        request = h11.Request(method="GET", target=self.target.path, headers=[(b"Host", _host(self.target)), *headers])
        self._arm()
        self._socket.sendall((parser.send(request) or b"") + (parser.send(h11.EndOfMessage()) or b""))
        for _ in range(_INTERIM_ANSWERS):
            event = self.next_event(parser)
            if isinstance(event, h11.Response):
                if len(event.headers) > _HEAD_FIELDS:
                    break
                return Response(self, parser, event)
        raise h11.RemoteProtocolError("no final answer, or one with too many fields")

    def next_event(self, parser: h11.Connection) -> object:
        """Return the parser's next event. Raises as `get`."""
        while (event := parser.next_event()) is h11.NEED_DATA:
            self._arm()
            parser.receive_data(self._socket.recv(_RECEIVE_BYTES))
        return event

    def receive_into(self, view: memoryview) -> int:
        """Read into `view` from the socket. Returns the number of bytes; 0 when the peer has closed.

        Raises:
            OSError: The connection broke or timed out.
            DeadlineExceeded: The deadline has passed.
        """
        self._arm()
        return self._socket.recv_into(view)

    def has_arrived(self) -> bool:
        """Whether unread bytes have arrived. Does not wait; drops the connection's next byte."""
        self._timeout = 0.0
        self._socket.settimeout(0.0)
        try:
            return bool(self._socket.recv(1))
        except OSError:  # nothing, or closed without TLS's close_notify
            return False

    def _arm(self) -> None:
        timeout = min(self._idle, self._deadline.left())
        if timeout != self._timeout:  # each change is a system call
            self._socket.settimeout(timeout)
            self._timeout = timeout

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Response:
    """A response's head, and its body as it arrives.

    Attributes:
        status: The HTTP status.
        length: Bytes of the body, if `Content-Length` delimits it.
        delimited: Whether the body's end differs from a broken connection: by a length, by chunks, or by TLS's
            close_notify (RFC 9112 section 8).
    """

    def __init__(self, connection: Connection, parser: h11.Connection, head: h11.Response) -> None:
        self._connection = connection
        self._parser = parser
        self._head = head
        self.status = head.status_code
        self._chunked = self.field("transfer-encoding") is not None
        length = self.field("content-length")
        if self.status in _BODILESS:
            length, self._chunked = "0", False
        self.length = int(length) if length is not None and not self._chunked else None
        self.delimited = self.length is not None or self._chunked or connection.target.scheme == "https"
        self._left = self.length
        self._ended = self.length == 0
        self._early = b"" if self._chunked else parser.trailing_data[0]
        self._surplus = self.length is not None and len(self._early) > self.length
        self._is_range = False

    def field(self, name: str) -> str | None:
        """Return the first header field of this lower-case name, stripped of white space."""
        value = self.raw_field(name)
        return None if value is None else value.decode("latin-1")

    def raw_field(self, name: str) -> bytes | None:
        """Return the same field as bytes."""
        return next((value for found, value in self._head.headers if found == name.encode()), None)

    def cookies(self) -> dict[bytes, bytes]:
        """Return names and values of the cookies that it sets."""
        fields = (value.partition(b";")[0] for found, value in self._head.headers if found == b"set-cookie")
        pairs = (field.partition(b"=") for field in fields)
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}

    def limit(self, count: int) -> None:
        """Limit the body to a range of `count` bytes; more bytes are an error."""
        self._left = count
        self._is_range = True

    @property
    def reusable(self) -> bool:
        """Whether the body was read to its end and the connection stays open."""
        framed = self._chunked or self.length is not None
        return framed and self._ended and not self._surplus and self._stays_open()

    def _stays_open(self) -> bool:
        return self._head.http_version == b"1.1" and "close" not in (self.field("connection") or "").lower()

    def read_into(self, view: memoryview) -> int:
        """Read the body into `view`. Returns fewer bytes than `view` holds only at the body's proper end.

        Raises:
            Truncated: It ended too early.
            Surplus: It continued beyond its range.
            OSError: The connection broke or timed out.
            h11.ProtocolError: Its chunks are not well-formed.
            DeadlineExceeded: The deadline has passed.
        """
        at = 0
        while at < len(view) and not self._ended:
            at += self._some(view[at:] if self._left is None else view[at : at + self._left])
        return at

    def _some(self, view: memoryview) -> int:
        """Read some bytes into `view`, and detect the body's end."""
        count = self._early_into(view) or self._next_into(view)
        if count == 0:
            if self._left:
                raise Truncated
            self._ended = True
        if self._left is not None:
            self._left -= count
            self._ended = self._left == 0
            if self._ended and self._is_range and self._continues():
                raise Surplus
        return count

    def _early_into(self, view: memoryview) -> int:
        """Take bytes that arrived with the head or a chunk."""
        piece, self._early = self._early[: len(view)], self._early[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    def _next_into(self, view: memoryview) -> int:
        if not self._chunked:
            return self._connection.receive_into(view)
        self._early = self._next_chunk()
        return self._early_into(view)

    def _next_chunk(self) -> bytes:
        """Return some bytes of a chunk; empty after the last chunk."""
        try:
            event = self._connection.next_event(self._parser)
        except h11.RemoteProtocolError:
            if self._parser.trailing_data[1]:  # closed by the peer
                raise Truncated from None
            raise
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def _continues(self) -> bool:
        """Whether bytes follow the range. Without a length or chunks, only the end of the connection shows it."""
        if self._early:
            return True
        if self._chunked:
            return bool(self._next_chunk())
        if self.length is not None:
            return self._connection.has_arrived()
        try:
            return bool(self._connection.receive_into(memoryview(bytearray(1))))
        except TimeoutError:
            return True


def _connect(target: Target, limits: Limits, deadline: Deadline) -> socket.socket:
    error: OSError = OSError("no address")
    for address in resolve(target, limits):
        timeout = min(limits.connect_seconds, deadline.left())
        try:
            sock = socket.create_connection((str(address), target.port), timeout)
        except OSError as reason:
            error = reason
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _secured(sock, target)
    raise error


def _secured(sock: socket.socket, target: Target) -> socket.socket:
    if target.scheme != "https":
        return sock
    try:
        # A body that ends without TLS's close_notify may be cut off, so a ragged end is an error.
        return _tls().wrap_socket(sock, server_hostname=target.host, suppress_ragged_eofs=False)
    except BaseException:
        sock.close()
        raise


def _host(target: Target) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return (host if target.port == (443 if target.scheme == "https" else 80) else f"{host}:{target.port}").encode()
