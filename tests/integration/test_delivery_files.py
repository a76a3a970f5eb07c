"""Test the whole copy with real videos of every container: small, in ranges, in one stream, in chunks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import moto
import pytest

from shared.delivery import MediaFacts, OutputInvalid
from shared.delivery.limits import MIB
from tests.support.delivery_origin import BUCKET, KEY, Request, bucket, copy, left_behind, serve
from tests.support.videos import (
    FRAGMENTED,
    MOVS,
    MP4S,
    WEBMS,
    Video,
    box,
    element,
    encode,
    encode_sound,
    inserted,
    outermost,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.integration

LARGE = 13 * MIB
FACTS = MediaFacts(2.0, 96, 160, "h264", "aac")
KINDS: dict[str, tuple[Callable[[], bytes], str, MediaFacts | None]] = {
    **{
        name: (MP4S[name], "video/mp4", FACTS)
        for name in (
            "C2PA, moov last",
            "C2PA in front of moov",
            "XMP behind moov",
            "300 small boxes in front of moov",
            "uuid of 9000 bytes before ftyp",
            "mdat with a length of 64 bits",
            "mdat without a length",
        )
    },
    "MOV without ftyp": (MOVS["MOV without ftyp, wide first"], "video/quicktime", FACTS),
    "fragments": (FRAGMENTED["fragments"], "video/mp4", MediaFacts(2.2, 96, 160, "h264", "aac")),
    "WebM by GStreamer": (WEBMS["WebM by GStreamer, type ends with NUL"], "video/webm", None),
}
SOUND: dict[str, Callable[[], bytes]] = {
    "sound": lambda: encode_sound("mp4"),
    "sound with a cover": lambda: encode("mp4", Video((320, 320), "mjpeg", frames=1)),
}
WAYS = {"ranged": Request.ranged, "whole": Request.whole, "chunked": Request.chunked}


@dataclass(frozen=True)
class File:
    """A file, small or enlarged to several parts, and how its origin sends it."""

    make: Callable[[], bytes]
    is_large: bool
    behaviour: Callable[[Request], None]

    @property
    def data(self) -> bytes:
        return enlarged(self.make()) if self.is_large else self.make()


def every(kinds: dict[str, Callable[[], bytes]]) -> pytest.MarkDecorator:
    """Run a test with a `file` of each kind and size, sent in each way."""
    rows = itertools.product(kinds.items(), {"small": False, "large": True}.items(), WAYS.items())
    return pytest.mark.parametrize(
        ("kind", "file"),
        [
            pytest.param(kind, File(make, is_large, way), id=f"{kind}-{size}-{name}")
            for (kind, make), (size, is_large), (name, way) in rows
        ],
    )


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with moto.mock_aws():
        yield bucket()


def enlarged(data: bytes) -> bytes:
    """Enlarge a video to several parts: with spare bytes before its samples, or at the end of a WebM."""
    spare = box(b"free", bytes(LARGE))
    segment = data.find(b"\x18\x53\x80\x67\x01")
    if segment > 0:
        void = element("ec", bytes(LARGE), width=8)
        size = int.from_bytes(data[segment + 5 : segment + 12], "big") + len(void)
        return data[: segment + 5] + size.to_bytes(7, "big") + data[segment + 12 :] + void
    return inserted(data, spare, before=b"moof" if b"moof" in data else b"mdat")


@every({kind: make for kind, (make, *_) in KINDS.items()})
def test_video_that_plays_is_delivered_and_described(s3: S3Client, kind: str, file: File) -> None:
    data = file.data
    with serve(data, file.behaviour) as origin:
        delivery = copy(origin, s3)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == data
    assert (delivery.content_type, delivery.media) == KINDS[kind][1:]
    assert len(origin.requests) <= 8, "the parts, and a few headers"


@every({kind: make for kind, (make, *_) in KINDS.items()})
def test_video_without_its_last_bytes_is_refused(s3: S3Client, kind: str, file: File) -> None:
    refuse(s3, file.data[:-5000], file.behaviour, "cut off")


@every({"fragments": FRAGMENTED["fragments"]})
def test_video_that_ends_within_a_fragment_is_refused(s3: S3Client, kind: str, file: File) -> None:
    """Covers ends where no box reaches beyond the file: right after the last `moof`, or within a header."""
    ends = [end for name, _, end in outermost(file.data) if name == b"moof"]
    for end in (ends[-1], ends[-1] + 6):
        refuse(s3, file.data[:end], file.behaviour, "cut off")


@every(SOUND)
def test_sound_in_a_videos_container_is_refused(s3: S3Client, kind: str, file: File) -> None:
    refuse(s3, file.data, file.behaviour, "only sound or pictures")


def refuse(s3: S3Client, data: bytes, behaviour: Callable[[Request], None], reason: str) -> None:
    """Deliver a file, and check that it is refused for this reason and leaves nothing behind."""
    with serve(data, behaviour) as origin, pytest.raises(OutputInvalid, match=reason):
        copy(origin, s3)
    assert left_behind(s3) == ([], 0)
