"""Reads EBML, the elements that a WebM or Matroska file is made of: an id, a size, a body.

The layout is RFC 8794, https://www.rfc-editor.org/rfc/rfc8794. Must not know where bytes come from.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADER_BYTES = 12
"""How much of an element `parse` needs to see, in bytes: an id of at most 4 and a size of at most 8."""
MAGIC = b"\x1a\x45\xdf\xa3"
"""The id of the first element of every file."""
SEGMENT = 0x18538067
"""The id of the element that holds the video: https://www.rfc-editor.org/rfc/rfc9559#section-5.1"""
_DOCTYPE = 0x4282


@dataclass(frozen=True, slots=True)
class Element:
    """The head of an element.

    Attributes:
        id: Which element this is, with the bits that say how long the id is, as specifications write it.
        header: Length of its head, in bytes.
        size: Length of its body, in bytes; `None` if it was not known when the head was written.
    """

    id: int
    header: int
    size: int | None


def parse(head: bytes) -> Element | None:
    """Read the head of an element. `None` if these bytes are no such head, or too few."""
    id_bytes = _width(head[:1], longest=4)
    size_bytes = _width(head[id_bytes : id_bytes + 1], longest=8)
    header = id_bytes + size_bytes
    if not id_bytes or not size_bytes or len(head) < header:
        return None
    unknown = (1 << 7 * size_bytes) - 1  # all bits behind the one that marks the width are set
    size = int.from_bytes(head[id_bytes:header], "big") & unknown
    return Element(int.from_bytes(head[:id_bytes], "big"), header, None if size == unknown else size)


def _width(first: bytes, longest: int) -> int:
    """How many bytes a number has that begins with this byte: as many as its first set bit says. 0 if it is none."""
    width = 9 - first[0].bit_length() if first else 0
    return width if width <= longest else 0


def doctype(head: bytes) -> bytes | None:
    """Read what kind of file the EBML header says this is, by the first bytes of the file. `None` if it does not."""
    header = parse(head)
    if header is None or not head.startswith(MAGIC):
        return None
    body = head[header.header :] if header.size is None else head[header.header : header.header + header.size]
    while (element := parse(body[:HEADER_BYTES])) is not None and element.size is not None:
        end = element.header + element.size
        if element.id == _DOCTYPE:
            return body[element.header : end].partition(b"\0")[0]  # writers may pad it: RFC 8794, section 13
        body = body[end:]
    return None
