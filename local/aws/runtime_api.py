"""Run a Lambda execution environment: a process with the handler, and the Runtime API that the process calls.

The process runs AWS's own runtime client (awslambdaric), so imports, error types, timeouts and exits are as on Lambda.
It can import only the function's code, its layers and the packages of every Lambda runtime.

The API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from local import web_guard

if TYPE_CHECKING:
    from collections.abc import Callable

INIT_SECONDS = 20
"""Limit for a process to ask for its first invocation: twice Lambda's, since a laptop may be busy."""

TAIL_LINES = 15

RUNTIME_CLIENT = "GENVIRAL_RUNTIME_CLIENT"
"""The environment variable for the runtime client: `python` chooses ours even if the native one exists."""

PURE = Path(__file__).parent / "pure"
"""The folder of our own `runtime_client`."""

BOOTSTRAP = """
import os, runpy, sys, threading
handler, pure, chosen = sys.argv[1:]
def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=end_with_parent, daemon=True).start()
try:
    if chosen == "python":
        raise ImportError
    import runtime_client
except ImportError:
    sys.path.insert(0, pure)
    import runtime_client
    sys.path.remove(pure)
sys.argv = ["awslambdaric", handler]
runpy.run_module("awslambdaric", run_name="__main__")
"""
"""Starts awslambdaric, with our own runtime client if the native one is missing (macOS) or ours is chosen.

Ends the process when its parent has ended for any reason.
"""


@dataclass(frozen=True)
class Function:
    """The configuration of an execution environment.

    Attributes:
        name: The function's name.
        arn: The ARN in the invocation's context.
        handler: `module.function`.
        runtime: The runtime's name, such as `python3.13`.
        timeout: Seconds that one invocation may take.
        memory: Memory in megabytes, as the function's context reports it.
        log_format: The runtime's log format, `Text` or `JSON`. JSON has a log level, here always Lambda's default.
        code: The folder with the code.
        layers: The folders of its layers, in order.
        environment: Environment variables of the function, and its credentials.
        runtime_packages: The folder with the packages of every Lambda runtime: awslambdaric and boto3.
        logs: The folder that gets one log file per environment.
        scratch: The folder that gets one private folder per environment, as `/tmp` is on Lambda.
        python: The interpreter; the code, layers and packages must be built for it.
    """

    name: str
    arn: str
    handler: str
    runtime: str
    timeout: float
    memory: int
    log_format: str
    code: Path
    layers: tuple[Path, ...]
    environment: dict[str, str]
    runtime_packages: Path
    logs: Path
    scratch: Path
    python: str = sys.executable


class Answer(NamedTuple):
    """The outcome of an invocation: the JSON text of its result or error, whether it failed, and its log."""

    payload: str
    failed: bool
    log: str


class FailedStart(NamedTuple):
    """A process that ended before it asked for an invocation: the reason, and the end of its log."""

    function: str
    reason: str
    log: str


class _Outcome(NamedTuple):
    kind: str  # "response", "error", "init", "exit" or "silent"
    request_id: str
    body: str


