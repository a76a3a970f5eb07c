"""Test that a file's type is its content's: real files of common programs, and bytes that only resemble some."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.requests.media_types import Kind, kind_of
from tests.support.media_files import media, picture

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE, VIDEO, AUDIO = Kind.IMAGE, Kind.VIDEO, Kind.AUDIO


def judged(content: bytes) -> Kind | None:
    return kind_of(lambda offset, length: content[offset : offset + length], len(content))


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def brand(major: bytes, *others: bytes) -> bytes:
    return box(b"ftyp", major + bytes(4) + b"".join(others))


def movie(*handlers: bytes) -> bytes:
    """Return a list of tracks as a movie has it."""
    tracks = (box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(12)))) for handler in handlers)
    return box(b"moov", box(b"mvhd", bytes(100)) + b"".join(tracks))


WIDE = box(b"wide")
MDAT = box(b"mdat", bytes(64))

PROGRAMS: dict[str, tuple[Kind, Callable[[], bytes]]] = {
    "jpeg": (IMAGE, functools.partial(picture, "JPEG")),
    "png": (IMAGE, functools.partial(picture, "PNG")),
    "gif, animated": (IMAGE, functools.partial(picture, "GIF", frames=3)),
    "webp": (IMAGE, functools.partial(picture, "WEBP")),
    "webp, animated": (IMAGE, functools.partial(picture, "WEBP", frames=3)),
    "avif": (IMAGE, functools.partial(picture, "AVIF")),
    "avif, a sequence": (IMAGE, functools.partial(picture, "AVIF", frames=3)),
    "bmp": (IMAGE, functools.partial(picture, "BMP")),
    "tiff": (IMAGE, functools.partial(picture, "TIFF")),
    "tiff, large": (IMAGE, functools.partial(picture, "TIFF", big_tiff=True)),
    "jpeg 2000": (IMAGE, functools.partial(picture, "JPEG2000")),
    "mp4": (VIDEO, functools.partial(media, "mp4", video="mpeg4", sound="aac")),
    "mp4 without sound": (VIDEO, functools.partial(media, "mp4", video="mpeg4")),
    "mp4 in fragments": (VIDEO, functools.partial(media, "mp4", video="mpeg4", sound="aac", movflags="empty_moov")),
    "mov": (VIDEO, functools.partial(media, "mov", video="mpeg4", sound="aac")),
    "3gp": (VIDEO, functools.partial(media, "3gp", video="mpeg4")),
    "webm": (VIDEO, functools.partial(media, "webm", video="libvpx-vp9", sound="libopus", rate=48_000)),
    "mkv": (VIDEO, functools.partial(media, "matroska", video="mpeg4", sound="aac")),
    "avi": (VIDEO, functools.partial(media, "avi", video="mpeg4")),
    "mpeg": (VIDEO, functools.partial(media, "mpeg", video="mpeg2video")),
    "transport stream": (VIDEO, functools.partial(media, "mpegts", video="mpeg2video")),
    "wmv": (VIDEO, functools.partial(media, "asf", video="mpeg4", sound="libmp3lame")),
    "flv": (VIDEO, functools.partial(media, "flv", video="flv")),
    "m4a of Apple": (AUDIO, functools.partial(media, "ipod", sound="aac")),
    "m4a, lossless": (AUDIO, functools.partial(media, "ipod", sound="alac")),
    "m4a of Android": (AUDIO, functools.partial(media, "mp4", sound="aac", brand="mp42")),
    "m4a of FFmpeg": (AUDIO, functools.partial(media, "mp4", sound="aac", brand="isom")),
    "m4a for streaming": (AUDIO, functools.partial(media, "mp4", sound="aac", brand="dash", movflags="empty_moov")),
    "m4b": (AUDIO, functools.partial(media, "mp4", sound="aac", brand="M4B ")),
    "mov with sound only": (AUDIO, functools.partial(media, "mov", sound="aac")),
    "3gp of a voice recorder": (AUDIO, functools.partial(media, "3gp", sound="libopencore_amrnb", rate=8_000)),
    "webm with sound only": (AUDIO, functools.partial(media, "webm", sound="libopus", rate=48_000)),
    "mka": (AUDIO, functools.partial(media, "matroska", sound="flac")),
    "mp3": (AUDIO, functools.partial(media, "mp3", sound="libmp3lame")),
    "mp3 without a tag": (AUDIO, functools.partial(media, "mp3", sound="libmp3lame", id3v2_version="0")),
    "mp3, half the rate": (
        AUDIO,
        functools.partial(media, "mp3", sound="libmp3lame", rate=16_000, id3v2_version="0", write_xing="0"),
    ),
    "mp3, a quarter of the rate": (
        AUDIO,
        functools.partial(media, "mp3", sound="libmp3lame", rate=8_000, id3v2_version="0", write_xing="0"),
    ),
    "mp2": (AUDIO, functools.partial(media, "mp2", sound="mp2")),
    "wav": (AUDIO, functools.partial(media, "wav", sound="pcm_s16le")),
    "wav, large": (AUDIO, functools.partial(media, "wav", sound="pcm_s16le", rf64="always")),
    "wave64": (AUDIO, functools.partial(media, "w64", sound="pcm_s16le")),
    "flac": (AUDIO, functools.partial(media, "flac", sound="flac")),
    "ogg": (AUDIO, functools.partial(media, "ogg", sound="libopus", rate=48_000)),
    "aac": (AUDIO, functools.partial(media, "adts", sound="aac")),
    "aiff": (AUDIO, functools.partial(media, "aiff", sound="pcm_s16be")),
    "caf": (AUDIO, functools.partial(media, "caf", sound="pcm_s16be")),
    "amr": (AUDIO, functools.partial(media, "amr", sound="libopencore_amrnb", rate=8_000)),
    "wma": (AUDIO, functools.partial(media, "asf", sound="libmp3lame")),
    "flv with sound only": (AUDIO, functools.partial(media, "flv", sound="libmp3lame")),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_program_writes_is_what_it_is(name: str) -> None:
    kind, made = PROGRAMS[name]
    assert judged(made()) is kind


@pytest.mark.parametrize("first", [b"mdat", b"wide", b"free", b"skip"])
def test_quicktime_needs_no_brand(first: bytes) -> None:
    """Its oldest files begin with the media, or with free space."""
    made = media("mov", video="mpeg4", sound="aac")
    assert made[4:8] == b"ftyp"
    assert judged(made[:4] + first + made[8:]) is VIDEO
    assert judged(movie(b"vide", b"soun") + MDAT) is VIDEO
    assert judged(box(first) + MDAT) is None, "there is no list of tracks"


BRANDED: list[tuple[Kind, bytes]] = [
    *((IMAGE, brand(name)) for name in b"mif1,mif2,msf1,heic,heix,heim,heis,hevc,hevx,hevm,hevs,avif,avis".split(b",")),
    *((IMAGE, brand(name)) for name in (b"miaf", b"avci", b"avcs", b"crx ", b"MA1B")),
    (IMAGE, brand(b"mif1", b"mif1", b"heic") + box(b"meta", bytes(4)) + MDAT),
    (IMAGE, brand(b"XXXX", b"mif1", b"heic") + box(b"meta", bytes(4))),
    (VIDEO, brand(b"isom", b"mif1") + movie(b"vide")),
    (VIDEO, brand(b"isom")),
    (VIDEO, brand(b"isom") + bytes(64)),
    (VIDEO, brand(b"qt  ") + movie()),
    (VIDEO, brand(b"mp42") + MDAT + movie(b"soun", b"vide")),
    (AUDIO, brand(b"mp42") + MDAT + WIDE + movie(b"soun", b"text", b"meta")),
    (AUDIO, brand(b"M4A ")),
    (AUDIO, brand(b"M4B ") + movie(b"soun", b"vide")),  # chapters with pictures
]


@pytest.mark.parametrize(("kind", "content"), BRANDED, ids=lambda value: value if isinstance(value, Kind) else "")
def test_a_brand_of_pictures_or_sound_is_enough_else_tracks_count(kind: Kind, content: bytes) -> None:
    assert judged(content) is kind


HEADS: dict[Kind | None, list[bytes]] = {
    IMAGE: [
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"\xff\x0a\xfa",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"MM\0*\0\0\0\x08",
    ],
    VIDEO: [b"\0\0\0\x14ftypqt  ", b"\x1a\x45\xdf\xa3", b"OggS" + bytes(24) + b"\x80theora"],
    AUDIO: [b"ID3\4" + bytes(8), b"\xff\xfb\x90\x00", b"RIFF\0\0\0\0WAVEfmt ", b"OggS", b"fLaC"],
    None: [
        b"",
        b"hello",
        b"%PDF-1.7",
        b"<html>",
        b"PK\3\4",
        b"\xff",
        b"BMW and other makes of cars, in a text",
        b"ID3 tags, and how to write them",
        b"RIFF raff",
        b"The free lunch",
        b"GGG" * 400,
        b"\xff" * 4000,
        bytes(4000),
    ],
}


@pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind, heads in HEADS.items() for head in heads])
def test_a_file_is_what_its_first_bytes_say(kind: Kind | None, head: bytes) -> None:
    assert judged(head) is kind


TEXTS = [
    "Notes for the speaker",
    "H",
    "Hello",
    "HIJKLMNO" * 600,
    "Ünïcödé notes ÿþ " * 400,
    "\xfe\xff" * 2000,
    "䣾" * 2000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:8])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_no_text_is_taken_for_sound(text: str, encoding: str) -> None:
    """The byte order mark of UTF-16 has the eleven set bits of an MPEG audio frame."""
    content = text.encode(encoding, "replace")
    assert judged(content) is None
    assert judged(b"\xff\xfe" + content) is None


@settings(max_examples=300)
@given(st.binary(max_size=3000))
def test_two_bytes_of_a_frame_are_no_sound(rest: bytes) -> None:
    """The first frame counts only with a second one, or if the file ends with it."""
    if len(rest) > 2900:  # longer than any frame
        assert judged(b"\xff\xfb" + rest.replace(b"\xff", b"")) is None


def test_of_a_large_file_little_is_read_wherever_its_tracks_are() -> None:
    head, size = brand(b"mp42") + b"\0\0\0\1mdat" + (10**9).to_bytes(8, "big"), 10**9 + 36
    tail = movie(b"soun")
    at = len(brand(b"mp42")) + 10**9
    assert judged_from({0: head, at: tail}, at + len(tail)) == (AUDIO, 2)
    assert size < at + len(tail) + 100
    # This is the limit for any file.
    many = box(b"free") * 200_000
    kind, reads = judged_from({0: brand(b"isom") + many}, 28 + len(many))
    assert (kind, reads) == (VIDEO, 40)


def judged_from(parts: dict[int, bytes], size: int) -> tuple[Kind | None, int]:
    """Return the type of a file that is mostly zeros, and the number of reads."""
    reads = []

    def read(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        assert length <= 8192
        start = max(start for start in parts if start <= offset)
        return parts[start][offset - start : offset - start + length].ljust(min(length, size - offset), b"\0")

    return kind_of(read, size), len(reads)


@settings(max_examples=1000, deadline=None)
@given(
    st.binary(max_size=80),
    st.sampled_from([b"", *(head for heads in HEADS.values() for head in heads), b"\xff\xf1", b"\0\0\0\x08moov"]),
)
def test_no_file_is_too_strange_to_be_judged(rest: bytes, head: bytes) -> None:
    assert judged(head + rest) in {None, *Kind}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["mp4", "webm", "mp3", "ogg", "mpegts"]), st.data())
def test_no_broken_file_is_too_strange_to_be_judged(name: str, data: Any) -> None:
    made = BROKEN[name]
    cut = data.draw(st.integers(0, len(made)))
    place = data.draw(st.integers(0, len(made)))
    assert judged(made[:cut]) in {None, *Kind}
    assert judged(made[:place] + data.draw(st.binary(max_size=9)) + made[place + 3 :]) in {None, *Kind}


class _Broken(dict[str, bytes]):
    def __missing__(self, name: str) -> bytes:
        programs = {"mp4": "m4a of Android", "webm": "webm", "mp3": "mp3 without a tag", "ogg": "ogg"}
        self[name] = PROGRAMS[programs.get(name, "transport stream")][1]()
        return self[name]


BROKEN = _Broken()
