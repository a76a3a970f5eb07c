"""Test the entry points with the repository's sample events: results, log lines, and errors."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import runtime
from shared.faults import Fault, Paid
from shared.jobs.errors import FormUsed
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.runtime import AwsCallFailed, InternalError, SettingsInvalid
from shared.steps.submit import SECONDS_FROM_CLAIM, Submitter
from shared.steps.upload_again import MOST_CORRECTIONS, resent
from tests.support.fakes import (
    BODY,
    EVENTS,
    FINISHED,
    JOB_ID,
    KEY,
    LINK,
    PNG,
    PROMPT,
    TABLE,
    UPLOADS,
    VIDEO_ID,
    Answer,
    Clock,
    Vendor,
    World,
    accepting,
    arn_of,
    breaking,
    caught,
    client,
    event,
    refusing,
    showing,
)
from tests.support.handlers import (
    MODELS,
    RECIPE,
    SAMPLES,
    Functions,
    adopt,
    function,
    made_once,
    payload_of,
    post,
    version_of_the_event,
)
from tests.support.notifications import valid

SECRETS = (PROMPT[:20], KEY, KEY.split(".")[1], LINK, "X-Amz-Signature", "very-secret-token")


# ---- the sample events -----------------------------------------------------------------------------------


def test_a_part_is_checked_by_its_crc_and_not_hashed_for_its_signature(stage: Functions) -> None:
    s3, sent = runtime.client("s3"), []
    s3.meta.events.register_first("before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers)))
    s3.put_object(Bucket=UPLOADS, Key="uploads/x", Body=b"x", ChecksumAlgorithm="CRC32", ChecksumCRC32="jNxnUg==")
    assert [headers["X-Amz-Content-SHA256"] for headers in sent] == [b"UNSIGNED-PAYLOAD"]
    assert "x-amz-checksum-crc32" in sent[0]


def test_credits_are_counted_in_all_and_by_where_jobs_come_from(
    stage: Functions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version_of_the_event(stage.world)
    monkeypatch.setattr(runtime.metrics.provider, "service", "video-pipeline")
    capsys.readouterr()
    stage.call("submit", event("submit"))
    (document,) = map(json.loads, capsys.readouterr().out.splitlines())
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service"], ["service", "source"]]
    assert (document["service"], document["source"], document["CreditsUsed"]) == ("video-pipeline", "upload", [5.0])
    (line,) = [line for line in stage.log if line.get("credits_used")]
    assert (line["credits_used"], line["source_type"], line["job_id"]) == (5, "upload", JOB_ID)


def test_a_daily_limit_comes_from_the_environment(stage: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    version_of_the_event(stage.world)
    stage.world.vendor = Vendor(get=[MODELS])
    monkeypatch.setenv("DAILY_CREDIT_LIMIT", "4.5")
    refusal = stage.fails("submit", event("submit"))
    assert (type(refusal).__name__, stage.metrics()) == ("DailyLimitReached", {})
    assert not stage.world.vendor.posts
    monkeypatch.setenv("DAILY_CREDIT_LIMIT", "5")
    assert stage.call("submit", event("submit"))["video_id"] == VIDEO_ID
    assert [request.method for request in stage.world.vendor.asked] == ["GET", "POST"], "the list is kept for a while"


def test_every_sample_event_is_used_here() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == set(SAMPLES)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_event_does_what_it_is_a_sample_of(stage: Functions, sample: str) -> None:
    name, prepare, holds, counted = SAMPLES[sample]
    given = event(sample)
    prepare(stage.world)
    adopt(given.get("execution_id") or given.get("detail", {}).get("executionArn"), stage.world)
    answer = stage.call(name, given)
    assert holds(stage.world, answer), answer
    assert set(stage.metrics()) == counted
    if name != "sweep":  # which is about no single job
        job_ids = {line.get("job_id") for line in stage.log}
        assert None not in job_ids
        assert len(job_ids) <= 1
    json.dumps(answer)


@pytest.mark.parametrize(
    "sample",
    [
        *("submit", "status", "deliver", "notify_succeeded", "uploads_object_created"),
        *("api_get_health", "sweep_schedule", "batch_admit"),
    ],
)
def test_on_lambda_no_client_is_made_for_an_event_that_every_event_needs(
    stage: Functions, monkeypatch: pytest.MonkeyPatch, sample: str
) -> None:
    name, prepare, _, _ = SAMPLES[sample]
    prepare(stage.world)
    made: list[str] = []

    def noted(service: str, **options: Any) -> Any:
        made.append(service)
        return made_once(service, **options)

    monkeypatch.setattr(runtime, "_session", lambda: SimpleNamespace(create_client=noted))
    runtime.client.cache_clear()
    function.__wrapped__(name)
    assert made == [], "this is not Lambda"
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
    function.__wrapped__(name)
    started_with = sorted(made)
    stage.call(name, event(sample))
    assert sorted(made) == started_with != []


def test_a_whole_job_tells_nothing_that_should_stay_private(stage: Functions) -> None:
    """Covers log lines, the data in the state machine, and the notification."""
    world = stage.world
    world.vendor = Vendor([refusing(403, "insufficient_credits", f"no credits for {PROMPT}"), accepting()], [FINISHED])
    created = event("uploads_object_created")
    created["detail"]["object"]["version-id"] = world.upload("uploads/shoe.jpg", PNG)
    world.recipe(RECIPE)
    job_id = stage.call("uploads", created)["job_id"]
    execution = f"arn:aws:states:us-east-1:123456789012:execution:video-job:{job_id}"
    (started,) = world.sfn.list_executions(stateMachineArn=world.machine)["executions"]
    given = json.loads(world.sfn.describe_execution(executionArn=started["executionArn"])["input"])
    carried: list[Any] = [given]

    submit = {"execution_id": execution, "input": given}
    refusal = stage.fails("submit", submit)
    error = {"Error": type(refusal).__name__, "Cause": json.dumps({"errorMessage": str(refusal)})}
    carried.append(stage.call("notify", {"event": "on_hold", "execution_id": execution, "error": error}))
    carried.append(stage.call("submit", submit))
    polled = {
        "execution_id": execution,
        **{name: carried[-1][name] for name in ("video_id", "submitted_at", "waiting")},
    }
    carried.append(stage.call("status", polled))
    carried.append(stage.call("deliver", polled))
    carried.append(stage.call("notify", {"event": "succeeded", "execution_id": execution}))

    assert world.record(job_id).status is Status.SUCCEEDED
    assert [message.body["status"] for message in world.messages()] == ["on_hold", "succeeded"]
    written = json.dumps([stage.log, carried, [vars(message) for message in world.messages()]])
    assert not [secret for secret in SECRETS if secret in written]
    assert {line["job_id"] for line in stage.log} == {job_id}
    assert len(world.vendor.posts) == 2
    assert world.vendor.posts[0].headers["Authorization"] == f"Bearer {KEY}"


def test_two_events_of_one_object_are_one_job(stage: Functions) -> None:
    created = event("uploads_object_created")
    assert stage.call("uploads", created) == stage.call("uploads", created)
    assert len(stage.world.executions()) == 1
    created["detail"]["object"]["version-id"] = "another"
    stage.call("uploads", created)
    assert len(stage.world.executions()) == 2


def created_at(key: str, **item: Any) -> dict[str, Any]:
    """Return the event of an object."""
    created = event("uploads_object_created")
    created["detail"]["object"] |= {"key": key, **item}
    return created


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("uploads/A B+ü%20.JPG", "upload"),
        ("requests/a.json", "request"),
        ("uploads/shoes/", "upload"),
        ("requests/a.json/", "request"),
    ],
)
def test_an_upload_is_recognized_by_its_key(stage: Functions, key: str, kind: str) -> None:
    """An object with content is an upload, even if its key ends like a folder's."""
    answer = stage.call("uploads", created_at(key))
    source = stage.world.record(answer["job_id"]).source
    assert (source["type"], source["key"]) == (kind, key)


