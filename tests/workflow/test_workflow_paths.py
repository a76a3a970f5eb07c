"""Test the paths of the state machine: which calls, with what, in which order, and which data is never passed on."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from shared.faults import Paid
from shared.genviral.errors import (
    AuthenticationFailed,
    GenerationFailed,
    GenviralUnavailable,
    GenviralUnreachable,
    InsufficientCredits,
    InvalidInput,
    RateLimited,
)
from shared.jobs.errors import TimedOut
from tests.support.video_job import (
    EXPIRED,
    HELD,
    JOB,
    PROCESSING,
    SUBMITTED,
    SUCCEEDED,
    TASKS,
    Scripts,
    VideoJobRun,
    ended,
    entries,
)

HELD_AT_SUBMIT: Scripts = {"Submit": [InsufficientCredits("Empty."), InsufficientCredits("Still empty."), SUBMITTED]}
HELD_AT_POLL: Scripts = {"Poll": [PROCESSING, AuthenticationFailed("Revoked.", paid=Paid.YES), PROCESSING, SUCCEEDED]}
HELD_AT_DELIVER: Scripts = {"Deliver": [AuthenticationFailed("Revoked.", paid=Paid.YES), {"video": {"bytes": 1}}]}
FAILED: Scripts = {"Poll": [PROCESSING, ended("failed", GenerationFailed("The generation failed.", paid=Paid.YES))]}
TIMED_OUT: Scripts = {"Poll": [PROCESSING, ended("timed_out", TimedOut("Not finished after 120 minutes."))]}
REJECTED: Scripts = {"Submit": [InvalidInput("The model takes no picture.")]}
EXPIRED_AT_SUBMIT: Scripts = {"Submit": [InsufficientCredits("Empty.")], "Hold": [HELD, EXPIRED]}
EXPIRED_AT_POLL: Scripts = {"Poll": [InsufficientCredits("Empty.")], "Hold": [HELD, EXPIRED]}
LUCKY_IN_THE_END: Scripts = {
    "Submit": [GenviralUnreachable("No."), RateLimited("Slowly."), SUBMITTED],
    "Poll": [GenviralUnavailable("No.")] * 3 + [PROCESSING, SUCCEEDED],
}
SCENARIOS: dict[str, Scripts] = {
    "all well": {},
    "three polls": {"Poll": [PROCESSING, PROCESSING, SUCCEEDED]},
    "held at submit": HELD_AT_SUBMIT,
    "held at poll": HELD_AT_POLL,
    "held at deliver": HELD_AT_DELIVER,
    "failed": FAILED,
    "timed out": TIMED_OUT,
    "rejected": REJECTED,
    "hold expired at submit": EXPIRED_AT_SUBMIT,
    "hold expired at poll": EXPIRED_AT_POLL,
    "lucky in the end": LUCKY_IN_THE_END,
}
every_scenario = pytest.mark.parametrize("scripts", SCENARIOS.values(), ids=SCENARIOS)


def test_all_goes_well() -> None:
    stage = VideoJobRun(Poll=[PROCESSING, PROCESSING, SUCCEEDED])
    given = {"job_id": JOB, "source": {"type": "upload", "bucket": "uploads", "key": "uploads/shoe.jpg"}}
    ran = stage.play(given)
    poll = ["Wait", "Poll", "Finished?"]
    assert ran.states == ["Begin", "Submit", *poll * 3, "Deliver", "NotifySucceeded"]
    assert (ran.status, ran.output) == ("SUCCEEDED", {"job_id": JOB, "status": "succeeded"})
    assert ran.waits == [SUBMITTED["wait_seconds"], PROCESSING["wait_seconds"], PROCESSING["wait_seconds"]]
    assert {state: len(calls) for state, calls in stage.calls.items()} == {
        "Submit": 1,
        "Poll": 3,
        "Deliver": 1,
        "NotifySucceeded": 1,
    }
    assert stage.calls["Submit"][0]["input"] == given
    assert {call["video_id"] for call in stage.calls["Poll"] + stage.calls["Deliver"]} == {"video-1"}
    assert {call["submitted_at"] for call in stage.calls["Poll"]} == {SUBMITTED["submitted_at"]}


def test_a_passing_trouble_changes_nothing_but_the_time() -> None:
    stage = VideoJobRun(**LUCKY_IN_THE_END)
    ran = stage.play()
    assert ran.status == "SUCCEEDED"
    assert len(ran.backoffs) == 5
    assert [len(stage.calls[state]) for state in ("Submit", "Poll", "Deliver", "Hold")] == [3, 5, 1, 0]


@pytest.mark.parametrize("scripts", [FAILED, TIMED_OUT], ids=["failed", "timed out"])
def test_a_video_that_will_not_come_ends_the_job_with_its_reason(scripts: Scripts) -> None:
    stage = VideoJobRun(**scripts)
    ran = stage.play()
    reason = scripts["Poll"][-1]["error"]
    assert (ran.status, ran.error, ran.cause) == ("FAILED", reason["Error"], reason["Cause"])
    assert ran.states[-3:] == ["Finished?", "NotifyFailed", "Failed"]
    assert not stage.calls["Deliver"]


def test_a_job_held_before_its_submission_is_submitted_later() -> None:
    stage = VideoJobRun(**HELD_AT_SUBMIT)
    ran = stage.play()
    hold = ["Hold", "Held?", "HoldWait", "Resume?", "Submit"]
    assert ran.states[:13] == ["Begin", "Submit", *hold * 2, "Wait"]
    assert ran.status == "SUCCEEDED"
    assert ran.waits[:2] == [HELD["wait_seconds"]] * 2


@pytest.mark.parametrize("scripts", [HELD_AT_POLL, HELD_AT_DELIVER], ids=["at poll", "at deliver"])
def test_a_job_held_with_a_video_goes_on_polling_whatever_the_record_says(scripts: Scripts) -> None:
    # The record may not know the video, if it could not be written after the submission: the execution does.
    stage = VideoJobRun(**scripts, Hold=[HELD | {"video_id": None, "submitted_at": None}])
    ran = stage.play()
    assert ran.status == "SUCCEEDED"
    assert ran.states[ran.states.index("Resume?") + 1] == "Poll"
    assert len(stage.calls["Submit"]) == 1
    assert {(call["video_id"], call["submitted_at"]) for call in stage.calls["Poll"]} == {
        (SUBMITTED["video_id"], SUBMITTED["submitted_at"])
    }


@pytest.mark.parametrize("scripts", [EXPIRED_AT_SUBMIT, EXPIRED_AT_POLL], ids=["at submit", "at poll"])
def test_a_hold_that_lasted_too_long_ends_with_the_account_error(scripts: Scripts) -> None:
    stage = VideoJobRun(**scripts)
    ran = stage.play()
    assert (ran.status, ran.error) == ("FAILED", "InsufficientCredits")
    assert ran.states[-4:] == ["Hold", "Held?", "NotifyFailed", "Failed"]
    assert [call["error"]["Error"] for call in stage.calls["NotifyFailed"]] == ["InsufficientCredits"]
    assert ran.waits.count(HELD["wait_seconds"]) == 1


@pytest.mark.parametrize("given", [[], "text", 7, {"video_id": "somebody-else's", "hold": {"expired": True}}])
def test_no_input_of_an_execution_gets_in_the_way_of_a_hold_or_a_notification(given: Any) -> None:
    held, rejected = VideoJobRun(**HELD_AT_SUBMIT), VideoJobRun(**REJECTED)
    assert held.play(given).status == "SUCCEEDED"
    assert {call["video_id"] for call in held.calls["Poll"]} == {SUBMITTED["video_id"]}
    assert rejected.play(given).error == "InvalidInput"
    assert len(rejected.calls["NotifyFailed"]) == 1


@every_scenario
def test_what_was_asked_for_is_not_carried_beyond_submit(scripts: Scripts) -> None:
    ran = VideoJobRun(**scripts).play({"request": {"model_id": "m", "prompt": "SECRET shoe on a table"}})
    left = max(
        index
        for index, event in enumerate(ran.events)
        if event.get("stateExitedEventDetails", {}).get("name") == "Submit"
    )
    assert "SECRET" in json.dumps(ran.events[:left])
    assert "SECRET" not in json.dumps(ran.events[left:])
    assert not [name for name, given in entries(ran)[1:] if "SECRET" in json.dumps(given)]


@every_scenario
def test_every_task_can_be_entered_again_with_the_input_that_is_on_record(scripts: Scripts) -> None:
    # This is what a redrive does, in whichever state the execution failed.
    tasks = [(name, given) for name, given in entries(VideoJobRun(**scripts).play()) if name in TASKS]
    for name, given in tasks:
        stage = VideoJobRun()
        ran = stage.play(given, start=name)
        assert ran.states[0] == name
        assert not (ran.error or "").startswith("States."), (name, ran.error, ran.cause)
        if "video_id" in given:
            assert not stage.calls["Submit"], "a video that is paid for is never submitted again"


def test_two_jobs_that_retry_at_once_spread_out() -> None:
    def backoffs() -> list[float]:
        return VideoJobRun(Poll=[GenviralUnavailable("No.")]).play().backoffs

    first, second = backoffs(), backoffs()
    assert first != second
    assert all(0 <= seconds <= 300 for seconds in itertools.chain(first, second))
