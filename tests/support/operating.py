"""The operator's commands and the sweep on the running cloud."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.laptop import until

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

ROOT = Path(__file__).parents[2]

BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat crosses a calm lake at dawn",
    "params": {"duration_seconds": 1, "aspect_ratio": "16:9"},
}

TIMEOUT_SECONDS = 30


def ops(world: RunningCloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command without a terminal."""
    return subprocess.run(  # noqa: S603 - this project's own command
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        env=world.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def done(world: RunningCloud, *arguments: str) -> str:
    """Run a command that must succeed, and return its output."""
    finished = ops(world, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def sweep(world: RunningCloud) -> dict[str, int]:
    """Run one sweep now."""
    lambda_ = world.cloud.client("lambda")
    name = next(
        f["FunctionName"] for f in lambda_.list_functions()["Functions"] if "SweepFunction" in f["FunctionName"]
    )
    answer = lambda_.invoke(FunctionName=name, Payload=b"{}")
    count: dict[str, int] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, count
    return count


def await_sweep_age(world: RunningCloud, job_id: str) -> None:
    """Wait until the job's last change is so old that the next sweep looks after it. Here `SweepQuietSeconds` is 1.

    A sweep's counts do not show that: they may be about the jobs of other tests.
    """
    key = {"job_id": {"S": job_id}}
    changed_at = int(world.table.get_item(TableName=world.at.jobs_table, Key=key)["Item"]["changed_at"]["N"])
    until(lambda: time.time() >= changed_at + 2 or None)


def submissions(world: RunningCloud, job_id: str) -> list[dict[str, Any]]:
    return [one for one in world.vendor()["submissions"] if one["idempotency_key"].split(".")[0] == job_id]


def paid_and_running(world: RunningCloud) -> str:
    job_id: str = world.post(BODY).json()["job_id"]
    until(lambda: True if "video_id" in world.get(job_id) else None)
    return job_id
