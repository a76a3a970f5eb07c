"""One guarded HTTP connection: opens a link, follows a few redirects, and hands out a body that is counted.

Every hop passes the guard, and the socket goes to an address the guard has judged. Knows HTTP; must not know S3, parts
or retries. `http.client` rather than httpx, for three reasons: a body is read straight into the buffer that S3 is sent
from, the socket is ours to pin and to time, and it has no logger that could write a signed link.
"""

from __future__ import annotations

import functools
import http.client
import io
import re
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from shared.delivery.errors import OutputExpired, OutputInvalid, OutputRefused, OutputUnreachable
from shared.delivery.guard import Target, check, resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from shared.delivery.limits import Limits

MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# S3 answers 400 to a link whose session has ended, 403 to one whose time is over, 404 or 410 when the file is gone.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_STRONG_ETAG = re.compile(r'"[!#-~]+"\Z')


class OutOfTime(Exception):
    """When the clock of this delivery has run out, or another worker has failed. Never leaves the package."""


class Clock:
    """The time one delivery has, shared by its workers.

    Args:
        remaining: Seconds the caller has left.
        limits: `total_seconds` and `reserve_seconds` count.
    """

    def __init__(self, remaining: Callable[[], float], limits: Limits) -> None:
        self._remaining = remaining
        self._reserve = limits.reserve_seconds
        self._deadline = time.monotonic() + limits.total_seconds
        self._stopped = threading.Event()

    def left(self) -> float:
        """Seconds left, more than zero.

        Raises:
            OutOfTime: There are none.
        """
        left = min(self._deadline - time.monotonic(), self._remaining() - self._reserve)
        if left <= 0 or self._stopped.is_set():
            raise OutOfTime
        return left

    def stop(self) -> None:
        """Let every worker end at its next read."""
        self._stopped.set()

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than there is time."""
        self._stopped.wait(min(seconds, self.left()))


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Wire:
    """A connected socket as `http.client` uses one, with every read and write under the clock."""

    def __init__(self, sock: socket.socket, limits: Limits, clock: Clock) -> None:
        self._socket = sock
        self._idle = limits.idle_seconds
        self._clock = clock
        self._timeout = 0.0

    def arm(self) -> None:
        timeout = min(self._idle, self._clock.left())
        if timeout != self._timeout:  # each change is a system call
            self._socket.settimeout(timeout)
            self._timeout = timeout

    def sendall(self, data: bytes) -> None:
        self.arm()
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._socket.makefile("rb", buffering=0), self.arm))

    def close(self) -> None:
        self._socket.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: socket.SocketIO, arm: Callable[[], None]) -> None:
        self._raw = raw
        self._arm = arm

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._arm()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    """Goes to an address that the guard has judged; the certificate is checked against the host's name."""

    def __init__(self, target: Target, limits: Limits, clock: Clock) -> None:
        super().__init__(target.host, target.port)
        self.default_port = 443 if target.scheme == "https" else 80
        self._target = target
        self._limits = limits
        self._clock = clock

    def connect(self) -> None:
        error: OSError = OSError("no address")
        for address in resolve(self._target, self._limits):
            timeout = min(self._limits.connect_seconds, self._clock.left())
            try:
                sock = socket.create_connection((str(address), self._target.port), timeout)
            except OSError as reason:
                error = reason
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = _Wire(self._secured(sock), self._limits, self._clock)
            return
        raise error

    def _secured(self, sock: socket.socket) -> socket.socket:
        if self._target.scheme != "https":
            return sock
        try:
            # A body that ends without TLS's own goodbye may have been cut off, so a ragged end is an error.
            return _tls().wrap_socket(sock, server_hostname=self._target.host, suppress_ragged_eofs=False)
        except BaseException:
            sock.close()
            raise