@pytest.mark.parametrize("key", ["uploads/shoes/", "requests/", "Uploads/", "new/", "uploads/shoes_$folder$"])
def test_the_empty_mark_of_a_folder_is_ignored(stage: Functions, key: str) -> None:
    assert stage.call("uploads", created_at(key, size=0)) is None
    assert not stage.world.executions() + stage.world.messages()


@pytest.mark.parametrize(
    ("key", "better"),
    [
        ("uploads/shoes\\a.jpg", "uploads/shoes/a.jpg"),
        ("/uploads/shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("Uploads/shoes/a.jpg", "uploads/shoes/a.jpg"),
        ("uploads//a.jpg", "uploads/a.jpg"),
        ("shoe.jpg", "uploads/shoe.jpg"),
        ("request/boat.json", "requests/boat.json"),
        ("recipes/sub/a.json", "recipes/a.json"),
        ("recipes/a.JSON", "recipes/a.json"),
    ],
)
def test_a_misplaced_file_gets_one_notification_and_no_job(stage: Functions, key: str, better: str) -> None:
    for created in (created_at(key), created_at(key), created_at(key, **{"version-id": "another"})):
        assert stage.call("uploads", created) is None
    first, repeat, other = stage.world.messages()
    assert (first.body["status"], first.body["paid"]) == ("upload_ignored", "no")
    assert (first.body["source"]["key"], first.body["error"]["code"]) == (key, "upload_misplaced")
    assert f"'{better}'" in first.body["error"]["message"]
    assert first.body["notification_id"] == repeat.body["notification_id"] != other.body["notification_id"]
    assert first.body["occurred_at"] == created_at(key)["time"]
    assert not stage.world.executions() + stage.world.executions(stage.world.batch_machine)
    assert stage.world.dynamodb.scan(TableName=TABLE)["Count"] == 0
    valid(first.body)


@pytest.mark.parametrize("key", ["plans/a.jsonl", "assets/a.png"])
def test_incomplete_uploads_and_the_stacks_own_files_start_nothing(stage: Functions, key: str) -> None:
    """The rule filters them out. Otherwise a plan's own event would cause an endless loop."""
    assert stage.call("uploads", created_at(key)) is None
    assert not stage.world.messages()


# ---- forms that are sent again ---------------------------------------------------------------------------


class Form:
    """A form's key, and the events of the files that are sent with it."""

    def __init__(self, stage: Functions) -> None:
        stage.world.recipe(RECIPE)
        wanted = json.dumps({"filename": "shoe.jpg", "content_type": "image/jpeg"}).encode()
        answer = stage.world.presign_upload(wanted)
        self.key, self.job_id = answer["key"], answer["job_id"]
        self.stage = stage

    def send(self, content: bytes, reason: str = "POST Object", key: str = "", after: int = 3600) -> str | None:
        """Send a file some seconds from now, and return the job of its event."""
        version = self.stage.world.upload(key or self.key, content)
        item = {"version-id": version, "etag": hashlib.md5(content, usedforsecurity=False).hexdigest()}
        self.event = created_at(key or self.key, **item)
        self.event["time"] = (datetime.now(UTC) + timedelta(seconds=after)).isoformat(timespec="seconds")
        self.event["detail"]["reason"] = reason
        return self.again()

    def again(self) -> str | None:
        answer = self.stage.call("uploads", self.event)
        job_id: str | None = answer and answer["job_id"]
        return job_id

    def submit(self) -> Fault | None:
        """Run Submit for the execution that the record names, and return its error."""
        world = self.stage.world
        execution = world.record(self.job_id).execution or arn_of(self.job_id)
        try:
            world.submitter().submit(execution, {})
        except Fault as fault:
            world.notifier().failed(execution, caught(fault))
            return fault
        return None


def test_a_wrong_file_is_corrected_with_the_same_form(stage: Functions) -> None:
    form, world = Form(stage), stage.world
    assert form.send(b"<html>") == form.job_id
    assert type(form.submit()).__name__ == "UploadUnsupported"
    assert form.send(PNG) == form.again() == form.job_id
    job = world.record(form.job_id)
    assert (job.status, job.execution, job.resubmissions) == ("queued", f"{executions_of(world)}:{form.job_id}.r1", 1)
    assert world.executions() == [form.job_id, f"{form.job_id}.r1"]
    assert form.submit() is None
    assert [post.headers["Idempotency-Key"] for post in world.vendor.posts] == [f"{form.job_id}.1"]
    assert [message.body["status"] for message in world.messages()] == ["failed"]


def executions_of(world: World) -> str:
    return world.machine.replace(":stateMachine:", ":execution:")


def test_a_form_that_is_sent_twice_is_one_job(stage: Functions) -> None:
    form, world = Form(stage), stage.world
    assert form.send(PNG) == form.send(PNG) == form.job_id
    assert form.submit() is None
    assert form.send(PNG) == form.job_id
    assert (len(world.executions()), len(world.vendor.posts)) == (1, 1)
    assert not world.messages()


@pytest.mark.parametrize("paid", [True, False])
def test_a_form_takes_no_second_file_once_its_job_is_under_way_or_paid(stage: Functions, paid: bool) -> None:
    form, world = Form(stage), stage.world
    form.send(PNG)
    if paid:
        form.submit()
        world.notifier().failed(arn_of(form.job_id), {"Error": "GenerationFailed", "Cause": ""})
    assert form.send(PNG + b"another") is None
    (message,) = [message for message in world.messages() if message.body["status"] == "upload_ignored"]
    assert (message.body["error"]["code"], message.body["source"]["key"]) == ("form_used", form.key)
    assert form.job_id in message.body["error"]["message"]
    assert "etag" not in message.body["source"]
    valid(message.body)
    assert (len(world.executions()), len(world.vendor.posts)) == (1, int(paid))


def test_a_late_event_of_the_first_file_is_no_correction(stage: Functions) -> None:
    form, world = Form(stage), stage.world
    form.send(b"<html>")
    first = form.event | {"time": "2026-11-22T10:15:30Z"}
    form.submit()
    form.send(b"<html>, again")
    form.submit()
    form.event = first
    assert form.again() is None
    assert len(world.executions()) == 2
    assert not world.vendor.posts


def test_a_form_is_corrected_only_so_often(stage: Functions) -> None:
    form, world = Form(stage), stage.world
    for number in range(MOST_CORRECTIONS + 3):
        form.send(b"<html>%d" % number)
        if world.record(form.job_id).status is Status.QUEUED:
            form.submit()
    assert len(world.executions()) == MOST_CORRECTIONS + 1
    statuses = [message.body["status"] for message in world.messages()]
    assert (statuses.count("failed"), statuses.count("upload_ignored")) == (MOST_CORRECTIONS + 1, 2)


def test_a_form_that_is_corrected_has_left_its_outage_behind(stage: Functions) -> None:
    """Otherwise its next outage would not be notified. Records of an earlier version kept it."""
    form, world = Form(stage), stage.world
    form.send(b"<html>")
    form.submit()
    world.store.update(form.job_id, redrives=3, redrive_at=1, redrive_until=2)
    form.send(PNG)
    job = world.record(form.job_id)
    assert (job.status, job.redrives, job.redrive_at, job.redrive_until) == (Status.QUEUED, 0, None, None)


def test_two_corrections_at_once_are_one(stage: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    form, world = Form(stage), stage.world
    form.send(b"<html>")
    form.submit()
    seen = world.record(form.job_id)
    assert form.send(PNG) == form.job_id
    taken = world.record(form.job_id)
    # The other one read the job before this one changed it.
    options = {"sent_at": form.event["time"], "store": world.store, "state_machine_arn": world.machine}
    assert resent(seen, taken.source, **options) == taken
    with pytest.raises(FormUsed):
        resent(seen, {**taken.source, "version_id": "x", "etag": "y"}, **options)
    assert world.record(form.job_id) == taken


@pytest.mark.parametrize("reason", ["CopyObject", "PutObject", "CompleteMultipartUpload"])
def test_another_write_to_a_forms_key_is_an_ordinary_upload(stage: Functions, reason: str) -> None:
    """By docs/uploads.md an overwritten key is a new job, even if the content is the same."""
    form, world = Form(stage), stage.world
    form.send(PNG)
    job_id = form.send(PNG, reason=reason)
    assert job_id != form.job_id
    assert world.executions() == sorted([form.job_id, str(job_id)])


def test_a_form_file_copied_to_another_recipe_is_a_job_of_that_recipe(stage: Functions) -> None:
    form, world = Form(stage), stage.world
    form.send(PNG)
    copied = form.key.replace("uploads/default/", "uploads/other/")
    for reason in ("CopyObject", "POST Object"):
        job_id = form.send(PNG, reason=reason, key=copied)
        assert job_id not in (None, form.job_id)
        assert world.record(str(job_id)).source["key"] == copied


# ---- the HTTP API ----------------------------------------------------------------------------------------


def sent(body: bytes, content_type: str | None = "application/json") -> dict[str, Any]:
    """Return a body as API Gateway passes it: as text if it is declared as JSON, otherwise encoded.

    https://github.com/ministackorg/ministack/pull/766 measured which is which.
    """
    is_text = content_type is not None and content_type.partition(";")[0] == "application/json"
    given = post(body.decode(errors="replace") if is_text else base64.b64encode(body).decode())
    given["isBase64Encoded"] = not is_text
    given["headers"].pop("idempotency-key", None)
    given["headers"].pop("content-type", None)
    return given if content_type is None else {**given, "headers": {**given["headers"], "content-type": content_type}}


GREEN = json.dumps({"model_id": "m", "prompt": "Grüne Höhe"}, ensure_ascii=False)
UMLAUTS: dict[str, tuple[dict[str, Any], int]] = {
    "UTF-8": (sent(GREEN.encode()), 202),
    "UTF-8 with a byte order mark": (sent(GREEN.encode("utf-8-sig")), 202),
    "UTF-8, encoded for the way": (sent(GREEN.encode(), None), 202),
    "UTF-8, declared": (sent(GREEN.encode(), 'application/json; charset="UTF-8"'), 202),
    "two equal headers": (sent(GREEN.encode(), "application/json,application/json"), 202),
    "two equal headers with a charset": (
        sent(GREEN.encode(), "application/json; charset=utf-8, application/json"),
        202,
    ),
    "latin-1, not declared": (sent(GREEN.encode("latin-1")), 400),
    "latin-1, encoded for the way": (sent(GREEN.encode("latin-1"), None), 400),
    "latin-1, declared, but lost on the way": (sent(GREEN.encode("latin-1"), "application/json; charset=latin-1"), 400),
    "latin-1, declared": (sent(GREEN.encode("latin-1"), "application/json ; charset=ISO-8859-1"), 202),
    "windows-1252, declared": (sent(GREEN.encode("cp1252"), "Application/JSON;charset=windows-1252"), 202),
    "UTF-16, declared": (sent(GREEN.encode("utf-16"), "Application/JSON; charset=utf-16"), 202),
    "declared as UTF-8, and is not": (sent(GREEN.encode("latin-1"), "Application/JSON; charset=utf-8"), 400),
    "a surrogate in UTF-8": (sent(b'{"model_id": "m", "prompt": "\xed\xa0\x80"}', None), 400),
    "a charset of Python's own": (sent(GREEN.encode(), "application/json; charset=unicode_escape"), 415),
    "a charset of nobody": (sent(GREEN.encode(), "application/json; charset=nobody"), 415),
    "two charsets": (sent(GREEN.encode(), "application/json; charset=utf-8, application/json; charset=latin-1"), 415),
    "two types": (sent(GREEN.encode(), "application/json, text/plain"), 415),
}


@pytest.mark.parametrize("case", UMLAUTS)
def test_a_text_is_read_as_it_was_written_or_refused(stage: Functions, case: str) -> None:
    given, status = UMLAUTS[case]
    answer = stage.call("api", given)
    assert answer["statusCode"] == status, answer
    if status == 202:
        record = stage.world.record(json.loads(answer["body"])["job_id"])
        assert json.loads(record.request or "")["prompt"] == "Grüne Höhe"
    else:
        assert "sig" not in json.loads(answer["body"])["message"], "Python's own name of a charset"
        assert not stage.world.executions()


@pytest.mark.parametrize(
    "body",
    [
        '{"model_id": "m", "prompt": "first", "prompt": "second"}',
        '{"model_id": "m", "params": {"fps": 1, "fps": 2}}',
        '{"model_id": "m", "raw_params": {"a": [{"b": 1, "\\u0062": 1}]}}',
        '{"model_id": "m", "metadata": {"a": 1, "a": 1}}',
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_depth(stage: Functions, body: str) -> None:
    answer = stage.call("api", post(body))
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (400, "invalid_json")
    assert "twice" in answer["body"]
    assert not stage.world.executions()


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (post("{"), 400, "invalid_json"),
        (post(BODY, **{"idempotency-key": ""}), 400, "invalid_idempotency_key"),
        (post("x" * 300_000), 413, "payload_too_large"),
        (post({**BODY, "colour": "red"}), 422, "invalid_payload"),
    ],
)
def test_a_refusal_has_the_vendors_shape(stage: Functions, given: dict[str, Any], status: int, code: str) -> None:
    answer = stage.call("api", given)
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["ok"], body["code"], body["error_code"]) == (status, False, status, code)
    assert body["message"]
    assert body["advice"]
    assert ("issues" in body) == (status == 422)
    assert PROMPT not in answer["body"] + json.dumps(stage.log)


def test_a_base64_body_is_read(stage: Functions) -> None:
    given = post("eyJtb2RlbF9pZCI6ICJtIn0=") | {"isBase64Encoded": True}
    assert stage.call("api", given)["statusCode"] == 202


def test_a_conflict_and_an_unknown_job_and_route_are_answered(stage: Functions) -> None:
    assert stage.call("api", post(BODY))["statusCode"] == 202
    assert stage.call("api", post({**BODY, "prompt": "x"}))["statusCode"] == 409
    unknown = event("api_get_video")
    assert json.loads(stage.call("api", unknown)["body"])["error_code"] == "job_not_found"
    unknown |= {"rawPath": "/nowhere"}
    unknown["requestContext"]["http"]["path"] = "/nowhere"
    assert json.loads(stage.call("api", unknown)["body"])["error_code"] == "not_found"


@pytest.mark.parametrize("route", ["api_post_videos", "api_post_uploads"])
def test_a_body_that_is_not_declared_as_json_is_refused(stage: Functions, route: str) -> None:
    stage.world.recipe(RECIPE)
    for declared, status in (("text/plain", 415), ("", None), ("Application/JSON; charset=utf-8", None)):
        given = event(route)
        given["headers"] = {"Content-Type": declared} if declared else {}
        answer = stage.call("api", given)
        assert (answer["statusCode"] == 415) == (status == 415)
    assert len(stage.world.executions()) == (2 if route == "api_post_videos" else 0)


def test_the_vendors_wish_for_quiet_is_passed_on(stage: Functions) -> None:
    stage.world.vendor = Vendor(get=[refusing(429, "rate_limited", **{"Retry-After": "7"}), refusing(429), MODELS])
    answers = [stage.call("api", event("api_list_models")) for _ in range(3)]
    assert [answer["statusCode"] for answer in answers] == [429, 429, 200]
    assert [answer["headers"].get("Retry-After") for answer in answers] == ["7", "30", None]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusing(401, "invalid_token"), "authentication_failed"),
        (refusing(402, "subscription_required"), "subscription_required"),
        (refusing(500), "genviral_unavailable"),
        (breaking(httpx.ConnectError), "genviral_unreachable"),
        (breaking(httpx.ReadTimeout), "genviral_unavailable"),
    ],
)
def test_trouble_with_the_vendor_is_no_fault_of_the_caller(stage: Functions, answer: Any, code: str) -> None:
    stage.world.vendor = Vendor(get=[answer])
    response = stage.call("api", event("api_list_models"))
    document = json.loads(response["body"])
    assert (response["statusCode"], document["error_code"]) == (502, code)
    assert "automatically" not in document["advice"] or "hold" in document["advice"]


