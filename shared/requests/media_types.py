"""Tell whether a file is a picture, a video or sound, by its content. Its name and content type may be wrong.

The first bytes show most kinds. An MP4 or WebM file may contain only sound, so there the list of tracks decides. Only
that part of the file is read, wherever it is.

Four libraries were tried: filetype, puremagic, libmagic, magika. All of them use only the first bytes, so they call an
MP4 or WebM file that contains only sound a video.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from shared import boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]
    """Offset and length in bytes → that part of the file; shorter at the file's end."""

_WINDOW = 8192
"""How much is read at a time, in bytes. Two frames of any MPEG audio fit, and so does a track's header."""
_MOST_READS = 40


class Kind(StrEnum):
    """What a file is, by its content."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


def kind_of(read: Read, size: int) -> Kind | None:
    """Return a file's kind, or None where it is neither a picture nor a video nor sound.

    Args:
        read: Reads parts of the file.
        size: The file's size, in bytes.
    """
    file = _File(read, size)
    head = file.at(0, _WINDOW)
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    return next((found for detect in _DETECTORS if (found := detect(file, head))), None)


class _File:
    """Read a file in windows and keep the last one. After `_MOST_READS` reads, the file seems to end."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self.size = size
        self._start, self._window = 0, b""
        self._reads = 0

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from an offset; fewer at the file's end."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        if not (self._start <= offset and end <= self._start + len(self._window)):
            if self._reads == _MOST_READS:
                return b""
            self._reads += 1
            self._start, self._window = offset, self._read(offset, min(_WINDOW, self.size - offset))
        return self._window[offset - self._start : end - self._start]


_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\xff\xd8\xff", Kind.IMAGE),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n", Kind.IMAGE),
    (0, b"GIF8", Kind.IMAGE),
    (0, b"II*\0", Kind.IMAGE),  # TIFF
    (0, b"MM\0*", Kind.IMAGE),
    (0, b"II+\0", Kind.IMAGE),  # BigTIFF
    (0, b"MM\0+", Kind.IMAGE),
    (0, b"\xff\x0a", Kind.IMAGE),  # JPEG XL
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", Kind.IMAGE),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", Kind.IMAGE),  # JPEG 2000
    (0, b"\xff\x4f\xff\x51", Kind.IMAGE),
    (0, b"8BPS\0", Kind.IMAGE),
    (0, b"\0\0\1\xba", Kind.VIDEO),  # MPEG
    (0, b"\0\0\1\xb3", Kind.VIDEO),
    (0, b"fLaC", Kind.AUDIO),
    (0, b"#!AMR", Kind.AUDIO),
    (0, b"caff\0\1", Kind.AUDIO),
    (0, b"riff\x2e\x91\xcf\x11", Kind.AUDIO),  # Wave64
)

_FORMS = {b"WEBP": Kind.IMAGE, b"AVI ": Kind.VIDEO, b"WAVE": Kind.AUDIO, b"AIFF": Kind.AUDIO, b"AIFC": Kind.AUDIO}


def _iff(_: _File, head: bytes) -> Kind | None:
    """Recognize RIFF and related formats."""
    return _FORMS.get(head[8:12]) if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM") else None


def _bitmap(_: _File, head: bytes) -> Kind | None:
    """Recognize BMP. Its two letters are not enough, because a text may begin with them."""
    sizes_of_header = (12, 40, 52, 56, 64, 108, 124)
    is_one = head[:2] == b"BM" and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in sizes_of_header
    return Kind.IMAGE if is_one else None


# ---- MP4, QuickTime, HEIF: boxes within boxes ------------------------------------------------------------------------

