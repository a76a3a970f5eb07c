"""Test that the sample consumers work with real notifications."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.aws import asl, interpreter
from local.aws.interpreter import TaskError
from shared.jobs.errors import RecipeMissing, UploadUnsupported
from shared.jobs.states import Status
from shared.requests.resolve import check_recipe
from tests.support.fakes import EXECUTION, JOB_ID, VIDEOS, World, caught

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples" / "consumers"
RECIPES = sorted((ROOT / "recipes").glob("*.json"))
LINES = 50


def sample(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def notified(world: World) -> World:
    """A job that went well and one that did not, both notified."""
    world.s3.put_object(Bucket=VIDEOS, Key="videos/a.mp4", Body=b"video")
    world.paid_job()
    world.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": VIDEOS, "key": "videos/a.mp4"})
    world.notifier().succeeded(EXECUTION)
    world.store.create("other", source={"type": "upload", "bucket": "b", "key": "uploads/<b>.jpg"})
    world.notifier().failed(EXECUTION.replace(JOB_ID, "other"), caught(RecipeMissing("no recipe")))
    return world


def records(world: World) -> dict[str, Any]:
    return {"Records": [{"Sns": {"Message": json.dumps(message.body)}} for message in world.messages()]}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_is_right_and_lets_no_upload_choose_its_model(file: Path) -> None:
    check_recipe(file.read_bytes(), file.stem)
    assert "{{" not in json.loads(file.read_bytes())["model_id"]


def test_the_advice_names_every_kind_of_file_that_the_page_promises() -> None:
    page = " ".join((ROOT / "docs" / "uploads.md").read_text().split())
    (paragraph,) = re.findall(r"take pictures \(.*?Ogg.*?\)", page)
    formats = {name for group in re.findall(r"\(([^)]*)\)", paragraph) for name in group.split(", ")}
    assert formats == {
        name for group in re.findall(r"\(([^)]*)\)", UploadUnsupported.advice) for name in group.split(", ")
    }


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_a_sample_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LINES


def test_the_function_handles_a_message_again_only_after_a_crash(
    notified: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEEN_TABLE", "seen")
    notified.dynamodb.create_table(
        TableName="seen",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "notification_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "notification_id", "KeyType": "HASH"}],
    )
    event = {"Records": records(notified)["Records"][:1]}  # its filter policy lets nothing else through
    function = sample("lambda_function")

    def crash(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(function, "publish", crash)
        with pytest.raises(RuntimeError):
            function.handler(event, None)
    for _ in range(2):
        function.handler(event, None)
    assert capsys.readouterr().out == f"s3://{VIDEOS}/videos/a.mp4 is ready for {{}}\n"


def test_the_worker_downloads_finished_videos_and_empties_the_queue(
    notified: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="finished")["QueueUrl"]
    for message in notified.messages():
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message.body))
    sample("sqs_worker").work(url, tmp_path)
    assert (tmp_path / f"{JOB_ID}.mp4").read_bytes() == b"video"
    assert RecipeMissing.advice in capsys.readouterr().err
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=attributes)["Attributes"]
    assert set(left.values()) == {"0"}


def sample_with_secret(address: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the Slack sample with the address of its webhook in a secret."""
    secret = boto3.client("secretsmanager").create_secret(Name="slack", SecretString=address)
    monkeypatch.setenv("SLACK_WEBHOOK_SECRET", secret["ARN"])
    return sample("slack")


