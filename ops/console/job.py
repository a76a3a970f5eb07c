"""Show one job: what is known of it, what comes next, and what a person can do with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ops.console.jobs import row
from ops.showing import look_at
from shared.jobs.links import without_secrets

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.stack import Stack
    from shared.jobs.record import Job


def shown(stack: Stack, call: Call) -> dict[str, Any]:
    """Return all that there is to know of a job.

    Raises:
        NotFound: There is no such job.
    """
    look = look_at(stack, call.path["job_id"])
    return {
        "job": {**row(look.job), **look.document()},
        "facts": look.facts(),
        "next_step": look.next_step,
        "next_command": list(look.next_command),
        "request": _request(look.job),
    }


def _request(job: Job) -> dict[str, Any] | None:
    """What was asked for, without what opens its links."""
    if job.request is None:
        return None
    request: dict[str, Any] = without_secrets(json.loads(job.request))
    return request
