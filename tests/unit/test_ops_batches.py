"""Test what `batch` and `show` say of batches and recipes at each of their stages, and with which exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import ops.batches
import ops.wait
from ops.exits import Exit
from ops.recipes import FIELDS as RECIPE_FIELDS
from shared.executions import execution_arn
from shared.jobs import identity
from tests.support.fakes import JOB_ID, UPLOADS, VIDEOS, World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.operators import CommandLine

GOOD = {"line": 2, "job_id": JOB_ID, "status": "succeeded"}
WRONG = {
    "line": 3,
    "status": "refused",
    "error": {
        "code": "invalid_payload",
        "message": "m",
        "issues": [{"path": "params.fps", "message": "must be a number"}],
    },
}
FAILED = {"line": 4, "job_id": JOB_ID, "status": "failed", "error": {"code": "generation_failed", "message": "No."}}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ops.wait, "_SHORTEST_SECONDS", 0)
    monkeypatch.chdir(tmp_path)


class Described:
    """Step Functions, which says this of every execution of a batch."""

    def __init__(self, account: CommandLine, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> None:
        self.asked: list[str] = []
        left = list(answers)
        real = account.answer

        def answer(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
            if operation != "DescribeExecution":
                return real(operation, arguments)
            self.asked.append(arguments["executionArn"])
            return left.pop(0) if len(left) > 1 else left[0]

        monkeypatch.setattr(account, "answer", answer)
        account.answered |= {"DescribeExecution"}


def finished(world: World, *rows: dict[str, Any], **facts: Any) -> dict[str, Any]:
    report = {"bucket": VIDEOS, "key": "batches/boats/1.json"}
    world.s3.put_object(Bucket=VIDEOS, Key=report["key"], Body=json.dumps({"items": rows}).encode())
    known = {"rows": len(rows), "counts": {row["status"]: 1 for row in rows}, "report": report, **facts}
    return {"status": "SUCCEEDED", "output": json.dumps(known)}


def rejected(world: World) -> dict[str, Any]:
    cause = {"code": "batch_unreadable", "message": "No rows.", "advice": "Correct it."}
    return {"status": "FAILED", "error": "BatchUnreadable", "cause": json.dumps(cause)}


CASES: dict[str, tuple[Any, Exit, list[str]]] = {
    "running": (lambda _: {"status": "RUNNING"}, Exit.DONE, ["running", "type", "batch batches/boats.csv --wait"]),
    "finished": (
        lambda world: finished(world, GOOD, credits_new=5, credits_used=15, rows_paid_before=2),
        Exit.DONE,
        ["finished", "1: 1 succeeded", "5 credits since this upload, 15 in all; 2 rows were paid before", "1.json"],
    ),
    "with wrong rows": (
        lambda world: finished(world, GOOD, WRONG, FAILED),
        Exit.FAILED,
        ["line 3, params.fps: refused: must be a number", "line 4: failed: No."],
    ),
    "rejected": (rejected, Exit.FAILED, ["rejected", "batch_unreadable", "No rows.", "Correct it."]),
    "interrupted": (
        lambda _: {"status": "ABORTED"},
        Exit.INTERRUPTED,
        ["interrupted", "only rows without a job are started and paid"],
    ),
}


NAMES = (
    "boats",
    "boats.csv",
    "batches/boats.csv",
    f"s3://{UPLOADS}/batches/boats.csv",
    f"https://{UPLOADS}.s3.eu-central-1.amazonaws.com/batches/boats.csv",
    f"s3://{VIDEOS}/batches/boats/anything.json",
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_each_stage_of_a_batch_is_shown(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, case: str, name: str
) -> None:
    prepare, code, texts = CASES[case]
    account.world.upload("batches/boats.csv", b"an earlier one")
    version = account.world.upload("batches/boats.csv", b"rows")
    account.world.upload("batches/boats and more.csv", b"another")
    machine = Described(account, monkeypatch, prepare(account.world))
    status, out, _ = account.run("batch", name)
    assert status == code
    assert [text for text in texts if text not in out] == []
    job = identity.for_object(UPLOADS, "batches/boats.csv", version)
    assert machine.asked == [execution_arn(account.world.batch_machine, job)]
    shown = json.loads(account.run("batch", name, "--json")[1])["batch"]
    assert shown.keys() <= ops.batches.FIELDS.keys()
    assert account.run("show", name)[1] == out
    assert [account.run(command, job)[1] for command in ("show", "batch")] == [out, out]


def test_a_batch_that_is_not_there_is_not_found(account: CommandLine) -> None:
    assert account.run("batch", "boats")[0] == Exit.NOT_FOUND


def test_a_wait_lasts_until_the_report(account: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "boats.jsonl").write_text('{"model_id": "m/m", "prompt": "a boat"}')
    end = finished(account.world, GOOD, credits_new=5, credits_used=5)
    Described(account, monkeypatch, {"status": "RUNNING"}, {"status": "RUNNING"}, end)
    assert account.run("batch", "boats.jsonl", "--wait")[0] == 0
    Described(account, monkeypatch, {"status": "RUNNING"})
    assert account.run("batch", "boats.jsonl", "--wait", "--timeout", "0")[0] == Exit.STILL_RUNNING


def test_rows_that_still_run_are_not_wrong_and_are_waited_for(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that is uploaded again is reported at once: its rows run already."""
    (tmp_path / "boats.jsonl").write_text('{"model_id": "m/m", "prompt": "a boat"}')
    account.world.paid_job()
    Described(account, monkeypatch, finished(account.world, {**GOOD, "status": "processing"}))
    assert account.run("batch", "boats.jsonl", "--wait", "--timeout", "0")[0] == Exit.STILL_RUNNING
    status, out, _ = account.run("batch", "boats")
    assert (status, "1: 1 processing" in out, "wrong rows" in out) == (0, True, False)
    for ended, code, words in (("failed", Exit.FAILED, "line 2: failed"), ("succeeded", 0, "1: 1 succeeded")):
        account.world.overwrite(JOB_ID, status=ended)
        status, out, _ = account.run("batch", "boats.jsonl", "--wait")
        assert (status, words in out) == (code, True)
        assert account.run("batch", "boats")[:2] == (status, out)


