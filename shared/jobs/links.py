"""Remove from links what opens them, and keep their address.

Knows where links carry signatures and passwords. Must not know what the links are for.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from shared.genviral.redaction import hide_secrets, hide_values

# In a proxy's address, the other link follows a slash or the start of a query, or is a parameter's value.
_SECOND = re.compile(r"(?<![/?#=:])https?(?::/|//)|\\", re.IGNORECASE)

_LINK = re.compile(r"(?<!\bs3:)//|%2f|\\/", re.IGNORECASE)
# Texts and no compiled patterns, as few calls meet one of them.
_ENCODED_QUERY = "(?i)%(?:25){0,8}(?:3f|23)"
_ENCODED_EQUALS = "(?i)=|%(?:25){0,8}3d"
# `;jsessionid=…` in a path. Shorter values are versions and sizes.
_PATH_PARAMETER = r";[\w.~-]{1,64}=[^\s/?#;,\"'<>]{8,}"
_SIGNS_OF_A_QUERY = frozenset("?#%\\\uff1f\uff03")
_HIDDEN = "[…]"
_SAMPLE = "0123456789abcdef"


def is_torn(link: str) -> bool:
    """Whether a link seems to be two links, or the rest of a list of links that was split."""
    return _SECOND.search(link, 1) is not None


def without_secrets(body: Any) -> Any:
    """A request without what opens its links or an account, in texts and in names of members.

    Links lose their query, fragment and user, wherever they stand in a text, and members that are called like a secret
    lose their text.
    """
    if isinstance(body, dict):
        return {
            _without_secrets(name): _hidden(value) if _is_secret(name) else without_secrets(value)
            for name, value in body.items()
        }
    if isinstance(body, list):
        return [without_secrets(value) for value in body]
    return _without_secrets(body) if isinstance(body, str) else body


def _is_secret(name: str) -> bool:
    """Whether a member is called like a secret (`token`, `Authorization`). A policy is one within a link only."""
    given = f"{name}={_SAMPLE}"
    return name.isprintable() and not name.lower().endswith("policy") and hide_values(given) == f"{name}={_HIDDEN}"


def _hidden(value: Any) -> Any:
    """Return a value without its texts."""
    if isinstance(value, dict):
        return {name: _hidden(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_hidden(member) for member in value]
    return _HIDDEN if isinstance(value, str) and value else value


def _without_secrets(text: str) -> str:
    """Return a text without what opens its links."""
    kept = re.sub(r"\S+", lambda word: _word_without_secrets(word[0]), text)
    # An address in S3 opens nothing, and a key may hold any of the signs that part a link.
    is_word = len(text.split(maxsplit=1)) == 1 and not text.startswith("s3://")
    return hide_values(kept) if is_word or _LINK.search(text) else kept


def _word_without_secrets(word: str) -> str:
    if word.startswith("s3://"):
        place, sign, query = word.partition("?")
        return place + sign + hide_values(query)
    if word[:8].lower().startswith(("https://", "http://")):
        kept = _bare_link(word)
    else:
        kept = hide_secrets(word) if _SIGNS_OF_A_QUERY.intersection(word) else word
    if "/" in kept and ";" in kept:
        kept = re.sub(_PATH_PARAMETER, "", kept)
    # The sign at the end of a sentence is no query.
    lost = word.removeprefix(kept)
    return kept if any(map(str.isalnum, lost)) else word


def _bare_link(link: str) -> str:
    """A link without its user, query and fragment, and without those of a link that is encoded within its path."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    if "@" in parts.netloc or "?" in link or "#" in link:
        link = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    # A name of a file may hold such a sign, but hardly a value behind it.
    query = re.search(_ENCODED_QUERY, link)
    return link[: query.start()] if query and re.search(_ENCODED_EQUALS, link[query.end() :]) else link