# What a QuickTime file may begin with. https://developer.apple.com/documentation/quicktime-file-format
_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def _movie(file: _File, head: bytes) -> Kind | None:
    """Recognize MP4 and related formats, by their brands or else by their tracks."""
    if head[4:8] != b"ftyp":
        return _kind_of_tracks(tracks) if head[4:8] in _QUICKTIME and (tracks := _tracks(file)) is not None else None
    major, brands = head[8:12], _brands(head)
    if major in boxes.PICTURE_BRANDS:
        return Kind.IMAGE
    if major.startswith(boxes.SOUND_BRANDS):
        return Kind.AUDIO
    tracks = _tracks(file)
    if not tracks and brands & boxes.PICTURE_BRANDS:
        return Kind.IMAGE
    return _kind_of_tracks(tracks or set())


def _brands(head: bytes) -> set[bytes]:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[start : start + 4] for start in range(16, end, 4)}


def _kind_of_tracks(handlers: set[bytes]) -> Kind:
    return Kind.AUDIO if b"soun" in handlers and b"vide" not in handlers else Kind.VIDEO


def _tracks(file: _File) -> set[bytes] | None:
    """Return the handler types of a movie's tracks; None where there is no list of tracks."""
    for kind, start, end in _boxes(file, 0, file.size):
        if kind == b"moov":
            return {_handler(file, *track) for name, *track in _boxes(file, start, end) if name == b"trak"}
    return None


def _handler(file: _File, start: int, end: int) -> bytes:
    for name in (b"mdia", b"hdlr"):
        found = next((box for box in _boxes(file, start, end) if box[0] == name), None)
        if found is None:
            return b""
        _, start, end = found
    return file.at(start + 8, 4)  # behind version, flags and another word


def _boxes(file: _File, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes in a part of a file: type, and where the content begins and ends."""
    while (box := boxes.parse(file.at(start, boxes.HEADER_BYTES))) is not None:
        after = start + box.length if box.length else end
        if after > end:
            return
        yield box.kind, start + box.header, after
        start = after


# ---- WebM and Matroska: elements within elements ---------------------------------------------------------------------

# https://www.rfc-editor.org/rfc/rfc9559.html
_SEGMENT, _TRACKS, _TRACK, _TRACK_TYPE, _CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x1F43B675
_TYPE_VIDEO, _TYPE_SOUND = 1, 2


def _matroska(file: _File, head: bytes) -> Kind | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    types = {
        int.from_bytes(file.at(start, 1), "big")
        for segment in _elements(file, 0, file.size, _SEGMENT)
        for tracks in _elements(file, *segment, _TRACKS)
        for track in _elements(file, *tracks, _TRACK)
        for start, _ in _elements(file, *track, _TRACK_TYPE)
    }
    return Kind.AUDIO if _TYPE_SOUND in types and _TYPE_VIDEO not in types else Kind.VIDEO


def _elements(file: _File, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Yield where the elements of a kind begin and end, up to the first cluster, where the media begin."""
    while start < end:
        name, width_of_name = _number(file.at(start, 8), marked=True)
        size, width_of_size = _number(file.at(start + width_of_name, 8), marked=False)
        if not width_of_name or not width_of_size or name == _CLUSTER:
            return
        start += width_of_name + width_of_size
        # A size of all ones means that it was unknown when the file was started.
        after = end if size == (1 << 7 * width_of_size) - 1 else min(start + size, end)
        if name == wanted:
            yield start, after
        start = after


def _number(text: bytes, *, marked: bool) -> tuple[int, int]:
    """Return an EBML number and its length in bytes, which is 0 without a number. The first byte tells the length."""
    width = 9 - text[0].bit_length() if text else 0
    if not 0 < width <= min(8, len(text)):
        return 0, 0
    number = int.from_bytes(text[:width], "big")
    return (number if marked else number & ((1 << 7 * width) - 1)), width


# ---- sound and video in streams --------------------------------------------------------------------------------------


def _ogg(_: _File, head: bytes) -> Kind | None:
    if not head.startswith(b"OggS"):
        return None
    # The first page of each stream comes before any other page, and begins with the codec's name.
    return (
        Kind.VIDEO if any(name in head for name in (b"\x80theora", b"OVP80", b"BBCD\0", b"\x01video")) else Kind.AUDIO
    )


_ASF = bytes.fromhex("3026b2758e66cf11")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")


def _windows_media(_: _File, head: bytes) -> Kind | None:
    if not head.startswith(_ASF):
        return None
    return Kind.VIDEO if _ASF_VIDEO in head else Kind.AUDIO


def _flash(_: _File, head: bytes) -> Kind | None:
    if not head.startswith(b"FLV\1"):
        return None
    return Kind.VIDEO if head[4:5] and head[4] & 1 else Kind.AUDIO


def _transport_stream(_: _File, head: bytes) -> Kind | None:
    """Recognize MPEG-TS: packets of 188 bytes, or 192 bytes on discs and in cameras."""
    for first, packet in ((0, 188), (4, 192)):
        marks, fields = (head[first + more : first + 4 * packet : packet] for more in (0, 3))
        # The two bits for a packet's content are never both zero.
        if marks == b"\x47" * 4 and all(field & 0x30 for field in fields):
            return Kind.VIDEO
    return None


def _tagged(_: _File, head: bytes) -> Kind | None:
    """Recognize sound after an ID3 tag. The tag's version is a small number; a text has a letter there."""
    return Kind.AUDIO if head.startswith(b"ID3") and head[3:4] < b"\x05" and len(head) >= 10 else None


def _mpeg_audio(file: _File, head: bytes) -> Kind | None:
    """Recognize MP3 and related formats without a tag: one frame after the other."""
    return _framed(file, head, _mpeg_frame, same=b"\xff\xfe\x0c")


def _aac(file: _File, head: bytes) -> Kind | None:
    return _framed(file, head, _aac_frame, same=b"\xff\xff\xfc")


def _framed(file: _File, head: bytes, frame: Callable[[bytes], int], *, same: bytes) -> Kind | None:
    """Recognize sound by a frame that is followed by one of the same kind or by the file's end.

    The eleven set bits of a frame's start are not enough: a text in UTF-16 begins with them, too.
    """
    length = frame(head)
    if not length:
        return None
    if length >= file.size:
        return None if head.startswith(b"\xff\xfe") else Kind.AUDIO
    following = head[length : length + 8]
    pairs = zip(head, following, same, strict=False)
    return Kind.AUDIO if frame(following) and all((one ^ other) & mask == 0 for one, other, mask in pairs) else None


# (Is MPEG-1, layer) → kilobits a second by their index. ISO/IEC 11172-3, 2.4.2.3, and 13818-3 for the later versions.
# http://www.mp3-tech.org/programmer/frame_header.html
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)


