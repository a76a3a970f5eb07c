"""Media facts against files of a real encoder, and against anything hypothesis can think of."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.delivery.media import Container, MediaFacts, Skim, content_type, examine

if TYPE_CHECKING:
    from pathlib import Path


def encode(path: Path, container: str = "mp4", *, sound: bool = True, **options: str) -> bytes:
    """Half a second of video, 96 pixels wide and 160 high, by FFmpeg's own muxer."""
    with av.open(path, "w", format=container, options=options) as file:
        webm = container == "webm"
        video: Any = file.add_stream("libvpx" if webm else "libx264", rate=10)
        video.width, video.height, video.pix_fmt = 96, 160, "yuv420p"
        audio: Any = file.add_stream("libopus" if webm else "aac", rate=48000, layout="mono") if sound else None
        for _ in range(5):
            file.mux(video.encode(av.VideoFrame(96, 160, "yuv420p")))
        file.mux(video.encode(None))
        if audio is not None:
            for number in range(24):
                frame = av.AudioFrame("fltp" if not webm else "s16", "mono", 960 if webm else 1024)
                frame.sample_rate, frame.pts = 48000, number * frame.samples
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
    return path.read_bytes()


def look(data: bytes) -> Container:
    return examine(lambda start, length: data[start : start + length], len(data))


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encode(tmp_path_factory.mktemp("media") / "film")


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["moov at the end", "moov in front"])
def test_facts_of_real_files(tmp_path: Path, options: dict[str, str]) -> None:
    found = look(encode(tmp_path / "film", **options))
    assert found.whole
    assert found.facts is not None
    assert found.facts.duration == pytest.approx(0.5, abs=0.1)
    assert (found.facts.width, found.facts.height) == (96, 160)
    assert (found.facts.video_codec, found.facts.audio_codec) == ("h264", "aac")


def test_no_duration_is_invented_for_a_fragmented_file(tmp_path: Path) -> None:
    data = encode(tmp_path / "film", movflags="frag_keyframe+empty_moov+delay_moov")
    assert look(data) == Container(whole=True, facts=None)


def test_mov_without_sound(tmp_path: Path) -> None:
    data = encode(tmp_path / "film", "mov", sound=False)
    assert content_type(data[:64]) == "video/quicktime"
    facts = look(data).facts
    assert facts is not None
    assert facts.audio_codec is None


def test_webm_is_known_by_its_magic_only(tmp_path: Path) -> None:
    data = encode(tmp_path / "film", "webm")
    assert content_type(data[:64]) == "video/webm"
    assert look(data) == Container(whole=True, facts=None)


def test_truncated_file_is_seen_at_any_length(mp4: bytes) -> None:
    assert content_type(mp4[:64]) == "video/mp4"
    assert all(not look(mp4[:cut]).whole for cut in range(64, len(mp4) - 8, 97))


def test_turned_video_has_the_size_people_see(mp4: bytes) -> None:
    straight, turned = struct.pack(">5i", 1 << 16, 0, 0, 0, 1 << 16), struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
    at = mp4.index(straight, mp4.index(b"tkhd"))
    facts = look(mp4[:at] + turned + mp4[at + len(turned) :]).facts
    assert facts is not None
    assert (facts.width, facts.height) == (160, 96)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!DOCTYPE html><html><head><title>Access denied</title></head></html>",
        b'{"message": "not found", "padding": "0123456789"}',
        b"\x89PNG\r\n\x1a\n" + bytes(56),
        b"\xff\xd8\xff\xe0" + bytes(60),
        b"GIF89a" + bytes(58),
        b"\x1f\x8b\x08" + bytes(61),
        b"PK\x03\x04" + bytes(60),
        b"\x00\x00\x00\x1cftypavif" + bytes(52),
        b"\x00\x00\x00\x1cftypheic" + bytes(52),
        b"\x00\x00\x00\x1cftypM4A " + bytes(52),
        b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska" + bytes(48),
        b"RIFF\x00\x00\x00\x00AVI " + bytes(52),
        b"\x00\x00\x00\x1cftyp",
    ],
)
def test_what_is_no_video(head: bytes) -> None:
    assert content_type(head) is None


def box(kind: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(payload)) + kind + payload


