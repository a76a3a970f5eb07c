"""Reads boxes, the building blocks of an MP4 or MOV: a length, a kind of four characters, a body.

The layout is ISO/IEC 14496-12, as Apple documents it at
https://developer.apple.com/documentation/quicktime-file-format/atoms. Knows no kind of box; must not know where bytes
come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES = 16
"""How much of a box `parse` needs to see, in bytes."""
_MAX_CHILDREN = 256


class Unsound(Exception):
    """When a box that must be there is missing, or holds what cannot be."""


@dataclass(frozen=True, slots=True)
class Box:
    """The head of a box.

    Attributes:
        kind: Its four characters.
        header: Length of its head, in bytes.
        length: Length of all of it, in bytes; 0 if it extends to the end of what holds it.
    """

    kind: bytes
    header: int
    length: int


def parse(head: bytes | memoryview) -> Box | None:
    """Read the head of a box. `None` if these bytes are no such head, or too few."""
    if len(head) < 8:
        return None
    length, kind, header = int.from_bytes(head[:4], "big"), bytes(head[4:8]), 8
    if length == 1:  # the real length follows, in 64 bits
        length, header = int.from_bytes(head[8:16], "big"), 16
        return Box(kind, header, length) if length >= header and len(head) >= header else None
    return Box(kind, header, length) if length >= header or length == 0 else None


def children(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Give kind and body of each box in a body.

    Raises:
        Unsound: There are more than 256: no writer makes so many.
    """
    offset = 0
    for _ in range(_MAX_CHILDREN):
        box = parse(view[offset : offset + HEADER_BYTES])
        if box is None:
            return
        end = offset + box.length if box.length else len(view)
        yield box.kind, view[offset + box.header : end]
        offset = end
    if parse(view[offset : offset + HEADER_BYTES]) is not None:
        raise Unsound


def find_all(view: memoryview, kind: bytes) -> list[memoryview]:
    """Give the bodies of the boxes of one kind."""
    return [body for name, body in children(view) if name == kind]


def find(view: memoryview | None, *path: bytes) -> memoryview | None:
    """Give the body of the first box at the end of a path of kinds, or `None`."""
    for kind in path:
        if view is None:
            return None
        view = next((body for name, body in children(view) if name == kind), None)
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
