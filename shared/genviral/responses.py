"""How an answer of the vendor is read: into a typed value where it is what the contract says, else into a named error.

Knows the vendor's envelope, the shape of its data and the order of judgement (`error_code` first, HTTP status second).
Must not know how an answer got here. Nothing is shown of what the vendor wrote before it went through `redaction`.

Of the answers to the paid POST that the contract does not describe, each counts as "may have been paid" unless the
vendor itself says otherwise: a 2xx without `ok: true` and a video id, any redirect, a 4xx or 5xx that says `ok: true`,
and a 5xx that does not name a known cause in a valid envelope (a crash after the charge looks just like that).
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from shared.faults import Paid
from shared.genviral.errors import (
    TABLE,
    AccountFault,
    AuthenticationFailed,
    Call,
    GenviralFault,
    GenviralUnavailable,
    RateLimited,
    RequestRefused,
    RequestRejected,
    SubmissionUncertain,
    VideoNotFound,
)
from shared.genviral.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_RETRY_AFTER = 3_600.0
"""Seconds; a longer `Retry-After` is cut to this."""

_MAX_ISSUES = 20
_MAX_ID = 512
_ACCEPTED = frozenset({200, 201, 202})
# The server may have got hold of the request: it waited too long for it, or is still busy with the same key.
_MAYBE_RECEIVED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHOWABLE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")

_FAULT_OF_CODE: dict[str, type[GenviralFault]] = {
    code: row.fault for row in TABLE if row.call is not Call.READ for code in row.codes
}
_FAULT_OF_STATUS: dict[int, type[GenviralFault]] = {
    status: row.fault for row in reversed(TABLE) if row.call is not Call.READ for status in row.statuses
}


@dataclass(frozen=True, slots=True)
class Generation:
    """An accepted, and therefore paid, submission.

    Attributes:
        video_id: The vendor's id of the video.
        credits_used: What it cost in the vendor's credits, where the answer says so.
        status: The vendor's word for where the video is, normally `processing`.
        model_id: The model that was used, as the vendor names it.
        provider: Who runs the model for the vendor.
        prediction_id: The provider's id.
    """

    video_id: str
    credits_used: float | None = None
    status: str = "processing"
    model_id: str | None = None
    provider: str | None = None
    prediction_id: str | None = None


@dataclass(frozen=True, slots=True)
class Video:
    """A look at a video.

    Attributes:
        video_id: The id that was asked for.
        status: `processing` also stands for words that this client does not know, and for a success without a URL.
        raw_status: The vendor's own word, fit for a log.
        output_url: Where the file lies, if it succeeded. A bearer credential: not for logs, states or notices.
        error: Why it failed, in the vendor's words, fit for a notice.
        credits_used: What it cost in the vendor's credits, where the answer says so.
    """

    video_id: str
    status: Literal["processing", "succeeded", "failed"]
    raw_status: str
    output_url: str | None = field(default=None, repr=False)
    error: str | None = None
    credits_used: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model on offer.

    Attributes:
        id: What goes into `model_id`.
        name: Its name for people; the id where the vendor gives none.
        provider: Who runs it.
        default_cost: The usual price in credits.
        required: The inputs that it cannot do without.
        optional: The inputs that it also takes.
    """

    id: str
    name: str
    provider: str | None = None
    default_cost: float | None = None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the vendor, before it is judged.

    Attributes:
        status: The HTTP status.
        envelope: The JSON object in the body; empty if there was none that could be read.
        retry_after: Seconds to wait, if the vendor said so.
        private: What must not be seen in any text that is made of this answer.
    """

    status: int
    envelope: dict[str, Any] = field(repr=False)
    retry_after: float | None = None
    private: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, status: int, body: bytes, *, retry_after: str | None, private: Iterable[str]) -> Answer:
        """Reads whatever came back; never fails."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        envelope = document if isinstance(document, dict) else {}
        return cls(status, envelope, seconds_of(retry_after), tuple(private))

    @property
    def accepted(self) -> bool:
        return self.status in _ACCEPTED and self.envelope.get("ok") is True

    @property
    def refuses_key(self) -> bool:
        return self.status == HTTPStatus.UNAUTHORIZED and self.envelope.get("ok") is not True

    @property
    def data(self) -> dict[str, Any]:
        data = self.envelope.get("data")
        return data if isinstance(data, dict) else {}

    @property
    def error_code(self) -> str | None:
        code = self.envelope.get("error_code")
        if isinstance(code, str) and _CODE.fullmatch(code) and self.shown(code) == code:
            return code
        return None

    def shown(self, value: object) -> str | None:
        """What may be shown of a text in the answer."""
        return (redact(value, self.private) or None) if isinstance(value, str) else None

    def fault(self, kind: type[GenviralFault], message: str, *, paid: Paid | None = None) -> GenviralFault:
        """The error with all that the vendor said about it."""
        texts = [text for name in ("message", "remediation_hint") if (text := self.shown(self.envelope.get(name)))]
        said = " ".join(text if text is texts[-1] or text[-1] in ".!?" else f"{text}." for text in texts)
        return kind(
            f"{message}: {said}" if said else f"{message}.",
            http_status=self.status,
            error_code=self.error_code,
            action_url=self._action_url(),
            issues=self._issues(),
            retry_after=self.retry_after,
            paid=paid,
        )

    def _action_url(self) -> str | None:
        url = _web_address(self.envelope.get("action_url"))
        return self.shown(url) if url else None

    def _issues(self) -> tuple[dict[str, str], ...]:
        issues = self.envelope.get("issues")
        if not isinstance(issues, list):
            return ()
        return tuple(
            {"path": self._path(issue.get("path")), "message": self.shown(issue.get("message")) or "is not accepted"}
            for issue in issues[:_MAX_ISSUES]
            if isinstance(issue, dict)
        )

    def _path(self, path: object) -> str:
        steps = path[:_MAX_ISSUES] if isinstance(path, list) else [path]
        return self.shown(".".join(str(step) for step in steps if isinstance(step, str | int))) or ""


