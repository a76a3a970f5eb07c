"""Test damaged files: reads stay bounded, and all ways of reading give the same result.

A few thousand here; MEDIA_MUTATIONS=100000 makes that many (two minutes):

    MEDIA_MUTATIONS=100000 make test ARGS=tests/unit/test_delivery_mutations.py
"""

from __future__ import annotations

import os
import random
import struct

import pytest

from shared.delivery.media import MAX_READS, SNIFF_BYTES, Container, HeaderCapture, content_type, examine
from tests.support.videos import FRAGMENTED, MOVS, MP4S, WEBMS, Video, encode, outermost

COUNT = int(os.environ.get("MEDIA_MUTATIONS", "4000"))
ROUNDS = 8
_LENGTHS = (0, 1, 2, 7, 8, 9, 15, 16, 17, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_KINDS = (
    b"moov",
    b"moof",
    b"mdat",
    b"trak",
    b"traf",
    b"trun",
    b"stsd",
    b"free",
    b"uuid",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
)


def originals() -> list[bytes]:
    """Return one file of each layout, mostly header: samples are not read, so most are left out."""
    names = ("moov last", "moov first", "C2PA behind moov", "300 small boxes, moov last", "mdat without a length")
    files = [MP4S[name]() for name in names] + [MOVS["MOV without ftyp, wide first"]()]
    files += [FRAGMENTED[name]() for name in ("fragments", "fragments, moov has the first", "fragments of DASH")]
    files += [encode("mp4", Video((48, 80)), Video((96, 160), "mjpeg", frames=1)), WEBMS["WebM, Void first"]()]
    return files


def headers(data: bytes) -> list[int]:
    """Return the ranges where damage matters most: boxes that are read, and the heads of all others."""
    places: list[int] = []
    for kind, start, end in outermost(data):
        places += range(start, end if kind in (b"moov", b"moof") else min(end, start + 16))
    return places or list(range(100))


def mutated(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """Apply up to five kinds of damage, one after the other."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at = min(rng.choice(places), max(len(changed) - 8, 0))
        match rng.randrange(7):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at : at + 4] = struct.pack(">I", rng.choice(_LENGTHS))
            case 2:
                changed[at : at + 4] = struct.pack(">I", rng.randrange(2 * len(changed) + 1))
            case 3:
                changed[at : at + 4] = rng.choice(_KINDS)
            case 4:
                del changed[at : at + rng.choice((1, 4, 8, 100, len(changed)))]
            case 5:
                other = rng.choice(places)
                changed[at:at] = changed[other : other + rng.choice((8, 40, 1000))]
            case _:
                changed[at : at + 8] = rng.randbytes(8)
    return bytes(changed)


def examined(data: bytes) -> Container:
    reads: list[int] = []

    def read(start: int, length: int) -> bytes:
        assert 0 <= start < start + length <= len(data)
        reads.append(length)
        return data[start : start + length]

    found = examine(read, len(data))
    assert len(reads) <= MAX_READS
    assert sum(reads) <= 4 * len(data) + 4096
    return found


def captured(data: bytes, step: int) -> Container:
    capture = HeaderCapture()
    for start in range(0, len(data), step):
        capture.feed(bytearray(data[start : start + step]))
    return capture.examine()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_mutated_container_ends_in_bounded_reads_and_one_result(round_: int) -> None:
    rng = random.Random(round_)  # noqa: S311
    files = [(data, headers(data)) for data in originals()]
    for _ in range(COUNT // ROUNDS):
        data = mutated(rng, *rng.choice(files))
        kind = content_type(data[:SNIFF_BYTES])
        assert kind in (None, "video/mp4", "video/quicktime", "video/webm")
        found = examined(data)
        assert found == captured(data, rng.choice((999, 4096, 1 << 20)))
        if found.facts is not None:
            assert found.whole
            assert found.facts.duration is None or 0 < found.facts.duration <= 7 * 24 * 3600
            assert found.facts.width > 0
            assert found.facts.height > 0
            assert found.facts.video_codec
            assert found.facts.video_codec.isprintable()
