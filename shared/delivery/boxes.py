"""Reads boxes, the building blocks of an MP4 or MOV: a length, a kind of four characters, a body.

The layout is ISO/IEC 14496-12, as Apple documents it at
https://developer.apple.com/documentation/quicktime-file-format/atoms. Knows no kind of box; must not know where bytes
come from.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES = 16
"""How much of a box `parse` needs to see, in bytes."""
_MAX_CHILDREN = 256
_HEAD, _LONG_LENGTH = struct.Struct(">I4s"), struct.Struct(">Q")


class Unsound(Exception):
    """When a box that must be there is missing, or holds what cannot be."""


class Box(NamedTuple):
    """The head of a box.

    Attributes:
        kind: Its four characters.
        header: Length of its head, in bytes.
        length: Length of all of it, in bytes; 0 if it extends to the end of what holds it.
    """

    kind: bytes
    header: int
    length: int


def parse(data: bytes | memoryview, start: int = 0) -> Box | None:
    """Read the head of the box that starts here. `None` if these bytes are no such head, or too few."""
    left = len(data) - start
    if left < 8:
        return None
    length, kind = _HEAD.unpack_from(data, start)
    if length == 1:  # the real length follows, in 64 bits
        (length,) = _LONG_LENGTH.unpack_from(data, start + 8) if left >= 16 else (0,)
        return Box(kind, 16, length) if length >= 16 else None
    return Box(kind, 8, length) if length >= 8 or length == 0 else None


def children(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Give kind and body of each box in a body.

    Raises:
        Unsound: There are more than 256: no writer makes so many.
    """
    offset = 0
    for _ in range(_MAX_CHILDREN):
        box = parse(view, offset)
        if box is None:
            return
        end = offset + box.length if box.length else len(view)
        yield box.kind, view[offset + box.header : end]
        offset = end
    if parse(view, offset) is not None:
        raise Unsound


def find_all(view: memoryview, kind: bytes) -> list[memoryview]:
    """Give the bodies of the boxes of one kind."""
    return [body for name, body in children(view) if name == kind]


def find(view: memoryview, *path: bytes) -> memoryview | None:
    """Give the body of the first box at the end of a path of kinds, or `None`."""
    for kind in path:
        for name, body in children(view):
            if name == kind:
                view = body
                break
        else:
            return None
    return view


def required(view: memoryview, *path: bytes) -> memoryview:
    """Give the body of the first box at the end of a path of kinds.

    Raises:
        Unsound: There is none.
    """
    found = find(view, *path)
    if found is None:
        raise Unsound
    return found
