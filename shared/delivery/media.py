"""Recognize a video by its first bytes, check that it is complete, and read its header.

The file comes from outside, so it is read in bounded steps: a hostile file gives "unknown", never a crash, an endless
loop or a large read. `examine` is for a file with random access, `HeaderCapture` for a stream. Both run the same walk,
so they judge a file alike. Must not know the network or the bucket.

    media ── walks over the top-level parts of a file
     ├── movie ── the header of an MP4 or MOV, and its fragments
     │    └── fragments ── where the samples of a fragment are
     │         └── boxes
     └── ebml ── the elements of a WebM
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass

from shared import boxes
from shared.delivery import ebml
from shared.delivery.boxes import Unsound
from shared.delivery.movie import MediaFacts, Movie

__all__ = ["SNIFF_BYTES", "Container", "HeaderCapture", "MediaFacts", "content_type", "examine"]

SNIFF_BYTES = 1024
"""Bytes of a file that `content_type` needs. In an EBML header, a comment may precede the type."""

MAX_READS = 256
"""Most reads of a file by `examine`. Each may be a request to the file's origin."""
_MAX_STEPS = 50_000
_MAX_HEADER_BYTES = 4 * 1024 * 1024
_MAX_SEGMENT_PARTS = 100
_READ_BYTES, _MAX_READ_BYTES = 2 * 1024, 1024 * 1024
_NEAR_BYTES = 128 * 1024
"""Smaller gaps are read too, because that takes no longer than another request."""

# Picture and sound files start like an MP4, too, and differ in their brand. The brands of HEVC pictures are accepted,
# because a writer may name a video by its codec; the tracks then show whether there is a video.
_NO_VIDEO_BRANDS = boxes.PICTURE_BRANDS - {b"hevc", b"hevx", b"hevm", b"hevs"} | {b"jp2 ", b"jpx ", b"jpm "}
# Boxes that identify an old MOV without `ftyp`.
# https://developer.apple.com/documentation/quicktime-file-format/movie_files
_MOV_SIGNS = frozenset({b"wide", b"mdat", b"moov", b"pnot"})
# The top-level boxes of https://mp4ra.org/registered-types/boxes.
_TOP_LEVEL = _MOV_SIGNS | {
    *(b"ftyp", b"styp", b"pdin", b"moof", b"mfra", b"imda", b"uuid", b"udta", b"meta", b"meco", b"free", b"skip"),
    *(b"emsg", b"prft", b"sidx", b"ssix", b"PICT"),
}
_MEDIA = frozenset({b"mdat", b"imda"})
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.\xa9")
_SHORT_HEADER_BYTES = 8
_BRAND_BYTES = boxes.HEADER_BYTES + 4
"""Bytes of an `ftyp` box up to the end of its brand."""
_MIN_TEXT_LENGTH = 0x0900_0000
"""The smallest box length that could be text: four characters, the first of them a tab."""

_Walk = Generator[tuple[int, int], bytes | None, "Container"]
"""Yields `(start, length)`, with starts that never decrease, and returns the result.

It is sent these bytes: fewer where the file ends, `None` where the file ends before `start`.
"""


@dataclass(frozen=True, slots=True)
class Container:
    """The result of examining a file.

    Attributes:
        whole: False if the file ends too early: a box reaches beyond its end, or there is no header.
        facts: `None` if they could not be read.
        video: False if the file is whole and its header lists no video, only sound, pictures or text.
    """

    whole: bool
    facts: MediaFacts | None
    video: bool = True


_CUT_OFF = Container(whole=False, facts=None)


def content_type(head: bytes) -> str | None:
    """Return a video's content type by its first `SNIFF_BYTES` bytes, or `None` if it is no MP4, MOV or WebM.

    Other Matroska files give `None`: browsers do not promise to play them.
    """
    if head.startswith(ebml.MAGIC):
        return "video/webm" if ebml.doctype(head[:SNIFF_BYTES]) == b"webm" else None
    kind, offset = None, 0
    while (box := boxes.parse(head, offset)) is not None and _may_be_first(box):
        brand = head[offset + box.header : offset + box.header + 4]
        if box.kind == b"ftyp" and len(brand) == 4:
            return _type_of_brand(brand)
        if box.kind in _MOV_SIGNS:
            kind = "video/quicktime"
        offset += box.length or len(head)
    # `examine` judges later what a large box hides here. Players accept an MP4 as a MOV and the reverse.
    is_hidden = len(head) >= SNIFF_BYTES and offset > len(head) - _BRAND_BYTES
    return kind or ("video/mp4" if is_hidden else None)


def _may_be_first(box: boxes.Box) -> bool:
    """Whether this box may precede a video's header: no text, no fragment, no open end."""
    is_text = _has_text_length(box) and box.kind not in _MEDIA
    is_last = not box.length and box.kind not in _MOV_SIGNS
    return _is_named(box) and not is_text and not is_last and box.kind != b"moof"


def _is_named(box: boxes.Box) -> bool:
    """Whether this is a known box or a plausible private one, and not stray bytes."""
    return box.kind in _TOP_LEVEL or (all(letter in _LETTERS for letter in box.kind) and not _has_text_length(box))


