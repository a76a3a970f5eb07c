"""What of the vendor's own words may be shown: one short line without the request, a key, a query string or markup.

Knows how to take private text out of foreign text. Must not know where either comes from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TEXT = 300
"""Characters that are left of a foreign text."""

_MARK = "[…]"
_LONGEST_INPUT = 4_096
# Shorter values ("9:16", "720p") are no secrets, and taking them out would garble every message.
_SHORTEST_PRIVATE = 8
# A part of a private text this long is taken out too: vendors quote the start of a prompt. Shorter runs would hit
# common phrases such as "reference image".
_RUN = 16
_MARKUP = re.compile(r"<[A-Za-z/!][^<>]*>?")
_URL_TAIL = re.compile(r"(\bhttps?://[^\s?#]*)[?#]\S*", re.IGNORECASE)


def one_line(text: str) -> str:
    """The text with each run of white space, control characters and lone surrogates as one blank."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def redact(text: str, private: Iterable[str] = ()) -> str:
    """Makes a foreign text fit for a log line, an error or a notification.

    Args:
        text: What somebody else wrote.
        private: Texts that must not be seen, whole (from 8 characters) or in parts (from 16).

    Returns:
        One line of at most 300 characters, without those texts, query strings of URLs and markup.
    """
    hidden = tuple(map(one_line, private))
    visible = _mask(one_line(text[:_LONGEST_INPUT]), hidden)
    visible = _URL_TAIL.sub(r"\1", visible)
    # Once more: markup may have torn a private text apart.
    visible = _mask(one_line(_MARKUP.sub(" ", visible)), hidden)
    return visible if len(visible) <= MAX_TEXT else visible[: MAX_TEXT - 1] + "…"


def holds_private(text: str, private: Iterable[str]) -> bool:
    """Whether a text holds a private one, whole (from 8 characters) or in parts (from 16)."""
    line = one_line(text)
    return _mask(line, tuple(map(one_line, private))) != line


def strings_of(document: object) -> Iterator[str]:
    """Every string value in a JSON document. Not recursive, so that no document is too deep."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)


def _mask(text: str, private: Iterable[str]) -> str:
    hidden = bytearray(len(text))
    for run in _runs(private, within=text):
        start = text.find(run)
        while start >= 0:
            hidden[start : start + len(run)] = b"\1" * len(run)
            start = text.find(run, start + 1)
    pieces: list[str] = []
    for position, character in enumerate(text):
        if not hidden[position]:
            pieces.append(character)
        elif not position or not hidden[position - 1]:
            pieces.append(_MARK)
    return "".join(pieces)


def _runs(private: Iterable[str], *, within: str) -> set[str]:
    """The parts of the private texts that occur in `within`."""
    runs: set[str] = set()
    shown: dict[int, set[str]] = {}
    for value in private:
        length = min(len(value), _RUN)
        if length < _SHORTEST_PRIVATE:
            continue
        if length not in shown:
            shown[length] = set(_parts(within, length))
        runs.update(shown[length].intersection(_parts(value, length)))
    return runs


def _parts(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))
