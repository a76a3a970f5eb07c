"""Read the header of an MP4 or MOV (`moov`) and of its fragments (`moof`): duration, size, codecs.

What cannot be read reliably is left out. Works on bytes in memory; must not know where they come from. The layout is
ISO/IEC 14496-12, as in https://developer.apple.com/documentation/quicktime-file-format/movie_atom.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.boxes import parse
from shared.delivery import fragments
from shared.delivery.boxes import Unsound, find, find_all, required
from shared.delivery.fragments import Defaults, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIN_SECONDS, _MAX_SECONDS = 0.001, 7 * 24 * 3600
_UNKNOWN = (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
"""Unknown durations: ISO/IEC 14496-12 sets all bits for "cannot be determined"; live encoders write 0."""
_VIDEO, _SOUND = b"vide", b"soun"
_NOTHING = memoryview(b"")
_VISUAL_ENTRY_BYTES = 86
"""Fixed part of a visual sample entry; boxes follow."""
_MAX_ENTRY_BYTES = 4096
_MAX_PIXEL_RATIO = 8

_CODECS = {
    b"avc1": "h264",
    b"avc3": "h264",
    b"hvc1": "hevc",
    b"hev1": "hevc",
    b"dvh1": "hevc",
    b"dvhe": "hevc",
    b"av01": "av1",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"mp4v": "mpeg4",
    b"jpeg": "mjpeg",
    b"mjpa": "mjpeg",
    b"mjpb": "mjpeg",
    b"png ": "png",
    b"mp4a": "aac",
    b"ac-3": "ac3",
    b"ec-3": "eac3",
    b"Opus": "opus",
    b"fLaC": "flac",
    b".mp3": "mp3",
}
# `mp4v` and `mp4a` stand for every codec with a number at https://mp4ra.org/registered-types/object-types.
_OBJECT_TYPES = {
    0x20: "mpeg4",
    0x40: "aac",
    **dict.fromkeys(range(0x60, 0x66), "mpeg2video"),
    **dict.fromkeys(range(0x66, 0x69), "aac"),
    0x69: "mp3",
    0x6A: "mpeg1video",
    0x6B: "mp3",
    0x6C: "mjpeg",
    0x6D: "png",
    0x6E: "jpeg2000",
    0xA5: "ac3",
    0xA6: "eac3",
    0xAD: "opus",
}
_PICTURES = frozenset({"mjpeg", "png", "jpeg2000", "gif", "tiff"})


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Facts from a video's header.

    Attributes:
        duration: In seconds; `None` if unknown or not credible.
        width: In pixels, as displayed.
        height: In pixels, as displayed.
        video_codec: Usual name.
        audio_codec: Usual name; `None` without sound.
    """

    duration: float | None
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


@dataclass(slots=True)
class _Track:
    """A track of the movie, with the totals of its fragments so far.

    Attributes:
        body: The `trak` box.
        header: Its `tkhd` box.
        tables: Its `stbl` box, which lists the samples; empty unless it is video or sound.
        entry: The first description of its samples; empty unless it is video or sound.
        number: Its id, as fragments use it.
        handler: Kind of media: `vide`, `soun` or another.
        enabled: Whether players use it by default.
        codec: Usual name; empty if unknown.
        defaults: Defaults for samples in fragments.
        ticks: Duration of the samples in fragments, in ticks of the track.
        lead: Ticks from decoding the first of these to displaying it; `None` before the first.
    """

    body: memoryview
    header: memoryview
    tables: memoryview
    entry: memoryview
    number: int
    handler: bytes
    enabled: bool
    codec: str
    defaults: Defaults = field(default_factory=Defaults)
    ticks: int = 0
    lead: int | None = None

    @classmethod
    def read(cls, body: memoryview) -> _Track:
        """Read a `trak` box."""
        header = required(body, b"tkhd")
        (flags,) = struct.unpack_from(">I", header)
        (number,) = struct.unpack_from(">I", header, 20 if _is_long(header) else 12)
        media = required(body, b"mdia")
        handler = bytes(required(media, b"hdlr")[8:12])
        if handler not in (_VIDEO, _SOUND):
            return cls(body, header, _NOTHING, _NOTHING, number, handler, bool(flags & 1), "")
        tables = required(media, b"minf", b"stbl")
        entry = _sample_entry(tables)
        return cls(body, header, tables, entry, number, handler, bool(flags & 1), _codec(entry))

    @property
    def samples(self) -> int:
        """How many samples the header lists."""
        sizes = find(self.tables, b"stsz") or find(self.tables, b"stz2")
        return int(struct.unpack_from(">I", sizes, 8)[0]) if sizes is not None else 0

    def count(self, run: Run, defaults: Defaults) -> None:
        """Add the samples of a fragment."""
        self.ticks += run.ticks(defaults.ticks)
        if run.samples and self.lead is None:
            self.lead = run.lead

    def played(self, timescale: int, *, fragmented: bool) -> float:
        """Return how many seconds it plays, by its samples and edits. `timescale` is the movie's."""
        own_timescale, _ = _times(required(self.body, b"mdia", b"mdhd"))
        # FFmpeg also writes here the duration of PCM sound in fragments, but lists no samples of it.
        ticks, lead = _listed_samples(self.tables) if self.samples else (0, None)
        ticks, lead = ticks + self.ticks, self.lead or 0 if lead is None else lead
        if not ticks or not own_timescale:
            return 0.0
        delay, skipped, edited = _edits(self.body)
        if edited and not fragmented:
            return edited / timescale
        # The edits of a fragmented file give only its start: its end was unknown when they were written.
        return delay / timescale + (ticks + lead - skipped) / own_timescale


