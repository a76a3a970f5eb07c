"""Test an outage that outlasts every retry, on a cloud with short waits."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from local.cloud import Cloud
from tests.support import rights
from tests.support.laptop import RunningCloud
from tests.support.operating import done, paid_and_running, submissions, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def world() -> Iterator[RunningCloud]:
    """Run a cloud on which half an hour of retries takes a few seconds."""
    with Cloud(time_scale=0.003, generation_seconds=6, sigv4=True) as cloud:
        rights.withdraw(cloud)
        its = RunningCloud(cloud)
        yield its
        its.close()


@contextmanager
def outage(world: RunningCloud) -> Iterator[None]:
    """Let AWS deny the polling function everything."""
    iam, role = world.cloud.client("iam"), rights.physical(world.cloud, "StatusFunctionRole")
    policies = {
        name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    }
    for name in policies:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    try:
        yield
    finally:
        for name, document in policies.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def test_a_job_that_an_outage_interrupted_comes_home_without_a_command(world: RunningCloud) -> None:
    job_id = paid_and_running(world)
    arn = f"{world.at.state_machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}"
    with outage(world):
        notification = world.notification_of_job(job_id, "interrupted")
    assert (notification["error"]["error"], notification["paid"]) == ("AwsCallFailed", "yes")
    shown = world.get(job_id)
    assert (shown["redrive_at"], shown["redrive_until"]) == (notification["redrive_at"], notification["redrive_until"])
    assert f"tried again at {notification['redrive_at']}" in done(world, "show", job_id)
    assert sweep(world)["redriven"] == 0
    # A quarter of an hour later.
    world.table.update_item(
        TableName=world.at.jobs_table,
        Key={"job_id": {"S": job_id}},
        UpdateExpression="SET redrive_at = :now",
        ExpressionAttributeValues={":now": {"N": str(int(time.time()))}},
    )
    assert sweep(world)["redriven"] == 1
    assert world.notification_of_job(job_id, "succeeded")["paid"] == "yes"
    assert len(submissions(world, job_id)) == 1
    assert [notification["status"] for notification in world.notifications[job_id]] == ["interrupted", "succeeded"]
    kinds = [event["type"] for event in world.history(arn)]
    again = kinds.index("ExecutionRedriven")
    assert (kinds[again - 1], kinds[again + 1]) == ("ExecutionFailed", "TaskScheduled")
    assert "redrive_at" not in world.get(job_id)
