"""Read the fragments of an MP4 (`moof`): the duration of their samples, and where in the file they end.

The layout is ISO/IEC 14496-12, 8.8.4 to 8.8.8, in short at https://www.w3.org/TR/mse-byte-stream-format-isobmff/. Works
on bytes in memory; must not know where they come from.
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
    """Defaults for a sample that has no values of its own.

    Attributes:
        ticks: Duration in ticks of the track.
        size: Size in bytes.
    """

    ticks: int | None = None
    size: int | None = None


class Header(NamedTuple):
    """The `tfhd` box of a track's part in a fragment.

    Attributes:
        track: The track's number.
        base: Offset in the file from which its samples' offsets count, if it is given.
        base_is_moof: Whether they count from the start of the `moof` box.
        defaults: Defaults for its samples.
    """

    track: int
    base: int | None
    base_is_moof: bool
    defaults: Defaults

    @classmethod
    def read(cls, fragment: memoryview, defaults_of: Callable[[int], Defaults]) -> Header:
        """Read the header in the body of a `traf` box. `defaults_of` returns the defaults of a track, by its number.

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
    """The `trun` box of consecutive samples.

    Attributes:
        flags: Which fields are present.
        samples: Number of samples.
        offset: Where the first begins, if it is given; it counts from the base of the fragment's header.
        rows: The fields of all samples.
        row_bytes: Bytes per sample in `rows`.
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
        """Return the total duration of its samples. `default` is the duration of one, if they have none of their own.

        Raises:
            Unsound: No duration is given.
        """
        return self._total(_SAMPLE_HAS_TICKS, 0, default)

    def size(self, default: int | None) -> int:
        """Return the total bytes of its samples. `default` is the size of one, if they have none of their own.

        Raises:
            Unsound: No size is given.
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
        """Ticks from decoding the first sample to displaying it."""
        if not self.flags & _SAMPLE_HAS_LEAD:
            return 0
        (ticks,) = struct.unpack_from(">i", self.rows, self.row_bytes - 4)
        return int(ticks)


def media_end(moof: memoryview, start: int, defaults_of: Callable[[int], Defaults]) -> int:
    """Return the offset in the file where the last sample of a fragment ends. 0 if it has none.

    Args:
        moof: The body of its `moof` box.
        start: Offset of that box in the file.
        defaults_of: Returns the defaults of a track, by its number.

    Raises:
        Unsound, struct.error: It cannot be read.
    """
    last, end = 0, start
    for fragment in find_all(moof, b"traf"):
        header = Header.read(fragment, defaults_of)
        # Without a base, samples follow those of the previous track.
        base = start if header.base_is_moof else end
        base = end = base if header.base is None else header.base
        for run in map(Run.read, find_all(fragment, b"trun")):
            end = (end if run.offset is None else base + run.offset) + run.size(header.defaults.size)
            last = max(last, end) if run.samples else last
    return last
