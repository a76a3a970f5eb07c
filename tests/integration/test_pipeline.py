"""Test the whole system as its users meet it: files and requests in, videos and notifications out.

Everything except AWS and the vendor is real: this repository's template, its functions in their own processes, its
state machine in a strict interpreter, HTTP, S3, SNS and SQS.
"""

from __future__ import annotations

import json
import uuid
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import httpx
import pytest

from local.demo import SAMPLE
from tests.support.laptop import until

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat crosses a calm lake at dawn",
    "params": {"duration_seconds": 1, "aspect_ratio": "16:9"},
}
RECIPE: dict[str, Any] = {**BODY, "reference_image_urls": ["{{asset_url}}"]}


@pytest.fixture(scope="module", autouse=True)
def recipes(world: RunningCloud) -> None:
    """Upload a recipe with a short video."""
    world.upload("recipes/short.json", json.dumps(RECIPE).encode())


def test_a_picture_becomes_a_video_and_a_notification(world: RunningCloud) -> None:
    recipe = {**RECIPE, "params": {"duration_seconds": 2, "aspect_ratio": "9:16", "generate_audio": True}}
    world.upload("recipes/portrait.json", json.dumps(recipe).encode())
    world.upload("uploads/portrait/Product Nº 1.JPG", SAMPLE.read_bytes())

    notification = world.notification_of_upload("uploads/portrait/Product Nº 1.JPG")
    assert notification["status"] == "succeeded"
    assert notification["paid"] == "yes"
    video = notification["video"]
    body = world.s3.get_object(Bucket=video["bucket"], Key=video["key"])["Body"].read()
    assert len(body) == video["bytes"]
    with av.open(BytesIO(body)) as container:
        stream = container.streams.video[0]
        assert abs(container.duration / av.time_base - 2) <= 0.2
        assert Fraction(stream.width, stream.height) == Fraction(9, 16)
        assert container.streams.audio
        assert (video["width"], video["height"]) == (stream.width, stream.height)
        assert abs(video["duration_seconds"] - 2) <= 0.2
    sidecar = json.loads(
        world.s3.get_object(Bucket=video["bucket"], Key=video["key"].replace(".mp4", ".json"))["Body"].read()
    )
    assert sidecar["video_id"] == notification["video_id"]
    assert sidecar["request"]["prompt"] == recipe["prompt"]
    assert "Signature" not in json.dumps(sidecar)
    assert world.paid(notification["job_id"]) == 1
    assert world.execution(notification["job_id"])["status"] == "SUCCEEDED"


def test_a_request_is_followed_until_it_is_done(world: RunningCloud) -> None:
    answer = world.post({**BODY, "metadata": {"order": "4711"}})
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    assert answer.headers["location"] == f"/videos/{job_id}"

    notification = world.notification_of_job(job_id)
    assert notification["metadata"] == {"order": "4711"}
    job = world.get(job_id)
    assert (job["http"], job["status"], job["credits_used"]) == (200, "succeeded", 5)
    assert list(job["timeline"]) >= ["queued", "submitting", "processing"]
    video = httpx.get(job["video"]["url"])
    assert video.status_code == 200
    assert len(video.content) == job["video"]["bytes"]


def test_repeats_are_paid_once(world: RunningCloud) -> None:
    """Two identical S3 events and two posts with one Idempotency-Key are two paid calls in all."""
    before = len(world.vendor()["submissions"])
    key = "uploads/short/twice.jpg"
    world.upload(key, SAMPLE.read_bytes())
    by_upload = world.notification_of_upload(key)["job_id"]
    head = world.s3.head_object(Bucket=world.at.uploads_bucket, Key=key)
    event = json.loads(Path("events/uploads_object_created.json").read_text())
    event["detail"]["bucket"]["name"] = world.at.uploads_bucket
    event["detail"]["object"] |= {"key": key, "size": head["ContentLength"], "version-id": head["VersionId"]}
    lambda_ = world.cloud.client("lambda")
    uploads = next(
        f["FunctionName"] for f in lambda_.list_functions()["Functions"] if "UploadsFunction" in f["FunctionName"]
    )
    payload = json.dumps(event)
    twice = [
        json.loads(lambda_.invoke(FunctionName=uploads, Payload=payload)["Payload"].read())["job_id"] for _ in range(2)
    ]
    idempotency_key = str(uuid.uuid4())
    posts = [world.post(BODY, **{"Idempotency-Key": idempotency_key}) for _ in range(2)]
    assert [post.status_code for post in posts] == [202, 202]
    by_post = {post.json()["job_id"] for post in posts}

    assert set(twice) == {by_upload}
    assert len(by_post) == 1
    jobs = {by_upload, *twice, *by_post}
    for job_id in jobs:
        assert world.notification_of_job(job_id)["status"] == "succeeded"
        assert world.paid(job_id) == 1
        assert len(world.notifications[job_id]) == 1
    assert len(world.vendor()["submissions"]) - before == len(jobs)


