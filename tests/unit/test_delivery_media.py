"""Test the recognition of files: from a real encoder, changed as other writers do, and made by hypothesis."""

from __future__ import annotations

import io
import itertools
import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from shared.delivery.media import MAX_READS, SNIFF_BYTES, Container, HeaderCapture, MediaFacts, content_type, examine
from tests.support.videos import (
    FRAGMENTED,
    FRAMES,
    MOVS,
    MP4S,
    WEBMS,
    Video,
    appended,
    box,
    ebml_head,
    element,
    encode,
    encode_sound,
    outermost,
    patched,
    plays,
    without_length,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FACTS = MediaFacts(2.0, 96, 160, "h264", "aac")
LEAD = 0.2
"""How long a fragmented file's first frame waits for frames that are decoded before it, in seconds."""
BOXED = MP4S | MOVS | FRAGMENTED


def judged(data: bytes) -> Container:
    return examine(lambda start, length: data[start : start + length], len(data))


def passing(data: bytes, cuts: list[int]) -> Container:
    """Return the facts of a file read in these pieces. Each buffer is overwritten afterwards."""
    capture, places = HeaderCapture(), [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        piece = bytearray(data[start:end])
        capture.feed(piece)
        piece[:] = bytes(len(piece))
    return capture.examine()


def facts_of(data: bytes) -> MediaFacts:
    facts = judged(data).facts
    assert facts is not None
    return facts


# ---- what plays is accepted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(make, kind, id=name)
        for files, kind in ((MP4S, "video/mp4"), (MOVS, "video/quicktime"))
        for name, make in files.items()
    ],
)
def test_video_that_plays_is_whole_and_described(make: Callable[[], bytes], kind: str) -> None:
    data = make()
    frames, seconds = plays(data)
    assert frames == FRAMES
    assert seconds == pytest.approx(2.0, abs=0.05)
    assert content_type(data[:SNIFF_BYTES]) == kind
    assert judged(data) == Container(whole=True, facts=FACTS)


@pytest.mark.parametrize("make", FRAGMENTED.values(), ids=FRAGMENTED)
def test_fragmented_video_lasts_as_long_as_all_its_fragments(make: Callable[[], bytes]) -> None:
    data = make()
    frames, seconds = plays(data)
    assert frames == FRAMES
    assert seconds == pytest.approx(2.0 + LEAD, abs=LEAD + 0.05)
    assert content_type(data[:SNIFF_BYTES]) == "video/mp4"
    facts = facts_of(data)
    assert (facts.width, facts.height, facts.video_codec, facts.audio_codec) == (96, 160, "h264", "aac")
    assert facts.duration == pytest.approx(2.0 + LEAD / 2, abs=LEAD / 2 + 0.05)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "pcm_mulaw", "adpcm_ima_qt", "alac"])
@pytest.mark.parametrize("flags", ["delay_moov+default_base_moof", "empty_moov+separate_moof", "default_base_moof"])
def test_fragmented_sound_of_any_kind_is_counted_once(codec: str, flags: str) -> None:
    """FFmpeg lists the samples of PCM in the header as well."""
    data = encode("mov", sound=codec, flags=f"frag_keyframe+{flags}")
    assert plays(data)[0] == FRAMES
    assert facts_of(data).duration == pytest.approx(plays(data)[1], abs=0.05)


@pytest.mark.parametrize("make", WEBMS.values(), ids=WEBMS)
def test_webm_is_known_by_its_type_however_its_head_is_written(make: Callable[[], bytes]) -> None:
    data = make()
    frames, seconds = plays(data)
    assert frames == FRAMES
    assert seconds == pytest.approx(2.0, abs=0.05)
    assert content_type(data[:SNIFF_BYTES]) == "video/webm"
    assert judged(data) == Container(whole=True, facts=None)


TAILS = {
    "zeros": bytes(5000),
    "less than a head": b"\0\0\0",
    "a line break": b"\r\n",
    "a short word": b"EOF",
    "noise": random.Random(1).randbytes(777),  # noqa: S311
    "text": b"\n<!-- served by cache-17 in 0.2 s -->\n",
    "text that is not ASCII": "猫が好き\n".encode() * 9,
    "a picture": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(100),
    "an archive": b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(100),
    "an ID3 tag": b"TAG" + b"Title".ljust(125),
}


