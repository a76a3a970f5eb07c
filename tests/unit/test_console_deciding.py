"""Test how a person decides on the console's page: the command line's questions, and nothing paid without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.jobs.states import Status
from tests.support.consoles import Page
from tests.support.fakes import JOB_ID, VIDEO_ID
from tests.support.operators import alive, claimed, dead, ended, uncertain

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fakes import World
    from tests.support.operators import CommandLine

ADDRESS = f"/api/jobs/{JOB_ID}"


def offered(page: Page) -> dict[str, dict[str, object]]:
    return {command["name"]: command for command in page.get(ADDRESS)["commands"]}


def interrupted(world: World) -> None:
    world.job()
    dead(world)
    world.overwrite(JOB_ID, status="interrupted")


def failed_unpaid(world: World) -> None:
    ended(world, Status.FAILED)


CASES: dict[str, tuple[Callable[[World], None], str]] = {
    "resubmit, may be paid": (uncertain, "resubmit"),
    "resubmit, not paid": (failed_unpaid, "resubmit"),
    "redrive, not paid": (interrupted, "redrive"),
    "redrive, may be paid": (claimed, "redrive"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_asks_what_the_command_line_asks_and_does_nothing_before(account: CommandLine, case: str) -> None:
    make, name = CASES[case]
    make(account.world)
    status, _, said = account.run(name, JOB_ID)
    assert status == 3
    page = Page()
    account.calls.clear()
    code, error = page.refused("POST", f"{ADDRESS}/{name}")
    assert (code, error["kind"]) == (409, "unconfirmed")
    assert error["message"] in " ".join(said.split())
    assert offered(page)[name]["question"] == error["message"]
    assert offered(page)[name]["pays"] is True
    for body in ({"confirmed": False}, {"confirmed": "true"}, {"confirmed": 1}, {"yes": True}):
        assert page.refused("POST", f"{ADDRESS}/{name}", body)[1]["kind"] == "unconfirmed"
    assert not {call for call in account.calls if "UpdateItem" in call or "Execution" in call} - {
        "states:DescribeExecution",
        "states:GetExecutionHistory",
    }


def test_a_confirmed_resubmit_sends_once_and_its_repeat_sends_nothing(account: CommandLine) -> None:
    uncertain(account.world)
    page = Page()
    agreed = {"confirmed": True, "seen": offered(page)["resubmit"]["seen"]}
    assert page.post(f"{ADDRESS}/resubmit", agreed)["job"]["status"] == "queued"
    code, error = page.refused("POST", f"{ADDRESS}/resubmit", agreed)
    assert code == 409
    assert account.world.record().resubmissions == 1
    assert account.world.executions().count(f"{JOB_ID}.r1") == 1
    assert error["message"]


def test_a_late_click_does_not_decide_about_what_came_after(account: CommandLine) -> None:
    uncertain(account.world)
    page = Page()
    seen = offered(page)["resubmit"]["seen"]
    page.post(f"{ADDRESS}/resubmit", {"confirmed": True, "seen": seen})
    # Sent again, the outcome is uncertain again: that is a decision of its own.
    account.world.overwrite(JOB_ID, status="uncertain")
    code, error = page.refused("POST", f"{ADDRESS}/resubmit", {"confirmed": True, "seen": seen})
    assert (code, error["kind"]) == (409, "refused")
    assert "changed since you looked" in error["message"]
    assert account.world.record().resubmissions == 1


@pytest.mark.parametrize("seen", [{}, {"seen": None}, {"seen": ""}])
def test_nothing_is_paid_without_saying_what_was_seen(account: CommandLine, seen: dict[str, object]) -> None:
    uncertain(account.world)
    code, error = Page().refused("POST", f"{ADDRESS}/resubmit", {"confirmed": True, **seen})
    assert (code, error["kind"]) == (409, "refused")
    assert account.world.record().resubmissions == 0


def test_attach_takes_the_fields_of_the_command_line(account: CommandLine) -> None:
    uncertain(account.world)
    page = Page()
    assert "Give the id" in page.refused("POST", f"{ADDRESS}/attach")[1]["message"]
    for body in ({"video_id": 5}, {"video_id": VIDEO_ID, "force": "yes"}, {"replace": 1}):
        assert page.refused("POST", f"{ADDRESS}/attach", body)[0] == 400
    job = page.post(f"{ADDRESS}/attach", {"video_id": VIDEO_ID})["job"]
    assert (job["status"], job["video_id"]) == ("processing", VIDEO_ID)
    assert not account.world.vendor.posts


def test_cancel_and_what_is_offered_follow_the_jobs_state(account: CommandLine) -> None:
    account.world.paid_job()
    alive(account.world)
    page = Page()
    assert "cancel" in offered(page)
    assert page.post(f"{ADDRESS}/cancel")["job"]["status"] == "canceled"
    assert set(offered(page)) == {"attach"}
    ended_at_once = page.refused("POST", f"{ADDRESS}/redrive", {"confirmed": True})
    assert ended_at_once[0] == 409
    assert page.refused("POST", f"{ADDRESS}/delete")[0] == 404
    assert page.refused("POST", "/api/jobs/nobody/cancel")[0] == 404


def test_intake_asks_before_it_starts_what_waits(account: CommandLine) -> None:
    page = Page()
    assert page.post("/api/intake", {"stopped": True}) == {"intake_stopped": True}
    assert page.post("/api/intake", {"stopped": False}) == {"intake_stopped": False}  # nothing waits
    page.post("/api/intake", {"stopped": True})
    account.world.job()
    code, error = page.refused("POST", "/api/intake", {"stopped": False})
    assert (code, error["kind"]) == (409, "unconfirmed")
    assert error["message"] in " ".join(account.run("start-intake")[2].split())
    assert page.get("/api/overview")["intake_stopped"] is True
    assert page.post("/api/intake", {"stopped": False, "confirmed": True}) == {"intake_stopped": False}
    assert page.refused("POST", "/api/intake", {"stopped": "no"})[0] == 400


def test_a_job_without_a_video_is_not_redriven_while_intake_is_stopped(account: CommandLine) -> None:
    interrupted(account.world)
    page = Page()
    page.post("/api/intake", {"stopped": True})
    code, error = page.refused("POST", f"{ADDRESS}/redrive", {"confirmed": True})
    assert (code, "start-intake" in error["message"]) == (409, True)