def test_another_request_under_the_same_key_is_a_conflict(world: RunningCloud) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    assert world.post(BODY, **key).status_code == 202
    answer = world.post({**BODY, "prompt": "something else"}, **key)
    assert answer.status_code == 409
    assert answer.json()["error_code"] == "job_conflict"


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("revoked", "AuthenticationFailed"),
        ("no_plan", "SubscriptionRequired"),
        ("scheduler", "TierNotAllowed"),
        ("no_credits", "InsufficientCredits"),
    ],
)
def test_an_account_error_holds_the_job_until_it_is_fixed(world: RunningCloud, state: str, error: str) -> None:
    world.control_vendor("key", key="valid", state=state)
    try:
        job_id = world.post(BODY).json()["job_id"]
        held = world.notification_of_job(job_id, "on_hold")
        assert held["error"]["error"] == error
        assert held["error"]["advice"]
        assert held["paid"] == "no"
    finally:
        world.control_vendor("key", key="valid", state="valid")
    assert world.notification_of_job(job_id, "succeeded")["paid"] == "yes"
    assert [notification["status"] for notification in world.notifications[job_id]] == ["on_hold", "succeeded"]
    assert world.paid(job_id) == 1


def test_a_generation_that_fails_is_reported_with_its_reason(world: RunningCloud) -> None:
    job_id = world.post({**BODY, "model_id": "standin/always-fails"}).json()["job_id"]
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["paid"], notification["error"]["error"]) == (
        "failed",
        "yes",
        "GenerationFailed",
    )
    execution = world.execution(job_id)
    assert (execution["status"], execution["error"]) == ("FAILED", "GenerationFailed")
    assert json.loads(execution["cause"])["code"] == "generation_failed"
    assert world.get(job_id)["error"]["advice"]


def test_an_unknown_outcome_is_never_sent_again(world: RunningCloud) -> None:
    world.control_vendor("faults", route="generate", kind="reset_after_read")
    job_id = world.post(BODY).json()["job_id"]
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["paid"]) == ("uncertain", "unknown")
    assert world.execution(job_id)["error"] == "SubmissionUncertain"
    assert world.paid(job_id) == 1


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("generate", "rate_limited"),
        ("generate", "server_error_json"),
        ("status", "server_error_html"),
        ("status", "reset_after_read"),
        ("status", "unknown_status"),
        ("status", "succeeded_without_url"),
        ("output", "truncated"),
        ("output", "html_200"),
        ("output", "expired_link"),
    ],
)
def test_a_passing_fault_passes(world: RunningCloud, route: str, kind: str) -> None:
    world.control_vendor("faults", route=route, kind=kind)
    job_id = world.post(BODY).json()["job_id"]
    assert world.notification_of_job(job_id)["status"] == "succeeded"
    assert world.paid(job_id) == 1


BAD_UPLOADS = {
    "uploads/short/text.jpg": (b"this is no picture", "UploadUnsupported"),
    "uploads/short/empty.jpg": (b"", "UploadUnreadable"),
    "uploads/short/large.jpg": (b"\xff\xd8\xff" + bytes(1_000_001), "UploadTooLarge"),
    "uploads/nobody-wrote-this/a.jpg": (SAMPLE.read_bytes(), "RecipeMissing"),
    "uploads/broken/a.jpg": (SAMPLE.read_bytes(), "RecipeInvalid"),
    "uploads/ten/a.jpg": (SAMPLE.read_bytes(), "InvalidPayload"),
    "uploads/video-wanted/a.jpg": (SAMPLE.read_bytes(), "UploadUnsupported"),
    "requests/broken.json": (b"{", "RequestUnreadable"),
    "requests/unknown-field.json": (json.dumps({**BODY, "colour": "red"}).encode(), "InvalidPayload"),
    "requests/unknown-model.json": (json.dumps({**BODY, "model_id": "no/such-model"}).encode(), "InvalidPayload"),
    "requests/%F0%28%8C%28.json": (b"\xf0\x28\x8c\x28", "RequestUnreadable"),
}


