"""Test rare cases that need rights of their own: videos of several parts, lost events, missing files."""

from __future__ import annotations

import io
import json
import os
import signal
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.support.laptop import until
from tests.support.operating import await_sweep_age, paid_and_running, sweep
from tests.support.processes import PROC, errors_in, signal_all

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat crosses a calm lake at dawn",
    "params": {"duration_seconds": 1, "aspect_ratio": "16:9"},
}


@pytest.mark.skipif(not (PROC / "self" / "environ").exists(), reason="finds processes in Linux's /proc")
def test_a_killed_multipart_copy_continues_with_the_parts_it_has(world: RunningCloud) -> None:
    name = f"direct-{uuid.uuid4().hex}"
    place = {"Bucket": world.at.videos_bucket, "Key": f"videos/{datetime.now(UTC):%Y/%m/%d}/{name}.mp4"}
    leftover = world.s3.create_multipart_upload(**place)["UploadId"]
    # Incompressible content makes a video of more than one part.
    noise = io.BytesIO()
    Image.frombytes("RGB", (2304, 1296), os.urandom(2304 * 1296 * 3)).save(noise, "JPEG")
    world.upload("assets/noise.jpg", noise.getvalue())
    picture = world.s3.generate_presigned_url(
        "get_object", Params={"Bucket": world.at.uploads_bucket, "Key": "assets/noise.jpg"}
    )
    params = {"duration_seconds": 2, "aspect_ratio": "16:9", "resolution": "1080p"}
    world.control_vendor("settings", generation_seconds=3)
    try:
        world.sfn.start_execution(
            stateMachineArn=world.at.state_machine_arn,
            name=name,
            input=json.dumps({"request": {**BODY, "params": params, "reference_image_urls": [picture]}}),
        )
        video_id = until(lambda: world.get(name).get("video_id"))
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
    # The first request for it, which is for the first part.
    world.control_vendor("faults", route="output", kind="slow", seconds=60, video_id=video_id)

    def parts() -> list[int] | None:
        uploads = world.s3.list_multipart_uploads(Bucket=place["Bucket"], Prefix=place["Key"]).get("Uploads", [])
        ids = [upload["UploadId"] for upload in uploads if upload["UploadId"] != leftover]
        return [
            part["PartNumber"] for id_ in ids for part in world.s3.list_parts(**place, UploadId=id_).get("Parts", [])
        ] or None

    assert 1 not in until(parts)
    signal_all("DeliverFunction", signal.SIGKILL)

    notification = world.notification_of_job(name)
    assert notification["status"] == "succeeded"
    assert errors_in(world, name) == ["Runtime.ExitError"]
    assert world.paid(name) == 1
    assert world.s3.head_object(**place)["ContentLength"] == notification["video"]["bytes"] > 6 * 1024 * 1024
    assert not world.s3.list_multipart_uploads(Bucket=place["Bucket"], Prefix=place["Key"]).get("Uploads")
    names = [entry["Key"] for entry in world.s3.list_objects_v2(Bucket=place["Bucket"])["Contents"]]
    assert not [name for name in names if name.endswith(".partial")]


def test_a_paid_video_outlives_the_deletion_of_its_record(world: RunningCloud) -> None:
    world.control_vendor("settings", generation_seconds=4)
    try:
        job_id = paid_and_running(world)
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
    video_id = world.get(job_id)["video_id"]
    world.table.delete_item(TableName=world.at.jobs_table, Key={"job_id": {"S": job_id}})
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["video_id"], notification["paid"]) == ("succeeded", video_id, "yes")
    assert world.paid(job_id) == 1


def test_the_sweep_finds_and_notifies_what_no_event_reported(world: RunningCloud) -> None:
    events = world.cloud.client("events")
    rule = next(one["Name"] for one in events.list_rules()["Rules"] if "ExecutionEnded" in one["Name"])
    world.control_vendor("settings", generation_seconds=60)
    try:
        job_id = paid_and_running(world)
        events.disable_rule(Name=rule)
        world.sfn.stop_execution(
            executionArn=f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
        )
        await_sweep_age(world, job_id)
        assert sweep(world)["interrupted"]
        assert world.get(job_id)["status"] == "interrupted"
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
        events.enable_rule(Name=rule)
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["paid"]) == ("interrupted", "yes")
    sweep(world)
    assert len(world.notifications[job_id]) == 1


def test_an_execution_that_failed_unrecorded_is_recorded_and_notified(world: RunningCloud) -> None:
    job_id = f"direct-{uuid.uuid4().hex}"
    event = json.loads(Path("events/notify_execution_status_change.json").read_text())
    event["detail"]["executionArn"] = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
    lambda_ = world.cloud.client("lambda")
    functions = [one["FunctionName"] for one in lambda_.list_functions()["Functions"]]
    notify = next(name for name in functions if "NotifyFunction" in name)
    answer = lambda_.invoke(FunctionName=notify, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert world.notification_of_job(job_id)["status"] == "interrupted"
    assert world.get(job_id)["status"] == "interrupted"


def test_a_file_that_is_gone_is_called_gone_and_not_forbidden(world: RunningCloud) -> None:
    world.upload("recipes/gone.json", json.dumps({**BODY, "reference_image_urls": ["{{asset.gone}}"]}).encode())
    world.upload(
        "uploads/gone/a.manifest.json", json.dumps({"assets": {"gone": "assets/nobody-sent-this.jpg"}}).encode()
    )
    error = world.notification_of_upload("uploads/gone/a.manifest.json")["error"]
    assert (error["error"], error["code"]) == ("AssetMissing", "upload_unreadable"), error
    assert "not in the uploads bucket" in error["message"]
    form = world.api.post(
        "/uploads", json={"filename": "a.jpg", "content_type": "image/jpeg", "recipe": "nobody-wrote-this"}
    )
    assert (form.status_code, form.json()["error_code"]) == (422, "recipe_missing")
