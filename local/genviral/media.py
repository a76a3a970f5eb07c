"""Fetch a request's reference media, check them, and store them by content.

Private addresses are allowed, because the pictures of a laptop cloud are on the loopback.
"""

from __future__ import annotations

import hashlib
import io
import time
from typing import TYPE_CHECKING

import av
import httpx
from PIL import Image

from local.genviral import errors

if TYPE_CHECKING:
    from pathlib import Path

FETCH_SECONDS = 20.0
"""For all references of one request together."""
_MAX_BYTES = {"image": 20_000_000, "video": 50_000_000, "audio": 50_000_000}
_MAX_PIXELS = 60_000_000
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://*.localhost")


class _Unusable(Exception):
    """A reference cannot be used; the text is safe for the response."""


class MediaStore:
    """Downloads references into `folder`, one file per distinct content."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        # A proxy from the environment must not be used for this machine.
        self._client = httpx.Client(
            follow_redirects=True,
            max_redirects=3,
            timeout=httpx.Timeout(5.0),
            mounts=dict.fromkeys(_LOOPBACK),
        )

    def close(self) -> None:
        self._client.close()

    def gather(self, references: list[tuple[str, tuple[str | int, ...], str]]) -> Path | None:
        """Fetch and check every reference (kind, path in the body, URL).

        Returns:
            The first picture's file, or None if there is no picture.

        Raises:
            Refusal: 422 `invalid_input` with the first reference that is unreachable or unreadable.
        """
        deadline = time.monotonic() + FETCH_SECONDS
        picture: Path | None = None
        for kind, path, url in references:
            try:
                content = self._download(url, _MAX_BYTES[kind], deadline)
                file = self._keep(kind, content)
            except _Unusable as reason:
                raise errors.invalid_input([errors.issue(path, str(reason))]) from None
            if kind == "image" and picture is None:
                picture = file
        return picture

    def _download(self, url: str, limit: int, deadline: float) -> bytes:
        content = bytearray()
        try:
            with self._client.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    raise _Unusable(f"Could not be fetched: HTTP {response.status_code}")
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        raise _Unusable(f"Larger than {limit // 1_000_000} MB")
                    if time.monotonic() > deadline:
                        raise _Unusable("Took too long to fetch")
        except (httpx.HTTPError, httpx.InvalidURL):
            raise _Unusable("Could not be fetched") from None
        return bytes(content)

    def _keep(self, kind: str, content: bytes) -> Path:
        file = self._folder / f"{hashlib.sha256(content).hexdigest()}.{kind}"
        if not file.exists():
            if kind == "image":
                _check_picture(content)
            else:
                _check_stream(content, kind)
            # Two requests may have the same new content at once, so each replaces the file atomically.
            partial = file.with_suffix(f".{time.monotonic_ns()}")
            partial.write_bytes(content)
            partial.replace(file)
        return file


def _check_picture(content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise _Unusable("The picture has too many pixels")
            picture.draft("RGB", (256, 256))
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise _Unusable("Not a readable picture") from None


def _check_stream(content: bytes, kind: str) -> None:
    try:
        with av.open(io.BytesIO(content)) as container:
            next(container.decode(**{kind: 0}))
    except (OSError, ValueError, IndexError, StopIteration):
        raise _Unusable(f"Not a readable {kind}") from None
