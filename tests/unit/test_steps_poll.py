"""Test that a poll reports the vendor's answer, fixes the record, and never ends a paid job by mistake."""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest

from shared.faults import Fault, Paid
from shared.genviral.errors import GenviralUnavailable, RateLimited, VideoNotFound
from shared.jobs.errors import JobClosed
from shared.jobs.states import TERMINAL, Status
from shared.jobs.transitions import JobStore
from shared.polling.durations import Durations, kind_of
from tests.support.fakes import (
    BODY,
    EXECUTION,
    FINISHED,
    JOB_ID,
    LINK,
    PROMPT,
    TABLE,
    VIDEO_ID,
    Answer,
    Flaky,
    Vendor,
    World,
    breaking,
    refusing,
    showing,
)


def poll(world: World, answer: Answer, *, submitted_at: int | None = None) -> dict[str, Any]:
    world.vendor = Vendor(get=[answer])
    return world.poller().poll(EXECUTION, VIDEO_ID, int(time.time()) if submitted_at is None else submitted_at)


@pytest.mark.parametrize("answer", [showing("processing"), showing("paused by gremlins"), showing("succeeded")])
def test_what_is_not_finished_is_polled_again(world: World, answer: Answer) -> None:
    world.paid_job()
    state = poll(world, answer)
    assert (state["status"], state["video_id"]) == ("processing", VIDEO_ID)
    assert 1 <= state["wait_seconds"] <= 60
    assert world.record().status is Status.PROCESSING


def test_a_finished_video_goes_to_delivery_without_its_link(world: World) -> None:
    world.paid_job()
    state = poll(world, FINISHED)
    assert state["status"] == "succeeded"
    assert LINK not in str(state)
    assert world.record().status is Status.DELIVERING
    assert poll(world, FINISHED)["status"] == "succeeded"


def test_a_failed_generation_ends_with_the_reason_that_an_object_holds(world: World) -> None:
    world.paid_job()
    error = {"code": "content_policy", "message": f"The image of '{PROMPT}' shows a public figure"}
    state = poll(world, showing("Failed", error=error))
    message = json.loads(state["error"]["Cause"])["message"]
    assert message == "the generation failed: The image of '[…]' shows a public figure (content_policy)"


def test_a_failed_generation_ends_without_quoting_the_request(world: World) -> None:
    world.paid_job()
    state = poll(world, showing("failed", error=f'unsafe prompt: "{PROMPT}"'))
    assert state["status"] == "failed"
    assert state["error"]["Error"] == "GenerationFailed"
    assert "unsafe prompt" in state["error"]["Cause"]
    assert "private red shoe" not in state["error"]["Cause"]
    assert '"paid": "yes"' in state["error"]["Cause"]


def test_a_video_that_is_late_is_timed_out_but_a_finished_one_never_is(world: World) -> None:
    world.paid_job()
    world.store.update(JOB_ID, deadline_at=int(time.time()) - 1)
    state = poll(world, showing("processing"), submitted_at=int(time.time()) - 601)
    assert (state["status"], state["error"]["Error"]) == ("timed_out", "TimedOut")
    assert '"paid": "yes"' in state["error"]["Cause"]
    assert poll(world, FINISHED)["status"] == "succeeded"


WORDS = {
    "the usual one": (showing(" Processing "), None, r"the vendor had not finished after 10 minutes"),
    "one that is not known": (
        showing("Rendering"),
        "Rendering",
        r'10 minutes the vendor says "Rendering", a status that',
    ),
    "success without a link": (
        showing("SUCCEEDED", output_url=None),
        "SUCCEEDED",
        r'the vendor says "SUCCEEDED", but after 10 minutes it gives no link',
    ),
    "one with a reason": (
        showing("cancelled", error={"message": f"by '{PROMPT}'"}),
        "cancelled",
        r"says \"cancelled\", a status that .*; it adds: by '\[…\]'$",
    ),
    "none": (showing(" "), "(blank)", r"after 10 minutes the vendor gives a status without a word$"),
    "one that quotes the request": (showing(f"at '{PROMPT}'"), "at '[…]'", r"says \"at '\[…\]'\""),
}


@pytest.mark.parametrize("kind", WORDS)
def test_the_vendors_text_is_kept_shown_and_notified_at_the_deadline(world: World, kind: str) -> None:
    answer, word, text = WORDS[kind]
    world.paid_job()
    assert poll(world, answer)["status"] == "processing"
    assert world.record().vendor_status == world.lookup().show(JOB_ID).get("vendor_status") == word
    world.store.update(JOB_ID, deadline_at=int(time.time()) - 1)
    state = poll(world, answer, submitted_at=int(time.time()) - 600)
    assert state["status"] == "timed_out"
    message = json.loads(state["error"]["Cause"])["message"]
    assert re.search(text, message)
    world.notifier().failed(EXECUTION, state["error"])
    (sent,) = world.messages()
    assert message in sent.email
    assert ("had not finished" in sent.email) == (word is None)
    assert world.lookup().show(JOB_ID).get("vendor_status") == word


