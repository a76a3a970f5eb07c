"""Test that typed clients can be generated from the OpenAPI document without a warning, and that their samples work."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples" / "clients"
OPENAPI = ROOT / "docs" / "openapi.json"
PROMPT = "A paper boat"
SECONDS = 300

pytestmark = pytest.mark.integration


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own samples
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def settings(world: RunningCloud) -> dict[str, str]:
    return {
        "API_URL": world.at.api_url,
        "AWS_REGION": world.at.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def test_a_generated_python_client_asks_for_a_video(world: RunningCloud, tmp_path: Path) -> None:
    tools = Path(sys.executable).parent
    run(
        *(tools / "openapi-python-client", "generate", "--path", OPENAPI, "--meta", "none", "--fail-on-warning"),
        *("--output-path", "genviral_video"),
        folder=tmp_path,
        PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
    )
    output = run(
        *(sys.executable, SAMPLES / "python" / "ask.py", PROMPT),
        folder=tmp_path,
        PYTHONPATH=str(tmp_path),
        **settings(world),
    )
    assert "status=<JobStatus.SUCCEEDED" in output


def test_generated_typescript_types_fit_the_sample(world: RunningCloud) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the TypeScript client is not tried")
    lock = (SAMPLES / "typescript" / "package-lock.json").read_bytes()
    folder = ROOT / "build" / f"typescript-{hashlib.sha256(lock).hexdigest()[:12]}"
    shutil.copytree(SAMPLES / "typescript", folder, dirs_exist_ok=True)
    if not (folder / "installed").exists():
        done = subprocess.run(  # noqa: S603 - npm, from a lock
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, timeout=SECONDS
        )
        if done.returncode:
            pytest.skip("the npm packages cannot be installed: the TypeScript client is not tried")
        (folder / "installed").touch()
    tools = folder / "node_modules" / ".bin"
    run(tools / "openapi-typescript", OPENAPI, "--output", "schema.d.ts", folder=folder)
    run(tools / "tsc", folder=folder)
    job = json.loads(run("node", "ask.js", PROMPT, folder=folder, **settings(world)))
    assert job["status"] == "succeeded"
    assert world.paid(job["job_id"]) == 1
