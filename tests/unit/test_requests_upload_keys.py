"""Test that a key asks for one thing or for nothing, and that the error then says what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.requests.recipes import recipe_of
from shared.requests.upload_keys import is_folder_mark, is_kept_only, meant, type_of

LIKE_SEPARATORS = "\uff0f\uff3c\ufe68\u2215\u2216\u2044\u29f8\u29f9\u29f5\u2571\u2572\xa5\uffe5\u20a9\uffe6"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("uploads/a.jpg", "upload"),
        ("uploads/shoes/a.jpg", "upload"),
        ("uploads/shoes/", "upload"),
        ("uploads/shoes//a.jpg", "upload"),
        ("uploads/pair/a.manifest.json", "upload"),
        ("uploads/shoes/red\\a%2Fb.jpg", "upload"),
        ("uploads/a%20b+c.jpg", "upload"),
        ("uploads/shoes/5¥ or AC\uff0fDC.jpg", "upload"),
        ("requests/a.json", "request"),
        ("requests/a.json/", "request"),
        ("requests/sub\\a.json", "request"),
        ("batches/a.csv", "batch"),
        ("batches/sub/a.csv", "batch"),
        ("batches/a.txt", "batch"),
        ("recipes/a.json", "recipe"),
    ],
)
def test_a_key_in_its_place_asks_for_what_the_place_is_for(key: str, kind: str) -> None:
    assert type_of(key) == kind


@pytest.mark.parametrize(
    ("key", "better"),
    [
        # Separators of another system, or encoded twice.
        ("uploads/shoes\\a.jpg", "uploads/shoes/a.jpg"),
        ("uploads\\shoes\\a.jpg", "uploads/shoes/a.jpg"),
        ("uploads/shoes%2Fa.jpg", "uploads/shoes/a.jpg"),
        ("uploads%2fshoes%5Ca.jpg", "uploads/shoes/a.jpg"),
        ("uploads/shoes%252Fa.jpg", "uploads/shoes/a.jpg"),
        ("uploads/shoes%EF%BC%8Fa.jpg", "uploads/shoes/a.jpg"),
        # Characters that resemble a separator.
        *((f"uploads/shoes{mark}a.jpg", "uploads/shoes/a.jpg") for mark in LIKE_SEPARATORS),
        ("uploads\uff0fshoes\uff0fa.jpg", "uploads/shoes/a.jpg"),
        ("batches\uff3ca.csv", "batches/a.csv"),
        # An address or a path in place of a key.
        ("/uploads/shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("//uploads/a.jpg", "uploads/a.jpg"),
        ("./uploads/a.jpg", "uploads/a.jpg"),
        ("s3://bucket/uploads/shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("bucket/uploads/a.jpg", "uploads/a.jpg"),
        ("uploads//a.jpg", "uploads/a.jpg"),
        ("uploads/./a.jpg", "uploads/a.jpg"),
        # The folder's name in another spelling.
        ("Uploads/shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("UPLOADS/a.jpg", "uploads/a.jpg"),
        ("upload/a.jpg", "uploads/a.jpg"),
        (" uploads/a.jpg", "uploads/a.jpg"),
        ("\ufeffuploads/a.jpg", "uploads/a.jpg"),
        ("uploads\u200b/shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("request/a.json", "requests/a.json"),
        ("Requests/a.json", "requests/a.json"),
        ("batch/a.csv", "batches/a.csv"),
        ("Batches/sub/a.csv", "batches/sub/a.csv"),
        ("Assets/a.png", "assets/a.png"),
        # A manifest that would be treated as a file.
        ("uploads/pair/a.manifest.JSON", "uploads/pair/a.manifest.json"),
        ("uploads/a.Manifest.json", "uploads/a.manifest.json"),
        # No upload can select these recipes.
        ("recipes/a.JSON", "recipes/a.json"),
        ("recipes/sub/a.json", "recipes/a.json"),
        ("recipes/a.json/", "recipes/a.json"),
        ("recipes/a.json.txt", "recipes/a.json"),
        ("recipes/a.yaml", "recipes/a.json"),
        ("recipes/a", "recipes/a.json"),
        ("recipes/.json", "recipes/<name>.json"),
        ("recipe/a.json", "recipes/a.json"),
        # No known folder.
        ("a.jpg", "uploads/a.jpg"),
        ("shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("a.csv", "batches/a.csv"),
        ("a.JSONL", "batches/a.JSONL"),
        ("a.json", "recipes/a.json"),
        ("uploads", "uploads/<name>"),
        ("/", "uploads/<name>"),
    ],
)
def test_a_key_that_asks_for_nothing_was_meant_for_another_place(key: str, better: str) -> None:
    assert type_of(key) is None
    assert not is_kept_only(key)
    assert meant(key) == better


@pytest.mark.parametrize(
    "key",
    [
        "assets/a.png",
        "plans/a.jsonl",
        "recipes/README.md",
        "recipes/notes/shoes.txt",
        "recipes/.DS_Store",
        "recipes/a/Thumbs.db",
    ],
)
def test_what_only_lies_there_is_left_alone(key: str) -> None:
    assert is_kept_only(key)


@pytest.mark.parametrize(
    ("key", "size", "is_mark"),
    [
        ("uploads/shoes/", 0, True),
        ("uploads/shoes_$folder$", 0, True),
        ("uploads/shoes/", 1, False),
        ("uploads/shoes_$folder$", 1, False),
        ("uploads/a.jpg", 0, False),
    ],
)
def test_only_an_empty_object_is_the_mark_of_a_folder(key: str, size: int, is_mark: bool) -> None:
    assert is_folder_mark(key, size) is is_mark


PARTS = st.sampled_from(
    ["uploads", "Uploads", "recipes", "shoes", "a.jpg", "a.json", "", ".", "..", " ", "%2F", "\\", "ü"]
)


@given(st.lists(PARTS, min_size=1, max_size=6).map("/".join) | st.text(max_size=30))
def test_any_key_is_judged_and_advice_leads_to_a_place(key: str) -> None:
    kind, better = type_of(key), meant(key)
    assert kind in {None, "upload", "request", "recipe", "batch"}
    assert better.startswith(("uploads/", "requests/", "recipes/", "batches/", "assets/"))
    if better.startswith("uploads/") and ".." not in better.split("/"):
        assert "\\" not in recipe_of(better)
