"""Validate the body of the vendor's generate call before it costs anything.

Checks every field of `POST /studio/videos/generate` as the vendor documents it. An error never repeats a value of the
body. The vendor itself checks what it does not document (unknown models, which model takes which input), because its
refusal is free.

It imports pydantic, so import this module only to validate.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import to_json

from shared.genviral.errors import InvalidPayload
from shared.genviral.redaction import one_line
from shared.printable import IGNORABLE, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

MAX_REFERENCE_IMAGES = 9
MAX_REFERENCE_VIDEOS = 3
MAX_REFERENCE_AUDIOS = 3

# The vendor documents no lengths. These only exclude obvious mistakes: a presigned URL has about 2,000 characters.
_MAX_TEXT = 20_000
_MAX_URL = 8_192
_MAX_WORD = 200
_MAX_RAW_PARAMS = 65_536
_MAX_NESTING = 32
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_STEPS = bytes.maketrans(b"{[]}", b"\x01\x01\xff\xff")  # as signed bytes: 1 and -1
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_MAX_NUMBER = 1_000_000
_MAX_PATH = 100
_MAX_ISSUES = 20

_WORDS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a JSON object",
    "extra_forbidden": "is not a known field",
    "list_type": "must be a list",
    "missing": "is required",
    "model_type": "must be a JSON object",
    "string_too_short": "must not be blank",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a text",
    "string_unicode": "must be a text of valid characters",
    "too_long": "must have at most {max_length} entries",
}
# These could change what a terminal or a page shows: control characters, marks that change the writing direction, and
# invisible characters. The tags beyond U+FFFF are left out, because JavaScript's patterns need a flag for them.
_CONTROLS = rf"\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb{IGNORABLE}"
_CONTROL = re.compile(rf"[{_CONTROLS}]|{UNSEEN}")
# Prose has lines, may be written from right to left, and may have joiners in emoji. Other control characters come from
# a damaged file or a wrong encoding, and would be paid for.
_CONTROLS_OF_TEXT = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_CONTROL_OF_TEXT = re.compile(f"[{_CONTROLS_OF_TEXT}]")
_M = TypeVar("_M", bound=BaseModel)
_PROMPT_DRIVEN = re.compile(r"(openai/sora-2|google/veo-3)(-pro|-fast)?")
_SEEDANCE = "bytedance/seedance"
_SPEECH = ("speech_text", "voice_id")
# The vendor requires "at least one image or video reference". It does not say whether `image_url` and `video_url`
# count, so they do: the vendor refuses for free, and a refusal here would be final.
_VISIBLE = ("reference_image_urls", "reference_video_urls", "image_url", "video_url")


def _web_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("must be an absolute http or https URL")
    return url


def _word(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if has_controls(text):
        raise ValueError("must not contain control characters")
    return text


def _text(text: str) -> str:
    if _CONTROL_OF_TEXT.search(text):
        raise ValueError("must not contain control characters other than tabs and line ends")
    return text


def has_controls(text: str) -> bool:
    """Whether a short text could change how a terminal or a page shows the text around it."""
    return _CONTROL.search(text) is not None


def _positive_number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic lists ValueErrors, and lets a TypeError through
    if not 0 < value <= _MAX_NUMBER:
        raise ValueError("must be a positive number")
    return value


def _json_object(value: dict[str, Any]) -> dict[str, Any]:
    if _is_surely_small_json(value):
        return value
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, check_circular=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must contain only JSON") from None
    if len(text) > _MAX_RAW_PARAMS:
        raise ValueError(f"must be at most {_MAX_RAW_PARAMS} bytes of JSON")
    if _is_deeper(text, _MAX_NESTING):  # Python's own limit differs between versions
        raise ValueError(f"must be nested at most {_MAX_NESTING} levels deep")
    return value


def _is_surely_small_json(value: dict[str, Any]) -> bool:
    """Whether a value is surely JSON within the limits. pydantic's encoder is several times as fast as Python's."""
    try:
        text = to_json(value)
    except ValueError:  # a lone surrogate, or endless nesting
        return False
    # Python's text also has spaces between members, and `e+16` and `e-05` for `e16` and `e-5`.
    size = len(text) + text.count(b",") + text.count(b":") + text.count(b"e")
    if size > _MAX_RAW_PARAMS or b"NaN" in text or b"Infinity" in text:
        return False
    return text.count(b"[") + text.count(b"{") <= _MAX_NESTING or not _is_deeper(text, _MAX_NESTING)


def _is_deeper(text: bytes, levels: int) -> bool:
    """Whether a JSON text is nested deeper than this. Fast even if most of the text is brackets."""
    without_empty = _JSON_STRING.sub(b"0", text).replace(b"[]", b"").replace(b"{}", b"")
    steps = memoryview(without_empty.translate(_STEPS, delete=_NO_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > levels


Text = Annotated[
    str,
    Field(max_length=_MAX_TEXT, json_schema_extra={"pattern": f"^[^{_CONTROLS_OF_TEXT}]*$"}),
    AfterValidator(_text),
]
# The patterns describe the API to callers: the validators accept all that they allow. Of links, the validators accept
# more: other scripts, which format "uri" excludes, and IP addresses in brackets.
_PORT = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
_NAME = r"[0-9A-Za-z._~%!$&'()*+,;=-]"
_URL_PATTERN = rf"^[Hh][Tt][Tt][Pp][Ss]?://(?:(?:{_NAME}|:)*@)?{_NAME}+(?::{_PORT})?(?:[/?#][!-~]*)?$"
PATTERN_OF_NAMES = f"^[^{_CONTROLS}]*$"
"""Pattern for the names of a caller's own labels."""
Word = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MAX_WORD,
        json_schema_extra={"pattern": rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*$"},
    ),
    AfterValidator(_word),
]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MAX_URL,
        json_schema_extra={"format": "uri", "pattern": _URL_PATTERN},
    ),
    AfterValidator(_web_url),
]
Number = Annotated[
    int | float, PlainValidator(_positive_number, json_schema_input_type=Annotated[float, Field(gt=0, le=_MAX_NUMBER)])
]
JsonObject = Annotated[dict[str, Any], AfterValidator(_json_object)]