def test_a_row_that_waits_for_a_person_is_not_waited_for(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    account.world.upload("batches/boats.csv", b"rows")
    account.world.paid_job()
    account.world.overwrite(JOB_ID, status="uncertain")
    Described(account, monkeypatch, finished(account.world, {**GOOD, "status": "processing"}))
    status, out, _ = account.run("batch", "boats", "--wait", "--json")
    (row,) = json.loads(out)["batch"]["wrong_rows"]
    assert (status, row["status"], row["job_id"], "column" in row) == (Exit.FAILED, "uncertain", JOB_ID, False)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("boats.csv", "x,y\n1,2\n", "is not a column"),
        ("boats-check.csv", "model_id,prompt\nm/m,x\n", "resembles that of a check"),
        ("boats.jsonl", "[1, 2]", "one JSON array"),
    ],
)
def test_a_file_that_can_be_no_batch_is_not_uploaded(
    account: CommandLine, tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    status, out, err = account.run("batch", name)
    assert (status, out, words in err, "Nothing was uploaded." in err) == (Exit.REFUSED, "", True, True)
    assert "Versions" not in account.world.s3.list_object_versions(Bucket=UPLOADS)


def test_a_check_never_runs_the_batch(account: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("boats.jsonl", "boats.check.jsonl"):
        (tmp_path / name).write_text('{"model_id": "m/m", "prompt": "a boat"}')
        Described(account, monkeypatch, finished(account.world, {**GOOD, "status": "valid"}, credits_estimated=5))
        status, out, _ = account.run("batch", name, "--check")
        assert (status, "about 5 credits" in out) == (0, True)
    versions = account.world.s3.list_object_versions(Bucket=UPLOADS)["Versions"]
    assert {version["Key"] for version in versions} == {"batches/boats.check.jsonl"}
    assert account.run("batch", "nowhere.csv", "--check")[0] == Exit.USAGE


@pytest.mark.parametrize(
    ("recipe", "status", "texts"),
    [
        (
            {"model_id": "m/m", "prompt": "x", "reference_image_urls": ["{{asset_url}}"]},
            "valid",
            ["{{asset_url}}", f"s3://{UPLOADS}/uploads/shoes/"],
        ),
        ({"model_id": "m/m", "prompt": "{{asset}}"}, "invalid", ["did you mean {{asset_url}}?", "prompt"]),
    ],
)
def test_a_recipe_is_shown_with_what_is_wrong_with_it(
    account: CommandLine, recipe: dict[str, Any], status: str, texts: list[str]
) -> None:
    account.world.recipe(recipe, "shoes")
    for name in ("recipes/shoes.json", "recipes/shoes", f"s3://{UPLOADS}/recipes/shoes.json"):
        code, out, _ = account.run("show", name)
        assert code == 0
        assert [text for text in [status, *texts] if text not in out] == []
    shown = json.loads(account.run("show", "recipes/shoes.json", "--json")[1])["recipe"]
    assert (shown["status"], shown.keys() <= RECIPE_FIELDS.keys()) == (status, True)
    assert account.run("show", "recipes/none.json")[0] == Exit.NOT_FOUND
