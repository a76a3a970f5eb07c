"""Provide the stand-in's own controls under `/_standin`: read its state, change an account, plan a fault.

They are not part of the vendor's contract.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.genviral.faults import Fault, FaultPlan
from local.genviral.http_messages import Reply, Request, json_reply
from local.genviral.vendor_state import AccountState  # noqa: TC001 -- pydantic needs it at run time
from local.switches import SWITCHES

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.genviral.vendor_state import Account, VendorState

ADMIN_PATH = "/_standin"


class RequestCounts:
    """Counts of each route's outcomes: a status, or `reset`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}

    def add(self, route: str, outcome: str) -> None:
        with self._lock:
            self._counts.setdefault(route, Counter())[outcome] += 1

    def document(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {route: dict(outcomes) for route, outcomes in self._counts.items()}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Credits(_Body):
    key: str
    credits: int = Field(ge=0)


class _Key(_Body):
    key: str
    state: AccountState


class _Settings(_Body):
    generation_seconds: float = Field(ge=0, le=86_400)


class _Switch(_Body):
    name: Literal[tuple(SWITCHES)]  # type: ignore[valid-type]  # read from the table


_LIST = ("GET", "switches")


class Admin:
    """Answers requests under `/_standin`: a 400 and the reason if invalid, a 404 and the routes if unknown."""

    def __init__(self, vendor_state: VendorState, faults: FaultPlan, counts: RequestCounts) -> None:
        self._vendor_state = vendor_state
        self._faults = faults
        self._counts = counts
        self._routes: dict[tuple[str, str], Callable[[bytes], None]] = {
            ("GET", "state"): lambda _body: None,
            ("POST", "credits"): self._set_credits,
            ("POST", "key"): self._set_state,
            ("POST", "settings"): self._set_settings,
            ("POST", "faults"): lambda body: self._faults.add(Fault.model_validate_json(body)),
            ("DELETE", "faults"): lambda _body: self._faults.clear(),
            ("POST", "switches"): self._turn,
        }

    def routes(self) -> list[str]:
        return [f"{method} {ADMIN_PATH}/{name}" for method, name in (*self._routes, _LIST)]

    def answer(self, request: Request) -> Reply:
        """Carry out a request and return the new state."""
        route = (request.method, request.path.removeprefix(f"{ADMIN_PATH}/"))
        if route == _LIST:
            return json_reply(200, {"switches": [{"name": one, "text": text} for one, (text, _) in SWITCHES.items()]})
        act = self._routes.get(route)
        if act is None:
            return json_reply(404, {"error": "Unknown admin route", "routes": self.routes()})
        try:
            act(request.body)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            return json_reply(400, {"error": "; ".join(_sentence(fault["loc"], fault["msg"]) for fault in faults)})
        except KeyError as error:
            return json_reply(400, {"error": f"Unknown account {error}; use the account's name, not its key"})
        return json_reply(200, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            **self._vendor_state.document(),
            "requests": self._counts.document(),
            "faults": self._faults.document(),
        }

    def _turn(self, body: bytes) -> None:
        for method, control, settings in SWITCHES[_Switch.model_validate_json(body).name][1]:
            self._routes[method, control](json.dumps(settings).encode())

    def _set_credits(self, body: bytes) -> None:
        wanted = _Credits.model_validate_json(body)
        self._vendor_state.set_credits(self._account(wanted.key), wanted.credits)

    def _set_state(self, body: bytes) -> None:
        wanted = _Key.model_validate_json(body)
        self._vendor_state.set_state(self._account(wanted.key), wanted.state)

    def _set_settings(self, body: bytes) -> None:
        self._vendor_state.generation_seconds = _Settings.model_validate_json(body).generation_seconds

    def _account(self, name: str) -> Account:
        account = self._vendor_state.account(name)
        if account is None:
            raise KeyError(name)
        return account


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, location))}: {message}" if location else message
