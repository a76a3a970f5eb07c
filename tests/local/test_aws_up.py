"""Test `python -m local up`: ready, ended, killed, refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local import __main__ as command
from local import build
from local.console import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

READY = {
    *("aws_endpoint", "api_url", "genviral_url", "region", "uploads_bucket", "videos_bucket"),
    *("jobs_table", "topic_arn", "state_machine_arn"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the folder for temporary files of everything that `up` starts."""
    build.build()
    return tmp_path


@pytest.fixture
def up(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603 - this project's own command
            [sys.executable, "-m", "local", "up", *arguments],
            cwd=build.ROOT,
            env=os.environ
            | {"TMPDIR": str(place), "AWS_PROFILE": "of-a-real-account"}
            | {"GENVIRAL_ENV_FILE": str(place.parent / f"{place.name}-env")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def processes_with(place: Path) -> dict[int, str]:
    """Return id → command line of the processes whose environment or command line names a folder in `place`."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(place).encode() in text and int(entry.name) != os.getpid():
            found[int(entry.name)] = text.decode(errors="replace").replace("\0", " ")
    return found


def gone(place: Path, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while processes_with(place) or list(place.iterdir()):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def run_a_function(at: dict[str, Any]) -> None:
    assert httpx.get(f"{at['api_url']}/videos/none", timeout=60).status_code == 404


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_everything_is_and_leaves_nothing(up: Any, place: Path, number: int) -> None:
    elsewhere = set(Path("/tmp").glob("ministack*"))
    process = up("--json")
    at = ready(process)
    assert at.keys() >= READY
    run_a_function(at)
    assert processes_with(place)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert gone(place, seconds=0.5)
    assert set(Path("/tmp").glob("ministack*")) == elsewhere  # its default place, whatever TMPDIR says


def test_a_kill_of_the_parent_leaves_nothing_either(up: Any, place: Path) -> None:
    process = up("--json")
    run_a_function(ready(process))
    process.kill()
    process.wait()
    assert gone(place), processes_with(place)


def test_functions_end_with_the_stand_in_that_ran_them(up: Any, place: Path) -> None:
    process = up("--json")
    run_a_function(ready(process))
    (stand_in,) = (number for number, text in processes_with(place).items() if " -m local.aws " in text)
    os.kill(stand_in, signal.SIGKILL)
    end = time.monotonic() + 10
    while any("awslambdaric" in text for text in processes_with(place).values()):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)
    assert gone(place, seconds=0.5)


def test_an_end_while_it_starts_leaves_nothing(up: Any, place: Path) -> None:
    process = up("--json")
    while not list(place.iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert gone(place)


def test_without_json_it_tells_a_person_what_to_type(up: Any, place: Path) -> None:
    process = up("--port", "0")
    text = ""
    while "vendor normal" not in text:
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    assert ":stateMachine:" in text
    assert "/_standin/state" in text
    (address,) = re.findall(r"Console +(http://127\.0\.0\.1:\d+/\?token=\S+)", text)
    assert httpx.get(address).status_code == 303
    file = place.parent / f"{place.name}-env"
    assert f". {os.path.relpath(file, build.ROOT)}" in text
    settings = [
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "API_URL",
        "UPLOADS_BUCKET",
        "VIDEOS_BUCKET",
        "TOPIC_ARN",
    ]
    shell = f". {shlex.quote(str(file))} && printenv {' '.join(settings)}; printenv AWS_PROFILE"
    variables = os.environ | {"AWS_PROFILE": "x"}
    sourced = subprocess.run(["sh", "-c", shell], env=variables, capture_output=True, text=True, check=False)  # noqa: S603, S607
    values = dict(zip(settings, sourced.stdout.splitlines(), strict=True))
    assert values["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert values["AWS_REGION"] == values["AWS_DEFAULT_REGION"]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, "Goodbye" in out, file.exists()) == (0, True, False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_a_console_that_cannot_start_says_why_and_ends() -> None:
    settings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_MAX_ATTEMPTS": "1",
    }
    with console(settings) as (address, reason):
        assert address is None
        assert "does not answer at http://127.0.0.1:9" in reason


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "PollFloorSeconds"], "not of the form Parameter=value"),
        (["--set", "NoSuchThing=1"], "The template has no parameter NoSuchThing. It has: GenviralBaseUrl, "),
        (["--set", "PollFloorSeconds=soon"], "PollFloorSeconds"),
        (["--genviral-url", "http://127.0.0.1:9/api"], "needs its API key: set GENVIRAL_API_KEY, or "),
        (["--api-key", "a.key"], "every program on this machine can read a command line. Set GENVIRAL_API_KEY, or "),
        (["--api-key-file", "README.md"], "'README.md' must contain an API key and nothing else"),
        (["--api-key-file", "nowhere"], "'nowhere' cannot be read: No such file or directory"),
        (["--time-scale", "-1"], "must be a number of at least 0"),
        (["--port", "70000"], "is not a port"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(up: Any, place: Path, arguments: list[str], sentence: str) -> None:
    process = up(*arguments)
    out, err = process.communicate(timeout=60)
    assert (process.returncode in (2, 5), out) == (True, "")
    assert sentence in " ".join(err.split())
    assert "Traceback" not in err
    assert gone(place, seconds=0.5)


def test_a_taken_port_is_one_sentence(up: Any, place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = up("--port", str(port))
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (
        5,
        f"Port {port} cannot be used (address already in use). Choose another with --port.\n",
    )
    assert gone(place, seconds=0.5)


def test_a_missing_build_tool_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = build.ROOT / "build" / "never"
    monkeypatch.setattr(build, "OUTPUT", output)
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        with pytest.raises(build.BuildFailed, match="`make` is needed to build and was not found"):
            build.build()
    finally:
        shutil.rmtree(output)


def test_an_edit_of_our_own_package_runs_no_installer_in_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "a b'ü\"$HOME`"  # every name is a name for make and the shell
    shutil.copytree(build.SOURCE, root / "shared")
    (root / "requirements").mkdir()
    (root / "requirements" / "lambda.txt").write_text("")
    (root / "shared" / "requirements.txt").write_text("")
    (root / "shared" / "slim_sdk.py").write_text("")
    monkeypatch.setattr(build, "ROOT", root)
    monkeypatch.setattr(build, "SOURCE", root / "shared")
    monkeypatch.setattr(build, "FUNCTIONS", root / "functions")
    monkeypatch.setattr(build, "OUTPUT", root / "build")
    build.build()
    monkeypatch.setattr(build, "_command", lambda *command, **_: pytest.fail(f"it ran {command}"))
    (root / "shared" / "edited.py").write_text("EDITED = True")
    (root / "shared" / "faults.py").unlink()
    package = build.build().layer / "python" / "shared"
    assert (package / "edited.py").exists()
    assert not (package / "faults.py").exists()
    assert list(package.rglob("edited.*.pyc"))


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--genviral-url", "https://v.example/api"], "of.environment"),
        (["--genviral-url", "https://v.example/api", "--api-key-file", "FILE"], "of.file"),
        (["--api-key-file", "FILE"], "of.file"),
        ([], None),
    ],
)
def test_the_key_comes_from_a_file_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], key: str | None
) -> None:
    """The environment's key is used for another vendor only, because the stand-in has its own keys."""
    given: dict[str, Any] = {}

    def cloud(**options: Any) -> None:
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("local.cloud.Cloud", cloud)
    monkeypatch.setenv("GENVIRAL_API_KEY", "of.environment")
    (tmp_path / "key").write_text("of.file\n")
    assert command.main(["up", *(word.replace("FILE", str(tmp_path / "key")) for word in arguments)]) == 130
    assert given["api_key"] == key