@pytest.mark.parametrize("answer", [showing("processing"), FINISHED, showing("failed")])
def test_a_word_of_the_vendor_is_forgotten_when_it_is_not_true_any_more(world: World, answer: Answer) -> None:
    world.paid_job()
    poll(world, showing("Rendering"))
    poll(world, answer)
    assert world.record().vendor_status is None


def test_a_word_is_written_once_and_its_loss_costs_no_poll(world: World) -> None:
    world.paid_job()
    flaky = Flaky(world.dynamodb, {1: "before"}, only="update_item")
    world.vendor = Vendor(get=[showing("Rendering")])
    poller = world.poller(JobStore(flaky, TABLE))  # type: ignore[arg-type]  # a double of the client
    for written in (1, 2, 2):
        assert poller.poll(EXECUTION, VIDEO_ID, int(time.time()))["status"] == "processing"
        assert len(flaky.calls) == written
    assert world.record().vendor_status == "Rendering"


def test_a_wait_that_the_vendor_asks_for_is_kept_until_the_deadline(world: World) -> None:
    world.paid_job()
    limited = refusing(429, "rate_limited", **{"Retry-After": "77"})
    assert poll(world, limited)["wait_seconds"] == 77
    world.store.update(JOB_ID, deadline_at=int(time.time()) - 1)
    with pytest.raises(RateLimited):
        poll(world, limited)


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
def test_a_failed_poll_says_that_the_video_is_paid_for(world: World, answer: Answer, error: type[Fault]) -> None:
    world.paid_job()
    with pytest.raises(error) as fault:
        poll(world, answer)
    assert fault.value.paid is Paid.YES
    assert world.record().status is Status.PROCESSING


@pytest.mark.parametrize("status", [Status.ON_HOLD, Status.INTERRUPTED])
def test_a_resumed_job_is_processing_again_once_the_vendor_answers(world: World, status: Status) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, status, held_since=1)
    with pytest.raises(GenviralUnavailable):
        poll(world, refusing(503))
    assert (world.record().status, world.record().held_since) == (status, 1)
    poll(world, showing("processing"))
    assert (world.record().status, world.record().held_since) == (Status.PROCESSING, None)
    assert world.record().deadline_at == 4_000_000_000


def test_an_unrecorded_video_is_recorded_before_the_vendor_is_asked(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "killed")
    with pytest.raises(GenviralUnavailable):
        poll(world, breaking(httpx.ReadTimeout), submitted_at=1_800_000_000)
    job = world.record()
    assert (job.video_id, job.claim, job.submitted_at) == (VIDEO_ID, None, 1_800_000_000)
    assert job.deadline_at == 1_800_000_600


def test_a_video_that_was_replaced_is_not_followed(world: World) -> None:
    world.paid_job()
    world.store.update(JOB_ID, video_id="the-right-one")
    with pytest.raises(JobClosed) as closed:
        poll(world, FINISHED)
    assert (closed.value.paid, world.record().status, world.vendor.asked) == (Paid.YES, Status.PROCESSING, [])


def test_a_late_poll_does_not_take_a_job_back_from_its_delivery(world: World) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.ON_HOLD)

    def overtaken(request: httpx.Request) -> httpx.Response:
        world.store.transition(JOB_ID, Status.PROCESSING)
        world.store.transition(JOB_ID, Status.DELIVERING)
        return showing("processing")(request)

    assert poll(world, overtaken)["status"] == "processing"
    assert world.record().status is Status.DELIVERING


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_job_that_ended_is_not_followed(world: World, status: Status) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    world.store.transition(JOB_ID, status)
    with pytest.raises(JobClosed) as fault:
        poll(world, FINISHED)
    assert fault.value.paid is Paid.YES
    assert world.record().status is status


@pytest.mark.parametrize("answer", [FINISHED, showing("processing")])
def test_a_job_canceled_during_the_poll_stays_canceled(world: World, answer: Answer) -> None:
    world.paid_job()

    def cancel(request: httpx.Request) -> httpx.Response:
        world.store.transition(JOB_ID, Status.CANCELED)
        return answer(request)

    if answer is FINISHED:
        with pytest.raises(JobClosed):
            poll(world, cancel)
    else:
        poll(world, cancel)
    assert world.record().status is Status.CANCELED