@pytest.mark.parametrize("layout", ["moov last", "moov first"])
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_stray_tail_is_ignored_as_players_do(tail: bytes, layout: str) -> None:
    data = MP4S[layout]() + tail
    assert plays(data)[0] == FRAMES
    assert judged(data) == Container(whole=True, facts=FACTS)


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_stray_tail_of_fragments_is_ignored_too(tail: bytes) -> None:
    data = FRAGMENTED["fragments"]() + tail
    assert plays(data)[0] == FRAMES
    assert judged(data).whole
    assert facts_of(data).duration in (None, facts_of(FRAGMENTED["fragments"]()).duration)


@pytest.mark.parametrize("tail", [b"\0\0\1", b"\0\0\2\x15mo", b"\0\0\0\1mdat\0\0"])
def test_stray_tail_that_begins_like_a_box_is_ignored_in_a_plain_file(tail: bytes) -> None:
    """Everything in its header is present. In a fragmented file, this begins another fragment."""
    assert judged(MP4S["moov first"]() + tail).whole
    assert not judged(FRAGMENTED["fragments"]() + tail).whole


# ---- what is cut off is refused --------------------------------------------------------------------------------------


def needed(data: bytes) -> int:
    """Return the end of the last box that a player needs."""
    return max(end for kind, _, end in outermost(data) if kind in (b"moov", b"mdat", b"moof"))


PLAIN = {name: make for name, make in (MP4S | MOVS).items() if name != "moov without a length"}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_video_cut_off_anywhere_is_seen(make: Callable[[], bytes]) -> None:
    data = make()
    edges = {edge + off for _, start, end in outermost(data)[:20] for edge in (start, end) for off in (-1, 0, 1, 7, 9)}
    cuts = [cut for cut in sorted(edges | set(range(64, len(data), 211))) if 0 < cut < needed(data)]
    assert [cut for cut in cuts if judged(data[:cut]).whole] == []


@pytest.mark.parametrize("make", FRAGMENTED.values(), ids=FRAGMENTED)
def test_fragment_cut_off_anywhere_is_seen(make: Callable[[], bytes]) -> None:
    """Except between two fragments, where nothing shows that another one is missing, or only zeros do."""
    data = make()
    boxes = [edges for edges in outermost(data) if edges[1] < needed(data)]
    first = next(start for kind, start, _ in boxes if kind == b"mdat")
    between = [end for kind, start, end in boxes if start >= first and kind != b"moof"]
    unseen = {cut for end in between for cut in range(end, end + 4) if not any(data[end:cut])}
    inside = {start + off for _, start, _ in boxes for off in range(16)} | {end for _, _, end in boxes}
    cuts = sorted((inside | set(range(64, needed(data), 211))) - unseen - {0})
    assert [cut for cut in cuts if cut < needed(data) and judged(data[:cut]).whole] == []


BASES = {"in the file": "", "in the fragment": "+default_base_moof", "not at all": "+omit_tfhd_offset"}


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("sound", [True, False], ids=["two tracks", "one track"])
def test_fragment_without_samples_is_seen_whatever_the_offset_base(base: str, sound: bool) -> None:
    data = encode(flags=f"frag_keyframe+empty_moov{base}", sound=sound)
    assert plays(data)[0] == FRAMES
    assert judged(data).whole
    last = max(end for kind, _, end in outermost(data) if kind == b"moof")
    for behind in (b"", bytes(9), box(b"free", bytes(9)), box(b"mfra"), struct.pack(">I", 0) + b"mdat"):
        assert not judged(data[:last] + behind).whole


def test_fragment_without_samples_needs_none() -> None:
    data = FRAGMENTED["fragments"]()
    track = box(
        b"traf", box(b"tfhd", struct.pack(">II", 0x02_0000, 1)), box(b"trun", struct.pack(">IIi", 1, 0, 1 << 30))
    )
    assert judged(data + box(b"moof", box(b"mfhd", bytes(8)), track)).whole


def test_fragment_in_front_of_which_its_samples_stand_is_whole() -> None:
    """Their offset is then negative."""
    data = encode(flags="empty_moov+default_base_moof+frag_custom", sound=False)
    *_, (_, start, middle), (_, _, end) = [edges for edges in outermost(data) if edges[0] != b"mfra"]
    size = end - middle
    moof = patched(data[start:middle], b"trun", 8, struct.pack(">i", 8 - size))
    turned = data[:start] + data[middle:end] + moof
    assert plays(turned)[0] == FRAMES
    assert judged(turned).whole


