"""Test the API beside creating jobs: show, list, cancel, upload forms, and the list of models."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
import unicodedata
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.api.read import Lookup
from shared.api.upload_form import _OF_SUFFIX, CONTENT_TYPES, safe_name
from shared.genviral.errors import InvalidPayload, RateLimited
from shared.genviral.model_list import KEPT_SECONDS, ModelList
from shared.jobs import identity
from shared.jobs.errors import IntakeStopped, JobEnded, JobNotFound, QueryInvalid, RecipeMissing
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import OPEN, TERMINAL, Status
from tests.support.fakes import EXECUTION, JOB_ID, TABLE, UPLOADS, Flaky, Vendor, World, refusing

# ---- list ------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Create seven jobs, one a second, and one with another status."""
    world.index()
    for second in range(7):
        monkeypatch.setattr(time, "time", lambda second=second: 1_800_000_000 + second)
        world.job(f"api-{second}")
    world.job("api-held")
    world.store.transition("api-held", Status.ON_HOLD)
    return world


def test_pages_hold_every_job_of_the_status_once_and_the_newest_first(listed: World) -> None:
    seen, query = [], {"status": "queued", "limit": "3"}
    for _ in range(4):
        page = listed.lookup().list(query)
        seen.append([job["job_id"] for job in page["jobs"]])
        if "next_token" not in page:
            break
        query["next_token"] = page["next_token"]
    assert seen == [["api-6", "api-5", "api-4"], ["api-3", "api-2", "api-1"], ["api-0"]]


def test_a_queued_job_says_when_the_sweep_comes_and_no_other_does(world: World) -> None:
    world.job()
    sweep_by = datetime.fromisoformat(replace(world.lookup(), quiet_seconds=300).show(JOB_ID)["sweep_by"])
    assert sweep_by.timestamp() - time.time() == pytest.approx(1200, abs=3)
    world.store.claim(JOB_ID, "attempt")
    assert "sweep_by" not in world.lookup().show(JOB_ID)


def test_a_listed_job_says_what_the_index_knows_and_no_more(listed: World) -> None:
    (job,) = listed.lookup().list({"status": "on_hold"})["jobs"]
    assert set(job) == {"job_id", "status", "created_at", "source"}


def test_an_interrupted_job_says_when_it_is_tried_again_and_only_then(world: World) -> None:
    world.paid_job()
    said = {"redrive_at": "2026-11-22T12:15:00Z", "redrive_until": "2026-12-05T12:00:00Z"}
    for status, shown in ((Status.INTERRUPTED, said), (Status.DELIVERING, {}), (Status.CANCELED, {})):
        world.store.transition(JOB_ID, status, redrive_at=1_795_349_700, redrive_until=1_796_472_000)
        job = world.lookup().show(JOB_ID)
        assert {name: value for name, value in job.items() if name.startswith("redrive")} == shown


def test_a_token_moves_within_the_asked_status_only(listed: World) -> None:
    token = listed.lookup().list({"status": "queued", "limit": "1"})["next_token"]
    jobs = listed.lookup().list({"status": "on_hold", "next_token": token})["jobs"]
    assert {job["job_id"] for job in jobs} <= {"api-held"}


def made_up(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({}, "status"),
        ({"status": ""}, "status"),
        ({"status": "queued,failed"}, "status"),
        ({"status": "queued", "limit": "0"}, "limit"),
        ({"status": "queued", "limit": "101"}, "limit"),
        ({"status": "queued", "limit": "ten"}, "limit"),
        ({"status": "queued", "limit": "٣"}, "limit"),
        ({"status": "queued", "sort": "asc"}, "sort"),
        ({"status": "queued", "next_token": ""}, "next_token"),
        ({"status": "queued", "next_token": "ü"}, "next_token"),
        ({"status": "queued", "next_token": made_up([1, "#intake"])}, "next_token"),
        ({"status": "queued", "next_token": made_up([1.5, "a"])}, "next_token"),
        ({"status": "queued", "next_token": made_up([True, "a"])}, "next_token"),
        ({"status": "queued", "next_token": made_up({"job_id": "a", "changed_at": 1})}, "next_token"),
        ({"status": "queued", "next_token": made_up([10**30, "a"])}, "next_token"),
    ],
)
def test_a_wrong_query_is_named_by_its_parameter(world: World, query: dict[str, str], path: str) -> None:
    with pytest.raises(QueryInvalid) as fault:
        world.lookup().list(query)
    assert path in [issue["path"] for issue in fault.value.issues]


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(["status", "limit", "next_token"]), st.text(max_size=40)))
def test_no_query_is_too_strange_to_be_judged(query: dict[str, str]) -> None:
    class Nothing:
        def page(self, *_: Any, **__: Any) -> Any:
            return [], None

    with contextlib.suppress(QueryInvalid):
        Lookup(store=Nothing(), s3=None).list(query)  # type: ignore[arg-type]  # a double of the store


