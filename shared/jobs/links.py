"""Links that may be kept: their address stays, and what opens them goes.

Knows where links carry signatures and passwords. Must not know what the links are for.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from shared.genviral.redaction import hide_secrets, hide_values

# A proxy's address has the other link behind a slash, or behind what begins or names a part of a query.
_SECOND = re.compile(r"(?<![/?#=:])https?(?::/|//)|\\", re.IGNORECASE)

_LINK = re.compile(r"(?<!\bs3:)//|%2f|\\/", re.IGNORECASE)


def is_torn(link: str) -> bool:
    """Whether a link seems to be two, with or without something between them, or what was left of such a list."""
    return _SECOND.search(link, 1) is not None


def without_secrets(body: Any) -> Any:
    """A request whose links lose their query, fragment and user: the places where signatures and passwords live."""
    if isinstance(body, dict):
        return {name: without_secrets(value) for name, value in body.items()}
    if isinstance(body, list):
        return [without_secrets(value) for value in body]
    return _without_secrets(body) if isinstance(body, str) else body


def _without_secrets(text: str) -> str:
    """A link without what opens it, or a text without the signatures and passwords of the links in it."""
    if text[:8].lower().startswith(("https://", "http://")):  # all of it is the link, also where it holds blanks
        try:
            parts = urlsplit(text)
        except ValueError:
            return ""
        if "@" in parts.netloc or "?" in text or "#" in text:
            text = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
        return hide_values(text)
    # An address in S3 opens nothing, and a key may hold any of the signs that part a link.
    is_word = len(text.split(maxsplit=1)) == 1 and not text.startswith("s3://")
    if is_word:
        return hide_secrets(text)
    return hide_values(text) if _LINK.search(text) else text
