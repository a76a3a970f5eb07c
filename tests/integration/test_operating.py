"""The operator's commands and the sweep on the running system, given as a person gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.demo import SAMPLE
from tests.support.laptop import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.laptop import World

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat crosses a calm lake at dawn",
    "params": {"duration_seconds": 1, "aspect_ratio": "16:9"},
}
PATIENCE_SECONDS = 30


def ops(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, without a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    account = {
        "AWS_ENDPOINT_URL": world.at.aws_endpoint,
        "AWS_REGION": world.at.region,
        "AWS_DEFAULT_REGION": world.at.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return subprocess.run(  # noqa: S603 - this project's own command
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        env=kept | account,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def done(world: World, *arguments: str) -> str:
    """What a command says that must succeed."""
    finished = ops(world, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def sweep(world: World) -> dict[str, int]:
    """One sweep, now."""
    lambda_ = world.cloud.client("lambda")
    name = next(
        f["FunctionName"] for f in lambda_.list_functions()["Functions"] if "SweepFunction" in f["FunctionName"]
    )
    answer = lambda_.invoke(FunctionName=name, Payload=b"{}")
    count: dict[str, int] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, count
    return count


def submissions(world: World, job_id: str) -> list[dict[str, Any]]:
    return [one for one in world.vendor()["submissions"] if one["idempotency_key"].split(".")[0] == job_id]


@pytest.fixture
def uncertain(world: World) -> str:
    """A job whose paid call arrived, and whose answer did not."""
    world.tell_vendor("faults", route="generate", kind="reset_after_read")
    job_id: str = world.post(BODY).json()["job_id"]
    assert world.notice_of_job(job_id)["status"] == "uncertain"
    world.execution(job_id)
    return job_id


@pytest.fixture
def slow_vendor(world: World) -> Iterator[None]:
    """Videos that are not finished while a test looks."""
    world.tell_vendor("settings", generation_seconds=6)
    yield
    world.tell_vendor("settings", generation_seconds=0.5)


def paid_and_running(world: World) -> str:
    job_id: str = world.post(BODY).json()["job_id"]
    until(lambda: True if "video_id" in world.get(job_id) else None)
    return job_id


def queued(world: World) -> set[str]:
    return {line.split()[0] for line in done(world, "list", "--status", "queued").splitlines()}


def test_an_uncertain_job_is_attached_and_delivered(world: World, uncertain: str) -> None:
    assert uncertain in done(world, "list", "--status", "uncertain")
    shown = done(world, "show", uncertain)
    assert "attach" in shown
    assert BODY["prompt"] not in shown
    (submission,) = submissions(world, uncertain)
    done(world, "attach", uncertain, submission["video_id"])
    assert world.notice_of_job(uncertain, "succeeded")["video_id"] == submission["video_id"]
    assert len(submissions(world, uncertain)) == 1
    refused = ops(world, "attach", uncertain, submission["video_id"])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "succeeded" in refused.stderr


def test_a_wrong_video_is_replaced_while_it_is_looked_for(world: World, uncertain: str) -> None:
    (submission,) = submissions(world, uncertain)
    refused = ops(world, "attach", uncertain, "no-such-video")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "does not know the video no-such-video" in refused.stderr
    assert world.get(uncertain)["status"] == "uncertain"
    wrong = done(world, "attach", uncertain, "no-such-video", "--force").split()[-1]
    refused = ops(world, "attach", uncertain, submission["video_id"])
    assert (refused.returncode, refused.stdout) == (2, "")
    done(world, "attach", uncertain, submission["video_id"], "--replace")
    assert world.notice_of_job(uncertain, "succeeded")["video_id"] == submission["video_id"]
    assert world.sfn.describe_execution(executionArn=wrong)["status"] in (
        "ABORTED",
        "FAILED",
    )  # stopped, or a poll met the closed job first
    assert [notice["status"] for notice in world.notices[uncertain]] == ["uncertain", "succeeded"]
    assert len(submissions(world, uncertain)) == 1


def test_a_resubmission_is_paid_for_under_a_new_key(world: World, uncertain: str) -> None:
    assert ops(world, "resubmit", uncertain).returncode == 2
    world.free_probes()  # or it waits for minutes, as the price is not known yet
    done(world, "resubmit", uncertain, "--yes")
    assert world.notice_of_job(uncertain, "succeeded")["paid"] == "yes"
    assert [one["idempotency_key"] for one in submissions(world, uncertain)] == [uncertain, f"{uncertain}.1"]


@pytest.mark.usefixtures("slow_vendor")
def test_an_interrupted_job_is_redriven_and_delivered(world: World) -> None:
    job_id = paid_and_running(world)
    arn = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
    assert "running" in ops(world, "redrive", job_id).stderr
    world.sfn.stop_execution(executionArn=arn)
    world.notice_of_job(job_id, "interrupted")
    done(world, "redrive", job_id)
    assert world.notice_of_job(job_id, "succeeded")["paid"] == "yes"
    assert len(submissions(world, job_id)) == 1
    assert [notice["status"] for notice in world.notices[job_id]] == ["interrupted", "succeeded"]
    described = world.sfn.describe_execution(executionArn=arn)
    assert (described["status"], described["redriveCount"]) == ("SUCCEEDED", 1)


@pytest.mark.usefixtures("slow_vendor")
def test_a_canceled_job_is_told_once_and_its_video_can_still_be_fetched(world: World) -> None:
    job_id = paid_and_running(world)
    done(world, "cancel", job_id)
    notice = world.notice_of_job(job_id, "canceled")
    assert notice["paid"] == "yes"
    assert world.get(job_id)["status"] == "canceled"
    assert world.execution(job_id)["status"] in ("ABORTED", "FAILED")  # stopped, or a poll met the closed job first
    done(world, "cancel", job_id)
    done(world, "attach", job_id, notice["video_id"])
    assert world.notice_of_job(job_id, "succeeded")["video_id"] == notice["video_id"]
    assert [notice["status"] for notice in world.notices[job_id]] == ["canceled", "succeeded"]
    assert len(submissions(world, job_id)) == 1


def test_an_upload_waits_while_intake_is_stopped(world: World) -> None:
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
        until(lambda: True if sweep(world)["seen"] else None)
        assert sweep(world)["started"] == 0
        assert (world.get(job_id)["status"], submissions(world, job_id)) == ("queued", [])
    finally:
        done(world, "start-intake", "--yes")
    sweep(world)
    notice = world.notification_of_upload("uploads/waiting/shoe.jpg", "succeeded")
    assert notice["job_id"] == job_id
    assert len(submissions(world, job_id)) == 1
    sweep(world)
    assert len(world.notices[job_id]) == 1


def test_a_video_is_found_by_whatever_is_known_of_it(world: World) -> None:
    recipe = {**BODY, "reference_image_urls": ["{{asset_url}}"]}
    world.upload("recipes/lost.json", json.dumps(recipe).encode())
    key = "uploads/lost/lost shoe.jpg"
    world.upload(key, SAMPLE.read_bytes())
    notice = world.notification_of_upload(key, "succeeded")
    job_id = notice["job_id"]
    uploads = notice["source"]["bucket"]
    video = notice["video"]
    for what in (
        job_id,
        notice["execution"],
        notice["notification_id"],
        notice["video_id"],
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
    listed = until(lambda: lines if len(lines := done(world, "show", key).splitlines()) == 2 else None)
    assert job_id in listed[0]
    asked = world.post(BODY, **{"idempotency-key": "order 4711"}).json()["job_id"]
    until(lambda: True if asked in ops(world, "show", "order 4711").stdout else None)


def test_an_unknown_stack_is_refused(world: World) -> None:
    refused = ops(world, "--stack", "nothing", "list")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no stack nothing" in refused.stderr