def test_a_paid_video_outlives_the_deletion_of_its_record(world: World) -> None:
    assert poll(world, FINISHED)["status"] == "succeeded"
    job = world.record()
    assert (job.status, job.video_id, job.execution) == (Status.DELIVERING, VIDEO_ID, EXECUTION)


@pytest.mark.parametrize("status", [Status.CANCELED, Status.UNCERTAIN])
def test_a_video_only_the_execution_knows_is_recorded_on_an_ended_job(world: World, status: Status) -> None:
    world.job()
    world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
    world.store.transition(JOB_ID, status)
    with pytest.raises(JobClosed, match=status):
        poll(world, FINISHED)
    assert (world.record().status, world.record().video_id, world.record().paid) == (status, VIDEO_ID, "yes")


def test_a_second_video_only_the_execution_knows_is_recorded_too(world: World) -> None:
    """Submit could not record it, and meanwhile an operator paid for the job again."""
    world.job()
    world.store.record_accepted(JOB_ID, "the-first")
    for _ in range(2):
        with pytest.raises(JobClosed, match="another video"):
            poll(world, FINISHED)
    assert world.record().video_id == "the-first"
    assert list(world.record().other_videos) == [VIDEO_ID]
    assert not world.vendor.asked


def test_a_poll_that_an_operator_overtook_moves_no_other_video_on(world: World) -> None:
    """It polled the video that an operator has replaced meanwhile."""
    world.paid_job()

    def replace(request: httpx.Request) -> httpx.Response:
        world.store.update(JOB_ID, video_id="the-right-one")
        return FINISHED(request)

    with pytest.raises(JobClosed, match="another video"):
        poll(world, replace)
    assert (world.record().status, world.record().video_id) == (Status.PROCESSING, "the-right-one")


# ---- a vendor in trouble ---------------------------------------------------------------------------------------------

