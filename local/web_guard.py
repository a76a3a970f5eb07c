"""Distinguish requests of programs on this machine from requests that a web page makes a browser send.

The laptop's cloud listens on the loopback, which every page in a browser can reach. A browser sends a request's origin
in headers that no page can change; `Host` reveals a page whose own name resolves to 127.0.0.1.

The rules: https://www.w3.org/TR/fetch-metadata/, https://www.rfc-editor.org/rfc/rfc6454#section-7
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

REFUSED = """\
Refused: this is the cloud on a laptop. It serves programs on this machine, and no web page.
"""
# Browsers resolve names below localhost to the loopback without DNS. https://www.rfc-editor.org/rfc/rfc6761#section-6.3
_OWN_HOST = re.compile(r"(127\.0\.0\.1|\[::1\]|([a-z0-9_-]+\.)*localhost)\.?(:\d+)?", re.IGNORECASE)


class Sender:
    """The sender of a request, from its headers.

    Args:
        headers: The request's headers, with names in any case, and repeated ones separately.
    """

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        self._headers: dict[str, list[str]] = {}
        for name, value in headers:
            self._headers.setdefault(name.lower(), []).append(value.strip())

    @property
    def at_home(self) -> bool:
        """Whether the request was sent to a name of this machine. False for a foreign name that resolves to it."""
        hosts = self._headers.get("host", [])
        return len(hosts) <= 1 and all(_OWN_HOST.fullmatch(host) for host in hosts)

    @property
    def is_page(self) -> bool:
        """Whether a page of another origin sent it. An address that a person typed comes from no page."""
        sites = {site.lower() for site in self._headers.get("sec-fetch-site", [])}
        return bool(sites - {"none", "same-origin"} or self._sources() - {f"http://{self._host()}"})

    def is_page_of(self, origins: Collection[str]) -> bool:
        """Whether a page of one of these origins sent it."""
        sources = self._sources()
        return bool(sources) and sources <= {origin.lower() for origin in origins}

    def _host(self) -> str:
        return next(iter(self._headers.get("host", [])), "").lower()

    def _sources(self) -> set[str]:
        """Return the origins in `Origin` and `Referer`, including a `Referer` that is not a URL."""
        return {
            *(origin.lower() for origin in self._headers.get("origin", [])),
            *(_origin(referer) for referer in self._headers.get("referer", []) if referer),
        }


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url.lower())
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.netloc}"


def refused(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether a server for this machine's programs must refuse a request before reading its body."""
    sender = Sender(headers)
    return not sender.at_home or sender.is_page
