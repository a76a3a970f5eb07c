"""Open a link: follow a few redirects, check the response's head, and return the body with its length.

The guard checks every hop, and the socket connects only to an address that it has checked. h11 and a socket replace
httpx for three reasons: a body is read directly into the buffer for S3, the socket's address and timeouts are under
control, and no logger can write a presigned URL.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, NoReturn

import h11

from shared.delivery import links
from shared.delivery.connection import Connection, Deadline, Headers, Response, Surplus, Truncated
from shared.delivery.errors import OutputExpired, OutputInvalid, OutputUnreachable
from shared.delivery.guard import Target, check

if TYPE_CHECKING:
    from shared.delivery.limits import Limits

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# S3 answers 400 when a link's session has ended, 403 when the link has expired, 404 or 410 when the file is gone.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_WITHOUT_BODY = frozenset({204, 205})
_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z", re.IGNORECASE)
# The first and last byte, and the size, in a Content-Range of any spelling.
_SPAN = re.compile(r"([0-9]{1,18}) *- *([0-9]{1,18})")
_TOTAL = re.compile(r"/ *([0-9]{1,18})")
_STRONG_ETAG = re.compile(r'"[!#-~]+"\Z')
# h11's error names the field that it rejects.
_FRAMING = ("Content-Length", "Transfer-Encoding")


class RangesUnusable(Exception):
    """The origin does not serve ranges as RFC 9110 requires. A plain GET may still work. Never leaves the package."""


class Reply:
    """A response with a checked head and a usable body.

    Attributes:
        url: The URL for the next request: where redirects ended, or the first link if they set cookies. A secret.
        host: The host, for messages.
        length: Bytes of this body; `None` if unknown.
        total: Bytes of the whole file; `None` if unknown.
        partial: Whether this is a range of the file.
        validator: The strong ETag, quoted, if there is one.
        encoding: `Content-Encoding`; empty without it.

    Raises:
        RangesUnusable: A range was requested, and the response is no usable range.
        OutputInvalid: The body's end is not marked, or the head describes only a part of the file.
    """

    def __init__(self, response: Response, url: str, host: str, first: int | None) -> None:
        self._response = response
        self._peeked = b""
        self.url = url
        self.host = host
        self.encoding = (response.field("content-encoding") or "").lower()
        etag = response.field("etag") or ""
        self.validator = etag if _STRONG_ETAG.match(etag) else None
        self.length = self.total = response.length
        self.partial = response.status == _PARTIAL and first is not None
        content_range = (response.field("content-range") or "") if response.status == _PARTIAL else ""
        if first is not None and self.partial:
            self._take_range(content_range, first)
        else:
            self._take_whole(content_range)

    def _take_range(self, content_range: str, first: int) -> None:
        """Read from `Content-Range` which bytes these are."""
        match = _CONTENT_RANGE.match(content_range)
        if match is None or int(match[1]) != first or int(match[2]) < first:
            self._refuse("sent another range than it was asked for")
        span = int(match[2]) - first + 1
        total = None if match[3] == "*" else int(match[3])
        if self.length not in (None, span) or (total is not None and int(match[2]) >= total):
            self._refuse("contradicts itself about the length of the file")
        self._response.limit(span)
        self.length, self.total = span, total

    def _take_whole(self, content_range: str) -> None:
        """Require a marked end of the body, and a head that does not describe a part of the file.

        No range was requested, so an unreadable `Content-Range` is ignored.
        """
        span, of = _SPAN.search(content_range), _TOTAL.search(content_range)
        end = None if span is None else int(span[2]) + 1
        sizes = {size for size in (self.length, of and int(of[1])) if size is not None}
        if (span and int(span[1])) or len(sizes) > 1 or (end is not None and end < max(sizes, default=0)):
            self._refuse("sent a part of the file although all of it was asked for")
        if self.length is None and end is not None and sizes == {end}:
            self._response.limit(end)
            self.length = self.total = end
        elif not self._response.delimited:
            self._refuse("does not say how long the body is, so a truncation would go unnoticed")

    def _refuse(self, what: str) -> NoReturn:
        raise RangesUnusable(what) if self.partial else OutputInvalid(f"{self.host} {what}.")

    @property
    def whole(self) -> bool:
        """Whether this body is the whole file."""
        return not self.partial or self.length == self.total

    def peek(self, count: int) -> bytes:
        """Return the first bytes of the body, at most `count`; a later `fill` gets them too."""
        buffer = bytearray(count)
        self._peeked = bytes(buffer[: self._read(memoryview(buffer))])
        return self._peeked

    def fill(self, view: memoryview) -> int:
        """Read the body into `view`. Returns fewer bytes than `view` holds only at the body's proper end.

        Raises:
            RangesUnusable: The body continues beyond its range.
            OutputInvalid: The body ended too early.
            OutputUnreachable: The connection broke or timed out.
            DeadlineExceeded: The deadline has passed.
        """
        peeked = self._peeked[: len(view)]
        self._peeked = self._peeked[len(peeked) :]
        view[: len(peeked)] = peeked
        return len(peeked) + self._read(view[len(peeked) :])

    def _read(self, view: memoryview) -> int:
        try:
            return self._response.read_into(view)
        except Truncated:
            announced = "" if self.length is None else f" of {self.length} bytes"
            raise OutputInvalid(f"{self.host} sent a truncated body{announced}.") from None
        except Surplus:
            self._refuse("sent more than the range that it names")
        except (OSError, h11.ProtocolError):
            raise OutputUnreachable(f"The connection to {self.host} broke or timed out.") from None


class Fetcher:
    """One connection, kept open between requests. For one thread.

    Attributes:
        connected: Whether any host has accepted a connection so far.
    """

    def __init__(self, limits: Limits, deadline: Deadline) -> None:
        self._limits = limits
        self._deadline = deadline
        self._connection: Connection | None = None
        self._response: Response | None = None
        self.connected = False

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, url: str, span: tuple[int, int] | None = None, validator: str | None = None) -> Reply:
        """Request a file, or the bytes `span[0]` to `span[1]`, inclusive, of the version `validator`.

        A cookie from a redirect is sent back only to its own host, until the redirects end.

        Raises:
            RangesUnusable: A span was requested, and the response is no usable range.
            OutputExpired, OutputInvalid, OutputRefused, OutputUnreachable: See `shared.delivery.errors`.
            DeadlineExceeded: The deadline has passed.
        """
        headers: Headers = [
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"video-delivery/1"),
        ]
        if span is not None:
            headers.append((b"Range", b"bytes=%d-%d" % span))
        if validator is not None:
            headers.append((b"If-Range", validator.encode()))
        url = given = links.normalize(url)
        jar: dict[tuple[str, str, int], dict[bytes, bytes]] = {}
        for _ in range(1 + MAX_REDIRECTS):
            target = check(url, self._limits)
            cookies = jar.setdefault((target.scheme, target.host, target.port), {})
            sent = b"; ".join(name + b"=" + value for name, value in cookies.items())
            response = self._get(target, [*headers, (b"Cookie", sent)] if sent else headers)
            location = response.raw_field("location")
            if response.status not in _REDIRECTS or not location:
                _require_body(response, target.host)
                return Reply(response, given if any(jar.values()) else url, target.host, span[0] if span else None)
            cookies.update(response.cookies())
            self.close()
            url = links.follow(url, location)
        raise OutputUnreachable("The link to the video redirects too often.")

    def _get(self, target: Target, headers: Headers) -> Response:
        try:
            return self._request(target, headers)
        except ssl.SSLCertVerificationError:
            raise OutputUnreachable(f"{target.host} has no valid certificate for its name.") from None
        except h11.ProtocolError as error:
            if any(field in str(error) for field in _FRAMING):
                raise OutputInvalid(f"{target.host} does not say in a valid way how long the body is.") from None
            raise OutputUnreachable(f"{target.host} did not answer in HTTP.") from None
        except OSError:
            raise OutputUnreachable(f"{target.host} did not answer.") from None

    def _request(self, target: Target, headers: Headers) -> Response:
        if (kept := self._reusable(target)) is not None:
            try:
                self._response = kept.get(headers)
            except (ConnectionError, ssl.SSLError, h11.RemoteProtocolError):  # perhaps closed since its last response
                self.close()
            else:
                return self._response
        self.close()
        self._connection = Connection(target, self._limits, self._deadline)
        self.connected = True
        self._response = self._connection.get(headers)
        return self._response

    def _reusable(self, target: Target) -> Connection | None:
        """Return the open connection, ready for another request to the same host."""
        connection = self._connection
        if connection is None or self._response is None or not self._response.reusable:
            return None
        kept = connection.target
        if (kept.scheme, kept.host, kept.port) != (target.scheme, target.host, target.port):
            return None
        connection.target = target
        return connection

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._response = None


def _require_body(response: Response, host: str) -> None:
    """Require a success with a body.

    Raises:
        OutputExpired, OutputInvalid, OutputUnreachable: See `shared.delivery.errors`.
    """
    status = response.status
    if status in _EXPIRED:
        raise OutputExpired(f"{host} refused the link with HTTP {status}.", http_status=status)
    if status == _RANGE_NOT_SATISFIABLE:
        raise OutputInvalid(f"{host} says that the file is empty (HTTP {status}).", http_status=status)
    if not 200 <= status < 300 or status in _WITHOUT_BODY:
        raise OutputUnreachable(f"{host} answered with HTTP {status}.", http_status=status)
