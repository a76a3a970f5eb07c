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
# Links as people, JSON and other links write them: with or without a scheme, with `\/`, or percent-encoded.
_SLASH = r"(?:\\?/|%2f|\\u002f)"
_LINK = re.compile(rf"{_SLASH}{{2}}|\b(?:[\w-]{{1,63}}\.){{1,9}}[a-z]{{2,24}}(?::\d{{1,5}})?{_SLASH}", re.IGNORECASE)
_QUERY = re.compile(r"[?#]|%3f|%23|\\u003f", re.IGNORECASE)
_URL_USER = re.compile(rf"({_SLASH}{{2}})[^\s/@\\]{{1,512}}@", re.IGNORECASE)
# What opens a link or an account, wherever it is quoted: name=value, name%3Dvalue, "name": "value".
_SECRET = re.compile(
    r"""
    ((?<![a-z0-9])
    (?:(?:access|auth|id|refresh|security|session)[-_]?)?(?:sig|signature|token|credential|password|secret|(?:access|api|secret)[-_]?key)
    (?:=|%3d|\\?["']\s?:\s?\\?["']))
    (?:(?!%26|\\u0026)[^\s"'&,;<>\\])+
    | (\b(?:Bearer|Basic)\s)[\w.~+/=-]{8,}
    """,
    re.IGNORECASE | re.VERBOSE,
)


def one_line(text: str) -> str:
    """The text with each run of white space, control characters and lone surrogates as one blank."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def redact(text: str, private: Iterable[str] = ()) -> str:
    """Makes a foreign text fit for a log line, an error or a notification.

    Args:
        text: What somebody else wrote.
        private: Texts that must not be seen, whole (from 8 characters) or in parts (from 16).

    Returns:
        One line of at most 300 characters, without those texts, query strings of URLs, signatures, tokens and markup.
    """
    hidden = tuple(map(one_line, private))
    visible = _mask(one_line(text[:_LONGEST_INPUT]), hidden)
    visible = _without_secrets(visible)
    # Once more: markup may have torn a private text apart.
    visible = _mask(one_line(_MARKUP.sub(" ", visible)), hidden)
    return visible if len(visible) <= MAX_TEXT else visible[: MAX_TEXT - 1] + "…"


def _without_secrets(text: str) -> str:
    """The text without queries, fragments and users of links, and without the values of signatures and tokens."""
    text = _URL_USER.sub(r"\1", " ".join(map(_without_query, text.split(" "))))
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}{_MARK}", text)


def _without_query(word: str) -> str:
    """The word, cut at the query or fragment of the first link in it."""
    link = _LINK.search(word)
    query = _QUERY.search(word, link.end()) if link else None
    return word[: query.start()] if query else word


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
