"""Find what a person typed: anything that `show` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops import meaning
from ops.console.calls import BadCall
from ops.console.jobs import rows
from ops.exits import NotFound
from ops.recipes import described

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.stack import Stack


def find(stack: Stack, call: Call) -> dict[str, Any]:
    """Return the `jobs`, the `batch` or the `recipe` that is meant.

    Raises:
        BadCall: Nothing was typed.
        NotFound: Nothing is known by that name; the text says where it was looked for.
    """
    what = call.query.get("what", "").strip()
    if not what:
        raise BadCall("Type what is known of it: an id, a key, a name or a link.")
    if named := meaning.batch(stack, what):
        return _batch(*named)
    if name := meaning.recipe(stack, what):
        return {"recipe": described(stack, name)}
    try:
        found = stack.finder.find(what)
    except NotFound:
        if named := meaning.batch(stack, what, by_name=True):
            return _batch(*named)
        raise
    return rows(stack.store.in_full(found))


def _batch(key: str, batch_id: str) -> dict[str, Any]:
    return {"batch": {"key": key, "batch_id": batch_id}}
