"""Run the commands of the docs as a reader would, and check their results.

Every `sh` and `python` block of the pages runs against the local cloud, in the order of the page.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.demo import SAMPLE
from tests.support.laptop import until
from tests.support.readers import Reader, notification_ids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

BODY: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat",
    "params": {"duration_seconds": 1},
}


@pytest.fixture
def reader(world: RunningCloud, tmp_path: Path) -> Reader:
    return Reader(world, tmp_path)


def test_the_page_about_uploads(world: RunningCloud, reader: Reader) -> None:
    reader.follow("uploads.md", "sh")
    notified = {
        key: world.notification_of_upload(key)
        for key in (
            "uploads/shoes/red shoe.jpg",
            "uploads/shoes/noir.jpg",
            "uploads/shoes/moon.jpg",
            "recipes/typo.json",
            "uploads/pair/spring.manifest.json",
            "requests/boat.json",
        )
    }
    wrong = notified.pop("recipes/typo.json")
    assert (wrong["status"], wrong["recipe"]) == ("recipe_invalid", "typo")
    assert [issue["path"] for issue in wrong["error"]["issues"]] == ["params.fps"]
    assert {notification["status"] for notification in notified.values()} == {"succeeded"}, notified
    prompts = {key: request_of(world, notification)["prompt"] for key, notification in notified.items()}
    assert prompts["uploads/shoes/red shoe.jpg"].startswith("Cinematic reveal of the product")
    assert prompts["uploads/shoes/red shoe.jpg"].endswith("calm light")
    assert prompts["uploads/shoes/noir.jpg"].startswith("Film noir reveal")
    assert prompts["uploads/shoes/noir.jpg"].endswith("tense light")
    assert prompts["uploads/shoes/moon.jpg"].startswith("Méliès reveal")
    pair = request_of(world, notified["uploads/pair/spring.manifest.json"])
    assert [url.rpartition("/")[2] for url in pair["reference_image_urls"]] == ["shoe.jpg", "room.jpg"]
    # The correct recipes caused no notification.
    recipes = {
        notification["source"]["key"]
        for notification in world.all_notifications()
        if notification["status"] == "recipe_invalid"
    }
    assert not recipes & {"recipes/shoes.json", "recipes/pair.json"}


def request_of(world: RunningCloud, notification: dict[str, Any]) -> dict[str, Any]:
    """Return the request to the vendor, from the file beside the video."""
    video = notification["video"]
    sidecar = world.s3.get_object(Bucket=video["bucket"], Key=video["key"].replace(".mp4", ".json"))["Body"].read()
    request: dict[str, Any] = json.loads(sidecar)["request"]
    return request


@pytest.mark.parametrize("name", ["talking-head", "restyle", "default"])
def test_the_worked_recipes_make_videos(world: RunningCloud, name: str) -> None:
    body = SAMPLE.read_bytes()
    if name == "restyle":
        # A short one: other tests' videos may be larger than an upload may be here.
        request = {"model_id": "bytedance/seedance-2.0", "prompt": "A boat", "params": {"duration_seconds": 1}}
        video = world.notification_of_job(world.post(request).json()["job_id"], "succeeded")["video"]
        body = world.s3.get_object(Bucket=video["bucket"], Key=video["key"])["Body"].read()
    world.upload(f"uploads/{name}/{name}-sample", body)
    notification = world.notification_of_upload(f"uploads/{name}/{name}-sample")
    assert notification["status"] == "succeeded", notification


def test_the_page_about_the_api_with_curl(world: RunningCloud, reader: Reader) -> None:
    answers = reader.follow("api.md", "sh")
    assert '"intake": "open"' in answers
    assert '"status": "succeeded"' in answers
    assert '"order": "4711"' in answers
    assert '"default_cost": 5' in answers
    canceled = world.await_notification(
        lambda notification: notification["status"] == "canceled" and notification["job_id"] in answers
    )
    # Stopped, or a poll met the closed job first.
    assert world.execution(canceled["job_id"])["status"] in ("ABORTED", "FAILED")
    assert world.get(canceled["job_id"])["status"] == "canceled"


def test_the_page_about_the_api_with_python(world: RunningCloud, reader: Reader) -> None:
    job_id = reader.follow("api.md", "python").split()[-1]
    notification = world.notification_of_job(job_id)
    assert notification["status"] == "succeeded"
    assert notification["source"]["key"] == f"uploads/default/{job_id}/red-shoe.jpg"
    assert world.paid(job_id) == 1


def test_a_form_is_good_for_one_job_of_its_type_and_size(world: RunningCloud) -> None:
    wanted = {"filename": "a.jpg", "content_type": "image/jpeg"}
    form = world.api.post("/uploads", json=wanted).json()

    def send(content: bytes, **fields: str) -> int:
        return httpx.post(form["url"], data=form["fields"] | fields, files={"file": content}, timeout=30).status_code

    assert send(b"\xff\xd8\xff" + bytes(1_000_001)) == 400  # too large
    assert send(SAMPLE.read_bytes(), **{"Content-Type": "text/html"}) == 403
    assert send(SAMPLE.read_bytes(), key="recipes/default.json") == 403
    assert world.get(form["job_id"])["http"] == 404
    for _ in range(2):
        assert send(SAMPLE.read_bytes()) in (200, 201, 204)
    assert world.notification_of_job(form["job_id"])["status"] == "succeeded"
    assert world.paid(form["job_id"]) == 1


def test_a_canceled_job_is_notified_once_and_the_vendor_keeps_its_video(world: RunningCloud) -> None:
    world.control_vendor("settings", generation_seconds=60)
    try:
        job_id = world.post(BODY).json()["job_id"]
        until(lambda: True if "video_id" in world.get(job_id) else None)
        answer = world.api.delete(f"/videos/{job_id}")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        assert "is paid for" in answer.json()["message"]
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
    assert world.execution(job_id)["status"] in ("ABORTED", "FAILED")  # as above
    notification = world.notification_of_job(job_id)
    assert (notification["status"], notification["paid"]) == ("canceled", "yes")
    assert world.api.delete(f"/videos/{job_id}").status_code == 200
    # The event of the execution's end has arrived by now, and caused no further notification.
    marker = world.post(BODY).json()["job_id"]
    world.notification_of_job(marker)
    assert len(world.notifications[job_id]) == 1
    ended = world.api.delete(f"/videos/{marker}")
    assert (ended.status_code, ended.json()["error_code"]) == (409, "job_ended")


def test_a_list_can_be_followed_to_its_end(world: RunningCloud) -> None:
    key = str(uuid.uuid4())
    jobs = {world.post(BODY, **{"Idempotency-Key": f"{key}-{n}"}).json()["job_id"] for n in range(3)}
    for job_id in jobs:
        assert world.notification_of_job(job_id)["status"] == "succeeded"
    found, query = set(), {"status": "succeeded", "limit": "2"}
    for _ in range(100):
        page = world.api.get("/videos", params=query).json()
        found |= {job["job_id"] for job in page["jobs"]}
        if "next_token" not in page:
            break
        query["next_token"] = page["next_token"]
    assert jobs <= found


def test_the_page_about_notifications(world: RunningCloud, reader: Reader) -> None:
    reader.follow("notifications.md", "sh")
    recipe = {**BODY, "reference_image_urls": ["{{asset_url}}"]}
    world.upload("recipes/shoes.json", json.dumps(recipe).encode())
    world.upload("uploads/shoes/filtered.jpg", SAMPLE.read_bytes())
    world.upload("recipes/filtered.json", b"{")
    job_id = world.post({**BODY, "model_id": "standin/always-fails"}).json()["job_id"]
    world.upload("uploads/filtered-none/a.jpg", SAMPLE.read_bytes())
    shoes = world.notification_of_upload("uploads/shoes/filtered.jpg")
    broken = world.notification_of_upload("recipes/filtered.json")
    missing = world.notification_of_upload("uploads/filtered-none/a.jpg")
    generation_failed = world.notification_of_job(job_id)
    notified = [notification["notification_id"] for notification in (shoes, broken, missing, generation_failed)]
    assert [n["status"] for n in (shoes, broken, missing, generation_failed)] == [
        "succeeded",
        "recipe_invalid",
        "failed",
        "failed",
    ]
    expected = {
        "finished-videos": {notified[0]},
        "needs-an-operator": set(),
        "wrong-requests": {notified[1], notified[2]},
        "only-seedance": {notified[0]},
        "only-shoes": {notified[0]},
        "no-rows-of-batches": set(notified),
    }
    for queue, ids in expected.items():
        assert notification_ids(world, queue, until_there=ids) & set(notified) == ids, queue
