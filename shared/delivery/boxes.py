"""Find nested boxes, the building blocks of an MP4 or MOV. Must not know kinds of boxes, or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.boxes import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CHILDREN = 256


class Unsound(Exception):
    """A required box is missing, or a box has impossible content."""


def children(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and body of each box in a body.

    Raises:
        Unsound: There are more than 256, which no writer makes.
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
    """Return the bodies of the boxes of one kind."""
    return [body for name, body in children(view) if name == kind]


def find(view: memoryview, *path: bytes) -> memoryview | None:
    """Return the body of the first box at the end of a path of kinds, or `None`."""
    for kind in path:
        for name, body in children(view):
            if name == kind:
                view = body
                break
        else:
            return None
    return view


def required(view: memoryview, *path: bytes) -> memoryview:
    """Return the body of the first box at the end of a path of kinds.

    Raises:
        Unsound: There is none.
    """
    found = find(view, *path)
    if found is None:
        raise Unsound
    return found