def _structure() -> st.SearchStrategy[bytes]:
    kinds = st.sampled_from(
        [b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"mdia", b"hdlr", b"minf", b"stbl", b"stsd", b"mdat", b"mvex"]
    )
    leaf = st.binary(max_size=120)
    return st.recursive(
        leaf, lambda inner: st.lists(st.builds(box, kinds, inner), max_size=5).map(b"".join), max_leaves=20
    )


@given(data=_structure() | st.binary(max_size=300))
@example(data=struct.pack(">I", 0) + b"moov")
@example(data=struct.pack(">I", 1) + b"mdat" + bytes(8))
@example(data=box(b"moov", box(b"mvhd", b"\x01" + b"\xff" * 200) + box(b"trak")))
def test_anything_ends_without_an_exception(data: bytes) -> None:
    assert isinstance(look(data), Container)


def test_a_film_of_no_length_is_not_believed(mp4: bytes) -> None:
    header = mp4.index(b"mvhd")  # version, flags and two times lie before the time scale
    hurried = mp4[: header + 16] + struct.pack(">I", 0x7FFFFFFF) + mp4[header + 20 :]
    assert look(mp4).facts is not None
    assert look(hurried).facts is None


@given(st.data())
def test_damage_to_a_real_file_never_yields_nonsense(mp4: bytes, data: st.DataObject) -> None:
    damaged = bytearray(mp4)
    start = mp4.index(b"moov") - 4
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(start, len(mp4) - 1))] = data.draw(st.integers(0, 255))
    facts = look(bytes(damaged)).facts
    if facts is not None:
        assert isinstance(facts, MediaFacts)
        assert facts.duration > 0
        assert facts.width > 0
        assert facts.height > 0
        assert facts.video_codec.isprintable()


def test_reads_are_few_and_bounded_however_many_boxes_there_are() -> None:
    reads: list[int] = []

    def read(start: int, length: int) -> bytes:
        reads.append(length)
        return box(b"free") + b"\x00" * (length - 8)

    examine(read, 1 << 40)
    assert len(reads) <= 64
    huge = struct.pack(">I", 1) + b"moov" + struct.pack(">Q", 1 << 39)
    examine(lambda start, length: reads.append(length) or huge[:length], 1 << 40)
    assert max(reads) <= 4 << 20


def passing(data: bytes, cuts: list[int]) -> Container:
    """What is known of a file that went by in these pieces, each buffer filled anew afterwards."""
    skim, places = Skim(), [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        piece = bytearray(data[start:end])
        skim.feed(piece)
        piece[:] = bytes(len(piece))
    return skim.examine()


@given(data=_structure() | st.binary(max_size=300), cuts=st.lists(st.integers(0, 1000), max_size=8))
@example(data=struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", 30) + bytes(14) + box(b"moov"), cuts=[9])
@example(data=box(b"free") * 64 + box(b"moov"), cuts=[])
@example(data=box(b"free") * 63 + box(b"moov", bytes(9)), cuts=[508])
@example(data=box(b"free") + struct.pack(">I", 0) + b"mdat" + bytes(50), cuts=[12])
def test_a_file_that_goes_by_is_judged_like_one_that_can_be_read_again(data: bytes, cuts: list[int]) -> None:
    assert passing(data, cuts) == look(data)


@given(cuts=st.lists(st.integers(0, 100_000), max_size=8), cut=st.integers(0, 100_000))
def test_a_real_file_that_goes_by_is_judged_alike_at_any_length(mp4: bytes, cuts: list[int], cut: int) -> None:
    assert passing(mp4, cuts) == look(mp4)
    assert passing(mp4[:cut], cuts) == look(mp4[:cut])


def test_what_is_kept_of_a_file_that_goes_by_is_bounded() -> None:
    skim = Skim()
    for _ in range(100):
        skim.feed(bytearray(box(b"moov", bytes(1 << 20))))
    skim.feed(bytearray(struct.pack(">I", 1) + b"moov" + struct.pack(">Q", 1 << 39)))
    assert sum(map(len, skim._kept.values())) < (1 << 20) + 64 * 16
    skim = Skim()
    skim.feed(bytearray(struct.pack(">I", 1 << 30) + b"moov" + bytes(8 << 20)))
    assert sum(map(len, skim._kept.values())) <= 16