# ---- cancel ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(OPEN))
def test_an_open_job_is_closed_notified_once_and_stopped(world: World, status: Status) -> None:
    world.job()
    if status is not Status.QUEUED:
        world.store.claim(JOB_ID, "attempt", execution=EXECUTION)
        world.store.transition(JOB_ID, Status.INTERRUPTED)
        world.store.transition(JOB_ID, status, stay=True)
    sfn = Flaky(world.sfn)
    for _ in range(2):
        answer = world.cancel_job(JOB_ID, sfn)
        assert answer["status"] == "canceled"
    # The event of the execution's end finds nothing left to notify.
    world.notifier().interrupted(EXECUTION, ended="ABORTED", error="", cause="", moment="1")
    assert [message.body["status"] for message in world.messages()] == ["canceled"]
    assert world.record().status is Status.CANCELED
    name, arguments = sfn.calls[0]
    assert (name, arguments["executionArn"].rpartition(":")[2]) == ("stop_execution", JOB_ID)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda world: world.job(), "nothing was paid"),
        (lambda world: world.paid_job(), "is paid for"),
        (lambda world: (world.job(), world.store.claim(JOB_ID, "attempt")), "may be paid for"),
    ],
)
def test_the_caller_learns_what_becomes_of_the_money(world: World, prepare: Any, said: str) -> None:
    prepare(world)
    answer = world.cancel_job(JOB_ID)
    assert said in answer["message"]
    assert world.messages()[0].body["paid"] == {"nothing was paid": "no", "is paid for": "yes"}.get(said, "unknown")


@pytest.mark.parametrize("status", sorted(TERMINAL - {Status.CANCELED}))
def test_a_job_that_has_ended_stays_as_it_is(world: World, status: Status) -> None:
    world.paid_job()
    world.store.transition(JOB_ID, Status.INTERRUPTED)
    before = world.store.transition(JOB_ID, status)
    with pytest.raises(JobEnded, match=status):
        world.cancel_job(JOB_ID)
    assert (world.record(), world.messages()) == (before, [])


@pytest.mark.parametrize("job_id", [JOB_ID, "", "#intake", "a/b"])
def test_nobody_cancels_what_is_no_job(world: World, job_id: str) -> None:
    IntakeSwitch(world.dynamodb, TABLE).stop()
    with pytest.raises(JobNotFound):
        world.cancel_job(job_id)
    assert IntakeSwitch(world.dynamodb, TABLE).is_stopped


@pytest.mark.parametrize("code", ["ValidationException", "ExecutionDoesNotExist"])
def test_an_execution_that_has_ended_needs_no_stop(world: World, code: str) -> None:
    world.paid_job()
    sfn = Flaky(world.sfn, {1: "before"}, only="stop_execution", code=code)
    assert world.cancel_job(JOB_ID, sfn)["status"] == "canceled"


def test_a_cancel_that_was_cut_off_is_finished_by_its_repeat(world: World) -> None:
    world.paid_job()
    with pytest.raises(ClientError):
        world.cancel_job(JOB_ID, sns=Flaky(world.sns, {1: "before"}))
    assert not world.messages()
    with pytest.raises(ClientError):
        world.cancel_job(JOB_ID, Flaky(world.sfn, {1: "before"}, only="stop_execution"))
    world.cancel_job(JOB_ID)
    assert len(world.messages()) == 1


# ---- a file without AWS keys -----------------------------------------------------------------------------


def form(world: World, **wanted: Any) -> dict[str, Any]:
    return world.presign_upload(json.dumps({"filename": "shoe.jpg", "content_type": "image/jpeg"} | wanted).encode())


def test_a_form_takes_one_key_one_type_and_a_bounded_size(world: World) -> None:
    world.recipe({})
    answer = form(world, filename="C:\\Users\\me\\My shoe.jpg")
    assert answer["key"] == f"uploads/default/{answer['job_id']}/My-shoe.jpg"
    assert UPLOADS in answer["url"]
    policy = json.loads(base64.b64decode(answer["fields"]["policy"]))
    assert {"key": answer["key"]} in policy["conditions"]
    assert {"Content-Type": "image/jpeg"} in policy["conditions"]
    assert ["content-length-range", 1, 1_000_000] in policy["conditions"]
    assert answer["fields"]["key"] == answer["key"]


