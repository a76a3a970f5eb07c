"""Test the daily limit in the running system: a job waits for credits, is notified once, and resumes automatically.

The cloud of these tests has a limit far above their use, so every job is counted, with the roles of the template. Here
the counter is changed instead of the clock.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.laptop import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

LIMIT = 1_000_000
BODY: dict[str, Any] = {
    "model_id": "openai/sora-2",
    "prompt": "A paper boat crosses a calm lake at dawn",
    "params": {"duration_seconds": 1, "aspect_ratio": "16:9"},
}
PRICE = 8


def key_of_today() -> dict[str, Any]:
    return {"job_id": {"S": time.strftime("#credits %Y-%m-%d", time.gmtime())}}


def spent(world: RunningCloud) -> float:
    item = world.table.get_item(TableName=world.at.jobs_table, Key=key_of_today(), ConsistentRead=True).get("Item")
    return float(item["spent"]["N"]) if item else 0


def count(world: RunningCloud, credits_used: float) -> None:
    """Add credits to the counter that no job has used."""
    world.table.update_item(
        TableName=world.at.jobs_table,
        Key=key_of_today(),
        UpdateExpression="ADD spent :credits",
        ExpressionAttributeValues={":credits": {"N": str(credits_used)}},
    )


@contextmanager
def credits_left(world: RunningCloud, credits_left: int) -> Iterator[None]:
    used = LIMIT - credits_left - spent(world)
    count(world, used)
    yield
    count(world, -used)


def test_a_job_beyond_the_limit_waits_and_goes_on_by_itself(world: RunningCloud) -> None:
    with credits_left(world, PRICE - 1):
        before = spent(world)
        job_id = world.post(BODY).json()["job_id"]
        held = world.notification_of_job(job_id, "on_hold")
        assert (held["error"]["code"], held["paid"]) == ("daily_credit_limit", "no")
        assert f"costs {PRICE} credits" in held["error"]["message"]
        assert "daily credit limit" in held["summary"]
        assert until(lambda: world.get(job_id)["status"] == "on_hold" or None)
        assert (world.paid(job_id), spent(world)) == (0, before)
    done = world.notification_of_job(job_id, "succeeded")
    assert (world.paid(job_id), done["credits_used"]) == (1, PRICE)
    assert [notification["status"] for notification in world.notifications[job_id]] == ["on_hold", "succeeded"]


def test_a_paid_job_is_counted_and_a_refused_one_is_not(world: RunningCloud) -> None:
    before = spent(world)
    world.control_vendor("key", key="valid", state="no_credits")
    try:
        job_id = world.post(BODY).json()["job_id"]
        assert world.notification_of_job(job_id, "on_hold")["error"]["code"] == "insufficient_credits"
    finally:
        world.control_vendor("key", key="valid", state="valid")
    world.notification_of_job(job_id, "succeeded")
    assert spent(world) == before + PRICE


def test_many_jobs_at_once_are_each_counted_once(world: RunningCloud) -> None:
    before, room = spent(world), 3
    with credits_left(world, room * PRICE):
        jobs = [world.post({**BODY, "prompt": f"boat {number}"}).json()["job_id"] for number in range(6)]
        done = until(lambda: _with_status(world, jobs, "succeeded", at_least=room))
        waiting = until(lambda: _with_status(world, jobs, "on_hold", at_least=len(jobs) - room))
        assert (len(done), len(waiting)) == (room, len(jobs) - room)
        assert spent(world) == LIMIT
    for job_id in jobs:
        world.notification_of_job(job_id, "succeeded")
    assert sum(map(world.paid, jobs)) == len(jobs)
    assert spent(world) == before + len(jobs) * PRICE


def _with_status(world: RunningCloud, jobs: list[str], status: str, *, at_least: int) -> list[str] | None:
    found = [
        job_id
        for job_id in jobs
        if any(notification["status"] == status for notification in world.notifications[job_id])
    ]
    return found if len(found) >= at_least else None