class Environment:
    """One process that handles one invocation at a time.

    Args:
        function: Its configuration.
        number: Makes the names of its log and scratch folder unique among the function's processes.
        report: Called when the process fails before it asks for an invocation.
    """

    def __init__(self, function: Function, number: int, report: Callable[[FailedStart], None] | None = None) -> None:
        self._function = function
        self._report = report
        self._invocations: queue.SimpleQueue[tuple[bytes, dict[str, str]] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._asked = False
        self._server = _RuntimeApi(self._next, self._outcomes.put)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._scratch = function.scratch / f"{function.name}-{number}"
        self._scratch.mkdir(parents=True)
        function.logs.mkdir(parents=True, exist_ok=True)
        self._log = function.logs / f"{function.name}-{number:04}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(function.python, "-S", "-c", BOOTSTRAP),
                    *(function.handler, str(PURE), os.environ.get(RUNTIME_CLIENT, "")),
                ],
                cwd=function.code,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        threading.Thread(target=self._report_exit, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can handle another invocation."""
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Wait until the handler is imported or its import has failed."""
        self._ready.wait(INIT_SECONDS)

    def invoke(self, payload: bytes, request_id: str, trace: str) -> Answer:
        """Invoke the handler once and wait for its answer, at most the function's timeout.

        Args:
            payload: The event as JSON.
            request_id: The id in the handler's context.
            trace: The X-Ray trace header.
        """
        logged = self._log.stat().st_size
        outcome = self._initialize() or self._handle(payload, request_id, trace)
        if outcome is None:
            outcome = self._fail(
                request_id, "Sandbox.Timedout", f"Task timed out after {self._function.timeout:.2f} seconds"
            )
        elif outcome.kind == "silent":
            outcome = self._fail(request_id, "Sandbox.Timedout", outcome.body)
        elif outcome.kind == "exit":
            outcome = self._fail(request_id, "Runtime.ExitError", f"Runtime exited with error: {outcome.body}")
        elif outcome.kind == "init":
            self.close()
        with self._log.open("rb") as log:
            log.seek(logged)
            said = log.read().decode("utf-8", "replace")
        if self._report and not self._asked:
            self._report(self._failed_start(outcome))
        return Answer(outcome.body, outcome.kind != "response", said)

    def close(self) -> None:
        """End the process at once and remove its scratch folder. The log stays."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._invocations.put(None)
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        """Return the variables of https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html."""
        function = self._function
        # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
        level = {"AWS_LAMBDA_LOG_LEVEL": "INFO"} if function.log_format == "JSON" else {}
        region = function.arn.split(":")[3]
        path = [function.code, *(layer / "python" for layer in function.layers), function.runtime_packages]
        return function.environment | {
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": function.log_format,
            **level,
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": self._scratch.name,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_REGION": region,
            "HOME": str(self._scratch),
            "LAMBDA_TASK_ROOT": str(function.code),
            "LANG": "en_US.UTF-8",
            "PATH": os.defpath,
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task and /opt are read-only on Lambda
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "TMPDIR": str(self._scratch),
            "TZ": ":UTC",
            "_HANDLER": function.handler,
        }

    def _next(self) -> tuple[bytes, dict[str, str]] | None:
        self._asked = True
        self._ready.set()
        return self._invocations.get()

    def _report_exit(self) -> None:
        status = self._process.wait()
        self._outcomes.put(_Outcome("exit", "", f"signal {-status}" if status < 0 else f"exit status {status}"))
        self._ready.set()

    def _initialize(self) -> _Outcome | None:
        """Wait until the handler is imported. Returns the failure, if any."""
        self.await_ready()
        try:
            return self._outcomes.get_nowait()
        except queue.Empty:
            if self._ready.is_set():
                return None
            return _Outcome("silent", "", f"The process did not ask for work within {INIT_SECONDS} seconds")

    def _handle(self, payload: bytes, request_id: str, trace: str) -> _Outcome | None:
        deadline = time.time() + self._function.timeout
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._function.arn,
            "Lambda-Runtime-Trace-Id": trace,
        }
        self._invocations.put((payload, headers))
        while True:
            try:
                outcome = self._outcomes.get(timeout=max(0.0, deadline - time.time()))
            except queue.Empty:
                return None
            if outcome.kind == "exit" or outcome.request_id == request_id or outcome.kind == "init":
                return outcome

    def _fail(self, request_id: str, error: str, message: str) -> _Outcome:
        """Log a failure that the process could not report itself, as Lambda does, and close the environment."""
        text = f"RequestId: {request_id} Error: {message}"
        with self._log.open("a", encoding="utf-8") as log:
            log.write(text + "\n")
        self.close()
        return _Outcome("error", request_id, json.dumps({"errorType": error, "errorMessage": text}))

    def _failed_start(self, outcome: _Outcome) -> FailedStart:
        error = json.loads(outcome.body)
        # The runtime separates the lines of a traceback by carriage returns.
        lines = self._log.read_text("utf-8", "replace").splitlines()
        reason = f"{error['errorType']}: {error['errorMessage']}"
        return FailedStart(self._function.name, reason, "\n".join(lines[-TAIL_LINES:]))


class _RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, take: Any, put: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.take = take
        self.put = put

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the aborted long polls of ended processes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _RuntimeApi

    def parse_request(self) -> bool:
        """Refuse requests of web pages, which could impersonate a function."""
        if not super().parse_request():
            return False
        if web_guard.refused(self.headers.items()):
            self.close_connection = True
            self._answer(403, web_guard.REFUSED.encode(), {})
            return False
        return True

    def do_GET(self) -> None:
        """Serve `/2018-06-01/runtime/invocation/next`, a long poll for the next invocation."""
        invocation = self.server.take()
        if invocation is None:
            self.close_connection = True
        else:
            self._answer(200, *invocation)

    def do_POST(self) -> None:
        """Serve `…/invocation/{id}/response`, `…/invocation/{id}/error` and `…/init/error`."""
        parts = self.path.strip("/").split("/")
        body = self._body().decode("utf-8", "replace")
        init = parts[2] == "init"
        self._answer(202, b'{"status":"OK"}', {})
        self.server.put(_Outcome("init", "", body) if init else _Outcome(parts[4], parts[3], body))

    def log_message(self, *_: Any) -> None:
        """Write no access log."""

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


class Pool:
    """The execution environments of one function. A new one starts only when all are busy."""

    def __init__(self, function: Function, report: Callable[[FailedStart], None] | None = None) -> None:
        self._function = function
        self._report = report
        self._lock = threading.Lock()
        self._started = 0
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()

    def invoke(self, payload: bytes, request_id: str, trace: str) -> Answer:
        """Invoke the function in a warm environment or a new one. See `Environment.invoke`."""
        environment = self._take()
        answer = environment.invoke(payload, request_id, trace)
        with self._lock:
            if environment.alive:
                self._idle.append(environment)
            else:
                self._all.discard(environment)
        return answer

    def close(self) -> None:
        """End every process, busy or not."""
        with self._lock:
            environments, self._all = self._all, set()
            self._idle.clear()
        for environment in environments:
            with contextlib.suppress(OSError):
                environment.close()

    def _take(self) -> Environment:
        with self._lock:
            while self._idle:
                if (environment := self._idle.pop()).alive:
                    return environment
                self._all.discard(environment)
            self._started += 1
            environment = Environment(self._function, self._started, self._report)
            self._all.add(environment)
            return environment
