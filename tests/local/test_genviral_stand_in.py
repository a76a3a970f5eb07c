"""Test the stand-in for Genviral over HTTP, on the loopback."""

from __future__ import annotations

import io
import json
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import httpx
import pytest
from PIL import Image

import local.genviral
from local.genviral import GenviralStandIn
from local.genviral.faults import KINDS
from local.genviral.media import MediaStore
from local.genviral.model_list import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

# No proxy, and no certificates read from disk for every client: nothing here leaves the loopback.
PLAIN: dict[str, Any] = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
SEED_BODY = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "Cinematic product reveal",
    "params": {"duration_seconds": 1, "aspect_ratio": "9:16", "generate_audio": True},
}
QUICK = {"model_id": "standin/always-fails"}
README = (Path(local.genviral.__file__).parent / "README.md").read_text()


class Driver:
    """One stand-in with a client per account and a client for its controls."""

    def __init__(self, standin: GenviralStandIn) -> None:
        self.standin = standin
        self.admin = httpx.Client(base_url=standin.admin_url, **PLAIN)
        self._clients: list[httpx.Client] = [self.admin]

    def client(self, account: str = "valid") -> httpx.Client:
        authorization = {"Authorization": f"Bearer {self.standin.keys[account]}"}
        client = httpx.Client(base_url=self.standin.url, headers=authorization, **PLAIN)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def control(self, name: str, /, **body: object) -> dict[str, Any]:
        answer = self.admin.post(name, json=body)
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.admin.get("state").json()
        return state

    def finished(self, video_id: str) -> dict[str, Any]:
        with self.client() as client:
            for _ in range(400):
                answer = client.get(f"studio/videos/{video_id}")
                assert (answer.status_code, answer.json()["ok"]) == (200, True)
                data: dict[str, Any] = answer.json()["data"]
                if data["status"] != "processing":
                    return data
                time.sleep(0.05)
        raise AssertionError("the video took more than 20 seconds")


@pytest.fixture
def driver() -> Iterator[Driver]:
    with GenviralStandIn(generation_seconds=0) as standin:
        driver = Driver(standin)
        yield driver
        driver.close()


@pytest.fixture(scope="module")
def finished_video() -> Iterator[tuple[Driver, str]]:
    """Yield a stand-in with one finished video and its `output_url`, for tests that only read it."""
    with GenviralStandIn(generation_seconds=0) as standin:
        driver = Driver(standin)
        answer = driver.client().post("studio/videos/generate", json=SEED_BODY)
        yield driver, driver.finished(answer.json()["data"]["video_id"])["output_url"]
        driver.close()


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    """Serve /red.png, /text.jpg and /empty.png. Anything else is a 404."""
    red = io.BytesIO()
    Image.new("RGB", (64, 48), (220, 10, 10)).save(red, "PNG")
    files = {"/red.png": red.getvalue(), "/cut.png": red.getvalue()[:60], "/text.jpg": b"hello", "/empty.png": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.partition("?")[0])
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def generate(client: httpx.Client, body: object = QUICK, **headers: str) -> httpx.Response:
    return client.post("studio/videos/generate", json=body, headers=headers)


def refused(answer: httpx.Response) -> tuple[int, str | None]:
    document = answer.json()
    assert document["ok"] is False
    assert document["code"] == answer.status_code
    assert document["message"]
    return answer.status_code, document.get("error_code")


# The happy path


def test_the_202_has_the_shape_of_the_vendors_example(driver: Driver) -> None:
    document = generate(driver.client(), SEED_BODY).json()

    video_id, prediction_id = (document["data"].pop(name) for name in ("video_id", "prediction_id"))
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", video_id)
    assert re.fullmatch(r"pred_\w+", prediction_id)
    assert document == {
        "ok": True,
        "code": 202,
        "message": "Video generation started",
        "data": {
            "provider": "fal",
            "model_id": "bytedance/seedance-2.0",
            "status": "processing",
            "output_url": None,
            "credits_used": 5,
        },
    }


