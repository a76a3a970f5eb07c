"""What programs and people read: the data keeps to its schema, the text says what happened, what to do and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from shared.genviral.errors import InsufficientCredits, InvalidInput
from shared.jobs.errors import RecipeInvalid
from shared.jobs.notices import (
    BATCH_CHECKED,
    BATCH_FINISHED,
    BATCH_INTERRUPTED,
    BATCH_REJECTED,
    RECIPE_INVALID,
    UPLOAD_IGNORED,
    VERSION,
    Notice,
    notice_for,
    notice_of_recipe,
)
from shared.jobs.record import Job
from shared.jobs.states import Status
from tests.unit.fakes import BODY, EXECUTION, JOB_ID, VIDEO_ID, World, caught

if TYPE_CHECKING:
    from collections.abc import Callable

# Told by tests/unit/test_steps_batch.py, and held against the schema there.
BATCH_STATUSES = (BATCH_FINISHED, BATCH_CHECKED, BATCH_REJECTED, BATCH_INTERRUPTED)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "notification.schema.json").read_text())
OUTPUT = {
    "bucket": "example-videos",
    "key": f"videos/2026/11/22/{JOB_ID}.mp4",
    "bytes": 377_576,
    "duration_seconds": 5.0,
    "width": 486,
    "height": 864,
}


def valid(message: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(message)


def delivered(world: World) -> None:
    world.paid_job(metadata={"order": 1}, model_id=BODY["model_id"], recipe="default")
    world.store.move(JOB_ID, Status.DELIVERING, output=OUTPUT)
    world.announcer().succeeded(EXECUTION)


def failed(world: World) -> None:
    world.job()
    issues = ({"path": "params.fps", "message": "must be a number"},)
    world.announcer().failed(EXECUTION, caught(InvalidInput("The model does not take this.", issues=issues)))


def held(world: World) -> None:
    world.job()
    trouble = InsufficientCredits("You have 0 credits", action_url="https://www.genviral.io/billing")
    world.announcer().on_hold(EXECUTION, caught(trouble))


def uncertain(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.announcer().failed(EXECUTION, {"Error": "SubmissionUncertain", "Cause": ""})


def timed_out(world: World) -> None:
    world.paid_job()
    world.announcer().failed(EXECUTION, {"Error": "TimedOut", "Cause": ""})


def interrupted(world: World) -> None:
    world.paid_job()
    world.announcer().interrupted(EXECUTION, ended="FAILED", error="AwsCallFailed", cause="", moment="1")


def canceled(world: World) -> None:
    world.paid_job()
    world.announcer().canceled(JOB_ID)


NOTICES: dict[str, Callable[[World], None]] = {
    "succeeded": delivered,
    "failed": failed,
    "on_hold": held,
    "uncertain": uncertain,
    "timed_out": timed_out,
    "interrupted": interrupted,
    "canceled": canceled,
}


def recipe_notice() -> Notice:
    source = {"type": "recipe", "bucket": "example-uploads", "key": "recipes/shoes.json"}
    fault = RecipeInvalid("recipe 'shoes' is not valid JSON")
    return notice_of_recipe("s3-1", source, recipe="shoes", fault=fault, occurred_at="2026-11-22T10:15:30Z")


@pytest.mark.parametrize("status", NOTICES)
def test_every_notice_keeps_to_the_schema(world: World, status: str) -> None:
    NOTICES[status](world)
    (message,) = world.messages()
    assert message.body["status"] == status
    valid(message.body)


def test_a_recipes_notice_keeps_to_the_schema() -> None:
    notice = recipe_notice()
    valid(notice.message)
    assert "job_id" not in notice.message


def test_the_schema_names_what_can_be_told_and_nothing_else(world: World) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]["status"]["enum"]) == {*NOTICES, RECIPE_INVALID, UPLOAD_IGNORED, *BATCH_STATUSES}
    assert SCHEMA["properties"]["version"]["const"] == VERSION
    delivered(world)
    (message,) = world.messages()
    assert set(message.body) <= set(SCHEMA["properties"])


@pytest.mark.parametrize("without", ["status", "job_id", "video", "paid", "notification_id"])
def test_the_schema_sees_what_is_missing(world: World, without: str) -> None:
    delivered(world)
    (message,) = world.messages()
    with pytest.raises(jsonschema.ValidationError):
        valid({name: value for name, value in message.body.items() if name != without})


def test_video_whose_duration_is_unknown_is_described_by_the_rest(world: World) -> None:
    world.paid_job(model_id=BODY["model_id"])
    known = {name: value for name, value in OUTPUT.items() if name != "duration_seconds"}
    world.store.move(JOB_ID, Status.DELIVERING, output=known)
    world.announcer().succeeded(EXECUTION)
    (message,) = world.messages()
    valid(message.body)
    assert "duration_seconds" not in message.body["video"]
    assert f"{JOB_ID}.mp4 (486x864, 377,576 bytes)" in message.email


def test_a_person_reads_what_happened_where_the_video_is_and_what_it_cost(world: World) -> None:
    delivered(world)
    (message,) = world.messages()
    assert message.email.startswith(f"{JOB_ID}: The video is ready.")
    for fact in (
        f"s3://example-videos/{OUTPUT['key']} (5 s, 486x864, 377,576 bytes)",
        "Paid:    yes",
        "Model:   bytedance/seedance-2.0",
        "https://us-east-1.console.aws.amazon.com/s3/object/example-videos?region=us-east-1&prefix=videos%2F2026",
        f"https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/{EXECUTION}",
    ):
        assert fact in message.email


def test_a_person_reads_what_to_do_and_which_field_is_wrong(world: World) -> None:
    failed(world)
    (message,) = world.messages()
    assert "The model does not take this." in message.email
    assert "  - params.fps: must be a number" in message.email
    assert f"What to do: {InvalidInput.advice}" in message.email


def test_a_person_is_led_to_where_the_account_is_mended(world: World) -> None:
    held(world)
    (message,) = world.messages()
    assert "Where: https://www.genviral.io/billing" in message.email
    assert "You have 0 credits" in message.sms


def test_a_phone_gets_one_message(world: World) -> None:
    world.store.create(JOB_ID, source={"type": "upload", "bucket": "b", "key": "uploads/" + "ü" * 300 + ".jpg"})
    world.announcer().failed(EXECUTION, caught(InvalidInput("x" * 400)))
    (message,) = world.messages()
    assert len(message.sms) <= 160
    assert message.sms.isascii()
    assert message.sms.isprintable()


def test_a_name_cannot_write_a_line_of_its_own_into_the_mail() -> None:
    source = {"type": "upload", "bucket": "b", "key": "uploads/a.jpg\nWhere: https://evil.example"}
    job = Job(
        job_id=JOB_ID, status=Status.FAILED, created_at="2026-11-22T10:15:30Z", source=source, notice_due="failed"
    )
    assert not [line for line in notice_for(job).text.splitlines() if line.startswith("Where: ")]


@pytest.mark.parametrize(
    ("partition", "host"),
    [
        ("aws", "eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "eu-west-1.console.amazonaws.cn"),
        ("aws-us-gov", "eu-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_links_lead_to_the_console_of_the_partition(partition: str, host: str) -> None:
    execution = f"arn:{partition}:states:eu-west-1:123456789012:execution:m:{JOB_ID}"
    job = Job(
        job_id=JOB_ID,
        status=Status.SUCCEEDED,
        created_at="2026-11-22T10:15:30Z",
        source={"type": "api"},
        video_id=VIDEO_ID,
        execution=execution,
        notice_due="succeeded",
    )
    assert f"https://{host}/states/home?region=eu-west-1#/v2/executions/details/{execution}" in notice_for(job).text
