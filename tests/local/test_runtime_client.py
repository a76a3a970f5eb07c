"""Test our own `runtime_client` against the native one: same calls, same errors. Also processes that fail to start."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import build
from local.aws import runtime_api
from local.aws.runtime_api import PURE, RUNTIME_CLIENT, Answer, Environment, FailedStart, Function

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

_FOUND = find_spec("runtime_client")
NATIVE = Path(_FOUND.origin) if _FOUND and _FOUND.origin else None
only_beside_the_native = pytest.mark.skipif(NATIVE is None, reason="there is no native runtime_client on this platform")

CALLS = """
import sys
sys.path[:0] = sys.argv[1:2]
import runtime_client
def show(call, *arguments):
    try:
        returned = call(*arguments)
        print((returned[0], sorted(returned[1].items())) if returned else returned)
    except Exception as error:
        print(type(error).__name__, error)
if sys.argv[2:]:
    runtime_client.initialize_client("test/1")
else:
    show(runtime_client.post_invocation_result, "id", b"1", "text/plain", None)
    show(runtime_client.post_error, "id", "{}", "{}", None)
    sys.exit()
show(runtime_client.next)
show(runtime_client.post_invocation_result, "one", '{"ü": 1}'.encode(), "application/json", None)
show(runtime_client.post_invocation_result, "two", b"", "application/unknown", "invocation")
show(runtime_client.post_error, "three", '{"errorMessage": "\\u00fc"}', '{"message": "\\u00fc"}', None)
show(runtime_client.post_error, "four", "{}", "", "invocation")
show(runtime_client.post_error, "five", "\\ud800", "{}", None)
"""

FULL = {
    "Lambda-Runtime-Aws-Request-Id": "id",
    "Lambda-Runtime-Trace-Id": "Root=1",
    "Lambda-Runtime-Invoked-Function-Arn": "arn",
    "Lambda-Runtime-Deadline-Ms": "1700000000000",
    "Lambda-Runtime-Client-Context": "{}",
    "Lambda-Runtime-Cognito-Identity": "{}",
    "Content-Type": "application/json",
}
OPTIONAL = ("Lambda-Runtime-Trace-Id", "Lambda-Runtime-Client-Context", "Lambda-Runtime-Cognito-Identity")
# All have a content type: without one the native module crashes.
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "a full invocation": (200, FULL, '{"word": "grün"}'.encode()),
    "an empty event": (200, {name: FULL[name] for name in FULL if name not in OPTIONAL}, b""),
    "a refusal": (403, FULL, b"no"),
    "too large": (413, FULL, b""),
    "a failure": (500, FULL, b"{}"),
    "no answer": (0, {}, b""),
}


class Api(ThreadingHTTPServer):
    """A Runtime API that gives one answer to everything and keeps the requests."""

    def __init__(self, answer: tuple[int, dict[str, str], bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.requests: list[Any] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        names = (
            "content-type",
            "user-agent",
            "lambda-runtime-function-xray-error-cause",
            "lambda-runtime-invocation-id",
        )
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, [self.headers.get(name) for name in names], sent))
        status, headers, body = self.server.answer
        self.close_connection = True
        if status:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the base class's name

    def log_message(self, *_: Any) -> None:
        pass


def calls(
    folder: Path, *arguments: str, answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
) -> tuple[list[str], Any]:
    """Return the output and the requests of a program that makes every call with a folder's `runtime_client`."""
    with Api(answer) as api:
        done = subprocess.run(  # noqa: S603 - this test's own program
            [sys.executable, "-I", "-c", CALLS, str(folder), *arguments],
            env={"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}", "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        api.shutdown()
        # The native one also logs failures, with the time.
        said = [line for line in done.stdout.splitlines() if not line.startswith("[ERROR] [")]
        return said, api.requests


@only_beside_the_native
@pytest.mark.parametrize("answer", ANSWERS)
def test_it_sends_returns_and_raises_what_the_native_one_does(answer: str) -> None:
    assert NATIVE is not None
    ours, native = (calls(folder, "ready", answer=ANSWERS[answer]) for folder in (PURE, NATIVE.parent))
    assert ours == native
    assert len(ours[0]) == 6


@only_beside_the_native
def test_a_call_before_it_is_initialized_fails_alike() -> None:
    assert NATIVE is not None
    assert calls(PURE) == calls(NATIVE.parent)


HANDLER = """
import os, sys, time
print("module loaded, with", sys.modules["runtime_client"].__file__)
def handler(event, context):
    if event == "client":
        return [sys.modules["runtime_client"].__file__, sys.path]
    if event == "fail":
        raise LookupError("grün")
    return event
"""
BROKEN = {
    "raises": ("raise SystemError('no luck')", "SystemError: no luck", "no luck"),
    "exits": ("import os\nprint('last words', flush=True)\nos._exit(3)", "Runtime.ExitError: ", "last words"),
    "is killed": ("import os\nprint('grün', flush=True)\nos.kill(os.getpid(), 9)", "signal 9", "grün"),
    "never asks for work": ("import time\nprint('zzz', flush=True)\ntime.sleep(600)", "did not ask for work", "zzz"),
    "cannot be imported": ("import nowhere", "Runtime.ImportModuleError: ", "nowhere"),
}


@pytest.fixture
def started() -> Iterator[list[Environment]]:
    environments: list[Environment] = []
    yield environments
    for environment in environments:
        if environment.alive:
            environment.close()


def environment(folder: Path, code: str, reports: list[FailedStart] | None = None) -> Environment:
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "app.py").write_text(code, "utf-8")
    function = Function(
        name="probe",
        arn="arn:aws:lambda:us-east-1:123456789012:function:probe",
        handler="app.handler",
        runtime="python3.13",
        timeout=60,
        memory=128,
        log_format="Text",
        code=folder / "code",
        layers=(),
        environment={},
        runtime_packages=build.build().runtime_packages,
        logs=folder / "logs",
        scratch=folder / "scratch",
    )
    return Environment(function, 1, None if reports is None else reports.append)


def invoke(there: Environment, event: Any, request_id: str = "id") -> Answer:
    return there.invoke(json.dumps(event).encode(), request_id, "Root=1")


@pytest.mark.parametrize("chosen", ["", "python"])
def test_a_function_runs_with_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Environment], chosen: str
) -> None:
    monkeypatch.setenv(RUNTIME_CLIENT, chosen)
    started.append(there := environment(tmp_path, HANDLER))
    client, path = json.loads(invoke(there, "client", "one").payload)
    assert (str(PURE) in client) == (chosen == "python" or NATIVE is None)
    assert str(PURE) not in path
    assert json.loads(invoke(there, {"word": "grün" * 500_000}, "two").payload) == {"word": "grün" * 500_000}
    failed = invoke(there, "fail", "three")
    assert (json.loads(failed.payload)["errorMessage"], failed.failed) == ("grün", True)
    assert json.loads(invoke(there, None, "four").payload) is None


