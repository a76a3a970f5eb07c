"""Test the console's list of jobs: its order, its pages, its filters, and what it finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ops.console import jobs as jobs_view
from shared.jobs.states import Status
from tests.support.consoles import Page
from tests.support.fakes import JOB_ID, UPLOADS, VIDEO_ID, VIDEOS

if TYPE_CHECKING:
    from tests.support.operators import CommandLine

STATUSES = (Status.SUCCEEDED, Status.FAILED, Status.PROCESSING)


def make(account: CommandLine, number: int, *, changed_at: int | None = None, **facts: Any) -> str:
    """Make a job that was created and changed in the order of its number."""
    name = f"job-{number:04}"
    status = STATUSES[number % len(STATUSES)]
    account.world.store.create(name, source={"type": "api", "caller": "me"}, model_id="m/m")
    account.world.overwrite(
        name,
        **{"status": status.value, "created_at": f"2026-11-22T00:{number // 60:02}:{number % 60:02}Z"}
        | {"changed_at": 1_800_000_000 + number if changed_at is None else changed_at, **facts},
    )
    return name


def all_pages(page: Page, **query: Any) -> list[list[str]]:
    """Return the ids of each page, as a browser reads on."""
    pages: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        answer = page.get("/api/jobs", after=after, **query)
        pages.append([job["job_id"] for job in answer["jobs"]])
        after = answer["after"]
    return pages


def test_pages_of_all_statuses_hold_each_job_once_newest_first(account: CommandLine) -> None:
    made = [make(account, number) for number in range(25)]
    pages = all_pages(Page(), limit=10)
    assert [len(found) for found in pages] == [10, 10, 5]
    assert [job_id for found in pages for job_id in found] == made[::-1]


def test_jobs_that_changed_in_one_second_are_all_on_some_page(account: CommandLine) -> None:
    made = {make(account, number, changed_at=1_800_000_000) for number in range(25)}
    pages = all_pages(Page(), limit=4)
    assert sorted(job_id for found in pages for job_id in found) == sorted(made)


def test_a_status_a_source_and_a_text_leave_the_others_out(account: CommandLine) -> None:
    for number in range(6):
        make(account, number)
    account.world.overwrite("job-0003", metadata=json.dumps({"Kunde": "Müller"}))
    account.world.overwrite("job-0004", source={"type": "upload", "bucket": UPLOADS, "key": "uploads/a/Red Shoe.jpg"})
    page = Page()
    assert all_pages(page, status="failed") == [["job-0004", "job-0001"]]
    assert all_pages(page, source="upload") == [["job-0004"]]
    assert all_pages(page, text="red shoe") == [["job-0004"]]
    assert all_pages(page, text="kunde mü") == [["job-0003"]]
    assert all_pages(page, text="M/M", status="failed") == [["job-0004", "job-0001"]]
    assert all_pages(page, text="nobody") == [[]]


def test_a_search_reads_a_bounded_number_of_jobs_a_call(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_view, "_MOST_SEARCHED", 6)
    for number in range(10):
        make(account, number)
    assert all_pages(Page(), text="job-0000", limit=1) == [[], ["job-0000"]]


@pytest.mark.parametrize(
    "query", [{"status": "nope"}, {"after": "!"}, {"limit": "0"}, {"limit": "x"}, {"after": "W10="}]
)
def test_a_wrong_address_is_explained(account: CommandLine, query: dict[str, str]) -> None:
    status, error = Page().refused("GET", "/api/jobs", **query)
    assert (status, error["kind"]) == (400, "usage")


def test_a_row_says_what_a_person_looks_for(account: CommandLine) -> None:
    account.world.paid_job()
    output = {"bucket": VIDEOS, "key": f"videos/2026/11/22/{JOB_ID}.mp4"}
    source = {"type": "upload", "bucket": UPLOADS, "key": "uploads/default/x/shoe.jpg", "etag": "secret"}
    account.world.overwrite(JOB_ID, source=source)
    page = Page()
    (job,) = page.get("/api/jobs")["jobs"]
    assert job["thumbnail"] == {"kind": "image", "url": f"/media/{JOB_ID}/upload"}
    assert (job["made_of"], job["paid"], job["waits_for_person"]) == ("shoe.jpg", "yes", False)
    assert "etag" not in job["source"]
    account.world.overwrite(JOB_ID, output=output, status="succeeded")
    assert page.get("/api/jobs")["jobs"][0]["thumbnail"] == {"kind": "video", "url": f"/media/{JOB_ID}"}


def test_anything_that_show_finds_can_be_typed(account: CommandLine) -> None:
    account.world.paid_job()
    account.world.recipe({"model_id": "m/m", "prompt": "{{filename}}"}, "shoes")
    account.world.upload("batches/boats.csv", b"model_id,prompt\nm/m,a boat")
    page = Page()
    for what in (JOB_ID, VIDEO_ID, JOB_ID[:12]):
        assert [job["job_id"] for job in page.get("/api/find", what=what)["jobs"]] == [JOB_ID]
    assert page.get("/api/find", what="recipes/shoes.json")["recipe"]["model_id"] == "m/m"
    for what in ("boats.csv", "boats", f"s3://{UPLOADS}/batches/boats.csv"):
        assert page.get("/api/find", what=what)["batch"]["key"] == "batches/boats.csv"
    status, error = page.refused("GET", "/api/find", what="nobody")
    assert (status, error["kind"]) == (404, "not_found")
    assert "Nothing is known as nobody" in error["message"]
    assert page.refused("GET", "/api/find", what=" ")[0] == 400


@pytest.mark.parametrize(
    "what", ["x" * 3000, "uploads/", "s3://", "http://[", "batches/x.csv", "recipes/", "%", "../x"]
)
def test_whatever_is_typed_is_answered(account: CommandLine, what: str) -> None:
    status, error = Page().refused("GET", "/api/find", what=what)
    assert (status in (404, 409), bool(error["message"])) == (True, True)
