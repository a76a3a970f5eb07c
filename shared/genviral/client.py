"""The wire to Genviral: one request, one answer, bounded in time and size.

Knows addresses, headers, time-outs and the one question that matters when no answer comes: was the paid request sent?
Must not know what an answer means (`responses`), what a valid request is (`models`), or who asks.

Every call has a connection of its own. A kept one may have died while nobody looked (a Lambda sleeps between calls),
and a paid POST on a dead connection cannot be told from one that the vendor took and never answered. Nothing is
repeated but the one request that a 401 refused, with a key that has changed. Redirects are not followed, and neither
proxies, certificates nor passwords are taken from the environment: the key goes to the configured host or nowhere.
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

import httpcore  # noqa: F401 - httpx imports it with its first client, when a Lambda has less processor than now
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
    models_in,
    tells_video,
    video_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

__all__ = ["BASE_URL", "Generation", "GenviralClient", "Model", "Timeouts", "Video"]

BASE_URL: Final = "https://www.genviral.io/api/partner/v1"
"""The vendor's documented address."""

_TLS: Final = httpx.create_ssl_context(trust_env=False)  # reads 118 certificates, and no client of ours differs in it
_NOT_SENT: Final = (
    httpx.ConnectError,  # includes DNS and the TLS handshake
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the vendor may take, in seconds.

    Attributes:
        connect: Until the connection stands.
        read: Between two pieces of the answer, and until its first.
        write: Between two pieces of the request.
        pool: Until a connection may be opened.
        total: For all of it, a repeat with a renewed key included. Name resolution alone may take longer: the operating
            system has its own limit.
    """

    connect: float = 5.0
    read: float = 30.0
    write: float = 10.0
    pool: float = 5.0
    total: float = 45.0


class GenviralClient:
    """The calls of the Partner API that this project needs.

    Args:
        api_key: Gives the key; called with `True` after a 401, when a cached key should be read anew. Its errors pass.
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
        """Closes what is still open."""
        self._http.close()

    def check_key(self) -> None:
        """Fetches the key, and judges whether it can be one. Sends nothing to the vendor.

        Raises:
            AuthenticationFailed: There is no usable key.
        """
        self._key(Paid.NO)

    def generate(self, body: Mapping[str, Any], *, idempotency_key: str) -> Generation:
        """Starts a video. This is the call that costs money; it is sent once.

        Args:
            body: The vendor's generate body, as `GenerateRequest.to_body` gives it.
            idempotency_key: The same for each attempt of one job, 1 to 255 visible ASCII characters.

        Returns:
            The accepted video.

        Raises:
            SubmissionUncertain: The request was sent, and what came of it is unknown.
            GenviralUnreachable: It was not sent.
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
            # The model's id is no secret, and messages about it are useless without it.
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
        """Looks at a video once. Free, and safe to repeat.

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
            raise VideoNotFound("This is no id of a video.")
        path = f"studio/videos/{quote(video_id, safe='', errors='replace')}"
        return video_in(self._look(_Request("GET", path, enough=tells_video), paid=Paid.YES), video_id)

    def list_models(self, mode: str = "video") -> list[Model]:
        """The models on offer. Free, and safe to repeat.

        Args:
            mode: The vendor's word for the kind of models.

        Raises:
            AccountFault: The account needs a person.
            RateLimited: Too many requests at a time.
            GenviralUnreachable: No connection.
            GenviralUnavailable: No usable answer.
        """
        return models_in(self._look(_Request("GET", "studio/models", query={"mode": mode}), paid=Paid.NO))

    def _look(self, request: _Request, *, paid: Paid) -> Answer:
        try:
            return self._answer(request, paid=paid)
        except _NoAnswerError as error:
            if error.sent:
                raise GenviralUnavailable(f"Genviral was asked, then {error.reason}.", paid=paid) from None
            raise GenviralUnreachable(f"Genviral could not be reached: {error.reason}.", paid=paid) from None

    def _answer(self, request: _Request, *, paid: Paid = Paid.NO) -> Answer:
        key = self._key(paid)
        ends_at = time.monotonic() + self._timeouts.total
        answer = self._exchange(request, key, self._timeouts.total)
        if answer.refuses_key:
            fresh = _usable(self._api_key(True), paid)
            left = ends_at - time.monotonic()
            # A paid call needs all the time for its answer: without one, nobody would know whether it was paid for.
            needed = self._timeouts.read if request.method == "POST" else 0.0
            if fresh != key and left > needed:
                answer = self._exchange(request, fresh, left)
        return answer

    def _key(self, paid: Paid) -> str:
        key = self._api_key(False)
        # One that cannot be a key may have been mended since it was cached, and the vendor is not there to refuse it.
        return key if _is_usable(key) else _usable(self._api_key(True), paid)

    def _exchange(self, request: _Request, key: str, seconds: float) -> Answer:
        """Sends the request once.

        Raises:
            _NoAnswerError: Not even an HTTP status came back.
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
    """Cuts one request's connection when its time is up.

    httpx limits each read by itself, so an answer that comes byte by byte would never end. Whoever is reading then sees
    the connection close.
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
        """Learns which socket the request uses, from httpcore's `trace` extension."""
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
                # The plain socket's own method: an SSLSocket's would drop the TLS state that the reader is using.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _body_of(response: httpx.Response) -> Iterator[bytes]:
    """The body piece by piece, until it ends, breaks off or goes beyond 16 MiB."""
    # Or httpx would unpack without a bound, and give nothing at all of plain bytes that are said to be compressed.
    response.headers.pop("Content-Encoding", None)
    with suppress(httpx.RequestError):
        yield from unpacked(response.iter_bytes(), MAX_BODY_BYTES)


def _as_json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(body), allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidPayload("The request holds a value that JSON cannot express; nothing was sent.") from None


def _usable(key: object, paid: Paid) -> str:
    if _is_usable(key):
        return key
    raise AuthenticationFailed(
        "The stored API key is empty or holds a blank, a line break or a character that a header cannot carry.",
        paid=paid,
    )


def _is_usable(key: object) -> TypeGuard[str]:
    return isinstance(key, str) and _fits_header(key)


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def _reason(error: httpx.RequestError) -> str:
    """What happened on the wire, without the words of lower layers, which may quote addresses or bodies."""
    for kind, reason in (
        (httpx.ConnectTimeout, "connecting took too long"),
        (httpx.PoolTimeout, "no connection was free in time"),
        (httpx.ConnectError, "the name, the connection or the TLS handshake failed"),
        (httpx.ReadTimeout, "the answer took too long"),
        (httpx.WriteTimeout, "sending took too long"),
        (httpx.NetworkError, "the connection broke"),
        (httpx.ProtocolError, "the exchange was not proper HTTP"),
    ):
        if isinstance(error, kind):
            return reason
    return "the exchange failed"