def test_last_chunk_that_is_not_full_needs_no_more_than_its_samples() -> None:
    """Some writers declare as many samples for it as for the chunks before it."""
    data = encode(flags="faststart", sound=False)
    count, first, each, *_ = struct.unpack_from(">4I", data, data.index(b"stsc") + 8)
    assert (count, first) == (1, 1), "one row for all chunks"
    data = patched(data, b"stsc", 12, struct.pack(">I", each + 5))
    assert plays(data)[0] == FRAMES
    assert judged(data).whole
    assert not judged(data[:-1]).whole


def test_hundreds_of_fragments_that_go_by_are_all_judged() -> None:
    """For a file that is read in ranges, that would be too many requests."""
    _, (_, _, start), (_, first, _), (_, _, end), *_ = outermost(FRAGMENTED["fragments"]())
    fragment = FRAGMENTED["fragments"]()[first:end] + box(b"free", bytes(140 * 1024))
    captures = whole, cut = HeaderCapture(), HeaderCapture()
    for capture in captures:
        capture.feed(bytearray(FRAGMENTED["fragments"]()[:start]))
        for _ in range(MAX_READS + 44):
            capture.feed(bytearray(fragment))
    whole.feed(bytearray(fragment))
    cut.feed(bytearray(fragment[:-1]))
    assert whole.examine().whole
    assert not cut.examine().whole


@pytest.mark.parametrize("kind", [b"uuid", b"free", b"udta", b"meta", b"emsg", b"beam"])
def test_box_that_reaches_beyond_the_end_is_seen_after_playable_media(kind: bytes) -> None:
    data = MP4S["moov first"]() + box(kind, bytes(9000))
    assert judged(data).whole
    assert not judged(data[:-1]).whole
    assert not judged(data[:-8990]).whole


@pytest.mark.parametrize("make", WEBMS.values(), ids=WEBMS)
def test_webm_cut_off_anywhere_is_seen(make: Callable[[], bytes]) -> None:
    data = make()
    assert [cut for cut in [*range(4, len(data), 97), len(data) - 1] if judged(data[:cut]).whole] == []


def test_webm_without_a_length_is_not_judged_by_it() -> None:
    live = without_length(encode("webm"))
    assert plays(live)[0] == FRAMES
    assert judged(live).whole
    assert judged(live[:-100]).whole


# ---- what is no video is refused -------------------------------------------------------------------------------------


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
        b"\x00\x00\x00\x18stypmsdh" + bytes(8) + b"msdhmsix" + bytes(40),
        b"\x00\x00\x00\x02moov" + bytes(56),
        box(b"styp", b"msdh", bytes(4)) + box(b"sidx", bytes(24)) + box(b"moof", bytes(2000)),
        box(b"uuid", bytes(16)) + b"no box" * 9,
        struct.pack(">I", 0) + b"uuid" + bytes(60),
        b"The free encyclopedia that anyone can edit. " * 3,
        box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 ", bytes(4), b"jp2 ") + bytes(40),
        box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl ", bytes(4), b"jxl ") + bytes(40),
        b"\0\0\1\0\1\0\x10\x10" + bytes(56),
        b"\0\0\1\xbaD\0\4\0\4\1" + bytes(54),
        b"\0\0\0\1gd\0\x1f\xac" + bytes(55),
        "<html>".encode("utf-16-be") + bytes(52),
        box(b"free", bytes(8)) + b"\x00\x00\x00\x1cftypavif" + bytes(16),
        ebml_head(b"matroska"),
        ebml_head(b"web"),
        ebml_head(b"webmx"),
        ebml_head(b"\0webm"),
        element("1a45dfa3", element("ec", element("4282", b"webm"))),
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x00webm" + bytes(50),
    ],
)
def test_what_is_no_video(head: bytes) -> None:
    assert content_type(head) is None