class Strict(BaseModel):
    """Base of strictly validated bodies: no unknown fields, no conversions, no value in an error."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )


class Params(Strict):
    """The vendor's normalised parameters. All other parameters of a model go into `raw_params`."""

    resolution: Word | None = None
    duration_seconds: Number | None = None
    fps: Number | None = None
    aspect_ratio: Word | None = None
    generate_audio: bool | None = None


def _schema_of(name: str) -> dict[str, Any]:
    """Return a schema that matches bodies with this field."""
    given = {"type": "array", "minItems": 1} if name.endswith("s") else {"type": "string"}
    return {"required": [name], "properties": {name: given}}


def _schema_of_models(pattern: str) -> dict[str, Any]:
    return {"required": ["model_id"], "properties": {"model_id": {"pattern": pattern}}}


# The rules of `_contradictions`, for the OpenAPI document.
_CONSISTENT: list[dict[str, Any]] = [
    {
        "if": _schema_of_models(f"^{_PROMPT_DRIVEN.pattern}$"),
        "then": {"properties": {name: {"type": "null"} for name in _SPEECH}},
    },
    {
        "if": {
            "anyOf": [
                _schema_of("reference_audio_urls"),
                {"allOf": [_schema_of("audio_url"), _schema_of_models(f"^{_SEEDANCE}")]},
            ]
        },
        "then": {"anyOf": [_schema_of(name) for name in _VISIBLE]},
    },
]


class GenerateRequest(Strict):
    """One request for a video. A null field counts as absent. URLs are sent exactly as they are."""

    model_config = ConfigDict(json_schema_extra={"allOf": _CONSISTENT})  # type: ignore[dict-item]

    model_id: Word
    prompt: Text | None = None
    speech_text: Text | None = None
    voice_id: Word | None = None
    image_url: Url | None = None
    video_url: Url | None = None
    audio_url: Url | None = None
    reference_image_urls: Annotated[list[Url], Field(max_length=MAX_REFERENCE_IMAGES)] | None = None
    reference_video_urls: Annotated[list[Url], Field(max_length=MAX_REFERENCE_VIDEOS)] | None = None
    reference_audio_urls: Annotated[list[Url], Field(max_length=MAX_REFERENCE_AUDIOS)] | None = None
    negative_prompt: Text | None = None
    params: Params | None = None
    raw_params: JsonObject | None = None

    def to_body(self) -> dict[str, Any]:
        """Return the request body: the given fields without nulls. `raw_params` stays unchanged."""
        body = self.model_dump(exclude_none=True, exclude={"raw_params"})
        return body if self.raw_params is None else {**body, "raw_params": self.raw_params}


def parse_generate(body: object) -> GenerateRequest:
    """Validate a generate body.

    Args:
        body: The body of a caller or a recipe, as parsed JSON.

    Raises:
        InvalidPayload: It is not valid. It has one issue for each error, and none repeats a value.
    """
    request = validated(GenerateRequest, body)
    if issues := tuple(_contradictions(request)):
        raise _invalid(issues)
    return request


def validated(model: type[_M], body: object) -> _M:
    """Validate a body by its model only.

    Raises:
        InvalidPayload: It is not valid. It has one issue for each wrong field.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        issues = tuple(
            {"path": _path(detail["loc"]), "message": _message(detail)}
            for detail in error.errors(include_url=False, include_input=False)[:_MAX_ISSUES]
        )
    raise _invalid(issues)


def _invalid(issues: tuple[dict[str, str], ...]) -> InvalidPayload:
    first = f"{issues[0]['path'] or 'the body'}: {issues[0]['message']}"
    return InvalidPayload(f"The request is not valid. {first}.", issues=issues)


def _contradictions(request: GenerateRequest) -> Iterator[dict[str, str]]:
    """Yield errors between several fields."""
    if _PROMPT_DRIVEN.fullmatch(request.model_id):
        for name in _SPEECH:
            if getattr(request, name) is not None:
                yield {"path": name, "message": "is not accepted by this model; put the dialogue into the prompt"}
    if any(getattr(request, name) for name in _VISIBLE):
        return
    if request.reference_audio_urls:
        yield {"path": "reference_audio_urls", "message": "needs at least one image or video reference"}
    if request.audio_url and request.model_id.startswith(_SEEDANCE):
        yield {"path": "audio_url", "message": "needs at least one image or video reference with this model"}


def _path(location: tuple[int | str, ...]) -> str:
    return one_line(".".join(map(str, location)))[:_MAX_PATH]


def _message(detail: ErrorDetails) -> str:
    words = _WORDS.get(detail["type"])
    return words.format(**detail.get("ctx", {})) if words else detail["msg"].removeprefix("Value error, ")
