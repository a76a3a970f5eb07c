"""One cloud on a laptop for all tests that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from laptop import World

from local.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A cloud whose waits are short and whose vendor is quick."""
    parameters = {
        "PollFloorSeconds": "1",
        "PollCapSeconds": "2",
        "HoldSeconds": "2",
        "MaxUploadMegabytes": "1",
        "SweepQuietSeconds": "1",
    }
    with Cloud(time_scale=0.2, parameters=parameters, generation_seconds=0.5) as cloud:
        world = World(cloud)
        yield world
        world.close()
