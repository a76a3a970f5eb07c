"""List recipes, check them while somebody types, show what they make of a file, and save them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from ops.console.calls import BadCall
from ops.console.places import places
from ops.exits import NotFound
from ops.recipes import described, names, read, save
from ops.submit import encoded
from shared import strict_json
from shared.jobs.errors import RecipeInvalid
from shared.requests.recipes import ASSET_URL, RECIPES, UPLOADS, is_file, recipe_named_by, try_fill
from shared.requests.resolve import check_recipe, samples, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.console.calls import Call
    from ops.console.models import Models
    from ops.stack import Stack

_MOST, _AT_ONCE = 200, 8


class RecipeViews:
    """The recipes of a stack, as a page edits them."""

    def __init__(self, stack: Stack, models: Models) -> None:
        self._stack = stack
        self._models = models
        self._pool = ThreadPoolExecutor(_AT_ONCE)

    def listed(self, _: Call) -> dict[str, Any]:
        """Return every recipe: its name, whether it is valid, its model, its likely price, and what it takes."""
        found = names(self._stack)
        shown = list(self._pool.map(self._described, found[:_MOST]))
        return {"recipes": [one for one in shown if one], "more": max(0, len(found) - _MOST)}

    def shown(self, call: Call) -> dict[str, Any]:
        """Return a recipe's text and the version that it is.

        Raises:
            NotFound: There is none of this name.
        """
        name = _name(call)
        body, answer = read(self._stack, name)
        text = body.decode("utf-8", "replace")
        return {"name": name, "text": text, "etag": answer["ETag"], **self._checked(name, text, None)}

    def save(self, call: Call) -> dict[str, Any]:
        """Save a recipe, if it is valid and nobody has changed it meanwhile.

        Raises:
            BadCall: It is not valid; the issues say why.
            Refused: Somebody has changed it.
        """
        name, asked = _name(call), call.json()
        text, etag = _text(asked), asked.get("etag")
        if not isinstance(etag, str | None):
            raise BadCall("etag must be a text or null.")
        try:
            saved = save(self._stack, name, text.encode(), etag)
        except RecipeInvalid as fault:
            raise BadCall("The recipe cannot be used as it is. Nothing was saved.", _errors(text, fault)) from None
        return {"name": name, "etag": saved}

    def check(self, call: Call) -> dict[str, Any]:
        """Return what is wrong with a text, and the request that it makes of a file."""
        asked = call.json()
        file = asked.get("file")
        if not isinstance(file, dict | None):
            raise BadCall("file must be an object or null.")
        return self._checked(_name(call), _text(asked), file)

    def _described(self, name: str) -> dict[str, Any] | None:
        try:
            recipe = described(self._stack, name)
        except NotFound:  # deleted meanwhile
            return None
        return {**recipe, "credits": self._models.price(recipe.get("model_id"))}

    def _checked(self, name: str, text: str, file: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            check_recipe(text.encode("utf-8", "replace"), name)
        except RecipeInvalid as fault:
            return {"valid": False, "errors": _errors(text, fault), "request": None, "credits": None}
        recipe = strict_json.loads(text)
        filled, issues = try_fill(recipe, name, _values(self._stack.uploads, recipe, name, file))
        place = partial(_placed, places(text))
        credit = self._models.price(filled.body.get("model_id"))
        return {"valid": True, "errors": list(map(place, issues)), "request": filled.body, "credits": credit}


def _values(bucket: str, recipe: object, name: str, file: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what the placeholders of a recipe stand for: a file's own values, or samples where there is no file."""
    sampled = samples(recipe)
    if file is None:
        return sampled
    given, labels = file.get("name"), file.get("metadata") or {}
    if not isinstance(given, str) or not given or not isinstance(labels, dict):
        raise BadCall("A file has a name, and may have metadata.")
    key = f"{UPLOADS}{name}/{given}"
    files = {place: sample for place, sample in sampled.items() if is_file(place)}
    own = values_of(key, encoded({str(label): str(value) for label, value in labels.items()}))
    return {**files, ASSET_URL: f"s3://{bucket}/{key}", **own}


def _errors(text: str, fault: RecipeInvalid) -> list[dict[str, Any]]:
    """Return what is wrong with a recipe, and where."""
    try:
        strict_json.loads(text)
    except json.JSONDecodeError as error:
        return [{"path": "", "message": error.msg, "line": error.lineno, "column": error.colno}]
    except (ValueError, RecursionError):
        return [{"path": "", "message": fault.message, "line": None, "column": None}]
    place = partial(_placed, places(text))
    return [place(issue) for issue in fault.issues] or [place({"path": "", "message": fault.message})]


def _placed(known: Mapping[str, tuple[int, int]], issue: Mapping[str, str]) -> dict[str, Any]:
    """Return an issue with its place: that of its value, or of the object in which one is missing."""
    path = issue["path"]
    while path and path not in known:
        path = path.rpartition(".")[0]
    line, column = known.get(path, (None, None))
    return {**issue, "line": line, "column": column}


def _name(call: Call) -> str:
    name = call.path["name"]
    if recipe_named_by(f"{RECIPES}{name}.json") is None:
        raise BadCall(f"'{name}' can be no recipe's name.")
    return name


def _text(asked: Mapping[str, Any]) -> str:
    text = asked.get("text")
    if not isinstance(text, str):
        raise BadCall("text must be a text.")
    return text
