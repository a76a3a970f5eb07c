"""Test a batch from its file to its report: the plan, admission, submission of rows, and notifications."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import io
import itertools
import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jsonschema
import pytest
from botocore.exceptions import ClientError

from shared.faults import Fault
from shared.genviral.client import Model
from shared.genviral.errors import GenviralUnavailable
from shared.jobs import identity
from shared.jobs.errors import BatchUnreadable, JobConflict, UploadUnreadable
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.steps.batch_admit import admit_row
from shared.steps.batch_plan import Planner
from shared.steps.batch_report import Reporter, report_key
from tests.support.fakes import BODY, PROMPT, TABLE, TOPIC, UPLOADS, VIDEO_ID, VIDEOS, World, arn_of, caught, failed

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "notification.schema.json").read_text())
BATCH = "s3-9d1b2c7e40a85f6310e2d4b7c9a8f60513e7b2d4"
EXECUTION = arn_of(BATCH)
KEY = "batches/spring.jsonl"
A, B = BODY, {**BODY, "prompt": f"{PROMPT}, again", "model_id": "made-up/model", "metadata": {"sku": "B"}}
WRONG = {"prompt": PROMPT}
MODELS = [Model("bytedance/seedance-2.0", "Seedance", default_cost=5), Model("free/model", "Free")]


def planner(world: World) -> Planner:
    return Planner(s3=world.s3, concurrency=20, known=world.store.batch_get)


def plan(world: World, *rows: Any, key: str = KEY) -> dict[str, Any]:
    version = world.upload(key, "\n".join(json.dumps(row) for row in rows).encode())
    source = {"type": "batch", "bucket": UPLOADS, "key": key, "version_id": version}
    return planner(world).plan(source)


def jobs_of(world: World, planned: dict[str, Any]) -> list[dict[str, Any]]:
    body = world.s3.get_object(Bucket=UPLOADS, Key=planned["jobs"])["Body"].read()
    jobs: list[dict[str, Any]] = json.loads(body)
    return jobs


def given(job: dict[str, Any]) -> dict[str, Any]:
    """Return the input of a row's execution, as the state machine makes it."""
    return {"job_id": job["job_id"], "source": job["source"]}


def reporter(world: World, models: Callable[[], list[Model]] = lambda: MODELS) -> Reporter:
    return Reporter(store=world.store, s3=world.s3, sns=world.sns, topic_arn=TOPIC, bucket=VIDEOS, models=models)