def test_a_key_that_cannot_be_read_makes_the_models_unavailable(stage: Functions) -> None:
    client("secretsmanager").delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    response = stage.call("api", event("api_list_models"))
    assert (response["statusCode"], json.loads(response["body"])["error_code"]) == (503, "unavailable")


def test_while_intake_is_stopped_nothing_is_taken_and_all_can_be_seen(stage: Functions) -> None:
    stage.world.index()
    stage.world.job()
    IntakeSwitch(stage.world.dynamodb, TABLE).stop()
    answers = {name: stage.call("api", event(name)) for name in SAMPLES if name.startswith("api_post")}
    assert {answer["statusCode"] for answer in answers.values()} == {503}
    assert {answer["headers"]["Retry-After"] for answer in answers.values()} == {"60"}
    assert json.loads(stage.call("api", event("api_get_health"))["body"])["intake"] == "stopped"
    for name in ("api_get_video", "api_list_videos", "api_delete_video"):
        assert stage.call("api", event(name))["statusCode"] == 200


def test_a_wrong_query_and_an_ended_job_are_answered(stage: Functions) -> None:
    query = event("api_list_videos")
    query["queryStringParameters"] = {"limit": "0"}
    answer = stage.call("api", query)
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (422, "invalid_query")
    stage.world.job()
    stage.world.store.transition(JOB_ID, Status.FAILED)
    answer = stage.call("api", event("api_delete_video"))
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (409, "job_ended")


