"""Test the template with all optional parts: your key, a boundary, bounds, alarms by mail, and the API's canary."""

from __future__ import annotations

import pytest

from local.cloud import Cloud
from tests.support.laptop import RunningCloud

OPTIONS = {
    "AlarmEmail": "night@example.com",
    "CreditsAlarmPerDay": "100",
    "EventBusName": "video-events",
    "Monitoring": "full",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0d37218d-d48c-4efd-b95e-0e5a2848f031",
    "NotificationEmail": "day@example.com",
    "PermissionsBoundaryArn": "arn:aws:iam::aws:policy/PowerUserAccess",
    "Release": "a1b2c3d",
    "ReservedConcurrency": "2",
    "Stage": "dev",
}

pytestmark = pytest.mark.integration


def test_a_stack_with_every_option_takes_a_job_to_its_end() -> None:
    with Cloud(time_scale=0.2, parameters=OPTIONS, generation_seconds=0.5) as cloud:
        world = RunningCloud(cloud)
        try:
            (api,) = cloud.client("apigatewayv2").get_apis()["Items"]
            (integration,) = cloud.client("apigatewayv2").get_integrations(ApiId=api["ApiId"])["Items"]
            assert integration["IntegrationUri"].endswith(":live")  # the alias that a canary moves
            body = {"model_id": "bytedance/seedance-2.0", "prompt": "A boat", "params": {"duration_seconds": 1}}
            answer = world.post(body)
            assert answer.status_code == 202
            assert world.execution(answer.json()["job_id"])["status"] == "SUCCEEDED"
            subscribed = {one["Endpoint"] for one in cloud.client("sns").list_subscriptions()["Subscriptions"]}
            assert {OPTIONS["AlarmEmail"], OPTIONS["NotificationEmail"]} <= subscribed
        finally:
            world.close()
