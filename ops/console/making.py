"""Ask for videos: of a file that is dropped on the page, or of a request that is filled in.

The same content finds the same job and pays nothing. Another video of the same is asked for with an id of the page's
own (`again`): when it sends that once more because an answer was lost, it finds that other video's job.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ops.console.calls import BadCall
from ops.wishes import missing_recipe, of_body, of_named, require_size, submitter
from shared.genviral.errors import InvalidPayload
from shared.requests.resolve import parse_request

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.stack import Stack
    from ops.submit import Wish

_OCCASION = re.compile(r"[0-9A-Za-z-]{16,64}")


def upload(stack: Stack, call: Call) -> dict[str, Any]:
    """Submit a file, and return its job.

    Raises:
        BadCall: It has no name, or its labels or the id of another video are none.
        Refused: It is of no use to a job.
    """
    wish = of_named(
        _name(call), call.body, recipe=call.query.get("recipe") or None, labels=_labels(call.query.get("metadata", ""))
    )
    require_size(stack, wish)
    return _submitted(stack, wish, _occasion(call), warning=missing_recipe(stack, wish))


def request(stack: Stack, call: Call) -> dict[str, Any]:
    """Submit a whole request, and return its job.

    Raises:
        BadCall: Genviral would refuse it; the issues say why.
    """
    body = call.json()
    try:
        parse_request(body)
    except InvalidPayload as fault:
        raise BadCall("The request is not valid; nothing was submitted.", fault.issues) from None
    return _submitted(stack, of_body(body), _occasion(call))


def _submitted(stack: Stack, wish: Wish, occasion: str, *, warning: str | None = None) -> dict[str, Any]:
    submitted = submitter(stack).submit(replace(wish, occasion=occasion))
    known = {"job_id": submitted.job_id, "key": submitted.key, "is_new": submitted.is_new}
    return {**known, "warning": warning} if warning else known


def _occasion(call: Call) -> str:
    """Return the id under which another video of the same is asked for; empty where the first one is meant."""
    occasion = call.query.get("again", "")
    if occasion and not _OCCASION.fullmatch(occasion):
        raise BadCall("again must be an id of 16 to 64 letters, digits and dashes, another one for each video.")
    return occasion


def _name(call: Call) -> str:
    """Return the file's name without a folder; browsers on Windows may send one."""
    name = call.query.get("name", "").replace("\\", "/").rpartition("/")[2]
    if not name:
        raise BadCall("The file has no name.")
    return name


def _labels(text: str) -> dict[str, str]:
    try:
        labels = json.loads(text or "{}")
    except ValueError:
        labels = None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise BadCall("metadata must be a JSON object of texts.")
    return labels
