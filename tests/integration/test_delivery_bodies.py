"""Test wrong response bodies: none becomes an object, none leaves an upload behind, each has its named error."""

from __future__ import annotations

import dataclasses
import gzip
from typing import TYPE_CHECKING

import moto
import pytest

from shared.delivery import OutputInvalid, OutputTooLarge, OutputUnreachable
from shared.delivery.limits import MIB
from tests.support.delivery_origin import LAPTOP, Request, box, bucket, copy, left_behind, moov, serve, video_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

SMALL, LARGE = video_bytes(200_000), video_bytes(12 * MIB)
LONG_LIMITS = dataclasses.replace(LAPTOP, max_bytes=40 * MIB)
SHORT_LIMITS = dataclasses.replace(LONG_LIMITS, total_seconds=1.0, idle_seconds=0.4)


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with moto.mock_aws():
        yield bucket()


def fixed(headers: str, body: bytes, status: str = "200 OK") -> Callable[[Request], None]:
    """Send one answer, then close the connection."""

    def behave(request: Request) -> None:
        request.answer(status, headers, body)
        request.connection.close()

    return behave


def sized(body: bytes, headers: str = "") -> Callable[[Request], None]:
    return fixed(f"{headers}Content-Length: {len(body)}", body)


def dripping(headers: str, body: bytes, piece: bytes = b"x") -> Callable[[Request], None]:
    def behave(request: Request) -> None:
        request.answer("200 OK", headers, body)
        request.drip(piece)

    return behave


def silent(request: Request) -> None:
    request.connection.recv(1)


def dripping_head(request: Request) -> None:
    request.connection.sendall(b"HTTP/1.1 200 OK\r\n")
    request.drip(b"X-Padding: x\r\n")


def silent_middle(request: Request) -> None:
    request.answer("200 OK", f"Content-Length: {len(LARGE)}", LARGE[: 7 * MIB])
    request.connection.recv(1)


def endless(request: Request) -> None:
    request.answer("200 OK", "Transfer-Encoding: chunked")
    piece = LARGE[:MIB]
    while True:
        request.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))


def chunked_cut(request: Request) -> None:
    request.answer("200 OK", "Transfer-Encoding: chunked", b"30d40\r\n" + SMALL[:100_000])
    request.connection.close()


def chunks_of(body: bytes) -> Callable[[Request], None]:
    """Send the chunks with a proper end, as a proxy does that lost its own source."""
    return lambda request: dataclasses.replace(request, body=body).chunked()


def truncated_ranges(request: Request) -> None:
    """Send good headers and good magic bytes, and cut every range beyond the first half of the file."""
    first, last = request.span or (0, 0)
    headers = f'Content-Range: bytes {first}-{last}/{len(LARGE)}\r\nETag: "v1"\r\nContent-Length: {last - first + 1}'
    request.answer("206 Partial Content", headers, LARGE[first : min(last + 1, 7 * MIB)])
    request.connection.close()


def ranges_of_nothing(request: Request) -> None:
    request.answer("416 Range Not Satisfiable", "Content-Range: bytes */0\r\nContent-Length: 0")


def partial(content_range: str, body: bytes) -> Callable[[Request], None]:
    headers = f'Content-Range: {content_range}\r\nETag: "v1"\r\nContent-Length: {len(body)}'
    return fixed(headers, body, "206 Partial Content")


def of_size(body: bytes) -> Callable[[Request], None]:
    return lambda request: dataclasses.replace(request, body=body).ranged()


