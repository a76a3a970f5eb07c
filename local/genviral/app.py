"""Answer the vendor's four public requests: generate, status, models and the file behind an `output_url`.

The checks run in this order: key, plan, JSON, payload, input, credits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING

from local.genviral import errors
from local.genviral import payload as payloads
from local.genviral.http_messages import Reply, Request, html_reply, json_reply
from local.genviral.model_list import MODELS
from local.genviral.render import Clip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from local.genviral.media import MediaStore
    from local.genviral.payload import Payload
    from local.genviral.vendor_state import VendorState, Video

BASE_PATH = "/api/partner/v1"
_ROUTES = (
    ("generate", "POST", re.compile(rf"{BASE_PATH}/studio/videos/generate")),
    ("models", "GET", re.compile(rf"{BASE_PATH}/studio/models")),
    ("status", "GET", re.compile(rf"{BASE_PATH}/studio/videos/([^/]+)")),
    ("output", "GET", re.compile(r"/files/([^/]+)\.mp4")),
    ("output", "HEAD", re.compile(r"/files/([^/]+)\.mp4")),
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def resolve(method: str, path: str) -> tuple[str, str | None]:
    """Return the route's name and the video id in its path; `other` for an unknown route."""
    for route, verb, pattern in _ROUTES:
        if verb == method and (match := pattern.fullmatch(path)):
            return route, match.group(1) if match.groups() else None
    return "other", None


class App:
    """Answers requests as the vendor would.

    Args:
        origin: The `http://host:port` of links.
        link_seconds: Seconds that an `output_url` is valid after each response.
    """

    def __init__(self, vendor_state: VendorState, media: MediaStore, *, origin: str, link_seconds: float) -> None:
        self._vendor_state = vendor_state
        self._media = media
        self._origin = origin
        self._link_seconds = link_seconds
        self._signing_key = secrets.token_bytes(32)
        self._answers: dict[str, Callable[[Request], Reply]] = {
            "generate": self._generate,
            "status": self._status,
            "models": self._models,
            "output": self._output,
        }

    def answer(self, request: Request) -> Reply:
        try:
            answer = self._answers.get(request.route)
            if answer is None:
                raise errors.route_not_found()
            return answer(request)
        except errors.Refusal as refusal:
            return json_reply(refusal.status, refusal.envelope())

    def _generate(self, request: Request) -> Reply:
        account = self._vendor_state.authenticate(request.headers.get("authorization", ""))
        payload = payloads.read(request.body)
        idempotency_key = request.headers.get("idempotency-key")
        video = self._vendor_state.replay(account, idempotency_key)
        if video is None:
            payloads.check_against_model(payload)
            picture = self._media.gather(payload.media())
            video = self._vendor_state.accept(account, payload.model, _clip(payload, picture), idempotency_key)
        return json_reply(202, errors.success(202, "Video generation started", video.document()))

    def _status(self, request: Request) -> Reply:
        account = self._vendor_state.authenticate(request.headers.get("authorization", ""))
        video = self._vendor_state.video(request.video_id or "")
        if video is None or video.owner != account.name:
            raise errors.video_not_found()
        data = {**video.document(), "status": video.status(), "error": None}
        if data["status"] == "succeeded":
            data["output_url"] = self._link(video)
        elif data["status"] == "failed":
            data["error"] = "The provider could not generate this video."
        return json_reply(200, errors.success(200, "Video retrieved", data))

    def _models(self, request: Request) -> Reply:
        self._vendor_state.authenticate(request.headers.get("authorization", ""))
        mode = request.query.get("mode", "video")
        if mode not in ("video", "image"):
            raise errors.invalid_query()
        models = [model.document() for model in MODELS.values()] if mode == "video" else []
        return json_reply(200, errors.success(200, "Models retrieved", {"models": models}))

    def _output(self, request: Request) -> Reply:
        """Return the file if the link has a valid signature and has not expired."""
        video_id, expires = request.video_id or "", request.query.get("expires", "")
        given = request.query.get("signature", "")
        genuine = hmac.compare_digest(self._sign(video_id, expires).encode(), given.encode())
        if not genuine or time.time() > int(expires):
            return html_reply(403, "Link has expired or is not valid")
        video = self._vendor_state.video(video_id)
        if video is None or video.rendering is None:
            return html_reply(404, "Not Found")
        return _file(video.rendering.file, f'"{video.rendering.etag}"', request.headers)

    def _link(self, video: Video) -> str:
        expires = str(int(time.time() + self._link_seconds))
        signature = self._sign(video.video_id, expires)
        return f"{self._origin}/files/{video.video_id}.mp4?expires={expires}&signature={signature}"

    def _sign(self, video_id: str, expires: str) -> str:
        return hmac.new(self._signing_key, f"{video_id}:{expires}".encode(), hashlib.sha256).hexdigest()


def _clip(payload: Payload, picture: Path | None) -> Clip:
    params = payload.params
    return Clip(
        size=payload.size,
        seconds=params.duration_seconds,
        fps=params.fps,
        sound=params.generate_audio or bool(payload.speech_text),
        prompt=payload.prompt or payload.speech_text,
        caption=f"{payload.model_id} · {params.duration_seconds:g} s · made by the stand-in, not by a model",
        picture=picture,
    )


def _file(file: Path, etag: str, headers: Mapping[str, str]) -> Reply:
    """Return the whole file or one range of it (RFC 9110, section 14); the whole file for several ranges."""
    size = file.stat().st_size
    common = {"Content-Type": "video/mp4", "Accept-Ranges": "bytes", "ETag": etag}
    wanted = _RANGE.fullmatch(headers.get("range", ""))
    if wanted is None or wanted.groups() == ("", "") or headers.get("if-range", etag) != etag:
        return Reply(200, file.read_bytes(), common)
    first, last = _bounds(wanted.group(1), wanted.group(2), size)
    if not first <= last < size:
        return Reply(416, headers={**common, "Content-Range": f"bytes */{size}"})
    with file.open("rb") as content:
        content.seek(first)
        return Reply(206, content.read(last - first + 1), {**common, "Content-Range": f"bytes {first}-{last}/{size}"})


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return (max(0, size - int(last)), size - 1)
    return int(first), min(int(last), size - 1) if last else size - 1
