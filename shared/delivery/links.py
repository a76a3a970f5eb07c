"""Normalize a link from the vendor or a redirect to the URL that other clients would request.

Spaces and letters beyond ASCII are percent-encoded, and host names beyond ASCII go through IDNA, as in browsers and
curl. The guard decides afterwards whether the address may be fetched.
"""

from __future__ import annotations

import re
import string
from urllib.parse import quote, urljoin

from shared.delivery.errors import OutputRefused

# Characters that stay as they are, including `%`, so escapes and stray percent signs do not change.
# https://url.spec.whatwg.org/#path-percent-encode-set and #query-percent-encode-set
_IN_QUERY = "".join(set(string.punctuation) - set('"<>'))
_IN_PATH = "".join(set(_IN_QUERY) - set("^`{}"))
# An IPv6 address, perhaps with a port. Parsers disagree about anything else beside brackets.
_BRACKETS = re.compile(r"(?:[^\[\]]*@)?\[[^\[\]]*\](?::[0-9]*)?\Z")
_BLANKS = " \t\r\n\f"


def normalize(link: str) -> str:
    """Percent-encode a link.

    Raises:
        OutputRefused: It contains a control character or text that no URL can contain.
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
    """Return the URL of a redirect from `url`. `location` is the raw value of the header.

    Bytes that are not UTF-8 are percent-encoded, as in curl and Chromium.

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
        UnicodeError: The name is not a valid international one, or there is text beside its brackets.
    """
    if ("[" in authority or "]" in authority) and not _BRACKETS.match(authority):
        raise UnicodeError
    if authority.isascii():
        return authority
    # Imported here because its tables are large, and few links need them.
    import idna

    host, colon, port = authority.partition(":")
    return f"{idna.encode(host, uts46=True).decode()}{colon}{port}"
