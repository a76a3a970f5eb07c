"""Tell what Genviral's models cost and take, from its free list, which is asked for at most every ten minutes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ops.exits import Unanswered
from shared.genviral.errors import GenviralFault
from shared.genviral.model_list import KEPT_SECONDS
from shared.genviral.models import Params

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.console.calls import Call
    from ops.stack import Stack
    from shared.genviral.client import Model

_LISTS = ("reference_image_urls", "reference_video_urls", "reference_audio_urls")
_LINKS = ("image_url", "video_url", "audio_url")
_TYPES = {"generate_audio": "boolean", "fps": "number", "duration_seconds": "number"}
_FAILED_SECONDS = 15
_PARAMS = tuple(Params.model_fields)


class Models:
    """The models that a stack's key may use."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._models: list[Model] = []
        self._failed = ""
        self._ask_again_at = 0.0

    def listed(self, _: Call | None = None) -> dict[str, Any]:
        """Return every model with its price in credits and what can be filled in.

        Raises:
            Unanswered: Genviral cannot be asked, or refuses the key.
        """
        return {"models": [_described(model) for model in self._all()]}

    def price(self, model_id: object) -> float | None:
        """Return what a video of a model usually costs, in credits; None where that is not known."""
        try:
            return next((model.default_cost for model in self._all() if model.id == model_id), None)
        except Unanswered:
            return None

    def _all(self) -> list[Model]:
        now = time.monotonic()
        if now >= self._ask_again_at:
            try:
                self._models, self._failed = self._stack.vendor.models(), ""
            except GenviralFault as fault:
                self._failed = f"{fault.message} {fault.advice}".strip()
            self._ask_again_at = now + (_FAILED_SECONDS if self._failed else KEPT_SECONDS)
        if self._failed and not self._models:
            raise Unanswered(self._failed)
        return self._models


def _described(model: Model) -> dict[str, Any]:
    price = "price not known" if model.default_cost is None else f"{model.default_cost:g} credits"
    return {
        "model_id": model.id,
        "name": model.name,
        "kind": model.provider,
        "credits": model.default_cost,
        "price": price,
        "inputs": [*_inputs(model), *_params(model)],
    }


def _inputs(model: Model) -> Iterator[dict[str, Any]]:
    for name in (*model.required, *(name for name in model.optional if name not in model.required)):
        kind = "links" if name in _LISTS else "link" if name in _LINKS else "text"
        yield {"name": name, "type": kind, "choices": [], "default": None, "required": name in model.required}


def _params(model: Model) -> Iterator[dict[str, Any]]:
    """The parameters that a model takes. Where the vendor lists none, those that it documents for all models."""
    known = {param.name: param for param in model.params}
    for name in known or _PARAMS:
        if name not in _PARAMS:
            continue  # it would be refused as an unknown field
        param = known.get(name)
        yield {
            "name": f"params.{name}",
            "type": (param and param.type) or _TYPES.get(name, "string"),
            "choices": list(param.options) if param else [],
            "default": param.default if param else None,
            "min": param.minimum if param else None,
            "max": param.maximum if param else None,
            "required": False,
        }
