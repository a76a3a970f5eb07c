"""Test what people, phones and tools upload: each file ends as a video, a named error or a notification."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.demo import SAMPLE
from tests.support.laptop import until
from tests.support.media_files import media, picture

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

MODEL = {"model_id": "bytedance/seedance-2.0", "params": {"duration_seconds": 1}}
PICTURE = {**MODEL, "prompt": "a boat", "reference_image_urls": ["{{asset_url}}"]}
CLIP = {**MODEL, "prompt": "a boat", "video_url": "{{asset_url}}"}
SPEAKING = {
    **MODEL,
    "prompt": "a boat",
    "reference_image_urls": ["{{assets.face}}"],
    "reference_audio_urls": ["{{assets.voice}}"],
}


def recipe(world: RunningCloud, document: dict[str, Any]) -> str:
    """Return the name of a new recipe."""
    name = f"r{uuid.uuid4().hex[:8]}"
    world.upload(f"recipes/{name}.json", json.dumps(document).encode())
    return name


def prompt_of(world: RunningCloud, notification: dict[str, Any]) -> str:
    """Return the prompt that was sent, from the file beside the video."""
    video = notification["video"]
    sidecar = world.s3.get_object(Bucket=video["bucket"], Key=video["key"].replace(".mp4", ".json"))["Body"].read()
    return str(json.loads(sidecar)["request"]["prompt"])


def without_brand(made: bytes, first: bytes) -> bytes:
    assert made[4:8] == b"ftyp"
    return made[:4] + first + made[8:]


def test_files_of_every_kind_are_taken_for_what_they_are(world: RunningCloud) -> None:
    pictures, clips, speaking = recipe(world, PICTURE), recipe(world, CLIP), recipe(world, SPEAKING)
    quicktime = media("mov", video="mpeg4")
    brands = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0\0\0\x20mdat" + bytes(24)
    sounds = {
        "android.m4a": media("mp4", sound="aac", brand="mp42"),
        "book.m4b": media("mp4", sound="aac", brand="M4B "),
        "recorder.webm": media("webm", sound="libopus", rate=48_000),
    }
    good = {
        f"uploads/{pictures}/animated.avif": picture("AVIF", frames=3),
        f"uploads/{pictures}/": SAMPLE.read_bytes(),
        f"uploads/{clips}/first-mdat.mov": without_brand(quicktime, b"mdat"),
        f"uploads/{clips}/first-wide.mov": without_brand(quicktime, b"wide"),
    }
    face = f"assets/{pictures}.jpg"
    world.upload(face, SAMPLE.read_bytes())
    for name, sound in sounds.items():
        world.upload(f"assets/{pictures}-{name}", sound)
        manifest = {"assets": {"face": face, "voice": f"assets/{pictures}-{name}"}}
        good[f"uploads/{speaking}/{name}.manifest.json"] = json.dumps(manifest).encode()
    wrong = {
        # Brands without a picture. Only the vendor can find that out.
        f"uploads/{pictures}/mif1.heic": (brands, "InvalidInput"),
        f"uploads/{pictures}/notes.txt": ("Notes for the speaker".encode("utf-16"), "UploadUnsupported"),
        f"uploads/{clips}/voice.m4a": (sounds["android.m4a"], "UploadUnsupported"),
    }
    for key, content in good.items():
        world.upload(key, content)
    for key, (content, _) in wrong.items():
        world.upload(key, content)
    for key in good:
        notification = world.notification_of_upload(key)
        assert notification["status"] == "succeeded", (key, notification.get("error"))
    for key, (_, error) in wrong.items():
        notification = world.notification_of_upload(key)
        assert (notification["status"], notification["paid"], notification["error"]["error"]) == (
            "failed",
            "no",
            error,
        ), key


def test_metadata_that_is_not_ascii_is_sent_as_it_was_meant(world: RunningCloud) -> None:
    name = recipe(world, {**PICTURE, "prompt": "{{metadata.Speech}}"})
    bucket, text = world.at.uploads_bucket, "Grüß Gott, 靴 👟"
    form = world.s3.generate_presigned_post(
        bucket, f"uploads/{name}/form", Fields={"x-amz-meta-speech": text}, Conditions=[{"x-amz-meta-speech": text}]
    )
    httpx.post(form["url"], data=form["fields"], files={"file": SAMPLE.read_bytes()}).raise_for_status()
    words = "=?UTF-8?B?R3LDvMOfIEdvdHQs?= =?utf-8?q?_=E9=9D=B4_=F0=9F=91=9F?="
    world.upload(f"uploads/{name}/words", SAMPLE.read_bytes(), Metadata={"SPEECH": words})
    for sent in ("form", "words"):
        notification = world.notification_of_upload(f"uploads/{name}/{sent}")
        assert notification["status"] == "succeeded", notification.get("error")
        assert prompt_of(world, notification) == text


def test_a_misplaced_file_is_reported_and_starts_nothing(world: RunningCloud) -> None:
    before = len(world.vendor()["submissions"])
    name = recipe(world, PICTURE)
    keys = {
        f"uploads/{name}\\a.jpg": f"uploads/{name}/a.jpg",
        f"/uploads/{name}/a.jpg": f"uploads/{name}/a.jpg",
        f"Uploads/{name}/a.jpg": f"uploads/{name}/a.jpg",
        f"recipes/sub/{name}.json": f"recipes/{name}.json",
        f"recipes/{name}.JSON": f"recipes/{name}.json",
        f"request/{name}.json": f"requests/{name}.json",
        f"{name}.jpg": f"uploads/{name}.jpg",
    }
    for mark in (f"uploads/{name}/", f"Uploads/{name}/"):
        world.upload(mark, b"")
    for key in keys:
        world.upload(key, json.dumps(PICTURE).encode() if "json" in key.lower() else SAMPLE.read_bytes())
    for key, better in keys.items():
        notification = world.notification_of_upload(key)
        assert (notification["status"], notification["error"]["code"]) == ("upload_ignored", "upload_misplaced")
        assert f"'{better}'" in notification["error"]["message"]
    assert not [
        notification
        for notification in world.all_notifications()
        if notification["source"].get("key", "").endswith(f"{name}/")
    ]
    assert len(world.vendor()["submissions"]) == before


def test_what_arrives_in_the_wrong_order_succeeds_in_the_end(world: RunningCloud) -> None:
    """`aws s3 sync` may upload a manifest before its files, and a picture before its recipe."""
    name = f"late{uuid.uuid4().hex[:8]}"
    keys = f"uploads/{name}/a.jpg", f"uploads/{name}-pair/b.manifest.json"
    world.upload(keys[0], SAMPLE.read_bytes())
    pair = {**PICTURE, "reference_image_urls": ["{{assets.one}}"]}
    world.upload(f"recipes/{name}-pair.json", json.dumps(pair).encode())
    world.upload(keys[1], json.dumps({"assets": {"one": f"assets/{name}.jpg"}}).encode())
    time.sleep(1.5)
    world.upload(f"assets/{name}.jpg", SAMPLE.read_bytes())
    world.upload(f"recipes/{name}.json", json.dumps(PICTURE).encode())
    for key in keys:
        notification = world.notification_of_upload(key)
        assert notification["status"] == "succeeded", notification.get("error")
        assert world.paid(notification["job_id"]) == 1


class Form:
    """A form of the API."""

    def __init__(self, world: RunningCloud, **wanted: str) -> None:
        answer = world.api.post("/uploads", json={"filename": "a.jpg", "content_type": "image/jpeg"} | wanted)
        assert answer.status_code == 201, answer.text
        self.document = answer.json()
        self.key, self.job_id = self.document["key"], self.document["job_id"]

    def send(self, content: bytes) -> None:
        files = {"file": ("whatever", content, "application/octet-stream")}
        httpx.post(self.document["url"], data=self.document["fields"], files=files, timeout=30).raise_for_status()


def test_a_form_takes_another_file_only_while_nothing_is_paid(world: RunningCloud) -> None:
    form = Form(world)
    form.send(b"<html>")
    failed = world.notification_of_job(form.job_id, "failed")
    assert (failed["error"]["error"], failed["paid"]) == ("UploadUnsupported", "no")
    form.send(SAMPLE.read_bytes())
    assert world.notification_of_job(form.job_id, "succeeded")["source"]["key"] == form.key
    form.send(picture("PNG"))
    ignored = world.await_notification(
        lambda notification: notification["status"] == "upload_ignored" and notification["source"]["key"] == form.key
    )
    assert ignored["error"]["code"] == "form_used"
    books = world.vendor()["submissions"]
    assert sum(one["idempotency_key"].startswith(form.job_id) for one in books) == 1


def test_a_copied_form_file_is_a_job_of_the_recipe_it_was_copied_to(world: RunningCloud) -> None:
    name = recipe(world, PICTURE)
    form = Form(world)
    form.send(SAMPLE.read_bytes())
    copied = form.key.replace("uploads/default/", f"uploads/{name}/")
    bucket = world.at.uploads_bucket
    world.s3.copy_object(Bucket=bucket, Key=copied, CopySource={"Bucket": bucket, "Key": form.key})
    notification = world.notification_of_upload(copied)
    assert (notification["status"], notification["recipe"]) == ("succeeded", name)
    assert notification["job_id"] != form.job_id
    assert world.notification_of_job(form.job_id)["source"]["key"] == form.key


@pytest.mark.parametrize(
    ("declared", "filename", "ending"),
    [
        ("IMAGE/JPEG; charset=binary", "हिन्दी.jpg", "/हिन्दी.jpg"),
        ("image/jpg", "😀.jpg", "/😀.jpg"),
        ("", "a.heic", "/a.heic"),
        ("audio/x-m4a", "voice.m4a", "/voice.m4a"),
    ],
)
def test_a_form_for_a_type_as_browsers_report_it_works(
    world: RunningCloud, declared: str, filename: str, ending: str
) -> None:
    form = Form(world, content_type=declared, filename=filename)
    assert form.key.endswith(ending)
    form.send(SAMPLE.read_bytes())
    assert world.notification_of_job(form.job_id)["status"] == "succeeded"
    head = until(lambda: world.s3.head_object(Bucket=world.at.uploads_bucket, Key=form.key))
    assert head["ContentType"] == form.document["fields"]["Content-Type"]
