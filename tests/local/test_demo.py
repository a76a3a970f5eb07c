"""`python -m local demo` where it does not end with a video: what a person is told."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local import build, demo
from local.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.integration
def test_a_job_that_fails_says_whether_it_was_paid_and_what_to_do(tmp_path: Path) -> None:
    picture = tmp_path / "shoe.jpg"
    picture.write_text("no picture")
    finished = subprocess.run(  # noqa: S603 - this project's own command
        [sys.executable, "-m", "local", "demo", "--image", str(picture), "--out", str(tmp_path / "out")],
        cwd=build.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 1
    told = finished.stderr.splitlines()
    assert "upload_unsupported" in told[1]
    assert told[2] == "Paid           no"
    assert told[3].startswith("What to do     Upload a file of the kind")


def test_what_nobody_knows_is_not_told_as_a_no() -> None:
    message = {"status": "uncertain", "paid": "unknown", "summary": "A person must decide.", "error": {}}
    assert "Paid           nobody knows" in demo._failure(message)


@pytest.mark.parametrize("out", ["file", "file/below", "file/far/below"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--out", str(tmp_path / out)])
    assert ended.value.code == 2
    assert f"'{tmp_path / 'file'}' is a file, not a folder" in capsys.readouterr().err
