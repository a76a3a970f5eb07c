"""Test delivery as a step: where the file goes, what is reported about it, and what must stay private."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from shared.delivery import Delivery, DeliveryIncomplete, MediaFacts, OutputRefused, OutputUnreachable
from shared.faults import Fault, Paid
from shared.genviral.errors import GenerationFailed, GenviralUnavailable
from shared.jobs.errors import JobClosed
from shared.jobs.record import Job
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.steps import deliver as step
from tests.support.fakes import (
    BODY,
    EXECUTION,
    FINISHED,
    JOB_ID,
    LINK,
    PROMPT,
    TABLE,
    VIDEO_ID,
    VIDEOS,
    Repeating,
    Vendor,
    World,
    refusing,
    showing,
)
from tests.support.operators import operator_of

if TYPE_CHECKING:
    from collections.abc import Callable

COPIED = Delivery(
    bytes=1234,
    crc32="AAAAAA==",
    content_type="video/mp4",
    etag="e",
    version_id="v1",
    parts=1,
    media=None,
)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the copies, each of which requests the link once."""
    asked: list[dict[str, Any]] = []

    def copy(source: Callable[[], str], **options: Any) -> Delivery:
        asked.append({"link": source(), **options})
        return COPIED

    monkeypatch.setattr(step, "deliver", copy)
    return asked


@pytest.mark.parametrize(
    "link", ["n/a", "javascript:alert(1)", "ftp://cdn.example/v", "/v.mp4", 5, ["file:///etc/passwd"]]
)
def test_what_is_no_link_is_refused_with_the_reason(world: World, link: object) -> None:
    """It is not mistaken for a link that is still to come."""
    world.vendor = Vendor(get=[showing("succeeded", output_url=link)])
    world.paid_job()
    assert world.poller().poll(EXECUTION, VIDEO_ID, 0)["status"] == "succeeded"
    with pytest.raises(OutputRefused, match="The link to the video is not"):
        world.deliverer().deliver(EXECUTION, VIDEO_ID)


def test_while_copies_fail_the_job_says_why_and_how_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Fault | Delivery] = [
        OutputUnreachable("cdn.example does not answer."),
        DeliveryIncomplete("more"),
        COPIED,
    ]
    retries: list[dict[str, Any] | None] = []

    def copy(_: Callable[[], str], **__: Any) -> Delivery:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Fault):
            raise outcome
        return outcome

    monkeypatch.setattr(step, "deliver", copy)
    world.paid_job()
    for error in (OutputUnreachable, DeliveryIncomplete):
        with pytest.raises(error):
            world.deliverer().deliver(EXECUTION, VIDEO_ID)
        retries.append(world.lookup().show(JOB_ID)["retrying"])
    assert retries[0] == retries[1]
    assert retries[0] is not None
    assert (retries[0]["error"]["code"], retries[0]["tries"]) == ("output_unreachable", 1)
    world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert world.record().retrying is None


def test_long_names_fit_into_the_metadata_of_an_object(world: World, copies: list[dict[str, Any]]) -> None:
    world.vendor = Vendor(get=[FINISHED])
    world.paid_job()
    video_id, model_id = "猫" * 512, "😀" * 200
    world.store.update(JOB_ID, video_id=video_id, model_id=model_id)
    world.deliverer().deliver(EXECUTION, video_id)
    metadata = copies[0]["metadata"]
    assert set(metadata) == {"job-id", "video-id", "model-id"}
    assert sum(len(name) + len(value) for name, value in metadata.items()) < 2048


def test_a_video_comes_home_with_a_description(world: World, copies: list[dict[str, Any]]) -> None:
    world.vendor = Vendor(get=[FINISHED])
    job = world.paid_job(metadata={"order": 0.5})
    state = world.deliverer().deliver(EXECUTION, VIDEO_ID)
    key = f"videos/{job.created_at[:4]}/{job.created_at[5:7]}/{job.created_at[8:10]}/{JOB_ID}.mp4"
    assert (copies[0]["link"], copies[0]["bucket"], copies[0]["key"]) == (LINK, VIDEOS, key)
    assert copies[0]["tags"] == {"job_id": JOB_ID}
    assert state["video"] == world.record().output
    assert state["video"] == {
        "bucket": VIDEOS,
        "key": key,
        "version_id": "v1",
        "bytes": 1234,
        "content_type": "video/mp4",
        "crc32": "AAAAAA==",
    }
    assert world.record().status is Status.DELIVERING
    sidecar = json.loads(world.s3.get_object(Bucket=VIDEOS, Key=key.replace(".mp4", ".json"))["Body"].read())
    assert (sidecar["request"]["prompt"], sidecar["metadata"], sidecar["video_id"]) == (
        PROMPT,
        {"order": 0.5},
        VIDEO_ID,
    )


