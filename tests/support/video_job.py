"""Run the real state machine with made-up ARNs, and scripted answers of the four functions.

The scripted answers have the shape of the real steps' answers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from copy import deepcopy
from typing import Any

from local.aws import asl
from local.aws.interpreter import Run, run
from tests.support.template import RESOURCES, ROOT
from tools.platform_errors import Handling, named

_PROPERTIES = RESOURCES["VideoJob"]["Properties"]
FUNCTIONS = {
    substitution: reference["Fn::GetAtt"][0]
    for substitution, reference in _PROPERTIES["DefinitionSubstitutions"].items()
    if "Fn::GetAtt" in reference
}
"""`${…}` in the definition → the template's logical id."""
MACHINE: dict[str, Any] = json.loads(
    asl.load((ROOT / _PROPERTIES["DefinitionUri"]).read_text(), FUNCTIONS | {"Partition": "aws"})
)
TASKS = {name: state for name, state in MACHINE["States"].items() if state["Type"] == "Task"}

JOB = "s3-4f1c8a3d2b5e697081a2b3c4d5e6f70819283a4b"
WAITING: dict[str, Any] = {"looks": [60, 77, 95], "unfinished": 0, "next": 60}
SUBMITTED: dict[str, Any] = {
    "job_id": JOB,
    "video_id": "video-1",
    "submitted_at": 1_795_342_530,
    "wait_seconds": 60,
    "waiting": WAITING,
}
_POLLED = {name: value for name, value in SUBMITTED.items() if name != "wait_seconds"}
PROCESSING = _POLLED | {"status": "processing", "wait_seconds": 17}
SUCCEEDED = _POLLED | {"status": "succeeded"}
HELD: dict[str, Any] = {"job_id": JOB, "expired": False, "wait_seconds": 900}
EXPIRED = HELD | {"expired": True}


def ended(status: str, fault: Exception) -> dict[str, Any]:
    """Return the answer of Poll about a video that failed."""
    return _POLLED | {"status": status, "error": {"Error": type(fault).__name__, "Cause": str(fault)}}


def said(cause: str | None) -> str:
    """Return the function's message from the document that Lambda puts around an error."""
    return str(json.loads(cause)["errorMessage"]) if cause and '"errorMessage"' in cause else cause or ""


def _closed(payload: dict[str, Any]) -> dict[str, Any]:
    error = {"Error": payload["error"]["Error"], "Cause": said(payload["error"]["Cause"])}
    return {"job_id": JOB, "status": "failed", "error": error}


Scripts = dict[str, list[Any]]
"""State → the answers of its function, call by call."""

HEALTHY: Scripts = {
    "Submit": [SUBMITTED],
    "Poll": [SUCCEEDED],
    "Deliver": [{"video": {"bucket": "videos", "key": f"videos/2026/11/22/{JOB}.mp4", "bytes": 4_711}}],
    "NotifySucceeded": [{"job_id": JOB, "status": "succeeded"}],
    "NotifyFailed": [_closed],
    "Hold": [HELD],
}
_NOTIFY = {"succeeded": "NotifySucceeded", "failed": "NotifyFailed", "on_hold": "Hold"}


class VideoJobRun:
    """One run of the state machine.

    Args:
        **scripts: State → the answers of its function, call by call. The last answer repeats. An exception is raised, a
            callable is called, anything else is the answer. Without a script, the call succeeds.
    """

    def __init__(self, **scripts: list[Any]) -> None:
        self._scripts = {state: list(script) for state, script in {**HEALTHY, **scripts}.items()}
        self.calls: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        """State → the payloads that its function got."""

    def play(self, given: Any = None, *, start: str | None = None, redrive: Run | None = None) -> Run:
        """Run the machine to its end.

        Args:
            given: The execution's input, or with `start` that state's.
            start: The first state.
            redrive: A failed run to resume.
        """
        return run(
            {**MACHINE, "StartAt": start or MACHINE["StartAt"]},
            input={"job_id": JOB, "source": {"type": "upload"}} if given is None else given,
            name=JOB,
            redrive=redrive,
            tasks={
                "SubmitFunction": lambda payload: self._act("Submit", payload),
                "StatusFunction": lambda payload: self._act("Poll", payload),
                "DeliverFunction": lambda payload: self._act("Deliver", payload),
                "NotifyFunction": lambda payload: self._act(_NOTIFY[payload["event"]], payload),
            },
        )

    def _act(self, state: str, payload: dict[str, Any]) -> Any:
        assert payload["execution_id"].endswith(f":{JOB}")
        self.calls[state].append(payload)
        script = self._scripts[state]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(payload) if callable(answer) else deepcopy(answer)


def entries(ran: Run) -> list[tuple[str, Any]]:
    """Return every state that was entered, with its input."""
    entered = [event["stateEnteredEventDetails"] for event in ran.events if "stateEnteredEventDetails" in event]
    return [(details["name"], json.loads(details["input"])) for details in entered]


PLATFORM = {name for kind in (Handling.THROTTLED, Handling.PASSING, Handling.MEMORY) for name in named(kind)}