def test_the_file_becomes_the_forms_job_however_often_it_is_sent(world: World) -> None:
    world.recipe({})
    answers = [form(world), form(world)]
    assert answers[0]["job_id"] != answers[1]["job_id"]
    for answer in answers:
        assert identity.is_job_id(answer["job_id"])
        assert identity.of_form(answer["key"]) == answer["job_id"]


@pytest.mark.parametrize(
    "key",
    [
        "uploads/default/up-1/a.jpg",
        "uploads/default/up-0123456789ab-0123456789abcdef",
        "uploads/default/xup-0123456789ab-0123456789abcdef/a.jpg",
        "uploads/default/up-0123456789ab-0123456789abcdef/folder/a.jpg",
        "requests/default/up-0123456789ab-0123456789abcdef/a.jpg",
        "uploads/default/up-0123456789ab-0123456789abcdef-01234567/a.jpg",
    ],
)
def test_other_keys_name_no_job(key: str) -> None:
    assert identity.of_form(key) is None


def test_a_forms_job_is_bound_to_the_whole_key(world: World) -> None:
    world.recipe({})
    key = form(world)["key"]
    _, recipe, job_id, name = key.split("/")
    for other in (f"uploads/other/{job_id}/{name}", f"uploads/{recipe}/{job_id}/other.jpg", f"uploads/{job_id}/{name}"):
        assert identity.of_form(other) is None


def test_no_other_key_can_be_searched_that_names_a_forms_job(world: World) -> None:
    """An id with a shorter digest is another id. With all 128 bits, a second key cannot be found."""
    world.recipe({})
    answer = form(world)
    job_id = answer["job_id"]
    assert len(job_id.rpartition("-")[2]) == 32
    for length in (0, 8, 31):
        shorter = answer["key"].replace(job_id, job_id[: len(job_id) - 32 + length].rstrip("-"))
        assert identity.of_form(shorter) != job_id


@pytest.mark.parametrize(
    "job_id", ["up-0123456789ab-0123456789abcdef", "up-0123456789ab-0123456789abcdef-aecac6e9"], ids=["plain", "short"]
)
def test_forms_of_an_earlier_version_still_name_their_job(job_id: str) -> None:
    """S3 may send events of their files again after an update."""
    assert identity.of_form(f"uploads/default/{job_id}/a.jpg") == job_id


@pytest.mark.parametrize(
    ("declared", "filename", "kind"),
    [
        ("audio/x-m4a", "voice", "audio/mp4"),
        ("audio/m4a", "voice", "audio/mp4"),
        ("audio/mp4a-latm", "voice", "audio/mp4"),
        ("audio/vnd.dlna.adts", "voice", "audio/aac"),
        ("image/x-citrix-jpeg", "a", "image/jpeg"),
        ("audio/mp3", "voice", "audio/mpeg"),
        ("audio/wave", "voice", "audio/wav"),
        ("audio/x-wav", "voice", "audio/wav"),
        ("audio/vnd.wave", "voice", "audio/wav"),
        ("audio/x-flac", "voice", "audio/flac"),
        ("audio/webm;codecs=opus", "voice", "audio/webm"),
        ("image/jpg", "a", "image/jpeg"),
        ("image/pjpeg", "a", "image/jpeg"),
        ("IMAGE/JPEG", "a", "image/jpeg"),
        (" image/png ; charset=binary", "a", "image/png"),
        ("image/heif", "a", "image/heif"),
        ("video/x-m4v", "a", "video/mp4"),
        ("", "a.heic", "image/heic"),
        ("", "A.JPG", "image/jpeg"),
        ("application/octet-stream", "a.m4a", "audio/mp4"),
        ("binary/octet-stream", "C:\\a.MOV", "video/quicktime"),
    ],
)
def test_a_content_type_as_browsers_and_phones_report_it_gets_a_form(
    world: World, declared: str, filename: str, kind: str
) -> None:
    world.recipe({})
    answer = form(world, content_type=declared, filename=filename)
    assert answer["fields"]["Content-Type"] == kind
    policy = json.loads(base64.b64decode(answer["fields"]["policy"]))
    assert {"Content-Type": kind} in policy["conditions"]


