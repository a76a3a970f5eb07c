"""Test the daily limit with many jobs in flight: attempts stop in their paid call and resume in any order.

`make chaos` runs 200 jobs, `make test` fewer. CHAOS_SEED and CHAOS_JOBS choose another run.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from moto import mock_aws

from shared.genviral.errors import RateLimited
from shared.jobs.errors import DailyLimitReached, PriceUnknown
from shared.jobs.states import Status
from shared.runtime import metrics
from tests.support.fakes import BODY, TABLE, Vendor, World, arn_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = int(os.environ.get("CHAOS_SEED", "2"))
JOBS = min(int(os.environ.get("CHAOS_JOBS", "40")), 200)
COMBINATIONS, LISTED, LIMIT = JOBS // 5, 5, JOBS * 25
NOON, DAY = 1_795_348_800.0, 86_400.0


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World()


class Attempt(threading.Thread):
    """A call of `Submit` that stops in its paid call until it is resumed. Only one of all threads runs at a time."""

    def __init__(self, job_id: str, submit: Callable[[str], Any]) -> None:
        super().__init__(daemon=True)
        self.job_id, self.is_over = job_id, False
        self.fault: Exception | None = None
        self._submit, self._stopped, self._go = submit, threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            self._submit(self.job_id)
        except Exception as fault:  # noqa: BLE001 - the test raises what it does not expect
            self.fault = fault
        self.is_over = True
        self._stopped.set()

    def begin(self) -> None:
        self.start()
        self._wait()

    def resume(self) -> None:
        self._go.set()
        self._wait()

    def stop(self) -> None:
        """Stop here. Called in the attempt's own thread."""
        self._stopped.set()
        assert self._go.wait(600)
        self._go.clear()

    def _wait(self) -> None:
        assert self._stopped.wait(600)
        self._stopped.clear()


class Run:
    """Run all jobs, from the first day until each is paid for."""

    def __init__(self, world: World, clock: list[float], seed: int, price_of: Callable[[dict[str, Any]], int]) -> None:
        self.world, self.clock, self.rng, self.price_of = world, clock, random.Random(seed), price_of  # noqa: S311
        self.paid: Counter[str] = Counter()
        """Day (UTC) → what the vendor charged for the calls counted on it."""
        self.accepted: Counter[str] = Counter()
        self.highest = self.most_in_flight = 0
        self.in_flight: list[Attempt] = []
        models = [{"id": BODY["model_id"], "mode": "video", "credits": {"default_cost": LISTED}}]
        listed = httpx.Response(200, json={"ok": True, "code": 200, "data": {"models": models}})
        world.vendor = Vendor([self._answer], get=[lambda _: listed])
        self.limiter = world.limiter(LIMIT)
        self.todo = [f"job-{number:03}" for number in range(JOBS)]
        for number, job_id in enumerate(self.todo):
            world.job(job_id, {**BODY, "params": {"duration_seconds": number % COMBINATIONS + 1}})

    def day(self) -> None:
        """Let all jobs try until the day's limit covers no further job. Some calls may continue after midnight."""
        waiting: list[str] = []
        tomorrow: list[str] = []
        left_over = self.rng.randint(0, 5)
        while self.todo or len(self.in_flight) > left_over:
            if self.todo and (not self.in_flight or self.rng.random() < 0.95):
                attempt = Attempt(self.todo.pop(self.rng.randrange(len(self.todo))), self._submit)
                attempt.begin()
            else:
                attempt = self.in_flight.pop(self.rng.randrange(len(self.in_flight)))
                attempt.resume()
                self.rng.shuffle(waiting)
                self.todo += [waiting.pop() for _ in range(min(2, len(waiting)))]
            self._sort(attempt, waiting, tomorrow)
        self.todo = waiting + tomorrow
        self.clock[0] += DAY

    def _sort(self, attempt: Attempt, waiting: list[str], tomorrow: list[str]) -> None:
        match attempt.fault:
            case None if not attempt.is_over:
                self.in_flight.append(attempt)
                self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
            case None:
                pass
            case PriceUnknown():
                waiting.append(attempt.job_id)
            case RateLimited():
                self.todo.append(attempt.job_id)
            case DailyLimitReached():
                tomorrow.append(attempt.job_id)
            case unexpected:
                raise unexpected

    def _submit(self, job_id: str) -> Any:
        try:
            return self.world.submitter(limiter=self.limiter).submit(arn_of(job_id), {"job_id": job_id})
        finally:
            metrics.clear_metrics()  # nothing flushes them here, and they hold at most a hundred

    def _answer(self, request: httpx.Request) -> httpx.Response:
        attempt = threading.current_thread()
        assert isinstance(attempt, Attempt)
        day = today()
        attempt.stop()
        if self.rng.random() < 0.1:
            return httpx.Response(429, json={"ok": False, "code": 429, "message": "no"})
        price = self.price_of(json.loads(request.content))
        self.paid[day] += price
        self.highest = max(self.highest, price)
        self.accepted[attempt.job_id] += 1
        data = {"video_id": f"video-{attempt.job_id}", "status": "processing", "credits_used": price}
        return httpx.Response(202, json={"ok": True, "code": 202, "data": data})

    def counted(self, day: str) -> float:
        item = self.world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": f"#credits {day}"}})["Item"]
        return float(item["spent"]["N"])


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time.time()))


def by_combination(rng: random.Random) -> Callable[[dict[str, Any]], int]:
    """Give each combination its own price, 1 to 50 times the listed one."""
    prices = {number: LISTED * rng.randint(1, 50) for number in range(1, COMBINATIONS + 1)}
    prices |= {1: LISTED * 50, 2: LISTED}
    return lambda body: prices[body["params"]["duration_seconds"]]


def by_job(rng: random.Random) -> Callable[[dict[str, Any]], int]:
    """Each video has its own price."""
    return lambda _: LISTED * rng.randint(1, 50)


@pytest.mark.parametrize("pricing", [by_combination, by_job])
@pytest.mark.parametrize("seed", [SEED])
def test_what_is_in_flight_goes_beyond_the_limit_by_one_price_at_most(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seed: int,
    pricing: Callable[[random.Random], Callable[[dict[str, Any]], int]],
) -> None:
    clock = [NOON]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda _: None)
    run = Run(world, clock, seed, pricing(random.Random(seed)))  # noqa: S311
    for _ in range(40):
        run.day()
        if not run.todo and not run.in_flight:
            break
    assert set(run.accepted.values()) == {1}
    assert len(run.accepted) == JOBS, "each job was covered by some day"
    assert {world.record(job_id).status for job_id in run.accepted} == {Status.PROCESSING}
    for day, paid in run.paid.items():
        assert run.counted(day) == paid
        assert paid <= LIMIT + run.highest
    with capsys.disabled():
        most = max(run.paid.values())
        print(
            f"\n{pricing.__name__}, seed {seed}: {JOBS} jobs, {run.most_in_flight} in flight, limit {LIMIT}, ", end=""
        )
        print(f"most paid on a day {most}, highest price {run.highest}")
