"""Read the vendor's answers into typed values, or into named errors where they are outside the contract.

An error is classified by `error_code` first and by HTTP status second. Every text of the vendor is redacted before it
is shown.

An answer to the paid POST that the contract does not describe counts as "may have been paid", unless the vendor denies
it: a 2xx without `ok: true` and a video id, any redirect, a 4xx or 5xx with `ok: true` or a video id, and a 5xx without
a known cause in a valid envelope (a crash after the charge looks the same). A 402 or 403 without the envelope counts,
too: it comes from something in front of Genviral, such as a firewall. Most firewalls block a request before the vendor
sees it, but some block the vendor's answer, and then the job is paid for.
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
from shared.genviral import ids, partial_json
from shared.genviral.errors import (
    TABLE,
    AccountFault,
    AuthenticationFailed,
    Call,
    GenviralFault,
    GenviralUnavailable,
    InvalidJson,
    RateLimited,
    RequestRefused,
    RequestRejected,
    SubmissionUncertain,
    VideoNotFound,
)
from shared.genviral.ids import NamedId, id_of
from shared.genviral.redaction import holds_private, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_BODY_BYTES = 1 << 24
"""Bytes of an answer that are read."""
BLANK = "(blank)"
"""Shown for a status that is present but empty."""
MAX_RETRY_AFTER = 3_600.0
"""In seconds; a longer `Retry-After` is reduced to this."""

_MAX_ISSUES = 20
_MAX_WORD = 100
_MAX_PARTS = 20
_MAX_DEPTH = 8
_MAX_IDS, _MAX_FURTHER_ID = 5, 100
_ACCEPTED = frozenset({200, 201, 202})
# Something in front of the vendor may also send these: a firewall, or a host whose customer has not paid.
_FOREIGN = frozenset({HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN})
# The server may have received the request: it timed out while reading, or is still processing the same key.
_MAYBE_RECEIVED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_MAX_TEXT_BYTES = 4096
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")

# The members to read of an answer, with the longest JSON text of each, in characters.
_VALUE, _LIST = 1 << 16, 1 << 20
# Members that may hold a reason; the one for people first.
_MESSAGES = ("message", "error", "detail", "errors", "msg", "reason", "description", "title")
# Members that may hold the reason of a failed video.
_FAILURES = ("error", "failure_reason", "failureReason", "fail_reason", "error_message", "errorMessage", *_MESSAGES)
# Texts that describe the answer itself and not the video.
_ANSWERED = re.compile(r"\s*(?:ok|done)\W*|.*\b(?:success|retrieved|fetched|found\b)", re.IGNORECASE | re.DOTALL)
_NAMED = {**dict.fromkeys((*_FAILURES, "code"), _VALUE), **ids.members(_VALUE)}
_MEMBERS: dict[str, Any] = {
    **_NAMED,
    **dict.fromkeys(("ok", "error_code", "issues", "action_url", "remediation_hint"), _VALUE),
    "data": {
        **_NAMED,
        **dict.fromkeys(("provider", "model_id", "status", "output_url", "credits_used"), _VALUE),
        "models": _LIST,
    },
}
# Members that may hold the text of a reason or a link that is an object.
_REASONS = ("message", "detail", "msg", "reason", "description", "title", "error")
_LINKS = ("url", "href", "video")

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
        credits_used: What it cost in the vendor's credits, if the answer has it.
        status: The vendor's word for the video's status, normally `processing`.
        model_id: The vendor's id of the model that was used.
    """

    video_id: str
    credits_used: float | None = None
    status: str = "processing"
    model_id: str | None = None