def test_a_request_with_a_picture_becomes_a_video_of_that_picture(driver: Driver, pictures: str) -> None:
    body = {**SEED_BODY, "reference_image_urls": [f"{pictures}/red.png?X-Amz-Signature=abc"]}
    video_id = generate(driver.client(), body).json()["data"]["video_id"]

    content = httpx.get(driver.finished(video_id)["output_url"], **PLAIN).content
    with av.open(io.BytesIO(content)) as container:
        video = container.streams.video[0]
        assert (video.width * 16, video.average_rate) == (video.height * 9, 24)
        assert container.duration / av.time_base == pytest.approx(1, abs=0.1)
        assert len(container.streams.audio) == 1
        frame = next(container.decode(video)).to_image()
    red, green, blue = frame.getpixel((frame.width // 2, frame.height // 4))
    assert red > 180 > 60 > max(green, blue)


def test_a_video_is_processing_until_its_time_has_come(driver: Driver) -> None:
    driver.control("settings", generation_seconds=3600)
    video_id = generate(driver.client()).json()["data"]["video_id"]
    data = driver.client().get(f"studio/videos/{video_id}").json()["data"]
    assert (data["status"], data["output_url"], data["error"]) == ("processing", None, None)


def test_a_failed_generation_is_a_success_that_says_failed(driver: Driver) -> None:
    data = driver.finished(generate(driver.client()).json()["data"]["video_id"])
    assert data["status"] == "failed"
    assert isinstance(data["error"], str)
    assert data["output_url"] is None
    assert driver.state()["accounts"]["valid"]["spent"] == 1


def test_models_are_listed_with_cost_and_inputs(driver: Driver) -> None:
    models = {m["id"]: m for m in driver.client().get("studio/models?mode=video").json()["data"]["models"]}
    assert set(models) == set(MODELS)
    assert models["bytedance/seedance-2.0"]["credits"] == {"default_cost": 5}
    assert models["veed/fabric-1.0"]["inputs"]["required"] == ["image_url"]
    assert refused(driver.client().get("studio/models?mode=opera")) == (422, "invalid_query")


# Errors


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ("revoked", (401, "invalid_token")),
        ("no_plan", (402, "subscription_required")),
        ("scheduler", (403, "tier_not_allowed")),
        ("no_credits", (403, "insufficient_credits")),
    ],
)
def test_an_account_is_refused_for_its_state_until_it_is_fixed(
    driver: Driver, account: str, expected: tuple[int, str]
) -> None:
    client = driver.client(account)
    answer = generate(client)
    assert refused(answer) == expected
    assert ("action_url" in answer.json()) == ("remediation_hint" in answer.json()) == (expected[0] != 401)

    driver.control("key", key=account, state="valid")
    assert generate(client).status_code == 202
    assert driver.control("key", key=account, state=account)["accounts"][account]["spent"] == 1
    assert refused(generate(client)) == expected


def test_checks_come_in_the_order_key_plan_json_payload_input_credits(driver: Driver) -> None:
    def post(account: str | None, content: bytes) -> tuple[int, str | None]:
        headers = {} if account is None else {"Authorization": f"Bearer {driver.standin.keys.get(account, account)}"}
        url = f"{driver.standin.url}/studio/videos/generate"
        return refused(httpx.post(url, content=content, headers=headers, **PLAIN))

    broken, wrong = b'{"model_id": ', b'{"model_id": "standin/always-fails", "oops": 1}'
    unusable = b'{"model_id": "standin/always-fails", "speech_text": "hello"}'
    assert post(None, broken) == (401, None)
    assert post("nobody.nothing", broken) == (401, "invalid_token")
    assert post("no_plan", broken) == (402, "subscription_required")
    assert post("no_credits", broken) == (400, "invalid_json")
    assert post("no_credits", wrong) == (422, "invalid_payload")
    assert post("no_credits", unusable) == (422, "invalid_input")
    assert post("no_credits", json.dumps(QUICK).encode()) == (403, "insufficient_credits")


