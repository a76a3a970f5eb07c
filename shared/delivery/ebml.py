"""Read EBML, the elements of a WebM or Matroska file: an id, a size, a body.

The layout is RFC 8794, https://www.rfc-editor.org/rfc/rfc8794. Must not know where bytes come from.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES = 12
"""Bytes of an element that `parse` needs: at most 4 for the id and 8 for the size."""
MAGIC = b"\x1a\x45\xdf\xa3"
"""The id of the first element of every file."""
SEGMENT = 0x18538067
"""The id of the element that holds the video: https://www.rfc-editor.org/rfc/rfc9559#section-5.1"""
TRACKS = 0x1654AE6B
"""The id of the element in a Segment that lists its tracks: https://www.rfc-editor.org/rfc/rfc9559#section-5.1.4"""
CLUSTER = 0x1F43B675
"""The id of the elements in a Segment that hold its frames."""
_DOCTYPE, _TRACK, _TRACK_TYPE = 0x4282, 0xAE, 0x83
# Sound, logo, subtitle, buttons, control, metadata: https://www.rfc-editor.org/rfc/rfc9559#section-5.1.4.1.3
_NO_VIDEO = frozenset({0x02, 0x10, 0x11, 0x12, 0x20, 0x21})
_MAX_CHILDREN = 10_000


@dataclass(frozen=True, slots=True)
class Element:
    """The head of an element.

    Attributes:
        id: The element's id with its length marker, as specifications write it.
        header: Length of its head, in bytes.
        size: Length of its body, in bytes; `None` if unknown when it was written.
    """

    id: int
    header: int
    size: int | None


def parse(head: bytes) -> Element | None:
    """Read the head of an element. `None` if the bytes are no head, or too few."""
    id_bytes = _width(head[:1], longest=4)
    size_bytes = _width(head[id_bytes : id_bytes + 1], longest=8)
    header = id_bytes + size_bytes
    if not id_bytes or not size_bytes or len(head) < header:
        return None
    unknown = (1 << 7 * size_bytes) - 1  # all bits after the width marker are set
    size = int.from_bytes(head[id_bytes:header], "big") & unknown
    return Element(int.from_bytes(head[:id_bytes], "big"), header, None if size == unknown else size)


def _width(first: bytes, longest: int) -> int:
    """Return the bytes of a number by its first byte, whose first set bit marks the width. 0 if it is invalid."""
    width = 9 - first[0].bit_length() if first else 0
    return width if width <= longest else 0


def doctype(head: bytes) -> bytes | None:
    """Read the file's kind from its EBML header, given the first bytes of the file. `None` if it is missing."""
    header = parse(head)
    if header is None or not head.startswith(MAGIC):
        return None
    body = head[header.header :] if header.size is None else head[header.header : header.header + header.size]
    for identifier, content in _children(body):
        if identifier == _DOCTYPE:
            return content.partition(b"\0")[0]  # writers may pad it: RFC 8794, section 13
    return None


def may_have_video(tracks: bytes) -> bool:
    """Whether the body of a `Tracks` element lists a video, or gives no track types."""
    entries = (content for identifier, content in _children(tracks) if identifier == _TRACK)
    parts = itertools.chain.from_iterable(map(_children, entries))
    types = {int.from_bytes(content, "big") for identifier, content in parts if identifier == _TRACK_TYPE}
    return not types or not types <= _NO_VIDEO


def _children(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield id and body of each readable element in a body; the last may be cut off."""
    end = 0
    for _ in range(_MAX_CHILDREN):
        element = parse(body[end : end + HEADER_BYTES])
        if element is None or element.size is None:
            return
        start = end + element.header
        end = start + element.size
        yield element.id, body[start:end]
