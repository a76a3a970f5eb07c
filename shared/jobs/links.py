"""Links that may be kept: their address stays, and what opens them goes.

Knows where links carry signatures and passwords. Must not know what the links are for.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

# A proxy's address has the other link behind a slash, or behind what begins or names a part of a query.
_SECOND = re.compile(r"(?<![/?#=:])https?(?::/|//)|\\", re.IGNORECASE)


def is_torn(link: str) -> bool:
    """Whether a link seems to be two, with or without something between them, or what was left of such a list."""
    return _SECOND.search(link, 1) is not None


def without_secrets(body: Any) -> Any:
    """A request whose links lose their query, fragment and user: the places where signatures and passwords live."""
    if isinstance(body, dict):
        return {name: without_secrets(value) for name, value in body.items()}
    if isinstance(body, list):
        return [without_secrets(value) for value in body]
    if isinstance(body, str) and body[:8].lower().startswith(("https://", "http://")):
        try:
            parts = urlsplit(body)
        except ValueError:
            return ""
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    return body
