"""Turn what a vendor or a redirect calls a link into the address that every client would ask for.

Spaces and letters beyond ASCII are percent-encoded, and host names beyond ASCII go through IDNA, as in browsers and
curl. The guard decides afterwards whether the address may be fetched.
"""

from __future__ import annotations

import re
import string
from urllib.parse import quote, urljoin

from shared.delivery.errors import OutputRefused

# What stands for itself, `%` included: an escape stays as it is, and so does a stray percent sign.
# https://url.spec.whatwg.org/#path-percent-encode-set and #query-percent-encode-set
_IN_QUERY = "".join(set(string.punctuation) - set('"<>'))
_IN_PATH = "".join(set(_IN_QUERY) - set("^`{}"))
# An IPv6 address with nothing but a port behind it. What else stands beside brackets, parsers read differently.
_BRACKETS = re.compile(r"(?:[^\[\]]*@)?\[[^\[\]]*\](?::[0-9]*)?\Z")
_BLANKS = " \t\r\n\f"


def normalize(link: str) -> str:
    """Percent-encode a link.

    Raises:
        OutputRefused: It holds a control character or text that no address can carry.
    """
    link = link.strip(_BLANKS)
    if any(letter < " " or letter == "\x7f" for letter in link):
        raise OutputRefused("The link to the video holds a control character.")
    scheme, colon, rest = link.partition("://")
    end = next((at for at, letter in enumerate(rest) if letter in "/?#\\"), len(rest))
    try:
        return f"{_encoded(scheme)}{colon}{_host(rest[:end])}{_encoded(rest[end:])}"
    except UnicodeError:  # half of a surrogate pair, or a host that no address can have
        raise OutputRefused("The link to the video is not a well-formed address.") from None


def follow(url: str, location: bytes) -> str:
    """Return the address that a redirect from `url` names. `location` is the header's value as it came.

    Its bytes are kept: what is not UTF-8 is percent-encoded as it is, as curl and Chromium do.

    Raises:
        OutputRefused: It is not well-formed.
    """
    try:
        text = location.decode()
    except UnicodeDecodeError:
        text = quote(location, safe=f"{string.punctuation} ")
    try:
        return normalize(urljoin(url, text.strip(_BLANKS)))
    except ValueError:
        raise OutputRefused("The link to the video redirects to an address that is not well-formed.") from None


def _encoded(text: str) -> str:
    path, mark, query = text.partition("?")
    return quote(path, safe=_IN_PATH) + mark + quote(query, safe=_IN_QUERY)


def _host(authority: str) -> str:
    """Return the host and its port in ASCII.

    Raises:
        UnicodeError: The host's name is not a valid international one, or something stands beside its brackets.
    """
    if ("[" in authority or "]" in authority) and not _BRACKETS.match(authority):
        raise UnicodeError
    if authority.isascii():
        return authority
    # Its tables are large, and few links need them.
    import idna

    host, colon, port = authority.partition(":")
    return f"{idna.encode(host, uts46=True).decode()}{colon}{port}"
