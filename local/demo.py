"""Run a whole job for one picture and show its upload, states, file, facts and notification.

Like a user of AWS, the demo uses only S3, Step Functions' history, the HTTP API and a subscribed queue.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import httpx

from local import terminal
from local.build import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.cloud import Cloud

SAMPLE = ROOT / "samples" / "product.jpg"
PARAMETERS = {"PollFloorSeconds": "1", "PollCapSeconds": "1"}
"""The demo polls often, because its generation takes seconds; the template's defaults fit minutes."""
GENERATION_SECONDS = 4.0
_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.1
_ESTIMATE_SECONDS = 1.0
_RECIPE = "demo"
_SILENT = frozenset({"ChoiceStateExited", "PassStateExited"})


class DemoFailed(Exception):
    """The job did not end with a video and its notification; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a video file: codecs' names, bytes, seconds, pixels."""

    codec: str
    audio: str | None
    bytes: int
    seconds: float
    width: int
    height: int
    fps: float

    @classmethod
    def of(cls, file: Path) -> Facts:
        """Read the facts, and decode the first frame to verify that the file plays.

        Raises:
            DemoFailed: It is no playable video.
        """
        try:
            with av.open(str(file)) as container:
                video = container.streams.video[0]
                next(container.decode(video))
                audio = container.streams.audio[0].codec_context.name if container.streams.audio else None
                return cls(
                    codec=video.codec_context.name,
                    audio=audio,
                    bytes=file.stat().st_size,
                    seconds=round(container.duration / av.time_base, 2),
                    width=video.width,
                    height=video.height,
                    fps=round(float(video.average_rate or 0), 2),
                )
        except (av.FFmpegError, IndexError, StopIteration) as error:
            raise DemoFailed(f"{file} is no playable video ({type(error).__name__}).") from None

    def __str__(self) -> str:
        ratio = Fraction(self.width, self.height)
        return (
            f"{self.codec}{f' + {self.audio}' if self.audio else ''}, {self.bytes:,} bytes, {self.seconds} s, "
            f"{self.width}x{self.height} ({ratio.numerator}:{ratio.denominator}), {self.fps:g} fps"
        )


