"""Test the console's server beside a running cloud: what it shows as it happens, and what it refuses a hostile page."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.build import ROOT
from tests.support.console_process import RunningConsole
from tests.support.laptop import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

TIME_SCALE = 0.05  # as in conftest.py
SCRIPT = "<script>alert(document.cookie)</script>"
SVG = f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>".encode()


@pytest.fixture
def console(world: RunningCloud) -> Iterator[RunningConsole]:
    with RunningConsole(world.at, TIME_SCALE) as console:
        yield console


def events_of(console: RunningConsole, job_id: str, last: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events about a job, up to its last status and the notification."""
    end, found = time.monotonic() + TIMEOUT_SECONDS, []
    while time.monotonic() < end:
        kind, data = console.events.get(timeout=TIMEOUT_SECONDS)
        if data.get("job_id") == job_id:
            found.append((kind, data))
        if {(kind, data["status"]) for kind, data in found} >= {("job", last), ("notification", last)}:
            return found
    pytest.fail(f"the page got only {[(kind, data['status']) for kind, data in found]}")


def test_an_upload_is_followed_live_to_a_video_that_plays(console: RunningConsole) -> None:
    console.sign_in()
    console.listen()
    body = (ROOT / "samples" / "product.jpg").read_bytes()
    sent = console.post("/api/uploads", body, name=f"{time.time_ns()}.jpg")
    events = events_of(console, sent["job_id"], "succeeded")
    notified = next(data for kind, data in events if kind == "notification")
    shown = console.get(f"/api/jobs/{sent['job_id']}")
    assert shown["notification"]["message"] == notified
    assert shown["path"][:3] == ["Begin", "Submit", "Wait"]
    assert shown["path"][-1] == "NotifySucceeded"
    assert (shown["video"]["codec"], shown["video"]["seconds"]) == ("h264", shown["asked"]["seconds"])
    video = console.http.get(shown["video"]["url"])
    assert (video.headers["content-type"], len(video.content)) == ("video/mp4", shown["video"]["bytes"])
    part = console.http.get(shown["video"]["url"], headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, video.content[:100])
    picture = console.http.get(f"/media/{sent['job_id']}/upload")
    assert (picture.headers["content-type"], picture.content) == ("image/jpeg", body)
    assert notified in console.get("/api/laptop")["inbox"]


def test_nothing_is_open_to_others_on_this_machine(console: RunningConsole) -> None:
    with httpx.Client(base_url=console.origin) as other:
        for address in ("/", "/api/jobs", "/api/events", "/api/laptop", "/media/x", "/?token=wrong"):
            answer = other.get(address)
            assert answer.status_code == 401, address
            assert "set-cookie" not in answer.headers
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert other.post("/api/intake", json={"stopped": True}, headers=console.own).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_foreign_page_gets_nothing_even_with_the_cookie(console: RunningConsole, headers: dict[str, str]) -> None:
    console.sign_in()
    token = console.address.partition("token=")[2]
    for method, address in (("GET", "/"), ("GET", "/api/jobs"), ("GET", "/api/events"), ("POST", "/api/intake")):
        sent = {**(console.own if method == "POST" else {}), **headers}
        answer = console.http.request(method, address, headers=sent, json={"stopped": True}, params={"token": token})
        assert answer.status_code == 403, address
        assert "access-control-allow-origin" not in answer.headers
    assert console.get("/api/overview")["intake_stopped"] is False


@pytest.mark.parametrize("name", ["picture.svg", "picture.png", "picture.html"])
def test_an_uploaded_page_or_svg_never_comes_back_as_one(
    world: RunningCloud, console: RunningConsole, name: str
) -> None:
    console.sign_in()
    sent = console.post("/api/uploads", SVG, name=f"{time.time_ns()}-{name}")
    world.notification_of_job(sent["job_id"], "failed")
    answer = console.http.get(f"/media/{sent['job_id']}/upload")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert console.http.get(f"/media/{sent['job_id']}").status_code == 404


def test_a_job_whose_every_word_is_a_script_is_text_everywhere(world: RunningCloud, console: RunningConsole) -> None:
    console.sign_in()
    console.listen()
    asked = {"model_id": SCRIPT, "prompt": SCRIPT, "metadata": {SCRIPT: f"{SCRIPT}{time.time_ns()}"}}
    sent = console.post("/api/requests", json.dumps(asked).encode())
    world.notification_of_job(sent["job_id"], "failed")
    events = events_of(console, sent["job_id"], "failed")
    assert any(SCRIPT in json.dumps(data) for _, data in events)
    for address in (f"/api/jobs/{sent['job_id']}", "/api/jobs?status=failed", "/api/laptop"):
        answer = console.http.get(address)
        assert SCRIPT in answer.text
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == (
            *("application/json", "nosniff"),
        )


def test_it_says_nothing_and_leaves_nothing_behind(world: RunningCloud, console: RunningConsole) -> None:
    def queues() -> list[str]:
        found: list[str] = world.cloud.client("sqs").list_queues(QueueNamePrefix="console-").get("QueueUrls", [])
        return found

    console.sign_in()
    console.listen()
    prompt = f"A very private boat {time.time_ns()}"
    console.post("/api/requests", json.dumps({"model_id": "bytedance/seedance-2.0", "prompt": prompt}).encode())
    before = set(queues())
    assert console.end() == (0, "", "")
    assert len(before - set(queues())) == 1  # those of the other tests were killed