def avif(frames: int) -> bytes:
    file = io.BytesIO()
    pictures = [Image.new("RGB", (64, 64), (number, 0, 0)) for number in range(frames)]
    pictures[0].save(file, "AVIF", save_all=frames > 1, append_images=pictures[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: encode("matroska"), id="Matroska"),
        pytest.param(lambda: encode_sound("ipod"), id="sound, by its brand"),
        pytest.param(lambda: avif(1), id="AVIF"),
        pytest.param(lambda: avif(3), id="AVIF, moving"),
    ],
)
def test_real_file_that_is_no_video_is_known_by_its_beginning(make: Callable[[], bytes]) -> None:
    assert content_type(make()[:SNIFF_BYTES]) is None


@pytest.mark.parametrize("brand", [b"hevc", b"hevx", b"hevm", b"hevs"])
def test_video_that_is_named_by_a_brand_of_pictures_in_its_codec_is_one(brand: bytes) -> None:
    data = encode("mp4")
    data = data[:8] + brand + data[12:]
    assert content_type(data[:SNIFF_BYTES]) == "video/mp4"
    assert judged(data).video


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("what", ["sound", "sound with a cover"])
def test_header_without_a_video_is_no_video(container: str, what: str) -> None:
    cover = Video((320, 320), "mjpeg", frames=1)
    data = encode_sound(container) if what == "sound" else encode(container, cover)
    assert content_type(data[:SNIFF_BYTES]) is not None
    assert judged(data) == Container(whole=True, facts=None, video=False)


TRACK = "1654ae6b"
SUBTITLES, CUT_ENTRY = element("ae", element("83", b"\x11")), b"\xae\x89\x83\x81"


@pytest.mark.parametrize(
    ("tracks", "video"),
    [
        pytest.param(element("ae", element("83", b"\2")), False, id="sound"),
        pytest.param(
            SUBTITLES + element("ae", element("d7", b"\2") + element("83", b"\0\2", 4)), False, id="text and sound"
        ),
        pytest.param(
            element("ae", element("83", b"\2")) + element("ae", element("83", b"\0\1")), True, id="sound and video"
        ),
        pytest.param(element("ec", bytes(9)) + element("ae", element("83", b"\3"), 8), True, id="a mix"),
        pytest.param(element("ae", element("83", b"\x63")), True, id="an unknown type"),
        pytest.param(b"", True, id="nothing"),
        pytest.param(element("ae", b"") + CUT_ENTRY, True, id="no type"),
        pytest.param(bytes(99), True, id="zeros"),
        pytest.param(element("ec", b"") * 20_000 + SUBTITLES, True, id="too many to read"),
    ],
)
@pytest.mark.parametrize("close", [lambda data: data, without_length], ids=["of a length", "live"])
def test_webm_that_lists_no_video_is_no_video(tracks: bytes, video: bool, close: Callable[[bytes], bytes]) -> None:
    head = element("114d9b74", bytes(30)) + element("ec", bytes(5000), 2) + element("1549a966", bytes(20))
    cluster = element("1f43b675", bytes(3000), 2)
    data = ebml_head() + close(element("18538067", head + element(TRACK, tracks, 4) + cluster, 8))
    assert judged(data) == passing(data, [40, 5000]) == Container(whole=True, facts=None, video=video)
    # Tracks may stand behind the frames. They are not searched for there.
    late = ebml_head() + close(element("18538067", head + cluster + element(TRACK, tracks, 4), 8))
    assert judged(late) == Container(whole=True, facts=None)


def test_real_webm_of_sound_is_no_video() -> None:
    for data in (encode_sound("webm"), without_length(encode_sound("webm"))):
        assert content_type(data[:SNIFF_BYTES]) == "video/webm"
        assert judged(data) == Container(whole=True, facts=None, video=False)


# ---- facts -----------------------------------------------------------------------------------------------------------


def test_mov_without_sound() -> None:
    assert facts_of(encode("mov", sound=False)).audio_codec is None


LEFT = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
UPSIDE_DOWN = struct.pack(">5i", -1 << 16, 0, 0, 0, -1 << 16)


@pytest.mark.parametrize(
    ("track", "movie", "size"),
    [
        (None, None, (96, 160)),
        (LEFT, None, (160, 96)),
        (UPSIDE_DOWN, None, (96, 160)),
        (None, LEFT, (160, 96)),
        (LEFT, LEFT, (96, 160)),
    ],
    ids=["upright", "turned", "upside down", "turned by the movie", "turned twice"],
)
def test_turned_video_has_the_size_people_see(track: bytes | None, movie: bytes | None, size: tuple[int, int]) -> None:
    data = encode()
    data = patched(data, b"tkhd", 40, track) if track else data
    data = patched(data, b"mvhd", 36, movie) if movie else data
    assert plays(data)[0] == FRAMES
    facts = facts_of(data)
    assert (facts.width, facts.height) == size


