"""Read only the wanted members of a JSON object that arrives in pieces.

An answer may repeat a request's media and a model's whole log, and a parsed byte of JSON can take 25 bytes of memory.
So unwanted members are skipped without building them, and reading stops as soon as enough is known. If an object breaks
off, the part before that is used.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MAX_NAME = 256
"""Characters of a member's name in the text; no wanted name is longer."""
MAX_PREFIX = 64
"""Characters that may precede the object: guards like `)]}'`, a callback's name, the bracket of a list."""
MAX_OTHER = 65_536
"""Characters of a value that is not an object although an object is wanted."""
MAX_MEMBERS = 10_000
"""Members of one object. Each costs some microseconds, and no genuine answer has this many."""

_BLANKS = re.compile(r"[ \t\r\n]*+")
_REST_OF_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_REST_OF_SCALAR = re.compile(r'[^\s,:"\[\]{}]*+')
# A truncated string, up to its last complete escape.
_START_OF_STRING = re.compile(r'"(?:[^"\\]++|\\(?:u[0-9A-Fa-f]{4}|[^u]))*+', re.DOTALL)
# The content of a list or an object, up to the first incomplete string.
_WHOLE_TOKENS = re.compile(r'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_TOKEN = re.compile(r'[\[\]{}]|"(?:[^"\\]++|\\.)*+"|[^"\[\]{}]++', re.DOTALL)
_NO_BRACKET = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"|[^"\[\]{}]++)++', re.DOTALL)
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}
_FIRST_BLOCK, _LARGEST_BLOCK = 64, 65_536


class _BrokenError(Exception):
    """The text breaks off, or is not JSON."""


def read(
    pieces: Iterable[bytes], wanted: Mapping[str, Any], *, enough: Callable[[dict[str, Any]], bool]
) -> tuple[dict[str, Any], bool]:
    """Read an object as far as needed. Never fails.

    Args:
        pieces: The text, in one of JSON's encodings.
        wanted: Name of a member → most characters of its text. A longer string is cut, any other longer value is left
            out. A mapping means an object of which only these members are wanted; any other value there may have
            `MAX_OTHER` characters.
        enough: Whether the members read so far are enough. Called before each further piece.

    Returns:
        The wanted members, and whether the object was read to its end or far enough.
    """
    found: dict[str, Any] = {}

    def needed() -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            if enough(found):
                return

    text = _Text(_decoded(needed()))
    try:
        text.skip_prefix()
        _members(text, wanted, found)
    except _BrokenError:
        return found, enough(found)
    return found, True


