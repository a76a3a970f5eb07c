"""Test which interruptions are redriven automatically, how long the pauses are, and when people are notified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared import runtime
from shared.delivery import errors as delivery_errors
from shared.faults import Branch, Fault
from shared.genviral import errors as genviral_errors
from shared.jobs import errors as job_errors
from shared.jobs import redrives
from shared.jobs.record import Job
from shared.jobs.redrives import PROSPECTS, Prospect
from shared.jobs.states import Status
from tools import docs

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_795_348_800
DAY = 86_400


def job(**attributes: Any) -> Job:
    return Job(job_id="j", status=Status.PROCESSING, created_at="", source={}, **attributes)


def faults() -> Iterator[type[Fault]]:
    for module in (delivery_errors, genviral_errors, job_errors, runtime):
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, Fault) and hasattr(member, "branch"):
                yield member


def test_every_retried_and_uncaught_error_of_a_state_has_its_place() -> None:
    retried = {fault.__name__ for fault in faults() if fault.branch is Branch.RETRY}
    for state in docs.machine()["States"].values():
        caught = {name for rule in state.get("Catch", []) for name in rule["ErrorEquals"]}
        retried |= {name for rule in state.get("Retry", []) for name in rule["ErrorEquals"]} - caught
    assert retried <= PROSPECTS.keys()


def test_the_table_names_faults_of_this_project_and_errors_of_aws_only() -> None:
    of_aws = ("Lambda.", "Runtime.", "Sandbox.", "States.")
    own = {fault.__name__: fault for fault in faults()}
    for name in PROSPECTS:
        assert name.startswith(of_aws) or own[name].branch is Branch.RETRY, name


@pytest.mark.parametrize("name", [name for name in PROSPECTS if PROSPECTS[name] is not Prospect.LASTS])
@pytest.mark.parametrize("ended", ["FAILED", "ABORTED", "TIMED_OUT", "SUCCEEDED", "gone"])
def test_only_an_execution_that_failed_is_tried_again(name: str, ended: str) -> None:
    plan = redrives.plan(job(), ended=ended, error=name, now=NOW)
    assert (plan.redrive_at is not None) == (ended == "FAILED")
    assert plan.is_news


@pytest.mark.parametrize(
    "name", [*(name for name in PROSPECTS if PROSPECTS[name] is Prospect.LASTS), "KeyError", "States.Runtime", ""]
)
@pytest.mark.parametrize("outage", [{}, {"redrives": 3, "redrive_until": NOW + DAY}], ids=["at first", "in an outage"])
def test_what_lasts_is_left_to_a_person(name: str, outage: dict[str, int]) -> None:
    plan = redrives.plan(job(**outage), ended="FAILED", error=name, now=NOW)
    assert (plan.redrive_at, plan.redrive_until, plan.is_news) == (None, None, True)


def test_pauses_grow_and_end_while_aws_still_redrives_an_execution() -> None:
    now, outage, pauses, notified = NOW, job(), [], 0
    while (plan := redrives.plan(outage, ended="FAILED", error="GenviralUnavailable", now=now)).redrive_at is not None:
        notified += plan.is_news
        pauses.append(plan.redrive_at - now)
        now = plan.redrive_at
        outage = job(redrives=len(pauses), redrive_until=plan.redrive_until)
    assert [pause // 60 for pause in pauses[:7]] == [15, 30, 60, 120, 240, 360, 360]
    assert set(pauses[5:]) == {6 * 3600}
    assert 12 * DAY < now - NOW <= 13 * DAY
    assert len(pauses) < 60  # a redrive that fails takes about 90 of an execution's 25,000 events
    assert (notified, plan.is_news) == (1, True)


ADVICE = "Fix it, then redrive."


@pytest.mark.parametrize(
    ("name", "outage", "said"),
    [
        ("GenviralUnavailable", {}, "Nothing: the job is tried again automatically, and nothing is lost."),
        ("AwsCallFailed", {}, f"The job is tried again automatically. If it does not pass: {ADVICE}"),
        ("VideoNotFound", {}, ADVICE),
        (
            "GenviralUnavailable",
            {"redrive_until": NOW},
            f"It was tried again automatically for 13 days, without success. {ADVICE}",
        ),
    ],
)
def test_the_advice_says_who_has_to_act(name: str, outage: dict[str, int], said: str) -> None:
    plan = redrives.plan(job(video_id="made-up", **outage), ended="FAILED", error=name, now=NOW)
    document = {"code": "x", "message": "y", "advice": ADVICE}
    assert plan.advise(document) == document | {"advice": said}
    assert json.dumps(document).count(ADVICE) == 1