def test_a_late_copy_does_not_take_the_place_of_another_video(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function keeps running when its execution is stopped, and an operator may attach another video meanwhile."""

    def slow(_: Callable[[], str], *, before_publish: Callable[[], None], **__: Any) -> Delivery:
        before_publish()
        world.store.update(JOB_ID, video_id="the-right-one")
        before_publish()
        return COPIED

    monkeypatch.setattr(step, "deliver", slow)
    world.vendor = Vendor(get=[FINISHED])
    world.paid_job()
    with pytest.raises(JobClosed) as refused:
        world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert refused.value.paid is Paid.YES
    assert world.record().output is None


def test_no_link_that_opens_anything_is_written_anywhere(world: World, copies: list[dict[str, Any]]) -> None:
    """This holds even if the record still has the original request."""
    world.vendor = Vendor(get=[FINISHED])
    links = ["https://user:password@example.com/a?X-Amz-Signature=1#f", "HTTPS://example.com/b?token=2"]
    world.paid_job(request={**BODY, "reference_image_urls": links})
    state = world.deliverer().deliver(EXECUTION, VIDEO_ID)
    key = state["video"]["key"].replace(".mp4", ".json")
    text = world.s3.get_object(Bucket=VIDEOS, Key=key)["Body"].read().decode() + json.dumps(state)
    assert not [word for word in ("X-Amz", "token", "password", LINK) if word in text]
    assert "https://example.com/a" in text


def test_a_repeat_means_the_same_object(world: World, copies: list[dict[str, Any]]) -> None:
    world.vendor = Vendor(get=[FINISHED])
    world.paid_job()
    assert world.deliverer().deliver(EXECUTION, VIDEO_ID) == world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert copies[0]["key"] == copies[1]["key"]


def test_media_facts_reach_the_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    media = MediaFacts(duration=5.04, width=720, height=1280, video_codec="h264", audio_codec=None)
    monkeypatch.setattr(step, "deliver", lambda *_, **__: Delivery(1, None, "video/mp4", "e", None, 1, media))
    world.paid_job()
    world.deliverer().deliver(EXECUTION, VIDEO_ID)
    output = world.record().output or {}
    assert (output["duration_seconds"], output["height"], output["video_codec"]) == (5.04, 1280, "h264")
    assert "audio_codec" not in output


def test_duration_that_is_unknown_is_left_out_and_differs_from_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = MediaFacts(duration=None, width=720, height=1280, video_codec="h264", audio_codec=None)
    monkeypatch.setattr(step, "deliver", lambda *_, **__: Delivery(1, None, "video/mp4", "e", None, 1, media))
    world.paid_job(request={**BODY, "params": {"duration_seconds": 8}})
    output = world.deliverer().deliver(EXECUTION, VIDEO_ID)["video"]
    assert (output["width"], output["height"]) == (720, 1280)
    assert not {"duration_seconds", "differs"} & set(output)


SOLD = {
    "16:9": "1280x720 1920x1080 832x480 1280x704 854x480 848x480 864x480 1360x768 1344x768 1920x1088 1024x576 960x544"
    " 768x448 1248x704 1216x704 1792x1024 1360x752 1366x768 640x352 320x192 1280x768 3840x2160",
    "9:16": "720x1280 480x832 704x1280 480x854 480x864 768x1360 768x1344 1088x1920 544x960 448x768 704x1248 1024x1792",
    "1:1": "960x960 640x640 1440x1440 624x624 1024x1024 512x512",
    "4:3": "1104x832 1088x832 736x544 1120x832 1664x1248 640x480 960x720",
    "3:4": "832x1104 832x1088 544x736 832x1120 1248x1664 480x640",
    "3:2": "1152x768 720x480 768x512 704x480 1536x1024",
    "2:3": "768x1152 480x720 512x768 1024x1536 784x1168",
    "21:9": "960x416 1504x640 2176x928 1584x672 1536x640 2560x1080 3440x1440 1552x656",
    "9:21": "416x960 640x1504 1080x2560",
    "5:4": "1280x1024 640x512",
    "4:5": "1024x1280 864x1080 512x640",
    "2:1": "1440x720 1280x640",
}
SIZES = [(ratio, *map(int, size.split("x"))) for ratio, sizes in SOLD.items() for size in sizes.split()]


def differing_ratio(asked: str, width: int, height: int) -> dict[str, str] | None:
    job = Job(
        job_id=JOB_ID,
        status=Status.DELIVERING,
        created_at="2026-11-22T10:15:30.482Z",
        source={"type": "api"},
        timeline={},
        request=json.dumps({"params": {"aspect_ratio": asked}}),
    )
    media = MediaFacts(duration=5.0, width=width, height=height, video_codec="h264", audio_codec=None)
    differs: dict[str, Any] = step._differences(job, media).get("differs", {})
    return differs.get("aspect_ratio")


@pytest.mark.parametrize(("ratio", "width", "height"), SIZES)
def test_a_size_sold_by_aspect_ratio_is_called_by_that_ratio_only(ratio: str, width: int, height: int) -> None:
    assert differing_ratio(ratio, width, height) is None
    for other in SOLD.keys() - {ratio}:
        assert differing_ratio(other, width, height) == {"asked": other, "got": f"{width}:{height}"}


def test_ratio_that_nobody_sells_is_called_by_what_is_asked_for() -> None:
    assert differing_ratio("1.85:1", 1998, 1080) is None
    assert differing_ratio("1.85:1", 1080, 1998) is not None
    assert differing_ratio("32:9", 1504, 640) is not None
    assert differing_ratio("16:10", 1280, 800) is None


@pytest.mark.parametrize(
    ("params", "differs"),
    [
        ({"duration_seconds": 5, "aspect_ratio": "9:16"}, None),
        ({"duration_seconds": 8}, {"duration_seconds": {"asked": 8, "got": 5.04}}),
        ({"aspect_ratio": "16:9"}, {"aspect_ratio": {"asked": "16:9", "got": "720:1280"}}),
        ({"aspect_ratio": "auto"}, None),
        ({"aspect_ratio": "0:0"}, None),
        ({"aspect_ratio": "9" * 200 + ":1"}, None),
        ({"aspect_ratio": None, "duration_seconds": None}, None),
        ({"aspect_ratio": "3:5"}, {"aspect_ratio": {"asked": "3:5", "got": "720:1280"}}),
        ({"duration_seconds": 5.5}, None),
        ({"duration_seconds": 4.5}, {"duration_seconds": {"asked": 4.5, "got": 5.04}}),
    ],
)
def test_a_video_that_is_not_what_was_asked_for_is_reported_and_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], differs: dict[str, Any] | None
) -> None:
    media = MediaFacts(duration=5.04, width=720, height=1280, video_codec="h264", audio_codec=None)
    monkeypatch.setattr(step, "deliver", lambda *_, **__: Delivery(1, None, "video/mp4", "e", None, 1, media))
    world.paid_job(request={**BODY, "params": params})
    assert world.deliverer().deliver(EXECUTION, VIDEO_ID)["video"].get("differs") == differs


@pytest.mark.parametrize(
    ("vendor", "error"),
    [
        (Vendor(get=[showing("failed", error=f"no: {PROMPT}")]), GenerationFailed),
        (Vendor(get=[showing("succeeded")]), GenviralUnavailable),
        (Vendor(get=[refusing(503)]), GenviralUnavailable),
    ],
)
def test_a_link_that_is_not_there_is_named_and_paid(
    world: World, copies: list[dict[str, Any]], vendor: Vendor, error: type[Fault]
) -> None:
    world.vendor = vendor
    world.paid_job()
    with pytest.raises(error) as fault:
        world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert fault.value.paid is Paid.YES
    assert PROMPT not in str(fault.value)
    assert world.record().output is None


def test_an_unfinished_copy_leaves_the_job_delivering(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_time(*_: Any, **__: Any) -> Delivery:
        raise DeliveryIncomplete("not all of it")

    monkeypatch.setattr(step, "deliver", out_of_time)
    world.paid_job()
    with pytest.raises(DeliveryIncomplete):
        world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert (world.record().status, world.record().output) == (Status.DELIVERING, None)


@pytest.mark.parametrize("status", [Status.CANCELED, Status.SUCCEEDED])
def test_a_job_that_ended_is_not_fetched(world: World, copies: list[dict[str, Any]], status: Status) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.DELIVERING)
    world.store.transition(JOB_ID, status)
    with pytest.raises(JobClosed):
        world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert not copies


@pytest.mark.parametrize(("status", "write"), [("processing", 0), ("delivering", 0), ("delivering", 1)])
def test_an_overtaken_delivery_writes_nothing_about_another_video(
    world: World, copies: list[dict[str, Any]], status: str, write: int
) -> None:
    """An operator replaces the video right before one of its writes."""
    world.vendor = Vendor(get=[FINISHED])
    world.paid_job()
    if status == "delivering":
        world.store.transition(JOB_ID, Status.DELIVERING)
    writes = iter(range(10))

    class Replaced(JobStore):
        def _send(self, change: dict[str, Any]) -> Job:
            if next(writes) == write:
                world.store.update(JOB_ID, video_id="the-right-one")
            return super()._send(change)

    deliverer = dataclasses.replace(world.deliverer(), store=Replaced(world.dynamodb, TABLE))
    with pytest.raises(JobClosed, match="another video"):
        deliverer.deliver(EXECUTION, VIDEO_ID)
    job = world.record()
    assert (job.status, job.video_id, job.output) == (status, "the-right-one", None)
    assert len(copies) == write


# ---- whether the bucket may hold something already ------------------------------------------------------------


def poll(world: World, execution: str = EXECUTION) -> None:
    """Poll as before every delivery, which moves the job to `delivering` before `Deliver` begins."""
    assert world.poller().poll(execution, VIDEO_ID, 1_700_000_000)["status"] == "succeeded"


def delivering(world: World) -> None:
    world.vendor = Vendor(get=[FINISHED])
    world.paid_job()
    poll(world)


def test_the_first_delivery_searches_for_nothing_in_the_bucket(world: World, copies: list[dict[str, Any]]) -> None:
    delivering(world)
    world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert copies[0]["first"]


def interrupt(world: World) -> None:
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="States.Timeout", cause="", moment="1")


def interrupt_and_poll(world: World) -> None:
    interrupt(world)
    poll(world)


def hold(world: World) -> None:
    world.notifier().on_hold(EXECUTION, {"Error": "AuthenticationFailed", "Cause": "{}"})
    poll(world)


def cancel_and_attach(world: World) -> None:
    world.notifier().canceled(JOB_ID)
    operator_of(world).attach(JOB_ID, VIDEO_ID)
    poll(world)


AGAIN: dict[str, Callable[[World], None]] = {
    "retried": lambda world: None,
    "redriven at Deliver": interrupt,
    "redriven at Poll": interrupt_and_poll,
    "on hold, then resumed": hold,
    "canceled, then attached": cancel_and_attach,
}


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("cut_off", [KeyboardInterrupt, DeliveryIncomplete("not all of it")], ids=["killed", "late"])
def test_no_later_delivery_takes_itself_for_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch, again: str, cut_off: BaseException
) -> None:
    """However the job returns, the first delivery may have left parts or a whole video."""
    delivering(world)
    asked: list[bool] = []

    def copy(*_: Any, first: bool, **__: Any) -> Delivery:
        asked.append(first)
        if len(asked) == 1:
            raise cut_off
        return COPIED

    monkeypatch.setattr(step, "deliver", copy)
    with pytest.raises((KeyboardInterrupt, DeliveryIncomplete)):
        world.deliverer().deliver(EXECUTION, VIDEO_ID)
    AGAIN[again](world)
    world.deliverer().deliver(world.record().execution or EXECUTION, VIDEO_ID)
    assert asked == [True, False]


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_lost_write_keeps_no_delivery_from_going_on(
    world: World, copies: list[dict[str, Any]], call: int, how: str
) -> None:
    """Reading the job, returning it to `delivering` and recording a copy each fail once, with or without effect."""
    delivering(world)
    interrupt(world)
    lost = dataclasses.replace(world.deliverer(), store=world.flaky({call: how}))
    with pytest.raises(ClientError):
        lost.deliver(EXECUTION, VIDEO_ID)
    assert not copies
    world.deliverer().deliver(EXECUTION, VIDEO_ID)
    assert world.record().status is Status.DELIVERING


def test_a_write_that_was_repeated_because_its_answer_was_lost_is_no_end(
    world: World, copies: list[dict[str, Any]]
) -> None:
    """botocore repeats it within one call, and the second write finds the first one's effect."""
    delivering(world)
    interrupt(world)

    store = JobStore(Repeating(world.dynamodb), TABLE)  # type: ignore[arg-type]  # a double of the client
    dataclasses.replace(world.deliverer(), store=store).deliver(EXECUTION, VIDEO_ID)
    assert copies
