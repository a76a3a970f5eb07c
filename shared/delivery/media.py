"""Tells a video from anything else by its first bytes, and reads the header of an MP4 or MOV: length, size, codecs.

Works on bytes through a `read(start, length)` of the caller's, in bounded steps, because the file comes from outside:
a hostile one ends in "unknown", never in a crash, a loop or a large read. Knows no network and no bucket. The layout is
ISO/IEC 14496-12, as Apple documents it at
https://developer.apple.com/documentation/quicktime-file-format/quicktime_movie_files.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SNIFF_BYTES = 64
_MAX_TOP_LEVEL_BOXES = 64
_MAX_CHILDREN = 256
_MAX_MOOV_BYTES = 4 * 1024 * 1024
_MIN_SECONDS, _MAX_SECONDS = 0.001, 7 * 24 * 3600

_EBML = b"\x1a\x45\xdf\xa3"
_WEBM_DOCTYPE = b"\x42\x82\x84webm"
# Pictures and sound files start like an MP4 too, and say so in their brand. https://mp4ra.org/registered-types/brands
_NO_VIDEO_BRANDS = frozenset({b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1", b"crx ", b"M4A ", b"M4B ", b"M4P "})
# A box of another kind at the top level may be a stray tail, which players ignore.
_TOP_LEVEL = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"styp", b"sidx", b"mfra"})

_CODECS = {
    b"avc1": "h264",
    b"avc3": "h264",
    b"hvc1": "hevc",
    b"hev1": "hevc",
    b"av01": "av1",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"mp4v": "mpeg4",
    b"mp4a": "aac",
    b"ac-3": "ac3",
    b"ec-3": "eac3",
    b"Opus": "opus",
    b"fLaC": "flac",
    b".mp3": "mp3",
}


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a video's own header says: `duration` in seconds, pixels as displayed, codecs by their usual names."""

    duration: float
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


@dataclass(frozen=True, slots=True)
class Container:
    """`whole` is False only if the file certainly ends too early; `facts` is `None` if they could not be read."""

    whole: bool
    facts: MediaFacts | None


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    header: int
    length: int


def content_type(head: bytes) -> str | None:
    """The type of a video by its first `SNIFF_BYTES` bytes, or `None` if they are no MP4, MOV or WebM."""
    if head.startswith(_EBML):
        return "video/webm" if _WEBM_DOCTYPE in head[:SNIFF_BYTES] else None
    if head[4:8] != b"ftyp" or len(head) < 16 or head[8:12] in _NO_VIDEO_BRANDS:
        return None
    return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"


def examine(read: Callable[[int, int], bytes], size: int) -> Container:
    """Walk the outermost boxes of a file of `size` bytes. Reads 16 bytes for each, and the `moov` box, up to 4 MiB."""
    offset, facts, has_moov = 0, None, False
    for _ in range(_MAX_TOP_LEVEL_BOXES):
        left = size - offset
        if left < 8:
            return Container(has_moov, facts)
        box = _box(read(offset, min(16, left)), left)
        if box is None or box.kind not in _TOP_LEVEL:
            # A file that does not even begin as ISO media (WebM does not) is not judged at all.
            return Container(offset == 0 or has_moov, facts)
        if box.length > left:
            return Container(whole=False, facts=None)
        if box.kind == b"moov" and not has_moov:
            has_moov = True
            if box.length <= _MAX_MOOV_BYTES:
                facts = _facts(memoryview(read(offset, box.length))[box.header :])
        offset += box.length
    return Container(whole=True, facts=facts)


