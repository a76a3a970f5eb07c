"""Test batches on the running cloud: each row is paid for once, and one report and one notification follow."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.laptop import until
from tests.support.readers import Reader, notification_ids
from tests.support.template import RESOURCES

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def row(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model_id": "bytedance/seedance-2.0", "prompt": prompt, "params": {"duration_seconds": 1}, **more}


class Batch:
    """A file under `batches/` that is uploaded repeatedly."""

    def __init__(self, world: RunningCloud) -> None:
        self.world = world
        self.key = f"batches/{uuid.uuid4().hex}.jsonl"
        self._seen: set[str] = set()

    def upload(self, *rows: Any, key: str | None = None) -> dict[str, Any]:
        """Upload the rows, and wait for the notification about the batch."""
        key = key or self.key
        self.world.upload(key, "\n".join(json.dumps(one) for one in rows).encode())
        return self.next_notification(key)

    def next_notification(self, key: str | None = None) -> dict[str, Any]:
        wanted = key or self.key
        notification = self.world.await_notification(
            lambda notification: (
                notification["status"].startswith("batch_")
                and notification["source"]["key"] == wanted
                and notification["notification_id"] not in self._seen
            )
        )
        self._seen.add(notification["notification_id"])
        return notification

    def items(self, notification: dict[str, Any]) -> list[dict[str, Any]]:
        report = notification["batch"]["report"]
        body = self.world.s3.get_object(Bucket=report["bucket"], Key=report["key"])["Body"].read()
        items: list[dict[str, Any]] = json.loads(body)["items"]
        return items

    def paid(self, items: list[dict[str, Any]]) -> list[int]:
        return [self.world.paid(item["job_id"]) for item in items if "job_id" in item]


def test_rows_are_paid_once_however_often_and_in_whatever_order_they_come(world: RunningCloud) -> None:
    batch = Batch(world)
    rows = [row("A paper boat", metadata={"sku": "1"}), row("A paper boat"), row("A paper boat")]
    notification = batch.upload(*rows, {"prompt": "no model"})
    assert (notification["status"], notification["paid"]) == ("batch_finished", "yes")
    assert notification["batch"]["counts"] == {"succeeded": 3, "refused": 1}
    first = batch.items(notification)
    assert [item["status"] for item in first] == ["succeeded"] * 3 + ["refused"]
    assert first[3]["error"]["issues"] == [{"path": "model_id", "message": "is required"}]
    assert batch.paid(first) == [1, 1, 1], "identical rows are videos of their own"
    for item in first[:3]:
        world.s3.head_object(Bucket=item["video"]["bucket"], Key=item["video"]["key"])
    # The second upload reports the same videos.
    repeated = batch.upload(*rows, {"prompt": "no model"})
    assert (repeated["batch"]["credits_new"], repeated["batch"]["rows_paid_before"]) == (0, 3)
    assert (
        repeated["batch"]["credits_used"]
        == notification["batch"]["credits_used"]
        == notification["batch"]["credits_new"]
        > 0
    )
    again = batch.items(repeated)
    assert again == [item | ({"paid_before": True} if "video" in item else {}) for item in first]
    assert batch.paid(again) == [1, 1, 1]
    # One more row at the top costs one more payment.
    more = batch.items(batch.upload(row("A paper plane"), *rows))
    assert [item["job_id"] for item in more[1:]] == [item["job_id"] for item in first[:3]]
    assert batch.paid(more) == [1, 1, 1, 1]
    # Each row's end was notified, marked as one that the report repeats.
    own = world.notification_of_job(more[0]["job_id"], "succeeded")
    assert own["source"] == {"type": "batch", "bucket": world.at.uploads_bucket, "key": batch.key, "line": 1}


def test_a_row_whose_generation_fails_is_a_line_in_the_report(world: RunningCloud) -> None:
    batch = Batch(world)
    world.control_vendor("faults", route="generate", kind="not_found")
    items = batch.items(batch.upload(row("one"), row("two"), row("three")))
    assert sorted(item["status"] for item in items) == ["failed", "succeeded", "succeeded"]
    (failed,) = [item for item in items if item["status"] == "failed"]
    assert failed["error"]["error"] == "RequestRejected"
    assert "credits" not in failed


def test_a_check_pays_nothing(world: RunningCloud) -> None:
    batch = Batch(world)
    before = len(world.vendor()["submissions"])
    key = batch.key.replace(".jsonl", ".check.jsonl")
    notification = batch.upload(row("one"), row("two", model_id="made-up/model"), {}, key=key)
    assert (notification["status"], notification["paid"]) == ("batch_checked", "no")
    assert notification["batch"]["counts"] == {"refused": 2, "valid": 1}
    assert notification["batch"]["credits_estimated"] > 0
    assert len(world.vendor()["submissions"]) == before


MODEL = "bytedance/seedance-2.0"


@pytest.mark.parametrize("behind", [".CHECK.CSV", ".Check.csv", ".check (1).csv", ".check.csv.csv", ".check v2.csv"])
def test_a_check_in_another_spelling_pays_nothing(world: RunningCloud, behind: str) -> None:
    batch = Batch(world)
    before = len(world.vendor()["submissions"])
    key = batch.key.replace(".jsonl", behind)
    world.upload(key, f"model_id,prompt,params.duration_seconds\n{MODEL},A boat,1\n".encode())
    notification = batch.next_notification(key)
    assert notification["status"] == ("batch_rejected" if "v2" in behind else "batch_checked")
    assert notification["paid"] == "no"
    assert len(world.vendor()["submissions"]) == before


def test_a_row_is_paid_once_in_whatever_spelling_and_form_it_comes(world: RunningCloud) -> None:
    batch = Batch(world)
    key = batch.key.replace(".jsonl", ".csv")
    header = "model_id,prompt,params.duration_seconds"
    jobs = set()
    for text in (f'{header}\r\n{MODEL},"Shot one\r\nShot two",1\r\n', f'{header}\n{MODEL},"Shot one\nShot two",1\n'):
        world.upload(key, text.encode())
        jobs.add(batch.items(batch.next_notification(key))[0]["job_id"])
    for more in ({}, {"negative_prompt": None, "metadata": None}, {"negative_prompt": ""}):
        jobs.add(batch.items(batch.upload(row("Shot one\nShot two", **more)))[0]["job_id"])
    (job_id,) = jobs
    assert world.paid(job_id) == 1


MISREAD = {
    "a blank before a quote": f'model_id, prompt, negative_prompt\n{MODEL}, "A red boat, on a lake"\n',
    "a comma in a link": f'model_id,reference_image_urls\n{MODEL},"http://127.0.0.1:8000/a.jpg?w=8,9"\n',
    "a spreadsheet's error": f"model_id,prompt,params.duration_seconds\n{MODEL},#N/A,1\n",
}


@pytest.mark.parametrize("kind", MISREAD)
def test_ambiguous_rows_are_refused_by_check_and_run_and_not_paid(world: RunningCloud, kind: str) -> None:
    batch = Batch(world)
    before = len(world.vendor()["submissions"])
    for suffix in (".check.csv", ".csv"):
        key = batch.key.replace(".jsonl", suffix)
        world.upload(key, MISREAD[kind].encode())
        (item,) = batch.items(batch.next_notification(key))
        assert item["status"] == "refused"
        assert item["error"]["issues"]
    assert len(world.vendor()["submissions"]) == before


def test_two_links_in_one_cell_are_sent_as_two(world: RunningCloud) -> None:
    batch = Batch(world)
    key = batch.key.replace(".jsonl", ".csv")
    links = []
    for name in ("front", "back"):
        world.upload(f"assets/{name}.jpg", (ROOT / "samples" / "product.jpg").read_bytes())
        where = {"Bucket": world.at.uploads_bucket, "Key": f"assets/{name}.jpg"}
        links.append(world.s3.generate_presigned_url("get_object", Params=where))
    header = "model_id;reference_image_urls;params.duration_seconds"
    world.upload(key, f'{header}\r\n{MODEL};"{links[0]},{links[1]}";1\r\n'.encode())
    (item,) = batch.items(batch.next_notification(key))
    assert (item["status"], world.paid(item["job_id"])) == ("succeeded", 1)
    record = world.table.get_item(TableName=world.at.jobs_table, Key={"job_id": {"S": item["job_id"]}})["Item"]
    sent = json.loads(record["request"]["S"])["reference_image_urls"]
    assert [link.partition("?")[0] for link in sent] == [link.partition("?")[0] for link in links]


def test_an_unreadable_batch_is_notified(world: RunningCloud) -> None:
    batch = Batch(world)
    key = batch.key.replace(".jsonl", ".csv")
    world.upload(key, b"model_id,promt\na,b\n")
    notification = batch.next_notification(key)
    assert (notification["status"], notification["error"]["code"]) == ("batch_rejected", "batch_unreadable")
    assert [issue["path"] for issue in notification["error"]["issues"]] == ["promt"]


def test_no_row_starts_while_intake_is_stopped(world: RunningCloud) -> None:
    batch = Batch(world)
    switch: dict[str, Any] = {"TableName": world.at.jobs_table}
    before = len(world.vendor()["submissions"])
    world.table.put_item(**switch, Item={"job_id": {"S": "#intake"}})
    try:
        world.upload(batch.key, json.dumps(row("later")).encode())
        # Time for the plan, and for several admission requests of the row.
        time.sleep(4)
        assert len(world.vendor()["submissions"]) == before
        assert not [
            notification for notification in world.all_notifications() if notification["source"].get("key") == batch.key
        ]
    finally:
        world.table.delete_item(**switch, Key={"job_id": {"S": "#intake"}})
    items = batch.items(batch.next_notification())
    assert ([item["status"] for item in items], batch.paid(items)) == (["succeeded"], [1])


def test_a_row_that_has_started_goes_on_when_its_batch_is_stopped(world: RunningCloud) -> None:
    batch = Batch(world)
    before = len(world.vendor()["submissions"])
    world.control_vendor("settings", generation_seconds=4)
    try:
        world.upload(batch.key, json.dumps(row("A boat that goes on")).encode())
        submitted = until(lambda: world.vendor()["submissions"][before:] or None)
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
    (machine,) = [
        one["stateMachineArn"] for one in world.sfn.list_state_machines()["stateMachines"] if "BatchJob" in one["name"]
    ]
    (execution,) = world.sfn.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
    world.sfn.stop_execution(executionArn=execution["executionArn"])
    assert batch.next_notification()["status"] == "batch_interrupted"
    (job_id,) = {one["idempotency_key"] for one in submitted}
    assert world.notification_of_job(job_id)["status"] == "succeeded"
    assert world.paid(job_id) == 1


def test_the_stacks_own_address_hears_of_the_batch_and_not_of_each_row(world: RunningCloud) -> None:
    subscription = RESOURCES["EmailSubscription"]["Properties"]
    queue = f"mail-{uuid.uuid4().hex}"
    world.subscribe(queue, FilterPolicy=json.dumps(subscription["FilterPolicy"]))
    batch = Batch(world)
    notification = batch.upload(row("one"), row("two"))
    ids = notification_ids(world, queue, until_there={notification["notification_id"]})
    assert not ids & {f"{item['job_id']}/succeeded" for item in batch.items(notification)}


def test_the_page_about_batches(world: RunningCloud, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    Reader(world, tmp_path).follow("batches.md", "sh")
    batch = Batch(world)
    checked = batch.next_notification("batches/boats.check.csv")
    assert checked["status"] == "batch_checked"
    assert checked["batch"]["rows"] == 3
    for key, rows in (("batches/boats.csv", 3), ("batches/boats.jsonl", 2)):
        notification = batch.next_notification(key)
        assert notification["batch"]["counts"] == {"succeeded": rows}
        report = notification["batch"]["report"]
        table = world.s3.get_object(Bucket=report["bucket"], Key=report["key"].replace(".json", ".csv"))["Body"].read()
        assert [line["status"] for line in csv.DictReader(io.StringIO(table.decode()))] == ["succeeded"] * rows