URL = "http://127.0.0.1:9/x.png"


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"model_id": "acme/unknown"}, "invalid_payload", ["model_id"]),
        ({"model_id": None}, "invalid_payload", ["model_id"]),
        ({"prompt": None}, "invalid_payload", ["prompt"]),
        ({"prompt": "\ud800"}, "invalid_payload", ["prompt"]),
        ({"style": "noir"}, "invalid_payload", ["style"]),
        ({"params": {"seed": 1}}, "invalid_payload", ["params", "seed"]),
        ({"params": {"fps": "24"}}, "invalid_payload", ["params", "fps"]),
        ({"params": {"generate_audio": 1}}, "invalid_payload", ["params", "generate_audio"]),
        ({"params": {"aspect_ratio": "wide"}}, "invalid_payload", ["params", "aspect_ratio"]),
        ({"image_url": "ftp://example.com/a.png"}, "invalid_payload", ["image_url"]),
        ({"reference_image_urls": [URL] * 10}, "invalid_payload", ["reference_image_urls"]),
        ({"reference_video_urls": [URL] * 4}, "invalid_payload", ["reference_video_urls"]),
        ({"image_url": URL, "reference_audio_urls": [URL] * 4}, "invalid_payload", ["reference_audio_urls"]),
        ({"reference_audio_urls": [URL]}, "invalid_input", ["reference_audio_urls"]),
        ({"audio_url": URL}, "invalid_input", ["audio_url"]),
        ({"image_url": URL}, "invalid_input", ["image_url"]),
        ({"params": {"resolution": "8k"}}, "invalid_input", ["params", "resolution"]),
        ({"params": {"aspect_ratio": "100:1"}}, "invalid_input", ["params", "aspect_ratio"]),
        ({"params": {"duration_seconds": 61}}, "invalid_input", ["params", "duration_seconds"]),
        ({"model_id": "openai/sora-2", "speech_text": "hi"}, "invalid_input", ["speech_text"]),
        ({"model_id": "google/veo-3", "voice_id": "aria"}, "invalid_input", ["voice_id"]),
        ({"model_id": "google/veo-3", "video_url": URL}, "model_input_not_supported", ["video_url"]),
        ({"model_id": "veed/fabric-1.0", "speech_text": "hi"}, "model_requires_image", ["image_url"]),
        ({"model_id": "creatify/lipsync", "speech_text": "hi"}, "invalid_input", ["video_url"]),
    ],
)
def test_a_request_that_cannot_work_is_a_422_that_names_the_field(
    finished_video: tuple[Driver, str], change: dict[str, object], code: str, path: list[str]
) -> None:
    driver, _ = finished_video
    answer = driver.client().post("studio/videos/generate", content=json.dumps({**QUICK, **change}))
    assert refused(answer) == (422, code)
    assert [issue["path"] for issue in answer.json()["issues"]] == [path]


@pytest.mark.parametrize("name", ["text.jpg", "empty.png", "cut.png", "missing.png"])
def test_a_picture_that_cannot_be_read_is_refused_and_not_charged(driver: Driver, pictures: str, name: str) -> None:
    answer = generate(driver.client(), {**QUICK, "reference_image_urls": [f"{pictures}/red.png", f"{pictures}/{name}"]})
    assert refused(answer) == (422, "invalid_input")
    assert [issue["path"] for issue in answer.json()["issues"]] == [["reference_image_urls", 1]]
    assert pictures not in answer.text
    assert driver.state()["accounts"]["valid"]["credits"] == 1000


def test_a_proxy_for_the_internet_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pictures: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    media = MediaStore(tmp_path)
    for origin in (pictures, pictures.replace("127.0.0.1", "localhost")):
        assert media.gather([("image", ("image_url",), f"{origin}/red.png")])
    media.close()


def test_a_video_may_be_a_video_reference_but_not_a_sound(finished_video: tuple[Driver, str], pictures: str) -> None:
    driver, url = finished_video
    assert generate(driver.client(), {**QUICK, "video_url": url}).status_code == 202
    answer = generate(driver.client(), {**QUICK, "video_url": url, "audio_url": f"{pictures}/red.png"})
    assert refused(answer) == (422, "invalid_input")


