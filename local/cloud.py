"""Start the whole cloud on a laptop: start the stand-ins, deploy this project, set the key, upload the recipes.

`local.aws` stands in for AWS and `local.genviral` for the vendor; this module only starts them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from local import build, deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

READY_SECONDS = 30
STOP_SECONDS = 10
STACK = "genviral-video"
API_KEY = "GENVIRAL_API_KEY"
"""The environment variable with the key for a vendor endpoint other than the stand-in."""


class CloudFailed(Exception):
    """The cloud could not be started; the text gives the reason and the fix."""


class CloudMisused(CloudFailed):
    """What was asked for cannot be; nothing was started."""


@dataclass(frozen=True)
class Endpoints:
    """The URLs, names and ARNs of a running cloud."""

    aws_endpoint: str
    api_url: str
    genviral_url: str
    genviral_admin_url: str | None
    region: str
    uploads_bucket: str
    videos_bucket: str
    jobs_table: str
    topic_arn: str
    state_machine_arn: str


class Cloud:
    """A context manager. Entering it takes a few seconds; leaving it removes every process and file.

    Args:
        port: The port for AWS on 127.0.0.1; 0 chooses a free one.
        time_scale: Factor for waits and backoff of the state machine.
        parameters: Template parameters; they override those that the laptop needs.
        genviral_url: A vendor endpoint instead of the stand-in for Genviral. Needs `api_key`.
        api_key: The API key for the secret, instead of the stand-in's valid one.
        template: A template instead of this project's.
        generation_seconds: Seconds that the stand-in for Genviral takes for a video.
        sigv4: Verify signatures and enforce the roles and policies of the template. The HTTP API then accepts only
            signed requests; `client` acts as the account's root.

    Attributes:
        endpoints: The URLs, names and ARNs.
        genviral_keys: The stand-in's API keys by the state of their account; empty for another vendor endpoint.
        failed_starts: Reports of functions' processes that failed before they asked for an invocation, oldest first.
            Each is also written to standard error at once.

    Raises:
        CloudFailed: Something could not be started, or the parameters are invalid.
        build.BuildFailed: A build tool is missing or failed.
        deploy.DeploymentFailed: CloudFormation refused the template or a resource.
    """

    endpoints: Endpoints
    genviral_keys: dict[str, str]
    failed_starts: list[str]

    def __init__(
        self,
        port: int = 0,
        time_scale: float = 1.0,
        parameters: Mapping[str, str] | None = None,
        genviral_url: str | None = None,
        api_key: str | None = None,
        template: Path | None = None,
        generation_seconds: float | None = None,
        sigv4: bool = False,
    ) -> None:
        if genviral_url and not api_key:
            raise CloudMisused(f"Another Genviral endpoint needs its API key: set {API_KEY}, or add --api-key-file.")
        self._port = port
        self._time_scale = time_scale
        self._parameters = dict(parameters or {})
        self._genviral_url = genviral_url
        self._api_key = api_key
        self._template = template or build.ROOT / "template.yaml"
        self._generation_seconds = generation_seconds
        self._sigv4 = sigv4
        self._cleanup = contextlib.ExitStack()
        self.genviral_keys = {}
        self.failed_starts = []

    def __enter__(self) -> Cloud:
        with contextlib.ExitStack() as cleanup:
            self._start(cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def client(self, service: str) -> Any:
        """Return a boto3 client for the stand-in."""
        return _session().client(
            service,
            region_name=self._region,
            endpoint_url=self._aws_endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the stand-in takes any
            config=Config(signature_version="s3v4" if service == "s3" else None, s3={"addressing_style": "path"}),
        )

    def logs(self) -> str:
        """Return the logs of all functions so far."""
        files = sorted((self._work / "logs").glob("*.log"))
        return "".join(file.read_text("utf-8", "replace") for file in files)

    def check(self) -> None:
        """Check that no function failed to start, because a job would then never end.

        Raises:
            CloudFailed: A function's process failed before it asked for an invocation.
        """
        if self.failed_starts:
            raise CloudFailed("A function could not start; its log is above. Correct it and start again.")

    def decisions(self) -> list[dict[str, Any]]:
        """Return the decisions about calls of the template's roles, oldest first; only with `sigv4`.

        Each has `role` (its name), `action`, `resource` (an ARN) and `allowed`.
        """
        return [json.loads(line) for line in (self._work / "decisions.jsonl").read_text("utf-8").splitlines()]

    def _start(self, cleanup: contextlib.ExitStack) -> None:
        declared = deploy.parameters_of(self._template)
        if unknown := sorted(self._parameters.keys() - declared.keys()):
            raise CloudMisused(f"The template has no parameter {', '.join(unknown)}. It has: {', '.join(declared)}.")
        origins = self._parameters.get("AllowedOrigins", "")
        built = build.build()
        with _uninterrupted():
            self._work = Path(tempfile.mkdtemp(prefix="genviral-local-"))
            cleanup.callback(shutil.rmtree, self._work, ignore_errors=True)
        # Start both at once, because each takes most of a second.
        aws = cleanup.enter_context(
            Child(
                "local.aws",
                *("--port", str(self._port), "--time-scale", str(self._time_scale)),
                *("--work", str(self._work), "--runtime-packages", str(built.runtime_packages)),
                *(["--sigv4"] if self._sigv4 else []),
                *(f"--allowed-origin={origin.strip()}" for origin in origins.split(",") if origin.strip()),
                environment=_environment(self._work),
            )
        )
        vendor = None if self._genviral_url else cleanup.enter_context(self._vendor())
        ready = aws.ready()
        aws.each_line(self._note_failed_start)
        self._aws_endpoint, self._region = ready["aws_endpoint"], ready["region"]
        genviral: dict[str, Any] = vendor.ready() if vendor else {"genviral_url": self._genviral_url}
        self.genviral_keys = genviral.get("keys", {})
        laptop = {"GenviralBaseUrl": genviral["genviral_url"], "AllowPrivateOutput": "true"}
        if urlsplit(genviral["genviral_url"]).hostname in ("127.0.0.1", "localhost", "::1"):
            # A stand-in's videos take seconds; the template's defaults fit minutes.
            laptop |= {"PollFloorSeconds": "1", "PollCapSeconds": "2"}
        outputs = deploy.deploy(
            self._template,
            stack=STACK,
            parameters={name: value for name, value in laptop.items() if name in declared} | self._parameters,
            client=self.client,
            layer=built.layer,
        )
        self.endpoints = self._endpoints(outputs, genviral)
        self._set_key_and_recipes(outputs)

    def _note_failed_start(self, line: dict[str, Any]) -> None:
        failed = line["failed_start"]
        text = f"The function {failed['function']} could not start. {failed['reason']}\nThe end of its log:\n"
        text += textwrap.indent(failed["log"] or "(empty)", "  | ")
        build.say(f"\n{text}")  # a line of progress may be open
        self.failed_starts.append(text)

    def _vendor(self) -> Child:
        seconds = self._generation_seconds
        pace = () if seconds is None else ("--generation-seconds", str(seconds))
        return Child("local.genviral", "--port", "0", "--json", *pace, environment=_environment(self._work))

    def _endpoints(self, outputs: Mapping[str, str], genviral: Mapping[str, Any]) -> Endpoints:
        # A name below execute-api does not resolve everywhere, so the API is called by its path.
        api_id = (urlsplit(outputs["ApiUrl"]).hostname or "").split(".")[0]
        return Endpoints(
            aws_endpoint=self._aws_endpoint,
            api_url=f"{self._aws_endpoint}/_aws/execute-api/{api_id}",
            genviral_url=genviral["genviral_url"],
            genviral_admin_url=genviral.get("admin_url"),
            region=self._region,
            uploads_bucket=outputs["UploadsBucket"],
            videos_bucket=outputs["VideosBucket"],
            jobs_table=outputs["JobsTable"],
            topic_arn=outputs["TopicArn"],
            state_machine_arn=outputs["StateMachineArn"],
        )

    def _set_key_and_recipes(self, outputs: Mapping[str, str]) -> None:
        """Set the API key and upload the recipes, as an operator does after the first deployment."""
        key = self._api_key or self.genviral_keys["valid"]
        self.client("secretsmanager").put_secret_value(SecretId=outputs["ApiKeySecretArn"], SecretString=key)
        s3 = self.client("s3")
        recipes = build.ROOT / "recipes"
        for file in sorted(path for path in recipes.rglob("*") if path.is_file()):
            name = f"recipes/{file.relative_to(recipes).as_posix()}"
            s3.put_object(Bucket=outputs["UploadsBucket"], Key=name, Body=file.read_bytes())


class Child:
    """A module in its own process. Its first line reports that it is ready, as JSON; it ends when its input closes.

    Args:
        environment: All of its variables.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self._module = module
        self._reader: threading.Thread | None = None
        with _uninterrupted():
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=build.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # A Ctrl-C at the terminal must reach only the parent, which ends its children in order.
            start_new_session=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process by closing its input, and kill it after `STOP_SECONDS`."""
        assert self._process.stdin is not None  # noqa: S101 - they are pipes, which Popen's type does not say
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader:
            self._reader.join()
        self._process.stdout.close()
        self._errors.close()

    def each_line(self, act: Callable[[dict[str, Any]], None]) -> None:
        """Call `act` with every further line of its output, in a thread. Must follow `ready`."""
        self._reader = threading.Thread(target=self._read, args=(act,), daemon=True)
        self._reader.start()

    def _read(self, act: Callable[[dict[str, Any]], None]) -> None:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            act(json.loads(line))

    def ready(self) -> dict[str, Any]:
        """Wait for the JSON that it prints first, and return it: a line, or several if it ends with them.

        Raises:
            CloudFailed: It ended, or printed nothing for `READY_SECONDS`.
        """
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe, which Popen's type does not say
        timer = threading.Timer(READY_SECONDS, self._process.kill)
        timer.daemon = True  # otherwise an interrupt during the start would wait for it
        try:
            timer.start()
            line = self._process.stdout.readline()
            if line.strip() == b"{":
                line += self._process.stdout.read()
        finally:
            timer.cancel()
        if line:
            ready: dict[str, Any] = json.loads(line)
            return ready
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        raise CloudFailed(said[-1] if said else f"{self._module} did not start within {READY_SECONDS} seconds.")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay signals, so that none comes between creating something and registering its removal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _session() -> boto3.session.Session:
    """Return a session that reads no profile and no file of AWS."""
    nothing = (None, None, os.devnull, None)
    return boto3.session.Session(
        botocore_session=botocore.session.Session(
            {"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
        )
    )


def _environment(work: Path) -> dict[str, str]:
    """Return variables for the children: no real AWS credentials, and `work` for temporary files."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name != API_KEY}
    nothing = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    return kept | nothing | {"TMPDIR": str(work), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
