"""Unpack a body that arrives in pieces.

The first bytes decide whether it is compressed, because the header `Content-Encoding` may be wrong, and no JSON begins
like compressed data. The result is bounded, because a small body can unpack to a very large one.
"""

from __future__ import annotations

import contextlib
import itertools
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PIECE_BYTES = 65_536
_GZIP = b"\x1f\x8b"  # RFC 1952, section 2.3.1
_EITHER_KIND = 32 + zlib.MAX_WBITS  # gzip or zlib, by its header


def unpacked(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield up to `limit` decompressed bytes of a body. Broken compressed data ends it."""
    pieces, head = iter(pieces), b""
    while len(head) < len(_GZIP) and (piece := next(pieces, b"")):
        head += piece
    body: Iterator[bytes] = itertools.chain((head,), pieces)
    for piece in _inflated(body) if _is_compressed(head) else body:
        yield piece[:limit]
        limit -= len(piece)
        if limit <= 0:
            return


def _is_compressed(head: bytes) -> bool:
    # A zlib stream begins with its method and a check of these two bytes: RFC 1950, section 2.2.
    return head.startswith(_GZIP) or (head[:1] == b"x" and int.from_bytes(head[:2], "big") % 31 == 0)


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_EITHER_KIND)
    with contextlib.suppress(zlib.error):
        for piece in pieces:
            left = piece
            while left and not inflater.eof:
                yield inflater.decompress(left, _PIECE_BYTES)
                left = inflater.unconsumed_tail
