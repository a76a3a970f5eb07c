"""Measure cold starts up to the first answer: `make bench-coldstart`. All functions, an empty and a usual one.

Each start is a new process of the runtime's own client with the built artefacts, including bytecode, and nothing else
of this machine's Python. The time is measured until the answer. Tables, buckets and the vendor are the local cloud's,
so an answer takes real calls over the loopback. In each round one job goes through the state machine's functions.
Knows the functions' events and answers. Writes its table into `docs/cold-start.md`, between the marks.

It does not measure Lambda's own part (fetching the code, starting the sandbox) or its smaller processors.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from local import build
from local import run_function as alone
from local.aws.runtime_api import Environment
from local.cloud import Cloud
from shared.jobs.intake_switch import IntakeSwitch
from tools.build import NO_BYTECODE, runtime_python

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PAGE = build.ROOT / "docs" / "cold-start.md"
EVENTS = build.ROOT / "events"
ROUNDS = 15
TARGET = 0.6
MEGABYTES_OF_A_PROCESSOR = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
HELD_TO_TARGET = ("submit", "status", "notify", "deliver")
EMPTY = "an empty function"
ONE_CALL = "one call through Lambda's botocore, and nothing else"
ONE_CALL_OURS = "one call through the layer's botocore, and nothing else"
USUAL = "the usual function, as `sam build` leaves it"
USUAL_COMPILED = "the usual function, with bytecode as ours"
USUAL_STATUS = "the usual function, with bytecode, doing what `status` does"
ONE_CALL_CODE = """\
import os
import botocore.session
table = botocore.session.get_session().create_client("dynamodb")
def handler(event, context):
    return table.get_item(TableName=os.environ["JOBS_TABLE"], Key={"job_id": {"S": "none"}}).get("Item")
"""
VIDEO_SECONDS = 60
SETTLED_SECONDS = 0.3


class Start(NamedTuple):
    """One start: seconds until the handler is imported, until the answer, and until the answer on Lambda.

    Lambda gives a whole processor until the handler is imported, and then the share that the function's memory buys.
    https://serverlessland.com/content/service/lambda/guides/effectively-running-java-on-serverless/init-heavy-lifting
    """

    ready: float
    answered: float
    on_lambda: float


class Field:
    """A cloud and its starts, recorded by function.

    Args:
        cloud: A running cloud.
        python: The interpreter of the functions.
        work: A folder for their code, logs and temporary files.
    """

    def __init__(self, cloud: Cloud, python: Path | None, work: Path) -> None:
        self._cloud = cloud
        self._switch = IntakeSwitch(cloud.client("dynamodb"), cloud.endpoints.jobs_table)
        interpreter = python or Path(sys.executable)
        built = build.build(python)
        self._functions = alone.functions(cloud, built, interpreter, work)
        model = self._functions["status"]
        empty = _written(work, "empty", "def handler(event, context):\n    return None\n")
        one_call = _written(work, "one-call", ONE_CALL_CODE)
        usual = replace(
            model,
            name="usual",
            code=_written(work, "usual", (HERE / "usual_function" / "app.py").read_text("utf-8")),
            layers=(_packages(built, interpreter, bytecode=True),),
            environment=model.environment | {"UPLOADS_BUCKET": cloud.endpoints.uploads_bucket},
        )
        usual_status = _written(work, "usual-status", (HERE / "usual_status" / "app.py").read_text("utf-8"))
        _compile(interpreter, work)
        uncompiled = _written(work, "usual-uncompiled", (HERE / "usual_function" / "app.py").read_text("utf-8"))
        self._functions |= {
            EMPTY: replace(model, name="empty", code=empty, layers=()),
            ONE_CALL: replace(model, name="one-call", code=one_call, layers=()),
            ONE_CALL_OURS: replace(model, name="one-call-ours", code=one_call),
            USUAL: replace(
                usual,
                name="usual-uncompiled",
                code=uncompiled,
                layers=(_packages(built, interpreter, bytecode=False),),
            ),
            USUAL_COMPILED: usual,
            USUAL_STATUS: replace(usual, name="usual-status", code=usual_status),
        }
        self.starts: dict[str, list[Start]] = defaultdict(list)
        self._number = 0

    def round(self, number: int) -> None:
        """Start everything once."""
        machine = self._cloud.endpoints.state_machine_arn
        execution = f"{machine.replace(':stateMachine:', ':execution:')}:round-{number}"
        self._start(EMPTY, {})
        self._start(ONE_CALL, {})
        self._start(ONE_CALL_OURS, {})
        submitted = self._start("submit", _event("submit_direct", execution_id=execution))
        job = {name: submitted[name] for name in ("video_id", "submitted_at", "waiting")} | {"execution_id": execution}
        self._await_video(job["video_id"])
        self._start("status", _event("status", **job))
        self._start(USUAL, job)
        self._start(USUAL_COMPILED, job)
        self._start(USUAL_STATUS, job)
        self._start("deliver", _event("deliver", execution_id=execution, video_id=job["video_id"]))
        self._start("notify", _event("notify_succeeded", execution_id=execution))
        self._start("api", _event("api_get_health"))
        self._start("sweep", _event("sweep_schedule"))
        # The job of an upload would run during the next start.
        self._switch.stop()
        self._start("uploads", _event("uploads_object_created"))
        self._switch.start()

    def _start(self, name: str, event: dict[str, Any]) -> Any:
        self._number += 1
        function = self._functions[name]
        begin = time.perf_counter()
        environment = Environment(function, self._number)
        environment.await_ready()
        ready = time.perf_counter() - begin
        answer = environment.invoke(json.dumps(event).encode(), f"start-{self._number}", alone.TRACE)
        answered = time.perf_counter() - begin
        environment.close()
        on_lambda = ready + (answered - ready) * max(1, MEGABYTES_OF_A_PROCESSOR / function.memory)
        self.starts[name].append(Start(ready, answered, on_lambda))
        if answer.failed:
            sys.exit(f"{name} failed: {answer.payload}\n{answer.log}")
        return json.loads(answer.payload)

    def _await_video(self, video_id: str) -> None:
        """Wait until the vendor is done, so that rendering disturbs no start."""
        url = f"{self._cloud.endpoints.genviral_url}/studio/videos/{video_id}"
        key = {"Authorization": f"Bearer {self._cloud.genviral_keys['valid']}"}
        end = time.monotonic() + VIDEO_SECONDS
        while time.monotonic() < end and '"succeeded"' not in httpx.get(url, headers=key).text:
            time.sleep(0.1)
        time.sleep(SETTLED_SECONDS)


def _event(sample: str, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{sample}.json").read_text("utf-8"))
    return event | changes


def _written(work: Path, name: str, code: str) -> Path:
    folder = work / name
    folder.mkdir()
    (folder / "app.py").write_text(code)
    return folder


def _packages(built: build.Built, python: Path, *, bytecode: bool) -> Path:
    """Install the usual function's packages into a layer, once."""
    layer = built.layer.with_name("usual-layer" if bytecode else "usual-layer-as-built")
    if not (layer / "python").exists():
        requirements = build.ROOT / "requirements" / "bench.txt"
        command = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
        options = ("--no-deps", "--require-hashes", "--target", layer / "python", "--requirement", requirements)
        subprocess.run((*command, *options), env=os.environ | {"PIP_PYTHON": str(python)}, check=True)
        if bytecode:
            _compile(python, layer)
    return layer