def test_every_content_type_has_one_usual_name_and_suffixes_lead_to_it() -> None:
    others = [other for names in CONTENT_TYPES.values() for other in names]
    assert len({*CONTENT_TYPES, *others}) == len(CONTENT_TYPES) + len(others)
    assert all(name == name.lower().strip() for name in (*CONTENT_TYPES, *others))
    assert set(_OF_SUFFIX.values()) <= set(CONTENT_TYPES)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"filename": ""}, "filename"),
        ({"filename": "x" * 256}, "filename"),
        ({"filename": 1}, "filename"),
        ({"content_type": "text/html"}, "content_type"),
        ({"content_type": "image/svg+xml"}, "content_type"),
        ({"content_type": "", "filename": "notes.txt"}, "content_type"),
        ({"content_type": "", "filename": "jpg"}, "content_type"),
        ({"content_type": "application/octet-stream", "filename": "a"}, "content_type"),
        ({"content_type": None}, "content_type"),
        ({"recipe": "../recipes"}, "recipe"),
        ({"recipe": "a/b"}, "recipe"),
        ({"recipe": ""}, "recipe"),
        ({"recipe": "a\n"}, "recipe"),
        ({"key": "recipes/default.json"}, "key"),
    ],
)
def test_a_wrong_wish_is_named_by_its_field(world: World, wanted: dict[str, Any], path: str) -> None:
    world.recipe({})
    with pytest.raises(InvalidPayload) as fault:
        form(world, **wanted)
    assert [issue["path"] for issue in fault.value.issues] == [path]


def test_no_form_for_a_missing_recipe_or_while_intake_is_stopped(world: World) -> None:
    with pytest.raises(RecipeMissing):
        form(world)
    world.recipe({})
    IntakeSwitch(world.dynamodb, TABLE).stop()
    with pytest.raises(IntakeStopped):
        form(world)


@settings(max_examples=500)
@example("0.000000000000000-x")  # the cut leaves a dash at the end
@example("a." + "-" * 16 + "x")
@example("a" * 79 + "-b")
@given(st.text(min_size=1, max_size=255).filter(lambda text: text.encode("utf-8", "replace").decode() == text))
def test_any_files_name_becomes_the_end_of_a_key(filename: str) -> None:
    name = safe_name(filename)
    assert 0 < len(name) <= 97
    assert "/" not in name
    assert name not in (".", "..")
    assert re.sub("[\u200c\u200d]", "", name).isprintable()
    assert safe_name(name) == name
    assert unicodedata.is_normalized("NFC", name)


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("Schöne Schuhe (2).JPG", "Schöne-Schuhe-2-.JPG"),
        ("../../etc/passwd", "passwd"),
        (".jpg", "jpg"),
        ("…", "file"),
        ("a" * 200 + ".mp4", "a" * 80 + ".mp4"),
        ("靴.jpeg", "靴.jpeg"),
        # Marks and signs are part of a name, and so is what joins them.
        ("हिन्दी.jpg", "हिन्दी.jpg"),
        ("Scho\u0308ne.jpg", "Schöne.jpg"),
        ("نمی\u200cدانم.png", "نمی\u200cدانم.png"),  # noqa: RUF001 - Persian
        ("😀.jpg", "😀.jpg"),
        ("👍🏽 👩\u200d👧.png", "👍🏽-👩\u200d👧.png"),
        ("a\u200db\u202e.jpg", "ab-.jpg"),
        ("क्" * 100 + ".jpg", "क्" * 40 + ".jpg"),
        ("a" * 79 + "क्.jpg", "a" * 79 + ".jpg"),
        # A stem of nothing that a key may hold.
        ("***.jpg", "file.jpg"),
        ("..png", "file.png"),
    ],
)
def test_a_name_stays_readable(filename: str, name: str) -> None:
    assert safe_name(filename) == name


# ---- models ----------------------------------------------------------------------------------------------


def offering(*ids: str) -> Any:
    models = [{"id": name, "mode": "video", "credits": {"default_cost": 5}, "inputs": {"required": []}} for name in ids]
    return lambda _: httpx.Response(200, json={"ok": True, "code": 200, "data": {"models": models}})


def test_the_models_are_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = Vendor(get=[offering("a"), offering("b")])
    model_list = ModelList(vendor.client)
    start = time.monotonic()
    for seconds, expected in ((0, "a"), (KEPT_SECONDS - 1, "a"), (KEPT_SECONDS + 1, "b")):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: start + seconds)
        (model,) = model_list.models()
        assert (model["id"], model["default_cost"]) == (expected, 5)
    assert len(vendor.asked) == 2


def test_a_refusal_is_not_kept() -> None:
    model_list = ModelList(Vendor(get=[refusing(429, "rate_limited", **{"Retry-After": "7"}), offering("a")]).client)
    with pytest.raises(RateLimited) as fault:
        model_list.models()
    assert fault.value.retry_after == 7
    assert model_list.models()