def test_bad_files_are_named_and_cost_nothing(world: RunningCloud) -> None:
    before = len(world.vendor()["submissions"])
    world.upload("recipes/broken.json", b"{")
    world.upload("recipes/ten.json", json.dumps({**RECIPE, "reference_image_urls": ["{{asset_url}}"] * 10}).encode())
    world.upload("recipes/video-wanted.json", json.dumps({**BODY, "video_url": "{{asset_url}}"}).encode())
    for key, (content, _) in BAD_UPLOADS.items():
        world.upload(key, content)
    for key, (_, error) in BAD_UPLOADS.items():
        notification = world.notification_of_upload(key)
        assert (notification["status"], notification["paid"], notification["error"]["error"]) == (
            "failed",
            "no",
            error,
        ), key
        assert notification["error"]["advice"]
        assert world.execution(notification["job_id"])["status"] == "FAILED"
    assert len(world.vendor()["submissions"]) == before


@pytest.mark.parametrize(
    ("body", "status", "code", "path"),
    [
        (b"{", 400, "invalid_json", None),
        (b"", 400, "invalid_json", None),
        (b"[]", 422, "invalid_payload", None),
        ({**BODY, "colour": "red"}, 422, "invalid_payload", "colour"),
        (
            {**BODY, "reference_image_urls": ["https://example.com/a.jpg"] * 10},
            422,
            "invalid_payload",
            "reference_image_urls",
        ),
        (
            {**BODY, "reference_audio_urls": ["https://example.com/a.mp3"]},
            422,
            "invalid_payload",
            "reference_audio_urls",
        ),
        ({**BODY, "model_id": "openai/sora-2", "speech_text": "hello"}, 422, "invalid_payload", "speech_text"),
        ({**BODY, "params": {"fps": "24"}}, 422, "invalid_payload", "params.fps"),
        ({"prompt": "no model"}, 422, "invalid_payload", "model_id"),
        ({**BODY, "metadata": []}, 422, "invalid_payload", "metadata"),
        (b'{"model_id": "a", "prompt": "' + b"x" * 300_000 + b'"}', 413, "payload_too_large", None),
    ],
)
def test_a_bad_request_is_refused_at_once(
    world: RunningCloud, body: Any, status: int, code: str, path: str | None
) -> None:
    before = len(world.vendor()["submissions"])
    answer = world.post(body)
    document = answer.json()
    assert (answer.status_code, document["ok"], document["code"], document["error_code"]) == (
        status,
        False,
        status,
        code,
    )
    if path is not None:
        assert path in [issue["path"] for issue in document["issues"]]
    assert len(world.vendor()["submissions"]) == before


def test_an_unknown_job_is_a_404(world: RunningCloud) -> None:
    answer = world.get("api-nobody")
    assert (answer["http"], answer["error_code"]) == (404, "job_not_found")


def test_an_execution_may_be_started_directly(world: RunningCloud) -> None:
    name = f"direct-{uuid.uuid4().hex}"
    world.sfn.start_execution(
        stateMachineArn=world.at.state_machine_arn, name=name, input=json.dumps({"request": BODY})
    )
    assert world.notification_of_job(name)["status"] == "succeeded"
    assert world.get(name)["status"] == "succeeded"


def test_an_aborted_execution_is_notified_and_not_lost(world: RunningCloud) -> None:
    world.control_vendor("settings", generation_seconds=60)
    try:
        job_id = world.post(BODY).json()["job_id"]
        arn = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
        until_paid(world, job_id)
        world.sfn.stop_execution(executionArn=arn)
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["paid"]) == ("interrupted", "yes")
    assert "redrive" in notification["error"]["advice"]


def until_paid(world: RunningCloud, job_id: str) -> None:
    until(lambda: True if "video_id" in world.get(job_id) else None)


def test_nothing_private_is_written_anywhere(world: RunningCloud) -> None:
    """Runs last: covers all logs, records and notifications of the tests above."""
    world.upload("uploads/short/private.jpg", SAMPLE.read_bytes())
    notification = world.notification_of_upload("uploads/short/private.jpg")
    world.execution(notification["job_id"])
    pages = world.sfn.get_paginator("list_executions").paginate(stateMachineArn=world.at.state_machine_arn)
    executions = [execution for page in pages for execution in page["executions"]]
    histories = [
        json.dumps(world.history(execution["executionArn"]), default=str)
        for execution in executions
        if not execution["name"].startswith("direct-")
    ]
    written = {
        "logs": world.cloud.logs(),
        "histories": "\n".join(histories),
        "notifications": json.dumps(world.all_notifications(), ensure_ascii=False),
    }
    keys = [part for key in world.cloud.genviral_keys.values() for part in (key, key.split(".")[1])]
    private = [BODY["prompt"], "X-Amz-Signature", "X-Amz-Credential", "/files/", 'File "', *keys]
    assert len(histories) > 10
    for place, text in written.items():
        assert len(text) > 1000, place
        for secret in private:
            assert secret not in text, f"{secret!r} stands in the {place}"
