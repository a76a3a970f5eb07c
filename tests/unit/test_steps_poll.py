"""A poll says what the vendor says, mends the record, and never ends a paid job by mistake."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.faults import Fault, Paid
from shared.genviral.errors import GenviralUnavailable, RateLimited, VideoNotFound
from shared.jobs.errors import JobClosed
from shared.jobs.polling import PollingPolicy
from shared.jobs.states import TERMINAL, Status
from tests.unit.fakes import (
    EXECUTION,
    FINISHED,
    JOB_ID,
    LINK,
    PROMPT,
    VIDEO_ID,
    Answer,
    Vendor,
    World,
    breaking,
    refusing,
    showing,
)


def look(world: World, answer: Answer, *, submitted_at: int | None = None) -> dict[str, Any]:
    world.vendor = Vendor(get=[answer])
    return world.poller().look(EXECUTION, VIDEO_ID, int(time.time()) if submitted_at is None else submitted_at)


@pytest.mark.parametrize("answer", [showing("processing"), showing("paused by gremlins"), showing("succeeded")])
def test_what_is_not_finished_is_looked_at_again(world: World, answer: Answer) -> None:
    world.paid_job()
    state = look(world, answer)
    assert (state["status"], state["video_id"]) == ("processing", VIDEO_ID)
    assert 1 <= state["wait_seconds"] <= 60
    assert world.record().status is Status.PROCESSING


def test_a_finished_video_goes_to_delivery_without_its_link(world: World) -> None:
    world.paid_job()
    state = look(world, FINISHED)
    assert state["status"] == "succeeded"
    assert LINK not in str(state)
    assert world.record().status is Status.DELIVERING
    assert look(world, FINISHED)["status"] == "succeeded"


def test_a_failed_generation_ends_without_quoting_the_request(world: World) -> None:
    world.paid_job()
    state = look(world, showing("failed", error=f'unsafe prompt: "{PROMPT}"'))
    assert state["status"] == "failed"
    assert state["error"]["Error"] == "GenerationFailed"
    assert "unsafe prompt" in state["error"]["Cause"]
    assert "private red shoe" not in state["error"]["Cause"]
    assert '"paid": "yes"' in state["error"]["Cause"]


def test_a_video_that_is_late_is_timed_out_but_a_finished_one_never_is(world: World) -> None:
    world.paid_job()
    world.store.note(JOB_ID, deadline_at=int(time.time()) - 1)
    state = look(world, showing("processing"), submitted_at=int(time.time()) - 601)
    assert (state["status"], state["error"]["Error"]) == ("timed_out", "TimedOut")
    assert '"paid": "yes"' in state["error"]["Cause"]
    assert look(world, FINISHED)["status"] == "succeeded"


def test_a_wait_that_the_vendor_asks_for_is_kept_until_the_deadline(world: World) -> None:
    world.paid_job()
    limited = refusing(429, "rate_limited", **{"Retry-After": "77"})
    assert look(world, limited)["wait_seconds"] == 77
    world.store.note(JOB_ID, deadline_at=int(time.time()) - 1)
    with pytest.raises(RateLimited):
        look(world, limited)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusing(429), RateLimited),
        (refusing(404, "video_not_found"), VideoNotFound),
        (refusing(422, "invalid_input"), GenviralUnavailable),
        (refusing(500, "generation_failed"), GenviralUnavailable),
        (breaking(httpx.ReadTimeout), GenviralUnavailable),
    ],
)
def test_a_look_that_fails_says_that_the_video_is_paid_for(world: World, answer: Answer, error: type[Fault]) -> None:
    world.paid_job()
    with pytest.raises(error) as fault:
        look(world, answer)
    assert fault.value.paid is Paid.YES
    assert world.record().status is Status.PROCESSING


@pytest.mark.parametrize("status", [Status.ON_HOLD, Status.INTERRUPTED])
def test_a_job_that_comes_back_is_processing_again_once_the_vendor_answers(world: World, status: Status) -> None:
    world.paid_job()
    world.store.move(JOB_ID, status, held_since=1)
    with pytest.raises(GenviralUnavailable):
        look(world, refusing(503))
    assert (world.record().status, world.record().held_since) == (status, 1)
    look(world, showing("processing"))
    assert (world.record().status, world.record().held_since) == (Status.PROCESSING, None)
    assert world.record().deadline_at == 4_000_000_000


def test_a_video_the_record_does_not_know_is_written_down_before_the_vendor_is_asked(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "killed")
    with pytest.raises(GenviralUnavailable):
        look(world, breaking(httpx.ReadTimeout), submitted_at=1_800_000_000)
    job = world.record()
    assert (job.video_id, job.claim, job.submitted_at) == (VIDEO_ID, None, 1_800_000_000)
    assert job.deadline_at == 1_800_000_600


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_job_that_ended_is_not_followed(world: World, status: Status) -> None:
    world.paid_job()
    world.store.move(JOB_ID, Status.INTERRUPTED)
    world.store.move(JOB_ID, status)
    with pytest.raises(JobClosed) as fault:
        look(world, FINISHED)
    assert fault.value.paid is Paid.YES
    assert world.record().status is status


@pytest.mark.parametrize("answer", [FINISHED, showing("processing")])
def test_a_job_canceled_during_the_look_stays_canceled(world: World, answer: Answer) -> None:
    world.paid_job()

    def cancel(request: httpx.Request) -> httpx.Response:
        world.store.move(JOB_ID, Status.CANCELED)
        return answer(request)

    if answer is FINISHED:
        with pytest.raises(JobClosed):
            look(world, cancel)
    else:
        look(world, cancel)
    assert world.record().status is Status.CANCELED


def test_a_deleted_record_is_named(world: World) -> None:
    with pytest.raises(JobClosed, match="gone"):
        look(world, FINISHED)


SECONDS = st.floats(0, 1e6)


@given(SECONDS, st.floats(0, 0.999999), st.floats(1, 600), st.floats(1, 3600))
def test_waits_stay_between_floor_and_cap(elapsed: float, chance: float, floor: float, cap: float) -> None:
    policy = PollingPolicy(floor, cap)
    for wait in (policy.next_wait(elapsed, lambda: chance), policy.first_wait(elapsed)):
        assert isinstance(wait, int)
        assert 1 <= wait <= max(1, round(cap))
        assert wait >= round(min(floor, cap))


@given(SECONDS, st.floats(0, 3600))
def test_a_retry_after_wins(elapsed: float, retry_after: float) -> None:
    assert PollingPolicy(5, 60).next_wait(elapsed, lambda: 0.5, retry_after) == max(1, round(retry_after))


def test_waits_grow_and_are_spread() -> None:
    policy = PollingPolicy(5, 600)
    assert [policy.next_wait(elapsed, lambda: 0.5) for elapsed in (10, 100, 1000, 10_000)] == [5, 15, 150, 600]
    assert policy.next_wait(1000, lambda: 0.0) == 75
    assert policy.next_wait(1000, lambda: 0.999) == 225