def test_a_video_is_found_by_its_owner_only(driver: Driver) -> None:
    video_id = generate(driver.client()).json()["data"]["video_id"]
    assert refused(driver.client("no_credits").get(f"studio/videos/{video_id}")) == (404, "video_not_found")
    assert refused(driver.client().get("studio/videos/nothing")) == (404, "video_not_found")
    assert refused(driver.client().get("studio/slideshows")) == (404, "not_found")


# Money


def test_fifty_posts_at_once_spend_exactly_what_there_is(driver: Driver) -> None:
    driver.control("credits", key="valid", credits=152)
    client = driver.client()
    with ThreadPoolExecutor(50) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda _: generate(client, SEED_BODY), range(50)))

    assert statuses == [202] * 30 + [403] * 20
    state = driver.state()
    assert state["accounts"]["valid"] == {"state": "valid", "credits": 2, "spent": 150}
    assert [submission["cost"] for submission in state["submissions"]] == [5] * 30
    assert state["requests"]["generate"] == {"202": 30, "403": 20}
    assert state["videos"] == 1, "equal requests share one video"


def test_an_idempotency_key_is_recorded_but_charged_again(driver: Driver) -> None:
    answers = [generate(driver.client(), **{"Idempotency-Key": "job-1"}).json() for _ in range(2)]
    assert answers[0] != answers[1]
    submissions = driver.state()["submissions"]
    assert [(s["key"], s["idempotency_key"], s["model_id"]) for s in submissions] == [
        ("valid", "job-1", "standin/always-fails")
    ] * 2
    assert {s["video_id"] for s in submissions} == {answer["data"]["video_id"] for answer in answers}


def test_an_honoured_idempotency_key_pays_once_per_account() -> None:
    with GenviralStandIn(generation_seconds=0, honour_idempotency=True) as standin:
        driver = Driver(standin)
        client = driver.client()
        driver.control("credits", key="valid", credits=1)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: generate(client, **{"Idempotency-Key": "job-1"}).json(), range(20)))
        assert all(answer == answers[0] for answer in answers)
        driver.control("credits", key="no_credits", credits=1)
        other = generate(driver.client("no_credits"), **{"Idempotency-Key": "job-1"}).json()
        assert other["data"]["video_id"] != answers[0]["data"]["video_id"]
        assert len(driver.state()["submissions"]) == 2
        driver.close()


# The file behind the link