class Movie:
    """The header of a file, and the fragments that belong to it.

    Attributes:
        fragmented: Whether it has or announces fragments.
    """

    def __init__(self, moov: memoryview) -> None:
        """Read the body of a `moov` box.

        Raises:
            Unsound, struct.error: It cannot be read.
        """
        self._moov = moov
        self._tracks = [_Track.read(body) for body in find_all(moov, b"trak")]
        self._counted = True
        self._last_fragment: tuple[memoryview, int] | None = None
        extends = find(moov, b"mvex")
        self.fragmented = extends is not None
        for box in find_all(extends, b"trex") if extends is not None else ():
            number, _, ticks, size = struct.unpack_from(">4I", box, 4)
            if (track := self._numbered(number)) is not None:
                track.defaults = Defaults(ticks, size)

    @property
    def has_video(self) -> bool:
        """Whether there is more than sound, covers and text, or no list of tracks."""
        return not self._tracks or bool(self._videos())

    @property
    def awaits_fragments(self) -> bool:
        """Whether all samples are in fragments, and no fragment was added."""
        return self.fragmented and self._last_fragment is None and not any(track.samples for track in self._tracks)

    @property
    def media_end(self) -> int:
        """Offset in the file where the last listed sample of video or sound ends. 0 if none is listed."""
        ends = [0]
        for track in self._tracks:
            if track.handler in (_VIDEO, _SOUND):
                with contextlib.suppress(Unsound, struct.error):
                    ends.append(_media_end(track))
        if self._last_fragment is not None:
            with contextlib.suppress(Unsound, struct.error):
                ends.append(fragments.media_end(*self._last_fragment, self._defaults_of))
        return max(ends)

    def add(self, moof: memoryview, start: int) -> None:
        """Count the samples of a fragment. `moof`: the body of its box; `start`: the offset of that box in the file."""
        self.fragmented = True
        self._last_fragment = moof, start
        try:
            for fragment in find_all(moof, b"traf"):
                self._count(fragment)
        except (Unsound, struct.error):
            self._counted = False

    def _count(self, fragment: memoryview) -> None:
        header = fragments.Header.read(fragment, self._defaults_of)
        track = self._numbered(header.track)
        if track is None:
            raise Unsound
        for run in find_all(fragment, b"trun"):
            track.count(Run.read(run), header.defaults)

    def _defaults_of(self, number: int) -> Defaults:
        track = self._numbered(number)
        return Defaults() if track is None else track.defaults

    def _numbered(self, number: int) -> _Track | None:
        return next((track for track in self._tracks if track.number == number), None)

    def facts(self, *, complete: bool) -> MediaFacts | None:
        """Return the facts; `None` if size or codec cannot be read. `complete`: all fragments were added."""
        videos = self._videos()
        if not videos:
            return None
        video = max(videos, key=self._rank)
        sounds = [track for track in self._tracks if track.handler == _SOUND]
        sound = max(sounds, key=lambda track: track.enabled, default=None)
        width, height = _size(video)
        if _is_turned(video.header, 40) != _is_turned(required(self._moov, b"mvhd"), 36):
            width, height = height, width
        if not video.codec or not width or not height:
            return None
        return MediaFacts(self._duration(complete), width, height, video.codec, sound.codec if sound else None)

    def _rank(self, track: _Track) -> tuple[bool, bool, bool, int]:
        """Rank by how likely a player shows this track: moving, no picture, enabled, large."""
        moves = self.fragmented or track.samples > 1
        return moves, track.codec not in _PICTURES, track.enabled, math.prod(_size(track))

    def _videos(self) -> list[_Track]:
        return [
            track
            for track in self._tracks
            if track.handler == _VIDEO
            and (self.fragmented or track.codec not in _PICTURES or track.samples != 1)  # otherwise it is a cover
        ]

    def _duration(self, complete: bool) -> float | None:
        try:
            for seconds in self._durations(complete):
                if _MIN_SECONDS <= seconds <= _MAX_SECONDS:
                    return round(seconds, 3)
        except (Unsound, struct.error):
            pass
        return None

    def _durations(self, complete: bool) -> Iterator[float]:
        """Yield the video's length in seconds from each source, the most reliable first."""
        timescale, ticks = _times(required(self._moov, b"mvhd"))
        if not timescale:
            return
        # In a fragmented file this may be the length of the file, of its first fragment, or 0.
        if not self.fragmented:
            yield ticks / timescale
        if complete and self._counted:
            tracks = [track for track in self._tracks if track.handler in (_VIDEO, _SOUND)]
            yield max((track.played(timescale, fragmented=self.fragmented) for track in tracks), default=0.0)
        extends = find(self._moov, b"mvex", b"mehd")
        if extends is not None:
            (ticks,) = struct.unpack_from(">Q" if _is_long(extends) else ">I", extends, 4)
            yield _known(ticks) / timescale