# ---- recipes ---------------------------------------------------------------------------------------------


def recipe_event(world: World, recipe: object, key: str = "recipes/default.json") -> dict[str, Any]:
    created = event("uploads_recipe_created")
    version = world.upload(key, recipe if isinstance(recipe, bytes) else json.dumps(recipe).encode())
    created["detail"]["object"] |= {"key": key, "version-id": version}
    return created


def test_a_wrong_recipe_is_notified_at_once_and_repeats_are_recognizable(stage: Functions) -> None:
    wrong = recipe_event(stage.world, {"prompt": "a secret plan", "colour": "red"})
    for created in (wrong, wrong, recipe_event(stage.world, b"{")):
        stage.call("uploads", created)
    first, repeat, other = stage.world.messages()
    assert (first.body["status"], first.body["recipe"], first.body["paid"]) == ("recipe_invalid", "default", "no")
    assert {issue["path"] for issue in first.body["error"]["issues"]} == {"model_id", "colour"}
    assert first.attributes["status"] == "recipe_invalid"
    assert first.attributes["error_code"] == "recipe_invalid"
    assert repeat.body["notification_id"] == first.body["notification_id"] != other.body["notification_id"]
    assert "secret" not in json.dumps([vars(message) for message in stage.world.messages()])
    assert not stage.world.executions()
    assert stage.world.dynamodb.scan(TableName=TABLE)["Count"] == 0


