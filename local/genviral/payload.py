"""Validate the body of a generate request as the vendor's page describes it.

A valid body may still be refused because of its media or a lack of credits.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.genviral import errors
from local.genviral.model_list import DURATION_SECONDS, FRAMES_PER_SECOND, MAX_SIDE, MODELS, RESOLUTIONS, Model

_Url = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=8192)]
_Text = Annotated[str, Field(max_length=20_000)]

_VISUALS = ("image_url", "video_url", "reference_image_urls", "reference_video_urls")
_AUDIO = ("audio_url", "reference_audio_urls")
_SPEECH = ("speech_text", "voice_id")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Params(_Strict):
    """The five normalized parameters: duration in seconds, ratio as `W:H`."""

    resolution: str = "480p"
    duration_seconds: float = 5.0
    fps: float = 24.0
    aspect_ratio: str = Field(default="16:9", pattern=r"^[1-9]\d{0,3}:[1-9]\d{0,3}$")
    generate_audio: bool = False


class Payload(_Strict):
    """A well-formed body. An absent field has its empty value; an explicit null is refused."""

    model_id: str = Field(min_length=1)
    prompt: _Text = ""
    speech_text: _Text = ""
    voice_id: str = ""
    image_url: _Url = ""
    video_url: _Url = ""
    audio_url: _Url = ""
    reference_image_urls: list[_Url] = Field(default=[], max_length=9)
    reference_video_urls: list[_Url] = Field(default=[], max_length=3)
    reference_audio_urls: list[_Url] = Field(default=[], max_length=3)
    negative_prompt: _Text = ""
    params: Params = Params()
    raw_params: dict[str, Any] = Field(default={})

    @property
    def model(self) -> Model:
        return MODELS[self.model_id]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels: even, and with exactly the requested ratio.

        The short side is as near to the resolution as such sizes allow (9:16 at 480p is 486x864).
        """
        width, height = (int(part) for part in self.params.aspect_ratio.split(":"))
        ratio = Fraction(width, height)
        shorter = min(ratio.numerator, ratio.denominator)
        unit = 2 * max(1, round(RESOLUTIONS[self.params.resolution] / (2 * shorter)))
        return ratio.numerator * unit, ratio.denominator * unit

    def media(self) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Return every reference as (kind, path in the body, URL); the pictures come first."""
        found: list[tuple[str, tuple[str | int, ...], str]] = []
        for kind in ("image", "video", "audio"):
            if url := getattr(self, f"{kind}_url"):
                found.append((kind, (f"{kind}_url",), url))
            field = f"reference_{kind}_urls"
            found.extend((kind, (field, index), url) for index, url in enumerate(getattr(self, field)))
        return found


def read(body: bytes) -> Payload:
    """Parse a request body.

    Raises:
        Refusal: 400 `invalid_json`, or 422 `invalid_payload` with one issue per mistake.
    """
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise errors.invalid_json() from None
    try:
        payload = Payload.model_validate(document)
    except ValidationError as error:
        issues = [errors.issue(fault["loc"], fault["msg"]) for fault in error.errors(include_input=False)]
        raise errors.invalid_payload(issues) from None
    if payload.model_id not in MODELS:
        raise errors.invalid_payload([errors.issue(("model_id",), "Unsupported model_id")])
    return payload


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def check_against_model(payload: Payload) -> None:
    """Refuse fields and parameters that the model cannot use.

    Raises:
        Refusal: 422 `invalid_input`, `model_requires_image` or `model_input_not_supported`.
    """
    model = payload.model
    given = [field for field in Payload.model_fields if field not in ("model_id", "params") and getattr(payload, field)]
    for field in _SPEECH:
        if field in given and not model.takes(field):
            raise errors.invalid_input([errors.issue((field,), "Only talking-head and lipsync models take it")])
    for field in (*_VISUALS, *_AUDIO):
        if field in given and not model.takes(field):
            issue = errors.issue((field,), "This model does not take it")
            raise errors.invalid_input([issue], "model_input_not_supported")
    for field in model.required:
        if field not in given:
            code = "model_requires_image" if field == "image_url" else "invalid_input"
            raise errors.invalid_input([errors.issue((field,), "This model requires it")], code)
    for field in _AUDIO:
        if field in given and not any(visual in given for visual in _VISUALS):
            raise errors.invalid_input([errors.issue((field,), "Audio needs an image or video reference")])
    _check_params(payload)


def _check_params(payload: Payload) -> None:
    params = payload.params
    issues = []
    if params.resolution not in RESOLUTIONS:
        issues.append(errors.issue(("params", "resolution"), f"Use one of {', '.join(RESOLUTIONS)}"))
    elif max(payload.size) > MAX_SIDE:
        issues.append(errors.issue(("params", "aspect_ratio"), "Too far from a square for this resolution"))
    for field, (low, high) in {"duration_seconds": DURATION_SECONDS, "fps": FRAMES_PER_SECOND}.items():
        if not low <= getattr(params, field) <= high:
            issues.append(errors.issue(("params", field), f"Must be between {low:g} and {high:g}"))
    if issues:
        raise errors.invalid_input(issues)
