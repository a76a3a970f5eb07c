"""Run the batch's real state machine with made-up ARNs, and scripted answers of its function."""

from __future__ import annotations

import json
import threading
from typing import Any

from local.aws import asl
from local.aws.interpreter import Run, run
from tests.support.template import RESOURCES, ROOT
from tests.support.video_job import said

PROPERTIES = RESOURCES["BatchJob"]["Properties"]
VIDEO_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:VideoJob"

MACHINE: dict[str, Any] = json.loads(
    asl.load(
        (ROOT / PROPERTIES["DefinitionUri"]).read_text(),
        {"BatchFunctionArn": "BatchFunction", "VideoJobArn": VIDEO_MACHINE, "Partition": "aws"},
    )
)

ROW = MACHINE["States"]["Rows"]["ItemProcessor"]["States"]
TASKS = {name: state for name, state in {**MACHINE["States"], **ROW}.items() if state["Type"] == "Task"}
SOURCE = {"type": "batch", "bucket": "uploads", "key": "batches/spring.csv"}


class BatchJobRun:
    """The function and the video jobs of one run.

    Args:
        rows: The number of rows in the plan.
        concurrency: The number of rows that may run at once.
        **scripts: State → its answers, call by call. The last one repeats. An exception is raised.
    """

    def __init__(self, rows: int = 3, concurrency: int = 2, **scripts: list[Any]) -> None:
        self.jobs = [
            {"job_id": f"row-{number}", "model_id": "m", "source": {**SOURCE, "line": number}} for number in range(rows)
        ]
        plan = {"source": SOURCE, "rows": rows, "started": rows, "concurrency": concurrency, "jobs": "plans/jobs.json"}
        self._scripts: dict[str, list[Any]] = {
            "plan": [plan],
            "admit": [{"next": "start", "wait_seconds": 900}],
            "report": [{"rows": rows}],
            "rejected": [lambda payload: {"error": {**payload["error"], "Cause": said(payload["error"]["Cause"])}}],
            "make": [{}],
            "list": [None],
            **{name: list(script) for name, script in scripts.items()},
        }
        self.calls: dict[str, list[Any]] = {name: [] for name in self._scripts}
        self.under_way = self.most = 0
        self._lock = threading.Lock()

    def play(self, start: str | None = None, given: Any = None) -> Run:
        return run(
            {**MACHINE, "StartAt": start or MACHINE["StartAt"]},
            input={"source": SOURCE} if given is None else given,
            name="s3-batch",
            tasks={"BatchFunction": lambda payload: self._act(payload["event"], payload)},
            machines={VIDEO_MACHINE: self._make},
            objects=self._read,
        )

    def _read(self, bucket: str, key: str) -> str:
        assert (bucket, key) == ("uploads", "plans/jobs.json")
        self._act("list", key)
        return json.dumps(self.jobs)

    def _make(self, name: str, given: Any) -> Any:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            threading.Event().wait(0.01)
            return self._act("make", {"name": name, "input": given})
        finally:
            with self._lock:
                self.under_way -= 1

    def _act(self, name: str, payload: Any) -> Any:
        with self._lock:
            self.calls[name].append(payload)
            script = self._scripts[name]
            answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(payload) if callable(answer) else answer