def test_pixels_that_are_not_square_are_counted_as_displayed() -> None:
    """A writer declares this beside the displayed size, or instead of it."""
    pixel = box(b"pasp", struct.pack(">II", 4, 3))
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    beside = appended(encode(), pixel, *path)
    twice = patched(beside, b"tkhd", 76, struct.pack(">II", 128 << 16, 160 << 16))
    for file in (beside, twice):
        assert plays(file)[0] == FRAMES
        assert (facts_of(file).width, facts_of(file).height) == (128, 160)


@pytest.mark.parametrize("pixel", [(0, 0), (0, 1), (1, 0), (0xFFFF_FFFF, 1), (1, 1000)])
def test_pixels_of_a_shape_that_cannot_be_count_as_square(pixel: tuple[int, int]) -> None:
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    assert facts_of(appended(encode(), box(b"pasp", struct.pack(">II", *pixel)), *path)) == FACTS


def test_size_is_that_of_the_samples_where_the_track_has_none() -> None:
    data = patched(encode(), b"tkhd", 76, bytes(8))
    assert facts_of(data) == FACTS


ENABLED, DISABLED = b"\0\0\0\3", b"\0\0\0\2"


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        ((ENABLED, ENABLED, ENABLED), (96, 160)),
        ((ENABLED, DISABLED, ENABLED), (64, 64)),
        ((ENABLED, DISABLED, DISABLED), (48, 80)),
        ((DISABLED, DISABLED, DISABLED), (96, 160)),
    ],
    ids=["all enabled", "largest disabled", "one enabled", "none enabled"],
)
def test_of_several_video_tracks_the_largest_enabled_one_is_described(
    flags: tuple[bytes, ...], size: tuple[int, int]
) -> None:
    data = encode("mp4", Video((48, 80)), Video((96, 160)), Video((64, 64)))
    for number, flag in enumerate(flags):
        data = patched(data, b"tkhd", 0, flag, nth=number)
    assert plays(data)[0] == FRAMES
    assert (facts_of(data).width, facts_of(data).height) == size


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("codec", ["mjpeg", "png"])
@pytest.mark.parametrize("first", [True, False], ids=["cover first", "cover last"])
@pytest.mark.parametrize("flags", ["", "empty_moov+delay_moov"], ids=["plain", "fragmented"])
def test_cover_is_no_video_track(container: str, codec: str, first: bool, flags: str) -> None:
    cover = Video((320, 320), codec, frames=1)
    data = encode(container, *((cover, Video()) if first else (Video(), cover)), flags=flags)
    for number in range(2):
        data = patched(data, b"tkhd", 0, ENABLED, nth=number)
    assert facts_of(data) == FACTS


def test_motion_jpeg_is_a_video_and_a_still_beside_one_is_ignored() -> None:
    moving = encode("mp4", Video(codec="mjpeg"))
    assert judged(moving).video
    assert facts_of(moving).video_codec == "mjpeg"
    still = patched(encode("mp4", Video(), Video((320, 320), frames=1)), b"tkhd", 0, ENABLED, nth=1)
    assert facts_of(still) == FACTS


@pytest.mark.parametrize(
    ("codec", "name"), [("mpeg4", "mpeg4"), ("mpeg2video", "mpeg2video"), ("libvpx-vp9", "vp9"), ("libx264", "h264")]
)
def test_codec_has_its_usual_name(codec: str, name: str) -> None:
    assert facts_of(encode("mp4", Video((128, 160), codec))).video_codec == name


def test_delay_before_the_first_frame_counts() -> None:
    for flags in ("", "frag_keyframe+empty_moov+delay_moov", "frag_keyframe+empty_moov"):
        data = encode(flags=flags, delay=1.0)
        frames, seconds = plays(data)
        assert frames == FRAMES
        assert seconds == pytest.approx(3.0, abs=0.05)
        assert facts_of(data).duration == pytest.approx(3.0, abs=0.05)


def trimmed(data: bytes) -> bytes:
    """Return a file whose edit lists play only the first second of each track."""
    for number in range(2):
        data = patched(data, b"elst", 8, struct.pack(">I", 1000), nth=number)
    return patched(data, b"mvhd", 16, struct.pack(">I", 1000))


