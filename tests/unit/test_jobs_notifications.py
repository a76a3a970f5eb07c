"""Test notifications: the data matches its schema, and the text says what happened, what to do and where."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from ops.next_step import next_step
from shared.faults import Fault, Paid
from shared.genviral.errors import GenerationFailed, InsufficientCredits, InvalidInput
from shared.jobs.errors import RecipeInvalid, TimedOut
from shared.jobs.notifications import (
    BATCH_CHECKED,
    BATCH_FINISHED,
    BATCH_INTERRUPTED,
    BATCH_REJECTED,
    RECIPE_INVALID,
    UPLOAD_IGNORED,
    VERSION,
    Notification,
    notification_for,
    notification_of_upload,
)
from shared.jobs.record import Job
from shared.jobs.states import STATES, Status
from tests.support.fakes import BODY, EXECUTION, JOB_ID, VIDEO_ID, World, arn_of, caught
from tests.support.notifications import SCHEMA, valid

if TYPE_CHECKING:
    from collections.abc import Callable

# Sent in tests/unit/test_steps_batch.py, and validated against the schema there.
BATCH_STATUSES = (BATCH_FINISHED, BATCH_CHECKED, BATCH_REJECTED, BATCH_INTERRUPTED)
OUTPUT = {
    "bucket": "example-videos",
    "key": f"videos/2026/11/22/{JOB_ID}.mp4",
    "bytes": 377_576,
    "duration_seconds": 5.0,
    "width": 486,
    "height": 864,
}


def delivered(world: World) -> None:
    world.paid_job(metadata={"order": 1}, model_id=BODY["model_id"], recipe="default")
    world.store.transition(JOB_ID, Status.DELIVERING, output=OUTPUT)
    world.notifier().succeeded(EXECUTION)


def failed(world: World) -> None:
    world.job()
    issues = ({"path": "params.fps", "message": "must be a number"},)
    world.notifier().failed(EXECUTION, caught(InvalidInput("The model does not take this.", issues=issues)))


def held(world: World) -> None:
    world.job()
    trouble = InsufficientCredits("You have 0 credits", action_url="https://www.genviral.io/billing")
    world.notifier().on_hold(EXECUTION, caught(trouble))


def uncertain(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.notifier().failed(EXECUTION, {"Error": "SubmissionUncertain", "Cause": ""})


def timed_out(world: World) -> None:
    world.paid_job()
    world.notifier().failed(EXECUTION, {"Error": "TimedOut", "Cause": ""})


def interrupted(world: World) -> None:
    world.paid_job()
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="AwsCallFailed", cause="", moment="1")


def canceled(world: World) -> None:
    world.paid_job()
    world.notifier().canceled(JOB_ID)


def reminded(status: Status, world: World) -> None:
    world.entered(status)
    world.notifier().remind(JOB_ID)


NOTIFIED = [status for status, state in STATES.items() if state.metric]
NOTIFICATIONS: dict[str, Callable[[World], None]] = {
    **{status.value: functools.partial(reminded, status) for status in NOTIFIED},
    "succeeded": delivered,
    "failed": failed,
    "on_hold": held,
    "uncertain": uncertain,
    "timed_out": timed_out,
    "interrupted": interrupted,
    "canceled": canceled,
}


def recipe_notification() -> Notification:
    source = {"type": "recipe", "bucket": "example-uploads", "key": "recipes/shoes.json"}
    fault = RecipeInvalid("recipe 'shoes' is not valid JSON")
    return notification_of_upload("s3-1", source, recipe="shoes", fault=fault, occurred_at="2026-11-22T10:15:30Z")


@pytest.mark.parametrize("status", NOTIFICATIONS)
def test_every_notification_keeps_to_the_schema(world: World, status: str) -> None:
    NOTIFICATIONS[status](world)
    (message,) = world.messages()
    assert message.body["status"] == status
    valid(message.body)


def test_a_recipes_notification_keeps_to_the_schema() -> None:
    notification = recipe_notification()
    valid(notification.message)
    assert "job_id" not in notification.message


def test_the_schema_names_what_can_be_notified_and_nothing_else(world: World) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]["status"]["enum"]) == {
        *NOTIFIED,
        RECIPE_INVALID,
        UPLOAD_IGNORED,
        *BATCH_STATUSES,
    }
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
    world.store.transition(JOB_ID, Status.DELIVERING, output=known)
    world.notifier().succeeded(EXECUTION)
    (message,) = world.messages()
    valid(message.body)
    assert "duration_seconds" not in message.body["video"]
    assert f"{JOB_ID}.mp4 (486x864, 377,576 bytes)" in message.email


def test_a_person_reads_what_happened_where_the_video_is_and_what_it_cost(world: World) -> None:
    delivered(world)
    (message,) = world.messages()
    assert message.email.startswith(f"The video is ready: {JOB_ID}\n")
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


def test_a_person_is_led_to_where_the_account_is_fixed(world: World) -> None:
    held(world)
    (message,) = world.messages()
    assert "Where: https://www.genviral.io/billing" in message.email
    assert "You have 0 credits" in message.sms


def test_a_phone_gets_one_message(world: World) -> None:
    world.store.create(JOB_ID, source={"type": "upload", "bucket": "b", "key": "uploads/" + "ü" * 300 + ".jpg"})
    world.notifier().failed(EXECUTION, caught(InvalidInput("x" * 400)))
    (message,) = world.messages()
    assert len(message.sms) <= 160
    assert message.sms.isascii()
    assert message.sms.isprintable()


BLANKS = " " * 90
LONG = "Your account is suspended and nothing was paid for " * 4


def about(name: str, **facts: Any) -> Notification:
    """Return the notification of a job of this name that may have been paid for."""
    source = {"type": "upload", "bucket": "b", "key": f"uploads/{name}"}
    return notification_for(
        Job(
            job_id=JOB_ID,
            created_at="2026-11-22T10:15:30Z",
            notice_due="uncertain",
            **{"status": Status.UNCERTAIN, "source": source, "error": {"code": "x", "message": name, "advice": "a"}}
            | facts,
        )
    )


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg\nWhere: https://evil.example",
        f"a{BLANKS}Paid:    no",
        f"a{BLANKS.replace(' ', chr(0xA0))}Paid:    no",
        f"a{BLANKS.replace(' ', chr(0x3000))}Paid:    no",
        f"a{BLANKS.replace(' ', chr(0x2800))}Paid:    no",
        f"a{BLANKS.replace(' ', chr(0x3164))}Paid:    no",
    ],
)
def test_a_name_cannot_write_a_line_of_its_own_into_the_mail(name: str) -> None:
    lines = about(name).text.splitlines()
    assert not [line for line in lines if line.startswith("Where: ")]
    assert not [line for line in lines if re.search(r"[ \xa0\u3000\u2800\u3164]{9}", line)]
    assert [line for line in lines if line.startswith("Paid:")] == ["Paid:    no"]


@pytest.mark.parametrize(
    "name", ["The video is ready. Nothing was paid", LONG, "\x1b" * 60, "a@b " * 30, "x" * 99, "ü" * 99]
)
@pytest.mark.parametrize("line", [None, 3])
def test_no_name_takes_the_place_of_what_happened_in_a_subject(name: str, line: int | None) -> None:
    source = {"type": "batch", "bucket": "b", "key": f"batches/{name}"} | ({"line": line} if line else {})
    notification = about(name, source=source)
    assert notification.subject.startswith("Nobody knows whether the video was paid for")
    assert notification.short.startswith("Nobody knows whether the video was paid for")
    assert len(notification.subject) <= 100


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("shoe.jpg", "Nobody knows whether the video was paid for; a person must decide: shoe.jpg"),
        ("red shoe.jpg", 'Nobody knows whether the video was paid for; a person must decide: "red shoe.jpg"'),
        ("s" * 40, f"Nobody knows whether the video was paid for: {'s' * 40}"),
        ("s" * 60, f"Nobody knows whether the video was paid for: {'s' * 45}..."),
        ("me@a.example", 'Nobody knows whether the video was paid for; a person must decide: "uploads/me[@]a.example"'),
    ],
)
def test_a_subject_says_what_happened_and_to_what(name: str, subject: str) -> None:
    assert about(name).subject == subject


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("https://evil.example/x", "https[:]//evil[.]example/x"),
        ("HTTP:evil", "HTTP[:]evil"),
        *(
            (f"{scheme}:x", f"{scheme}[:]x")
            for scheme in ("sms", "skype", "javascript", "data", "TEL", "web+x", "h323")
        ),
        ("slack:/x file:/x", "slack[:]/x file[:]/x"),
        ("xmpp:me@evil.example", "xmpp[:]me[@]evil.example"),
        ("%1bsms:x", "%1bsms[:]x"),
        ("_mailto:me@x", "_mailto[:]me[@]x"),
        ("WWW.evil.example", "WWW[.]evil.example"),
        ("see ://evil.example", "see [:]//evil[.]example"),
        ("at 12:30, 16:9 and 2026-11-22T10:15:30Z", "at 12:30, 16:9 and 2026-11-22T10:15:30Z"),
        ("prompt: must be a text; s3://bucket/key", "prompt: must be a text; s3://bucket/key"),
    ],
)
def test_no_text_holds_a_clickable_link_and_each_is_broken_once(words: str, shown: str) -> None:
    notification = about("a.jpg", error={"code": "x", "message": words})
    assert shown in notification.text.splitlines()
    assert shown in notification.short
    if shown != words:
        assert f'"uploads/{shown}"' in about(words).text.splitlines()[0]


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
    assert (
        f"https://{host}/states/home?region=eu-west-1#/v2/executions/details/{execution}" in notification_for(job).text
    )


ROW = {"type": "batch", "bucket": "example-uploads", "key": "batches/a.csv", "line": 2}


@pytest.mark.parametrize("past", ["as planned", "interrupted", "taken up"])
@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_a_row_that_recovers_after_an_interruption_notification_is_mailed(
    world: World, past: str, status: Status
) -> None:
    """Mail subscriptions filter out `reported_in`, and the report may be older than this end."""
    world.paid_job(JOB_ID)
    execution = arn_of(f"{JOB_ID}.r1") if past == "taken up" else EXECUTION
    world.store.set_source(JOB_ID, ROW)
    world.store.update(JOB_ID, execution=execution)
    if past == "interrupted":
        world.notifier().interrupted(EXECUTION, ended="FAILED", error="GenviralUnavailable", cause="", moment="1")
        assert "reported_in" not in world.messages()[-1].attributes
    world.store.transition(JOB_ID, Status.DELIVERING)
    if status is Status.SUCCEEDED:
        world.notifier().succeeded(execution)
    else:
        world.notifier().failed(execution, caught(GenerationFailed("made up", paid=Paid.YES)))
    message = world.messages()[-1]
    assert message.body["status"] == status
    assert ("reported_in" in message.attributes) is (past == "as planned")


def with_two_videos(world: World, **other: Any) -> None:
    """Give the job two videos. It follows the second one, and the first one cost seven credits."""
    world.paid_job()
    world.store.update(JOB_ID, other_videos={"the-first": {"credits_used": 7, "submitted_at": 1, **other}})


def test_a_second_video_in_the_bucket_is_reported_as_being_there(world: World) -> None:
    with_two_videos(world, output={"bucket": "example-videos", "key": "videos/a.mp4"})
    world.store.transition(JOB_ID, Status.DELIVERING, output=OUTPUT)
    world.notifier().succeeded(EXECUTION)
    (message,) = world.messages()
    assert "Others:  video the-first (7 credits), in the bucket: s3://example-videos/videos/a.mp4" in message.email
    assert "the-first at Genviral" not in message.email


@pytest.mark.parametrize("fault", [GenerationFailed("made up", paid=Paid.YES), TimedOut("made up")])
@pytest.mark.parametrize("is_there", [True, False])
def test_where_one_more_video_fails_the_delivered_one_is_not_forgotten(
    world: World, fault: Fault, is_there: bool
) -> None:
    assert world.s3
    output = {"bucket": "example-videos", "key": "videos/a.mp4"}
    with_two_videos(world, **({"output": output} if is_there else {}))
    world.notifier().failed(EXECUTION, caught(fault))
    (message,) = world.messages()
    valid(message.body)
    (other,) = world.lookup().show(JOB_ID)["other_videos"]
    assert ("another one was delivered" in message.body["summary"]) is is_there
    assert ("videos/a.mp4" in other.get("output", {}).get("url", "")) is is_there
    step = next_step(world.record(), None, intake_stopped=False, sweep_by="never")
    if isinstance(fault, GenerationFailed):
        assert ("the-first is in the bucket" in step) is is_there


@pytest.mark.parametrize("is_paid", [True, False])
def test_what_is_not_paid_for_is_tried_again_only_while_intake_is_open(world: World, is_paid: bool) -> None:
    world.paid_job() if is_paid else world.job()
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="RateLimited", cause="", moment="1")
    (message,) = world.messages()
    for text in (message.body["summary"], message.body["error"]["advice"]):
        assert "tried again automatically" in text
        assert ("while intake is open" in text) is not is_paid
