"""Links that may be kept: their address stays, and what opens them goes.

Knows where links carry signatures and passwords. Must not know what the links are for.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit


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
