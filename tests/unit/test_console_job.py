"""Test what the console shows of one job: its course, its request, its notification, its files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ops.console.course import Course, timeline
from ops.console.media import POLICY
from shared.jobs.states import Status
from tests.support.consoles import Page
from tests.support.fakes import BODY, JOB_ID, PNG, PROMPT, TABLE, UPLOADS, VIDEO_ID, VIDEOS, failed
from tests.support.operators import dead, ended, uncertain

if TYPE_CHECKING:
    from tests.support.operators import CommandLine

BEGUN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ADDRESS = f"/api/jobs/{JOB_ID}"
VIDEO_BYTES = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(1000)


def entered(name: str, after: int, **given: Any) -> dict[str, Any]:
    return {
        "type": "TaskStateEntered",
        "timestamp": BEGUN + timedelta(seconds=after),
        "stateEnteredEventDetails": {"name": name, "input": json.dumps(given)},
    }


def event(kind: str, after: int, error: str = "") -> dict[str, Any]:
    details = {f"{kind[0].lower()}{kind[1:]}EventDetails": {"error": error, "cause": "secret"}} if error else {}
    return {"type": kind, "timestamp": BEGUN + timedelta(seconds=after), **details}


def reported(course: Course) -> list[tuple[str, str, int]]:
    return [(entry["kind"], entry["text"], entry["count"]) for entry in course.entries]


def test_polls_are_folded_and_the_next_one_is_known() -> None:
    polls = [one for at in (10, 20, 30) for one in (entered("Poll", at), entered("Wait", at + 1, wait_seconds=9))]
    events = [entered("Begin", 0), entered("Submit", 1), entered("Wait", 2, wait_seconds=8), *polls]
    course = Course.of(events)
    assert course.path == ["Begin", "Submit", "Wait", "Poll", "Wait", "Poll", "Wait", "Poll", "Wait"]
    assert reported(course) == [("state", "The request is sent to Genviral", 1), ("poll", "Genviral was polled", 3)]
    assert course.entries[-1]["at"] == "2026-11-22T10:00:30.000Z"
    assert course.next_poll_at == "2026-11-22T10:00:40.000Z"
    assert Course.of(events, time_scale=0.1).next_poll_at == "2026-11-22T10:00:31.900Z"
    assert Course.of(events[:-1]).next_poll_at is None


def test_failed_tries_are_counted_and_the_last_one_is_no_retry() -> None:
    course = Course.of(
        [
            entered("Submit", 0),
            event("TaskFailed", 1, "RateLimited"),
            event("TaskScheduled", 2),
            event("TaskFailed", 3, "RateLimited"),
            event("TaskScheduled", 4),
            event("TaskFailed", 5, "GenerationFailed"),
            entered("NotifyFailed", 6),
            event("ExecutionFailed", 7, "GenerationFailed"),
        ]
    )
    assert reported(course)[1:] == [
        ("retry", "Submit failed: RateLimited", 2),
        ("error", "Submit failed: GenerationFailed", 1),
        ("notification", "A notification is sent", 1),
        ("error", "The execution ended: GenerationFailed", 1),
    ]
    assert "secret" not in json.dumps(course.entries)


def test_the_timeline_is_in_the_order_of_time() -> None:
    statuses = {"succeeded": "2026-11-22T10:00:09Z", "queued": "2026-11-22T09:59:59.5Z"}
    entries = Course.of([entered("Submit", 0)]).entries
    assert [entry["text"] for entry in timeline(statuses, entries)] == ["queued", entries[0]["text"], "succeeded"]


def test_a_job_without_an_execution_or_without_rights_is_told_from_its_record(account: CommandLine) -> None:
    account.world.paid_job()
    page = Page()
    assert [entry["kind"] for entry in page.get(ADDRESS)["timeline"]] == ["status"] * 3
    dead(account.world)
    account.fails["GetExecutionHistory"] = failed("GetExecutionHistory", "AccessDeniedException")
    shown = page.get(ADDRESS)
    assert (shown["path"], shown["present"], shown["job"]["status"]) == ([], None, "processing")
    assert shown["facts"]["status"].startswith("processing since ")


def test_a_request_shows_without_what_opens_its_links(account: CommandLine) -> None:
    account.world.job(request=BODY)
    shown = Page().get(ADDRESS)
    assert (shown["request"]["prompt"], shown["asked"]) == (PROMPT, {"seconds": 5})
    assert shown["request_is_shortened"], "sent again as it is shown, its links open nothing"
    assert "Signature" not in json.dumps(shown)


def test_a_request_that_was_never_sent_is_read_from_its_file(account: CommandLine) -> None:
    version = account.world.upload("requests/x/prompt.json", json.dumps(BODY).encode())
    source = {"type": "request", "bucket": UPLOADS, "key": "requests/x/prompt.json", "version_id": version}
    account.world.store.create(JOB_ID, source=source)
    page = Page()
    shown = page.get(ADDRESS)
    assert shown["request"]["prompt"] == PROMPT
    assert "Signature" not in json.dumps(shown)
    account.fails["GetObject"] = failed("GetObject", "AccessDenied")
    assert page.get(ADDRESS)["request"] is None


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELED])
def test_the_notification_is_the_one_that_was_sent(account: CommandLine, status: Status) -> None:
    account.world.complete()
    account.world.entered(status)
    page = Page()
    assert page.get(ADDRESS)["notification"] is None  # it is due, and was not sent yet
    account.world.notifier().remind(JOB_ID)
    (sent,) = account.world.messages()
    shown = page.get(ADDRESS)["notification"]
    assert (shown["message"], shown["subject"], shown["text"]) == (sent.body, sent.subject, sent.email)
    assert shown["attributes"] == sent.attributes


def test_an_error_comes_with_advice_and_what_comes_next(account: CommandLine) -> None:
    uncertain(account.world)
    account.world.dynamodb.update_item(
        TableName=TABLE, Key={"job_id": {"S": JOB_ID}}, UpdateExpression="REMOVE notice_due"
    )
    shown = Page().get(ADDRESS)
    assert shown["job"]["error"]["code"] == "submission_uncertain"
    assert shown["next_step"].startswith("search for the video at Genviral")
    assert shown["notification"]["message"]["notification_id"] == f"{JOB_ID}/uncertain"
    assert shown["notification"]["attributes"]["status"] == "uncertain"
    assert shown["links"]["execution"].startswith("https://us-east-1.console.aws.amazon.com/states/home")


def test_a_job_whose_every_word_is_a_script_stays_text(account: CommandLine) -> None:
    script = "<script>alert(1)</script>"
    account.world.job(request={**BODY, "model_id": script, "prompt": script}, model_id=script, recipe=script)
    account.world.overwrite(
        JOB_ID, metadata=json.dumps({script: script}), source={"type": "upload", "bucket": UPLOADS, "key": script}
    )
    page = Page()
    for address in (ADDRESS, "/api/jobs", f"/api/find?what={JOB_ID}", f"/api/find?what={script}"):
        answer = page.http.get(address)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert script in answer.text


def test_half_a_character_from_outside_is_sent_as_it_is(account: CommandLine) -> None:
    account.world.job()
    account.world.overwrite(JOB_ID, metadata='{"half": "\\ud83d"}')
    page = Page()
    assert page.get(ADDRESS)["job"]["metadata"] == {"half": "\ud83d"}
    assert page.get("/api/jobs")["jobs"][0]["metadata"] == {"half": "\ud83d"}


# ---- its files


def finished(account: CommandLine, body: bytes = VIDEO_BYTES, kind: str = "video/mp4") -> None:
    ended(account.world, Status.FAILED)
    place = {"bucket": VIDEOS, "key": f"videos/2026/11/22/{JOB_ID}.mp4", "content_type": kind, "bytes": len(body)}
    account.world.s3.put_object(Bucket=VIDEOS, Key=place["key"], Body=body)
    account.world.overwrite(JOB_ID, status="succeeded", video_id=VIDEO_ID, output=place)


def uploaded(account: CommandLine, body: bytes, name: str = "shoe.jpg") -> None:
    version = account.world.upload(f"uploads/{name}", body, ContentType="text/html")
    ended(account.world, Status.FAILED)
    source = {"type": "upload", "bucket": UPLOADS, "key": f"uploads/{name}", "version_id": version}
    account.world.overwrite(JOB_ID, source=source)


def test_a_video_is_served_whole_and_in_parts(account: CommandLine) -> None:
    finished(account)
    page = Page()
    whole = page.http.get(f"/media/{JOB_ID}")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, VIDEO_BYTES, "video/mp4")
    part = page.http.get(f"/media/{JOB_ID}", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert part.headers["content-range"] == f"bytes 4-7/{len(VIDEO_BYTES)}"
    assert page.http.get(f"/media/{JOB_ID}", headers={"Range": "bytes=99999-"}).status_code == 416
    assert page.http.get(f"/media/{JOB_ID}", headers={"Range": "lines=1-2"}).content == VIDEO_BYTES
    assert page.http.request("HEAD", f"/media/{JOB_ID}").headers["content-length"] == str(len(VIDEO_BYTES))
    assert page.get(ADDRESS)["video"]["url"] == f"/media/{JOB_ID}"


def test_a_record_cannot_make_a_page_of_a_video(account: CommandLine) -> None:
    finished(account, b"<script>", "text/html")
    assert Page().http.get(f"/media/{JOB_ID}").status_code == 404


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(50), "image/jpeg"),
        (PNG, "image/png"),
        (b"GIF89a" + bytes(50), "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50), "image/webp"),
        (b"\0\0\0\x1cftypavif" + bytes(50), "image/avif"),
        (VIDEO_BYTES, "video/mp4"),
    ],
)
def test_an_uploaded_picture_has_the_type_of_its_content(account: CommandLine, body: bytes, kind: str) -> None:
    uploaded(account, body)
    answer = Page().http.get(f"/media/{JOB_ID}/upload")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, body, kind)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "body",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<html><script>alert(1)</script>",
        b"GIF87<script>",
        b"%PDF-1.7",
        b"",
    ],
)
@pytest.mark.parametrize("name", ["a.svg", "a.png", "a.html"])
def test_no_other_upload_comes_back_from_the_console(account: CommandLine, body: bytes, name: str) -> None:
    uploaded(account, body or b"x", name)
    answer = Page().http.get(f"/media/{JOB_ID}/upload")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


def test_a_job_without_files_and_one_that_is_not_there_have_none(account: CommandLine) -> None:
    account.world.job()
    page = Page()
    for address in (f"/media/{JOB_ID}", f"/media/{JOB_ID}/upload", "/media/nobody", "/media/nobody/upload"):
        assert page.http.get(address).status_code == 404
    assert page.refused("GET", "/api/jobs/nobody")[0] == 404
