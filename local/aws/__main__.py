"""Run the AWS stand-in's process: `python -m local.aws --work DIR --runtime-packages DIR [--port N] …`.

It prints one line of JSON when it is ready, and one for each process of a function that fails to start. It ends on
SIGINT, SIGTERM or the end of its standard input, so it never outlives its parent. It then removes `--work` with its
content.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.aws import pins

if TYPE_CHECKING:
    from local.aws.runtime_api import FailedStart

ACCOUNT = "123456789012"
REGION = "us-east-1"


def main() -> int:
    """Run until a signal or the end of the parent. Returns the exit status: 2 if it could not start."""
    arguments = _arguments()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    try:
        pins.require("ministack", "moto", "awslambdaric")
        listener = socket.create_server(("127.0.0.1", arguments.port), backlog=512)
    except pins.WrongVersion as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        print(f"Port {arguments.port} cannot be used ({reason}). Choose another with --port.", file=sys.stderr)
        return 2
    try:
        _configure(listener.getsockname()[1], work, sigv4=arguments.sigv4)
        _serve(listener, arguments)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.aws", description="The AWS stand-in.")
    parser.add_argument("--work", type=Path, required=True, help="folder for its files; removed at the end")
    parser.add_argument("--runtime-packages", type=Path, required=True, help="folder with awslambdaric and boto3")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
    parser.add_argument("--sigv4", action="store_true", help="verify signatures and enforce the roles and policies")
    parser.add_argument(
        "--allowed-origin", action="append", default=[], help="an origin whose pages may call APIs and buckets"
    )
    parser.add_argument("--time-scale", type=float, default=1.0, help="factor for waits and backoff")
    return parser.parse_args()


def _configure(port: int, work: Path, *, sigv4: bool) -> None:
    """Set the environment variables that MiniStack reads when it is imported."""
    os.environ |= {
        "AUTH": str(sigv4).lower(),
        "DOCKER_HOST": f"unix://{work}/no-docker",  # otherwise it removes other programs' containers
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "ERROR",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(work / "s3"),
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(work / "state"),
    }
    tempfile.tempdir = str(work)


def _serve(listener: socket.socket, arguments: argparse.Namespace) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app

    from local.aws import (
        cloudformation_patch,
        cors_patch,
        forms_patch,
        http_patch,
        iam_patch,
        paths_patch,
        s3_patch,
        web_patch,
    )
    from local.aws.lambda_patch import Functions
    from local.aws.states_patch import StateMachines

    endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
    functions = Functions(endpoint, arguments.work, arguments.runtime_packages, _report)
    functions.install()
    StateMachines(endpoint, arguments.time_scale).install()
    cloudformation_patch.install()
    s3_patch.install()
    forms_patch.install()
    if arguments.sigv4:
        iam_patch.install(arguments.work / "decisions.jsonl")
    else:
        http_patch.install()
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.graceful_timeout = 0.2
    config.loglevel = "ERROR"
    logging.getLogger("botocore").setLevel(logging.ERROR)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        threading.Thread(target=_until_parent_ends, args=(loop, stop), daemon=True).start()
        print(json.dumps({"aws_endpoint": endpoint, "region": REGION}), flush=True)
        answer = s3_patch.keeping_headers(_as_if_encrypted(cors_patch.by_rules(paths_patch.exact(app.app))))
        served: Any = web_patch.guarded(answer, arguments.allowed_origin)
        await serve(served, config, shutdown_trigger=stop.wait)

    try:
        asyncio.run(run())
    finally:
        functions.close()


def _report(failed: FailedStart) -> None:
    with contextlib.suppress(OSError):  # at the end, the reader may be gone
        print(json.dumps({"failed_start": failed._asdict()}), flush=True)


def _as_if_encrypted(app: Any) -> Any:
    """Treat the loopback as TLS, for policies on `aws:SecureTransport`."""

    async def serve_request(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await app({**scope, "scheme": "https"} if scope["type"] == "http" else scope, receive, send)

    return serve_request


def _until_parent_ends(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Threads of MiniStack may still wait for an ended process.
    os._exit(status)
