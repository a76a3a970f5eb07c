"""Test that the announced next try agrees with the state machine, the template, and the failures so far."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared import delivery
from shared.faults import Branch, Fault
from shared.genviral.errors import TABLE, Call, GenviralUnavailable, VideoNotFound
from shared.jobs.record import Job
from shared.jobs.states import Status
from shared.jobs.waits import BACKOFFS, SWEEP_SECONDS, USUAL, retry_of, sweep_by
from shared.runtime import AwsCallFailed
from tools import docs

JOB = Job(job_id="a", status=Status.PROCESSING, created_at="2026-11-22T10:00:00.000Z", source={"type": "api"})


def seconds_until(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - time.time()


def repeated() -> set[str]:
    """Return the names of the errors of a poll or a delivery that are retried and shown."""
    vendor = [row.fault for row in TABLE if row.call is not Call.SUBMIT]
    retried: list[type[Fault]] = [*vendor, *delivery.ERRORS, AwsCallFailed]
    return {fault.__name__ for fault in retried if fault.branch is Branch.RETRY} - {"DeliveryIncomplete"}


@pytest.mark.parametrize("state", ["Poll", "Deliver"])
def test_the_backoffs_are_those_of_the_state_machine(state: str) -> None:
    found: dict[str, tuple[int, int]] = {}
    for rule in docs.machine()["States"][state]["Retry"]:
        for name in set(rule["ErrorEquals"]) & repeated():
            assert rule["BackoffRate"] == 2
            found[name] = (rule["IntervalSeconds"], rule["MaxDelaySeconds"])
    assert {"GenviralUnavailable", "VideoNotFound", "AwsCallFailed"} <= set(found)
    assert found == {name: BACKOFFS.get(name, USUAL) for name in found}


def test_the_sweep_comes_as_often_as_the_template_says() -> None:
    schedule = docs.template()["Resources"]["SweepFunction"]["Properties"]["Events"]
    (rate,) = [event["Properties"]["Schedule"] for event in schedule.values() if event["Type"] == "Schedule"]
    assert rate == f"rate({SWEEP_SECONDS // 60} minutes)"


def test_each_try_is_counted_and_the_next_comes_later_and_later() -> None:
    job, waits = JOB, []
    for tries in range(1, 9):
        job = replace(job, retrying=retry_of(job, GenviralUnavailable("Genviral gave no usable answer (HTTP 503).")))
        retry = job.current_retry
        assert retry is not None
        assert retry["tries"] == tries
        waits.append(round(seconds_until(retry["next_try_by"])))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    assert retry is not None
    assert retry["error"] == {
        "error": "GenviralUnavailable",
        "code": "genviral_unavailable",
        "message": "Genviral gave no usable answer (HTTP 503).",
    }
    assert seconds_until(retry["since"]) <= 0
    assert round(seconds_until(retry_of(job, VideoNotFound("no"))["next_try_by"])) == 300
    assert round(seconds_until(retry_of(job, VideoNotFound("no"), 77)["next_try_by"])) == 77


@pytest.mark.parametrize("ended", [Status.FAILED, Status.TIMED_OUT, Status.CANCELED, Status.UNCERTAIN])
def test_a_job_that_an_operator_took_up_again_has_left_its_tries_behind(ended: Status) -> None:
    failed = replace(JOB, retrying=retry_of(JOB, GenviralUnavailable("no")))
    later = datetime.fromtimestamp(time.time() + 5, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    job = replace(failed, status=Status.PROCESSING, timeline={ended: later})
    assert job.current_retry is None
    assert retry_of(job, GenviralUnavailable("no"))["tries"] == 1


def test_an_interrupted_job_that_runs_again_says_so_and_not_when_it_will() -> None:
    due: Any = {"status": Status.INTERRUPTED, "redrive_at": 1, "redrive_until": 2}
    waiting = replace(JOB, **due, timeline={Status.INTERRUPTED: "2026-11-22T10:00:00.000Z"})
    assert set(waiting.redrive) == {"redrive_at", "redrive_until"}
    failed = replace(waiting, retrying=retry_of(waiting, GenviralUnavailable("no")))
    assert failed.redrive == {}
    assert failed.current_retry is not None


@pytest.mark.parametrize("ended", [Status.INTERRUPTED, Status.ON_HOLD])
def test_an_interruption_or_a_hold_ends_the_tries_before_it(ended: Status) -> None:
    failed = replace(JOB, retrying=retry_of(JOB, GenviralUnavailable("no")))
    later = datetime.fromtimestamp(time.time() + 5, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert failed.current_retry is not None
    job = replace(failed, status=ended, timeline={ended: later})
    assert job.current_retry is None
    assert retry_of(job, GenviralUnavailable("no"))["tries"] == 1
    earlier = replace(failed, status=ended, timeline={ended: "2026-11-22T10:00:00.000Z"})
    assert earlier.current_retry is not None, "redriven, or tried again on hold"


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELED])
def test_a_job_that_has_ended_tries_nothing(status: Status) -> None:
    assert replace(JOB, status=status, retrying=retry_of(JOB, GenviralUnavailable("no"))).current_retry is None


@pytest.mark.parametrize(("changed", "wait"), [(0, 300 + 900), (-100, 200 + 900), (-300, 900), (-90_000, 900)])
def test_the_sweep_leaves_young_jobs_alone_and_then_comes_within_its_rate(changed: int, wait: int) -> None:
    job: Any = replace(JOB, status=Status.QUEUED, changed_at=int(time.time()) + changed)
    assert seconds_until(sweep_by(job, 300)) == pytest.approx(wait, abs=2)
