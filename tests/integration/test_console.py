"""Walk through the console in a real browser, as the people do who wait for a video."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # the package has no types

from local.cloud import Cloud
from local.demo import SAMPLE
from ops.console.server import STATIC
from tests.support.console import PHONE, chromium, console, drop, go, holds, job_id, opened, plays, status_of
from tests.support.laptop import RunningCloud
from tests.support.pages import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed, so the console is not tried in a browser"),
]

PICTURE = SAMPLE.read_bytes()
TIME_SCALE = 0.1
# The most that all of the page may weigh, and what it loads from anywhere: nothing.
MOST_BYTES = 150_000
_SERIOUS = ("serious", "critical")
_SCRIPT = "<script>document.title = 'taken over'</script>"


@pytest.fixture(scope="module")
def laptop() -> Iterator[RunningCloud]:
    parameters = {"PollFloorSeconds": "1", "PollCapSeconds": "2", "HoldSeconds": "10", "BatchConcurrency": "6"}
    with Cloud(time_scale=TIME_SCALE, parameters=parameters, generation_seconds=1) as cloud:
        laptop = RunningCloud(cloud)
        yield laptop
        laptop.close()


@pytest.fixture(scope="module")
def address(laptop: RunningCloud) -> Iterator[str]:
    with console(laptop.cloud, time_scale=TIME_SCALE) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address) as page:
        yield page


def picture(name: str) -> tuple[str, str, bytes]:
    """A picture that no test sent before: what follows its end is no part of it."""
    return f"{name}.jpg", "image/jpeg", PICTURE + uuid.uuid4().bytes


@pytest.fixture(scope="module")
def made(browser: Browser, address: str) -> str:
    """The id of a job whose video is there."""
    with opened(browser, address) as page:
        drop(page, picture("boat"))
        status_of(page, "succeeded")
        return job_id(page)


def test_open_drop_and_play(laptop: RunningCloud, page: Page) -> None:
    name, kind, body = picture("red shoe")
    drop(page, (name, kind, body))
    page.wait_for_selector(".state.present")
    assert page.text_content(".jobhead h1") == name
    status_of(page, "succeeded")
    assert plays(page)["error"] is None
    page.wait_for_selector('[id="state-NotifySucceeded"].visited')
    for state in ("Begin", "Submit", "Wait", "Poll", "Deliver"):
        assert page.query_selector(f'[id="state-{state}"].visited'), state
    page.wait_for_selector(".state.present", state="detached")
    assert "polled" in str(page.text_content(".timeline")), "polls are folded into a line"
    assert laptop.paid(job_id(page)) == 1
    assert "864" in str(page.text_content(".asked")), "what came stands beside what was asked for"


def test_a_dropped_request_becomes_a_job(laptop: RunningCloud, page: Page) -> None:
    body = {"model_id": "bytedance/seedance-2.0", "prompt": uuid.uuid4().hex, "params": {"duration_seconds": 1}}
    drop(page, ("lamp.json", "application/json", json.dumps(body).encode()))
    page.wait_for_selector(f"blockquote >> text={body['prompt']}")
    status_of(page, "succeeded")
    assert laptop.paid(job_id(page)) == 1


def test_a_list_shows_what_happens_without_a_reload(laptop: RunningCloud, page: Page) -> None:
    page.wait_for_selector(".live.on")
    created = laptop.post({"model_id": "bytedance/seedance-2.0", "prompt": "A lamp", "params": {"duration_seconds": 1}})
    row = f'.jobs [data-job="{created.json()["job_id"]}"]'
    page.wait_for_selector(row)
    page.wait_for_selector(f'{row} .chip[data-status="succeeded"]')
    page.wait_for_selector(f"{row} video", state="attached")


def dropped_with(page: Page, switch: str, sign: str, name: str, status: str) -> str:
    """Turn a switch of the laptop, drop a picture, and return its job once it has a status.

    Args:
        sign: What shows that the switch is turned, as a selector.
    """
    go(page, "#/laptop")
    page.click(f'[data-key="{switch}"]')
    page.wait_for_selector(sign)
    go(page, "#/jobs")
    drop(page, picture(name))
    status_of(page, status)
    return job_id(page)


def test_a_job_is_held_and_resumed_by_the_switches(laptop: RunningCloud, page: Page) -> None:
    held = dropped_with(page, "no-credits", ".chip >> text=no credits", "held", "on_hold")
    page.wait_for_selector('[id="state-HoldWait"].present')
    assert "credits" in str(page.text_content(".next")), "the advice"
    go(page, "#/laptop")
    page.wait_for_selector(f'.inbox a[href="#/jobs/{held}"]')
    page.click('[data-key="normal"]')
    go(page, f"#/jobs/{held}")
    status_of(page, "succeeded")
    assert laptop.paid(held) == 1


def test_an_uncertain_job_is_resubmitted_after_a_question(laptop: RunningCloud, page: Page) -> None:
    uncertain = dropped_with(page, "lost-answer", "text=Planned faults", "uncertain", "uncertain")
    page.click('[data-key="resubmit"]')
    page.wait_for_selector("dialog[open]")
    assert not serious(page)
    assert "second time" in str(page.text_content("dialog")), "the question of the command line"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert laptop.get(uncertain)["status"] == "uncertain"
    page.click('[data-key="resubmit"]')
    page.click("dialog .pays")
    status_of(page, "succeeded")
    assert len([one for one in laptop.vendor()["submissions"] if one["idempotency_key"].startswith(uncertain)]) == 2


def test_a_batch_is_checked_then_run_row_by_row(laptop: RunningCloud, page: Page) -> None:
    name = uuid.uuid4().hex
    rows = [
        {"model_id": "bytedance/seedance-2.0", "prompt": f"{name} {row}", "params": {"duration_seconds": 1}}
        for row in range(50)
    ]
    wrong = [*rows, {"model_id": "bytedance/seedance-2.0", "prompt": "x", "params": {"duration_seconds": "long"}}]
    before = len(laptop.vendor()["submissions"])
    drop(page, (f"{name}.jsonl", "application/jsonl", "\n".join(map(json.dumps, wrong)).encode()))
    page.wait_for_selector('.chip[data-status="checked"]')
    assert "line 51" in str(page.text_content(".wrong"))
    assert len(laptop.vendor()["submissions"]) == before, "a check pays nothing"
    assert not serious(page)
    page.click('[data-key="run"]')
    page.click("dialog .pays")
    holds(page, "!location.hash.includes('.check')")
    page.wait_for_selector('[role="progressbar"]')
    page.wait_for_selector('header .chip[data-status="finished"]')
    holds(page, "document.querySelector('[role=progressbar]').ariaValueNow === '51'")
    assert page.locator(".rows li").count() == 51
    assert page.locator('.rows .chip[data-status="succeeded"]').count() == 50
    assert len(laptop.vendor()["submissions"]) == before + 50


def test_a_checks_page_runs_no_other_file(page: Page) -> None:
    addresses = []
    for many in (1, 2):
        row = {"model_id": "bytedance/seedance-2.0", "prompt": uuid.uuid4().hex}
        rows = "\n".join(json.dumps({**row, "params": {"duration_seconds": 1 + one}}) for one in range(many))
        drop(page, (f"{row['prompt']}.jsonl", "application/jsonl", rows.encode()))
        page.wait_for_selector(f'[data-key="run"] >> text={many} row')
        addresses.append(page.evaluate("location.hash"))
        go(page, "#/jobs")
    go(page, addresses[0])
    page.wait_for_selector('.chip[data-status="checked"]')
    page.wait_for_selector(".drop >> text=again to run it")
    assert page.locator('[data-key="run"]').count() == 0
    go(page, addresses[1])
    page.wait_for_selector('[data-key="run"] >> text=2 rows')


def test_an_error_or_a_second_click_sends_no_file_again(page: Page) -> None:
    sent: list[str] = []

    def answer(route: Route) -> None:
        sent.append(parse_qs(urlsplit(route.request.url).query)["name"][0])
        if len(sent) == 2:
            route.fulfill(status=502, json={"error": {"kind": "unanswered", "message": "S3 did not answer"}})
        else:
            route.continue_()

    page.route("**/api/uploads*", answer)
    go(page, "#/new")
    drop(page, picture("one"), picture("two"))
    page.wait_for_selector(".staged li")
    page.check("text=Another video, even if the same")
    page.eval_on_selector("button.primary", "go => { go.click(); go.click(); go.form.requestSubmit() }")
    page.wait_for_selector(".problem")
    page.click("button.primary")
    holds(page, "!location.hash.startsWith('#/new')")
    assert sent == ["one.jpg", "two.jpg", "two.jpg"]


def test_a_recipe_shows_its_error_as_one_types(page: Page) -> None:
    go(page, "#/recipes/default")
    page.wait_for_selector(".errors .fine")
    text = page.input_value("textarea.code")
    page.fill("textarea.code", text.replace('"prompt"', '"promt"'))
    page.wait_for_selector(".errors li >> text=promt")
    assert page.get_attribute("textarea.code", "aria-invalid") == "true"
    line = next(number for number, one in enumerate(text.split("\n"), 1) if '"prompt"' in one)
    page.wait_for_selector(f".numbers .wrong >> text={line}")
    page.fill("textarea.code", text.replace(",", "", 1))
    page.wait_for_selector(".errors li >> text=line 3")
    page.fill("textarea.code", text.replace("Cinematic", "Quiet"))
    page.wait_for_selector(".errors .fine")
    page.wait_for_selector("pre >> text=Quiet")
    page.keyboard.press("Control+s")
    page.wait_for_selector("text=is saved")
    page.reload()
    holds(page, "document.querySelector('textarea.code')?.value.includes('Quiet')")


def test_a_form_pays_for_no_video_of_nothing(page: Page) -> None:
    go(page, "#/new?form=1")
    page.wait_for_selector('[data-input="prompt"]')
    page.click("button.primary")
    page.wait_for_selector(".problem >> text=Nothing was sent")
    page.fill('[data-input="prompt"]', "A lamp")
    page.fill('[data-input="params.duration_seconds"]', "99")
    page.click("button.primary")
    page.wait_for_selector('[data-input="params.duration_seconds"]:focus:invalid')
    page.wait_for_selector(".problem", state="detached")


def test_a_text_that_nothing_is_called_by_is_searched_for(page: Page, made: str) -> None:
    page.fill("[type=search]", "seedance")
    page.press("[type=search]", "Enter")
    page.wait_for_selector(f'.jobs [data-job="{made}"]')
    holds(page, "!document.querySelector('html.loading, .problem')")


def test_what_was_sent_is_sent_again_with_changes(laptop: RunningCloud, page: Page) -> None:
    body = {"model_id": "bytedance/seedance-2.0", "prompt": "A table", "params": {"duration_seconds": 1}}
    first = laptop.post(body).json()["job_id"]
    go(page, f"#/new?from={first}")
    page.wait_for_selector('[data-input="prompt"]')
    assert page.input_value('[data-input="prompt"]') == "A table"
    page.fill('[data-input="prompt"]', "A round table")
    page.click("button.primary")
    page.wait_for_selector(".jobhead")
    assert job_id(page) != first
    page.wait_for_selector("blockquote >> text=A round table")
    status_of(page, "succeeded")


def test_a_job_of_scripts_shows_as_text(laptop: RunningCloud, page: Page) -> None:
    created = laptop.post(
        {
            "model_id": "bytedance/seedance-2.0",
            "prompt": _SCRIPT,
            "params": {"duration_seconds": 1},
            "metadata": {_SCRIPT: _SCRIPT},
        }
    )
    go(page, f"#/jobs/{created.json()['job_id']}")
    page.wait_for_selector("blockquote")
    assert page.text_content("blockquote") == _SCRIPT
    go(page, "#/jobs")
    drop(page, (f"{_SCRIPT.replace('/', ':')}.jpg", "image/jpeg", PICTURE))
    page.wait_for_selector(".jobhead")
    assert "<script>" in str(page.text_content(".jobhead h1"))
    go(page, f"#/jobs?text={_SCRIPT[:8]}")
    page.wait_for_selector(".jobs .name >> text=<script>")
    assert page.evaluate("[...document.scripts].filter(one => !one.src).length") == 0
    assert "taken over" not in page.title()


def test_a_keyboard_alone_reaches_a_job_and_its_actions(page: Page, made: str) -> None:
    page.wait_for_selector(f'.jobs [data-job="{made}"]')

    def tab_to(wanted: str) -> None:
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
                return
        pytest.fail(f"the tabulator does not reach {wanted}")

    tab_to(f'[data-job="{made}"] a')
    page.keyboard.press("Enter")
    page.wait_for_selector(".player video")
    tab_to('[data-key="video"]')
    tab_to('[data-key="again"]')
    page.keyboard.press("Enter")
    page.wait_for_selector(".staged li")
    tab_to("button.primary")


def views(made: str) -> list[str]:
    return [
        "#/jobs",
        f"#/jobs/{made}",
        "#/new",
        "#/new?form=1",
        "#/recipes",
        "#/recipes/default",
        "#/overview",
        "#/laptop",
    ]


def settled(page: Page, view: str) -> None:
    """Go to a view, and wait until what it reads is there."""
    go(page, view)
    page.wait_for_selector("html:not(.loading)")


def serious(page: Page) -> list[tuple[str, str, str]]:
    """Return what axe-core finds that keeps people out: its rule, where, and why."""
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in _SERIOUS]
    return [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in found]


def test_axe_finds_what_keeps_people_out(page: Page) -> None:
    page.wait_for_selector(".drop")
    page.evaluate("document.querySelector('main').append(document.createElement('select'))")
    assert [rule for rule, _, _ in serious(page)] == ["select-name"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, address: str, made: str, scheme: Any) -> None:
    with opened(browser, address, color_scheme=scheme) as page:
        for view in views(made):
            settled(page, view)
            assert not serious(page), view


def test_nothing_is_wider_than_a_phone(browser: Browser, address: str, made: str) -> None:
    with opened(browser, address, viewport=PHONE, has_touch=True) as page:
        for view in views(made):
            settled(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], view


def test_the_page_is_light_and_all_its_own(browser: Browser, address: str, made: str) -> None:
    with opened(browser, "about:blank") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        for view in views(made):
            settled(page, view)
        origin = page.evaluate("location.origin")
    assert not [url for url in asked if not url.startswith((f"{origin}/", "blob:"))]
    files = [*STATIC.iterdir()]
    loaded = {url.rpartition("/static/")[2] for url in asked if "/static/" in url}
    assert loaded <= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
