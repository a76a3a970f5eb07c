"""Test the delivery within a whole job: poll, copy, notification, with a real file behind the vendor's link."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from tests.support.delivery_origin import LAPTOP, serve
from tests.support.fakes import BODY, EXECUTION, JOB_ID, REGION, VIDEO_ID, Vendor, World, showing
from tests.support.videos import FRAGMENTED, Video, encode, patched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, REGION)
    with mock_aws():
        yield World()


def as_bytes(request: Any, **_: object) -> None:
    if isinstance(request.body, bytearray):  # moto's in-process stub takes no other kind of body than bytes
        request.body = bytes(request.body)


def delivered(world: World, data: bytes, params: dict[str, Any]) -> dict[str, Any]:
    """Return what the notification of a job says about its video."""
    world.paid_job(request={**BODY, "params": params})
    world.s3.meta.events.register_first("before-send.s3", as_bytes)
    with serve(data) as origin:
        world.vendor = Vendor(get=[showing("SUCCEEDED", output_url=origin.url)])
        assert world.poller().poll(EXECUTION, VIDEO_ID, int(time.time()))["status"] == "succeeded"
        output = dataclasses.replace(world.deliverer(), limits=LAPTOP).deliver(EXECUTION, VIDEO_ID)["video"]
    world.notifier().succeeded(EXECUTION)
    assert world.s3.get_object(Bucket=output["bucket"], Key=output["key"])["Body"].read() == data
    assert world.record().status == "succeeded"
    assert (world.record().output or {}).items() >= output.items()
    (sent,) = world.messages()
    video: dict[str, Any] = sent.body["video"]
    return video


KINDS: dict[str, tuple[Callable[[], bytes], dict[str, Any], float]] = {
    "moov describes the first fragment only": (
        FRAGMENTED["fragments, moov has the first"],
        {"duration_seconds": 2},
        2.1,
    ),
    "a duration of all ones": (lambda: patched(encode(), b"mvhd", 16, b"\xff" * 4), {"duration_seconds": 2}, 2.0),
    "fragments, a duration of all ones": (
        FRAGMENTED["fragments, duration of all ones"],
        {"duration_seconds": 2},
        2.1,
    ),
    "a size that is sold as 16:9": (lambda: encode("mp4", Video((832, 480))), {"aspect_ratio": "16:9"}, 2.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_reports_no_difference_that_is_none(account: World, kind: str) -> None:
    make, params, seconds = KINDS[kind]
    video = delivered(account, make(), params)
    assert "differs" not in video
    assert video["duration_seconds"] == pytest.approx(seconds, abs=0.15)


def test_a_job_reports_a_difference_that_is_one(account: World) -> None:
    video = delivered(account, encode(), {"duration_seconds": 8, "aspect_ratio": "16:9"})
    assert video["differs"] == {
        "duration_seconds": {"asked": 8, "got": 2.0},
        "aspect_ratio": {"asked": "16:9", "got": "96:160"},
    }


def test_a_job_whose_vendor_gives_no_link_ends_with_what_the_vendor_says(account: World) -> None:
    account.paid_job()
    account.store.update(JOB_ID, deadline_at=int(time.time()) - 1)
    account.vendor = Vendor(get=[showing("succeeded", output_url=None)])
    state = account.poller().poll(EXECUTION, VIDEO_ID, int(time.time()) - 3600)
    account.notifier().failed(EXECUTION, state["error"])
    (sent,) = account.messages()
    for text in (state["error"]["Cause"], sent.email, json.dumps(sent.body), json.dumps(account.lookup().show(JOB_ID))):
        assert "had not finished" not in text
        assert "gives no link to the video" in text
    assert account.record().status == "timed_out"