@dataclass(frozen=True, slots=True)
class Video:
    """The result of a poll.

    Attributes:
        video_id: The requested id, in the answer's spelling.
        status: `processing` also for unknown words, and for a success without a link.
        raw_status: The vendor's own word, redacted. At most 100 characters.
        output_url: Link to the file, if it succeeded. May be any text; the delivery validates it. A bearer credential:
            not for logs, states or notifications.
        error: The vendor's reason for a failure or beside an unknown status, redacted.
        credits_used: What it cost in the vendor's credits, if the answer has it.
    """

    video_id: str
    status: Literal["processing", "succeeded", "failed"]
    raw_status: str
    output_url: str | None = field(default=None, repr=False)
    error: str | None = None
    credits_used: float | None = None

    @property
    def other_word(self) -> str | None:
        """The vendor's own word, if `status` is `processing` instead of it."""
        return self.raw_status if self.status == "processing" != _word(self.raw_status) else None

    @property
    def lacks_link(self) -> bool:
        """Whether the vendor reports a finished video without a link."""
        return self.status == "processing" and _word(self.raw_status) == "succeeded"


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter that a model takes, as far as the vendor describes it.

    Attributes:
        name: Its name in `params`.
        type: The vendor's word, such as `number`.
        options: The values that it may have; none where any is possible.
        default: Its value where none is given.
        minimum: The least number.
        maximum: The largest number.
    """

    name: str
    type: str | None = None
    options: tuple[str | float, ...] = ()
    default: str | float | bool | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """An available model.

    Attributes:
        id: The `model_id` for requests.
        name: Its display name; the id if the vendor gives none.
        provider: The company that runs it.
        default_cost: The usual price in credits.
        required: The inputs that it needs.
        optional: The other inputs that it accepts.
        params: The parameters that it takes.
    """

    id: str
    name: str
    provider: str | None = None
    default_cost: float | None = None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the vendor, before it is classified.

    Attributes:
        status: The HTTP status.
        envelope: The wanted members of the JSON object in the body; empty without one.
        text: The body's beginning, if it is plain text or JSON without an object.
        is_whole: Whether the object was read to its end, or as far as needed. If not, the answer broke off or is too
            long.
        is_too_long: Whether it is longer than the limit.
        retry_after: Seconds to wait, if the vendor gives them.
        private: Texts that must not appear in any text from this answer.
        ids: The ids in it, the most likely video id first; none that contains private text.
    """

    status: int
    envelope: dict[str, Any] = field(repr=False)
    is_whole: bool = True
    retry_after: float | None = None
    private: tuple[str, ...] = field(default=(), repr=False)
    text: str = field(default="", repr=False)
    ids: tuple[NamedId, ...] = ()
    is_too_long: bool = False

    @classmethod
    def of(
        cls,
        status: int,
        body: Iterable[bytes],
        *,
        retry_after: str | None,
        private: Iterable[str],
        enough: Callable[[dict[str, Any]], bool] = lambda _: False,
    ) -> Answer:
        """Read an answer as far as needed. Never fails.

        Args:
            status: The HTTP status.
            body: The body in pieces, which may break off.
            retry_after: The `Retry-After` header.
            private: Texts that must not appear in any text from the answer.
            enough: Whether the members read so far are enough.
        """
        head, size = bytearray(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in body:
                size += len(piece)
                head.extend(piece[: _MAX_TEXT_BYTES - len(head)])
                yield piece

        envelope, is_whole = partial_json.read(counted(), _MEMBERS, enough=enough)
        text = "" if envelope else _plain_text(bytes(head))
        private = tuple(private)
        named = tuple(named for named in ids.named_ids(envelope) if not holds_private(named.text, private))
        too_long = not is_whole and size >= MAX_BODY_BYTES
        return cls(status, envelope, is_whole, seconds_of(retry_after), private, text, named, too_long)

    @property
    def accepted(self) -> bool:
        return self.status in _ACCEPTED and self.is_whole and self.envelope.get("ok") is True

    @property
    def refuses_key(self) -> bool:
        return self.status == HTTPStatus.UNAUTHORIZED and self.refuses

    @property
    def refuses(self) -> bool:
        """Whether it is a refusal without any sign that a video was started."""
        return self.envelope.get("ok") is not True and self.named_video is None

    @property
    def data(self) -> dict[str, Any]:
        return _object(self.envelope.get("data"))

    @property
    def error_code(self) -> str | None:
        code = _word(self.envelope.get("error_code")) or ""
        return code if _CODE.fullmatch(code) and self.shown(code) == code else None

    @property
    def named_video(self) -> str | None:
        """The id that the answer calls a video's, even in a refusal."""
        return next((named.text for named in self.ids if named.name == "video"), None)

    @property
    def possible_video(self) -> str | None:
        """The possible id of the video: any id except a request's or an event's, even in a refusal."""
        return next((named.text for named in self.ids if named.may_be_video), None)

    @property
    def is_foreign(self) -> bool:
        """Whether a refusal may come from something in front of the vendor."""
        own = self.envelope.get("ok") is False or self.error_code in _FAULT_OF_CODE
        return self.status in _FOREIGN and not own

    def shown(self, value: object) -> str | None:
        """Redact a text of the answer."""
        return (redact(value, self.private) or None) if isinstance(value, str) else None

    def reason(self, value: object) -> str | None:
        """Redact a reason in the answer, which may be a text, an object or a list."""
        return self.shown(_reason_in(value))

    def fault(self, kind: type[GenviralFault], message: str, *, paid: Paid | None = None) -> GenviralFault:
        """Return the error with the vendor's own message, redacted."""
        given = (self.reason(part.get(name)) for part in (self.envelope, self.data) for name in _MESSAGES)
        first = next(filter(None, given), None) or self.shown(self.text) or self._unknown_code
        texts = [text for text in (first, self.reason(self._hint)) if text]
        said = " ".join(text if text is texts[-1] or text[-1] in ".!?" else f"{text}." for text in texts)
        fault = kind(
            f"{message}: {said}" if said else f"{message}.",
            http_status=self.status,
            error_code=self.error_code,
            action_url=self._action_url(),
            issues=self._issues(),
            retry_after=self.retry_after,
            paid=paid,
        )
        if isinstance(fault, SubmissionUncertain):
            fault.video_id = self.possible_video
        return fault

    @property
    def _unknown_code(self) -> str | None:
        """The vendor's own code for what happened, if it is not in the table."""
        code = self.envelope.get("code")
        word = self.error_code or (self.shown(code) if isinstance(code, str) and not code.isdecimal() else None)
        return None if word in _FAULT_OF_CODE else word

    @property
    def _hint(self) -> object:
        return self.envelope.get("remediation_hint")

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
    """Return the video that the vendor accepted.

    Raises:
        GenviralFault: The vendor refused, or the outcome is unknown.
    """
    data = answer.data
    video_id = id_of(data.get("video_id"))
    if not answer.accepted or video_id is None:
        raise submission_fault(answer)
    return Generation(
        video_id=video_id,
        credits_used=_number(data.get("credits_used")),
        status=answer.shown(data.get("status")) or "processing",
        model_id=answer.shown(data.get("model_id")),
    )


def video_in(answer: Answer, video_id: str) -> Video:
    """Return the video's current state.

    Raises:
        GenviralFault: The answer has none.
    """
    data = answer.data
    status = _status_in(data)
    if not answer.accepted or status is None:
        raise read_fault(answer, of_video=True)
    output_url = _link_in(data.get("output_url"))
    named = id_of(data.get("video_id"))
    return Video(
        video_id=named if named is not None and named.casefold() == video_id.casefold() else video_id,
        status=status,
        raw_status=_bounded(answer.shown(_status_text(data)) or BLANK),
        output_url=output_url if status == "succeeded" else None,
        error=_failure_in(answer) if status == "failed" or _is_unknown(data) else None,
        credits_used=_number(data.get("credits_used")),
    )


def _status_in(data: dict[str, Any]) -> Literal["processing", "succeeded", "failed"] | None:
    """Return a video's status, or `None` if the data is unusable.

    The status is normally a word. Without one, or with only a number, a web link is enough for a success. A reason is
    not enough for a failure, because a paid job must not end on so little.
    """
    word, link = _word(_status_text(data)) or "", _link_in(data.get("output_url"))
    has_word = any(letter.isalpha() for letter in word)
    if word == "failed":
        return "failed"
    if link and (word == "succeeded" or (not has_word and link.lower().startswith(("https://", "http://")))):
        return "succeeded"
    return "processing" if word or isinstance(data.get("status"), str) else None


def _is_unknown(data: dict[str, Any]) -> bool:
    return _word(_status_text(data)) not in ("processing", "succeeded", "failed")


def _failure_in(answer: Answer) -> str | None:
    """Return the redacted reason of a failure, from the data or else from the envelope."""
    said = next(filter(None, (answer.reason(answer.data.get(name)) for name in _FAILURES)), None)
    if said or _word(_status_text(answer.data)) != "failed":
        return said
    beside = (answer.reason(answer.envelope.get(name)) for name in _FAILURES)
    return next((text for text in beside if text and not _ANSWERED.match(text)), None)


def _status_text(data: dict[str, Any]) -> str:
    """Return the status as a text, even if it is a number or inside a list or an object."""
    return _reason_in(data.get("status"))


def is_enough_of_video(envelope: dict[str, Any]) -> bool:
    """Whether enough of a poll's answer was read. The rest may be the request and megabytes of logs."""
    data = _object(envelope.get("data"))
    status = _status_in(data)
    if status is None or "status" not in data or envelope.get("ok") is not True:
        return False
    if _word(_status_text(data)) == "succeeded":
        return status == "succeeded"
    return status != "failed" or bool(_reason_in(data.get("error")))


def models_in(answer: Answer) -> list[Model]:
    """Return the models in the answer; entries without an id are skipped.

    Raises:
        GenviralFault: The answer has no list.
    """
    entries = answer.data.get("models")
    if not answer.accepted or not isinstance(entries, list):
        raise read_fault(answer, of_video=False)
    return [_model(entry, model_id) for entry in map(_object, entries) if (model_id := id_of(entry.get("id")))]


def submission_fault(answer: Answer) -> GenviralFault:
    """Return the error for an answer to the paid POST that does not confirm a video."""
    if answer.refuses and 400 <= answer.status < 500 and not answer.is_foreign:
        kind = _refusal(answer)
        if kind is not RequestRejected or answer.status not in _MAYBE_RECEIVED:
            return answer.fault(kind, f"Genviral refused the request (HTTP {answer.status})")
    code = answer.error_code
    if answer.status >= 500 and code in _FAULT_OF_CODE and _says_it_failed(answer):
        return answer.fault(_FAULT_OF_CODE[code], f"Genviral could not start the video (HTTP {answer.status})")
    return answer.fault(SubmissionUncertain, _why_uncertain(answer))


def _says_it_failed(answer: Answer) -> bool:
    """Whether the vendor's 5xx itself reports that nothing was started or charged."""
    charged = _number(answer.data.get("credits_used"))
    return answer.refuses and answer.envelope.get("ok") is False and not charged


def read_fault(answer: Answer, *, of_video: bool) -> GenviralFault:
    """Return the error for an unusable answer to a GET.

    An account error needs a person, and a rate limit is temporary. Everything else means "poll again later", because a
    refused poll must never end a paid job.

    Args:
        answer: The vendor's answer.
        of_video: Whether the GET was for a video, which has been paid for.
    """
    paid = Paid.YES if of_video else Paid.NO
    if of_video and (answer.status == HTTPStatus.NOT_FOUND or answer.error_code == VideoNotFound.code):
        return answer.fault(VideoNotFound, f"Genviral does not know the video (HTTP {answer.status})", paid=paid)
    kind = _refusal(answer)
    if answer.is_foreign or not issubclass(kind, AccountFault | RateLimited):
        kind = GenviralUnavailable
    return answer.fault(kind, f"Genviral {_shortcoming(answer, kind)} (HTTP {answer.status})", paid=paid)


def _shortcoming(answer: Answer, kind: type[GenviralFault]) -> str:
    """Describe what Genviral did instead of returning the video or the list."""
    if kind is not GenviralUnavailable:
        return "refused to answer"
    if answer.is_too_long:
        return f"gave no usable answer in {MAX_BODY_BYTES >> 20} MiB, and no more is read"
    return "gave no usable answer" if answer.is_whole or not answer.envelope else "broke off its answer"


def seconds_of(retry_after: str | None) -> float | None:
    """Convert `Retry-After` (RFC 9110 section 10.2.3: seconds or a date) to seconds from now, at most an hour."""
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _refusal(answer: Answer) -> type[GenviralFault]:
    """Return the class of a refusal: by a known `error_code`, else by status. A 401 is always about the key."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return AuthenticationFailed
    code = answer.error_code
    if code in _FAULT_OF_CODE:
        return _FAULT_OF_CODE[code]
    kind = _FAULT_OF_STATUS.get(answer.status, RequestRejected)
    # A 422 with an unknown code is not the documented error. A 400 without a known code is never about the JSON,
    # because this client sends no broken JSON.
    if kind is InvalidJson or (code and issubclass(kind, RequestRefused)):
        return RequestRejected
    return kind


def _why_uncertain(answer: Answer) -> str:
    if answer.status < 300:
        reason = f"Genviral answered HTTP {answer.status} without confirming a video"
    elif answer.status < 400:
        reason = f"Genviral answered with a redirect (HTTP {answer.status}), which is not followed; check the base URL"
    elif answer.refuses and answer.status in _MAYBE_RECEIVED:
        reason = f"Genviral refused the request (HTTP {answer.status}), but may have taken it before"
    elif answer.refuses and answer.is_foreign:
        reason = f"something in front of Genviral, such as a firewall, refused the request (HTTP {answer.status})"
    elif answer.status < 500:
        reason = f"Genviral refused and accepted the request in one answer (HTTP {answer.status})"
    else:
        reason = f"Genviral failed (HTTP {answer.status}) without saying whether it had started the video"
    if answer.is_too_long:
        reason += f" in {MAX_BODY_BYTES >> 20} MiB; no more of the answer was read"
    elif not answer.is_whole and answer.envelope:
        reason += "; the answer broke off"
    named = [each for each in answer.ids[:_MAX_IDS] if each is answer.ids[0] or len(each.text) <= _MAX_FURTHER_ID]
    return f"{reason}; it names {', '.join(f'{each.name} {each.text}' for each in named)}" if named else reason


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
        params=tuple(_param(param, _object(facts)) for param, facts in _object(entry.get("params")).items()),
    )


def _param(name: str, facts: dict[str, Any]) -> Param:
    options, default, kind = facts.get("options"), facts.get("default"), facts.get("type")
    return Param(
        name=name,
        type=kind if isinstance(kind, str) else None,
        options=tuple(filter(_is_plain, options)) if isinstance(options, list) else (),
        default=default if _is_plain(default) else None,
        minimum=_number(facts.get("min")),
        maximum=_number(facts.get("max")),
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _word(value: object) -> str | None:
    """Return a word of the vendor's in lower case and stripped, for comparisons."""
    return value.strip().lower() if isinstance(value, str) else None


def _plain_text(body: bytes) -> str:
    """Return a body as readable text; empty if it is markup or no text. A truncated character at its end is dropped."""
    try:
        text = body.decode("utf-8-sig") if len(body) < _MAX_TEXT_BYTES else body.decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        return ""
    if text.lstrip().startswith("<") or "\0" in text:
        return ""
    try:
        return _reason_in(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _bounded(word: str) -> str:
    return word if len(word) <= _MAX_WORD else f"{word[: _MAX_WORD - 1]}…"


def _reason_in(value: object, depth: int = _MAX_DEPTH) -> str:
    """Return a reason as one text: the usual members and the code after them, else all texts in it."""
    match value:
        case str() if depth and value.lstrip()[:1] in ("{", "["):
            return _reason_in_json(value, depth - 1) or value
        case str():
            return value
        case bool() | None:
            return ""
        case int() | float():
            return str(value)
        case list() if depth:
            return _joined(_reason_in(item, depth - 1) for item in value[:_MAX_PARTS])
        case dict() if depth:
            said = _joined(_reason_in(value.get(name), depth - 1) for name in _REASONS)
            code = _reason_in(value.get("code"), depth - 1)
            if said and code:
                return f"{said} ({code})"
            return said or code or _joined(_reason_in(item, depth - 1) for item in [*value.values()][:_MAX_PARTS])
    return ""


def _reason_in_json(text: str, depth: int) -> str:
    """Return the reason in a JSON text; empty if it is not JSON."""
    try:
        return _reason_in(json.loads(text), depth)
    except (ValueError, RecursionError):
        return ""


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text.strip()))


def _link_in(value: object, depth: int = _MAX_DEPTH) -> str | None:
    """Return the vendor's link, which the delivery validates later; `None` if there is none yet."""
    match value:
        case None | False:
            return None
        case str():
            text = value.strip()
            # The only relative form that is unambiguous: the scheme is that of the API.
            return f"https:{text}" if text.startswith("//") else text or None
        case list() if depth:
            return next((link for item in value if (link := _link_in(item, depth - 1))), None)
        case dict() if depth:
            return _link_in([value[name] for name in _LINKS if name in value] or [*value.values()], depth - 1)
        case list() | dict():
            return None
    return str(value)


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
