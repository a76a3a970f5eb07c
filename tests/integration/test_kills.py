"""Test kills of function processes by the operating system, at the moments that cost money or a video."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.laptop import until
from tests.support.processes import PROC, errors_in, processes_of, signal_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.laptop import RunningCloud

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (PROC / "self" / "environ").exists(), reason="finds processes in Linux's /proc"),
]
FUNCTIONS = ("SubmitFunction", "DeliverFunction")
BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat crosses a calm lake at dawn",
    "params": {"duration_seconds": 1, "aspect_ratio": "16:9"},
}


@pytest.fixture(autouse=True)
def _alone(world: RunningCloud) -> Iterator[None]:
    """End idle processes first: a retry could meet one that a test has killed and that has not ended yet."""
    for function in filter(processes_of, FUNCTIONS):
        signal_all(function, signal.SIGKILL)
    until(lambda: None if any(map(processes_of, FUNCTIONS)) else True)
    yield
    httpx.delete(f"{world.at.genviral_admin_url}/faults").raise_for_status()


def post(world: RunningCloud) -> str:
    answer = world.post(BODY)
    assert answer.status_code == 202
    return str(answer.json()["job_id"])


def test_killed_after_the_vendor_took_the_paid_call(world: RunningCloud) -> None:
    world.control_vendor("faults", route="generate", kind="hang", seconds=30)
    job_id = post(world)
    until(lambda: world.paid(job_id) or None)
    signal_all("SubmitFunction", signal.SIGKILL)

    until(lambda: "SubmissionInProgress" in errors_in(world, job_id) or None)
    assert not world.notifications[job_id]
    age_claim(world, job_id)
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["paid"]) == ("uncertain", "unknown")
    first, *waited, last = errors_in(world, job_id)
    assert (first, set(waited), last) == ("Runtime.ExitError", {"SubmissionInProgress"}, "SubmissionUncertain")
    assert world.paid(job_id) == 1


def age_claim(world: RunningCloud, job_id: str) -> None:
    """Make a claim so old that the attempt that took it must have ended. The local cloud shortens no time-outs."""
    world.table.update_item(
        TableName=world.at.jobs_table,
        Key={"job_id": {"S": job_id}},
        UpdateExpression="SET attempt_at = attempt_at - :age, claimed_at = claimed_at - :age",
        ExpressionAttributeValues={":age": {"N": "400"}},
    )


def test_killed_before_the_paid_call(world: RunningCloud) -> None:
    world.notification_of_job(post(world), "succeeded")  # now there is a warm process, which gets the next job
    signal_all("SubmitFunction", signal.SIGSTOP)
    job_id = post(world)
    arn = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
    until(lambda: _is_submitting(world, arn))
    signal_all("SubmitFunction", signal.SIGKILL)

    assert world.notification_of_job(job_id)["status"] == "succeeded"
    assert errors_in(world, job_id) == ["Runtime.ExitError"]
    assert world.paid(job_id) == 1


def _is_submitting(world: RunningCloud, arn: str) -> bool | None:
    return any("taskStartedEventDetails" in event for event in world.history(arn)) or None


def test_killed_in_the_middle_of_the_copy(world: RunningCloud) -> None:
    asked = _downloads(world)
    world.control_vendor("faults", route="output", kind="slow", seconds=30)
    job_id = post(world)
    until(lambda: _downloads(world) > asked or None)
    signal_all("DeliverFunction", signal.SIGKILL)

    notification = world.notification_of_job(job_id)
    assert notification["status"] == "succeeded"
    assert errors_in(world, job_id) == ["Runtime.ExitError"]
    video = notification["video"]
    copied = world.s3.get_object(Bucket=video["bucket"], Key=video["key"])["Body"].read()
    assert copied == _video_file(world, notification["video_id"])
    names = [entry["Key"] for entry in world.s3.list_objects_v2(Bucket=video["bucket"])["Contents"]]
    assert sorted(name for name in names if job_id in name) == [video["key"].replace(".mp4", ".json"), video["key"]]


def _downloads(world: RunningCloud) -> int:
    return sum(world.vendor()["requests"].get("output", {}).values())


def _video_file(world: RunningCloud, video_id: str) -> bytes:
    """Download the video from the vendor."""
    key = {"Authorization": f"Bearer {world.cloud.genviral_keys['valid']}"}
    answer = httpx.get(f"{world.at.genviral_url}/studio/videos/{video_id}", headers=key)
    return httpx.get(json.loads(answer.content)["data"]["output_url"]).content