def generation_in(answer: Answer) -> Generation:
    """The video that the vendor accepted.

    Raises:
        GenviralFault: The vendor refused, or nobody knows.
    """
    data = answer.data
    video_id = _id(data.get("video_id"))
    if not answer.accepted or video_id is None:
        raise submission_fault(answer)
    return Generation(
        video_id=video_id,
        credits_used=_number(data.get("credits_used")),
        status=answer.shown(data.get("status")) or "processing",
        model_id=answer.shown(data.get("model_id")),
        provider=answer.shown(data.get("provider")),
        prediction_id=_id(data.get("prediction_id")),
    )


def video_in(answer: Answer, video_id: str) -> Video:
    """The video as the vendor sees it now.

    Raises:
        GenviralFault: The answer does not say.
    """
    word = answer.data.get("status")
    if not answer.accepted or not isinstance(word, str):
        raise read_fault(answer, of_video=True)
    output_url = _web_address(answer.data.get("output_url"))
    status: Literal["processing", "succeeded", "failed"] = "processing"
    if word == "failed":
        status = "failed"
    elif word == "succeeded" and output_url:
        status = "succeeded"
    return Video(
        video_id=video_id,
        status=status,
        raw_status=answer.shown(word) or "",
        output_url=output_url if status == "succeeded" else None,
        error=answer.shown(answer.data.get("error")) if status == "failed" else None,
        credits_used=_number(answer.data.get("credits_used")),
    )


def models_in(answer: Answer) -> list[Model]:
    """The models in the answer; entries without an id are passed over.

    Raises:
        GenviralFault: The answer holds no list.
    """
    entries = answer.data.get("models")
    if not answer.accepted or not isinstance(entries, list):
        raise read_fault(answer, of_video=False)
    return [_model(entry, model_id) for entry in map(_object, entries) if (model_id := _id(entry.get("id")))]


