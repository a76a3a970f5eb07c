"""Cache the vendor's models and their prices."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.genviral.client import GenviralClient

KEPT_SECONDS = 600
_SHOWN = ("id", "name", "provider", "default_cost", "required", "optional")


@dataclass(slots=True)
class ModelList:
    """The list of models. Each Lambda environment requests it at most every `KEPT_SECONDS`.

    Args:
        vendor: Returns the vendor's client.
    """

    vendor: Callable[[], GenviralClient]
    _models: list[dict[str, Any]] | None = None
    _asked_at: float = 0.0

    def models(self) -> list[dict[str, Any]]:
        """Return each model's `id`, `name`, `provider`, `default_cost` in credits, `required` and `optional` inputs.

        Raises:
            GenviralFault: The vendor does not answer, or refuses to.
        """
        now = time.monotonic()
        if self._models is None or now >= self._asked_at + KEPT_SECONDS:
            listed = [asdict(model) for model in self.vendor().list_models()]
            self._models = [{name: model[name] for name in _SHOWN if model[name] is not None} for model in listed]
            self._asked_at = now
        return self._models
