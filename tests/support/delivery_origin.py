"""Run an origin on the loopback with configurable faults, and make a video to serve from it.

Shared by the delivery tests. Writes HTTP by hand, because a proper server cannot send invalid answers.
"""

from __future__ import annotations

import contextlib
import datetime
import random
import re
import socketserver
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.delivery import Delivery, Limits, deliver
from shared.delivery.limits import MIB

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

ETAG = '"v1"'


def box(kind: bytes, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I", 8 + len(body)) + kind + body


def track(handler: bytes, codec: bytes, width: int = 0, height: int = 0) -> bytes:
    matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    tkhd = box(b"tkhd", bytes(40), matrix, struct.pack(">II", width << 16, height << 16))
    hdlr = box(b"hdlr", bytes(8), handler, bytes(13))
    stsd = box(b"stsd", bytes(4), struct.pack(">I", 1), box(codec, bytes(78)))
    return box(b"trak", tkhd, box(b"mdia", hdlr, box(b"minf", box(b"stbl", stsd))))


def moov(seconds: float = 5.0, width: int = 720, height: int = 1280) -> bytes:
    mvhd = box(b"mvhd", bytes(12), struct.pack(">II", 1000, int(seconds * 1000)), bytes(80))
    return box(b"moov", mvhd, track(b"vide", b"avc1", width, height), track(b"soun", b"mp4a"))


def video_bytes(size: int, seed: int = 1) -> bytes:
    """Return a well-formed MP4 of exactly `size` bytes, with its `moov` at the end as encoders write it by default."""
    head, tail = box(b"ftyp", b"isom", bytes(4), b"isommp42"), moov()
    noise = random.Random(seed).randbytes(size - len(head) - len(tail) - 8)  # noqa: S311
    return head + box(b"mdat", noise) + tail


def self_signed(path: Path) -> Path:
    """Write a self-signed certificate for `localhost`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(built.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return path


@dataclass
class Request:
    """One request, and the ways to answer it."""

    path: str
    headers: dict[str, str]
    connection: socket.socket
    body: bytes

    @property
    def span(self) -> tuple[int, int] | None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(match[1]), min(int(match[2]), len(self.body) - 1)) if match else None

    def answer(self, status: str, headers: str = "", body: bytes = b"") -> None:
        head = f"HTTP/1.1 {status}\r\n{headers}"
        self.connection.sendall((head if head.endswith("\r\n") else head + "\r\n").encode("latin-1") + b"\r\n")
        self.connection.sendall(body)

    def whole(self) -> None:
        self.answer("200 OK", f"Content-Length: {len(self.body)}", self.body)

    def chunked(self) -> None:
        self.answer("200 OK", "Transfer-Encoding: chunked")
        for start in range(0, len(self.body), 1 << 20):
            piece = self.body[start : start + (1 << 20)]
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.connection.sendall(b"0\r\n\r\n")

    def ranged(self, etag: str = ETAG) -> None:
        """Answer as a good object store does."""
        if self.span is None or self.headers.get("if-range", etag) != etag:
            self.answer("200 OK", f"Content-Length: {len(self.body)}\r\nETag: {etag}", self.body)
            return
        first, last = self.span
        self.answer(
            "206 Partial Content",
            f"Content-Length: {last - first + 1}\r\nETag: {etag}\r\n"
            f"Content-Range: bytes {first}-{last}/{len(self.body)}",
            self.body[first : last + 1],
        )

    def drip(self, piece: bytes = b"x", pause: float = 0.02) -> None:
        """Send a little at a time until the client gives up."""
        while True:
            self.connection.sendall(piece)
            time.sleep(pause)


@dataclass
class Origin:
    """A running origin. `requests` has all its requests in order."""

    port: int
    body: bytes
    behaviour: Callable[[Request], None] = Request.ranged
    scheme: str = "http"
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/video.mp4?signature=s3cr3t"

    def asked(self) -> list[tuple[int, int]]:
        """Return the ranges requested so far, in order."""
        return [request.span for request in self.requests if request.span is not None]


def _read_head(connection: socket.socket) -> tuple[str, dict[str, str]] | None:
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(65536)
        if not received:
            return None
        head += received
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines if ": " in line)
    return first.split(" ")[1], {name.lower(): value for name, value in pairs}


@contextlib.contextmanager
def serve(
    body: bytes, behaviour: Callable[[Request], None] = Request.ranged, tls: ssl.SSLContext | None = None
) -> Iterator[Origin]:
    """Run an origin until the block ends."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                with connection:
                    while (head := _read_head(connection)) is not None:
                        request = Request(*head, connection, origin.body)
                        origin.requests.append(request)
                        origin.behaviour(request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        origin = Origin(server.server_address[1], body, behaviour, scheme="https" if tls else "http")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield origin
        finally:
            server.shutdown()


LAPTOP = Limits(allow_http=True, allow_private=True, part_bytes=5 * MIB, idle_seconds=5.0, reserve_seconds=0.0)
BUCKET, KEY = "videos", "videos/2026/01/02/job.mp4"


def bucket() -> S3Client:
    """Return a client with an empty bucket. Use it inside `moto.mock_aws`."""
    client: S3Client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")

    def as_bytes(request: Any, **_: object) -> None:
        if isinstance(request.body, bytearray):  # moto's in-process stub takes no other kind of body than bytes
            request.body = bytes(request.body)

    client.meta.events.register_first("before-send.s3", as_bytes)
    client.create_bucket(Bucket=BUCKET)
    return client


def copy(
    origin: Origin,
    s3: S3Client,
    limits: Limits = LAPTOP,
    remaining: Callable[[], float] = lambda: 60.0,
    source: Callable[[], str] | None = None,
    metadata: Mapping[str, str] = {"job-id": "job"},
    first: bool = False,
    before_publish: Callable[[], None] = lambda: None,
) -> Delivery:
    """Deliver the origin's file to the bucket, as the function does."""
    return deliver(
        source or (lambda: origin.url),
        s3=s3,
        bucket=BUCKET,
        key=KEY,
        limits=limits,
        metadata=metadata,
        tags={"model": "a/b c"},
        remaining=remaining,
        first=first,
        before_publish=before_publish,
    )


def left_behind(s3: S3Client) -> tuple[list[str], int]:
    """Return the names of the objects in the bucket, and the number of unfinished uploads."""
    names = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return names, len(s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))