class Skim:
    """Keeps what `examine` asks for while a file goes by in pieces, for a file that cannot be read a second time.

    That is the header of each outermost box and the first `moov`, up to 4 MiB: memory does not grow with the file.
    """

    def __init__(self) -> None:
        self._passed = 0
        self._kept: dict[int, bytearray] = {}
        self._has_moov = False
        self._start, self._wanted = 0, 8  # where a box begins, and how much of it is kept; 0 when nothing more is

    def feed(self, piece: bytearray) -> None:
        """Take the next bytes of the file; they are not needed afterwards."""
        end = self._passed + len(piece)
        while self._wanted and self._start < end:
            kept = self._kept.setdefault(self._start, bytearray())
            at = self._start + len(kept) - self._passed
            kept += piece[at : at + self._wanted - len(kept)]
            if len(kept) < self._wanted:
                break
            self._go_on(kept)
        self._passed = end

    def _go_on(self, kept: bytearray) -> None:
        """Decide whether more of this box is kept, or where the next one begins."""
        if len(kept) == 8 and kept[:4] == b"\0\0\0\1":  # its length follows
            self._wanted = 16
            return
        box = _box(bytes(kept[:16]), 0)
        if box is None or box.kind not in _TOP_LEVEL:  # `examine` goes no further, nor beyond a box without an end
            self._wanted = 0
        elif box.kind == b"moov" and not self._has_moov and len(kept) < box.length <= _MAX_MOOV_BYTES:
            self._wanted = box.length
        else:
            self._has_moov |= box.kind == b"moov"
            self._start += box.length
            self._wanted = 8 if len(self._kept) < _MAX_TOP_LEVEL_BOXES else 0

    def examine(self) -> Container:
        """What there is to know about the file when all of it has gone by."""
        return examine(lambda start, length: bytes(self._kept.get(start, b"")[:length]), self._passed)


def _box(header: bytes | memoryview, left: int) -> _Box | None:
    """The box that starts with these bytes, `left` bytes before the end of what holds it."""
    if len(header) < 8:
        return None
    length = int.from_bytes(header[:4], "big")
    kind, size = bytes(header[4:8]), 8
    if length == 1 and len(header) >= 16:
        length, size = int.from_bytes(header[8:16], "big"), 16
    elif length == 0:
        length = left
    return _Box(kind, size, length) if length >= size else None


def _children(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    offset = 0
    while (box := _box(view[offset : offset + 16], len(view) - offset)) is not None:
        yield box.kind, view[offset + box.header : offset + box.length]
        offset += box.length


def _find(view: memoryview | None, *path: bytes) -> memoryview | None:
    for kind in path:
        if view is None:
            return None
        view = next((body for name, body in islice(_children(view), _MAX_CHILDREN) if name == kind), None)
    return view


def _facts(moov: memoryview) -> MediaFacts | None:
    tracks = [body for name, body in islice(_children(moov), _MAX_CHILDREN) if name == b"trak"]
    codecs: dict[bytes, str] = {}
    size = (0, 0)
    try:
        duration = _duration(moov)
        for track in tracks:
            handler, codec = _codec(track)
            if handler == b"vide" and handler not in codecs:
                size = _display_size(track)
            codecs.setdefault(handler, codec)
    except (struct.error, _UnsoundError):
        return None
    video = codecs.get(b"vide")
    if not video or not all(size) or not _MIN_SECONDS <= duration <= _MAX_SECONDS:
        return None
    return MediaFacts(round(duration, 3), *size, video, codecs.get(b"soun"))


class _UnsoundError(Exception):
    """When a box that must be there is missing."""


def _required(view: memoryview, *path: bytes) -> memoryview:
    found = _find(view, *path)
    if found is None:
        raise _UnsoundError
    return found


def _is_long(full_box: memoryview) -> bool:
    """Whether times in this box are of 64 bits: version 1 of its layout."""
    return full_box[:1].tobytes() == b"\x01"


def _duration(moov: memoryview) -> float:
    header = _required(moov, b"mvhd")
    timescale, ticks = (
        struct.unpack_from(">IQ", header, 20) if _is_long(header) else struct.unpack_from(">II", header, 12)
    )
    extends = _find(moov, b"mvex", b"mehd")
    if not ticks and extends is not None:  # a fragmented file says it here
        (ticks,) = struct.unpack_from(">Q" if _is_long(extends) else ">I", extends, 4)
    return float(ticks) / timescale if timescale else 0.0


def _codec(track: memoryview) -> tuple[bytes, str]:
    handler = bytes(_required(track, b"mdia", b"hdlr")[8:12])
    kind = bytes(_required(track, b"mdia", b"minf", b"stbl", b"stsd")[12:16])
    printable = "".join(chr(letter) for letter in kind if 32 < letter < 127)
    return handler, _CODECS.get(kind, printable)


def _display_size(track: memoryview) -> tuple[int, int]:
    header = _required(track, b"tkhd")
    matrix = 52 if _is_long(header) else 40
    a, _, _, _, d, _, _, _, _, width, height = struct.unpack_from(">9i2I", header, matrix)
    turned = a == d == 0  # stored on its side, shown upright
    width, height = width >> 16, height >> 16
    return (height, width) if turned else (width, height)