PASSING = {
    "not found": (refusing(404, "video_not_found", "no such video"), "video_not_found"),
    "too many requests": (refusing(429), "rate_limited"),
    "too many requests, with a wait": (refusing(429, **{"Retry-After": "77"}), "rate_limited"),
    "a crash": (refusing(503), "genviral_unavailable"),
    "no answer": (breaking(httpx.ReadTimeout), "genviral_unavailable"),
    "nobody there": (breaking(httpx.ConnectError), "genviral_unreachable"),
    "a firewall": (lambda _: httpx.Response(403, content=b"<html>"), "genviral_unavailable"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_while_polls_fail_the_job_says_why_how_often_and_when_next(world: World, kind: str) -> None:
    answer, code = PASSING[kind]
    world.paid_job()
    for tries in (1, 2, 3):
        with contextlib.suppress(Fault):
            poll(world, answer)
        retrying = world.lookup().show(JOB_ID)["retrying"]
        assert retrying == world.record().current_retry
        assert (retrying["error"]["code"], retrying["tries"]) == (code, tries)
        assert retrying["since"] < retrying["next_try_by"]
    poll(world, showing("processing"))
    assert "retrying" not in world.lookup().show(JOB_ID)
    assert world.record().retrying is None


@pytest.mark.parametrize("answer", [FINISHED, showing("failed"), showing("Rendering")])
def test_any_answer_ends_the_tries_in_one_write(world: World, answer: Answer) -> None:
    world.paid_job()
    with pytest.raises(GenviralUnavailable):
        poll(world, refusing(503))
    flaky = Flaky(world.dynamodb, only="update_item")
    world.vendor = Vendor(get=[answer])
    world.poller(JobStore(flaky, TABLE)).poll(EXECUTION, VIDEO_ID, int(time.time()))  # type: ignore[arg-type]  # a double of the client
    assert world.record().retrying is None
    assert len(flaky.calls) == (2 if answer is FINISHED else 1), "a finished video moves the job as well"


def test_a_poll_that_finds_nothing_new_writes_nothing(world: World) -> None:
    world.paid_job()
    flaky = Flaky(world.dynamodb, only="update_item")
    world.poller(JobStore(flaky, TABLE)).poll(EXECUTION, VIDEO_ID, int(time.time()))  # type: ignore[arg-type]  # a double of the client
    assert not flaky.calls


def test_a_note_that_cannot_be_written_does_not_hide_the_fault(world: World) -> None:
    world.paid_job()
    flaky = Flaky(world.dynamodb, {1: "before"}, only="update_item")
    world.vendor = Vendor(get=[refusing(503)])
    with pytest.raises(GenviralUnavailable):
        world.poller(JobStore(flaky, TABLE)).poll(EXECUTION, VIDEO_ID, 0)  # type: ignore[arg-type]  # a double of the client
    assert world.record().retrying is None


def test_an_account_error_is_notified_by_the_hold(world: World) -> None:
    world.paid_job()
    with pytest.raises(Fault):
        poll(world, refusing(402, "insufficient_credits"))
    assert world.record().retrying is None


def test_the_tries_of_a_redriven_job_begin_anew(world: World) -> None:
    world.paid_job()
    for _ in range(3):
        with pytest.raises(GenviralUnavailable):
            poll(world, refusing(503))
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="GenviralUnavailable", cause="", moment="1")
    assert "retrying" not in world.lookup().show(JOB_ID)
    time.sleep(0.002)  # moments are kept in milliseconds
    with pytest.raises(GenviralUnavailable):
        poll(world, refusing(503))
    assert world.lookup().show(JOB_ID)["retrying"]["tries"] == 1
    assert world.record().status is Status.INTERRUPTED


# ---- waiting well ----------------------------------------------------------------------------------------------------

KIND = kind_of(BODY["model_id"], BODY)


def submitted(world: World) -> dict[str, Any]:
    """Return the state machine's data some minutes after a submission."""
    world.job()
    state = world.submitter().submit(EXECUTION, {})
    return state | {"submitted_at": state["submitted_at"] - 300}


def seen(world: World, answer: Answer, state: dict[str, Any], **waiting: Any) -> dict[str, Any]:
    world.vendor = Vendor(get=[answer])
    carried = state["waiting"] | waiting
    return world.poller().poll(EXECUTION, VIDEO_ID, state["submitted_at"], carried)


def learned(world: World) -> list[float]:
    return Durations(world.dynamodb, TABLE).of(KIND)


def test_the_first_poll_comes_when_others_of_its_kind_were_finished(world: World) -> None:
    for number in range(200):
        Durations(world.dynamodb, TABLE).learn(KIND, f"job-{number}", 400 + number % 20)
    state = submitted(world)
    assert 340 <= state["wait_seconds"] == state["waiting"]["next"] <= 440
    assert world.record().expected_seconds == pytest.approx([410, 418], abs=5)


def test_a_model_that_takes_hours_gets_a_later_deadline(world: World) -> None:
    for number in range(200):
        Durations(world.dynamodb, TABLE).learn(KIND, f"job-{number}", 3000)
    state = submitted(world)
    assert world.record().deadline_at == state["submitted_at"] + 300 + 4 * 3000


def test_a_poll_goes_on_with_the_plan_and_remembers_it_found_nothing(world: World) -> None:
    state = seen(world, showing("processing"), submitted(world), looks=[290, 310, 340], unfinished=200, next=299)
    waiting = state["waiting"]
    assert waiting["looks"] == [310, 340]
    assert 299 <= waiting["unfinished"] <= 302
    assert waiting["next"] == waiting["unfinished"] + state["wait_seconds"] in (310, 311, 340)


def test_a_refused_poll_has_found_nothing(world: World) -> None:
    limited = refusing(429, "rate_limited", **{"Retry-After": "77"})
    waiting = seen(world, limited, submitted(world), unfinished=200, next=299)["waiting"]
    assert waiting["unfinished"] == 200


def test_a_finished_video_teaches_how_long_its_kind_takes(world: World) -> None:
    state = submitted(world)
    for _ in range(2):  # a repeat of the step adds nothing
        seen(world, FINISHED, state, unfinished=280, next=299)
    assert learned(world) == [pytest.approx(290, abs=2)]


@pytest.mark.parametrize("status", [Status.ON_HOLD, Status.INTERRUPTED])
def test_a_job_that_was_held_or_interrupted_teaches_nothing(world: World, status: Status) -> None:
    state = submitted(world)
    world.store.transition(JOB_ID, status)
    seen(world, FINISHED, state, unfinished=280, next=299)
    assert learned(world) == []


def test_a_late_poll_is_not_learned_from(world: World) -> None:
    seen(world, FINISHED, submitted(world), unfinished=180, next=200)
    assert learned(world) == []


def test_an_execution_of_an_older_version_goes_on(world: World) -> None:
    world.paid_job()
    assert poll(world, showing("processing"))["wait_seconds"] >= 1
    assert poll(world, FINISHED)["status"] == "succeeded"
    assert learned(world) == []


def test_a_table_that_does_not_answer_costs_no_job(world: World) -> None:
    broken = Durations(Flaky(world.dynamodb, dict.fromkeys(range(1, 9), "before")), TABLE)  # type: ignore[arg-type]  # a double of the client
    world.job()
    state = replace(world.submitter(), scheduler=world.scheduler(broken)).submit(EXECUTION, {})
    world.vendor = Vendor(get=[FINISHED])
    poller = replace(world.poller(), scheduler=world.scheduler(broken))
    assert poller.poll(EXECUTION, VIDEO_ID, state["submitted_at"], state["waiting"])["status"] == "succeeded"