ALL_ONES = b"\xff" * 4


@pytest.mark.parametrize("unknown", [ALL_ONES, bytes(4)], ids=["all ones", "zero"])
def test_duration_that_is_unknown_is_counted_from_the_samples(unknown: bytes) -> None:
    assert facts_of(patched(encode(), b"mvhd", 16, unknown)) == FACTS
    assert facts_of(trimmed(encode())).duration == 1.0
    assert facts_of(patched(trimmed(encode()), b"mvhd", 16, unknown)).duration == 1.0


def with_long_times(data: bytes, duration: bytes) -> bytes:
    """Return a file whose `mvhd` has 64-bit times and this duration. Its samples stand before it."""
    ((start, end),) = [(start, end) for kind, start, end in outermost(data) if kind == b"moov"]
    moov = data[start + 8 : end]
    old = moov[8:108]
    new = b"\1\0\0\0" + bytes(16) + old[12:16] + duration + old[20:]
    return data[:start] + box(b"moov", box(b"mvhd", new), moov[108:])


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(struct.pack(">Q", 7000), 7.0), (b"\xff" * 8, 2.0), (bytes(4) + ALL_ONES, 2.0), (bytes(8), 2.0)],
    ids=["known", "all ones", "all ones of 32 bits", "zero"],
)
def test_duration_of_64_bits(duration: bytes, expected: float) -> None:
    data = with_long_times(encode(), duration)
    assert plays(data)[0] == FRAMES
    assert facts_of(data).duration == expected


def test_duration_is_absent_where_nothing_credible_says_it() -> None:
    """The other facts are kept."""
    unknown = patched(encode(), b"mvhd", 16, ALL_ONES)
    for number in range(2):
        unknown = patched(unknown, b"mdhd", 12, bytes(4), nth=number)
    no_timescale = patched(encode(), b"mvhd", 12, bytes(4))
    for data in (unknown.replace(b"edts", b"free"), no_timescale):
        assert judged(data).facts == MediaFacts(None, 96, 160, "h264", "aac")


def test_duration_that_cannot_be_is_not_believed() -> None:
    years, instant = struct.pack(">I", 0xFFFF_FFF0), struct.pack(">II", 0x7FFF_FFFF, 2000)
    assert facts_of(patched(encode(), b"mvhd", 16, years)) == FACTS
    assert facts_of(patched(encode(), b"mvhd", 12, instant)).duration is None


def test_fragments_are_counted_before_the_header_is_believed() -> None:
    """The header counts if they cannot be counted: too large, too many, or of an unknown track."""
    plain = FRAGMENTED["fragments"]()
    declared = appended(plain, box(b"mehd", bytes(4), struct.pack(">I", 5000)), b"moov", b"mvex")
    assert plays(declared)[0] == FRAMES
    assert facts_of(declared).duration == facts_of(plain).duration == pytest.approx(2.2, abs=0.01)
    for file, expected in ((plain, None), (declared, 5.0)):
        assert facts_of(patched(file, b"tfhd", 4, struct.pack(">I", 99))).duration == expected
        assert facts_of(file + box(b"moof", bytes(5 << 20))).duration == expected
        assert facts_of(file + (box(b"moof") + box(b"mdat")) * 30_000).duration == expected


# ---- bounds, and the same verdict for all ways ----------------------------------------------------------------------


def _structure() -> st.SearchStrategy[bytes]:
    kinds = st.sampled_from(
        b"ftyp moov mvhd trak tkhd mdia mdhd hdlr minf stbl stsd stts stco mdat mvex trex moof traf trun uuid".split()
    )
    leaf = st.binary(max_size=120)
    return st.recursive(
        leaf, lambda inner: st.lists(st.builds(box, kinds, inner), max_size=5).map(b"".join), max_leaves=20
    )


ANYTHING = _structure() | st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b"\x1a\x45\xdf\xa3" + data)


