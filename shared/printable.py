"""Escape invisible characters in texts from outside, so that they cannot control a terminal or forge a line.

Keys in S3 may contain any character, and so may the vendor's texts.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Blanks of fixed or double width, in names from Word and East Asian keyboards. They are harmless.
_BLANKS = "\xa0\u202f\u3000"
IGNORABLE = r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\ufff0-\ufff8"
"""Characters up to U+FFFF that count as letters or marks and show nothing, as a part of a pattern's class.

Unicode's `Default_Ignorable_Code_Point` without what `str.isprintable` knows and the two selectors that emoji need, and
the empty Braille pattern: https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
"""
_EMOJI = r"\xa9\xae\u203c-\u27ff\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# Variation selectors choose how the emoji or keycap digit before them is drawn. Anywhere else they are invisible.
_SELECTOR = rf"(?<![{_EMOJI}])[\ufe0e\ufe0f](?!(?<=[0-9#*].)\u20e3)"
UNSEEN = rf"[{IGNORABLE}\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]|{_SELECTOR}"
"""A pattern of invisible characters that `str.isprintable` accepts."""
_UNSEEN = re.compile(UNSEEN)
_BEYOND_ASCII = re.compile(r"[^ -~\n]")
_BEYOND_PLAIN = re.compile(r"[^ -~]")
_RUN_OF_BLANKS = re.compile(rf"[ {_BLANKS}]{{2,}}")


def visible(text: str) -> str:
    r"""Escape (as `\x1b`) controls, line ends, direction marks, lone surrogates and other invisible characters."""
    return _BEYOND_PLAIN.sub(lambda found: found[0] if _is_seen(found) else _escape(found[0]), text)


def in_line(text: str) -> str:
    r"""Escape a text as `visible` does, and replace runs of blanks, which could fill up a line, by `[9 blanks]`."""
    return _RUN_OF_BLANKS.sub(lambda run: f"[{len(run[0])} blanks]", visible(text))


def json_text(value: object, **options: Any) -> str:
    r"""Return the value as JSON with `\u001b` for what cannot be seen. It reads back as the same value.

    Args:
        value: What JSON can express.
        **options: What `json.dumps` takes as well.
    """
    return _BEYOND_ASCII.sub(_escaped, json.dumps(value, ensure_ascii=False, **options))


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _escaped(found: re.Match[str]) -> str:
    sign = found[0]
    if _is_seen(found):
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _is_seen(found: re.Match[str]) -> bool:
    sign = found[0]
    return (sign.isprintable() or sign in _BLANKS) and not _UNSEEN.match(found.string, found.start())
