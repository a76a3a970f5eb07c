"""Say what a recipe in the uploads bucket is good for, list them all, and save one. Must not know the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.exits import NotFound, Refused
from shared.jobs.errors import RecipeInvalid
from shared.requests.recipes import RECIPES, UPLOADS, placeholders, recipe_named_by
from shared.requests.resolve import MAX_DOCUMENT_BYTES, check_recipe
from shared.requests.s3_errors import is_missing

if TYPE_CHECKING:
    from ops.stack import Stack

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")

FIELDS = {
    "name": "the recipe's name",
    "bucket": "the uploads bucket",
    "key": "the recipe's key there",
    "status": "`valid` or `invalid`",
    "changed_at": "when it was uploaded",
    "model_id": "the model",
    "placeholders": "what it takes from an upload",
    "needed": "those of them that have no default everywhere: an upload must have a value for them",
    "error": "`error`, `code`, `message`, `advice`, and `issues` with `path` and `message`",
    "files_go_to": "where an upload for it belongs",
}
"""What the JSON document of a recipe may have, and what it says. A field that has no value is left out."""


def described(stack: Stack, name: str) -> dict[str, Any]:
    """Return what there is to know about a recipe, with the fields of `FIELDS` that have a value.

    Raises:
        NotFound: There is none of this name.
    """
    key = f"{RECIPES}{name}.json"
    body, answer = read(stack, name)
    shown: dict[str, Any] = {"name": name, "bucket": stack.uploads, "key": key}
    shown["changed_at"] = answer["LastModified"].isoformat().replace("+00:00", "Z")
    try:
        check_recipe(body, name)
    except RecipeInvalid as fault:
        return {**shown, "status": "invalid", "error": fault.document()}
    recipe = json.loads(body)
    takes = {f"{{{{{place}}}}}": has_default for place, has_default in placeholders(recipe).items()}
    needed = [place for place, has_default in takes.items() if not has_default]
    where = f"s3://{stack.uploads}/{UPLOADS}{name}/"
    known = {"model_id": recipe.get("model_id"), "placeholders": list(takes), "needed": needed, "files_go_to": where}
    return {**shown, "status": "valid", **known}


def read(stack: Stack, name: str) -> tuple[bytes, dict[str, Any]]:
    """Return a recipe's text, up to one byte more than allowed, and what S3 says of it.

    Raises:
        NotFound: There is none of this name.
    """
    key = f"{RECIPES}{name}.json"
    try:
        answer = stack.s3.get_object(Bucket=stack.uploads, Key=key)
    except ClientError as error:
        if not is_missing(error):
            raise
        raise NotFound(f"There is no recipe {name} in {stack.uploads}. Upload it to {key}.") from None
    return answer["Body"].read(MAX_DOCUMENT_BYTES + 1), dict(answer)


def names(stack: Stack) -> list[str]:
    """Return the names of all recipes that an upload could use."""
    pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.uploads, Prefix=RECIPES)
    named = (recipe_named_by(one["Key"]) for page in pages for one in page.get("Contents", ()))
    return sorted(filter(None, named))


def save(stack: Stack, name: str, body: bytes, etag: str | None) -> str:
    """Write a recipe, and return what S3 calls this version of it.

    Args:
        etag: The version that it takes the place of; None where there is none yet.

    Raises:
        RecipeInvalid: No upload could become a video with it.
        Refused: Somebody else has changed, made or deleted it meanwhile.
    """
    check_recipe(body, name)
    options: Any = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        answer = stack.s3.put_object(
            Bucket=stack.uploads, Key=f"{RECIPES}{name}.json", Body=body, ContentType="application/json", **options
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _CHANGED or is_missing(error):
            raise Refused(
                f"Somebody else has changed the recipe {name}, or made or deleted it. Nothing was saved. Read it again."
            ) from None
        raise
    return str(answer["ETag"])