@given(data=ANYTHING, cuts=st.lists(st.integers(0, 1000), max_size=8))
@example(data=struct.pack(">I", 0) + b"moov", cuts=[])
@example(data=struct.pack(">I", 1) + b"mdat" + bytes(8), cuts=[3])
@example(data=box(b"moov", box(b"mvhd", b"\x01" + b"\xff" * 200) + box(b"trak")), cuts=[100])
@example(data=struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", 30) + bytes(14) + box(b"moov"), cuts=[9])
@example(data=box(b"free") * 500 + box(b"moov", bytes(9)), cuts=[2047, 2049])
@example(data=box(b"free") + struct.pack(">I", 0) + b"mdat" + bytes(50), cuts=[12])
@example(data=box(b"free", bytes(2040)) + box(b"moov", bytes(3000)) + box(b"beam"), cuts=[2052, 2060])
def test_a_file_that_goes_by_is_judged_like_one_that_can_be_read_again(data: bytes, cuts: list[int]) -> None:
    assert passing(data, cuts) == judged(data)


@given(st.data())
def test_a_real_file_that_goes_by_is_judged_alike_at_any_length(data: st.DataObject) -> None:
    file = (BOXED | WEBMS)[data.draw(st.sampled_from(sorted(BOXED | WEBMS)))]()
    cut = data.draw(st.integers(0, len(file)))
    cuts = data.draw(st.lists(st.integers(0, len(file)), max_size=8))
    assert passing(file, cuts) == judged(file)
    assert passing(file[:cut], cuts) == judged(file[:cut])


class Counting:
    """A file of `size` bytes that is generated while it is read, and its reads."""

    def __init__(self, size: int, piece: bytes) -> None:
        self.size = size
        self.reads: list[tuple[int, int]] = []
        self._piece = piece

    def read(self, start: int, length: int) -> bytes:
        assert 0 <= start < start + length <= self.size
        self.reads.append((start, length))
        first = start % len(self._piece)
        return (self._piece * (length // len(self._piece) + 2))[first : first + length]


@pytest.mark.parametrize(
    "piece",
    [
        box(b"free"),
        box(b"moof"),
        box(b"moov"),
        box(b"mdat", bytes(100_000)),
        box(b"mdat", bytes(1_000_000)),
        struct.pack(">I4sQ", 1, b"moov", 1 << 39),
        element("1a45dfa3", b""),
        b"\x1a\x45\xdf\xa3\x84" + bytes(4),
    ],
    ids=["tiny", "fragments", "headers", "near", "far", "large header", "EBML heads", "EBML zeros"],
)
def test_reads_are_few_and_bounded_however_many_boxes_there_are(piece: bytes) -> None:
    file = Counting(1 << 40, piece)
    examine(file.read, file.size)
    assert len(file.reads) <= MAX_READS
    assert max(length for _, length in file.reads) <= 4 << 20
    assert sum(length for _, length in file.reads) <= MAX_READS << 20
    assert file.reads == sorted(file.reads), "never back: a file that goes by cannot be asked again"


def test_small_boxes_are_read_together_and_large_ones_passed_by() -> None:
    head = box(b"ftyp", b"isom", bytes(4)) + box(b"uuid", bytes(12_000)) + box(b"free") * 3000
    data = head + box(b"mdat", bytes(9 << 20)) + encode()[outermost(encode())[-1][1] :]
    reads: list[tuple[int, int]] = []

    def read(start: int, length: int) -> bytes:
        reads.append((start, length))
        return data[start : start + length]

    assert examine(read, len(data)).whole
    assert len(reads) <= 6
    assert sum(length for _, length in reads) < 128 * 1024


def test_what_is_kept_of_a_file_that_goes_by_is_bounded() -> None:
    for piece in (box(b"moov", bytes(1 << 20)), box(b"free") * 10_000, box(b"mdat", bytes(50_000))):
        capture = HeaderCapture()
        for _ in range(100):
            capture.feed(bytearray(piece))
            assert len(capture._kept) <= 4 << 20
    capture = HeaderCapture()
    capture.feed(bytearray(struct.pack(">I", 1 << 30) + b"moov" + bytes(8 << 20)))
    assert len(capture._kept) <= 2048


def test_damage_to_a_header_never_yields_nonsense() -> None:
    data = encode()
    start = data.index(b"moov") - 4
    rng = random.Random(7)  # noqa: S311
    for _ in range(500):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(start, len(data))] = rng.randrange(256)
        facts = judged(bytes(damaged)).facts
        if facts is not None:
            assert facts.duration is None or facts.duration > 0
            assert facts.width > 0
            assert facts.height > 0
            assert facts.video_codec.isprintable()