class Reply:
    """An answer with a body that is worth reading, its headers judged.

    Attributes:
        url: Where redirects ended. A secret.
        host: For messages.
        length: Bytes of this body; `None` when the origin sends chunks without saying how many.
        total: Bytes of the whole file, as far as the origin says.
        partial: Whether this is a range of the file.
        validator: The strong ETag, quoted, if there is one.
    """

    def __init__(self, response: http.client.HTTPResponse, url: str, host: str, first: int) -> None:
        self._response = response
        self._received = 0
        self._peeked = b""
        self.url = url
        self.host = host
        self.partial = response.status == http.client.PARTIAL_CONTENT
        self.length = self._length()
        self.total = self._total(first) if self.partial else self.length
        etag = response.headers.get("ETag", "")
        self.validator = etag if _STRONG_ETAG.match(etag) else None
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise OutputInvalid(f"{host} sent an encoded body although none was asked for.")

    def _length(self) -> int | None:
        headers = self._response.headers
        encoding = headers.get("Transfer-Encoding")
        if encoding is not None:
            if encoding.strip().lower() != "chunked":
                raise OutputInvalid(f"{self.host} sent a body in an unknown transfer encoding.")
            return None
        lengths = set(headers.get_all("Content-Length", ()))
        if len(lengths) != 1 or not _CONTENT_LENGTH.match(text := lengths.pop()):
            raise OutputInvalid(f"{self.host} does not say how long the body is, so a truncation would go unnoticed.")
        return int(text)

    def _total(self, first: int) -> int | None:
        match = _CONTENT_RANGE.match(self._response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != first or int(match[2]) < first:
            raise OutputInvalid(f"{self.host} sent another range than it was asked for.")
        span = int(match[2]) - first + 1
        if self.length not in (None, span):
            raise OutputInvalid(f"{self.host} contradicts itself about the length of the body.")
        self.length = span
        if match[3] == "*":
            return None
        if int(match[2]) >= int(match[3]):
            raise OutputInvalid(f"{self.host} contradicts itself about the length of the file.")
        return int(match[3])

    @property
    def whole(self) -> bool:
        """Whether this body is the whole file."""
        return not self.partial or self.length == self.total

    def peek(self, count: int) -> bytes:
        """The first bytes of the body, at most `count`; a later `fill` gets them too."""
        buffer = bytearray(count)
        self._peeked = bytes(buffer[: self._read(memoryview(buffer))])
        return self._peeked

    def fill(self, view: memoryview) -> int:
        """Read the body into `view`. Fewer bytes than it holds mean that the body has ended, as long as it should be.

        Raises:
            OutputInvalid: The body ended early, or is longer than it said.
            OutputUnreachable: The connection broke, or was silent for too long.
            OutOfTime: The clock ran out.
        """
        peeked = self._peeked[: len(view)]
        self._peeked = self._peeked[len(peeked) :]
        view[: len(peeked)] = peeked
        return len(peeked) + self._read(view[len(peeked) :])

    def _read(self, view: memoryview) -> int:
        try:
            count = self._response.readinto(view)
        except http.client.IncompleteRead:
            self._truncated()
        except (OSError, ValueError, http.client.HTTPException):
            raise OutputUnreachable(f"The connection to {self.host} broke off or fell silent.") from None
        self._received += count
        if count < len(view) and self.length is not None and self._received != self.length:
            self._truncated()
        return count

    def _truncated(self) -> NoReturn:
        announced = "" if self.length is None else f" of {self.length}"
        raise OutputInvalid(f"{self.host} sent a truncated body: {self._received}{announced} bytes.") from None


class Fetcher:
    """One connection, kept open from one request to the next. For one thread."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._connection: _Connection | None = None
        self._target: Target | None = None
        self._response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, url: str, span: tuple[int, int] | None = None, validator: str | None = None) -> Reply:
        """Ask for a file, or for the bytes `span[0]` to `span[1]`, inclusive, of the version `validator`.

        Raises:
            OutputExpired, OutputInvalid, OutputRefused, OutputUnreachable: As their own texts say.
            OutOfTime: The clock ran out.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "video-delivery/1"}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1]}"
        if validator is not None:
            headers["If-Range"] = validator
        for _ in range(1 + MAX_REDIRECTS):
            target = check(url, self._limits)
            response = self._get(target, headers)
            if response.status not in _REDIRECTS:
                _judge(response, target.host, ranged=span is not None)
                return Reply(response, url, target.host, span[0] if span else 0)
            self.close()
            url = _redirected(url, response)
        raise OutputRefused("The link to the video redirects too often.")

    def _get(self, target: Target, headers: dict[str, str]) -> http.client.HTTPResponse:
        if self._reusable(target):
            connection = self._connection
        else:
            self.close()
            connection = self._connection = _Connection(target, self._limits, self._clock)
            self._target = target
        assert connection is not None  # noqa: S101
        try:
            connection.request("GET", target.path, headers=headers)
            self._response = connection.getresponse()
        except ssl.SSLCertVerificationError:
            raise OutputUnreachable(f"{target.host} has no valid certificate for its name.") from None
        except (OSError, ValueError, http.client.HTTPException):
            raise OutputUnreachable(f"{target.host} did not answer, or not in HTTP.") from None
        return self._response

    def _reusable(self, target: Target) -> bool:
        kept = self._target
        return (
            kept is not None
            and (kept.scheme, kept.host, kept.port) == (target.scheme, target.host, target.port)
            and self._response is not None
            and self._response.isclosed()
        )

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()
        self._connection = self._target = self._response = None


def _judge(response: http.client.HTTPResponse, host: str, *, ranged: bool) -> None:
    status = response.status
    if status in _EXPIRED:
        raise OutputExpired(f"{host} refused the link with HTTP {status}.", http_status=status)
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise OutputInvalid(f"{host} has no such bytes: the file is empty or has changed.", http_status=status)
    if status not in ((200, 206) if ranged else (200,)):
        raise OutputUnreachable(f"{host} answered with HTTP {status}.", http_status=status)


def _redirected(url: str, response: http.client.HTTPResponse) -> str:
    try:
        return urljoin(url, response.headers.get("Location", ""))
    except ValueError:
        raise OutputRefused("The link to the video redirects to an address that is not well-formed.") from None
