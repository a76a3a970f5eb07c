"""Test the vendor's client on real sockets: silence, resets and endless answers end in time with the right error."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.genviral.client import GenviralClient, Timeouts
from shared.genviral.errors import GenviralFault, GenviralUnavailable, SubmissionUncertain

pytestmark = pytest.mark.integration

KEY = "pub_5f2c81d7.sk_9a8b7c6d5e4f"
PROMPT = "A very private red shoe, turning slowly on a marble table"
LONG = 20.0
"""Seconds. Longer than any test here, so only the total budget can have ended the call."""

TLS_HANDSHAKE = b"\x16"


@dataclass
class Vendor:
    """A vendor that answers every connection by the same script, until the script or the peer ends it."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    finished: list[bool] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/partner/v1"


Script = Callable[[Vendor, socket.socket], None]


def read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65_536) or b"\r\n\r\n"
        if request.startswith(TLS_HANDSHAKE):
            return request
    head, _, body = request.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.partition(b":")[2]):
                body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@contextmanager
def vendor_that(script: Script) -> Iterator[Vendor]:
    vendor = Vendor()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(LONG)
                with suppress(OSError):
                    vendor.requests.append(read_request(connection))
                    script(vendor, connection)
                    vendor.finished.append(True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        vendor.port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield vendor
        finally:
            vendor.stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(LONG)
    assert not thread.is_alive()


def response(body: object, status: str = "202 Accepted", length: int | None = None) -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {length or len(content)}\r\n\r\n".encode() + content


ACCEPTED = {"ok": True, "data": {"video_id": "v1", "credits_used": 5}}


def answer(content: bytes) -> Script:
    return lambda _, connection: connection.sendall(content)


def reset(_: Vendor, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(vendor: Vendor, _: socket.socket) -> None:
    vendor.stopped.wait(LONG)


def drip(content: bytes, at_once: int) -> Script:
    def script(vendor: Vendor, connection: socket.socket) -> None:
        connection.sendall(content[:at_once])
        for position in range(at_once, len(content)):
            if vendor.stopped.wait(0.05):
                raise ConnectionAbortedError
            connection.sendall(content[position : position + 1])

    return script


def client_of(url: str, total: float = LONG, connect: float = LONG) -> GenviralClient:
    timeouts = Timeouts(connect=connect, read=LONG, write=LONG, pool=LONG, total=total)
    return GenviralClient(lambda _: KEY, base_url=url, timeouts=timeouts)


def generate(url: str, total: float = LONG, connect: float = LONG) -> GenviralFault:
    with client_of(url, total, connect) as client, pytest.raises(GenviralFault) as caught:
        client.generate({"model_id": "a/b", "prompt": PROMPT}, idempotency_key="job-1")
    assert PROMPT not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "script",
    [reset, answer(b""), answer(b"220 mail.example ESMTP\r\n"), answer(response(ACCEPTED)[:-1])],
    ids=["reset", "closed", "not HTTP", "truncated"],
)
def test_a_request_read_but_not_answered_is_uncertain_and_sent_once(script: Script) -> None:
    with vendor_that(script) as vendor:
        assert type(generate(vendor.url)).__name__ == "SubmissionUncertain"
        assert len(vendor.requests) == 1
        assert PROMPT.encode() in vendor.requests[0]


def chunked(body: object, status: str = "202 Accepted") -> bytes:
    """Return an answer in chunks without the final one."""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    sizes = (content[start : start + 16] for start in range(0, len(content), 16))
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in sizes)


def then_hang(content: bytes) -> Script:
    def script(vendor: Vendor, connection: socket.socket) -> None:
        connection.sendall(content)
        vendor.stopped.wait(LONG)

    return script


SHORT = {
    "the last chunk is missing, closed": answer(chunked(ACCEPTED)),
    "the last chunk is missing, open": then_hang(chunked(ACCEPTED)),
    "a length that is never reached, closed": answer(response(ACCEPTED, length=10_000)),
    "a length that is never reached, open": then_hang(response(ACCEPTED, length=10_000)),
}


@pytest.mark.parametrize("kind", SHORT)
def test_an_answer_whose_json_is_whole_counts_though_its_body_is_not(kind: str) -> None:
    with vendor_that(SHORT[kind]) as vendor, client_of(vendor.url) as client:
        accepted = client.generate({"model_id": "a/b"}, idempotency_key="job-1")
        assert (accepted.video_id, accepted.credits_used) == ("v1", 5)
        # Immediately, without waiting for unneeded bytes.
        assert len(vendor.requests) == 1


