"""Run one local cloud for all tests that need it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from local.cloud import Cloud
from tests.support import rights
from tests.support.laptop import RunningCloud

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def world() -> Iterator[RunningCloud]:
    """Run a cloud with short waits and a fast vendor, which enforces the policies of every role."""
    parameters = {
        "PollFloorSeconds": "1",
        "PollCapSeconds": "2",
        "HoldSeconds": "2",
        "ChatNotifications": "true",
        "MaxUploadMegabytes": "1",
        "SweepQuietSeconds": "1",
        # Far away, so that every job is counted. Only tests/integration/test_daily_limit.py approaches it.
        "DailyCreditLimit": "1000000",
    }
    # The suite must pass with each value: MONITORING=full make test ARGS=tests/integration
    if monitoring := os.environ.get("MONITORING"):
        parameters["Monitoring"] = monitoring
    with Cloud(time_scale=0.05, parameters=parameters, generation_seconds=0.5, sigv4=True) as cloud:
        rights.withdraw(cloud)
        world = RunningCloud(cloud)
        yield world
        world.close()


@pytest.fixture(autouse=True)
def _no_probe_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove the probe of a paid call of unknown outcome: it would make jobs of unknown price wait for minutes."""
    clouds = [request.getfixturevalue(name) for name in ("world", "laptop") if name in request.fixturenames]
    yield
    for cloud in clouds:
        cloud.free_probes()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select only the tests of this cloud for `make iam-proof`."""
    if rights.NOTES:
        others = [item for item in items if "world" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture(autouse=True)
def _rights_are_noted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Record which rights a test used, for `make iam-proof`."""
    if not rights.NOTES or "world" not in request.fixturenames:
        yield
        return
    cloud = request.getfixturevalue("world").cloud
    before = len(cloud.decisions())
    yield
    rights.note(request.node.nodeid, cloud.decisions()[before:])