def _has_text_length(box: boxes.Box) -> bool:
    return box.header == _SHORT_HEADER_BYTES and box.length >= _MIN_TEXT_LENGTH


def _type_of_brand(brand: bytes) -> str | None:
    if brand in _NO_VIDEO_BRANDS or brand.startswith(boxes.SOUND_BRANDS):
        return None
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def examine(read: Callable[[int, int], bytes], size: int) -> Container:
    """Judge a file of `size` bytes.

    Args:
        read: Returns the bytes at `(start, length)`, all of them within the file. Called at most `MAX_READS` times.
        size: Size of the file, in bytes.
    """
    walk, data = _walk(MAX_READS), None
    while True:
        try:
            start, length = walk.send(data)
        except StopIteration as end:
            return _finding(end)
        length = min(length, size - start)
        data = None if length < 0 else read(start, length) if length else b""


class HeaderCapture:
    """Examines a stream, which cannot be read a second time.

    It keeps only the bytes that the walk asked for last, at most 4 MiB, so memory does not grow with the file.
    """

    def __init__(self) -> None:
        self._walk = _walk(max_reads=_MAX_STEPS)  # reads of a stream cost no request
        self._passed = 0
        self._kept = bytearray()
        self._wanted: tuple[int, int] | None = None
        self._found: Container | None = None
        self._advance(None)

    def feed(self, piece: bytearray) -> None:
        """Process the next bytes of the file; the caller may then reuse the buffer."""
        end = self._passed + len(piece)
        while self._wanted is not None:
            start, length = self._wanted
            at = start + len(self._kept) - self._passed
            if at >= len(piece):
                break
            self._kept += piece[at : at + length - len(self._kept)]
            if len(self._kept) < length:
                break
            self._advance(bytes(self._kept))
        self._passed = end

    def _advance(self, data: bytes | None) -> None:
        """Send the walk the bytes it asked for, and store its next request."""
        start = self._wanted[0] if self._wanted is not None else 0
        try:
            self._wanted = self._walk.send(data)
        except StopIteration as end:
            self._wanted, self._found = None, _finding(end)
            self._kept.clear()
        else:
            del self._kept[: self._wanted[0] - start]

    def examine(self) -> Container:
        """Return the result, once the whole file has been fed."""
        while self._wanted is not None:
            self._advance(bytes(self._kept) if self._wanted[0] <= self._passed else None)
        assert self._found is not None  # noqa: S101
        return self._found


def _finding(end: StopIteration) -> Container:
    found: Container = end.value
    return found


class _EnoughError(Exception):
    """The file needs more reads than allowed."""


class _Window:
    """The part of the file that is in memory."""

    def __init__(self, max_reads: int) -> None:
        self._max_reads = max_reads
        self._start = 0
        self._data = b""
        self._ends = False
        self._reads = 0
        self._ahead = _READ_BYTES

    def read(self, start: int, length: int) -> Generator[tuple[int, int], bytes | None, bytes | None]:
        """Return bytes as `_Walk` describes them, and read ahead while the requested ranges are close together.

        Raises:
            _EnoughError: There were too many reads.
        """
        end = self._start + len(self._data)
        if start + length > end and not self._ends:
            if self._reads == self._max_reads:
                raise _EnoughError
            if self._reads:
                self._ahead = min(4 * self._ahead, _MAX_READ_BYTES) if start - end < _NEAR_BYTES else _READ_BYTES
            self._reads += 1
            asked = max(length, self._ahead)
            data = yield start, asked
            if data is None:
                return None
            self._start, self._data, self._ends = start, data, len(data) < asked
        at = start - self._start
        return self._data[at : at + length] if at <= len(self._data) else None


def _walk(max_reads: int) -> _Walk:
    window = _Window(max_reads)
    head = yield from window.read(0, len(ebml.MAGIC))
    return (yield from _walk_elements(window) if head == ebml.MAGIC else _BoxWalk(window).run())


def _walk_elements(window: _Window) -> _Walk:
    """Walk over the top-level elements of a WebM up to the Segment, which holds the video."""
    offset = 0
    with contextlib.suppress(_EnoughError):
        for _ in range(_MAX_STEPS):
            head = yield from window.read(offset, ebml.HEADER_BYTES)
            element = ebml.parse(head or b"")
            if element is None:
                break
            body = offset + element.header
            if element.id == ebml.SEGMENT:
                end = None if element.size is None else body + element.size
                return (yield from _walk_segment(window, body, end))
            offset = body + (element.size or 0)
    return _CUT_OFF


def _walk_segment(window: _Window, start: int, end: int | None) -> _Walk:
    """Walk over the parts of a WebM's Segment before its frames, and check that its end exists, if that is known."""
    tracks = yield from _read_tracks(window, start, end)
    if tracks is None or (end is not None and (yield from window.read(end, 1)) is None):
        return _CUT_OFF
    return Container(whole=True, facts=None, video=ebml.may_have_video(tracks))


