"""Switch the stand-in for Genviral: no credits, slow, failing, and back to normal. For trying out what then happens.

Has the table of the switches, which the stand-in's controls carry out, and knows where `up` writes its settings.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from local.build import ROOT

ENV_FILE = Path(os.environ.get("GENVIRAL_ENV_FILE") or ROOT / ".genviral-env")
"""The settings of the running cloud, for a shell to source. It is there while `up` runs."""
ADMIN_URL = "GENVIRAL_ADMIN_URL"
_ACCOUNT = "valid"  # whose key `up` stores in the secret
_ALWAYS = 1_000_000
_SLOW_SECONDS = 60
_SECONDS = 6


_Calls = list[tuple[str, str, dict[str, Any]]]


def _account(state: str) -> _Calls:
    return [("DELETE", "faults", {}), ("POST", "key", {"key": _ACCOUNT, "state": state})]


def _faults(kind: str, *routes: str, times: int = _ALWAYS) -> _Calls:
    planned = [("POST", "faults", {"route": route, "kind": kind, "times": times}) for route in routes]
    return [*_account("valid"), *planned]


def _seconds(each: int) -> _Calls:
    return [("POST", "settings", {"generation_seconds": each})]


# Each fault takes the place of the one before, so that what happens is what the last switch says.
SWITCHES: dict[str, tuple[str, _Calls]] = {
    "no-credits": ("the account has no credits: jobs go on hold", _account("no_credits")),
    "no-plan": ("the account has no plan: jobs go on hold", _account("no_plan")),
    "revoked": ("the API key was revoked: jobs go on hold", _account("revoked")),
    "slow": (f"the next videos take {_SLOW_SECONDS} seconds each, with any other switch", _seconds(_SLOW_SECONDS)),
    "failing": (
        "each call gets an error 502: new jobs end as uncertain, others are retried",
        _faults("server_error_html", "generate", "status", "models", "output"),
    ),
    "busy": ("every call is answered with a 429: jobs are retried", _faults("rate_limited", "generate", "status")),
    "lost-answer": (
        "the answer to the next paid call is lost: the job ends as uncertain",
        _faults("reset_after_read", "generate", times=1),
    ),
    "broken-video": ("the next video ends too early: it is fetched again", _faults("truncated", "output", times=1)),
    "normal": ("everything works again", [*_account("valid"), *_seconds(_SECONDS)]),
}
"""Name of a switch → what happens then, and the calls of the stand-in's controls."""


class NoStandIn(Exception):
    """No stand-in for Genviral can be reached; the text says what to do."""


def turn(name: str | None) -> dict[str, Any]:
    """Turn a switch, and return the stand-in's state afterwards; without a name, only return it.

    Raises:
        NoStandIn: It cannot be reached.
    """
    import httpx

    address = _address()
    try:
        if name:
            httpx.post(f"{address}/switches", json={"name": name}).raise_for_status()
        state: dict[str, Any] = httpx.get(f"{address}/state").raise_for_status().json()
    except httpx.HTTPError as error:
        raise NoStandIn(f"The stand-in for Genviral does not answer at {address} ({error}). Is `up` running?") from None
    return state


def in_words(state: dict[str, Any]) -> str:
    """Return the stand-in's state as a sentence."""
    account, settings = state["accounts"][_ACCOUNT], state["settings"]
    faults = sorted({f"{fault['kind']} on {fault['route']}" for fault in state["faults"]})
    planned = f" Planned faults: {', '.join(faults)}." if faults else ""
    return (
        f"Genviral's stand-in: the account is {account['state']} with {account['credits']} credits, and a video takes "
        f"{settings['generation_seconds']:g} seconds.{planned}"
    )


def write_settings(settings: dict[str, str]) -> str:
    """Write a file that a shell can source, and return its text."""
    lines = ["# The cloud on this laptop, while `up` runs. Source it in another terminal; a new one is without it."]
    lines += ["unset AWS_PROFILE AWS_SESSION_TOKEN"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    text = "\n".join([*lines, ""])
    ENV_FILE.write_text(text, "utf-8")
    return text


def _address() -> str:
    if address := os.environ.get(ADMIN_URL):
        return address
    begin = f"export {ADMIN_URL}="
    lines = ENV_FILE.read_text("utf-8").splitlines() if ENV_FILE.exists() else []
    found = next((line.removeprefix(begin) for line in lines if line.startswith(begin)), None)
    if found is None:
        raise NoStandIn("No cloud runs on this laptop. Start it with `up`, in another terminal.")
    return shlex.split(found)[0]
