"""Send requests to Genviral, bounded in time and size.

Without an answer, the error says whether the paid request was sent. `responses` reads the answers, `models` validates
requests.

Every call uses a new connection. A kept one may have been closed while the Lambda was frozen, and a paid POST on a
closed connection looks the same as one that the vendor accepted and never answered. Only a request that got a 401 is
repeated, once, with a changed key. Redirects are not followed, and proxies, certificates and passwords are not taken
from the environment, so the key goes to the configured host only.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeGuard
from urllib.parse import quote, urlsplit

import httpcore  # noqa: F401 - otherwise imported with the first client, when a Lambda has less CPU than now
import httpx

from shared.faults import Paid
from shared.genviral.content import unpacked
from shared.genviral.errors import (
    AuthenticationFailed,
    GenviralUnavailable,
    GenviralUnreachable,
    InvalidPayload,
    SubmissionUncertain,
    VideoNotFound,
)
from shared.genviral.redaction import strings_of
from shared.genviral.responses import (
    MAX_BODY_BYTES,
    Answer,
    Generation,
    Model,
    Video,
    generation_in,
    is_enough_of_video,
    models_in,
    video_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

__all__ = ["BASE_URL", "Generation", "GenviralClient", "Model", "Timeouts", "Video"]

BASE_URL: Final = "https://www.genviral.io/api/partner/v1"
"""The vendor's documented address."""

