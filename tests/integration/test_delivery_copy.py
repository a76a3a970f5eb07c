"""Test the copy against an origin on the loopback and S3 in this process: every plan, every interruption."""

from __future__ import annotations

import base64
import dataclasses
import io
import logging
import ssl
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import moto
import pytest

from shared.delivery import (
    DeliveryIncomplete,
    MediaFacts,
    OutputExpired,
    OutputRefused,
    OutputUnreachable,
    connection,
)
from shared.delivery.limits import MIB
from shared.faults import Fault
from tests.support.delivery_origin import (
    BUCKET,
    KEY,
    LAPTOP,
    Origin,
    Request,
    bucket,
    copy,
    left_behind,
    self_signed,
    serve,
    video_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

FACTS = MediaFacts(duration=5.0, width=720, height=1280, video_codec="h264", audio_codec="aac")
LARGE = video_bytes(21 * MIB)
ONE_WORKER = dataclasses.replace(LAPTOP, buffer_bytes=5 * MIB)


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with moto.mock_aws():
        yield bucket()


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def weak(request: Request) -> None:
    request.ranged(etag='W/"v1"')


def redirected(request: Request) -> None:
    """Redirect to a new address for every request, as download portals do."""
    if request.path.startswith("/final"):
        request.ranged()
    else:
        request.answer("302 Found", "Location: /final?signature=other\r\nContent-Length: 0")


def short_lived(request: Request) -> None:
    """Close the connection after one answer."""
    request.answer("200 OK", f"Content-Length: {len(request.body)}\r\nConnection: close", request.body)
    request.connection.close()


@pytest.mark.parametrize("size", [2000, 5 * MIB, 5 * MIB + 1, 21 * MIB])
@pytest.mark.parametrize(
    "behaviour",
    [Request.ranged, Request.whole, Request.chunked, weak, redirected, short_lived],
    ids=lambda it: it.__name__,
)
def test_any_honest_origin(s3: S3Client, behaviour: Callable[[Request], None], size: int) -> None:
    body = video_bytes(size)
    with serve(body, behaviour) as origin:
        delivery = copy(origin, s3)
        assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == body
        head = s3.head_object(Bucket=BUCKET, Key=KEY)
        assert (delivery.bytes, delivery.crc32, delivery.media) == (size, crc32(body), FACTS)
        assert delivery.content_type == head["ContentType"] == "video/mp4"
        assert delivery.etag == head["ETag"].strip('"')
        assert delivery.parts == (1 if size <= 5 * MIB else -(-size // (5 * MIB)))
        assert head["Metadata"]["job-id"] == "job"
        assert s3.get_object_tagging(Bucket=BUCKET, Key=KEY)["TagSet"] == [{"Key": "model", "Value": "a/b c"}]

        asked = len(origin.requests)
        assert copy(origin, s3) == delivery, "a repeated call finds what the first one made"
        assert len(origin.requests) == asked
    assert left_behind(s3) == ([KEY], 0)
    for request in origin.requests:
        assert not {"authorization", "cookie", "referer"} & set(request.headers)
        assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("size", [2000, 6 * MIB])
@pytest.mark.parametrize("behaviour", [Request.ranged, Request.whole], ids=lambda it: it.__name__)
def test_what_is_not_approved_at_the_last_moment_does_not_appear(
    s3: S3Client, behaviour: Callable[[Request], None], size: int
) -> None:
    def refuse() -> None:
        raise OutputRefused("not wanted any more")

    with serve(video_bytes(size), behaviour) as origin, pytest.raises(OutputRefused):
        copy(origin, s3, before_publish=refuse)
    names, _ = left_behind(s3)
    assert KEY not in names


def test_ranges_are_fetched_once_each_and_of_one_version(s3: S3Client) -> None:
    with serve(LARGE) as origin:
        copy(origin, s3)
    wide = [span for span in origin.asked() if span[1] - span[0] > 100_000]
    assert sorted(wide) == [(start, min(start + 5 * MIB, 21 * MIB) - 1) for start in range(0, 21 * MIB, 5 * MIB)]
    assert [request.headers.get("if-range") for request in origin.requests[1:]] == ['"v1"'] * (len(origin.requests) - 1)


def test_every_body_is_sent_with_its_checksum(s3: S3Client) -> None:
    sent: list[tuple[str, str]] = []

    def note(request: Any, **_: object) -> None:
        if isinstance(request.body, bytes | bytearray) and request.headers.get("x-amz-checksum-crc32"):
            claimed = request.headers["x-amz-checksum-crc32"]
            sent.append((claimed.decode() if isinstance(claimed, bytes) else claimed, crc32(bytes(request.body))))

    s3.meta.events.register_first("before-send.s3.UploadPart", note)
    with serve(LARGE) as origin:
        copy(origin, s3)
    assert len(sent) == 5
    assert all(claimed == actual for claimed, actual in sent)


class KilledError(Exception):
    """Stands for the kill of the process inside this one."""


def kill_after(s3: S3Client, times: int, operation: str = "UploadPart") -> Callable[[], None]:
    """Let S3 answer so many calls, then none, as if the process had ended. Returns a function that restores it."""
    done = 0

    def count(**_: object) -> None:
        nonlocal done
        done += 1

    def block(**_: object) -> None:
        if done >= times:
            raise KilledError

    s3.meta.events.register(f"after-call.s3.{operation}", count)
    s3.meta.events.register("before-call.s3", block)

    def cure() -> None:
        s3.meta.events.unregister(f"after-call.s3.{operation}", count)
        s3.meta.events.unregister("before-call.s3", block)

    return cure


def stored_parts(s3: S3Client) -> set[int]:
    (upload,) = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    return {
        part["PartNumber"]
        for part in s3.list_parts(Bucket=BUCKET, Key=KEY, UploadId=upload["UploadId"]).get("Parts", [])
    }


@pytest.mark.parametrize("limits", [ONE_WORKER, LAPTOP], ids=["one at a time", "in parallel"])
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 5])
def test_killed_at_any_part_the_next_attempt_fetches_only_what_is_missing(
    s3: S3Client, limits: Any, parts: int
) -> None:
    with serve(LARGE) as origin:
        cure = kill_after(s3, parts)
        with pytest.raises(KilledError):
            copy(origin, s3, limits)
        cure()
        already = stored_parts(s3)
        assert len(already) >= parts
        origin.requests.clear()
        delivery = copy(origin, s3, limits)
    missing = sum(min(5 * MIB, 21 * MIB - 5 * MIB * (number - 1)) for number in {1, 2, 3, 4, 5} - already)
    fetched = sum(last - first + 1 for first, last in origin.asked())
    assert missing <= fetched <= missing + 4096, "beyond the parts, a few headers of the container"
    assert delivery.crc32 == crc32(LARGE)
    assert left_behind(s3) == ([KEY], 0)


def test_killed_after_publishing_the_next_attempt_removes_the_note(s3: S3Client) -> None:
    with serve(LARGE) as origin:
        cure = kill_after(s3, 1, "CompleteMultipartUpload")
        with pytest.raises(KilledError):
            copy(origin, s3, ONE_WORKER)
        cure()
        assert left_behind(s3) == ([KEY, f"{KEY}.partial"], 0)
        origin.requests.clear()
        assert copy(origin, s3, ONE_WORKER).crc32 == crc32(LARGE)
        assert not origin.requests
    assert left_behind(s3) == ([KEY], 0)


@pytest.mark.parametrize("behaviour", [Request.ranged, Request.whole], ids=lambda it: it.__name__)
def test_a_caller_who_wrongly_says_first_pays_with_another_fetch(
    s3: S3Client, behaviour: Callable[[Request], None]
) -> None:
    """Covers an earlier call that was killed, and one that published the file."""
    with serve(LARGE, behaviour) as origin:
        cure = kill_after(s3, 2)
        with pytest.raises(KilledError):
            copy(origin, s3, ONE_WORKER)
        cure()
        for _ in range(2):
            origin.requests.clear()
            assert copy(origin, s3, ONE_WORKER, first=True).crc32 == crc32(LARGE)
            assert origin.requests
            assert left_behind(s3) == ([KEY], 0)


def test_the_first_call_searches_for_nothing(s3: S3Client) -> None:
    asked: list[str] = []
    s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    with serve(video_bytes(2000)) as origin:
        copy(origin, s3, first=True)
        assert asked == ["PutObject"]
        asked.clear()
        copy(origin, s3)
    assert asked[0] == "ListObjectsV2"


def test_another_video_under_the_same_key_is_replaced(s3: S3Client) -> None:
    """An operator attached the right video after a wrong one was published and before it was notified."""
    with serve(LARGE) as origin:
        copy(origin, s3, metadata={"video-id": "wrong"})
        origin.body = video_bytes(2000)
        right = copy(origin, s3, metadata={"video-id": "right"})
        assert (right.bytes, right.crc32) == (2000, crc32(origin.body))
        asked = len(origin.requests)
        assert copy(origin, s3, metadata={"video-id": "right"}) == right
    assert len(origin.requests) == asked
    assert left_behind(s3) == ([KEY], 0)


def test_an_upload_that_was_begun_twice_is_left_once(s3: S3Client) -> None:
    """botocore repeats a call whose answer was lost."""

    def begin_another(**_: object) -> None:
        s3.meta.events.unregister("before-call.s3.CreateMultipartUpload", begin_another)
        s3.create_multipart_upload(Bucket=BUCKET, Key=KEY)

    s3.meta.events.register("before-call.s3.CreateMultipartUpload", begin_another)
    with serve(LARGE) as origin:
        copy(origin, s3, ONE_WORKER)
    assert left_behind(s3) == ([KEY], 0)


@pytest.mark.parametrize("where", ["CreateMultipartUpload", "PutObject", "UploadPart"])
@pytest.mark.parametrize("time_left", [True, False])
def test_given_up_and_overtaken_it_leaves_nothing_behind(s3: S3Client, where: str, time_left: bool) -> None:
    """Another call finishes the copy when this one begins its upload, records it, or has one part."""
    overtaken = False

    def overtake(**_: object) -> None:
        nonlocal overtaken
        s3.meta.events.unregister(f"before-call.s3.{where}", overtake)
        copy(origin, s3, ONE_WORKER)
        overtaken = True

    def remaining() -> float:
        return 60.0 if time_left or not overtaken or len(stored_parts(s3)) < 2 else 0.0

    with serve(LARGE) as origin:
        s3.meta.events.register(f"before-call.s3.{where}", overtake)
        copied = copy(origin, s3, ONE_WORKER, remaining)
    assert copied.crc32 == crc32(LARGE)
    assert overtaken
    assert left_behind(s3) == ([KEY], 0)


def test_another_version_at_the_origin_starts_anew(s3: S3Client) -> None:
    with serve(LARGE) as origin:
        cure = kill_after(s3, 2)
        with pytest.raises(KilledError):
            copy(origin, s3, ONE_WORKER)
        cure()
        origin.body = video_bytes(21 * MIB, seed=2)
        origin.behaviour = lambda request: request.ranged(etag='"v2"')
        assert copy(origin, s3, ONE_WORKER).crc32 == crc32(origin.body)
    assert left_behind(s3) == ([KEY], 0)


@pytest.mark.parametrize("behaviour", [Request.ranged, Request.whole], ids=lambda it: it.__name__)
@pytest.mark.parametrize("size", [4000, 11 * MIB])
def test_remains_of_an_upload_are_removed_when_the_file_is_another_one(
    s3: S3Client, behaviour: Callable[[Request], None], size: int
) -> None:
    with serve(LARGE) as origin:
        cure = kill_after(s3, 2)
        with pytest.raises(KilledError):
            copy(origin, s3, ONE_WORKER)
        cure()
    with serve(
        video_bytes(size), lambda request: behaviour(request) if behaviour is Request.whole else request.ranged('"v2"')
    ) as origin:
        assert copy(origin, s3).crc32 == crc32(origin.body)
    assert left_behind(s3) == ([KEY], 0)


def test_out_of_time_keeps_the_parts_and_says_so(s3: S3Client) -> None:
    budget = 0

    def remaining() -> float:
        """Return time for two parts a call."""
        started = bool(left_behind(s3)[1])
        return 60.0 if not started or len(stored_parts(s3)) < budget else 0.0

    with serve(LARGE) as origin:
        for budget in (2, 4):
            with pytest.raises(DeliveryIncomplete, match=f"{budget} of 5 parts"):
                copy(origin, s3, ONE_WORKER, remaining)
            assert stored_parts(s3) == set(range(1, budget + 1))
        budget = 6
        assert copy(origin, s3, ONE_WORKER, remaining).crc32 == crc32(LARGE)
    assert left_behind(s3) == ([KEY], 0)


def test_no_time_at_all_asks_nobody(s3: S3Client) -> None:
    with serve(LARGE) as origin, pytest.raises(DeliveryIncomplete):
        copy(origin, s3, remaining=lambda: 0.0)
    assert origin.requests == []


@pytest.mark.parametrize("status", ["503 Slow Down", "500 Oops", "404 Not Found"])
def test_an_origin_that_is_down_for_a_moment_costs_no_parts(s3: S3Client, status: str) -> None:
    with serve(LARGE) as origin:
        cure = kill_after(s3, 3)
        with pytest.raises(KilledError):
            copy(origin, s3, ONE_WORKER)
        cure()
        origin.behaviour = lambda request: request.answer(status, "Content-Length: 0")
        with pytest.raises((OutputUnreachable, OutputExpired)):
            copy(origin, s3, ONE_WORKER)
        origin.behaviour = Request.ranged
        origin.requests.clear()
        assert copy(origin, s3, ONE_WORKER).crc32 == crc32(LARGE)
    assert sum(last - first + 1 for first, last in origin.asked()) < 12 * MIB
    assert left_behind(s3) == ([KEY], 0)


def test_link_that_expires_on_the_way_is_replaced(s3: S3Client) -> None:
    fresh: list[str] = []
    with serve(LARGE) as origin:

        def source() -> str:
            fresh.append(f"http://127.0.0.1:{origin.port}/video.mp4?signature={len(fresh)}")
            return fresh[-1]

        served: list[int] = []

        def expire(request: Request) -> None:
            current = int(request.path[-1])
            if served.count(current) >= 2:
                request.answer("403 Forbidden", "Content-Length: 5", b"<xml>")
            else:
                served.append(current)
                request.ranged()

        origin.behaviour = expire
        delivery = copy(origin, s3, source=source)
    assert delivery.crc32 == crc32(LARGE)
    assert len(fresh) >= 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_expired_link_is_left_to_the_caller(s3: S3Client, status: int) -> None:
    def refuse(request: Request) -> None:
        request.answer(f"{status} No", "Content-Length: 0")

    with serve(LARGE, refuse) as origin, pytest.raises(OutputExpired, match=str(status)):
        copy(origin, s3)
    assert left_behind(s3) == ([], 0)


def test_each_part_is_tried_again_by_itself(s3: S3Client) -> None:
    failed: set[tuple[int, int]] = set()

    def flaky(request: Request) -> None:
        if request.span is None or request.span in failed or len(origin.requests) == 1:
            request.ranged()
            return
        failed.add(request.span)
        if len(failed) % 2:
            request.answer("503 Slow Down", "Content-Length: 0")
        else:
            request.connection.close()

    with serve(LARGE) as origin:
        origin.behaviour = flaky
        assert copy(origin, s3).crc32 == crc32(LARGE)
    assert len(failed) >= 4


def test_redirects_are_checked_and_counted(s3: S3Client) -> None:
    def to(location: str) -> Callable[[Request], None]:
        return lambda request: request.answer("302 Found", f"Location: {location}\r\nContent-Length: 0")

    with serve(LARGE, to("/again")) as origin:
        with pytest.raises(OutputUnreachable, match="too often"):
            copy(origin, s3)
        assert len(origin.requests) == 12, "six by ranges, six plainly"
        strict = dataclasses.replace(LAPTOP, hosts=("127.0.0.1",))
        for location in (
            "http://169.254.169.254/latest/meta-data/",
            "//169.254.169.254/",
            "https://user@127.0.0.1/",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "http://2130706433/",
            "http://localhost./",
            "http://evil.example/",
            "http://[::1]/",
            "gopher://127.0.0.1/",
        ):
            origin.behaviour = to(location)
            origin.requests.clear()
            with pytest.raises(OutputRefused) as refused:
                copy(origin, s3, strict)
            assert len(origin.requests) == 2
            assert "/latest" not in str(refused.value)


def test_checked_address_is_the_one_connected_to(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a public address for the check and to a private one for the connection."""
    connected: list[tuple[str, int]] = []
    answers = iter(["93.184.215.14", "127.0.0.1", "127.0.0.1"])
    monkeypatch.setattr(
        "shared.delivery.connection.socket.getaddrinfo", lambda *_a, **_k: [(0, 0, 0, "", (next(answers), 443))]
    )

    def create_connection(address: tuple[str, int], _timeout: float) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("shared.delivery.connection.socket.create_connection", create_connection)
    strict = dataclasses.replace(LAPTOP, allow_http=False, allow_private=False)
    with pytest.raises(OutputUnreachable, match=r"rebinding\.example"):
        copy(Origin(443, b"", scheme="https", host="rebinding.example"), s3, strict)
    assert connected == [("93.184.215.14", 443)]


def test_tls_is_verified_by_the_hosts_name(s3: S3Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path / "localhost.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(connection, "_tls", lambda: trusting)
    with serve(LARGE, tls=server) as origin:
        with pytest.raises(OutputUnreachable, match="certificate"):
            copy(origin, s3)  # the same server under its address, which is not in the certificate
        assert origin.requests == []
        origin.host = "localhost"
        assert copy(origin, s3).crc32 == crc32(LARGE)


@pytest.mark.parametrize("goodbye", [True, False])
@pytest.mark.parametrize("size", [2000, 6 * MIB])
def test_a_body_without_a_length_counts_if_tls_says_goodbye(
    s3: S3Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, goodbye: bool
) -> None:
    certificate = self_signed(tmp_path / "localhost.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(connection, "_tls", lambda: trusting)

    def unframed(request: Request) -> None:
        request.answer("200 OK", "Connection: close", request.body)
        if goodbye:
            request.connection.unwrap()  # type: ignore[attr-defined]  # an SSLSocket
        request.connection.close()

    with serve(video_bytes(size), unframed, tls=server) as origin:
        origin.host = "localhost"
        if goodbye:
            assert copy(origin, s3).bytes == size
        else:
            with pytest.raises(OutputUnreachable):
                copy(origin, s3)
            assert left_behind(s3) == ([], 0)


@pytest.mark.parametrize("answer", ["403 No", "500 No", "200 OK"])
def test_link_shows_up_nowhere(s3: S3Client, caplog: pytest.LogCaptureFixture, answer: str) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(video_bytes(6 * MIB)) as origin:
        copy(origin, s3)
        s3.delete_object(Bucket=BUCKET, Key=KEY)
        origin.behaviour = lambda request: request.answer(answer, "Content-Length: 9", b"<secret/>")
        with pytest.raises(Fault) as raised:
            copy(origin, s3)
    assert "127.0.0.1" in str(raised.value)
    assert not any(word in str(raised.value) + caplog.text for word in ("s3cr3t", "video.mp4", "<secret/>"))


class Discard:
    """An S3 client that discards parts, so that only our own memory is measured."""

    exceptions = type("", (), {"NoSuchKey": KeyError, "NoSuchUpload": LookupError})

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def __getattr__(self, _name: str) -> Callable[..., dict[str, Any]]:
        return lambda **_: {"UploadId": "1", "ETag": '"e"'}

    def get_object(self, Range: str = "", **_: object) -> dict[str, Any]:  # noqa: N803
        if not Range:
            raise KeyError
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(bytes(last - first + 1))}

    def head_object(self, **_: object) -> dict[str, Any]:
        size = sum(self.sizes.values())
        ours = {"job-id": "job", "delivery": "1"}
        return {"Metadata": ours, "ContentLength": size, "ETag": '"e-2"', "ContentType": "video/mp4"}

    def upload_part(self, PartNumber: int, Body: bytearray, **_: object) -> dict[str, Any]:  # noqa: N803
        self.sizes[PartNumber] = len(Body)
        return {"ETag": '"e"'}


@pytest.mark.parametrize("behaviour", [Request.ranged, Request.chunked], ids=lambda it: it.__name__)
@pytest.mark.parametrize("size", [48 * MIB, 160 * MIB])
def test_memory_does_not_grow_with_the_file(behaviour: Callable[[Request], None], size: int) -> None:
    body = memoryview(video_bytes(size))
    with serve(body, behaviour) as origin:  # type: ignore[arg-type]  # a view, so that the origin's slices are no copies
        tracemalloc.start()
        try:
            delivery = copy(origin, Discard(), dataclasses.replace(LAPTOP, part_bytes=8 * MIB))  # type: ignore[arg-type]  # a double of the client
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert delivery.bytes == size
    assert peak <= 40 * MIB
