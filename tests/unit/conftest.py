"""Prepare every unit test: no network, made-up AWS settings, and a clean state."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_socket
from botocore.client import BaseClient
from moto import mock_aws

import shared.vendor
from shared import runtime
from shared.delivery import Delivery
from shared.genviral.client import GenviralClient
from shared.steps import deliver as deliver_step
from tests.support.fakes import CHAT_TOPIC, KEY, REGION, TABLE, TOPIC, UPLOADS, VIDEOS, World, client
from tests.support.handlers import Functions, function, made_once
from tests.support.operators import CommandLine, with_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    """Make an AWS account with the stack's empty resources, and a vendor that accepts everything."""
    with mock_aws():
        yield World()


@pytest.fixture
def stage(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Functions]:
    secret = client("secretsmanager").create_secret(Name="key", SecretString=f"{KEY}\n")["ARN"]
    environment = {
        "POWERTOOLS_SERVICE_NAME": "video-pipeline",
        "POWERTOOLS_METRICS_NAMESPACE": "GenviralVideo",
        "JOBS_TABLE": TABLE,
        "RECORD_RETENTION_DAYS": "30",
        "STATE_MACHINE_ARN": world.machine,
        "BATCH_MACHINE_ARN": world.batch_machine,
        "BATCH_CONCURRENCY": "20",
        "UPLOADS_BUCKET": UPLOADS,
        "VIDEOS_BUCKET": VIDEOS,
        "MAX_UPLOAD_MEGABYTES": "1",
        "MAX_VIDEO_MEGABYTES": "1",
        "GENVIRAL_BASE_URL": "https://vendor.example/api/v1",
        "API_KEY_SECRET": secret,
        "POLL_FLOOR_SECONDS": "5",
        "POLL_CAP_SECONDS": "60",
        "JOB_DEADLINE_MINUTES": "120",
        "HOLD_SECONDS": "900",
        "HOLD_HOURS": "72",
        "TRUST_VENDOR_IDEMPOTENCY": "false",
        "ALLOW_PRIVATE_OUTPUT": "false",
        "SWEEP_QUIET_SECONDS": "300",
        "TOPIC_ARN": TOPIC,
        "EVENT_BUS_NAME": "default",
        "CHAT_TOPIC_ARN": CHAT_TOPIC,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime.metrics.provider, "namespace", "GenviralVideo", raising=False)

    def vendor(*arguments: Any, **options: Any) -> GenviralClient:
        # Functions cache their client, and each call must reach the world's current vendor.
        transport = httpx.MockTransport(lambda request: world.vendor.handle_request(request))
        return GenviralClient(*arguments, **options, transport=transport)

    def copy(source: Callable[[], str], **_: Any) -> Delivery:
        source()
        return Delivery(3, "AAAAAA==", "video/mp4", "e", "v", 1, None)

    monkeypatch.setattr(shared.vendor, "GenviralClient", vendor)
    monkeypatch.setattr(runtime, "_session", lambda: SimpleNamespace(create_client=made_once))
    monkeypatch.setattr(deliver_step, "deliver", copy)
    world.complete()
    if "function_api" in sys.modules:
        function("api")._model_list.cache_clear()
    stage = Functions(world, capsys)
    stream = stage.handler.stream  # type: ignore[attr-defined]  # a StreamHandler
    yield stage
    assert stage.handler.stream is stream  # type: ignore[attr-defined]  # a StreamHandler
    stage.handler.setStream(sys.__stdout__)  # type: ignore[attr-defined]  # a StreamHandler


@pytest.fixture
def account(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    with_index(world)
    assert world.machine
    assert world.batch_machine
    assert world.s3
    account = CommandLine(world, capsys)
    real = BaseClient._make_api_call  # type: ignore[attr-defined]  # private, so the stubs do not have it

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        account.calls.add(f"{self.meta.service_model.signing_name}:{operation}")
        if error := account.fails.get(operation):
            raise error
        if operation in account.answers:
            return account.answers[operation](arguments)
        if operation in account.answered:
            return account.answer(operation, arguments)
        return real(self, operation, arguments)

    client("secretsmanager").create_secret(Name="genviral-key", SecretString=f"{KEY}\n")

    def vendor(api_key: Callable[[bool], str], **options: Any) -> GenviralClient:
        return GenviralClient(api_key, **options, transport=world.vendor)

    monkeypatch.setattr("shared.genviral.client.GenviralClient", vendor)
    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return account
