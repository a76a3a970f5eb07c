"""Test the checks before the paid request: the seed's fields, limits and contradictions, without repeating a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.genviral.errors import InvalidPayload
from shared.genviral.models import parse_generate
from shared.printable import in_line, json_text, visible

URL = "https://example.com/product.jpg?X-Amz-Signature=a%2Fb#Frag"
FULL: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "Cinematic product reveal",
    "speech_text": "Hello",
    "voice_id": "george",
    "image_url": URL,
    "video_url": "http://EXAMPLE.com:80/../a.mp4",
    "audio_url": URL,
    "reference_image_urls": [URL] * 9,
    "reference_video_urls": [URL] * 3,
    "reference_audio_urls": [URL] * 3,
    "negative_prompt": "blur",
    "params": {
        "resolution": "720p",
        "duration_seconds": 5,
        "fps": 23.976,
        "aspect_ratio": "9:16",
        "generate_audio": True,
    },
    "raw_params": {"seed": 7, "camera": {"fixed": None}},
}


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([1, None, "[", "]]{", '\\"[', [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab[]{}"\\', max_size=3), inner, max_size=3),
    max_leaves=12,
)


def levels_of(value: Any) -> int:
    """Return how many levels of members a value has. Empty lists and objects have none."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(levels_of, members)) if members else 0


@given(value=_VALUES, more=st.integers(0, 30))
def test_raw_params_may_be_nested_to_a_limit_whatever_their_texts_hold(value: Any, more: int) -> None:
    for _ in range(more):
        value = [value]
    body = {"model_id": "made-up/model", "raw_params": {"a": value}}
    if levels_of({"a": value}) <= 32:
        assert parse_generate(body).raw_params == {"a": value}
    else:
        assert issues_of(body) == {"raw_params": "must be nested at most 32 levels deep"}


def issues_of(body: object) -> dict[str, str]:
    with pytest.raises(InvalidPayload) as caught:
        parse_generate(body)
    return {issue["path"]: issue["message"] for issue in caught.value.issues}


def test_every_documented_field_reaches_the_wire_exactly_as_given() -> None:
    assert json.dumps(parse_generate(FULL).to_body()) == json.dumps(FULL)


def test_nulls_and_absent_fields_are_not_sent() -> None:
    body = {"model_id": "any/unknown-model", "prompt": None, "params": {"fps": None, "resolution": "720p"}}
    assert parse_generate(body).to_body() == {"model_id": "any/unknown-model", "params": {"resolution": "720p"}}


# They count as letters, marks or symbols, and are invisible.
EMPTY_SIGNS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2800\u3164\ufe00\ufe0f\uffa0\U0001d173\U000e0100"


@pytest.mark.parametrize("text", ["❤\ufe0f", "1\ufe0f\u20e3", "☎\ufe0e", "™\ufe0f", "🕊\ufe0f"])
def test_emoji_keep_their_variation_selector(text: str) -> None:
    assert parse_generate({"model_id": text, "prompt": text}).to_body() == {"model_id": text, "prompt": text}
    assert visible(text) == in_line(text) == text
    assert json_text(text) == f'"{text}"'