def _read_tracks(
    window: _Window, start: int, end: int | None
) -> Generator[tuple[int, int], bytes | None, bytes | None]:
    """Read the list of a Segment's tracks. Empty if it does not precede the frames, `None` if it is cut off."""
    for _ in range(_MAX_SEGMENT_PARTS):
        head = yield from window.read(start, ebml.HEADER_BYTES)
        part = ebml.parse(head or b"")
        if part is None or part.size is None or part.id == ebml.CLUSTER:
            break
        length = part.header + part.size
        if part.id == ebml.TRACKS and length <= _MAX_HEADER_BYTES:
            data = (yield from window.read(start, length)) or b""
            return data[part.header :] if len(data) == length else None
        start += length
        if end is not None and start >= end:
            break
    return b""


class _BoxWalk:
    """Walks over the top-level boxes of an MP4 or MOV."""

    def __init__(self, window: _Window) -> None:
        self._window = window
        self._offset = 0
        self._movie: Movie | None = None
        self._has_moov = False
        self._has_media = False
        self._header_bytes = 0
        self._sees_all = False
        self._missed = False

    def run(self) -> _Walk:
        """Walk to the end of the boxes and return the result."""
        whole = True
        with contextlib.suppress(_EnoughError):
            whole = (yield from self._step()) and (yield from self._has_samples())
        if not whole or not self._has_moov or self._has_header_only:
            return _CUT_OFF
        facts, video = None, True
        if self._movie is not None:
            with contextlib.suppress(Unsound, struct.error):
                video = self._movie.has_video
                facts = self._movie.facts(complete=self._sees_all and not self._missed)
        return Container(whole=True, facts=facts, video=video)

    def _step(self) -> Generator[tuple[int, int], bytes | None, bool]:
        """Step from box to box. False if one of them reaches beyond the end of the file."""
        for _ in range(_MAX_STEPS):
            head = yield from self._window.read(self._offset, boxes.HEADER_BYTES)
            if head is None:
                return False
            box = boxes.parse(head)
            if box is None or self._is_tail(box):
                self._sees_all = box is None
                return not (self._is_fragmented and _is_cut_header(head))
            if self._wants(box):
                data = yield from self._window.read(self._offset, box.length or _MAX_HEADER_BYTES)
                if data is None or len(data) < box.length:
                    return False
                self._use(box, memoryview(data)[box.header :])
            else:
                self._missed |= box.kind == b"moof"
            self._has_moov |= box.kind == b"moov"
            # The samples of a fragment usually follow it, so an earlier `mdat` does not prove that they exist.
            self._has_media = (self._has_media and box.kind != b"moof") or (box.kind in _MEDIA and box.length > 0)
            if not box.length:
                self._sees_all = True
                return True
            self._offset += box.length
        return True

    def _is_tail(self, box: boxes.Box) -> bool:
        """Whether these are stray bytes at the end of the file, which players ignore."""
        return self._has_moov and box.length > 0 and not _is_named(box)

    @property
    def _is_fragmented(self) -> bool:
        return self._movie is not None and self._movie.fragmented

    @property
    def _has_header_only(self) -> bool:
        """Whether the file ends before the first fragment that its header announces."""
        return self._sees_all and not self._missed and self._movie is not None and self._movie.awaits_fragments

    def _wants(self, box: boxes.Box) -> bool:
        """Whether to read the body of this box: the first `moov` and its fragments, 4 MiB altogether."""
        is_header = box.kind == b"moov" and not self._has_moov
        is_fragment = box.kind == b"moof" and self._movie is not None
        return (is_header or is_fragment) and self._header_bytes + box.length <= _MAX_HEADER_BYTES

    def _use(self, box: boxes.Box, body: memoryview) -> None:
        self._header_bytes += len(body)
        if self._movie is not None:
            self._movie.add(body, self._offset)
        elif len(body) + box.header < _MAX_HEADER_BYTES:  # a box without a length may continue
            with contextlib.suppress(Unsound, struct.error):
                self._movie = Movie(body)

    def _has_samples(self) -> Generator[tuple[int, int], bytes | None, bool]:
        """Whether the listed samples exist: a file may end before an `mdat` box, or with one of unknown length.

        For a fragment, a complete `mdat` is enough: some writers count its offsets in a way of their own.
        """
        if self._movie is None or (self._is_fragmented and self._has_media):
            return True
        end = self._movie.media_end
        return end <= self._offset or bool((yield from self._window.read(end - 1, 1)))


def _is_cut_header(tail: bytes) -> bool:
    """Whether these bytes at the end of a file begin a box header, and are neither padding nor text."""
    if not any(tail) or len(tail) >= boxes.HEADER_BYTES:
        return False
    if tail.startswith(b"\0\0\0\1") and len(tail) >= _SHORT_HEADER_BYTES:  # the length of 64 bits is missing
        return tail[4:8] in _TOP_LEVEL
    is_short = tail[0] < _MIN_TEXT_LENGTH >> 24 and len(tail) < _SHORT_HEADER_BYTES
    return is_short and any(kind.startswith(tail[4:]) for kind in _TOP_LEVEL)
