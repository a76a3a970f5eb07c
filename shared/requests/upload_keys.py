"""Tell what an object's key in the uploads bucket asks for, and which key was meant where it asks for nothing."""

from __future__ import annotations

import re

from shared.requests.recipes import (
    ASSETS,
    BATCHES,
    MANIFEST_SUFFIX,
    PLANS,
    RECIPES,
    REQUESTS,
    UPLOADS,
    recipe_named_by,
    recipe_of,
)

# Separators as people and tools write them: on Windows (in Japan and Korea, \ shows as the currency sign), characters
# that tools substitute in file names, and separators that were URL-encoded too often.
_SEPARATOR = re.compile(
    r"[/\\\uff0f\uff3c\ufe68\u2215\u2216\u2044\u29f8\u29f9\u29f5\u2571\u2572\xa5\uffe5\u20a9\uffe6]"
    r"|%(?:25)*(?:2f|5c|ef%(?:25)*bc%(?:25)*(?:8f|bc))",
    re.IGNORECASE,
)
# A byte order mark, and invisible characters that web pages and messengers put between or around words.
_INVISIBLE = re.compile("[\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_FOLDER_MARKS = ("/", "_$folder$")
# Notes and system files may lie beside recipes. Anything with .json in its name was meant as a recipe.
_NOTE = re.compile(
    r"(?!.*\.json).*\.(?:md|txt)|(?:.*/)?(?:\.DS_Store|Thumbs\.db|desktop\.ini)", re.IGNORECASE | re.DOTALL
)
_MANIFEST = re.compile(re.escape(MANIFEST_SUFFIX) + r"\Z", re.IGNORECASE)
_SUFFIXES_OF_RECIPES = re.compile(r"(?:\.(?:json\w?|txt|ya?ml))+$", re.IGNORECASE)
_PLACES = {name.rstrip("/"): name for name in (UPLOADS, REQUESTS, RECIPES, BATCHES, ASSETS)}
_MEANT = {spelling: place for name, place in _PLACES.items() for spelling in (name, name[:-1])}
_MEANT["batch"] = BATCHES
_BY_SUFFIX = {"csv": BATCHES, "jsonl": BATCHES, "json": RECIPES}


def is_folder_mark(key: str, size: int) -> bool:
    """Whether an object only makes a folder visible, as the console and Hadoop create it."""
    return size == 0 and key.endswith(_FOLDER_MARKS)


def type_of(key: str) -> str | None:
    """Return what a key asks for: `upload`, `request`, `recipe` or `batch`; None for nothing or an unclear recipe."""
    if key.startswith(UPLOADS):
        # If the recipe depends on how a separator is read, choosing one is a guess, and the guess may be paid for.
        # A manifest with another spelling of its suffix would be treated as a media file.
        is_plain = recipe_of(key) == recipe_of(_normalized(key)) and key == _MANIFEST.sub(MANIFEST_SUFFIX, key)
        return "upload" if is_plain else None
    if key.startswith(RECIPES):
        return "recipe" if recipe_named_by(key) else None
    return next((name for name, place in (("request", REQUESTS), ("batch", BATCHES)) if key.startswith(place)), None)


def is_kept_only(key: str) -> bool:
    """Whether an object correctly asks for nothing: an asset, a plan, or a note beside the recipes."""
    return key.startswith((ASSETS, PLANS)) or (key.startswith(RECIPES) and _NOTE.fullmatch(key) is not None)


def meant(key: str) -> str:
    """Return the key that was probably meant by one that asks for nothing."""
    parts = _normalized(key).split("/")
    for number, part in enumerate(parts):
        if place := _MEANT.get(_INVISIBLE.sub("", part).strip().lower()):
            return _within(place, parts[number + 1 :])
    return _within(_BY_SUFFIX.get(parts[-1].rpartition(".")[2].lower(), UPLOADS), parts)


def _within(place: str, parts: list[str]) -> str:
    name = "/".join(parts).strip("/")
    if place == RECIPES:
        # No upload can use a recipe in a folder, or with another suffix.
        name = _SUFFIXES_OF_RECIPES.sub("", name.rpartition("/")[2])
        return f"{place}{name or '<name>'}.json"
    return place + (_MANIFEST.sub(MANIFEST_SUFFIX, name) or "<name>")


def _normalized(key: str) -> str:
    """Return a key with one kind of separator, and no empty parts except the last."""
    *folders, name = _SEPARATOR.split(key)
    return "/".join([*(folder for folder in folders if folder.strip() not in ("", ".")), name])
