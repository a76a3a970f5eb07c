"""Texts from outside as one line that steers no terminal and forges no line: what cannot be seen becomes an escape.

Keys in S3 may hold any character, and so may a vendor's words. Must not know where a text comes from or where it goes.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Blanks of fixed or double width, in names that Word and East Asian keyboards wrote. They only take place.
_BLANKS = "\xa0\u202f\u3000"
_BEYOND_ASCII = re.compile(r"[^ -~\n]")


def visible(text: str) -> str:
    r"""The text with `\x1b` for what cannot be seen: controls, line ends, marks of direction, halves of characters."""
    if text.isprintable():
        return text
    return "".join(sign if _is_seen(sign) else sign.encode("unicode_escape").decode() for sign in text)


def json_text(value: object, **options: Any) -> str:
    r"""The value as JSON with `\u001b` for what cannot be seen. It reads back as the same value.

    Args:
        value: What JSON can express.
        **options: What `json.dumps` takes as well.
    """
    return _BEYOND_ASCII.sub(_escaped, json.dumps(value, ensure_ascii=False, **options))


def _escaped(found: re.Match[str]) -> str:
    sign = found[0]
    if _is_seen(sign):
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _is_seen(sign: str) -> bool:
    return sign.isprintable() or sign in _BLANKS
