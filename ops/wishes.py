"""Turn a file, a prompt or a request into what is submitted, and refuse what could only fail, before it is uploaded.

Knows what uploads and requests look like. Must not know the command line or who asks.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from ops.batches import SUFFIXES
from ops.exits import Exit, Refused
from ops.submit import Submitter, Wish, of_file, of_request
from shared import strict_json
from shared.requests.recipes import DEFAULT_RECIPE, MANIFEST_SUFFIX, RECIPES, UPLOADS, recipe_named_by, recipe_of
from shared.requests.s3_errors import is_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.stack import Stack

_MEGABYTE = 1_000_000  # as the stack counts them
_OUR_RECIPES = Path(__file__).resolve().parents[1] / "recipes"


class Misused(Refused):
    """Something is asked for that does not go together, or is no such name.

    Attributes:
        option: What is wrong, as the command line calls it; empty where it is more than one.
    """

    exit_code: ClassVar[Exit] = Exit.USAGE

    def __init__(self, text: str, option: str = "") -> None:
        super().__init__(text)
        self.option = option


def submitter(stack: Stack) -> Submitter:
    """Return whoever submits to a stack."""
    return Submitter(s3=stack.s3_without_retries, bucket=stack.uploads, store=stack.store)


def of_named(name: str, body: bytes, *, recipe: str | None, labels: Mapping[str, str]) -> Wish:
    """Return the wish for a file: a picture, a video, a sound, a manifest or, as .json, a whole request.

    Args:
        name: The file's name, without a folder.
        recipe: The recipe's name; None for the default.
        labels: The caller's metadata.

    Raises:
        Misused: A recipe or labels do not go with it, or are no names.
        Refused: It is a batch, or no JSON where it should be.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix in SUFFIXES:
        raise Refused(f"{name} is a batch: its rows are jobs of their own. Use: batch {name}")
    is_manifest = name.endswith(MANIFEST_SUFFIX)
    if suffix == ".json":
        _require_json(name, body)
    if suffix == ".json" and not is_manifest:
        if recipe or labels:
            raise Misused(f"{name} is a whole request: --recipe and --metadata do not go with it.")
        return of_request(name, body)
    chosen = recipe or DEFAULT_RECIPE
    if recipe_named_by(f"{RECIPES}{chosen}.json") is None:
        raise Misused(f"'{chosen}' can be no recipe's name", "--recipe")
    _require_names(labels)
    return of_file(name, body, recipe=chosen, metadata=labels)


def of_prompt(prompt: str, model: str | None, labels: Mapping[str, str]) -> Wish:
    """Return the wish for a video of a prompt. Without a model, it is that of recipes/default.json."""
    chosen = model or json.loads((_OUR_RECIPES / "default.json").read_text("utf-8"))["model_id"]
    return of_body({"model_id": chosen, "prompt": prompt, **({"metadata": dict(labels)} if labels else {})})


def of_body(request: Mapping[str, Any]) -> Wish:
    """Return the wish for a whole request. Its key does not show the prompt: notifications and logs have keys."""
    return of_request("prompt.json", json.dumps(request, ensure_ascii=False).encode())


def require_size(stack: Stack, wish: Wish) -> None:
    """Refuse a file that is empty or too large before it is uploaded: its job could only fail."""
    if not wish.body:
        raise Refused(f"{wish.name} is empty. Nothing was submitted.")
    most = int(stack.parameter("MaxUploadMegabytes"))
    if len(wish.body) > most * _MEGABYTE:
        size = f"{wish.name} has {len(wish.body) / _MEGABYTE:.1f} MB, and this stack takes {most} MB at most"
        raise Refused(f"{size} (its parameter MaxUploadMegabytes). Nothing was submitted.")


def missing_recipe(stack: Stack, wish: Wish) -> str | None:
    """Return a warning of a recipe that is not there. It may still come; without the right to look, nothing is said."""
    if not wish.place.startswith(UPLOADS):
        return None
    recipe = recipe_of(f"{wish.place}{wish.name}")
    key = f"{RECIPES}{recipe}.json"
    try:
        stack.s3.head_object(Bucket=stack.uploads, Key=key)
    except ClientError as error:
        if is_missing(error):
            where = f"s3://{stack.uploads}/{key}"
            return f"There is no recipe {recipe}. It has two minutes to appear at {where}; else the job fails, unpaid."
    return None


def _require_names(labels: Mapping[str, str]) -> None:
    for name in labels:
        if not (name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()):
            text = f"'{name}' can be no name in S3: use ASCII letters, digits, '-', '_', '.'. Values may be any text"
            raise Misused(text, "--metadata")


def _require_json(name: str, body: bytes) -> None:
    """Refuse a file that is no JSON, with the line and the column, before it is uploaded."""
    try:
        strict_json.loads(strict_json.text_of(body))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(f"{name} is not valid JSON: {where}: {error.msg}. Nothing was submitted.") from None
    except strict_json.RepeatedKey as error:
        raise Refused(f"{name} has the key '{error.key}' twice in one object. Nothing was submitted.") from None
    except (ValueError, RecursionError):
        raise Refused(f"{name} is not JSON in UTF-8. Nothing was submitted.") from None
