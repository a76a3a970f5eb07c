"""Test that typed clients can be generated from the OpenAPI document without a warning, and that their samples work."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.laptop import RunningCloud

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples" / "clients"
OPENAPI = ROOT / "docs" / "openapi.json"
PROMPT = "A paper boat"
SECONDS = 300

pytestmark = pytest.mark.integration


def run(*command: str | Path, folder: Path, environment: Mapping[str, str], ends_with: int = 0) -> str:
    done = subprocess.run(  # noqa: S603 - our own samples
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == ends_with, done.stdout + done.stderr
    return done.stdout


class OddApi:
    """An API behind a proxy that gives some answers of its own, and whose one job ends with `status`."""

    def __init__(self, status: str) -> None:
        proxy = (502, b"<html>Bad Gateway</html>"), (503, b'{"message": "Service Unavailable"}')
        job: dict[str, Any] = {"job_id": "job", "created_at": "2026-11-27T00:00:00Z", "source": {"type": "api"}}
        jobs = [
            (200, json.dumps({**job, "status": one, "timeline": {}}).encode())
            for one in ("submitting", "queued", status)
        ]
        self.asked: list[tuple[str, str | None]] = []
        asked = self.asked
        posts = iter([*proxy, (202, b'{"job_id": "job", "status": "queued"}')])
        gets = iter([*proxy, (200, b"{}"), (429, b'{"message": "Too Many Requests"}'), *jobs])

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.command, self.headers["Idempotency-Key"]))
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                status, body = next(posts if self.command == "POST" else gets)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> OddApi:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def try_odd_answers(*command: str | Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Check that a client asks again for what is no answer of the API, and fails unless there is a video."""
    for status in ("succeeded", "failed"):
        with OddApi(status) as api:
            given = {**environment, "API_URL": api.url}
            code = int(status == "failed")
            output = run(*command, "order-2", PROMPT, folder=folder, environment=given, ends_with=code)
        assert status in output
        assert api.asked == [("POST", "order-2")] * 3 + [("GET", None)] * 7


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
        environment={"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
    )
    command = (sys.executable, SAMPLES / "python" / "ask.py")
    given = {**settings(world), "PYTHONPATH": str(tmp_path)}
    for _ in range(2):
        output = run(*command, "order-1", PROMPT, folder=tmp_path, environment=given)
        assert "status=<JobStatus.SUCCEEDED" in output
    (job,) = set(re.findall(r"job_id='([^']+)'", output))
    assert world.paid(job) == 1
    assert run(*command, "order-1", "Another boat", folder=tmp_path, environment=given, ends_with=1) == ""
    try_odd_answers(*command, folder=tmp_path, environment=given)


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
    run(tools / "openapi-typescript", OPENAPI, "--output", "schema.d.ts", folder=folder, environment={})
    run(tools / "tsc", folder=folder, environment={})
    given = settings(world)
    for _ in range(2):
        job = json.loads(run("node", "ask.js", "order-3", PROMPT, folder=folder, environment=given))
        assert job["status"] == "succeeded"
    assert world.paid(job["job_id"]) == 1
    assert run("node", "ask.js", "order-3", "Another boat", folder=folder, environment=given, ends_with=1) == ""
    try_odd_answers("node", "ask.js", folder=folder, environment=given)
