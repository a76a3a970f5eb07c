"""Test that a mistake in a recipe, a file or a batch is answered with its cause."""

from __future__ import annotations

import json

import pytest

from shared.genviral.errors import InvalidPayload
from shared.jobs.errors import RecipeInvalid
from shared.requests import batches
from shared.requests.resolve import check_recipe


def issues_of(recipe: object) -> str:
    with pytest.raises(RecipeInvalid) as wrong:
        check_recipe(json.dumps(recipe).encode(), "shoes")
    return wrong.value.issues[0]["message"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("asset", "asset_url"),
        ("asset-url", "asset_url"),
        ("asseturl", "asset_url"),
        ("image_url", "asset_url"),
        ("Url", "asset_url"),
        ("file name", "filename"),
        ("file", "filename"),
        ("meta.style", "metadata.style"),
        ("metadta.style", "metadata.style"),
        ("tag.mood", "tags.mood"),
        ("asset.room", "assets.room"),
    ],
)
def test_a_near_placeholder_is_named(written: str, meant: str) -> None:
    recipe = {"model_id": "m/m", "prompt": "x", "reference_image_urls": [f"{{{{{written}}}}}"]}
    assert issues_of(recipe).endswith(f"is not a placeholder; did you mean {{{{{meant}}}}}?")


@pytest.mark.parametrize("written", ["nonsense", "x.y", "assets.a b", ""])
def test_nothing_is_guessed_where_nothing_is_near(written: str) -> None:
    assert issues_of({"model_id": "m/m", "prompt": f"{{{{{written}}}}}"}).endswith("is not a placeholder")


def test_broken_json_is_answered_with_its_line_and_column() -> None:
    with pytest.raises(RecipeInvalid) as wrong:
        check_recipe(b'{\n  "model_id": "m/m",\n  "prompt": "secret"\n  "params": {}\n}', "shoes")
    assert "not valid JSON: line 4, column 3: expecting ',' delimiter" in str(wrong.value)
    assert "secret" not in str(wrong.value)
    (row,) = batches.read(b'{"model_id": "m/m" "prompt": "secret"}', "batches/a.jsonl")
    assert row.fault is not None
    assert "column 20: expecting ',' delimiter" in row.fault.message
    assert "secret" not in row.fault.message


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "the sign |")])
def test_a_row_with_other_separators_than_the_header_is_told_so(sign: str, name: str) -> None:
    row = sign.join(["bytedance/seedance-2.0", "A boat", "5"])
    (read,) = batches.read(f"model_id,prompt,params.duration_seconds\n{row}\n".encode(), "batches/a.csv")
    assert isinstance(read.fault, InvalidPayload)
    assert read.fault.issues[0]["message"].startswith(f"is separated by {name}")


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
def test_a_file_with_any_one_separator_is_read(sign: str) -> None:
    lines = (sign.join(cells) for cells in (["model_id", "prompt"], ["bytedance/seedance-2.0", "A boat"]))
    (read,) = batches.read("\n".join(lines).encode(), "batches/a.csv")
    assert read.fault is None