@pytest.mark.parametrize("sign", EMPTY_SIGNS)
def test_what_shows_nothing_is_escaped_where_it_is_shown(sign: str) -> None:
    assert visible(f"a{sign}b") == f"a{sign.encode('unicode_escape').decode()}b"
    assert json_text(f"a{sign}b").isascii()
    assert json.loads(json_text(f"a{sign}b")) == f"a{sign}b"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"promt": "typo"}, "promt"),
        ({"params": {"seed": 1}}, "params.seed"),
        ({"params": []}, "params"),
        ({"params": {"duration_seconds": "5"}}, "params.duration_seconds"),
        ({"params": {"duration_seconds": True}}, "params.duration_seconds"),
        ({"params": {"duration_seconds": 0}}, "params.duration_seconds"),
        ({"params": {"fps": float("nan")}}, "params.fps"),
        ({"params": {"fps": float("inf")}}, "params.fps"),
        ({"params": {"fps": 10**400}}, "params.fps"),
        ({"params": {"generate_audio": 1}}, "params.generate_audio"),
        ({"params": {"aspect_ratio": 1.5}}, "params.aspect_ratio"),
        ({"raw_params": [1]}, "raw_params"),
        ({"raw_params": {"scale": float("nan")}}, "raw_params"),
        ({"raw_params": {"text": "\ud800"}}, "raw_params"),
        ({"model_id": " "}, "model_id"),
        *(({"model_id": f"m{sign}"}, "model_id") for sign in EMPTY_SIGNS),
        ({"model_id": 7}, "model_id"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": "x" * 20_001}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"image_url": "s3://bucket/key"}, "image_url"),
        ({"image_url": "/shoe.jpg"}, "image_url"),
        ({"image_url": "https:///shoe.jpg"}, "image_url"),
        ({"image_url": "https://example.com/a b.jpg"}, "image_url"),
        ({"image_url": "https://example.com/a\n.jpg"}, "image_url"),
        ({"image_url": "https://example.com:0/a.jpg"}, "image_url"),
        ({"image_url": "https://example.com/" + "a" * 8_192}, "image_url"),
        ({"reference_image_urls": URL}, "reference_image_urls"),
        ({"reference_image_urls": [URL] * 10}, "reference_image_urls"),
        ({"reference_video_urls": [URL] * 4}, "reference_video_urls"),
        ({"reference_audio_urls": [URL] * 4}, "reference_audio_urls"),
        ({"reference_image_urls": [URL, "ftp://example.com/x"]}, "reference_image_urls.1"),
        ({"reference_image_urls": [None]}, "reference_image_urls.0"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    assert set(issues_of({**FULL, **change})) == {path}


def test_everything_wrong_is_reported_at_once() -> None:
    assert set(issues_of({"prompt": 1, "params": {"fps": "24"}, "extra": 1})) == {
        "model_id",
        "prompt",
        "params.fps",
        "extra",
    }


@pytest.mark.parametrize("body", [None, [], "text", 7, b"{}"])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    assert issues_of(body) == {"": "must be a JSON object"}


@pytest.mark.parametrize("suffix", ["", "-pro", "-fast"])
@pytest.mark.parametrize("model", ["openai/sora-2", "google/veo-3"])
def test_prompt_driven_models_refuse_speech(model: str, suffix: str) -> None:
    body = {"model_id": model + suffix, "speech_text": "Hello", "voice_id": "george"}
    assert set(issues_of(body)) == {"speech_text", "voice_id"}


@pytest.mark.parametrize("model", ["veed/fabric-1.0", "openai/sora-3", "google/veo-3.1"])
def test_other_models_are_left_to_the_vendor(model: str) -> None:
    parse_generate({"model_id": model, "speech_text": "Hello", "voice_id": "george", "audio_url": URL})


@pytest.mark.parametrize("sound", [{"reference_audio_urls": [URL]}, {"audio_url": URL}])
def test_sound_for_seedance_needs_a_picture_or_a_video(sound: dict[str, Any]) -> None:
    body = {"model_id": "bytedance/seedance-2.0", **sound}
    assert set(issues_of({**body, "reference_image_urls": []})) == set(sound)
    for reference in ("image_url", "video_url"):
        parse_generate({**body, reference: URL})
    for references in ("reference_image_urls", "reference_video_urls"):
        parse_generate({**body, references: [URL]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FULL, json_values)))
def test_any_body_is_either_good_or_named(body: dict[str, Any]) -> None:
    try:
        sent = json.dumps(parse_generate(body).to_body(), allow_nan=False)
    except InvalidPayload as fault:
        sent = None
        issues = fault.issues
    assert sent or issues


SECRET = "A secret prompt with https://bucket.example.com/x?X-Amz-Signature=abc"


@pytest.mark.parametrize("field", [name for name in FULL if name not in ("prompt", "speech_text", "negative_prompt")])
@pytest.mark.parametrize(
    "value", [SECRET + " ", [SECRET], {"a": SECRET, "b": {SECRET}}], ids=["text", "list", "object"]
)
def test_no_value_is_ever_repeated(field: str, value: object) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_generate({**FULL, field: value, "reference_audio_urls": SECRET})
    assert "secret" not in str(caught.value)
    assert "Signature" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_flood_of_mistakes_stays_short() -> None:
    assert len(issues_of({f"{number}\n{SECRET * 9}": 1 for number in range(1_000)})) <= 20
