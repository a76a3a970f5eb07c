"""Open the console of a running cloud in a headless Chromium, and act there as a person would."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.laptop import TIMEOUT_SECONDS, until
from tests.support.pages import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page

    from local.cloud import Cloud

ROOT = Path(__file__).parents[2]
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

# Give files to the page as a drop does: a browser has no other way to them from a script.
_DROP = """([place, files]) => {
  const carried = new DataTransfer();
  for (const {name, type, body} of files) {
    const bytes = Uint8Array.from(atob(body), letter => letter.charCodeAt(0));
    carried.items.add(new File([bytes], name, {type}));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.querySelector(place).dispatchEvent(
      new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: carried}));
  }
}"""


@contextmanager
def console(cloud: Cloud, *, time_scale: float) -> Iterator[str]:
    """Run the console of a cloud, as `up` does, and yield the address that it prints."""
    at = cloud.endpoints
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GENVIRAL_"))}
    settings = {
        "AWS_ENDPOINT_URL": at.aws_endpoint,
        "AWS_REGION": at.region,
        "AWS_DEFAULT_REGION": at.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "GENVIRAL_ADMIN_URL": at.genviral_admin_url or "",
        "GENVIRAL_TIME_SCALE": str(time_scale),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "ops", "console", "--json"],
        cwd=ROOT,
        env=kept | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield _address(process.stdout)
        finally:
            process.terminate()
            process.wait(20)


def _address(printed: Iterable[str]) -> str:
    """Read the address from what the command prints: one document, in one line or in several."""
    text = ""
    for line in printed:
        text += line
        if line.rstrip().endswith("}"):
            return str(json.loads(text)["console"])
    raise AssertionError(f"the console did not start: {text}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser that is installed. Its sandbox needs rights that a container lacks; it opens our page only."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """Open a page in a profile of its own. It must not complain: of a script, or of its own policy."""
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        # What the server refuses on purpose is logged, too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    context = browser.new_context(**{"viewport": DESK, **options})
    context.set_default_timeout(TIMEOUT_SECONDS * 1000)
    page = context.new_page()
    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert not complaints


def holds(page: Page, what: str, argument: Any = None) -> None:
    """Wait until an expression is true. Playwright's own way evaluates it in the page, whose policy forbids that."""
    until(lambda: True if page.evaluate(what, argument) else None)


def go(page: Page, view: str) -> None:
    """Go to a view by its address, and wait until it is there."""
    page.evaluate("view => { location.hash = view }", view)
    holds(page, "view => document.querySelector('main').dataset.view === view", _view(view))


def _view(address: str) -> str:
    name, _, what = address.removeprefix("#/").partition("?")[0].partition("/")
    return {"jobs": "job", "recipes": "recipe"}.get(name, name) if what else name


def drop(page: Page, *files: tuple[str, str, bytes], place: str = ".view") -> None:
    """Drop files: name, media type, bytes."""
    carried = [{"name": name, "type": kind, "body": base64.b64encode(body).decode()} for name, kind, body in files]
    page.wait_for_selector(f"{place} .drop")
    page.evaluate(_DROP, [place, carried])


def status_of(page: Page, status: str) -> None:
    """Wait until the open job has a status."""
    page.wait_for_selector(f'.jobhead .chip[data-status="{status}"]')


def job_id(page: Page) -> str:
    """Return the id of the open job."""
    page.wait_for_selector(".jobhead")
    return str(page.evaluate("decodeURIComponent(location.hash.split('/')[2])"))


def plays(page: Page) -> dict[str, Any]:
    """Play the open job's video, and return what the player knows once it has moved on."""
    page.wait_for_selector(".player video")
    page.eval_on_selector(".player video", "video => { video.muted = true; return video.play() }")
    holds(page, "document.querySelector('.player video').currentTime > 0.1")
    facts: dict[str, Any] = page.eval_on_selector(
        ".player video",
        "v => ({ready: v.readyState, at: v.currentTime, width: v.videoWidth, height: v.videoHeight, error: v.error})",
    )
    return facts