def _members(text: _Text, wanted: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Read one object."""
    text.take("{")
    for _ in range(MAX_MEMBERS):
        if text.ahead() == "}":
            break
        name = text.name()
        text.take(":")
        limit = wanted.get(name)
        if limit is None:
            text.skip()
        elif not isinstance(limit, int) and text.ahead() == "{":
            found[name] = {}
            _members(text, limit, found[name])
        elif (value := text.value(limit if isinstance(limit, int) else MAX_OTHER)) is not _NO_VALUE:
            found[name] = value
        if text.ahead() != "}":
            text.take(",")
    text.take("}")


def _decoded(pieces: Iterable[bytes]) -> Iterator[str]:
    head, decoder = b"", None
    for piece in pieces:
        if decoder is None:
            head += piece
            if len(head) < 4:  # the encoding shows in four bytes
                continue
            decoder, piece = codecs.getincrementaldecoder(json.detect_encoding(head))("replace"), head
        yield decoder.decode(piece)
    if decoder is None:
        yield head.decode(errors="replace")


class _Text:
    """Keeps only the part of the text that is being read."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self._from: int | None = None  # start in `_text` of the value that is being kept
        self._kept = ""
        self._room = 0

    def ahead(self) -> str:
        """Return the next character that is not white space."""
        self._pass(_BLANKS)
        while self._at == len(self._text):
            self._more()
            self._pass(_BLANKS)
        return self._text[self._at]

    def skip_prefix(self) -> None:
        """Go to the first object, past a short prefix. Fail at markup or a quoted text."""
        for _ in range(MAX_PREFIX):
            if (mark := self.ahead()) == "{":
                return
            if mark in '<"':
                break
            self._at += 1
        raise _BrokenError

    def take(self, mark: str) -> None:
        """Skip this character."""
        if self.ahead() != mark:
            raise _BrokenError
        self._at += 1

    def name(self) -> str:
        """Return a member's name; empty if it is longer than any wanted name."""
        if self.ahead() != '"':
            raise _BrokenError
        raw, whole = self._keeping(MAX_NAME)
        name = _parsed(raw) if whole else ""
        return name if isinstance(name, str) else ""

    def value(self, limit: int) -> Any:
        """Return a value; `_NO_VALUE` if it is too long or not JSON."""
        self.ahead()
        raw, whole = self._keeping(limit)
        if not whole:
            start = _START_OF_STRING.match(raw)
            raw = f'{start[0]}"' if start else ""
        return _parsed(raw)

    def skip(self) -> None:
        """Skip a value."""
        mark = self.ahead()
        if mark == '"':
            self._string()
        elif mark in "[{":
            self._container()
        else:
            self._scalar()

    def _keeping(self, limit: int) -> tuple[str, bool]:
        """Skip a value; return its text, and whether that is complete."""
        self._from, self._kept, self._room = self._at, "", limit
        self.skip()
        self._keep()
        self._from = None
        return self._kept, self._room >= 0

    def _keep(self) -> None:
        if self._from is not None and self._room >= 0:
            part = self._text[self._from : self._at]
            self._kept += part[: self._room]
            self._room -= len(part)

    def _string(self) -> None:
        self._at += 1
        self._pass(_REST_OF_STRING)
        while not self._text.startswith('"', self._at):
            self._more()
            self._pass(_REST_OF_STRING)
        self._at += 1

    def _scalar(self) -> None:
        start = self._at
        self._pass(_REST_OF_SCALAR)
        if self._at == start:
            raise _BrokenError
        while self._at == len(self._text):
            self._more()
            self._pass(_REST_OF_SCALAR)

    def _container(self) -> None:
        """Skip a list or an object block by block: 16 MiB of `[],[],…` must not take one step each."""
        depth, size = 1, _FIRST_BLOCK
        self._at += 1
        while True:
            block = _matched(_WHOLE_TOKENS, self._text, self._at, self._at + size)
            brackets = _NO_BRACKET.sub("", block)
            for number, bracket in enumerate(brackets):
                depth += _DEEPER[bracket]
                if not depth:
                    self._at += _end_of_bracket(block, number)
                    return
            self._at += len(block)
            if self._at == len(self._text):
                self._more()
            elif self._text[self._at] == '"':
                self._string()
            size = min(size * 2, _LARGEST_BLOCK)

    def _pass(self, pattern: re.Pattern[str]) -> None:
        self._at += len(_matched(pattern, self._text, self._at))

    def _more(self) -> None:
        """Drop the text that was read, and append the next piece."""
        self._keep()
        piece = next(self._pieces, None)
        if piece is None:
            raise _BrokenError
        self._text, self._at = self._text[self._at :] + piece, 0
        if self._from is not None:
            self._from = 0


def _matched(pattern: re.Pattern[str], text: str, start: int, end: int = sys.maxsize) -> str:
    match = pattern.match(text, start, end)
    return match[0] if match else ""


def _end_of_bracket(block: str, number: int) -> int:
    """Return where the n-th bracket ends; brackets in strings do not count."""
    brackets = (token for token in _TOKEN.finditer(block) if token[0] in _DEEPER)
    return next(itertools.islice(brackets, number, None)).end()


_NO_VALUE = object()


def _parsed(raw: str) -> Any:
    try:
        # Not strict: accept a line break within a string.
        return json.loads(raw, strict=False)
    except (ValueError, RecursionError):
        return _NO_VALUE
