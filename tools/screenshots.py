"""Take the README's pictures of the console: `python -m tools.screenshots`, or of every view into a folder of yours.

It runs the cloud of this laptop, makes jobs as a person would, and looks at them in the Chromium that is installed.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.cloud import Cloud
from local.demo import SAMPLE
from tests.support.console import PHONE, chromium, console, drop, go, job_id, opened, status_of
from tests.support.pages import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
_TIME_SCALE = 0.2
_DESK = {"width": 1240, "height": 860}
_RESTYLE = """{
  "model_id": "bytedance/seedance-2.0",
  "prompt": "The same scene in the style of {{metadata.style|a hand-painted watercolour}}",
  "reference_image_urls": ["{{asset_url}}"],
  "params": {"duration_seconds": 4, "aspect_ratio": "1:1"}
}"""


class Jobs:
    """Jobs in most of the places where one can be, made through the page itself."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.finished = self._made("red shoe.jpg", "succeeded")
        self._made("paper boat.jpg", "succeeded")
        self._switch("lost-answer")
        self.uncertain = self._made("lamp.jpg", "uncertain")
        self._switch("no-credits")
        self.held = self._made("armchair.jpg", "on_hold")
        self._switch("normal")
        self.batch = self._checked()

    def begin(self) -> str:
        """Begin one more, and return its id while its video is waited for, which takes a minute."""
        self._switch("slow")
        return self._made("perfume.jpg", "processing")

    def _made(self, name: str, status: str) -> str:
        go(self._page, "#/jobs")
        # What follows a picture's end is no part of it: no two are the same.
        drop(self._page, (name, "image/jpeg", SAMPLE.read_bytes() + name.encode()))
        status_of(self._page, status)
        return job_id(self._page)

    def _switch(self, name: str) -> None:
        go(self._page, "#/laptop")
        self._page.click(f'[data-key="{name}"]:enabled')
        self._page.wait_for_selector("html:not(.loading)")

    def _checked(self) -> str:
        go(self._page, "#/jobs")
        rows = [f'{{"model_id": "openai/sora-2", "prompt": "Boat {row}"}}' for row in range(1, 13)]
        drop(self._page, ("boats.jsonl", "application/jsonl", "\n".join([*rows, '{"prompt": 7}']).encode()))
        self._page.wait_for_selector('.chip[data-status="checked"]')
        return str(self._page.evaluate("location.hash"))


@contextmanager
def _running() -> Iterator[tuple[Browser, str]]:
    parameters = {"PollFloorSeconds": "4", "PollCapSeconds": "6"}
    with (
        Cloud(time_scale=_TIME_SCALE, parameters=parameters, generation_seconds=2) as cloud,
        console(cloud, time_scale=_TIME_SCALE) as address,
        chromium() as browser,
    ):
        cloud.client("s3").put_object(
            Bucket=cloud.endpoints.uploads_bucket, Key="recipes/restyle.json", Body=_RESTYLE.encode()
        )
        yield browser, address


def _take(page: Page, view: str, file: Path, **options: Any) -> None:
    go(page, "#/new")  # so that each view is read anew
    go(page, view)
    page.wait_for_selector("html:not(.loading)")
    page.mouse.move(2, 2)
    page.wait_for_timeout(1500)  # for pictures and films, and for what moves on its own
    page.evaluate("document.getElementById('toasts').replaceChildren()")
    page.screenshot(path=file, **options)
    sys.stdout.write(f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}\n")


def _for_readme(folder: Path) -> None:
    """A job whose video is there, and the list of jobs."""
    with _running() as (browser, address), opened(browser, address, viewport=_DESK) as page:
        jobs = Jobs(page)
        jobs.begin()
        _take(page, "#/jobs", folder / "console-jobs.png", clip={"x": 0, "y": 0, "width": 1240, "height": 640})
        page.set_viewport_size({"width": 1240, "height": 1010})
        _take(page, f"#/jobs/{jobs.finished}", folder / "console-job.png")


def _all(folder: Path) -> None:
    """Every view: light, dark, and as a phone shows it."""
    with _running() as (browser, address):
        with opened(browser, address) as page:
            jobs = Jobs(page)
        views = {
            "jobs": "#/jobs",
            "job": f"#/jobs/{jobs.finished}",
            "held": f"#/jobs/{jobs.held}",
            "uncertain": f"#/jobs/{jobs.uncertain}",
            "new": "#/new?",
            "form": "#/new?form=1",
            "again": f"#/new?from={jobs.finished}",
            "batch": jobs.batch,
            "recipes": "#/recipes",
            "recipe": "#/recipes/restyle",
            "overview": "#/overview",
            "laptop": "#/laptop",
        }
        kinds: dict[str, dict[str, Any]] = {
            "light": {"viewport": _DESK},
            "dark": {"viewport": _DESK, "color_scheme": "dark"},
            "phone": {"viewport": PHONE},
        }
        for kind, options in kinds.items():
            with opened(browser, address, **options) as page:
                for name, view in views.items():
                    _take(page, view, folder / f"{name}-{kind}.png", full_page=True)


def main(arguments: list[str]) -> int:
    """Take the pictures. Return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.screenshots", description="Takes pictures of the console.")
    parser.add_argument(
        "--all", type=Path, metavar="FOLDER", help="every view, light, dark and on a phone, into FOLDER"
    )
    folder = parser.parse_args(arguments).all
    if CHROMIUM is None:
        sys.stderr.write("No Chromium is installed, so no picture can be taken.\n")
        return 1
    if folder is None:
        _for_readme(ROOT / "docs")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _all(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
