"""Find and signal the function processes of the running cloud, through Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

    from tests.support.laptop import RunningCloud

PROC = Path("/proc")


def processes_of(function: str) -> list[int]:
    """Return the processes of a function: descendants of this one, identified by their environment."""
    parents = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            # The second field is a name in brackets, which may hold blanks.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # gone meanwhile
    family = {os.getpid()}
    while offspring := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= offspring
    return [pid for pid in sorted(family - {os.getpid()}) if function in _name_of(pid)]


def _name_of(pid: int) -> str:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    prefix = b"AWS_LAMBDA_FUNCTION_NAME="
    return next((entry[len(prefix) :].decode() for entry in environment if entry.startswith(prefix)), "")


def signal_all(function: str, number: signal.Signals) -> None:
    pids = processes_of(function)
    assert pids, f"no process of {function} runs"
    for pid in pids:
        os.kill(pid, number)


def errors_in(world: RunningCloud, job_id: str) -> list[str]:
    """Return the errors in the job's execution, by their names in Step Functions."""
    arn = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
    events = world.history(arn)
    return [event["taskFailedEventDetails"]["error"] for event in events if "taskFailedEventDetails" in event]