def test_ranges_of_the_file_add_up_to_the_file(finished_video: tuple[Driver, str]) -> None:
    _, url = finished_video
    whole = httpx.get(url, **PLAIN)
    size, etag = len(whole.content), whole.headers["etag"]
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]+"', etag)

    def part(wanted: str, **more: str) -> httpx.Response:
        return httpx.get(url, headers={"Range": wanted, **more}, **PLAIN)

    head, middle, tail = part("bytes=0-999", **{"If-Range": etag}), part("bytes=1000-"), part("bytes=-7")
    assert (head.status_code, middle.status_code, tail.status_code) == (206, 206, 206)
    assert head.content + middle.content == whole.content
    assert tail.content == whole.content[-7:]
    assert middle.headers["content-range"] == f"bytes 1000-{size - 1}/{size}"
    beyond = part(f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert part("bytes=0-9", **{"If-Range": '"another"'}).status_code == 200
    announced = httpx.head(url, **PLAIN)
    assert (announced.headers["content-length"], announced.content) == (str(size), b"")


def test_a_link_is_worthless_when_it_is_altered_or_has_expired(finished_video: tuple[Driver, str]) -> None:
    _, url = finished_video
    for changed in (url[:-4] + "beef", re.sub(r"expires=\d+", "expires=99999999999", url), url.split("?")[0]):
        assert httpx.get(changed, **PLAIN).status_code == 403
    with GenviralStandIn(generation_seconds=0, link_seconds=-60) as standin:
        late = Driver(standin)
        body = {**SEED_BODY, "params": {"duration_seconds": 1, "fps": 8}}
        video_id = generate(late.client(), body).json()["data"]["video_id"]
        expired = httpx.get(late.finished(video_id)["output_url"], **PLAIN)
        late.close()
    assert expired.status_code == 403
    assert expired.headers["content-type"].startswith("text/html")


# Faults

PAID = {"reset_after_read", "hang", "garbage_2xx", "truncated", "slow"}
BROKEN = (httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)


def outcome(driver: Driver, fault: dict[str, object]) -> httpx.Response | None:
    """Return the answer to the one generate request that a fault hits. None if the connection broke."""
    driver.control("faults", route="generate", **fault)
    try:
        return generate(driver.client())
    except BROKEN:
        return None


GENERATE_KINDS = [kind for kind, meaning in KINDS.items() if "generate" in meaning.routes]


@pytest.mark.parametrize("kind", GENERATE_KINDS)
def test_a_fault_hits_once_and_charges_only_where_it_says_so(driver: Driver, kind: str) -> None:
    answer = outcome(driver, {"kind": kind, "seconds": 0.1})

    assert len(driver.state()["submissions"]) == (1 if kind in PAID else 0)
    assert driver.state()["faults"] == []
    if kind.startswith("reset") or kind == "truncated":
        assert answer is None
    else:
        assert answer is not None
        expected = {"rate_limited": 429, "server_error_html": 502, "server_error_json": 500, "credits_402": 402}
        expected |= {"empty_body": 502, "hang": 202, "slow": 202, "unauthorized": 401, "not_found": 404}
        assert answer.status_code == expected.get(kind, 302 if kind == "redirect_private" else 200)
    assert generate(driver.client()).status_code == 202, "and then it is over"


def test_answers_of_faults_are_what_they_are_called(driver: Driver) -> None:
    def hit(**fault: object) -> httpx.Response:
        answer = outcome(driver, fault)
        assert answer is not None
        return answer

    assert "retry-after" not in hit(kind="rate_limited").headers
    assert hit(kind="rate_limited", retry_after=7).headers["retry-after"] == "7"
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert hit(kind="rate_limited", retry_after=date).headers["retry-after"] == date
    assert "<html>" in hit(kind="server_error_html").text
    assert refused(hit(kind="server_error_json")) == (500, "generation_failed")
    assert refused(hit(kind="credits_402")) == (402, "insufficient_credits")
    assert hit(kind="empty_body").content == b""
    assert "<html>" in hit(kind="html_200").text
    assert hit(kind="not_ok_2xx").json()["ok"] is False
    with pytest.raises(ValueError):
        hit(kind="garbage_2xx").json()


def test_a_hanging_answer_outlasts_an_impatient_client_and_is_paid(driver: Driver) -> None:
    driver.control("faults", route="generate", kind="hang", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        driver.client().post("studio/videos/generate", json=QUICK, timeout=httpx.Timeout(5, read=0.5))
    assert len(driver.state()["submissions"]) == 1


def test_faults_of_the_status_hit_the_video_they_are_meant_for(finished_video: tuple[Driver, str]) -> None:
    driver, url = finished_video
    video_id = driver.state()["submissions"][0]["video_id"]
    other = generate(driver.client()).json()["data"]["video_id"]
    client = driver.client()

    def hit(kind: str) -> httpx.Response:
        driver.control("faults", route="status", kind=kind, video_id=video_id)
        assert client.get(f"studio/videos/{other}").json()["data"]["status"] == "failed"
        return client.get(f"studio/videos/{video_id}")

    assert hit("unknown_status").json()["data"]["status"] == "queued_somewhere"
    without = hit("succeeded_without_url").json()["data"]
    assert (without["status"], without["output_url"]) == ("succeeded", None)
    assert httpx.get(hit("expired_link").json()["data"]["output_url"], **PLAIN).status_code == 403
    assert refused(hit("not_found")) == (404, "video_not_found")
    assert client.get(hit("redirect").headers["location"]).status_code == 404, "relative to the host, not to the base"
    assert httpx.get(url, **PLAIN).status_code == 200


def test_faults_of_the_file_spoil_a_download(finished_video: tuple[Driver, str]) -> None:
    driver, url = finished_video
    whole = httpx.get(url, **PLAIN).content

    def hit(kind: str, **options: object) -> httpx.Response:
        driver.control("faults", route="output", kind=kind, **options)
        return httpx.get(url, headers={"Range": "bytes=0-99"}, follow_redirects=kind == "redirect", **PLAIN)

    with pytest.raises(httpx.RemoteProtocolError):
        hit("truncated")
    with pytest.raises(BROKEN):
        hit("reset_after_read")
    everything = hit("no_ranges")
    assert (everything.status_code, everything.content) == (200, whole)
    assert "accept-ranges" not in everything.headers
    assert hit("expired_link").status_code == 403
    assert hit("html_200").headers["content-type"].startswith("text/html")
    assert hit("redirect_private").headers["location"] == "http://169.254.169.254/"
    assert hit("redirect").content == whole[:100]
    assert hit("slow", seconds=0.1).content == whole[:100]


def test_faults_come_in_order_repeat_and_can_be_forgotten(driver: Driver) -> None:
    driver.control("faults", route="models", kind="rate_limited", times=2)
    driver.control("faults", route="models", kind="server_error_json", times=5)
    client = driver.client()
    assert [client.get("studio/models").status_code for _ in range(3)] == [429, 429, 500]
    assert driver.state()["faults"][0]["times"] == 4
    driver.admin.delete("faults")
    assert client.get("studio/models").status_code == 200


# The controls, the documentation, the process


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("faults", {"route": "models", "kind": "no_ranges"}),
        ("faults", {"route": "kitchen", "kind": "hang"}),
        ("faults", {"route": "models", "kind": "hang", "seconds": 301}),
        ("faults", {"route": "models", "kind": "hang", "times": 0}),
        ("faults", {"route": "models", "kind": "hang", "probability": 0.5}),
        ("key", {"key": "standin-valid.not-a-secret", "state": "valid"}),
        ("key", {"key": "valid", "state": "gone"}),
        ("credits", {"key": "valid", "credits": -1}),
        ("settings", {}),
    ],
)
def test_a_wrong_control_request_says_why(
    finished_video: tuple[Driver, str], route: str, body: dict[str, object]
) -> None:
    driver, _ = finished_video
    before = driver.state()
    answer = driver.admin.post(route, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert driver.state() == before


def test_the_readme_lists_exactly_what_there_is(driver: Driver) -> None:
    unknown = driver.admin.get("nothing")
    assert unknown.status_code == 404
    assert unknown.json()["routes"] == re.findall(r"^\| `(\w+ /_standin/\w+)` \|", README, re.MULTILINE)

    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| .+ \| *(yes|no|) *\|$", README, re.MULTILINE)
    assert {kind: tuple(routes.split(", ")) for kind, routes, _ in rows} == {k: v.routes for k, v in KINDS.items()}
    assert {kind for kind, _, paid in rows if paid == "yes"} == PAID
    models = re.findall(r"^\| `([\w.-]+/[\w.-]+)` \| (\d+) \|", README, re.MULTILINE)
    assert {name: int(cost) for name, cost in models} == {name: model.cost for name, model in MODELS.items()}


@pytest.mark.parametrize("end", ["the parent dies", "SIGTERM", "SIGINT"])
def test_the_process_announces_itself_and_leaves_nothing_behind(tmp_path: Path, end: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.genviral", "--json", "--generation-seconds", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"TMPDIR": str(tmp_path), "PATH": ""},
    )
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        headers = {"Authorization": f"Bearer {facts['keys']['valid']}"}
        with httpx.Client(headers=headers, **PLAIN) as client:
            long = {**SEED_BODY, "params": {"duration_seconds": 60, "resolution": "1080p"}}
            answer = client.post(f"{facts['genviral_url']}/studio/videos/generate", json=long)
            assert answer.status_code == 202
            assert client.get(f"{facts['admin_url']}/state").json()["videos"] == 1
            assert list(tmp_path.iterdir())
            if end == "the parent dies":
                assert process.stdin is not None
                process.stdin.close()
            else:
                process.send_signal(getattr(signal, end))
            assert process.wait(timeout=10) == 0
        assert process.stdout.read() == b""
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    assert list(tmp_path.iterdir()) == []
