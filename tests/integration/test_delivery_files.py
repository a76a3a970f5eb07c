"""Real videos of every container through the whole copy: small, in ranges, in one stream, in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import moto
import pytest

from shared.delivery import MediaFacts, OutputInvalid
from shared.delivery.limits import MIB
from tests.integration.delivery_origin import BUCKET, KEY, Request, bucket, copy, left_behind, serve
from tests.support.videos import FRAGMENTED, MOVS, MP4S, WEBMS, Video, box, element, encode, encode_sound, inserted

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
            "mdat with a length of 64 bits",
            "mdat without a length",
        )
    },
    "MOV without ftyp": (MOVS["MOV without ftyp, wide first"], "video/quicktime", FACTS),
    "fragments": (FRAGMENTED["fragments"], "video/mp4", MediaFacts(2.2, 96, 160, "h264", "aac")),
    "WebM by GStreamer": (WEBMS["WebM by GStreamer, type ends with NUL"], "video/webm", None),
}
WAYS = pytest.mark.parametrize(
    "behaviour", [Request.ranged, Request.whole, Request.chunked], ids=["ranged", "whole", "chunked"]
)


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with moto.mock_aws():
        yield bucket()


def enlarged(data: bytes) -> bytes:
    """A video of several parts: with spare bytes in front of its samples, or at the end where that is simpler."""
    spare = box(b"free", bytes(LARGE))
    segment = data.find(b"\x18\x53\x80\x67\x01")
    if segment > 0:
        void = element("ec", bytes(LARGE), width=8)
        size = int.from_bytes(data[segment + 5 : segment + 12], "big") + len(void)
        return data[: segment + 5] + size.to_bytes(7, "big") + data[segment + 12 :] + void
    return data + spare if b"moof" in data else inserted(data, spare, before=b"mdat")


@WAYS
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(("make", "kind", "facts"), KINDS.values(), ids=KINDS)
def test_video_that_plays_is_delivered_and_described(
    s3: S3Client,
    make: Callable[[], bytes],
    kind: str,
    facts: MediaFacts | None,
    large: bool,
    behaviour: Callable[[Request], None],
) -> None:
    data = enlarged(make()) if large else make()
    with serve(data, behaviour) as origin:
        delivery = copy(origin, s3)
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == data
    assert (delivery.content_type, delivery.media) == (kind, facts)
    assert len(origin.requests) <= 8, "the parts, and a few headers"


@WAYS
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(("make", "kind", "facts"), KINDS.values(), ids=KINDS)
def test_video_without_its_last_bytes_is_refused(
    s3: S3Client,
    make: Callable[[], bytes],
    kind: str,
    facts: MediaFacts | None,
    large: bool,
    behaviour: Callable[[Request], None],
) -> None:
    data = enlarged(make()) if large else make()
    with serve(data[:-5000], behaviour) as origin, pytest.raises(OutputInvalid, match="cut off"):
        copy(origin, s3)
    assert left_behind(s3) == ([], 0)


@WAYS
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("what", ["sound", "sound with a cover"])
def test_sound_in_a_videos_container_is_refused(
    s3: S3Client, what: str, large: bool, behaviour: Callable[[Request], None]
) -> None:
    data = encode_sound("mp4") if what == "sound" else encode("mp4", Video((320, 320), "mjpeg", frames=1))
    with (
        serve(enlarged(data) if large else data, behaviour) as origin,
        pytest.raises(OutputInvalid, match="only sound or pictures"),
    ):
        copy(origin, s3)
    assert left_behind(s3) == ([], 0)
