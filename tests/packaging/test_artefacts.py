"""Test that each function runs from its built artefact alone, as on Lambda: a missing module or package fails here.

One job goes through the functions of the state machine, with the local cloud's tables, buckets and vendor. The other
functions get their sample events. Python 3.13 runs them if it is installed, as on Lambda. The test ids name the Python.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import build
from local import run_function as alone
from local.cloud import Cloud
from tools.build import runtime_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.aws.runtime_api import Answer, Function

pytestmark = pytest.mark.integration

PYTHON = runtime_python()
NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}" if PYTHON is None else PYTHON.name
EVENTS = build.ROOT / "events"
TIMEOUT_SECONDS = 30

EXPECTED: dict[str, Callable[[Any], bool]] = {
    "submit": lambda answer: answer["job_id"] == "from-artefacts" and answer["video_id"] and answer["waiting"]["looks"],
    "status": lambda answer: answer["status"] == "succeeded",
    "deliver": lambda answer: answer["video"]["key"].endswith("/from-artefacts.mp4"),
    "notify": lambda answer: answer["status"] == "succeeded" and answer["video"]["bytes"] > 10_000,
    "api": lambda answer: answer["statusCode"] == 202 and json.loads(answer["body"])["status"] == "queued",
    "uploads": lambda answer: answer["job_id"].startswith("s3-"),
    "sweep": lambda answer: answer["seen"] >= 0,
    "batch": lambda answer: answer["rows"] == 1,
    "forward": lambda answer: answer is None,
}
"""What each function answers to its event. A function's folder is its name."""


class Bench:
    """Built functions, each run in a new process for each event."""

    def __init__(self, cloud: Cloud, work: Path) -> None:
        self.cloud = cloud
        python = PYTHON or Path(sys.executable)
        self.functions: dict[str, Function] = alone.functions(cloud, build.build(PYTHON), python, work)
        self._runs = 0

    def run(self, function: Function, event: Any) -> Answer:
        self._runs += 1
        return alone.invoke(function, json.dumps(event).encode(), self._runs)

    def ask(self, name: str, sample: str, **changes: Any) -> Any:
        """Return the answer to a sample event with some values changed."""
        answer = self.run(self.functions[name], json.loads((EVENTS / f"{sample}.json").read_text()) | changes)
        assert not answer.failed, f"{answer.payload}\n{answer.log}"
        return json.loads(answer.payload)

    def batch(self) -> dict[str, str]:
        """Upload a batch of one row, where no event starts the cloud's own functions."""
        bucket, key = self.cloud.endpoints.uploads_bucket, "unwatched/one.csv"
        body = b"model_id,prompt\nbytedance/seedance-2.0,A paper boat\n"
        self.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return {"type": "batch", "bucket": bucket, "key": key}

    def job(self) -> Iterator[tuple[str, Any]]:
        """Yield each function of the state machine with its answer, for one whole job."""
        machine = self.cloud.endpoints.state_machine_arn
        execution = f"{machine.replace(':stateMachine:', ':execution:')}:from-artefacts"
        submitted = self.ask("submit", "submit_direct", execution_id=execution)
        yield "submit", submitted
        job = {"execution_id": execution, "video_id": submitted["video_id"], "submitted_at": submitted["submitted_at"]}
        end = time.monotonic() + TIMEOUT_SECONDS
        while (seen := self.ask("status", "status", **job))["status"] == "processing" and time.monotonic() < end:
            pass
        yield "status", seen
        yield "deliver", self.ask("deliver", "deliver", execution_id=execution, video_id=submitted["video_id"])
        yield "notify", self.ask("notify", "notify_succeeded", execution_id=execution)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Cloud(generation_seconds=0.1) as cloud:
        yield Bench(cloud, tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="module")
def answers(bench: Bench) -> dict[str, Any]:
    return {
        **dict(bench.job()),
        "api": bench.ask("api", "api_post_videos"),
        "uploads": bench.ask("uploads", "uploads_object_created"),
        "sweep": bench.ask("sweep", "sweep_schedule"),
        "batch": bench.ask("batch", "batch_plan", source=bench.batch()),
        "forward": bench.ask("forward", "forward_notification"),
    }


def test_every_function_has_its_answer() -> None:
    assert set(EXPECTED) == {file.parent.name for file in build.FUNCTIONS.glob("*/app.py")}


@pytest.mark.parametrize("name", EXPECTED, ids=lambda name: f"{name}-{NAME}")
def test_a_function_answers_from_its_artefact_alone(answers: dict[str, Any], name: str) -> None:
    assert EXPECTED[name](answers[name]), answers[name]


def test_without_the_layer_there_is_nothing_to_import_from(bench: Bench) -> None:
    answer = bench.run(replace(bench.functions["notify"], layers=()), {})
    assert json.loads(answer.payload)["errorType"] == "Runtime.ImportModuleError"
