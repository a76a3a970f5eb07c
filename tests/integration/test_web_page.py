"""Test the sample page in a real browser, and that the CORS rules allow its own origin and no other."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from local.cloud import Cloud
from local.demo import SAMPLE
from tests.support.pages import CHROMIUM, TIMEOUT_SECONDS, Site, browser

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[2] / "samples" / "web" / "index.html").read_text()
EVIL = "https://evil.example"
# Choose a file and press the button, as a person would. Then send what the page shows to the test.
_PERSON = """<script>
  const bytes = Uint8Array.from(atob('%s'), letter => letter.charCodeAt(0));
  const chosen = new DataTransfer();
  chosen.items.add(new File([bytes], 'red shoe.jpg', {type: 'image/jpeg'}));
  form.file.files = chosen.files;
  form.querySelector('button').click();
  const timer = setInterval(() => {
    const {state} = document.body.dataset;
    if (![...ended, 'error'].includes(state)) return;
    clearInterval(timer);
    const shown = {state, text: status.textContent, video: document.querySelector('video').src};
    fetch('/shown', {method: 'POST', body: JSON.stringify(shown)});
  }, 100);
</script>"""


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site]]:
    page = PAGE + _PERSON % base64.b64encode(SAMPLE.read_bytes()).decode()
    both = Site(page), Site(page)
    yield both
    for site in both:
        site.close()


@pytest.fixture(scope="module")
def cloud(sites: tuple[Site, Site]) -> Iterator[Cloud]:
    parameters = {
        "AllowedOrigins": f"{sites[0].origin},https://www.example.com",
        "PollFloorSeconds": "1",
        "PollCapSeconds": "2",
    }
    with Cloud(time_scale=0.2, parameters=parameters, generation_seconds=0.5) as cloud:
        yield cloud


def address(site: Site, api_url: str) -> str:
    return f"{site.origin}/?api={quote(api_url, safe='')}"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so the sample page is not tried in a browser")
def test_the_sample_page_makes_a_video_from_its_own_origin_only(
    cloud: Cloud, sites: tuple[Site, Site], tmp_path: Path
) -> None:
    own, other = sites
    with browser(address(own, cloud.endpoints.api_url), tmp_path / "own"):
        shown = own.shown.get(timeout=TIMEOUT_SECONDS)
    assert shown["state"] == "succeeded", shown
    assert httpx.get(shown["video"]).content[4:8] == b"ftyp"
    with browser(address(other, cloud.endpoints.api_url), tmp_path / "other"):
        shown = other.shown.get(timeout=TIMEOUT_SECONDS)
    assert (shown["state"], shown["text"]) == ("error", "Failed to fetch")


def allowed(url: str, origin: str, **asked: str) -> list[str | None]:
    """Return the origin that a preflight and an answer allow."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"} | asked
    answers = httpx.options(url, headers=headers), httpx.get(url, headers={"Origin": origin})
    return [answer.headers.get("access-control-allow-origin") for answer in answers]


def test_only_allowed_origins_may_read_answers(cloud: Cloud, sites: tuple[Site, Site]) -> None:
    at, own = cloud.endpoints, sites[0].origin
    bucket = f"{at.aws_endpoint}/{at.uploads_bucket}"
    asked = {"Access-Control-Request-Headers": "authorization,content-type,idempotency-key"}
    for origin in (own, "https://www.example.com"):
        assert allowed(f"{at.api_url}/health", origin, **asked) == [origin, origin]
        assert allowed(bucket, origin) == [origin, None], "pages send forms, and read nothing"
    for origin in (sites[1].origin, EVIL, "null"):
        assert allowed(f"{at.api_url}/health", origin, **asked) == [None, None]
        assert allowed(bucket, origin) == [None, None]
    assert allowed(f"{at.aws_endpoint}/{at.videos_bucket}", own) == [None, None]
    assert allowed(at.aws_endpoint, own) == [None, None]


PATHS = ["//health", "///health", "/health/"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_no_routes_is_not_found(cloud: Cloud, path: str) -> None:
    assert httpx.get(cloud.endpoints.api_url + path).status_code == 404


def test_a_path_with_a_slash_at_its_end_takes_no_job(cloud: Cloud) -> None:
    answer = httpx.post(f"{cloud.endpoints.api_url}/videos/", json={"model_id": "m", "prompt": "x"})
    assert answer.status_code == 404


def test_a_head_request_is_answered(cloud: Cloud) -> None:
    answer = httpx.head(f"{cloud.endpoints.api_url}/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_two_equal_content_types_are_one(cloud: Cloud) -> None:
    twice = [("Content-Type", "application/json")] * 2
    body = json.dumps({"model_id": "bytedance/seedance-2.0", "prompt": "x", "params": {"duration_seconds": 1}})
    answer = httpx.post(f"{cloud.endpoints.api_url}/videos", headers=twice, content=body)
    assert answer.status_code == 202, answer.text


def test_a_form_whose_file_comes_first_is_refused(cloud: Cloud) -> None:
    wanted = {"filename": "a.jpg", "content_type": "image/jpeg"}
    form = httpx.post(f"{cloud.endpoints.api_url}/uploads", json=wanted).json()
    parts = [("file", ("a.jpg", SAMPLE.read_bytes())), *((name, (None, text)) for name, text in form["fields"].items())]
    assert httpx.post(form["url"], files=parts).status_code == 400
    assert httpx.post(form["url"], files=[*parts[1:], parts[0]]).status_code == 204
