"""Tell what is meant by what a person has of it: a batch or a recipe, by its name, its key or a link. Only reads.

`ops.finder` does the same for jobs. Must not know the command line.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ops.addresses import readings
from ops.batches import SUFFIXES, Batches
from ops.exits import NotFound
from shared.requests.recipes import BATCHES, RECIPES, recipe_named_by

if TYPE_CHECKING:
    from ops.stack import Stack


def keys(stack: Stack, what: str) -> list[str]:
    """Return the keys in a stack's buckets that a text may mean: it may be a link or an address."""
    ours = (stack.uploads, stack.videos)
    return list(dict.fromkeys(one.name for one in readings(what, ours) if one.bucket in (None, *ours)))


def batch(stack: Stack, what: str, *, by_name: bool = False) -> tuple[str, str] | None:
    """Return the key and the id of a batch, where its file or its report is meant and the file is still there.

    Args:
        by_name: Whether its name or its id alone is enough; a job may be called the same.
    """
    meant = keys(stack, what)
    meant = [key for key in meant if by_name or key.startswith(BATCHES) or key.lower().endswith(SUFFIXES)]
    with contextlib.suppress(NotFound):
        return Batches(stack).latest(meant)
    return None


def recipe(stack: Stack, what: str) -> str | None:
    """Return the name of a recipe, where one is meant."""
    meant = [key for key in keys(stack, what) if key.startswith(RECIPES)]
    return next(filter(None, (recipe_named_by(f"{key.removesuffix('.json')}.json") for key in meant)), None)