@pytest.mark.parametrize("key", ["recipes/default.json", "recipes/README.md"])
def test_a_right_recipe_and_what_is_no_recipe_say_nothing(stage: Functions, key: str) -> None:
    stage.call("uploads", recipe_event(stage.world, RECIPE if key == "recipes/default.json" else b"{", key))
    assert not stage.world.messages()


def test_a_recipe_that_is_gone_again_says_nothing(stage: Functions) -> None:
    created = recipe_event(stage.world, b"{")
    version = created["detail"]["object"]["version-id"]
    stage.world.s3.delete_object(Bucket=UPLOADS, Key="recipes/default.json", VersionId=version)
    stage.call("uploads", created)
    assert not stage.world.messages()


# ---- whatever comes --------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["model_id", "prompt", "params", "raw_params", "metadata", "image_url", "filename", "content_type", "recipe"]
BODIES = st.one_of(
    st.text(max_size=60),
    JSON.map(json.dumps),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6).map(json.dumps),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4).map(lambda more: json.dumps({**BODY, **more})),
    st.sampled_from(["[" * 100_000, '{"model_id": "\\ud800"}', '{"a": 1e999}', '{"a": ' + "1" * 5_000 + "}"]),
)
WHATEVER = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("route", ["api_post_videos", "api_post_uploads"])
@WHATEVER
@given(body=BODIES, key=st.none() | st.text(max_size=300))
def test_no_body_is_too_strange_to_be_answered(stage: Functions, route: str, body: str, key: str | None) -> None:
    given = event(route)
    given["body"] = body
    given["headers"].pop("idempotency-key", None)
    if key is not None:
        given["headers"]["idempotency-key"] = key
    answer = stage.call("api", given)
    document = json.loads(answer["body"])
    assert answer["statusCode"] < 500
    if answer["statusCode"] >= 400:
        assert document["error_code"]
        assert document["message"]
        assert document["issues" if answer["statusCode"] == 422 and "issues" in document else "advice"]