def _compile(python: Path, folder: Path) -> None:
    subprocess.run([python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder], check=True)


def _lines(starts: dict[str, list[Start]], python: str) -> Iterator[str]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}"
    rounds, today = len(starts[EMPTY]), f"{datetime.now(UTC):%Y-%m-%d}"
    yield f"Medians of {rounds} starts in turns on {today}, Python {python} ({machine})."
    yield ""
    columns = ("ready, ms", "first answer, ms", "beyond the empty one", "of the usual one", "target")
    yield f"| | {' | '.join(columns)} | of the usual one with bytecode | target | on Lambda, ms |"
    yield "|---|---|---|---|---|---|---|---|---|"
    medians = {
        name: Start(*(statistics.median(seconds) for seconds in zip(*found, strict=True)))
        for name, found in starts.items()
    }
    empty, usual, compiled = (medians[name].answered for name in (EMPTY, USUAL, USUAL_COMPILED))
    for name, median in sorted(medians.items(), key=lambda item: item[1].answered):
        label = name if " " in name else f"`{name}`"
        shares = [median.answered / of for of in (usual, compiled)]
        judged = [("held" if share <= TARGET else "missed") if name in HELD_TO_TARGET else "" for share in shares]
        yield (
            f"| {label} | {median.ready * 1000:.0f} | {median.answered * 1000:.0f} "
            f"| {(median.answered - empty) * 1000:.0f} | {shares[0]:.2f} | {judged[0]} | {shares[1]:.2f} | {judged[1]} "
            f"| {median.on_lambda * 1000:.0f} |"
        )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coldstart")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"starts of each function (default {ROUNDS})")
    rounds: int = parser.parse_args().rounds
    python = runtime_python()
    if python is None:
        print(NO_BYTECODE.partition(",")[0] + f"; Python {platform.python_version()} runs instead.", file=sys.stderr)
    version = platform.python_version()
    if python:
        version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    with tempfile.TemporaryDirectory() as work, Cloud(generation_seconds=0.1) as cloud:
        field = Field(cloud, python, Path(work))
        for number in range(rounds + 1):
            field.round(number)
            if number == 0:
                field.starts.clear()  # the first round fills the machine's file cache
    text = "\n".join(_lines(field.starts, version))
    print(text)
    marks = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
    PAGE.write_text(marks.sub(lambda found: f"{found[1]}{text}\n{found[2]}", PAGE.read_text("utf-8")))


if __name__ == "__main__":
    main()
