"""Read what MP4, MOV, HEIF and AVIF have in common: box headers, and the brands of files without video.

The layout is ISO/IEC 14496-12, as Apple documents it at
https://developer.apple.com/documentation/quicktime-file-format/atoms.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

# https://mp4ra.org/registered-types/brands
PICTURE_BRANDS = frozenset(
    b"mif1,mif2,mif3,msf1,miaf,heic,heix,heim,heis,hevc,hevx,hevm,hevs,avif,avis,avio,MA1A,MA1B,avci,avcs,vvic,vvis,jpeg,"
    b"jpgs,j2ki,j2is,1pic,jxl ,crx ".split(b",")
)
"""The brands of a picture, or of pictures in a sequence."""
SOUND_BRANDS = (b"M4A", b"M4B", b"M4P", b"F4A", b"F4B")
"""How the brands of sound begin."""
HEADER_BYTES = 16
"""Bytes of a box that `parse` needs."""
_HEAD, _LONG_LENGTH = struct.Struct(">I4s"), struct.Struct(">Q")


class Box(NamedTuple):
    """The header of a box.

    Attributes:
        kind: Its four characters.
        header: Length of its header, in bytes.
        length: Length of the whole box, in bytes; 0 if it extends to the end of its container.
    """

    kind: bytes
    header: int
    length: int


def parse(data: bytes | memoryview, start: int = 0) -> Box | None:
    """Read the header of the box that starts here. `None` if the bytes are not a header, or too few."""
    left = len(data) - start
    if left < 8:
        return None
    length, kind = _HEAD.unpack_from(data, start)
    if length == 1:  # the real length follows, in 64 bits
        (length,) = _LONG_LENGTH.unpack_from(data, start + 8) if left >= 16 else (0,)
        return Box(kind, 16, length) if length >= 16 else None
    return Box(kind, 8, length) if length >= 8 or length == 0 else None
