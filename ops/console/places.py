"""Find the line and the column of each value in a JSON text. Python's parser tells them of errors only."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def places(text: str) -> dict[str, tuple[int, int]]:
    """Return path → line and column, both counted from 1, of each value; of a member, those of its name.

    Args:
        text: A JSON text that can be parsed. Its paths are written as `params.fps` and `reference_image_urls.0`. One
            that is nested too deeply has none.
    """
    try:
        walked = _Walk(text).all()
    except RecursionError:
        return {}
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    found: dict[str, tuple[int, int]] = {}
    line = 0
    for path, position in sorted(walked, key=lambda place: place[1]):
        while line + 1 < len(starts) and starts[line + 1] <= position:
            line += 1
        found.setdefault(path, (line + 1, position - starts[line] + 1))
    return found


class _Walk:
    """One walk through a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def all(self) -> list[tuple[str, int]]:
        """Return the path and the position of each value."""
        self._skip()
        return [("", self._at), *self._value("")]

    def _value(self, path: str) -> Iterator[tuple[str, int]]:
        if self._text[self._at] == "{":
            yield from self._members(path)
        elif self._text[self._at] == "[":
            yield from self._entries(path)
        else:
            _, self._at = _DECODER.raw_decode(self._text, self._at)

    def _members(self, path: str) -> Iterator[tuple[str, int]]:
        while self._more("}"):
            begin = self._at
            name, self._at = _DECODER.raw_decode(self._text, begin)
            self._skip()
            self._at += 1  # the colon
            self._skip()
            inner = f"{path}.{name}" if path else name
            yield inner, begin
            yield from self._value(inner)

    def _entries(self, path: str) -> Iterator[tuple[str, int]]:
        number = 0
        while self._more("]"):
            inner = f"{path}.{number}" if path else str(number)
            yield inner, self._at
            yield from self._value(inner)
            number += 1

    def _more(self, end: str) -> bool:
        """Step over the sign before the next member or entry. False, and beyond the end, where there is none."""
        self._skip()
        if self._text[self._at] == end:
            self._at += 1
            return False
        if self._text[self._at] in "{[,":
            self._at += 1
            self._skip()
        if self._text[self._at] == end:  # of an empty one
            self._at += 1
            return False
        return True

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at
