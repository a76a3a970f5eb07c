"""What every unit test gets: no network, made-up AWS settings, and nothing left over from the test before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import pytest_socket
from moto import mock_aws

from shared import runtime
from tests.support.fakes import REGION, World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _sealed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "made-up")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, REGION)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
    runtime.client.cache_clear()
    runtime.metrics.clear_metrics()


@pytest.fixture
def world() -> Iterator[World]:
    """An AWS account with the stack's resources and nothing in them, and a vendor who accepts everything."""
    with mock_aws():
        yield World()