WRONG: list[tuple[str, Callable[[Request], None], type[Exception]]] = [
    ("truncated small", fixed(f"Content-Length: {len(SMALL)}", SMALL[:150_000]), OutputInvalid),
    ("truncated by one byte", fixed(f"Content-Length: {len(SMALL)}", SMALL[:-1]), OutputInvalid),
    ("truncated large stream", fixed(f"Content-Length: {len(LARGE)}", LARGE[: 9 * MIB]), OutputInvalid),
    ("truncated chunks", chunked_cut, OutputInvalid),
    ("truncated ranges", truncated_ranges, OutputInvalid),
    ("truncated at its own source", sized(SMALL[:150_000]), OutputInvalid),
    ("truncated at its own source, ranged", of_size(LARGE[: 9 * MIB]), OutputInvalid),
    ("truncated at its own source, streamed", sized(LARGE[: 9 * MIB]), OutputInvalid),
    ("truncated at its own source, small chunks", chunks_of(SMALL[:150_000]), OutputInvalid),
    ("truncated at its own source, large chunks", chunks_of(LARGE[: 9 * MIB]), OutputInvalid),
    ("truncated at its own source, after a whole part", chunks_of(LARGE[: 5 * MIB]), OutputInvalid),
    ("truncated behind mdat", sized(SMALL[: -len(moov())]), OutputInvalid),
    ("truncated behind mdat, streamed", sized(LARGE[: -len(moov())]), OutputInvalid),
    ("truncated in moov, chunked", chunks_of(LARGE[:-1]), OutputInvalid),
    ("no length at all", fixed("Connection: close", SMALL), OutputInvalid),
    ("length says more", fixed(f"Content-Length: {len(SMALL) + 1}", SMALL), OutputInvalid),
    ("length says less", fixed(f"Content-Length: {len(SMALL) - 9}", SMALL), OutputInvalid),
    ("length says two things", fixed("Content-Length: 5\r\nContent-Length: 200000", SMALL), OutputInvalid),
    ("length is no number", fixed("Content-Length: +200_000", SMALL), OutputInvalid),
    ("length is negative", fixed("Content-Length: -1", SMALL), OutputInvalid),
    ("range of another place", partial(f"bytes 5-{len(SMALL) - 1}/{len(SMALL)}", SMALL[5:]), OutputInvalid),
    ("range beyond its total", partial(f"bytes 0-{len(SMALL) - 1}/100", SMALL), OutputInvalid),
    ("range without numbers, of a larger file", partial("bytes */200001", SMALL), OutputInvalid),
    ("range contradicts length", partial(f"bytes 0-99/{len(SMALL)}", SMALL), OutputInvalid),
    ("empty", sized(b""), OutputInvalid),
    ("empty range", ranges_of_nothing, OutputInvalid),
    ("empty chunks", fixed("Transfer-Encoding: chunked", b"0\r\n\r\n"), OutputInvalid),
    ("web page", sized(b"<!DOCTYPE html><title>Sign in</title>" * 9, "Content-Type: video/mp4\r\n"), OutputInvalid),
    ("JSON", sized(b'{"error": "expired"}' * 9, "Content-Type: video/mp4\r\n"), OutputInvalid),
    ("picture", sized(b"\x89PNG\r\n\x1a\n" + SMALL), OutputInvalid),
    ("still picture in a video's container", sized(box(b"ftyp", b"avif", bytes(24)) + moov()), OutputInvalid),
    ("video with something in front", sized(b"\xef\xbb\xbf" + SMALL), OutputInvalid),
    ("eight bytes", sized(SMALL[:8]), OutputInvalid),
    ("gzip bomb", sized(gzip.compress(bytes(50 * MIB)), "Content-Encoding: gzip\r\n"), OutputInvalid),
    ("gzip bomb without a word", sized(gzip.compress(bytes(50 * MIB))), OutputInvalid),
    ("encoded twice", fixed("Transfer-Encoding: gzip, chunked", SMALL), OutputInvalid),
    ("larger than allowed, announced", of_size(video_bytes(41 * MIB)), OutputTooLarge),
    ("larger than allowed, announced to the moon", fixed(f"Content-Length: {10**17}", SMALL), OutputTooLarge),
    ("endless chunks", endless, OutputTooLarge),
    ("silent", silent, OutputUnreachable),
    ("silent in the middle", silent_middle, OutputUnreachable),
    ("slow loris in the head", dripping_head, OutputUnreachable),
    ("slow loris in the body", dripping(f"Content-Length: {len(SMALL)}", SMALL[:100]), OutputUnreachable),
    ("slow loris in the chunks", dripping("Transfer-Encoding: chunked", b"", b"1\r\nx\r\n"), OutputUnreachable),
    ("not HTTP", lambda request: request.drip(b"SSH-2.0-OpenSSH_9.0\r\n"), OutputUnreachable),
    ("head without an end", fixed("\r\n".join(f"X-{n}: {n}" for n in range(500)), SMALL), OutputUnreachable),
    ("server error", fixed("Content-Length: 0", b"", "502 Bad Gateway"), OutputUnreachable),
    ("no content", fixed("Content-Length: 0", b"", "204 No Content"), OutputUnreachable),
]


@pytest.mark.parametrize(("behaviour", "error"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_body_never_becomes_an_object(
    s3: S3Client, behaviour: Callable[[Request], None], error: type[Exception]
) -> None:
    with serve(SMALL, behaviour) as origin, pytest.raises(error) as raised:
        copy(origin, s3, SHORT_LIMITS if error is OutputUnreachable else LONG_LIMITS)
    assert left_behind(s3) == ([], 0)
    assert "s3cr3t" not in str(raised.value)
