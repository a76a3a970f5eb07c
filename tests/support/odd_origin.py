"""Run an origin with configurable manners: ranges, framing, version names, redirects, interim answers.

Each of them exists at CDNs and object stores that every browser supports. `Manners` selects them; `behave` turns them
into answers.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.delivery_origin import box, moov, video_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.delivery_origin import Request

LOCATIONS = {
    "path": b"/%d/video.mp4?signature=s3cr3t",
    "relative": b"../%d/video.mp4",
    "blanks": b"  /%d/a video.mp4?name=a b  ",
    "UTF-8": "/%d/café/vidéo 猫.mp4".encode(),
    "Latin-1": "/%d/café/vidéo.mp4".encode("latin-1"),
}
COOKIES = "Set-Cookie: seen=a=b; Path=/; HttpOnly\r\nSet-Cookie: last = 1\r\nSet-Cookie: ; Secure\r\n"
INTERIM = {
    100: "HTTP/1.1 100 Continue\r\n\r\n",
    102: "HTTP/1.1 102 Processing\r\n\r\n",
    103: "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.css>; rel=preload\r\n\r\n",
}


@dataclass(frozen=True)
class Manners:
    """How an origin behaves.

    Attributes:
        ranges: The answer to a request with a range; see `_RANGED`. A number is a status.
        later: Whether this applies only to ranges that do not begin at 0.
        etag: `strong`, `weak`, `none`, or `each` for a new one with each answer.
        plain: How the whole file is framed; see `_PLAIN`.
        encoding: The value of `Content-Encoding`.
        interim: The interim answers before the final one.
        fields: The number of superfluous header fields.
        redirects: The number of redirects before the answer.
        location: The form of their `Location`; see `LOCATIONS`.
        cookie: Whether it redirects until its cookies are sent back.
        cut: The number of bytes that are missing at the end of the origin's file.
        lost: The number of announced bytes of each body that do not arrive.
    """

    ranges: str | int = "good"
    later: bool = False
    etag: str = "strong"
    plain: str = "length"
    encoding: str | None = None
    interim: tuple[int, ...] = ()
    fields: int = 0
    redirects: int = 0
    location: str = "path"
    cookie: bool = False
    cut: int = 0
    lost: int = 0


@dataclass
class Answer:
    """One request to an origin of these manners, and what is needed to answer it."""

    request: Request
    manners: Manners
    body: bytes
    number: int
    first: int = 0
    last: int = 0
    fields: list[str] = field(default_factory=list)

    def send(self, status: str, *fields: str, body: bytes = b"", close: bool = False) -> None:
        arriving = body[: max(0, len(body) - self.manners.lost)]
        self.request.answer(status, "\r\n".join([*fields, *self.fields]), arriving)
        if close or len(arriving) < len(body):
            self.request.connection.close()

    @property
    def part(self) -> bytes:
        return self.body[self.first : self.last + 1]

    def content_range(self, total: int | str | None = None, last: int | None = None) -> str:
        end = self.last if last is None else last
        return f"Content-Range: bytes {self.first}-{end}/{len(self.body) if total is None else total}"


def _moov_first(size: int, seed: int = 1) -> bytes:
    """Return a file with its `moov` first, as for the web, so that a cut file still has its header."""
    front = box(b"ftyp", b"isom", bytes(4), b"isommp42") + moov()
    return front + box(b"mdat", random.Random(seed).randbytes(size - len(front) - 8))  # noqa: S311


def _element(name: str, body: bytes, size: int | None = None) -> bytes:
    """Return an element with a size of eight bytes. `None` is the body's size, -1 is unknown."""
    known = len(body) if size is None else size & ((1 << 56) - 1)
    return bytes.fromhex(name) + b"\1" + known.to_bytes(7, "big") + body


def _webm(size: int, seed: int = 1, *, live: bool = False) -> bytes:
    head = _element("1a45dfa3", _element("4282", b"webm"))
    tracks = _element("1654ae6b", _element("ae", _element("d7", b"\1") + _element("83", b"\1")))
    noise = random.Random(seed).randbytes(size - len(_element("", b"")) - len(head + tracks) - 16)  # noqa: S311
    unknown = -1 if live else None
    return head + _element("18538067", tracks + _element("1f43b675", noise, unknown), unknown)


BODIES: dict[str, Callable[[int, int], bytes]] = {
    "moov last": video_bytes,
    "moov first": _moov_first,
    "WebM": _webm,
    "live WebM": lambda size, seed: _webm(size, seed, live=True),
}
"""Files of exactly so many bytes. Nothing within a live WebM shows that its end is missing."""