CUT = {
    "chunks": answer(chunked(ACCEPTED)[:-15]),
    "a length": answer(response(ACCEPTED, length=10_000)[:-20]),
    "the connection": answer(b"HTTP/1.1 202 Accepted\r\n\r\n" + json.dumps(ACCEPTED).encode()[:-20]),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_response_cut_off_after_its_video_is_uncertain_and_names_it(kind: str) -> None:
    with vendor_that(CUT[kind]) as vendor:
        fault = generate(vendor.url)
    assert isinstance(fault, SubmissionUncertain)
    assert fault.video_id == "v1"


POLLED = {"status": "succeeded", "output_url": "https://cdn.example/v.mp4"}
BULK = {"input": {"image": "A" * 8_000_000}, "logs": [{"at": 1, "line": "step }"}] * 230_000}


@pytest.mark.parametrize("data", [{**POLLED, **BULK}, {**BULK, **POLLED}], ids=["status first", "status last"])
def test_a_poll_of_sixteen_megabytes_is_read_in_little_memory(data: dict[str, Any]) -> None:
    content = response({"ok": True, "data": data}, "200 OK")
    assert 14_000_000 < len(content) < 1 << 24
    tracemalloc.start()
    try:
        with vendor_that(answer(content)) as vendor, client_of(vendor.url) as client:
            assert client.get_video("v1").output_url == POLLED["output_url"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_a_poll_that_never_ends_is_cut() -> None:
    def endless(vendor: Vendor, connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"ok": true, "data": {"logs": [')
        while not vendor.stopped.is_set():
            connection.sendall(b'"x", ' * 20_000)

    with vendor_that(endless) as vendor, client_of(vendor.url) as client, pytest.raises(GenviralUnavailable):
        client.get_video("v1")


def test_an_id_of_any_form_reaches_the_vendor_as_one_part_of_the_path() -> None:
    shown = {"ok": True, "data": {"status": "processing"}}
    with vendor_that(answer(response(shown, "200 OK"))) as vendor, client_of(vendor.url) as client:
        for video_id in ("a/b", "../models", "50%2F", "v?x=1", "a b", "vidéo-猫"):
            assert client.get_video(video_id).status == "processing"
        asked = [request.split()[1].rpartition(b"/")[2].decode() for request in vendor.requests]
    assert asked == ["a%2Fb", "..%2Fmodels", "50%252F", "v%3Fx%3D1", "a%20b", "vid%C3%A9o-%E7%8C%AB"]


BIG = {**ACCEPTED, "message": "x" * 4_000}
REFUSED = {"ok": False, "error_code": "subscription_required", "message": "x" * 4_000}


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (hang, "SubmissionUncertain"),
        (drip(response(BIG), at_once=5), "SubmissionUncertain"),
        (drip(response(BIG), at_once=200), "SubmissionUncertain"),
        # The status is definite, although the reason never arrives.
        (drip(response(REFUSED, "402 Payment Required"), at_once=200), "SubscriptionRequired"),
    ],
    ids=["silence", "endless head", "endless body", "endless refusal"],
)
def test_the_total_budget_ends_an_answer_that_does_not_end(script: Script, name: str) -> None:
    with vendor_that(script) as vendor:
        assert type(generate(vendor.url, total=0.4)).__name__ == name
        assert len(vendor.requests) == 1
        assert not vendor.finished


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert type(generate(f"http://127.0.0.1:{port}/v1")).__name__ == "GenviralUnreachable"


@pytest.mark.parametrize(
    "script", [reset, answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), hang], ids=["reset", "plain", "hang"]
)
def test_a_tls_handshake_that_fails_is_unreachable(script: Script) -> None:
    with vendor_that(script) as vendor:
        fault = generate(vendor.url.replace("http:", "https:"), connect=0.4)
        assert PROMPT.encode() not in b"".join(vendor.requests)
    assert type(fault).__name__ == "GenviralUnreachable"


def test_a_budget_that_ends_before_the_connection_stands_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.create_connection
    with vendor_that(answer(response(ACCEPTED))) as vendor:

        def slow(*args: Any, **options: Any) -> socket.socket:
            vendor.stopped.wait(0.4)
            return connect(*args, **options)

        monkeypatch.setattr(socket, "create_connection", slow)
        assert type(generate(vendor.url, total=0.1)).__name__ == "GenviralUnreachable"


def test_each_call_has_its_own_connection_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    # The server closes after each answer without announcing it, as a load balancer does to an idle connection.
    with vendor_that(answer(response(ACCEPTED))) as vendor, client_of(vendor.url) as client:
        for number in range(3):
            assert client.generate({"model_id": "a/b"}, idempotency_key=f"job-{number}").video_id == "v1"
        assert len(vendor.requests) == 3


def test_the_lowest_log_level_shows_nothing_private(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    output_url = "https://cdn.example/v.mp4?sig=1"
    seen = {"ok": True, "data": {"video_id": "v1", "status": "succeeded", "output_url": output_url}}
    with vendor_that(answer(response(seen, "200 OK"))) as vendor, client_of(vendor.url) as client:
        assert client.get_video("v1").output_url == output_url
    with vendor_that(reset) as vendor:
        generate(vendor.url)
    assert "httpcore" in {record.name.partition(".")[0] for record in caplog.records}
    for private in (KEY, PROMPT, "cdn.example"):
        assert private not in caplog.text
