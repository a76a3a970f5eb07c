"""Reads the fragments of an MP4 (`moof`): how long their samples last, and where in the file they end.

The layout is ISO/IEC 14496-12, 8.8.4 to 8.8.8, in short at https://www.w3.org/TR/mse-byte-stream-format-isobmff/. Works
on bytes that are in memory already; must not know where they come from.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from shared.delivery.boxes import Unsound, find_all, required

if TYPE_CHECKING:
    from collections.abc import Callable

_HAS_BASE, _HAS_DESCRIPTION, _HAS_TICKS, _HAS_BYTES, _BASE_IS_MOOF = 0x01, 0x02, 0x08, 0x10, 0x02_0000
_RUN_HAS_OFFSET, _RUN_HAS_FLAGS = 0x001, 0x004
_SAMPLE_HAS_TICKS, _SAMPLE_HAS_BYTES, _SAMPLE_HAS_FLAGS, _SAMPLE_HAS_LEAD = 0x100, 0x200, 0x400, 0x800


class Defaults(NamedTuple):
    """What holds for a sample where nothing closer to it says otherwise.

    Attributes:
        ticks: Its duration in ticks of the track.
        size: Its size in bytes.
    """

    ticks: int | None = None
    size: int | None = None


class Header(NamedTuple):
    """The `tfhd` box of a track's part in a fragment.

    Attributes:
        track: The track's number.
        base: Where in the file offsets of its samples count from, if it says so.
        base_is_moof: Whether they count from the start of the `moof` box.
        defaults: What holds for its samples.
    """

    track: int
    base: int | None
    base_is_moof: bool
    defaults: Defaults

    @classmethod
    def read(cls, fragment: memoryview, defaults_of: Callable[[int], Defaults]) -> Header:
        """Read the header in the body of a `traf` box. `defaults_of` gives what holds for a track, by its number.

        Raises:
            Unsound, struct.error: It cannot be read.
        """
        box = required(fragment, b"tfhd")
        flags, track = struct.unpack_from(">II", box)
        (base,) = struct.unpack_from(">Q", box, 8) if flags & _HAS_BASE else (None,)
        at = 8 + (8 if flags & _HAS_BASE else 0) + (4 if flags & _HAS_DESCRIPTION else 0)
        ticks, size = defaults_of(track)
        if flags & _HAS_TICKS:
            (ticks,) = struct.unpack_from(">I", box, at)
            at += 4
        if flags & _HAS_BYTES:
            (size,) = struct.unpack_from(">I", box, at)
        return cls(track, base, bool(flags & _BASE_IS_MOOF), Defaults(ticks, size))


class Run(NamedTuple):
    """The `trun` box of samples that lie one behind the other.

    Attributes:
        flags: Which of the fields there are.
        samples: How many there are.
        offset: Where the first begins, if it says so; counted as the header of the fragment says.
        rows: What is said of each sample.
        row_bytes: How many bytes that is for each.
    """

    flags: int
    samples: int
    offset: int | None
    rows: memoryview
    row_bytes: int

    @classmethod
    def read(cls, box: memoryview) -> Run:
        """Read the body of a `trun` box.

        Raises:
            Unsound, struct.error: It cannot be read.
        """
        flags, count = struct.unpack_from(">II", box)
        (offset,) = struct.unpack_from(">i", box, 8) if flags & _RUN_HAS_OFFSET else (None,)
        at = 8 + sum(4 for flag in (_RUN_HAS_OFFSET, _RUN_HAS_FLAGS) if flags & flag)
        fields = (_SAMPLE_HAS_TICKS, _SAMPLE_HAS_BYTES, _SAMPLE_HAS_FLAGS, _SAMPLE_HAS_LEAD)
        row_bytes = sum(4 for flag in fields if flags & flag)
        rows = box[at : at + count * row_bytes]
        if len(rows) < count * row_bytes:
            raise Unsound
        return cls(flags, count, offset, rows, row_bytes)

    def ticks(self, default: int | None) -> int:
        """Return how long its samples last together. `default` holds for each where it does not say.

        Raises:
            Unsound: Nothing says it.
        """
        return self._total(_SAMPLE_HAS_TICKS, 0, default)

    def size(self, default: int | None) -> int:
        """Return how many bytes its samples have together. `default` holds for each where it does not say.

        Raises:
            Unsound: Nothing says it.
        """
        return self._total(_SAMPLE_HAS_BYTES, 4 if self.flags & _SAMPLE_HAS_TICKS else 0, default)

    def _total(self, flag: int, at: int, default: int | None) -> int:
        if self.flags & flag:
            row = f">{at}xI{self.row_bytes - at - 4}x"
            return sum(value for (value,) in struct.iter_unpack(row, self.rows))
        if default is None:
            raise Unsound
        return self.samples * default

    @property
    def lead(self) -> int:
        """Ticks from decoding the first sample until it is displayed."""
        if not self.flags & _SAMPLE_HAS_LEAD:
            return 0
        (ticks,) = struct.unpack_from(">i", self.rows, self.row_bytes - 4)
        return int(ticks)


def media_end(moof: memoryview, start: int, defaults_of: Callable[[int], Defaults]) -> int:
    """Find where in the file the last sample of a fragment ends. 0 if it has none.

    Args:
        moof: The body of its `moof` box.
        start: Where in the file that box begins.
        defaults_of: Gives what holds for the samples of a track, by its number.

    Raises:
        Unsound, struct.error: It cannot be read.
    """
    last, end = 0, start
    for fragment in find_all(moof, b"traf"):
        header = Header.read(fragment, defaults_of)
        # Where nothing is said, samples follow those of the track before.
        base = start if header.base_is_moof else end
        base = end = base if header.base is None else header.base
        for run in map(Run.read, find_all(fragment, b"trun")):
            end = (end if run.offset is None else base + run.offset) + run.size(header.defaults.size)
            last = max(last, end) if run.samples else last
    return last
