"""Measure the speed and memory of copying a video from its link into a bucket, and of other ways to do it.

    python -m benchmarks.delivery [--quick] [--sizes 1,64,1024] [--origins open,capped,stream] [--repeats 5]

An origin, a store and every case run on the loopback, over TLS, each in its own process. The store implements the parts
of S3 that the methods need and discards the bytes, so the numbers are the methods' own. Methods:

    ours             shared.delivery
    upload_fileobj   boto3's transfer manager at its defaults, over a urllib3 stream
    put_object       the whole body in memory, then one put
    read limit       the origin alone: bare sockets, as many as ours, bytes discarded
    write limit      the store alone: bare sockets, as many as ours
    relay limit      both at once, neither checksums nor an HTTP library: the limit of this machine

`cores` is how many cores the method's own process kept busy. The servers use the rest.

Origins: `open` sends as fast as it can; `capped` gives each connection 40 MB/s; `stream` supports no ranges.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import re
import socket
import socketserver
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MIB = 1024 * 1024
BUCKET, KEY = "videos", "v.mp4"
CAP_BYTES_PER_SECOND = 40_000_000
CONNECTIONS = 6
PART = 6 * MIB
LIMITS = ("read limit", "write limit", "relay limit")
ALTERNATIVES = ("upload_fileobj", "put_object")
METHODS = ("ours", *ALTERNATIVES, *LIMITS)
NOISE = os.urandom(MIB)
SMALL_MIB = 1


class _Handler(socketserver.BaseRequestHandler):
    """A minimal HTTP server, with as little work per byte as Python allows."""

    context: ssl.SSLContext

    def handle(self) -> None:
        with (
            contextlib.suppress(OSError),
            self.context.wrap_socket(self.request, server_side=True) as connection,
            connection.makefile("rb", buffering=65536) as source,
        ):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while first := source.readline().decode("latin-1"):
                headers = {}
                while (line := source.readline().decode("latin-1").strip()) != "":
                    name, _, headers[name.lower()] = line.partition(": ")
                method, path, _ = first.split(" ")
                self.answer(connection, source, method, path, headers)

    def answer(self, sink: ssl.SSLSocket, source: Any, method: str, path: str, headers: dict[str, str]) -> None:
        raise NotImplementedError


class OriginHandler(_Handler):
    """Answers `/<bytes>?cap=…&ranges=0` with an MP4 of that size, generated while it is sent."""

    def answer(self, sink: ssl.SSLSocket, source: Any, method: str, path: str, headers: dict[str, str]) -> None:
        from tests.support.delivery_origin import box, moov

        url = urlsplit(path)
        options = parse_qs(url.query)
        size = int(url.path[1:])
        tail = moov()
        start = box(b"ftyp", b"isom", bytes(4), b"isommp42")
        start += (size - len(start) - len(tail)).to_bytes(4, "big") + b"mdat"
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", "")) if "ranges" not in options else None
        first, last = (int(span[1]), min(int(span[2]), size - 1)) if span else (0, size - 1)
        status = "206 Partial Content" if span else "200 OK"
        sink.sendall(
            f'HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\nETag: "{size}"\r\n'
            f"Content-Range: bytes {first}-{last}/{size}\r\n\r\n".encode()
        )
        self._send(sink, start, tail, size, first, last + 1, float(options.get("cap", ["inf"])[0]))

    def _send(
        self, connection: ssl.SSLSocket, start: bytes, tail: bytes, size: int, at: int, end: int, cap: float
    ) -> None:
        noise, began, sent = memoryview(NOISE), time.monotonic(), 0
        while at < end:
            if at < len(start):
                piece: Any = start[at:end]
            elif at >= size - len(tail):
                piece = tail[at - size + len(tail) :][: end - at]
            else:
                piece = noise[: min(len(noise) // (8 if cap < 1e12 else 1), end - at, size - len(tail) - at)]
            connection.sendall(piece)
            at, sent = at + len(piece), sent + len(piece)
            time.sleep(max(0.0, began + sent / cap - time.monotonic()))


class StoreHandler(_Handler):
    """The parts of S3 that the methods need. Keeps sizes, no bytes."""

    sizes: dict[str, int]

    def answer(self, sink: ssl.SSLSocket, source: Any, method: str, path: str, headers: dict[str, str]) -> None:
        if "expect" in headers:
            sink.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        received = self._discard(source, headers)
        query = urlsplit(path).query
        if method == "PUT" and ".partial" not in path:
            number = parse_qs(query).get("partNumber", ["0"])[0]
            self.sizes[number] = received
        extra, body = "", b""
        if "uploads" in query and method == "POST":
            self.sizes.clear()
            body = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        elif method == "POST":
            body = b'<CompleteMultipartUploadResult><ETag>"e-2"</ETag></CompleteMultipartUploadResult>'
        elif "list-type" in query:
            body = b"<ListBucketResult></ListBucketResult>"
        elif method == "HEAD":
            extra = f"x-amz-meta-delivery: 1\r\nContent-Type: video/mp4\r\nX-Size: {sum(self.sizes.values())}\r\n"
        elif "uploads" in query:
            body = b"<ListMultipartUploadsResult></ListMultipartUploadsResult>"
        elif span := re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", "")):
            body = bytes(int(span[2]) - int(span[1]) + 1)
        elif method == "GET":
            body = b"<Error><Code>NoSuchKey</Code></Error>"
        status = "404 Not Found" if b"NoSuchKey" in body else "200 OK"
        length = sum(self.sizes.values()) if method == "HEAD" else len(body)
        sink.sendall(f'HTTP/1.1 {status}\r\nETag: "e-2"\r\n{extra}Content-Length: {length}\r\n\r\n'.encode() + body)

    def _discard(self, source: Any, headers: dict[str, str]) -> int:
        buffer = memoryview(bytearray(256 * 1024))

        def skip(count: int) -> None:
            while count > 0:
                count -= source.readinto(buffer[: min(count, len(buffer))])

        if headers.get("transfer-encoding") != "chunked":
            skip(length := int(headers.get("content-length", 0)))
            return length
        while length := int(source.readline(), 16):
            skip(length)
            source.readline()
        source.readline()
        return int(headers["x-amz-decoded-content-length"])


def _serve(kind: type[_Handler], certificate: str, port: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = type("Handler", (kind,), {"context": context, "sizes": {}})
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        port.send(server.server_address[1])
        server.serve_forever()


@contextlib.contextmanager
def servers(certificate: Path) -> Any:
    """Run an origin and a store, and return their ports."""
    spawn, running, ports = multiprocessing.get_context("spawn"), [], []
    try:
        for kind in (OriginHandler, StoreHandler):
            ours, theirs = spawn.Pipe()
            running.append(spawn.Process(target=_serve, args=(kind, str(certificate), theirs), daemon=True))
            running[-1].start()
            ports.append(ours.recv())
        yield tuple(ports)
    finally:
        for process in running:
            process.terminate()
            process.join()


# ---- one case, in a process of its own -------------------------------------------------------------------------------


def _client(store: int, config: Any = None) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106
        endpoint_url=f"https://localhost:{store}",
        config=Config(s3={**(config.s3 if config else {}), "addressing_style": "path"}),
    )


def _ours(url: str, size: int, store: int) -> Any:
    from shared import runtime
    from shared.delivery import Limits, deliver

    s3, limits = _client(store, runtime.S3), Limits(allow_private=True)

    def run() -> None:
        delivery = deliver(
            lambda: url,
            s3=s3,
            bucket=BUCKET,
            key=KEY,
            limits=limits,
            metadata={},
            tags={},
            remaining=lambda: 900.0,
            first=True,
        )
        assert delivery.bytes == size  # noqa: S101

    return run


def _upload_fileobj(url: str, _size: int, store: int) -> Any:
    import urllib3

    s3, context = _client(store), ssl.create_default_context()

    def run() -> None:  # a new connection each time, as each video comes on its own
        with (
            urllib3.PoolManager(ssl_context=context) as pool,
            pool.request("GET", url, preload_content=False) as response,
        ):
            s3.upload_fileobj(response, BUCKET, KEY)

    return run


def _put_object(url: str, _size: int, store: int) -> Any:
    import urllib3

    s3, context = _client(store), ssl.create_default_context()

    def run() -> None:
        with urllib3.PoolManager(ssl_context=context) as pool:
            s3.put_object(Bucket=BUCKET, Key=KEY, Body=pool.request("GET", url).data)

    return run


def _connect(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("localhost", port)), server_hostname="localhost")


def _ask(wire: ssl.SSLSocket, path: str, first: int, length: int, buffer: bytearray) -> int:
    """Send a request and read the head of the answer. Returns the part of the body that came with it."""
    wire.sendall(f"GET {path} HTTP/1.1\r\nRange: bytes={first}-{first + length - 1}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += wire.recv(4096)
    body = head.partition(b"\r\n\r\n")[2]
    buffer[: len(body)] = body
    return len(body)


def _fill(wire: ssl.SSLSocket, view: memoryview) -> None:
    at = 0
    while at < len(view):
        at += wire.recv_into(view[at:])


def _write(wire: ssl.SSLSocket, number: int, view: memoryview) -> None:
    wire.sendall(f"PUT /v?partNumber={number} HTTP/1.1\r\nContent-Length: {len(view)}\r\n\r\n".encode())
    wire.sendall(view)
    wire.recv(4096)


def _limit(url: str, size: int, store: int, *, read: bool, write: bool) -> Any:
    target = urlsplit(url)
    path = f"{target.path}?{target.query}"
    connections = 1 if "ranges" in target.query else min(CONNECTIONS, -(-size // PART))
    context = ssl.create_default_context()
    sinks = [_connect(context, store) for _ in range(connections)] if write else []  # S3 clients keep theirs open too

    def work(queue: Any, sink: ssl.SSLSocket | None) -> None:
        source = _connect(context, target.port or 443) if read else None
        buffer = bytearray(min(PART, size))
        got = _ask(source, path, 0, size, buffer) if source and connections == 1 else 0
        for first in queue:
            view = memoryview(buffer)[: min(PART, size - first)]
            if source:
                if connections > 1:
                    got = _ask(source, path, first, len(view), buffer)
                _fill(source, view[got:])
                got = 0
            if sink:
                _write(sink, first // PART + 1, view)

    def run() -> None:
        queue = iter(range(0, size, PART))
        with concurrent.futures.ThreadPoolExecutor(connections) as pool:
            list(pool.map(work, [queue] * connections, sinks or [None] * connections))

    return run


CASES: dict[str, Any] = {
    "ours": _ours,
    "upload_fileobj": _upload_fileobj,
    "put_object": _put_object,
    "read limit": lambda *at: _limit(*at, read=True, write=False),
    "write limit": lambda *at: _limit(*at, read=False, write=True),
    "relay limit": lambda *at: _limit(*at, read=True, write=True),
}


def _memory(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) * 1024


def case(method: str, url: str, size: int, store: int, repeats: int) -> dict[str, float]:
    """Measure a method after a small warm-up: seconds (median), extra peak memory (bytes) and busy cores."""
    CASES[method](url.replace(f"/{size}?", f"/{100_000}?"), 100_000, store)()
    run = CASES[method](url, size, store)
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    seconds, busy = [], time.process_time()
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": statistics.median(seconds),
        "memory": _memory("VmHWM") - before,
        "busy": (time.process_time() - busy) / sum(seconds),
    }


# ---- the table -------------------------------------------------------------------------------------------------------

ORIGINS = {"open": "", "capped": f"cap={CAP_BYTES_PER_SECOND}", "stream": "ranges=0"}


def _measure(method: str, origin: str, mib: int, ports: tuple[int, int], repeats: int, ca: Path) -> dict[str, float]:
    size = mib * MIB
    url = f"https://localhost:{ports[0]}/{size}?{ORIGINS[origin]}"
    arguments = json.dumps([method, url, size, ports[1], repeats])
    environment = {**os.environ, "SSL_CERT_FILE": str(ca), "AWS_CA_BUNDLE": str(ca)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.delivery", "--case", arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=900,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _print(origin: str, mib: int, results: dict[str, dict[str, float]]) -> None:
    rate = {method: mib * MIB / 1e6 / result["seconds"] for method, result in results.items()}
    limit = min(rate["read limit"], rate["write limit"])
    best = max(rate[method] for method in ALTERNATIVES)
    for method in results:
        print(
            f"| {origin} | {mib} MiB | {method} | {rate[method]:.0f} | {results[method]['memory'] / MIB:.0f} "
            f"| {rate[method] / limit:.2f} | {rate[method] / rate['relay limit']:.2f} | {rate[method] / best:.2f} "
            f"| {results[method]['busy']:.2f} |",
            flush=True,
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery")
    parser.add_argument("--quick", action="store_true", help="small sizes, three repeats")
    parser.add_argument("--sizes", default="1,64,1024", help="MiB")
    parser.add_argument("--origins", default="open,capped,stream")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(case(*json.loads(options.case))))
        return
    if options.quick:
        options.sizes, options.repeats = "1,64", 3
    from tests.support.delivery_origin import self_signed

    print(
        "| origin | size | method | MB/s | extra peak MiB | to the slower limit | to the relay | to the best | cores |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        ca = self_signed(Path(folder) / "ca.pem")
        with servers(ca) as ports:
            for origin in options.origins.split(","):
                for mib in map(int, options.sizes.split(",")):
                    repeats = options.repeats * (5 if mib <= SMALL_MIB else 1)
                    results = {method: _measure(method, origin, mib, ports, repeats, ca) for method in METHODS}
                    _print(origin, mib, results)


if __name__ == "__main__":
    main()
