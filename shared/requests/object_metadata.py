"""Decode an object's own metadata. S3 keeps any text but returns ASCII: other text comes as RFC 2047 encoded words.

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
    """Decode the encoded words in a value. Malformed words stay as they are."""
    return _WORDS.sub(_text_of, value)


def is_garbled(text: str) -> bool:
    """Whether a text lost a character when it was converted (U+FFFD), or still contains an encoded word."""
    return "\ufffd" in text or _WORD.search(text) is not None


def _text_of(words: re.Match[str]) -> str:
    try:
        # A character may be split between two words of one charset.
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
    """Restore a text if S3 read each byte of its UTF-8 as a character of its own.

    S3 does that with a header in UTF-8 (as the example in its documentation shows), but not with a field of a form.
    Such a text contains control characters, or pairs of a certain capital letter and a sign, that nobody writes.
    """
    if not _CONTROLS_OR_SIGNS.search(text):
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
