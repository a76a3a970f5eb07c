"""Test the messages of `python -m local demo` where it does not end with a video."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local import build, demo
from local.__main__ import main
from local.aws.runtime_api import RUNTIME_CLIENT
from local.cloud import Cloud, CloudFailed

if TYPE_CHECKING:
    from pathlib import Path


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this project's own command
        [sys.executable, "-m", "local", "demo", *arguments],
        cwd=build.ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.integration
def test_a_job_that_fails_says_whether_it_was_paid_and_what_to_do(tmp_path: Path) -> None:
    picture = tmp_path / "shoe.jpg"
    picture.write_text("no picture")
    finished = run_demo("--image", str(picture), "--out", str(tmp_path / "out"))
    assert finished.returncode == 1
    lines = finished.stderr.splitlines()
    assert "upload_unsupported" in lines[1]
    assert lines[2] == "Paid           no"
    assert lines[3].startswith("What to do     Upload a file of the kind")


@pytest.mark.integration
def test_it_passes_without_native_client_and_on_a_small_ascii_terminal(tmp_path: Path) -> None:
    picture = tmp_path / f"grüner Schuh '鞋' {'x' * 100}.jpg"
    shutil.copy(demo.SAMPLE, picture)
    terminal = {"PYTHONIOENCODING": "ascii:strict", "COLUMNS": "80"}
    finished = run_demo(
        *("--image", str(picture), "--prompt", "Ein grüner Schuh …", "--out", str(tmp_path / "aus b'ü")),
        **{RUNTIME_CLIENT: "python"},
        **terminal,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    progress = finished.stdout.partition("\n\n")[0].splitlines()
    assert "NotifySucceeded" in progress[-2]
    assert max(map(len, progress)) < 80
    assert len(list((tmp_path / "aus b'ü").iterdir())) == 1


@pytest.mark.integration
def test_a_function_that_cannot_start_ends_the_demo_with_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in ("functions", "statemachine"):
        shutil.copytree(build.ROOT / folder, tmp_path / folder)
    template = tmp_path / "template.yaml"
    shutil.copy(build.ROOT / "template.yaml", template)
    with (tmp_path / "functions" / "uploads" / "app.py").open("a") as code:
        code.write("\nimport a_module_that_is_nowhere\n")
    with Cloud(template=template) as cloud, pytest.raises(CloudFailed, match="A function could not start"):
        demo.run(cloud, image=demo.SAMPLE, out=tmp_path / "out")
    said = capfd.readouterr().err
    assert "UploadsFunction" in said
    assert "Runtime.ImportModuleError" in said
    assert "No module named 'a_module_that_is_nowhere'" in said.partition("The end of its log:")[2]


def test_an_unknown_answer_is_not_reported_as_a_no() -> None:
    message = {"status": "uncertain", "paid": "unknown", "summary": "A person must decide.", "error": {}}
    assert "Paid           nobody knows" in demo._failure(message)


@pytest.mark.parametrize("out", ["file", "file/below", "file/far/below"])
def test_a_file_in_place_of_the_folder_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--out", str(tmp_path / out)]) == 2
    assert f"'{tmp_path / 'file'}' is a file, not a folder" in capsys.readouterr().err