_TLS: Final = httpx.create_ssl_context(trust_env=False)  # shared, because it reads 118 certificates
_NOT_SENT: Final = (
    httpx.ConnectError,  # includes DNS and the TLS handshake
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits on the vendor's time, in seconds.

    Attributes:
        connect: Until the connection is open.
        read: Until the first piece of the answer, and between two pieces.
        write: Between two pieces of the request.
        pool: Until a connection may be opened.
        total: For the whole call, including a repeat with a changed key. Name resolution may take longer, because the
            operating system has its own limit.
    """

    connect: float = 5.0
    read: float = 30.0
    write: float = 10.0
    pool: float = 5.0
    total: float = 45.0


class GenviralClient:
    """Client for the calls of the Partner API that this project needs.

    Args:
        api_key: Returns the key; called with `True` after a 401 to bypass a cache. Its errors are passed on.
        base_url: The API's address, up to and including the version.
        timeouts: The limits for each call.
        transport: Replaces the network, for tests.

    Raises:
        ValueError: `base_url` is not an absolute http(s) URL.
    """

    def __init__(
        self,
        api_key: Callable[[bool], str],
        *,
        base_url: str,
        timeouts: Timeouts,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must be an absolute http(s) URL without query or fragment")
        self._api_key = api_key
        self._timeouts = timeouts
        self._http = httpx.Client(
            base_url=base_url,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Connection": "close",
                "User-Agent": "genviral-video-pipeline",
            },
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool
            ),
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            verify=_TLS,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def check_key(self) -> None:
        """Fetch the key and check its form. Sends nothing to the vendor.

        Raises:
            AuthenticationFailed: No usable key is stored.
        """
        self._key(Paid.NO)

    def generate(self, body: Mapping[str, Any], *, idempotency_key: str) -> Generation:
        """Start a video. This call costs money and is sent once.

        Args:
            body: The vendor's generate body, as `GenerateRequest.to_body` returns it.
            idempotency_key: The same for each attempt of one job, 1 to 255 visible ASCII characters.

        Returns:
            The accepted video.

        Raises:
            SubmissionUncertain: The request was sent, and its outcome is unknown.
            GenviralUnreachable: The request was not sent.
            InvalidPayload: `body` cannot be written as JSON, or the vendor refused it.
            GenviralFault: Another refusal, see the table in `errors`.
            ValueError: `idempotency_key` cannot be a header value.
        """
        if not _fits_header(idempotency_key) or len(idempotency_key) > 255:
            raise ValueError("idempotency_key must be 1 to 255 visible ASCII characters")
        request = _Request(
            "POST",
            "studio/videos/generate",
            headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
            content=_as_json(body),
            # The model's id is not secret, and messages about the model need it.
            private=tuple(strings_of({name: value for name, value in body.items() if name != "model_id"})),
        )
        try:
            answer = self._answer(request)
        except _NoAnswerError as error:
            if error.sent:
                raise SubmissionUncertain(f"The request was sent to Genviral, then {error.reason}.") from None
            raise GenviralUnreachable(f"Genviral could not be reached: {error.reason}.") from None
        return generation_in(answer)

    def get_video(self, video_id: str) -> Video:
        """Poll a video once. This is free and safe to repeat.

        Args:
            video_id: The vendor's id.

        Raises:
            VideoNotFound: The vendor does not know the video.
            AccountFault: The account needs a person.
            RateLimited: Too many requests at a time.
            GenviralUnreachable: No connection.
            GenviralUnavailable: No usable answer.
        """
        if not video_id or video_id in (".", ".."):
            raise VideoNotFound("This is not the id of a video.")
        path = f"studio/videos/{quote(video_id, safe='', errors='replace')}"
        return video_in(self._get(_Request("GET", path, enough=is_enough_of_video), paid=Paid.YES), video_id)

    def list_models(self, mode: str = "video") -> list[Model]:
        """Return the available models. This is free and safe to repeat.

        Args:
            mode: The vendor's word for the kind of models.

        Raises:
            AccountFault: The account needs a person.
            RateLimited: Too many requests at a time.
            GenviralUnreachable: No connection.
            GenviralUnavailable: No usable answer.
        """
        return models_in(self._get(_Request("GET", "studio/models", query={"mode": mode}), paid=Paid.NO))

    def _get(self, request: _Request, *, paid: Paid) -> Answer:
        try:
            return self._answer(request, paid=paid)
        except _NoAnswerError as error:
            if error.sent:
                raise GenviralUnavailable(f"The GET was sent to Genviral, then {error.reason}.", paid=paid) from None
            raise GenviralUnreachable(f"Genviral could not be reached: {error.reason}.", paid=paid) from None

    def _answer(self, request: _Request, *, paid: Paid = Paid.NO) -> Answer:
        key = self._key(paid)
        ends_at = time.monotonic() + self._timeouts.total
        answer = self._send(request, key, self._timeouts.total)
        if answer.refuses_key:
            fresh = _usable(self._api_key(True), paid)
            left = ends_at - time.monotonic()
            # A paid call needs the full time to read: without an answer, the payment would be uncertain.
            needed = self._timeouts.read if request.method == "POST" else 0.0
            if fresh != key and left > needed:
                answer = self._send(request, fresh, left)
        return answer

    def _key(self, paid: Paid) -> str:
        key = self._api_key(False)
        # A malformed cached key is never sent, so no 401 would renew it, although it may have been corrected.
        return key if _is_usable(key) else _usable(self._api_key(True), paid)

    def _send(self, request: _Request, key: str, seconds: float) -> Answer:
        """Send the request once.

        Raises:
            _NoAnswerError: No HTTP status was received.
        """
        with _Deadline(seconds) as deadline:
            try:
                response = self._http.send(
                    self._http.build_request(
                        request.method,
                        request.path,
                        params=request.query,
                        headers={**request.headers, "Authorization": f"Bearer {key}"},
                        content=request.content,
                        extensions={"trace": deadline.watch},
                    ),
                    stream=True,
                )
            except _NOT_SENT as error:
                raise _NoAnswerError(_reason(error), sent=False) from None
            except httpx.RequestError as error:
                reason = f"no answer came in {seconds:.3g} s" if deadline.passed else _reason(error)
                raise _NoAnswerError(reason, sent=True) from None
            with closing(response):
                return Answer.of(
                    response.status_code,
                    _body_of(response),
                    retry_after=response.headers.get("Retry-After"),
                    private=(key, *request.private),
                    enough=request.enough,
                )


@dataclass(frozen=True, slots=True, repr=False)
class _Request:
    method: Literal["GET", "POST"]
    path: str
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    private: tuple[str, ...] = ()
    enough: Callable[[dict[str, Any]], bool] = lambda _: False


class _NoAnswerError(Exception):
    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class _Deadline:
    """Close a request's connection when its time is up, which ends the read.

    httpx limits each read separately, so a response that arrives byte by byte would never end.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Store the request's socket, from httpcore's `trace` extension."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info["return_value"]
            self._socket = stream.get_extra_info("socket")
            if self.passed:
                stream.close()
                raise httpx.ConnectTimeout("connected too late to send anything")

    def _expire(self) -> None:
        self.passed = True
        if self._socket is not None:
            with suppress(OSError):
                # The plain socket's method: an SSLSocket's would drop the TLS state that the reader is using.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _body_of(response: httpx.Response) -> Iterator[bytes]:
    """Yield the body piece by piece, until it ends, breaks off or exceeds 16 MiB."""
    # httpx would decompress without a limit, and would return nothing of plain bytes that are declared compressed.
    response.headers.pop("Content-Encoding", None)
    with suppress(httpx.RequestError):
        yield from unpacked(response.iter_bytes(), MAX_BODY_BYTES)


def _as_json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(body), allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidPayload("The request contains a value that JSON cannot express; nothing was sent.") from None


def _usable(key: object, paid: Paid) -> str:
    if _is_usable(key):
        return key
    raise AuthenticationFailed(
        "The stored API key is empty or contains a blank, a line break or a character that a header cannot contain.",
        paid=paid,
    )


def _is_usable(key: object) -> TypeGuard[str]:
    return isinstance(key, str) and _fits_header(key)


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def _reason(error: httpx.RequestError) -> str:
    """Describe a network error without the texts of lower layers, which may quote addresses or bodies."""
    for kind, reason in (
        (httpx.ConnectTimeout, "connecting took too long"),
        (httpx.PoolTimeout, "no connection was free in time"),
        (httpx.ConnectError, "the name, the connection or the TLS handshake failed"),
        (httpx.ReadTimeout, "the answer took too long"),
        (httpx.WriteTimeout, "sending took too long"),
        (httpx.NetworkError, "the connection broke"),
        (httpx.ProtocolError, "the connection did not follow HTTP"),
    ):
        if isinstance(error, kind):
            return reason
    return "the request failed"
