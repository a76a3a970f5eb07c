"""The body of an API call, from bytes to a JSON object.

Knows JSON and the API's cap. Must not know what a body asks for.
"""

from __future__ import annotations

import json
from typing import Any

from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.jobs.errors import BodyTooLarge

MAX_BODY_BYTES = 256 * 1024


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        BodyTooLarge: It has more than `MAX_BODY_BYTES`.
        InvalidJson: It is not JSON.
        InvalidPayload: It is JSON, but no object.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body has {len(body)} bytes, more than the {MAX_BODY_BYTES} allowed")
    try:
        document = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidJson("the request's body is not valid JSON") from None
    if not isinstance(document, dict):
        raise InvalidPayload("the request's body must be a JSON object")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are Python's own, not JSON's