PARTIAL, WHOLE = "206 Partial Content", "200 OK"
FRAMINGS = ("length", "chunked", "closed")


def _good(it: Answer) -> None:
    it.send(PARTIAL, it.content_range(), f"Content-Length: {len(it.part)}", body=it.part)


def _short(it: Answer) -> None:
    it.last = min(it.last, it.first + 700)
    _good(it)


def _unclamped(it: Answer) -> None:
    asked = int(it.request.headers["range"].rpartition("-")[2])
    it.send(PARTIAL, it.content_range(last=asked), f"Content-Length: {len(it.part)}", body=it.part)


def _refuses_beyond_the_end(it: Answer) -> None:
    if int(it.request.headers["range"].rpartition("-")[2]) >= len(it.body):
        it.send("416 Range Not Satisfiable", f"Content-Range: bytes */{len(it.body)}", "Content-Length: 0")
    else:
        _good(it)


def _chunks(body: bytes) -> bytes:
    pieces = [body[at : at + 5000] for at in range(0, len(body), 5000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _multipart(it: Answer) -> None:
    inner = b"--x\r\nContent-Range: bytes 0-1/2\r\n\r\n" + it.part + b"\r\n--x--\r\n"
    it.send(PARTIAL, "Content-Type: multipart/byteranges; boundary=x", f"Content-Length: {len(inner)}", body=inner)


def _in_one(it: Answer, body: bytes, *fields: str) -> None:
    """Send the head and the body in one piece, so that surplus bytes arrive at once."""
    head = "\r\n".join([f"HTTP/1.1 {PARTIAL}", it.content_range(), *fields, *it.fields, "", ""])
    it.request.connection.sendall(head.encode() + body)
    it.request.connection.close()


def _as_range(body: Callable[[Answer], bytes], framing: str) -> Callable[[Answer], None]:
    """Send a head that names the right range, and another body."""
    match framing:
        case "length":
            return lambda it: _in_one(it, body(it), f"Content-Length: {len(it.part)}")
        case "chunked":
            return lambda it: _in_one(it, _chunks(body(it)), "Transfer-Encoding: chunked")
    return lambda it: _in_one(it, body(it))


_RANGED: dict[str, Callable[[Answer], None]] = {
    "good": _good,
    "short": _short,
    "unclamped": _unclamped,
    "416 beyond the end": _refuses_beyond_the_end,
    "no Content-Length": lambda it: it.send(PARTIAL, it.content_range(), body=it.part, close=True),
    "no Content-Range": lambda it: it.send(PARTIAL, f"Content-Length: {len(it.part)}", body=it.part),
    "length of the whole": lambda it: it.send(
        PARTIAL, it.content_range(), f"Content-Length: {len(it.body)}", body=it.part, close=True
    ),
    "the whole as a range": lambda it: it.send(
        PARTIAL,
        f"Content-Range: bytes 0-{len(it.body) - 1}/{len(it.body)}",
        f"Content-Length: {len(it.body)}",
        body=it.body,
    ),
    "unknown total": lambda it: it.send(
        PARTIAL, it.content_range("*"), f"Content-Length: {len(it.part)}", body=it.part
    ),
    "wrong total": lambda it: it.send(
        PARTIAL, it.content_range(it.last + 1), f"Content-Length: {len(it.part)}", body=it.part
    ),
    "chunked": lambda it: it.send(PARTIAL, it.content_range(), "Transfer-Encoding: chunked", body=_chunks(it.part)),
    "multipart": _multipart,
    "another range": lambda it: it.send(
        PARTIAL,
        f"Content-Range: bytes {it.first + 1}-{it.last}/{len(it.body)}",
        f"Content-Length: {len(it.part) - 1}",
        body=it.part[1:],
    ),
    "huge total": lambda it: it.send(
        PARTIAL, it.content_range(2**53 - 1), f"Content-Length: {len(it.part)}", body=it.part
    ),
    "unit in capitals": lambda it: it.send(
        PARTIAL, it.content_range().replace("bytes", "Bytes"), f"Content-Length: {len(it.part)}", body=it.part
    ),
    "the first bytes for every range": _as_range(lambda it: it.body[: len(it.part)], "length"),
    **{f"the whole file for every range, {how}": _as_range(lambda it: it.body, how) for how in FRAMINGS},
    **{f"more than the range, {how}": _as_range(lambda it: it.body[it.first :], how) for how in FRAMINGS},
    **{f"from another place on, {how}": _as_range(lambda it: it.body[it.first // 2 :], how) for how in FRAMINGS},
    "a part as 200 in chunks": lambda it: it.send(WHOLE, "Transfer-Encoding: chunked", body=_chunks(it.part)),
    "a part as 200": lambda it: it.send(WHOLE, f"Content-Length: {len(it.part)}", body=it.part),
    "reset": lambda it: it.request.connection.close(),
    "ignored": lambda it: _whole(it),
}


def _plain_206(given: str) -> Callable[[Answer], None]:
    """Send the whole file as a range without a request for one. N stands for its length, L for its last byte."""

    def answer(it: Answer) -> None:
        size = len(it.body)
        content_range = given.replace("N", str(size)).replace("L", str(size - 1))
        it.send(PARTIAL, f"Content-Range: {content_range}", f"Content-Length: {size}", body=it.body)

    return answer


_PLAIN: dict[str, Callable[[Answer], None]] = {
    "length": lambda it: it.send(WHOLE, f"Content-Length: {len(it.body)}", body=it.body),
    "blanks": lambda it: it.send(WHOLE, f"Content-Length:  {len(it.body)}   ", body=it.body),
    "twice": lambda it: it.send(
        WHOLE, f"Content-Length: {len(it.body)}", f"Content-Length: {len(it.body)}", body=it.body
    ),
    "chunked": lambda it: it.send(WHOLE, "Transfer-Encoding: chunked", body=_chunks(it.body)),
    "closed": lambda it: it.send(
        WHOLE, f"Content-Length: {len(it.body)}", "Connection: close", body=it.body, close=True
    ),
    "206": lambda it: it.send(PARTIAL, f"Content-Length: {len(it.body)}", body=it.body),
    "206 with its range": lambda it: it.send(
        PARTIAL,
        f"Content-Range: bytes 0-{len(it.body) - 1}/{len(it.body)}",
        f"Content-Length: {len(it.body)}",
        body=it.body,
    ),
    **{
        f"206 with {given or 'an empty range'}": _plain_206(given)
        for given in (
            "",
            "bytes 0-N/N",
            "bytes=0-L/N",
            "Bytes 0-L/N",
            "0-L/N",
            "bytes 0-/N",
            "bytes */N",
            "bytes  0 - L / N",
        )
    },
    "203": lambda it: it.send("203 Non-Authoritative Information", f"Content-Length: {len(it.body)}", body=it.body),
}
RANGED, PLAIN = tuple(_RANGED), tuple(_PLAIN)


def _whole(it: Answer) -> None:
    _PLAIN[it.manners.plain](it)


def _etag(manners: Manners, number: int) -> list[str]:
    match manners.etag:
        case "strong":
            return ['ETag: "v1"']
        case "weak":
            return ['ETag: W/"v1"']
        case "each":
            return [f'ETag: "v{number}"']
    return []


def _redirect(it: Answer, hop: int) -> None:
    location = LOCATIONS[it.manners.location] % (hop + 1)
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location
    it.request.connection.sendall(head + b"\r\n\r\n")


def _ranged(it: Answer) -> None:
    span = it.request.span
    assert span is not None
    it.first, it.last = span
    if f"ETag: {it.request.headers.get('if-range')}" not in it.fields and "if-range" in it.request.headers:
        _whole(it)  # as RFC 9110 says, section 13.1.5
        return
    ranges = it.manners.ranges if it.first or not it.manners.later else "good"
    if isinstance(ranges, int):
        it.send(f"{ranges} No", "Content-Length: 9", body=b"<refused>")
    else:
        _RANGED[ranges](it)


def behave(manners: Manners) -> Callable[[Request], None]:
    """Return the behaviour of an origin with these manners."""
    numbers: Iterator[int] = itertools.count()

    def answer(request: Request) -> None:
        number = next(numbers)
        body = request.body[: len(request.body) - manners.cut]
        it = Answer(request, manners, body, number, fields=_etag(manners, number))
        if manners.encoding is not None:
            it.fields.append(f"Content-Encoding: {manners.encoding}")
        it.fields += [f"X-Field-{n}: {n}" for n in range(manners.fields)]
        for status in manners.interim:
            request.connection.sendall(INTERIM[status].encode())
        hop = request.path.split("/")[1]
        at = int(hop) if hop.isdecimal() else 0
        if manners.cookie and "seen=a=b; last=1" not in request.headers.get("cookie", ""):
            request.answer("302 Found", COOKIES + f"Location: {request.path}\r\nContent-Length: 0")
        elif at < manners.redirects:
            _redirect(it, at)
        elif request.span is not None:
            _ranged(it)
        else:
            _whole(it)

    return answer