def submission_fault(answer: Answer) -> GenviralFault:
    """What an answer to the paid POST that accepts nothing means."""
    says_ok = answer.envelope.get("ok")
    if says_ok is not True:
        if 400 <= answer.status < 500:
            kind = _refusal(answer)
            if kind is RequestRejected and answer.status in _MAYBE_RECEIVED:
                kind = SubmissionUncertain
            return answer.fault(kind, f"Genviral refused the request (HTTP {answer.status})")
        if answer.status >= 500 and says_ok is False and answer.error_code in _FAULT_OF_CODE:
            return answer.fault(
                _FAULT_OF_CODE[answer.error_code], f"Genviral could not start the video (HTTP {answer.status})"
            )
    return answer.fault(SubmissionUncertain, _why_uncertain(answer))


def read_fault(answer: Answer, *, of_video: bool) -> GenviralFault:
    """What an unusable answer to a GET means.

    Only a person can mend the account, and a rate limit passes; all else is "look again later", because a refused look
    must never be the end of a paid job.

    Args:
        answer: The vendor's answer.
        of_video: Whether the look was at a video, which has been paid for, or at something free.
    """
    paid = Paid.YES if of_video else Paid.NO
    if of_video and (answer.status == HTTPStatus.NOT_FOUND or answer.error_code == VideoNotFound.code):
        return answer.fault(VideoNotFound, f"Genviral does not know the video (HTTP {answer.status})", paid=paid)
    kind = _refusal(answer)
    if not issubclass(kind, AccountFault | RateLimited):
        kind = GenviralUnavailable
    return answer.fault(kind, f"Genviral gave no usable answer (HTTP {answer.status})", paid=paid)


def seconds_of(retry_after: str | None) -> float | None:
    """A `Retry-After` header (RFC 9110 section 10.2.3: seconds or a date) in seconds from now, at most an hour."""
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _refusal(answer: Answer) -> type[GenviralFault]:
    """The class of a refusal: by `error_code` if it is known, else by status; but a 401 is always about the key."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return AuthenticationFailed
    code = answer.error_code
    if code in _FAULT_OF_CODE:
        return _FAULT_OF_CODE[code]
    kind = _FAULT_OF_STATUS.get(answer.status, RequestRejected)
    # A 400 or 422 with a code of its own is not what the documented code says.
    return RequestRejected if code and issubclass(kind, RequestRefused) else kind


def _why_uncertain(answer: Answer) -> str:
    if answer.status < 300:
        reason = f"Genviral answered HTTP {answer.status} without confirming a video"
    elif answer.status < 400:
        reason = f"Genviral answered with a redirect (HTTP {answer.status}), which is not followed; check the base URL"
    elif answer.status < 500:
        reason = f"Genviral refused and accepted the request in one answer (HTTP {answer.status})"
    else:
        reason = f"Genviral failed (HTTP {answer.status}) without saying whether it had started the video"
    video_id = answer.shown(answer.data.get("video_id"))
    return f"{reason}; it names video {video_id}" if video_id and _SHOWABLE_ID.fullmatch(video_id) else reason


def _model(entry: dict[str, Any], model_id: str) -> Model:
    inputs = _object(entry.get("inputs"))
    name, provider = entry.get("name"), entry.get("provider")
    return Model(
        id=model_id,
        name=name if isinstance(name, str) and name else model_id,
        provider=provider if isinstance(provider, str) else None,
        default_cost=_number(_object(entry.get("credits")).get("default_cost")),
        required=_strings(inputs.get("required")),
        optional=_strings(inputs.get("optional")),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _id(value: object) -> str | None:
    usable = isinstance(value, str) and 0 < len(value) <= _MAX_ID and value.isprintable() and not value.isspace()
    return value if isinstance(value, str) and usable else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _web_address(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme in ("http", "https") and parts.hostname else None