def _mpeg_frame(text: bytes) -> int:
    """Return the length of the MPEG audio frame that begins here, in bytes; 0 where none does."""
    if len(text) < 4 or text[0] != 0xFF or text[1] & 0xE0 != 0xE0:
        return 0
    version, layer = text[1] >> 3 & 3, 4 - (text[1] >> 1 & 3)
    bitrate, rate, padding = text[2] >> 4, text[2] >> 2 & 3, text[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    is_first = version == 3
    kilobits = _BITRATES[is_first, layer][bitrate - 1]
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    if layer == 1:
        return (12_000 * kilobits // hertz + padding) * 4
    return (144_000 if is_first or layer == 2 else 72_000) * kilobits // hertz + padding


def _aac_frame(text: bytes) -> int:
    """Return the same for a frame of AAC with its ADTS header. https://wiki.multimedia.cx/index.php/ADTS"""
    if len(text) < 7 or text[0] != 0xFF or text[1] & 0xF6 != 0xF0 or text[2] >> 2 & 15 > 12:
        return 0
    length = (text[3] & 3) << 11 | text[4] << 3 | text[5] >> 5
    return length if length >= 7 else 0


_DETECTORS: tuple[Callable[[_File, bytes], Kind | None], ...] = (
    _iff,
    _movie,
    _matroska,
    _ogg,
    _tagged,
    _mpeg_audio,
    _aac,
    _bitmap,
    _windows_media,
    _flash,
    _transport_stream,
)