KEYS = st.text(min_size=1, max_size=1000) | st.text(st.sampled_from("ü靴👟+% ./\\?#&=~'\"\n"), min_size=1, max_size=250)


@WHATEVER
@given(prefix=st.sampled_from(["uploads/", "requests/", "recipes/"]), name=KEYS)
def test_no_key_is_too_strange_for_a_job(stage: Functions, prefix: str, name: str) -> None:
    key = f"{prefix}{name}".encode()[:1024].decode(errors="ignore")
    created = event("uploads_object_created")
    created["detail"]["object"]["key"] = key
    before = len(stage.world.messages())
    answer = stage.call("uploads", created)
    if answer is not None:
        assert stage.world.record(answer["job_id"]).source["key"] == key
    else:
        reported = len(stage.world.messages()) - before
        assert reported == 1 or (prefix == "recipes/" and not reported)


# ---- the HTTP API, when AWS fails ------------------------------------------------------------------------


def test_a_failing_table_is_the_callers_cue_to_repeat(stage: Functions) -> None:
    stage.world.dynamodb.delete_table(TableName=TABLE)
    answer = stage.call("api", post(BODY))
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "5")


def caller(authorizer: dict[str, Any]) -> dict[str, Any]:
    document = post(BODY)
    document["requestContext"]["authorizer"] = authorizer
    return document


