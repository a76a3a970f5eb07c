"""Decode an object's own metadata. S3 keeps any text but returns ASCII: the rest comes as encoded words of RFC 2047.

Knows that form, and what S3 makes of headers. Must not know S3's API.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata
https://www.rfc-editor.org/rfc/rfc2047.html
"""

from __future__ import annotations

import base64
import itertools
import quopri
import re

_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([BbQq])\?([^?\s]+)\?=")
# White space between two words belongs to neither. https://www.rfc-editor.org/rfc/rfc2047.html#section-6.2
_WORDS = re.compile(rf"{_WORD.pattern}(?:\s*{_WORD.pattern})*")
_BROKEN_ESCAPE = re.compile(r"=(?![0-9A-Fa-f]{2})")
_CONTROLS_OR_SIGNS = re.compile(r"[\x80-\x9f]|[ÂÃ][\xa0-\xbf]")


def decoded(value: str) -> str:
    """A value as it was meant: its encoded words decoded. Words that are malformed stay as they are."""
    return _WORDS.sub(_text_of, value)


def is_garbled(text: str) -> bool:
    """Whether a text lost a character when it was converted (U+FFFD), or still has an encoded word in it."""
    return "\ufffd" in text or _WORD.search(text) is not None


def _text_of(words: re.Match[str]) -> str:
    try:
        # A character may be cut in two between words of one charset.
        parts = [
            (charset, b"".join(_bytes_of(encoding, text) for _, encoding, text in run))
            for charset, run in itertools.groupby(_WORD.findall(words[0]), key=lambda word: word[0].lower())
        ]
        return _read_once("".join(text.decode(charset) for charset, text in parts))
    except (LookupError, ValueError):
        return words[0]


def _bytes_of(encoding: str, text: str) -> bytes:
    if encoding in "Bb":
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if _BROKEN_ESCAPE.search(text):
        raise ValueError(text)
    return quopri.decodestring(text, header=True)


def _read_once(text: str) -> str:
    """The text that was sent, where S3 read each byte of its UTF-8 as a character of its own.

    That is what S3 does with a header in UTF-8 (its own example comes back so), but not with a field of a form. Such a
    text gives itself away: by control characters that nobody writes, or a sign behind each of two capital letters.
    """
    if not _CONTROLS_OR_SIGNS.search(text):
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