def test_a_native_module_that_cannot_be_loaded_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Environment]
) -> None:
    """For example a module built for another platform."""
    monkeypatch.setenv(RUNTIME_CLIENT, "")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / f"runtime_client{EXTENSION_SUFFIXES[0]}").write_bytes(b"made for another machine")
    started.append(there := environment(tmp_path, HANDLER))
    client, _ = json.loads(invoke(there, "client").payload)
    assert str(PURE) in client


@pytest.mark.parametrize("way", BROKEN)
def test_a_process_that_never_starts_is_reported_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Environment], way: str
) -> None:
    code, reason, said = BROKEN[way]
    if way == "never asks for work":
        monkeypatch.setattr(runtime_api, "INIT_SECONDS", 2)
    reports: list[FailedStart] = []
    started.append(there := environment(tmp_path, code, reports))
    answer = invoke(there, {})
    assert answer.failed
    assert not there.alive
    (report,) = reports
    assert report.function == "probe"
    assert reason in report.reason
    assert said in report.log
    assert len(report.log.splitlines()) <= runtime_api.TAIL_LINES


def test_what_fails_at_work_is_no_failed_start(tmp_path: Path, started: list[Environment]) -> None:
    reports: list[FailedStart] = []
    code = "import os\ndef handler(event, context):\n    os._exit(7) if event else None"
    started.append(there := environment(tmp_path, code, reports))
    assert not invoke(there, None, "one").failed
    assert invoke(there, "leave", "two").failed
    assert reports == []