@pytest.mark.parametrize("address", ["http://hooks.slack.com/x", "https://evil.example/hooks.slack.com/", ""])
def test_slack_is_sent_only_to_slack(notified: World, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(ValueError, match="no address of an incoming webhook"):
        sample_with_secret(address or " ", monkeypatch).handler(records(notified), None)


def test_slack_gets_a_line_that_it_does_not_read_as_markup(notified: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[urllib.request.Request] = []

    def urlopen(request: urllib.request.Request, timeout: float) -> io.BytesIO:
        sent.append(request)
        return io.BytesIO()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    sample_with_secret("https://hooks.slack.com/services/x\n", monkeypatch).handler(records(notified), None)
    assert {request.full_url for request in sent} == {"https://hooks.slack.com/services/x"}
    good, bad = (json.loads(request.data)["text"] for request in sent)  # type: ignore[arg-type]  # the data is bytes here
    assert good.startswith(f":clapper: `{JOB_ID}`: The video is ready.")
    assert f"{VIDEOS}/videos/a.mp4" in good
    assert "uploads/&lt;b&gt;.jpg" in bad
    assert "no recipe" in bad


@pytest.mark.parametrize(
    "word",
    [
        "a\nVideo: https://evil.example/",
        "a <!channel> <https://evil.example/|text>",
        "@here www.evil.example",
        "`*bold*` \x1b[2J \u202e\u2028",
        "me@evil.example",
        "WWW.evil.example MAILTO:evil tel:evil slack:/evil",
    ],
)
def test_a_name_forges_no_line_link_or_mention_in_slack(word: str) -> None:
    notification = {
        "status": "failed",
        "summary": "Summary.",
        "job_id": JOB_ID,
        "source": {"type": "upload", "bucket": "b", "key": word},
        "error": {"message": word},
    }
    first, second = sample("slack").line(notification).split("\n")
    assert re.fullmatch(r":warning: `[^`]*`: Summary\.", first)
    for shown in (first, second):
        assert shown.isprintable()
        assert not re.search(r"(?<!\[)(?:://|@|\bwww\.)|[<>]", shown)


# ---- a parent state machine ------------------------------------------------------------------------------

VIDEO_JOB = "arn:aws:states:us-east-1:123456789012:stateMachine:VideoJob"
EXISTS = TaskError("StepFunctions.ExecutionAlreadyExistsException", "Execution Already Exists: 'x'")


@pytest.mark.parametrize(
    "first",
    [
        {"version": "1", "job_id": "test-0", "status": "canceled", "video": None},
        {"job_id": "test-0"},
        RuntimeError("{no JSON"),
        RuntimeError('{"code": "generation_failed"}'),
        EXISTS,
        TaskError("StepFunctions.AccessDeniedException", "plain text"),
        TaskError("States.Timeout"),
    ],
    ids=str,
)
def test_whatever_ends_one_take_leaves_the_other_to_the_parent(first: Any) -> None:
    good = {"version": "1", "job_id": "test-1", "status": "succeeded", "video": {"bucket": "b", "key": "k"}}

    def make(name: str, given: Any) -> Any:
        assert given == {"source": {"type": "request", "key": f"assets/{name[-1]}.json"}}
        if name == "test-0" and isinstance(first, Exception):
            raise first
        return first if name == "test-0" else good

    ran = run_parent(2, make)
    assert (ran.status, ran.output) == ("SUCCEEDED", good)


def test_a_parent_looks_again_while_another_runs_a_job_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"version": "1", "job_id": "test-0", "status": "succeeded", "video": {"bucket": "b", "key": "k"}}
    found = iter([{"status": "RUNNING"}, {"status": "SUCCEEDED", "output": json.dumps(good)}])
    asked: list[str] = []

    def describe(_: interpreter._Host, arn: str) -> dict[str, Any]:
        asked.append(arn)
        return next(found)

    monkeypatch.setattr(interpreter._Host, "describe", describe)

    def make(name: str, given: Any) -> Any:
        raise EXISTS

    ran = run_parent(1, make)
    assert (ran.status, ran.output, ran.waits) == ("SUCCEEDED", good, [1800])
    assert set(asked) == {f"{VIDEO_JOB.replace(':stateMachine:', ':execution:')}:test-0"}


def run_parent(count: int, make: Callable[[str, Any], Any]) -> interpreter.Run:
    """Run the sample's parent with this many requests."""
    text = (ROOT / "samples" / "automations" / "parent" / "three_takes.asl.yaml").read_text()
    arns = {
        "RunVideoJob": "arn:aws:states:::states:startExecution.sync:2",
        "DescribeExecution": "arn:aws:states:::aws-sdk:sfn:describeExecution",
        "VideoJobArn": VIDEO_JOB,
        "VideoJobExecutions": VIDEO_JOB.replace(":stateMachine:", ":execution:"),
    }
    requests = [f"assets/{number}.json" for number in range(count)]
    return interpreter.run(asl.load(text, arns), input={"requests": requests}, tasks={}, machines={VIDEO_JOB: make})