def test_one_programs_sessions_are_one_caller_and_two_programs_are_two(stage: Functions) -> None:
    role = "arn:aws:sts::123456789012:assumed-role"
    callers: list[dict[str, Any]] = [
        {"iam": {"userArn": f"{role}/publisher/session-1"}},
        {"iam": {"userArn": f"{role}/publisher/session-2"}},
        {"iam": {"userArn": f"{role}/other/session-1"}},
        {"iam": {"userArn": "arn:aws:iam::123456789012:user/publisher"}},
        {"jwt": {"claims": {"iss": "https://a", "sub": "1"}}},
        {"jwt": {"claims": {"iss": "https://b", "sub": "1"}}},
        {},
    ]
    answers = [stage.call("api", caller(who)) for who in callers]
    jobs = [json.loads(answer["body"])["job_id"] for answer in answers]
    assert jobs[0] == jobs[1]
    assert len(set(jobs)) == len(jobs) - 1


# ---- errors ----------------------------------------------------------------------------------------------


def test_a_named_error_reaches_the_state_machine_without_a_stack_trace(stage: Functions) -> None:
    version_of_the_event(stage.world)
    stage.world.vendor = Vendor([refusing(403, "insufficient_credits", "You have 0 credits")])
    payload = payload_of(stage.fails("submit", event("submit")))
    assert (payload["errorType"], payload["stackTrace"]) == ("InsufficientCredits", [])
    document = json.loads(payload["errorMessage"])
    assert document["http_status"] == 403
    assert "0 credits" in document["message"]
    assert document["paid"] == "no"
    assert stage.log[-1]["fault"]["error"] == "InsufficientCredits"
    assert "exception" not in stage.log[-1]


def test_an_aws_error_is_named_by_its_call(stage: Functions) -> None:
    stage.world.dynamodb.delete_table(TableName=TABLE)
    for name, sample in (
        ("submit", "submit"),
        ("status", "status"),
        ("deliver", "deliver"),
        ("notify", "notify_failed"),
    ):
        fault = stage.fails(name, event(sample))
        assert isinstance(fault, AwsCallFailed)
        assert fault.message == "GetItem failed with ResourceNotFoundException"
        assert payload_of(fault)["stackTrace"] == []


