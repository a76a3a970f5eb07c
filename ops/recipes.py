"""Say what a recipe in the uploads bucket is good for. Only reads; must not know the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.exits import NotFound
from shared.jobs.errors import RecipeInvalid
from shared.requests.recipes import RECIPES, UPLOADS, placeholders
from shared.requests.resolve import MAX_DOCUMENT_BYTES, check_recipe
from shared.requests.s3_errors import is_missing

if TYPE_CHECKING:
    from ops.stack import Stack

FIELDS = {
    "name": "the recipe's name",
    "bucket": "the uploads bucket",
    "key": "the recipe's key there",
    "status": "`valid` or `invalid`",
    "changed_at": "when it was uploaded",
    "model_id": "the model",
    "placeholders": "what it takes from an upload",
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
    try:
        answer = stack.s3.get_object(Bucket=stack.uploads, Key=key)
    except ClientError as error:
        if not is_missing(error):
            raise
        raise NotFound(f"There is no recipe {name} in {stack.uploads}. Upload it to {key}.") from None
    body = answer["Body"].read(MAX_DOCUMENT_BYTES + 1)
    shown: dict[str, Any] = {"name": name, "bucket": stack.uploads, "key": key}
    shown["changed_at"] = answer["LastModified"].isoformat().replace("+00:00", "Z")
    try:
        check_recipe(body, name)
    except RecipeInvalid as fault:
        return {**shown, "status": "invalid", "error": fault.document()}
    recipe = json.loads(body)
    takes = [f"{{{{{placeholder}}}}}" for placeholder in placeholders(recipe)]
    where = f"s3://{stack.uploads}/{UPLOADS}{name}/"
    return {**shown, "status": "valid", "model_id": recipe.get("model_id"), "placeholders": takes, "files_go_to": where}