def _is_long(full_box: memoryview) -> bool:
    """Whether times in this box have 64 bits: version 1 of its layout."""
    return full_box[:1].tobytes() == b"\x01"


def _known(ticks: int) -> int:
    return 0 if ticks in _UNKNOWN else ticks


def _times(header: memoryview) -> tuple[int, int]:
    """Return ticks per second and duration in ticks (0 if unknown) of an `mvhd` or `mdhd` box."""
    layout, at = (">IQ", 20) if _is_long(header) else (">II", 12)
    timescale, ticks = struct.unpack_from(layout, header, at)
    return timescale, _known(ticks)


def _sample_entry(tables: memoryview) -> memoryview:
    """Return the first description of a track's samples, with its head."""
    entries = required(tables, b"stsd")[8:]
    box = parse(entries)
    if box is None:
        raise Unsound
    return entries[: box.length or len(entries)]


def _codec(entry: memoryview) -> str:
    kind = bytes(entry[4:8])
    if kind in (b"mp4v", b"mp4a"):
        return _OBJECT_TYPES.get(_object_type(bytes(entry[:_MAX_ENTRY_BYTES])), _CODECS[kind])
    return _CODECS.get(kind, "".join(chr(letter) for letter in kind if 32 < letter < 127))


def _object_type(entry: bytes) -> int:
    """Return the number of an MPEG-4 codec: ISO/IEC 14496-1, 7.2.6. 0 if there is none."""
    esds = entry.find(b"esds")
    if esds < 0:
        return 0
    stream = _descriptor(entry, esds + 8, tag=3)
    config = _descriptor(entry, stream + 3, tag=4) if stream else 0
    return entry[config] if 0 < config < len(entry) else 0


def _descriptor(data: bytes, at: int, tag: int) -> int:
    """Return the offset of the body of the descriptor at `at`; 0 if its tag is another."""
    if data[at : at + 1] != bytes([tag]):
        return 0
    at += 1
    while data[at : at + 1] >= b"\x80":  # its length: seven bits per byte; the eighth bit means that more follow
        at += 1
    return at + 1


def _size(track: _Track) -> tuple[int, int]:
    """Return width and height in pixels, as displayed, before rotation."""
    shown = struct.unpack_from(">II", track.header, 88 if _is_long(track.header) else 76)
    shown = (shown[0] >> 16, shown[1] >> 16)
    stored = struct.unpack_from(">HH", track.entry, 32)
    pixel = find(track.entry[_VISUAL_ENTRY_BYTES:], b"pasp")
    if all(shown) and (pixel is None or shown != stored):
        return shown
    across, down = struct.unpack_from(">II", pixel) if pixel is not None else (1, 1)
    if not across or not 1 / _MAX_PIXEL_RATIO <= down / across <= _MAX_PIXEL_RATIO:
        across = down = 1
    return round(stored[0] * across / down), stored[1]


