"""The console's application for tests, without a socket: signed in or not, and its requests as its page makes them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from ops.console.access import Access
from ops.console.server import Console
from ops.stack import Stack

PORT = 4999
ORIGIN = f"http://127.0.0.1:{PORT}"
OWN = {"Origin": ORIGIN, "X-Console": "1"}
"""What the page's own calls carry."""


class Browser:
    """Sends requests to an application in this process, and keeps its cookies."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._cookies = httpx.Cookies()

    def request(self, method: str, address: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._send(method, address, options))

    def get(self, address: str, **options: Any) -> httpx.Response:
        return self.request("GET", address, **options)

    async def _send(self, method: str, address: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=self._cookies) as client:
            answer = await client.request(method, address, **options)
            self._cookies = client.cookies
            return answer


class Page:
    """The console's page in a browser that opened the printed address.

    Args:
        signed_in: Whether it did.
    """

    def __init__(self, *, signed_in: bool = True) -> None:
        self.access = Access(PORT)
        self.console = Console(Stack(), "0.0.0")
        self.http = Browser(self.console.app(self.access))
        if signed_in:
            assert self.http.get(f"/?token={self.access.token}").status_code == 303

    def get(self, address: str, **query: Any) -> dict[str, Any]:
        """Return a document."""
        return self._document(self.http.get(address, params=query))

    def post(self, address: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """Send a file or a JSON document, and return the answer."""
        return self._document(self.send("POST", address, body, **query))

    def put(self, address: str, body: Any) -> dict[str, Any]:
        """Save a JSON document, and return the answer."""
        return self._document(self.send("PUT", address, body))

    def send(self, method: str, address: str, body: Any = None, **query: Any) -> httpx.Response:
        """Send a file or a JSON document."""
        sent: Any = {"content": body} if isinstance(body, bytes) else {"json": body or {}}
        return self.http.request(method, address, params=query, headers=OWN, **sent)

    def refused(self, method: str, address: str, body: Any = None, **query: Any) -> tuple[int, dict[str, Any]]:
        """Return the status and the error of a request that is refused."""
        answer = self.send(method, address, body, **query)
        error: dict[str, Any] = answer.json()["error"]
        return answer.status_code, error

    @staticmethod
    def _document(answer: httpx.Response) -> dict[str, Any]:
        document: dict[str, Any] = answer.json()
        assert answer.status_code == 200, document
        return document