class Progress:
    """Prints one line per step, unless it is quiet. On a terminal, the last line also shows the current state."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._start = time.monotonic()
        self._quiet = quiet
        self._live = sys.stdout.isatty() and not quiet
        self._columns = terminal.columns()
        self._open: str | None = None

    def done(self, text: str) -> None:
        """Print a permanent line."""
        if self._quiet:
            return
        self._clear()
        print(self._line(text), flush=True)

    def waiting(self, text: str) -> None:
        """Print the current state if the line can be overwritten."""
        if self._live:
            self._clear()
            print(self._line(f"{text} ..."), end="", flush=True)
            self._open = text

    def _clear(self) -> None:
        if self._open is not None:
            print("\r\033[K", end="")
            self._open = None

    def _line(self, text: str) -> str:
        # A line that fills the last column wraps on some terminals.
        width = None if self._columns is None else self._columns - 1
        return terminal.fit(f"{time.monotonic() - self._start:6.1f} s  {text}", width)


def run(
    cloud: Cloud, *, image: Path, recipe: Path | None = None, prompt: str | None = None, out: Path, quiet: bool = False
) -> dict[str, Any]:
    """Upload the picture and follow the job to its end.

    Args:
        cloud: The running cloud.
        image: The picture.
        recipe: The recipe's file; None for the default recipe.
        prompt: A prompt instead of the recipe's own.
        out: The folder for the video.
        quiet: Whether to print nothing.

    Returns:
        The video's `file`, its `facts` and the `notification`.

    Raises:
        DemoFailed: The job did not end with a playable video and its notification.
    """
    progress = Progress(quiet=quiet)
    inbox = Inbox(cloud, "demo-inbox")
    key = _upload(cloud, image, recipe, prompt)
    progress.done(f"Upload           s3://{cloud.endpoints.uploads_bucket}/{key}")
    job_id = _follow(cloud, key, progress)
    message = inbox.wait_for(job_id)
    progress.done("Notification     received")
    if message["status"] != "succeeded":
        raise DemoFailed(f"\n{_failure(message)}")
    file = _download(cloud, message["video"], out)
    facts = Facts.of(file)
    if not quiet:
        _print(file, facts, message)
    return {"file": str(file), "facts": asdict(facts), "notification": message}


def _print(file: Path, facts: Facts, message: dict[str, Any]) -> None:
    print(f"\nVideo          {terminal.visible(str(file))}")
    print(f"Facts          {facts}")
    print("Notification   as a subscribed queue received it:\n")
    text = json.dumps(message, indent=2, ensure_ascii=not sys.stdout.encoding.lower().startswith("utf"))
    print(terminal.visible(text))


class Inbox:
    """A queue that is subscribed to the topic, like a user's."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self._cloud = cloud
        self._sqs = cloud.client("sqs")
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        cloud.client("sns").subscribe(
            TopicArn=cloud.endpoints.topic_arn,
            Protocol="sqs",
            Endpoint=attributes["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )

    def received(self, wait_seconds: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the notifications that have come, and remove them."""
        options = {"WaitTimeSeconds": wait_seconds, "MaxNumberOfMessages": 10}
        for item in self._sqs.receive_message(QueueUrl=self._url, **options).get("Messages", []):
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=item["ReceiptHandle"])
            yield json.loads(item["Body"])

    def wait_for(self, job_id: str) -> dict[str, Any]:
        """Return the notification of a job.

        Raises:
            DemoFailed: None came in time.
        """
        end = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < end:
            self._cloud.check()
            for message in self.received(wait_seconds=1):
                if message.get("job_id") == job_id:
                    return message
        raise DemoFailed(f"No notification came within {_TIMEOUT_SECONDS:.0f} seconds.")


class _Estimate:
    """The remaining time, from the API."""

    def __init__(self, cloud: Cloud) -> None:
        self._api = cloud.endpoints.api_url
        self._asked = 0.0
        self._said = ""

    def of(self, job_id: str) -> str:
        """Return the estimate, requested at most once a second."""
        if time.monotonic() > self._asked + _ESTIMATE_SECONDS:
            self._asked = time.monotonic()
            # The estimate is optional, and may time out on a busy machine.
            with contextlib.suppress(httpx.HTTPError, ValueError):
                self._said = httpx.get(f"{self._api}/videos/{job_id}", timeout=5).json().get("estimate", "")
        return self._said


def _upload(cloud: Cloud, image: Path, recipe: Path | None, prompt: str | None) -> str:
    s3 = cloud.client("s3")
    bucket = cloud.endpoints.uploads_bucket
    folder = ""
    if recipe is not None or prompt is not None:
        body = (recipe or ROOT / "recipes" / "default.json").read_bytes()
        if prompt is not None:
            body = _with_prompt(body, prompt)
        s3.put_object(Bucket=bucket, Key=f"recipes/{_RECIPE}.json", Body=body)
        folder = f"{_RECIPE}/"
    key = f"uploads/{folder}{image.name}"
    s3.put_object(Bucket=bucket, Key=key, Body=image.read_bytes())
    return key


def _with_prompt(recipe: bytes, prompt: str) -> bytes:
    try:
        return json.dumps({**json.loads(recipe), "prompt": prompt}).encode()
    except (ValueError, TypeError):
        return recipe  # the job reports the mistake


def _follow(cloud: Cloud, key: str, progress: Progress) -> str:
    """Show the states of the upload's execution until it ends. Returns the job's id."""
    sfn = cloud.client("stepfunctions")
    end = time.monotonic() + _TIMEOUT_SECONDS
    execution = None
    estimate = _Estimate(cloud)
    seen = 0
    state = "Upload"
    while time.monotonic() < end:
        cloud.check()
        if execution is None:
            progress.waiting("Waiting for the upload's event")
            started = sfn.list_executions(stateMachineArn=cloud.endpoints.state_machine_arn)["executions"]
            execution = started[0] if started else None
        if execution is not None:
            # Read the status first: a final status then means a complete history.
            status = sfn.describe_execution(executionArn=execution["executionArn"])["status"]
            events = sfn.get_execution_history(executionArn=execution["executionArn"], maxResults=1000)["events"]
            for event in events[seen:]:
                state = _show(event, state, progress)
            seen = len(events)
            if status != "RUNNING":
                return str(execution["name"])
            progress.waiting(f"{state:<16} {estimate.of(execution['name']) if state == 'Wait' else ''}".rstrip())
        time.sleep(_POLL_SECONDS)
    raise DemoFailed(f"The job of {key} did not end within {_TIMEOUT_SECONDS:.0f} seconds.")


def _show(event: dict[str, Any], state: str, progress: Progress) -> str:
    """Print a line if the event ends a state. Returns the current state."""
    if entered := event.get("stateEnteredEventDetails"):
        return str(entered["name"])
    left = event.get("stateExitedEventDetails")
    if left and event["type"] not in _SILENT:
        output = json.loads(left.get("output") or "{}")
        progress.done(f"{left['name']:<16} {what_came(left['name'], output)}".rstrip())
    return state


def what_came(state: str, output: dict[str, Any]) -> str:
    """Return the readable part of a state's output."""
    if error := output.get("error"):
        return str(error["Error"])
    if state == "Submit":
        return f"video {output.get('video_id')}"
    if state == "Poll":
        return str(output.get("status"))
    if state == "Deliver":
        video = output.get("delivery", {}).get("video", {})
        return f"s3://{video.get('bucket')}/{video.get('key')}"
    return ""


def _download(cloud: Cloud, video: dict[str, Any], out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    file = out / re.sub(r"[^\w.-]", "_", video["key"].rsplit("/", 1)[-1])
    cloud.client("s3").download_file(video["bucket"], video["key"], str(file))
    return file


def _failure(message: dict[str, Any]) -> str:
    error = message.get("error", {})
    issues = "".join(f"\n  - {issue['path']}: {issue['message']}" for issue in error.get("issues", ()))
    paid = "nobody knows" if message["paid"] == "unknown" else message["paid"]
    return (
        f"The job ended as {message['status']}: {error.get('message')} ({error.get('code')}).{issues}\n"
        f"Paid           {paid}\n"
        f"What to do     {error.get('advice', message['summary'])}"
    )