def report(world: World, facts: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the report as JSON, and the rows of the CSV report."""
    key = facts["report"]["key"]
    text = world.s3.get_object(Bucket=VIDEOS, Key=key)["Body"].read()
    table = world.s3.get_object(Bucket=VIDEOS, Key=key.replace(".json", ".csv"))["Body"].read().decode()
    assert PROMPT not in text.decode() + table
    return json.loads(text), list(csv.DictReader(io.StringIO(table)))


def notification(world: World) -> dict[str, Any]:
    """Return the one message about the batch."""
    (message,) = [message for message in world.messages() if message.attributes["status"].startswith("batch_")]
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(message.body)
    assert "reported_in" not in message.attributes, "people want this one"
    assert PROMPT not in json.dumps(vars(message))
    return {**message.body, "email": message.email, "subject": message.subject}


# ---- plan -------------------------------------------------------------------------------------------------


def test_a_plan_carries_references_only_and_is_the_same_for_the_same_file(world: World) -> None:
    planned = plan(world, A, WRONG, B)
    assert (planned["rows"], planned["started"], planned["concurrency"]) == (3, 2, 20)
    assert PROMPT not in json.dumps(planned)
    again = plan(world, A, WRONG, B)
    assert {name: again[name] for name in ("jobs", "refused")} == {name: planned[name] for name in ("jobs", "refused")}
    assert plan(world, A, WRONG, B, key="batches/spring.check.jsonl")["started"] == 0


def test_the_version_of_the_event_is_planned(world: World) -> None:
    version = world.upload(KEY, json.dumps(A).encode())
    world.upload(KEY, b"{")
    source = {"type": "batch", "bucket": UPLOADS, "key": KEY, "version_id": version}
    assert planner(world).plan(source)["started"] == 1


def test_a_batch_that_is_gone_is_named_and_a_fault_of_aws_is_not(world: World) -> None:
    with pytest.raises(UploadUnreadable):
        Planner(s3=world.s3, concurrency=1, known=world.store.batch_get).plan(
            {"bucket": UPLOADS, "key": "batches/none.csv"}
        )

    class Broken:
        def get_object(self, **_: Any) -> None:
            raise failed("GetObject", "SlowDown")

    with pytest.raises(ClientError):
        Planner(s3=Broken(), concurrency=1, known=world.store.batch_get).plan({"bucket": UPLOADS, "key": KEY})  # type: ignore[arg-type]  # a double of the client


def _csv(text: str) -> tuple[str, bytes]:
    return "csv", text.encode()


MODEL = "bytedance/seedance-2.0"
MISREAD = {
    "a blank before a quote": _csv(f'model_id, prompt, negative_prompt\n{MODEL}, "A red boat, on a lake"\n'),
    "a comma in a link's query": _csv(f'model_id,reference_image_urls\n{MODEL},"https://example.com/a.jpg?w=8,9"\n'),
    "a spreadsheet's error": _csv(f"model_id,prompt,params.duration_seconds\n{MODEL},#N/A,1\n"),
    "a key twice": ("jsonl", f'{{"model_id": "{MODEL}", "prompt": "first", "prompt": "second"}}\n'.encode()),
}


@pytest.mark.parametrize("kind", MISREAD)
def test_ambiguous_rows_are_refused_by_the_check_and_the_run(world: World, kind: str) -> None:
    suffix, data = MISREAD[kind]
    refused = []
    for key in (f"batches/a.check.{suffix}", f"batches/a.{suffix}"):
        version = world.upload(key, data)
        planned = planner(world).plan({"type": "batch", "bucket": UPLOADS, "key": key, "version_id": version})
        assert (planned["rows"], planned["started"], jobs_of(world, planned)) == (1, 0, [])
        refused.append(planned["refused"])
    assert refused[0] == refused[1]


@pytest.mark.parametrize("name", ["a.CHECK.jsonl", "a.check (1).jsonl", "a.check.jsonl.jsonl"])
def test_a_check_in_another_spelling_starts_nothing_and_knows_the_batch(world: World, name: str) -> None:
    (job,) = jobs_of(world, plan(world, A, key="batches/a.jsonl"))
    world.submitter().submit(arn_of(job["job_id"]), given(job))
    planned = plan(world, A, key=f"batches/{name}")
    assert planned["started"] == 0
    facts = reporter(world).report(EXECUTION, planned)
    assert (facts["counts"], notification(world)["status"]) == ({"known": 1}, "batch_checked")
    assert len(world.vendor.posts) == 1


@pytest.mark.parametrize(
    "older", [{**A, "prompt": f"{PROMPT}\r\nx"}, {**A, "prompt": f" {PROMPT}\nx", "negative_prompt": ""}]
)
def test_a_batch_row_paid_under_the_older_rule_is_not_paid_again(world: World, older: Any) -> None:
    job_id = identity.for_row(UPLOADS, "spring", identity.fingerprint(older), 0)
    world.store.create(job_id, source={"type": "batch"})
    planned = plan(world, older, {**A, "prompt": f"{PROMPT}\nx"})
    first, second = jobs_of(world, planned)
    admit = functools.partial(
        admit_row, store=world.store, switch=IntakeSwitch(world.dynamodb, TABLE), wait_seconds=900
    )
    assert (first["job_id"], admit(first["job_id"])["next"]) == (job_id, "known")
    assert admit(second["job_id"])["next"] == "start", "an equal row more is a video more"
    assert plan(world, older, {**A, "prompt": f"{PROMPT}\nx"})["jobs"] == planned["jobs"]


@pytest.mark.parametrize("first", ["the earlier upload", "this upload"])
@pytest.mark.parametrize("spelling", [f"{PROMPT}\r\nx", f" {PROMPT}\n", f"{PROMPT} e\u0301"])
def test_a_row_of_a_batch_under_way_during_an_update_is_paid_once(world: World, spelling: str, first: str) -> None:
    """The earlier release planned it under an id of the older rule. The same file is uploaded again meanwhile."""
    older = {**A, "prompt": spelling}
    body = json.dumps(older).encode()
    version = world.upload("plans/older.jsonl", body)
    assert version
    job_id = identity.for_row(UPLOADS, "spring", identity.fingerprint(older), 0)
    place = {"bucket": UPLOADS, "key": KEY, "line": 1, "plan": "plans/older.jsonl", "offset": 0, "length": len(body)}
    earlier = {"job_id": job_id, "source": {"type": "batch", **place}}
    (later,) = jobs_of(world, plan(world, older))
    assert later["job_id"] != job_id
    both = [earlier, given(later)] if first == "the earlier upload" else [given(later), earlier]
    world.submitter().submit(arn_of(both[0]["job_id"]), both[0])
    with pytest.raises(JobConflict, match=both[0]["job_id"]):
        world.submitter().submit(arn_of(both[1]["job_id"]), both[1])
    assert len(world.vendor.posts) == 1


def test_like_rows_in_several_spellings_are_paid_once_in_an_update(world: World) -> None:
    rows = [{**A, "prompt": f" {PROMPT}"}, A, {**A, "prompt": f"{PROMPT} "}, A]
    body = b"\n".join(json.dumps(row).encode() for row in rows)
    world.upload("plans/older.jsonl", body)
    earlier: list[dict[str, Any]] = []
    seen = Counter[str]()
    for row in rows:
        text, meaning = json.dumps(row).encode(), identity.fingerprint(row)
        place = {"line": 1, "plan": "plans/older.jsonl", "offset": body.index(text), "length": len(text)}
        job_id = identity.for_row(UPLOADS, "spring", meaning, seen[meaning])
        seen[meaning] += 1
        earlier.append({"job_id": job_id, "source": {"type": "batch", "bucket": UPLOADS, "key": KEY, **place}})
    later = [given(job) for job in jobs_of(world, plan(world, *rows))]
    for job in (later[0], earlier[0], earlier[1], later[1], later[2], earlier[3], earlier[2], later[3]):
        with contextlib.suppress(JobConflict):
            world.submitter().submit(arn_of(job["job_id"]), job)
    assert len(world.vendor.posts) == len(rows)


def test_a_row_is_not_kept_back_by_one_that_ended_without_payment(world: World) -> None:
    older = {**A, "prompt": f" {PROMPT}"}
    (later,) = jobs_of(world, plan(world, older))
    (other,) = later["source"]["other_ids"]
    world.store.create(other, source={"type": "batch"})
    world.store.transition(other, Status.CANCELED)
    world.submitter().submit(arn_of(later["job_id"]), given(later))
    assert len(world.vendor.posts) == 1


def test_a_compressed_object_is_named(world: World) -> None:
    world.upload(KEY, gzip.compress(json.dumps(A).encode()), ContentEncoding="gzip")
    with pytest.raises(BatchUnreadable, match=r"compressed \(gzip\)"):
        planner(world).plan({"bucket": UPLOADS, "key": KEY})
    world.upload(KEY, b"\x8b\x03\x80\xff", ContentEncoding="br")
    with pytest.raises(BatchUnreadable, match="as its Content-Encoding says"):
        planner(world).plan({"bucket": UPLOADS, "key": KEY})


# ---- gate -------------------------------------------------------------------------------------------------


def test_the_gate_is_closed_while_intake_is_stopped_and_for_known_jobs(world: World) -> None:
    switch = IntakeSwitch(world.dynamodb, TABLE)
    admit = functools.partial(admit_row, store=world.store, switch=switch, wait_seconds=900)
    assert admit("row-1") == {"next": "start", "wait_seconds": 900}
    switch.stop()
    assert admit("row-1")["next"] == "wait"
    world.store.create("row-1", source={"type": "batch"})
    assert admit("row-1")["next"] == "known"


# ---- submit -----------------------------------------------------------------------------------------------


def test_a_row_is_submitted_as_it_was_written_and_paid_once(world: World) -> None:
    first, second = jobs_of(world, plan(world, A, B))
    for job in (first, second, second):
        world.submitter().submit(arn_of(job["job_id"]), given(job))
    assert [json.loads(post.content) for post in world.vendor.posts] == [
        A,
        {name: value for name, value in B.items() if name != "metadata"},
    ]
    record = world.record(second["job_id"])
    assert (record.source, record.metadata, record.video_id) == (second["source"], {"sku": "B"}, VIDEO_ID)
    assert "X-Amz-Signature" not in (record.request or "")


BY_HAND: dict[str, tuple[Callable[[Any, Any], Any], str, str | None]] = {
    "its own input": (lambda own, _: own, "processing", None),
    "nothing": (lambda *_: {}, "failed", "invalid_json"),
    "another row's input": (lambda _, other: other, "failed", "job_conflict"),
    "a request": (lambda *_: {"request": BODY}, "processing", None),
    "another row's input under its id": (
        lambda own, other: other | {"job_id": own["job_id"]},
        "failed",
        "job_conflict",
    ),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_what_is_started_by_hand_under_a_rows_name_counts_as_that_row(world: World, kind: str) -> None:
    made, status, error = BY_HAND[kind]
    planned = plan(world, A, B)
    own, other = map(given, jobs_of(world, planned))
    arn = arn_of(own["job_id"])
    try:
        world.submitter().submit(arn, made(own, other))
    except Fault as fault:
        world.notifier().failed(arn, caught(fault))
    admit = functools.partial(
        admit_row, store=world.store, switch=IntakeSwitch(world.dynamodb, TABLE), wait_seconds=900
    )
    assert (admit(own["job_id"])["next"], admit(other["job_id"])["next"]) == ("known", "start")
    row = world.record(own["job_id"])
    assert (row.status, (row.error or {}).get("code"), len(world.vendor.posts)) == (status, error, int(error is None))
    changed = jobs_of(world, plan(world, {**A, "metadata": {"again": 1}}, B))[0]
    assert admit(changed["job_id"])["next"] == "start"


def test_a_row_recorded_first_by_its_interruption_is_submitted(world: World) -> None:
    (job,) = jobs_of(world, plan(world, A))
    execution = arn_of(job["job_id"])
    world.notifier().interrupted(execution, ended="FAILED", error="Lambda.Unknown", cause="", moment="1")
    assert world.record(job["job_id"]).source == {"type": "execution"}
    world.submitter().submit(execution, given(job))
    assert world.record(job["job_id"]).source == job["source"]
    assert len(world.vendor.posts) == 1


def test_a_row_whose_plan_is_gone_or_elsewhere_is_refused_unpaid(world: World) -> None:
    (job,) = jobs_of(world, plan(world, A))
    for name, plan_key, fault in (
        ("row-1", "plans/none.jsonl", "UploadUnreadable"),
        ("row-2", KEY, "RequestUnreadable"),
    ):
        source = {**job["source"], "plan": plan_key}
        with pytest.raises(Exception, match=fault):
            world.submitter().submit(arn_of(name), {"job_id": name, "source": source})
    assert not world.vendor.posts


# ---- report -----------------------------------------------------------------------------------------------


def test_every_row_is_accounted_for(world: World) -> None:
    planned = plan(world, A, WRONG, B, {**A, "prompt": "third"}, {**A, "prompt": "fourth"})
    done, refused_later, open_still, _ = jobs_of(world, planned)
    for job in (done, open_still):
        world.submitter().submit(arn_of(job["job_id"]), given(job))
    world.store.transition(done["job_id"], Status.DELIVERING, output={"bucket": VIDEOS, "key": "videos/a.mp4"})
    world.notifier().succeeded(arn_of(done["job_id"]))
    world.store.create(refused_later["job_id"], source=refused_later["source"])
    world.notifier().failed(arn_of(refused_later["job_id"]), caught(BatchUnreadable("made up")))
    facts = reporter(world).report(EXECUTION, planned)
    document, table = report(world, facts)
    statuses = ["succeeded", "refused", "failed", "processing", "not_started"]
    assert [row["status"] for row in document["items"]] == [row["status"] for row in table] == statuses
    assert [row["line"] for row in document["items"]] == [1, 2, 3, 4, 5]
    assert document["counts"] == dict.fromkeys(statuses, 1)
    assert (document["rows"], document["credits_used"]) == (5, 10)
    assert not {"credits_new", "rows_paid_before"} & set(document), "an execution of an older version"
    assert table[0]["video"] == f"s3://{VIDEOS}/videos/a.mp4"
    assert table[1]["error"] == "invalid_payload: model_id is required"
    message = notification(world)
    assert (message["status"], message["paid"]) == ("batch_finished", "yes")
    assert message["batch"] == {
        "batch_id": BATCH,
        **{name: document[name] for name in ("rows", "counts", "credits_used", "advice")},
    } | {"report": {"bucket": VIDEOS, "key": f"batches/spring/{BATCH}.json"}}
    assert message["subject"] == "The batch is done; its report says how each row ended: spring.jsonl"
    assert "Rows:    5: 1 succeeded, 1 refused" in message["email"]
    assert "Credits: 10\n" in message["email"]
    assert f"Report:  s3://{VIDEOS}/batches/spring/{BATCH}.json" in message["email"]
    assert "What to do: The rows that are not_started have no job" in message["email"]


def test_rows_not_started_are_named_and_a_repeat_pays_only_them(world: World) -> None:
    planned = plan(world, A, B)
    first, second = jobs_of(world, planned)
    world.submitter().submit(arn_of(first["job_id"]), given(first))
    facts = reporter(world).report(EXECUTION, planned)
    document, table = report(world, facts)
    assert [row["status"] for row in table] == ["processing", "not_started"]
    assert "Upload the same file again" in document["advice"]
    assert notification(world)["batch"]["advice"] == document["advice"]
    # The same file again: one row is admitted, and the other is known.
    admit = functools.partial(
        admit_row, store=world.store, switch=IntakeSwitch(world.dynamodb, TABLE), wait_seconds=900
    )
    assert [admit(job["job_id"])["next"] for job in jobs_of(world, plan(world, A, B))] == ["known", "start"]
    world.submitter().submit(arn_of(second["job_id"]), given(second))
    assert "advice" not in reporter(world).report(EXECUTION, planned)
    assert len(world.vendor.posts) == 2


def test_a_repeated_batch_separates_new_rows_from_those_paid_before(world: World) -> None:
    new = {**A, "prompt": "new"}
    planned = plan(world, A, B, new)
    old, canceled, added = jobs_of(world, planned)
    for job in (old, added):
        world.submitter().submit(arn_of(job["job_id"]), given(job))
    world.store.update(old["job_id"], submitted_at=1_800_000_000)
    world.store.create(canceled["job_id"], source=canceled["source"])
    world.store.transition(canceled["job_id"], Status.CANCELED)
    # The vendor's clock and ours count in whole seconds.
    world.store.update(added["job_id"], submitted_at=1_800_000_600)
    facts = reporter(world).report(EXECUTION, planned, "2027-01-15T08:10:00.999Z")
    document, table = report(world, facts)
    assert [row.get("paid_before", False) for row in document["items"]] == [True, False, False]
    assert [row["paid_before"] for row in table] == ["yes", "", ""]
    message = notification(world)
    for summary in (document, message["batch"]):
        assert (summary["credits_used"], summary["credits_new"], summary["rows_paid_before"]) == (10, 5, 1)
    assert "Credits: 5 new, 10 in all\n" in message["email"]


def test_a_first_upload_is_all_new(world: World) -> None:
    planned = plan(world, A)
    (job,) = jobs_of(world, planned)
    world.submitter().submit(arn_of(job["job_id"]), given(job))
    reporter(world).report(EXECUTION, planned, "2020-01-01T00:00:00Z")
    message = notification(world)
    assert (message["batch"]["credits_new"], message["batch"]["rows_paid_before"]) == (5, 0)
    assert "Credits: 5\n" in message["email"]


def test_the_rows_own_endings_are_marked_and_what_needs_a_person_is_not(world: World) -> None:
    first, second = jobs_of(world, plan(world, A, B))
    for job in (first, second):
        world.store.create(job["job_id"], source=job["source"])
    world.notifier().failed(arn_of(first["job_id"]), caught(BatchUnreadable("made up")))
    world.notifier().on_hold(arn_of(second["job_id"]), caught(GenviralUnavailable("made up")))
    ended, held = world.messages()
    assert (ended.attributes["status"], ended.attributes["reported_in"]) == ("failed", "batch")
    assert held.attributes["status"] == "on_hold"
    assert "reported_in" not in held.attributes
    assert ended.body["source"] == {"type": "batch", "bucket": UPLOADS, "key": KEY, "line": 1}
    assert ended.subject == "The video could not be made: spring.jsonl, line 1"
    jsonschema.Draft202012Validator(SCHEMA).validate(ended.body)


def test_a_check_prices_what_is_new_and_pays_nothing(world: World) -> None:
    (known,) = jobs_of(world, plan(world, A))
    world.submitter().submit(arn_of(known["job_id"]), given(known))
    rows = (A, {**A, "prompt": "new"}, {**A, "prompt": "free", "model_id": "free/model"}, B, WRONG)
    facts = reporter(world).report(EXECUTION, plan(world, *rows, key="batches/spring.check.jsonl"))
    document, table = report(world, facts)
    assert [row["status"] for row in table] == ["known", "valid", "valid", "refused", "refused"]
    assert [row["credits"] for row in table] == ["0", "5", "", "", ""]
    assert document["items"][3]["error"]["issues"][0]["path"] == "model_id"
    assert (document["credits_estimated"], document["rows_without_price"]) == (5, 1)
    message = notification(world)
    assert (message["status"], message["paid"]) == ("batch_checked", "no")
    assert "Credits: about 5\n" in message["email"]
    assert len(world.vendor.posts) == 1


def test_a_check_does_without_prices_where_the_vendor_gives_none(world: World) -> None:
    def models() -> list[Model]:
        raise GenviralUnavailable("Genviral does not answer")

    facts = reporter(world, models).report(EXECUTION, plan(world, A, WRONG, key="batches/a.check.jsonl"))
    assert "credits_estimated" not in facts
    document, _ = report(world, facts)
    assert document["counts"] == {"valid": 1, "refused": 1}
    assert notification(world)["error"]["error"] == "GenviralUnavailable"


def test_a_report_that_is_written_again_is_the_same_message_again(world: World) -> None:
    planned = plan(world, A)
    for _ in range(2):
        reporter(world).report(EXECUTION, planned)
    first, second = world.messages()
    assert first.body["notification_id"] == second.body["notification_id"] == f"{BATCH}/batch_finished"


def test_a_rejected_or_interrupted_batch_is_notified_with_what_to_do(world: World) -> None:
    source = {"type": "batch", "bucket": UPLOADS, "key": KEY}
    fault = BatchUnreadable("the column 'x' is no column", issues=({"path": "x", "message": "is no column"},))
    answer = reporter(world).rejected(EXECUTION, source, caught(fault))
    assert (answer["error"]["Error"], json.loads(answer["error"]["Cause"])["message"]) == (
        "BatchUnreadable",
        fault.message,
    )
    message = notification(world)
    assert (message["status"], message["paid"], message["error"]["issues"]) == (
        "batch_rejected",
        "no",
        list(fault.issues),
    )
    for moment in ("1", "2"):
        reporter(world).interrupted(EXECUTION, source, ended="ABORTED", error="", cause="", moment=moment)
    _, first, second = world.messages()
    assert first.body["status"] == "batch_interrupted"
    assert "upload the same file again" in first.body["error"]["advice"]
    assert first.body["notification_id"] != second.body["notification_id"]


FORMULAS = [
    "=1+1",
    ";=cmd|' /C calc'!A0;",
    "x\t=1+1",
    '=HYPERLINK("http://x")',
    ",=1",
    ", +1",
    '",=1"',
    "a,'-1",
    "\r\n=1",
]
FORMULAS += ["@SUM(1)", "-1", ";;=1", "\uff1d1+1", "x\u2028=1", '";=1;"', "|=1"]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_of_a_reports_table_is_a_formula_whatever_parts_the_cells(world: World, name: str) -> None:
    facts = reporter(world).report(EXECUTION, plan(world, {**A, name: 1}, {**A, f"x {name}": 1, name: 2}))
    key = facts["report"]["key"].replace(".json", ".csv")
    text = world.s3.get_object(Bucket=VIDEOS, Key=key)["Body"].read().decode()
    assert len(text.splitlines()) == 3
    quotings: tuple[Literal[0, 3], ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)
    for between, quoting in itertools.product(",;\t|", quotings):
        for row in csv.reader(io.StringIO(text), delimiter=between, quoting=quoting):
            begins = {unicodedata.normalize("NFKC", cell).lstrip()[:1] for cell in row}
            assert not begins & set("=+-@"), row


def test_a_reports_key_fits_whatever_the_batch_is_called() -> None:
    key = report_key(f"batches/{'ü' * 500}.csv", BATCH)
    assert len(key.encode()) <= 1024
    assert key.endswith(f"/{BATCH}.json")


# ---- many jobs at once ------------------------------------------------------------------------------------


def test_many_jobs_are_read_whatever_dynamodb_leaves_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"row-{number}" for number in range(250)]
    for name in names[:230]:
        world.store.create(name, source={"type": "batch"})
    monkeypatch.setattr("time.sleep", lambda _: None)

    class Busy:
        """A client that answers at most thirty keys a call, and sometimes none."""

        def __init__(self) -> None:
            self.calls = 0

        def batch_get_item(self, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - boto3's name
            self.calls += 1
            request = RequestItems[TABLE]
            assert len(request["Keys"]) <= 100
            served = request["Keys"][:30] if self.calls % 3 else []
            left = request["Keys"][len(served) :]
            answer: Any = {"Responses": {TABLE: []}}
            if served:
                answer = world.dynamodb.batch_get_item(RequestItems={TABLE: {**request, "Keys": served}})
            return {**answer, "UnprocessedKeys": {TABLE: {**request, "Keys": left}} if left else {}}

    found = JobStore(Busy(), TABLE).batch_get(names)  # type: ignore[arg-type]  # a double of the client
    assert sorted(found) == sorted(names[:230])
    assert {job.status for job in found.values()} == {Status.QUEUED}