def _is_turned(header: memoryview, matrix: int) -> bool:
    """Whether a `tkhd` or `mvhd` box rotates the picture by 90°. `matrix`: its offset in a box with 32-bit times."""
    a, b, _, c, d = struct.unpack_from(">5i", header, matrix + (12 if _is_long(header) else 0))
    return bool(abs(a) + abs(d) < abs(b) + abs(c))


def _listed_samples(tables: memoryview) -> tuple[int, int | None]:
    """Return the duration of all listed samples, and the first one's delay from decoding to display, in ticks."""
    durations, offsets = find(tables, b"stts"), find(tables, b"ctts")
    if durations is None or not _rows(durations, 8):
        return 0, None
    lead = struct.unpack_from(">i", offsets, 12)[0] if offsets is not None and _rows(offsets, 8) else 0
    return sum(count * ticks for count, ticks in struct.iter_unpack(">II", _rows(durations, 8))), lead


def _rows(table: memoryview, width: int, skip: int = 4) -> memoryview:
    """Return the rows of a table. Their number is `skip` bytes after its beginning."""
    (count,) = struct.unpack_from(">I", table, skip)
    rows = table[skip + 4 : skip + 4 + count * width]
    if len(rows) < count * width:
        raise Unsound
    return rows


def _edits(track: memoryview) -> tuple[int, int, int]:
    """Return a track's delay in ticks of the movie, skipped ticks of the track, and total ticks of the movie.

    The total is 0 if unknown.
    """
    edits = find(track, b"edts", b"elst")
    if edits is None:
        return 0, 0, 0
    layout = ">Qqi" if _is_long(edits) else ">Iii"
    rows: list[tuple[int, int, int]] = list(struct.iter_unpack(layout, _rows(edits, struct.calcsize(layout))))
    delay = sum(ticks for ticks, start, _ in itertools.takewhile(lambda row: row[1] < 0, rows))
    skipped = next((start for _, start, _ in rows if start >= 0), 0)
    known = all(_known(ticks) for ticks, _, _ in rows)
    return delay, skipped, sum(ticks for ticks, _, _ in rows) if known else 0


def _media_end(track: _Track) -> int:
    """Return the offset in the file where a track's last listed sample ends. 0 if none is listed."""
    tables = track.tables
    short, long = find(tables, b"stco"), find(tables, b"co64")
    chunks = _rows(short, 4) if short is not None else _rows(long, 8) if long is not None else memoryview(b"")
    per_chunk = _rows(required(tables, b"stsc"), 12)
    (source,) = struct.unpack_from(">I", required(track.body, b"mdia", b"minf", b"dinf", b"dref"), 16)
    if not chunks or not per_chunk or not source & 1:  # without the flag, the samples are in another file
        return 0
    width = 4 if short is not None else 8
    last_chunk = int.from_bytes(chunks[-width:], "big")
    sizes = required(tables, b"stsz")
    each = int.from_bytes(sizes[4:8], "big")
    samples = _in_last_chunk(per_chunk, len(chunks) // width, int.from_bytes(sizes[8:12], "big"))
    if each or not samples:
        return last_chunk + each * samples
    tail: list[tuple[int]] = list(struct.iter_unpack(">I", _rows(sizes, 4, skip=8)[-4 * samples :]))
    return last_chunk + sum(size for (size,) in tail)


def _in_last_chunk(per_chunk: memoryview, chunks: int, samples: int) -> int:
    """Return how many samples the last chunk of a track holds; the last chunk may be incomplete.

    Args:
        per_chunk: The rows of its `stsc` box: first chunk's number, samples per chunk from there on, description.
        chunks: Number of chunks.
        samples: Number of samples.
    """
    rows: list[tuple[int, int, int]] = list(struct.iter_unpack(">III", per_chunk))
    ends = [first for first, _, _ in rows[1:]] + [chunks]
    before = sum(each * (end - first) for (first, each, _), end in zip(rows, ends, strict=True))
    return max(min(rows[-1][1], samples - before), 0)
