"""Test the commands as people and scripts run them: from any folder, in five lines of shell, on a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import demo
from local.demo import SAMPLE
from ops.exits import Exit
from ops.facts import FIELDS
from tests.support.laptop import until
from tests.support.operating import BODY
from tests.support.terminals import COLUMNS, OnTerminal, lines_of, width

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def run(world: RunningCloud, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a folder."""
    return subprocess.run(  # noqa: S603 - this project's own commands
        words,
        cwd=folder,
        env=world.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def genviral(world: RunningCloud, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one command without the launcher, whose make takes long on a busy machine."""
    return run(world, folder, sys.executable, str(ROOT / "cli.py"), *words)


def on_terminal(world: RunningCloud, folder: Path, *words: str, no_color: bool = False) -> OnTerminal:
    command = [sys.executable, str(ROOT / "cli.py"), *words]
    return OnTerminal(command, folder=folder, environment=world.environment, no_color=no_color)


@pytest.fixture
def folder(tmp_path: Path, world: RunningCloud) -> Path:
    """Make a folder elsewhere, with a picture and a link to the launcher."""
    folder = tmp_path / "a b'ü"
    (folder / "samples").mkdir(parents=True)
    shutil.copy(SAMPLE, folder / "samples" / "product.jpg")
    (folder / "genviral").symlink_to(os.path.relpath(ROOT / "genviral", folder))
    recipe = {**BODY, "reference_image_urls": ["{{asset_url}}"]}
    world.upload("recipes/default.json", json.dumps(recipe).encode())
    return folder


def test_the_pages_script_submits_waits_and_has_the_video(world: RunningCloud, folder: Path) -> None:
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL)
    assert len(script.splitlines()) == 5
    first = run(world, folder, "sh", "-c", script)
    assert first.returncode == 0, first.stderr
    path = folder / first.stdout.strip().removeprefix("play ")
    assert demo.Facts.of(path).codec == "h264"
    again = run(world, folder, "sh", "-c", script)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert world.paid(path.stem) == 1


def rows_paid(world: RunningCloud) -> set[str]:
    """Return the ids of the rows that any test of this cloud has paid for."""
    keys = {one["idempotency_key"] for one in world.vendor()["submissions"]}
    return {key for key in keys if key.startswith("row-")}


def test_a_batch_is_checked_run_and_shown(world: RunningCloud, folder: Path) -> None:
    rows = [BODY, {**BODY, "params": {"duration_seconds": 1, "fps": "fast"}}, {**BODY, "metadata": {"n": 2}}]
    (folder / "boats of today.jsonl").write_text("\n".join(map(json.dumps, rows)))
    paid_before = rows_paid(world)
    checked = genviral(world, folder, "batch", "boats of today.jsonl", "--check", "--wait", "--json")
    shown = json.loads(checked.stdout)["batch"]
    assert (checked.returncode, shown["status"], shown["counts"]) == (
        Exit.FAILED,
        "checked",
        {"valid": 2, "refused": 1},
    )
    assert [(row["line"], row["column"]) for row in shown["wrong_rows"]] == [(2, "params.fps")]
    assert shown["credits_estimated"] > 0
    assert rows_paid(world) == paid_before
    (folder / "boats of today.jsonl").write_text("\n".join(map(json.dumps, rows[::2])))
    ran = genviral(world, folder, "batch", "boats of today.jsonl", "--wait")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert re.search(r"^rows +2: 2 succeeded$", ran.stdout, re.MULTILINE)
    again = genviral(world, folder, "batch", "boats of today.jsonl", "--wait")
    assert "0 credits since this upload" in again.stdout
    for name in ("boats of today", "batches/boats of today.jsonl", re.findall(r"s3://\S+ of today/\S+", ran.stdout)[0]):
        assert "2 succeeded" in genviral(world, folder, "show" if "/" in name else "batch", name).stdout, name
    (folder / "wrong.csv").write_text("a;b\n1;2\n")
    rejected = genviral(world, folder, "batch", "wrong.csv")
    assert (rejected.returncode, rejected.stdout) == (Exit.REFUSED, "")


def test_a_failed_job_says_why_and_a_canceled_one_is_one(world: RunningCloud, folder: Path) -> None:
    (folder / "no picture.jpg").write_text("no picture")
    failed = genviral(world, folder, "submit", "no picture.jpg", "--wait")
    assert (failed.returncode, failed.stdout) == (Exit.FAILED, "")
    assert "Paid: no." in failed.stderr
    world.control_vendor("settings", generation_seconds=60)
    try:
        answer = genviral(world, folder, "submit", "--prompt", "A boat", "--json")
        submitted = json.loads(answer.stdout)["job_id"]
        until(lambda: "video_id" in world.get(submitted) or None)
    finally:
        world.control_vendor("settings", generation_seconds=0.5)
    assert genviral(world, folder, "wait", submitted, "--timeout", "0").returncode == Exit.STILL_RUNNING
    assert genviral(world, folder, "cancel", submitted).returncode == 0
    assert genviral(world, folder, "wait", submitted).returncode == Exit.CANCELED


def test_at_80_columns_nothing_wraps(world: RunningCloud, folder: Path) -> None:
    long = f"{'ü 鞋' * 30}.jpg"
    shutil.copy(SAMPLE, folder / long)
    wait = on_terminal(world, folder, "submit", long, "--wait")
    assert wait.end() == 0
    path = lines_of(wait.shown)[-2]
    assert (folder / path).stat().st_size > 0
    assert [line for line in lines_of(wait.shown) if width(line) > COLUMNS and " wait s3-" not in line] == []
    for words in (["list", "--status", "succeeded"], ["list"], ["--help"], ["show", "--help"], ["vendor", "x"]):
        shown = OnTerminal([sys.executable, str(ROOT / "cli.py"), *words], folder=folder, environment=world.environment)
        shown.end()
        assert [line for line in lines_of(shown.shown) if width(line) > COLUMNS] == [], words
        assert ("\x1b[" in shown.shown) is (words[0] == "list" and "STATUS" in shown.shown), words
    plain = on_terminal(world, folder, "list", "--status", "succeeded", no_color=True)
    assert plain.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain.shown)


def test_each_command_answers_in_json(world: RunningCloud, folder: Path) -> None:
    job_id = world.post(BODY).json()["job_id"]

    def told(*words: str) -> Any:
        return json.loads(genviral(world, folder, *words, "--json").stdout)

    (waited,) = told("wait", job_id)["jobs"]
    assert waited.keys() <= FIELDS.keys() | {"exit_code"}
    assert Path(folder / waited["file"]).stat().st_size == waited["video"]["bytes"]
    shown = told("show", job_id)["job"]
    assert shown.keys() <= FIELDS.keys()
    assert shown["next_command"] == ["wait", job_id]
    assert told("list").keys() == {"jobs", "intake_stopped", "more"}
    assert told("cancel", job_id)["error"]["kind"] == "refused"
    assert told("redrive", "--all", "--dry-run").keys() == {"jobs", "redriven", "left_alone"}
    assert told("start-intake", "--yes")["intake_stopped"] is False