def test_a_defect_shows_where_it_is_and_nothing_of_what_it_held(
    stage: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(f"{PROMPT} {LINK} {KEY}")

    monkeypatch.setattr(Submitter, "submit", broken)
    fault = stage.fails("submit", event("submit"))
    assert isinstance(fault, InternalError)
    assert "RuntimeError at test_functions.py" in fault.message
    assert not [secret for secret in SECRETS if secret in json.dumps([str(fault), stage.log])]
    assert payload_of(fault)["stackTrace"] == []


def test_metrics_are_emitted_even_when_the_call_fails(stage: Functions) -> None:
    version_of_the_event(stage.world)
    stage.world.vendor = Vendor([breaking(httpx.ReadTimeout)])
    assert type(stage.fails("submit", event("submit"))).__name__ == "SubmissionUncertain"
    assert stage.metrics() == {"SubmissionsUncertain": [1.0]}


@pytest.mark.parametrize(("text", "error"), [("not-set", "AuthenticationFailed"), ("", "AuthenticationFailed")])
def test_a_key_that_was_never_put_in_holds_the_job(stage: Functions, text: str, error: str) -> None:
    version_of_the_event(stage.world)
    client("secretsmanager").put_secret_value(SecretId="key", SecretString=text or " ")
    assert type(stage.fails("submit", event("submit"))).__name__ == error
    assert not stage.world.vendor.asked
    assert stage.world.record().status is Status.QUEUED


def test_a_key_that_cannot_be_read_frees_the_job_for_the_retry(stage: Functions) -> None:
    version_of_the_event(stage.world)
    client("secretsmanager").delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    fault = stage.fails("submit", event("submit"))
    assert (type(fault), fault.paid) == (AwsCallFailed, Paid.NO)
    assert fault.message == "GetSecretValue failed with ResourceNotFoundException"
    record = stage.world.record()
    # There is no claim: one that is interrupted while the key is read would end as uncertain.
    assert (record.status, record.claim, "submitting" in record.timeline) == (Status.QUEUED, None, False)


def test_a_new_key_is_fetched_after_a_401(stage: Functions) -> None:
    version_of_the_event(stage.world)
    fresh = "pub_new.sk_new"

    def renewed(_: httpx.Request) -> httpx.Response:
        client("secretsmanager").put_secret_value(SecretId="key", SecretString=fresh)
        return refusing(401, "invalid_token")(_)

    stage.world.vendor = Vendor([renewed, accepting()])
    assert stage.call("submit", event("submit"))["video_id"] == VIDEO_ID
    assert [post.headers["Authorization"] for post in stage.world.vendor.posts] == [f"Bearer {KEY}", f"Bearer {fresh}"]


# ---- a vendor who takes long -------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the time of the functions."""
    clock = Clock(1_800_000_000.0)
    monkeypatch.setattr("time.time", clock)
    return clock


def after(seconds: float, answer: Answer, clock: Clock) -> Answer:
    """Return a late answer, over a network with the client's time-outs."""

    def late(request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions["timeout"]
        assert timeouts["connect"] <= 5, "that nobody is there is known at once"
        clock.now += min(seconds, timeouts["read"])
        if seconds > timeouts["read"]:
            raise httpx.ReadTimeout("made up", request=request)
        return answer(request)

    return late


@pytest.mark.parametrize("seconds", [1, 100, 149])
def test_a_paid_call_that_is_answered_late_is_a_job_like_any_other(
    stage: Functions, clock: Clock, seconds: float
) -> None:
    version_of_the_event(stage.world)

    def meanwhile(request: httpx.Request) -> httpx.Response:
        # Step Functions abandons the call and makes the next one, which neither pays nor ends the job.
        assert type(stage.fails("submit", event("submit"))).__name__ == "SubmissionInProgress"
        return accepting()(request)

    stage.world.vendor = Vendor([after(seconds, meanwhile, clock), accepting("a second one")])
    submitted = stage.call("submit", event("submit"))
    job = stage.world.record()
    assert (submitted["video_id"], job.video_id, job.status) == (VIDEO_ID, VIDEO_ID, Status.PROCESSING)
    assert submitted["submitted_at"] == job.submitted_at == int(clock.now)
    assert stage.call("submit", event("submit"))["video_id"] == VIDEO_ID
    assert stage.world.vendor.accepted == 1


def test_a_paid_call_is_given_up_after_two_and_a_half_minutes(stage: Functions, clock: Clock) -> None:
    version_of_the_event(stage.world)
    stage.world.vendor = Vendor([after(151, accepting(), clock)])
    fault = stage.fails("submit", event("submit"))
    assert (type(fault).__name__, fault.paid) == ("SubmissionUncertain", Paid.UNKNOWN)
    assert stage.world.record().claim is not None


def test_the_paid_call_ends_before_its_function_does() -> None:
    """This includes the writes afterwards. The claim needs `SECONDS_FROM_CLAIM` of remaining time."""
    paid_call = function("submit")._TIMEOUTS
    assert (paid_call.read, paid_call.total) == (150, 180)
    writes = 4 * 20  # the claim, a renewed key, the video, and the video again where the job has ended
    assert paid_call.total + writes <= SECONDS_FROM_CLAIM


def test_a_poll_does_not_wait_that_long(stage: Functions, clock: Clock) -> None:
    stage.world.paid_job()
    stage.world.vendor = Vendor(get=[after(16, showing("processing"), clock)])
    assert type(stage.fails("status", event("status"))).__name__ == "GenviralUnavailable"


CALLED_WITH = {
    "uploads": "uploads_object_created",
    "submit": "submit",
    "status": "status",
    "deliver": "deliver",
    "notify": "notify_failed",
    "sweep": "sweep_schedule",
}


@pytest.mark.parametrize("name", CALLED_WITH)
def test_a_missing_setting_is_named(stage: Functions, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for field in fields(function(name).Settings):
        for value in ("", "nonsense"):
            if field.default is not MISSING or (value and field.type == "str"):
                continue
            with monkeypatch.context() as patch:
                patch.setenv(field.name.upper(), value)
                fault = stage.fails(name, event(CALLED_WITH[name]))
            assert isinstance(fault, SettingsInvalid)
            assert field.name.upper() in fault.message
    assert not stage.world.vendor.asked


@pytest.mark.parametrize("address", ["http://vendor.example/api/v1", "HTTP://vendor.example/api/v1"])
def test_the_key_is_not_sent_over_plain_http(stage: Functions, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("GENVIRAL_BASE_URL", address)
    version_of_the_event(stage.world)
    for name, paid in (("submit", Paid.NO), ("status", Paid.YES), ("deliver", Paid.YES)):
        fault = stage.fails(name, event(CALLED_WITH[name]))
        assert isinstance(fault, SettingsInvalid)
        assert "GenviralBaseUrl" in fault.message
        assert fault.paid is paid
    answer = stage.call("api", event("api_list_models"))
    assert json.loads(answer["body"])["error_code"] == "settings_invalid"
    assert not stage.world.vendor.asked
    monkeypatch.setenv("ALLOW_PRIVATE_OUTPUT", "true")
    assert stage.call("submit", event("submit"))["video_id"]


def test_a_missing_setting_of_the_api_is_answered(stage: Functions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_TABLE")
    answer = stage.call("api", post(BODY))
    assert (answer["statusCode"], json.loads(answer["body"])["error_code"]) == (500, "settings_invalid")


def test_nothing_of_one_call_stays_in_the_log_of_the_next(stage: Functions) -> None:
    stage.world.paid_job()
    stage.world.vendor = Vendor(get=[showing("processing")])
    stage.call("status", event("status"))
    assert stage.log[-1]["job_id"] == JOB_ID
    monkey = event("uploads_object_created")
    monkey["detail"]["object"] |= {"key": "uploads/folder/", "size": 0}
    stage.call("uploads", monkey)
    assert "job_id" not in stage.log[-1]
