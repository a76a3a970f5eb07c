"""Call the functions' entry points as Lambda does, and define what each sample event needs and does."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from shared import runtime
from shared.faults import Fault
from shared.jobs.states import Status
from shared.steps.batch_plan import Planner
from tests.support.fakes import BODY, FINISHED, JOB_ID, PNG, PROMPT, UPLOADS, VIDEO_ID, VIDEOS, Vendor, World, event
from tests.support.operators import with_index

if TYPE_CHECKING:
    from types import ModuleType

FUNCTIONS = Path(__file__).parents[2] / "functions"
BATCHES = Path(__file__).parents[2] / "samples" / "batches"
RECIPE = {"model_id": BODY["model_id"], "prompt": PROMPT, "reference_image_urls": ["{{asset_url}}"]}


@functools.cache
def function(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"function_{name}", FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CLIENTS: dict[str, Any] = {}


def made_once(service: str, **options: Any) -> Any:
    """Return a cached client in place of `shared.runtime`'s. Creating one takes longer than the test that needs it."""
    if service not in CLIENTS:
        CLIENTS[service] = boto3.session.Session().client(service, **options)
    return CLIENTS[service]


@dataclass
class Context:
    """The context that Lambda passes with the event."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:made-up"
    aws_request_id: str = "8248615f-5a1e-4010-9072-176343532439"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


class Functions:
    """Functions with their environment, in a world that keeps their log lines and metrics."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self._capsys = capsys
        self._log = io.StringIO()
        self.handler = runtime.logger.registered_handler
        self.handler.setStream(self._log)  # type: ignore[attr-defined]  # a StreamHandler

    def call(self, name: str, event: dict[str, Any]) -> Any:
        return function(name).handler(event, Context(name))

    def fails(self, name: str, event: dict[str, Any]) -> Fault:
        with pytest.raises(Fault) as fault:
            self.call(name, event)
        return fault.value

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    def metrics(self) -> dict[str, Any]:
        """Return the metrics emitted since the last call, in CloudWatch's embedded format."""
        found: dict[str, Any] = {}
        for line in self._capsys.readouterr().out.splitlines():
            document = json.loads(line)
            (directive,) = document["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "GenviralVideo"
            found |= {metric["Name"]: document[metric["Name"]] for metric in directive["Metrics"]}
        return found


def uploaded(world: World) -> None:
    world.upload("uploads/shoe.jpg", PNG)
    world.recipe(RECIPE)
    world.store.create(JOB_ID, source={"type": "upload", "bucket": UPLOADS, "key": "uploads/shoe.jpg"})


def finished(world: World) -> None:
    world.vendor = Vendor(get=[FINISHED])
    world.paid_job()


def delivering(world: World) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": VIDEOS, "key": "videos/a.mp4"})


def listed(world: World) -> None:
    world.index()
    world.paid_job()


def adopt(execution: str | None, world: World) -> None:
    """Give the job the execution that the sample event names."""
    if execution and world.store.get(JOB_ID):
        world.store.update(JOB_ID, execution=execution)


def MODELS(_: httpx.Request) -> httpx.Response:  # noqa: N802 - an answer, like FINISHED
    models = [{"id": BODY["model_id"], "mode": "video", "credits": {"default_cost": 5}}]
    return httpx.Response(200, json={"ok": True, "code": 200, "data": {"models": models}})


def planned(world: World) -> dict[str, Any]:
    """Return the sample batch with its plan."""
    world.upload("batches/boats.csv", (BATCHES / "boats.csv").read_bytes())
    return Planner(s3=world.s3, concurrency=20, known=world.store.batch_get).plan(event("batch_plan")["source"])


Prepare = Callable[[World], Any]

SAMPLES: dict[str, tuple[str, Prepare, Callable[[World, Any], bool], set[str]]] = {
    "uploads_object_created": (
        "uploads",
        uploaded,
        lambda world, answer: world.executions() == [answer["job_id"]],
        set(),
    ),
    "api_post_videos": (
        "api",
        lambda world: None,
        lambda world, answer: (
            answer["statusCode"] == 202
            and answer["headers"]["Location"] == f"/videos/{world.executions()[0]}"
            and json.loads(answer["body"]) == {"job_id": world.executions()[0], "status": "queued"}
        ),
        set(),
    ),
    "api_get_video": (
        "api",
        World.paid_job,
        lambda world, answer: answer["statusCode"] == 200 and json.loads(answer["body"])["status"] == "processing",
        set(),
    ),
    "uploads_recipe_created": (
        "uploads",
        lambda world: world.recipe({"prompt": "no model"}),
        lambda world, answer: answer is None and not world.executions(),
        set(),
    ),
    "api_list_videos": (
        "api",
        listed,
        lambda world, answer: [job["job_id"] for job in json.loads(answer["body"])["jobs"]] == [JOB_ID],
        set(),
    ),
    "api_delete_video": (
        "api",
        World.paid_job,
        lambda world, answer: (
            answer["statusCode"] == 200
            and json.loads(answer["body"])["status"] == world.record().status == "canceled"
            and [message.body["status"] for message in world.messages()] == ["canceled"]
        ),
        {"JobsCanceled"},
    ),
    "api_post_uploads": (
        "api",
        lambda world: world.recipe(RECIPE),
        lambda world, answer: (
            answer["statusCode"] == 201
            and answer["headers"]["Location"] == f"/videos/{json.loads(answer['body'])['job_id']}"
        ),
        set(),
    ),
    "api_list_models": (
        "api",
        lambda world: setattr(world, "vendor", Vendor(get=[MODELS])),
        lambda world, answer: (
            json.loads(answer["body"])["models"][0]["default_cost"] == 5
            and answer["headers"]["Cache-Control"] == "private, max-age=600"
        ),
        set(),
    ),
    "api_get_health": (
        "api",
        lambda world: None,
        lambda world, answer: json.loads(answer["body"]) == {"ok": True, "intake": "open"} and not world.vendor.asked,
        set(),
    ),
    "api_head_health": (
        "api",
        lambda world: None,
        lambda world, answer: (answer["statusCode"], answer["body"]) == (200, "") and not world.vendor.asked,
        set(),
    ),
    "submit": (
        "submit",
        lambda world: version_of_the_event(world),
        lambda world, answer: answer["video_id"] == VIDEO_ID and world.record().status == "processing",
        {"JobsSubmitted", "CreditsUsed"},
    ),
    "submit_direct": (
        "submit",
        lambda world: None,
        lambda world, answer: world.record("campaign-2026-11").video_id == answer["video_id"] == VIDEO_ID,
        {"JobsSubmitted", "CreditsUsed"},
    ),
    "status": ("status", finished, lambda world, answer: answer["status"] == "succeeded", {"Polls"}),
    "deliver": (
        "deliver",
        finished,
        lambda world, answer: answer["video"] == world.record().output,
        {"BytesDelivered"},
    ),
    "notify_succeeded": (
        "notify",
        delivering,
        lambda world, _: world.record().status == "succeeded",
        {"JobsSucceeded", "SecondsToFinish"},
    ),
    "notify_failed": (
        "notify",
        World.job,
        lambda world, answer: world.record().status == "failed" and answer["error"]["Error"] == "RecipeMissing",
        {"JobsFailed"},
    ),
    "notify_on_hold": ("notify", World.job, lambda world, answer: answer["wait_seconds"] == 900, {"JobsHeld"}),
    "notify_execution_status_change": (
        "notify",
        World.paid_job,
        lambda world, answer: (
            answer is None and (world.record().error or {})["message"] == "PutObject failed with AccessDenied"
        ),
        {"JobsInterrupted", "JobsLeftInterrupted"},
    ),
    "uploads_batch_created": (
        "uploads",
        lambda world: None,
        lambda world, answer: world.executions(world.batch_machine) == [answer["job_id"]] and not world.executions(),
        set(),
    ),
    "batch_plan": ("batch", planned, lambda world, answer: answer == event("batch_report")["plan"], set()),
    "batch_admit": ("batch", planned, lambda world, answer: answer == {"next": "start", "wait_seconds": 900}, set()),
    "submit_batch_row": (
        "submit",
        planned,
        lambda world, answer: world.record(answer["job_id"]).source == event("submit_batch_row")["input"]["source"],
        {"JobsSubmitted", "CreditsUsed"},
    ),
    "batch_report": (
        "batch",
        planned,
        lambda world, answer: answer["counts"] == {"not_started": 3} and answer["rows"] == 3,
        set(),
    ),
    "batch_rejected": (
        "batch",
        lambda world: None,
        lambda world, answer: answer["error"]["Error"] == "BatchUnreadable" and "promt" in world.messages()[0].email,
        set(),
    ),
    "batch_execution_status_change": (
        "batch",
        lambda world: None,
        lambda world, _: [message.body["status"] for message in world.messages()] == ["batch_interrupted"],
        set(),
    ),
    "forward_notification": (
        "forward",
        lambda world: (world.chat, world.events),
        lambda world, answer: (
            answer is None
            and [event["detail-type"] for event in world.events()] == ["Video Succeeded"]
            and [message["content"]["title"] for message in world.chat()] == [":clapper: The video is ready."]
        ),
        set(),
    ),
    "sweep_schedule": (
        "sweep",
        with_index,
        lambda world, answer: answer == {"seen": 0, "started": 0, "interrupted": 0, "redriven": 0, "notified": 0},
        {
            *("SweptStarted", "SweptInterrupted", "SweptRedriven"),
            *("OldestOpenJobSeconds", "JobsOpen", "JobsOnHold", "JobsAwaitingRedrive"),
        },
    ),
}


def version_of_the_event(world: World) -> None:
    """Create the job of the sample upload, for the version that exists."""
    version = world.upload("uploads/shoe.jpg", PNG)
    world.recipe(RECIPE)
    source = {"type": "upload", "bucket": UPLOADS, "key": "uploads/shoe.jpg", "version_id": version}
    world.store.create(JOB_ID, source=source)


def post(body: object, **headers: str) -> dict[str, Any]:
    document = event("api_post_videos")
    document["body"] = body if isinstance(body, str) else json.dumps(body)
    document["headers"] |= headers
    return document


def payload_of(fault: Fault) -> dict[str, Any]:
    """Return the error document that Lambda's runtime makes of an exception."""
    stack = traceback.extract_tb(fault.__traceback__)
    return {"errorType": type(fault).__name__, "errorMessage": str(fault), "stackTrace": stack.format()}
