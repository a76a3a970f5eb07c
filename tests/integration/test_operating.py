"""Test the operator's commands and the sweep on the running system."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local.demo import SAMPLE
from ops.exits import Exit
from tests.support.laptop import until
from tests.support.operating import BODY, await_sweep_age, done, ops, paid_and_running, submissions, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration


@pytest.fixture
def uncertain(world: RunningCloud) -> str:
    """Make a job whose paid call arrived and whose answer was lost."""
    world.control_vendor("faults", route="generate", kind="reset_after_read")
    job_id: str = world.post(BODY).json()["job_id"]
    assert world.notification_of_job(job_id)["status"] == "uncertain"
    world.execution(job_id)
    return job_id


@pytest.fixture
def slow_vendor(world: RunningCloud) -> Iterator[None]:
    """Keep videos unfinished during a test."""
    world.control_vendor("settings", generation_seconds=15)
    yield
    world.control_vendor("settings", generation_seconds=0.5)


def queued(world: RunningCloud) -> set[str]:
    return {job["job_id"] for job in json.loads(done(world, "list", "--status", "queued", "--json"))["jobs"]}


def test_an_uncertain_job_is_attached_and_delivered(world: RunningCloud, uncertain: str) -> None:
    assert uncertain in done(world, "list", "--status", "uncertain")
    shown = done(world, "show", uncertain)
    assert "attach" in shown
    assert BODY["prompt"] not in shown
    (submission,) = submissions(world, uncertain)
    done(world, "attach", uncertain, submission["video_id"])
    assert world.notification_of_job(uncertain, "succeeded")["video_id"] == submission["video_id"]
    assert len(submissions(world, uncertain)) == 1
    refused = ops(world, "attach", uncertain, submission["video_id"])
    assert (refused.returncode, refused.stdout) == (Exit.REFUSED, "")
    assert "succeeded" in refused.stderr


def test_a_wrong_video_is_replaced_while_it_is_polled(world: RunningCloud, uncertain: str) -> None:
    (submission,) = submissions(world, uncertain)
    refused = ops(world, "attach", uncertain, "no-such-video")
    assert (refused.returncode, refused.stdout) == (Exit.REFUSED, "")
    assert "does not know the video no-such-video" in refused.stderr
    assert world.get(uncertain)["status"] == "uncertain"
    wrong = done(world, "attach", uncertain, "no-such-video", "--force").split()[-1]
    refused = ops(world, "attach", uncertain, submission["video_id"])
    assert (refused.returncode, refused.stdout) == (Exit.REFUSED, "")
    done(world, "attach", uncertain, submission["video_id"], "--replace")
    assert world.notification_of_job(uncertain, "succeeded")["video_id"] == submission["video_id"]
    assert world.sfn.describe_execution(executionArn=wrong)["status"] in (
        "ABORTED",
        "FAILED",
    )  # stopped, or a poll met the closed job first
    assert [notification["status"] for notification in world.notifications[uncertain]] == ["uncertain", "succeeded"]
    assert len(submissions(world, uncertain)) == 1


def test_a_resubmission_is_paid_for_under_a_new_key(world: RunningCloud, uncertain: str) -> None:
    assert ops(world, "resubmit", uncertain).returncode == Exit.REFUSED
    world.free_probes()  # or it waits for minutes, as the price is not known yet
    done(world, "resubmit", uncertain, "--yes")
    assert world.notification_of_job(uncertain, "succeeded")["paid"] == "yes"
    assert [one["idempotency_key"] for one in submissions(world, uncertain)] == [uncertain, f"{uncertain}.1"]


@pytest.mark.usefixtures("slow_vendor")
def test_an_interrupted_job_is_redriven_and_delivered(world: RunningCloud) -> None:
    job_id = paid_and_running(world)
    arn = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
    assert "running" in ops(world, "redrive", job_id).stderr
    world.sfn.stop_execution(executionArn=arn)
    world.notification_of_job(job_id, "interrupted")
    done(world, "redrive", job_id)
    assert world.notification_of_job(job_id, "succeeded")["paid"] == "yes"
    assert len(submissions(world, job_id)) == 1
    assert [notification["status"] for notification in world.notifications[job_id]] == ["interrupted", "succeeded"]
    described = world.sfn.describe_execution(executionArn=arn)
    assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 1)


@pytest.mark.usefixtures("slow_vendor")
def test_a_canceled_job_is_notified_once_and_its_video_can_be_fetched(world: RunningCloud) -> None:
    job_id = paid_and_running(world)
    done(world, "cancel", job_id)
    notification = world.notification_of_job(job_id, "canceled")
    assert notification["paid"] == "yes"
    assert world.get(job_id)["status"] == "canceled"
    assert world.execution(job_id)["status"] in ("ABORTED", "FAILED")  # stopped, or a poll met the closed job first
    done(world, "cancel", job_id)
    done(world, "attach", job_id, notification["video_id"])
    assert world.notification_of_job(job_id, "succeeded")["video_id"] == notification["video_id"]
    assert [notification["status"] for notification in world.notifications[job_id]] == ["canceled", "succeeded"]
    assert len(submissions(world, job_id)) == 1


def test_an_upload_waits_while_intake_is_stopped(world: RunningCloud) -> None:
    recipe = {**BODY, "reference_image_urls": ["{{asset_url}}"]}
    world.upload("recipes/waiting.json", json.dumps(recipe).encode())
    before = queued(world)
    done(world, "stop-intake")
    try:
        refused = world.post(BODY)
        assert (refused.status_code, refused.json()["error_code"]) == (503, "intake_stopped")
        assert refused.headers["retry-after"]
        world.upload("uploads/waiting/shoe.jpg", SAMPLE.read_bytes())
        job_id = until(lambda: next(iter(queued(world) - before), None))
        await_sweep_age(world, job_id)
        count = sweep(world)
        assert count["seen"]
        assert count["started"] == 0
        assert (world.get(job_id)["status"], submissions(world, job_id)) == ("queued", [])
    finally:
        done(world, "start-intake", "--yes")
    sweep(world)
    notification = world.notification_of_upload("uploads/waiting/shoe.jpg", "succeeded")
    assert notification["job_id"] == job_id
    assert len(submissions(world, job_id)) == 1
    sweep(world)
    assert len(world.notifications[job_id]) == 1


def test_a_video_is_found_by_whatever_is_known_of_it(world: RunningCloud) -> None:
    recipe = {**BODY, "reference_image_urls": ["{{asset_url}}"]}
    world.upload("recipes/lost.json", json.dumps(recipe).encode())
    key = "uploads/lost/lost shoe.jpg"
    world.upload(key, SAMPLE.read_bytes())
    notification = world.notification_of_upload(key, "succeeded")
    job_id = notification["job_id"]
    uploads = notification["source"]["bucket"]
    video = notification["video"]
    for what in (
        job_id,
        notification["execution"],
        notification["notification_id"],
        notification["video_id"],
        key,
        "lost shoe.jpg",
        f"s3://{uploads}/{key}",
        video["key"],
        f"s3://{video['bucket']}/{video['key'].removesuffix('.mp4')}.json",
        world.get(job_id)["video"]["url"],
    ):
        shown = done(world, "show", what)
        assert shown.startswith(f"job           {job_id}\n"), what
        assert f"s3://{video['bucket']}/{video['key']}" in shown
    world.upload(key, SAMPLE.read_bytes())
    listed = until(lambda: lines if len(lines := done(world, "show", key).splitlines()) == 3 else None)
    assert job_id in listed[1]
    asked = world.post(BODY, **{"idempotency-key": "order 4711"}).json()["job_id"]
    until(lambda: True if asked in ops(world, "show", "order 4711").stdout else None)


def test_an_unknown_stack_is_refused(world: RunningCloud) -> None:
    refused = ops(world, "--stack", "nothing", "list")
    assert (refused.returncode, refused.stdout) == (Exit.NOT_FOUND, "")
    assert "no stack nothing" in refused.stderr
