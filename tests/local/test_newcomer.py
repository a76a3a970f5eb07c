"""Follow the README as a newcomer: start the cloud, use it from a second terminal, break Genviral, end it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from local import build
from tests.support.terminals import COLUMNS, OnTerminal, lines_of, width

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder that looks like the project's to a reader, and has a difficult name."""
    folder = tmp_path / "a b'ü"
    (folder / "samples").mkdir(parents=True)
    shutil.copy(build.ROOT / "samples" / "product.jpg", folder / "samples")
    (folder / "genviral").symlink_to(build.ROOT / "genviral")
    return folder


def variables(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GENVIRAL_"))}
    return kept | {"GENVIRAL_ENV_FILE": str(folder / ".genviral-env"), "AWS_EC2_METADATA_DISABLED": "true"}


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run what a reader types into a second terminal."""
    return subprocess.run(  # noqa: S603
        ["bash", "-c", script],  # noqa: S607
        cwd=folder,
        env=variables(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_readme_alone_leads_to_a_video(folder: Path) -> None:
    readme = (build.ROOT / "README.md").read_text()
    first, second, *_ = (block for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "./genviral" in block)
    up = OnTerminal(
        ["sh", "-c", f"exec {first.partition('#')[0].strip()}"], folder=folder, environment=variables(folder)
    )
    try:
        welcome = up.read(until="vendor normal")
        done = shell(folder, f"set -e\n{second}")
        assert done.returncode == 0, done.stderr
        (path,) = re.findall(r"^\S+\.mp4$", done.stdout, re.MULTILINE)
        assert b"ftyp" in (folder / path).read_bytes()[:64]
        assert "the account is no_credits with 0 credits" in done.stdout
        held = shell(folder, ". ./.genviral-env; ./genviral submit --prompt 'A boat' --wait")
        assert (held.returncode, "insufficient" in held.stderr or "credits" in held.stderr) == (6, True), held.stderr
        # Each command that `up` prints runs as it is.
        printed = [line.strip() for line in lines_of(welcome) if "./genviral vendor" in line]
        assert len(printed) >= 6
        assert shell(folder, "\n".join(["set -e", *printed])).returncode == 0
        told = up.read(until="on_hold")
    finally:
        up.process.send_signal(signal.SIGINT)
        code = up.end()
    assert code == 0
    assert "Goodbye" in up.shown
    assert not (folder / ".genviral-env").exists()
    news = lines_of(told[len(welcome) :])
    for step in ("Upload", "Submit", "Deliver", "Notification"):
        assert any(f" {step} " in line for line in news), news
    assert [line for line in news if width(line) > COLUMNS] == []
