"""Tell a page what it looks at: which stack, where, and what the statuses mean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.jobs.notifications import console_of
from shared.jobs.states import OPEN, STATES, TERMINAL, Status

if TYPE_CHECKING:
    from ops.stack import Stack

ADMIN_URL = "GENVIRAL_ADMIN_URL"
"""The environment variable with the address of the stand-in's controls; `up` writes it into its settings."""
TIME_SCALE = "GENVIRAL_TIME_SCALE"
"""The environment variable in which `up` says how much it shortens waits."""


def document(stack: Stack, version: str) -> dict[str, Any]:
    """Return what a page needs to know once."""
    arn = stack.output("StateMachineArn")
    laptop = is_laptop()
    return {
        "stack": stack.name,
        "region": arn.split(":")[3],
        "laptop": laptop,
        "charges": stand_in(stack) is None,
        "console_url": None if laptop else console_of(arn),
        "version": version,
        "statuses": [
            {
                "name": status.value,
                "label": status.value.replace("_", " "),
                "sentence": STATES[status].summary
                or f"{STATES[status].next_step[:1].upper()}{STATES[status].next_step[1:]}.",
                "terminal": status in TERMINAL,
                "open": status in OPEN,
            }
            for status in Status
        ],
        "time_scale": time_scale(),
    }


def is_laptop() -> bool:
    """Whether AWS is the cloud on a laptop."""
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname in ("127.0.0.1", "localhost", "::1")


def stand_in(stack: Stack) -> str | None:
    """Return the address of the stand-in's controls; None where videos are Genviral's, which charges for them.

    That may be on a laptop, too: `up --genviral-url` uses another Partner API.
    """
    address = os.environ.get(ADMIN_URL, "")
    is_used = urlsplit(address).netloc == urlsplit(stack.parameter("GenviralBaseUrl")).netloc
    return address if is_laptop() and is_used else None


def time_scale() -> float | None:
    """Return by what waits are multiplied on the laptop; None where they are as long as on AWS, or it is not known."""
    try:
        scale = float(os.environ.get(TIME_SCALE, ""))
    except ValueError:
        return None
    return scale if is_laptop() and scale != 1 else None
