"""Test how pages learn of changes: each once, in order, by one reader, and with few and cheap reads."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from ops.console import events, session
from ops.console.events import Changes, Event, News, Watch
from ops.console.overview import Overview
from ops.stack import Stack
from shared.jobs.states import Status
from tests.support.consoles import Page
from tests.support.fakes import JOB_ID, failed
from tests.support.operators import uncertain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.jobs.record import Job
    from tests.support.operators import CommandLine

QUERIES = "dynamodb:Query"


def changed(account: CommandLine, job_id: str, status: Status, moment: int) -> None:
    if account.world.store.get(job_id) is None:
        account.world.store.create(job_id, source={"type": "api"})
    account.world.overwrite(job_id, status=status.value, changed_at=moment)


def reported(changes: Changes) -> list[tuple[str, str]]:
    return [(job.job_id, job.status.value) for job in changes.look()]


@pytest.fixture
def changes(account: CommandLine) -> Changes:
    changed(account, "old", Status.SUCCEEDED, 1_000)
    changed(account, "present", Status.QUEUED, 2_000)
    return Changes(Stack().store)


def test_a_change_is_told_once_and_what_was_there_is_not(account: CommandLine, changes: Changes) -> None:
    assert reported(changes) == []
    changed(account, "new", Status.QUEUED, 2_001)
    assert reported(changes) == [("new", "queued")]
    assert reported(changes) == []
    changed(account, "new", Status.SUBMITTING, 2_001)
    changed(account, "old", Status.PROCESSING, 2_003)
    assert reported(changes) == [("new", "submitting"), ("old", "processing")]
    assert reported(changes) == []


def test_a_change_that_the_index_shows_late_is_told(account: CommandLine, changes: Changes) -> None:
    changed(account, "first", Status.FAILED, 2_050)
    assert reported(changes) == [("first", "failed")]
    changed(account, "late", Status.FAILED, 2_030)  # another function's clock is behind
    assert reported(changes) == [("late", "failed")]


@pytest.mark.parametrize("operation", ["Query", "BatchGetItem"])
def test_a_look_that_fails_loses_no_change(account: CommandLine, changes: Changes, operation: str) -> None:
    changed(account, "new", Status.QUEUED, 2_001)
    account.fails[operation] = failed(operation, "ThrottlingException")
    with pytest.raises(ClientError):
        changes.look()
    del account.fails[operation]
    assert reported(changes) == [("new", "queued")]


def test_what_changed_long_ago_is_not_read_again(
    account: CommandLine, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        changed(account, f"burst-{number}", Status.FAILED, 2_000 + number // 2)
    assert len(changes.look()) == 50
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + events._LATE_SECONDS)
    changes.look()
    read: list[int] = []
    real = Stack().store.changed_since

    def counted(status: Status, moment: int) -> list[Job]:
        found = real(status, moment)
        read.append(len(found))
        return found

    monkeypatch.setattr(changes._store, "changed_since", counted)
    assert reported(changes) == []
    assert (len(read), sum(read)) == (len(Status), 2)  # those of the last second only


def test_a_look_costs_a_query_for_each_status_and_no_more(account: CommandLine, changes: Changes) -> None:
    counted: Counter[str] = Counter()
    account.calls = _Counting(counted)
    changes.look()
    assert counted == {QUERIES: len(Status)}


class _Counting(set[str]):
    """Counts the calls that are added."""

    def __init__(self, counted: Counter[str]) -> None:
        super().__init__()
        self._counted = counted

    def add(self, call: str) -> None:
        self._counted[call] += 1


class _Inbox:
    def __init__(self, *notifications: dict[str, Any]) -> None:
        self._left = list(notifications)

    def news(self) -> list[dict[str, Any]]:
        found, self._left = self._left, []
        return found


def looked(news: News) -> list[Event]:
    return [event for step in news.steps for event in step()]


def test_news_are_jobs_notifications_and_a_changed_overview(account: CommandLine) -> None:
    inbox: Any = _Inbox({"job_id": JOB_ID, "status": "uncertain"})
    news = News(Stack().store, Overview(Stack()), inbox, (0.0, 0.0))
    uncertain(account.world)
    assert [event.kind for event in looked(news)] == ["job", "notification", "overview"]
    assert looked(news) == []
    account.world.overwrite(JOB_ID, status="failed", changed_at=4_000_000_000)
    job, overview = looked(news)
    assert (job.data["status"], overview.data["counts"]["failed"]) == ("failed", 1)


def test_an_event_is_one_line_of_json_whatever_it_holds() -> None:
    text = Event("job", {"name": "a\n\nevent: x\r\u2028<script>"}).text().decode()
    assert text.startswith("event: job\ndata: {")
    assert text.count("\n") == 3
    assert json.loads(text.splitlines()[1].removeprefix("data: "))["name"] == "a\n\nevent: x\r\u2028<script>"


# ---- the pages


class _Source:
    """What is sent, and how often it was asked."""

    def __init__(self) -> None:
        self.begun = self.looks = 0
        self.errors: list[Exception] = []

    def __call__(self) -> Any:
        self.begun += 1
        return self

    @property
    def steps(self) -> Any:
        return (self.look,)

    def look(self) -> list[Event]:
        self.looks += 1
        if self.errors:
            raise self.errors.pop()
        return [Event("job", {"number": self.looks})]


async def numbers(stream: AsyncIterator[bytes], many: int) -> list[int]:
    found: list[int] = []
    async for part in stream:
        if part.startswith(b"event: job"):
            found.append(json.loads(part.split(b"data: ")[1])["number"])
        if len(found) == many:
            return found
    return found


def test_all_pages_share_a_reader_that_rests_without_them() -> None:
    async def run() -> None:
        source = _Source()
        watch = Watch(source, 0)
        first, second = await asyncio.gather(watch.join(), watch.join())
        reported = await asyncio.gather(numbers(watch.stream(first), 3), numbers(watch.stream(second), 3))
        assert list(reported) == [[1, 2, 3]] * 2
        watch.leave(first)
        watch.leave(second)
        assert watch._reader is not None
        await watch._reader
        looks = source.looks
        third = await watch.join()
        assert await numbers(watch.stream(third), 1) == [looks + 1]
        assert source.begun == 2  # what happened meanwhile is read by the page itself
        watch.leave(third)

    asyncio.run(run())


def test_a_page_is_let_in_only_when_no_change_can_be_missed(account: CommandLine) -> None:
    """A page reads the list once its stream is open: whatever changes after that must come by the stream."""

    async def run() -> list[str]:
        store = Stack().store
        watch = Watch(lambda: News(store, Overview(Stack()), None, (9e9, 9e9)), 0)
        page = await watch.join()
        changed(account, "new", Status.QUEUED, 1_000)
        stream = watch.stream(page)
        texts = [(await anext(stream)).decode() for _ in range(2)]
        watch.close()
        assert watch._reader is not None
        await watch._reader
        return texts

    opened, event = asyncio.run(run())
    assert (opened, '"job_id":"new"' in event) == (": open\n\n", True)


def test_aws_may_fail_to_answer_and_the_next_look_tells() -> None:
    async def run() -> None:
        source = _Source()
        source.errors = [failed("Query", "ThrottlingException")]
        watch = Watch(source, 0)
        page = await watch.join()
        stream = watch.stream(page)
        reported = [(await anext(stream)).decode().split("\n")[:2] for _ in range(4)]
        assert reported[1] == ["event: answers", "data: false"]  # the page must not say that it is live
        assert reported[2] == ["event: job", 'data: {"number":2}']
        assert reported[3] == ["event: answers", "data: true"]
        watch.leave(page)

    asyncio.run(run())


def test_an_error_of_ours_ends_the_streams_so_that_pages_come_again() -> None:
    async def run() -> None:
        source = _Source()
        source.errors = [ValueError("a bug")]
        watch = Watch(source, 0)
        assert await numbers(watch.stream(await watch.join()), 1) == []
        assert watch._reader is not None
        with pytest.raises(ValueError, match="a bug"):
            await watch._reader
        assert await numbers(watch.stream(await watch.join()), 1) == [2]

    asyncio.run(run())


def test_a_page_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MOST_WAITING", 2)

    async def run() -> None:
        watch = Watch(_Source(), 0)
        page = await watch.join()
        assert watch._reader is not None
        await watch._reader
        assert await numbers(watch.stream(page), 1) == []

    asyncio.run(run())


# ---- the overview


def test_the_overview_counts_jobs_credits_and_times(account: CommandLine) -> None:
    world = account.world
    uncertain(world)
    world.job("held")
    world.overwrite("held", status="on_hold", held_since=1)
    timeline = {"processing": "2026-11-22T10:00:00Z", "delivering": "2026-11-22T10:01:30Z"}
    for name in ("a", "b"):
        world.job(name)
        world.overwrite(name, status="succeeded", model_id="m/m", timeline=timeline)
    account.parameters["DailyCreditLimit"] = "100"
    account.fails["DescribeAlarms"] = failed("DescribeAlarms", "AccessDenied")
    shown = Page().get("/api/overview")
    assert (shown["open"], shown["held"], shown["uncertain"], shown["waits_for_person"]) == (1, 1, 1, 2)
    assert shown["models"] == [{"model_id": "m/m", "median_seconds": 90.0, "samples": 2}]
    assert (shown["credits"], shown["alarms"]) == ({"used_today": 0.0, "limit": 100.0}, None)
    assert (shown["counts"]["succeeded"], shown["more"]) == (2, [])


def test_the_days_credits_are_those_of_the_limit(account: CommandLine) -> None:
    limiter = account.world.limiter(100)
    _, write = limiter.counter.reserve(12.5)
    account.world.dynamodb.transact_write_items(TransactItems=[{"Update": write}])
    account.parameters["DailyCreditLimit"] = "100"
    account.fails["DescribeAlarms"] = failed("DescribeAlarms", "AccessDenied")
    assert Page().get("/api/overview")["credits"] == {"used_today": 12.5, "limit": 100.0}


def test_a_stack_in_aws_has_no_inbox_and_no_switches(account: CommandLine) -> None:
    page = Page()
    assert page.get("/api/session")["laptop"] is False
    assert page.get("/api/session")["console_url"] == "https://us-east-1.console.aws.amazon.com"
    assert page.refused("GET", "/api/laptop")[0] == 404
    assert page.refused("POST", "/api/laptop/no-credits")[0] == 404


@pytest.mark.parametrize(
    ("vendor", "charges"), [("http://127.0.0.1:4/api/partner/v1", False), ("https://vendor.example/api/v1", True)]
)
def test_a_laptop_is_free_only_with_the_stand_in(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, vendor: str, charges: bool
) -> None:
    account.parameters["GenviralBaseUrl"] = vendor
    monkeypatch.setattr(session, "is_laptop", lambda: True)
    # A shell may still have it from an earlier `up`.
    monkeypatch.setenv("GENVIRAL_ADMIN_URL", "http://127.0.0.1:4/_standin")
    assert session.document(Stack(), "0.0.0")["charges"] is charges
