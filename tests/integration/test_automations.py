"""Test the samples for other people's automations against the running cloud."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # the package has no types

from local import build, deploy
from tests.support.fakes import BODY
from tests.support.laptop import RunningCloud, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples" / "automations"
SAM = ROOT / ".venv-sam" / "bin" / "sam"
GOOD = {"model_id": BODY["model_id"], "prompt": "A very private boat", "params": {"duration_seconds": 1}}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def three_takes(world: RunningCloud) -> str:
    outputs = deploy.deploy(
        SAMPLES / "parent" / "template.yaml",
        stack="parent",
        parameters={"VideoJobArn": world.at.state_machine_arn},
        client=world.cloud.client,
        layer=build.build().layer,
    )
    return outputs["ThreeTakesArn"]


def run(world: RunningCloud, machine: str, name: str, requests: list[Any]) -> dict[str, Any]:
    """Run the parent with these request files until it has ended."""
    keys = [f"assets/{name}/{number}.json" for number in range(len(requests))]
    for key, request in zip(keys, requests, strict=True):
        world.upload(key, json.dumps(request).encode())
    return ended(world, machine, name, {"requests": keys})


def ended(world: RunningCloud, machine: str, name: str, given: Any) -> dict[str, Any]:
    """Run a machine until it has ended."""
    arn = world.sfn.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))["executionArn"]
    described: Callable[[], Any] = lambda: world.sfn.describe_execution(executionArn=arn)  # noqa: E731
    return until(lambda: found if (found := described())["status"] != "RUNNING" else None)


def test_a_parent_waits_for_three_takes_and_goes_on_with_one(world: RunningCloud, three_takes: str) -> None:
    execution = run(world, three_takes, "trio", [{"prompt": "no model"}, GOOD, {**GOOD, "prompt": "A private car"}])
    assert execution["status"] == "SUCCEEDED", execution
    chosen = json.loads(execution["output"])
    assert chosen["job_id"] == "trio-1"
    world.s3.head_object(Bucket=chosen["video"]["bucket"], Key=chosen["video"]["key"])
    assert [world.paid(f"trio-{number}") for number in range(3)] == [0, 1, 1]
    history = world.sfn.get_execution_history(executionArn=execution["executionArn"], maxResults=1000)["events"]
    assert "private" not in json.dumps(history, default=str)
    assert "InvalidPayload" in json.dumps(history, default=str)


@pytest.mark.parametrize(("number", "language"), [(0, "JSONPath"), (1, "JSONata")])
def test_the_pages_task_has_a_video_made(world: RunningCloud, three_takes: str, number: int, language: str) -> None:
    page = (ROOT / "docs" / "integrations.md").read_text().replace("…StateMachineArn…", world.at.state_machine_arn)
    states = yaml_parse(re.findall(r"```yaml\n(MakeVideo:.*?)```", page, re.DOTALL)[number])
    world.upload("assets/requests/boat.json", json.dumps(GOOD).encode())
    definition = {"QueryLanguage": language, "StartAt": "MakeVideo", "States": states}
    role = world.sfn.describe_state_machine(stateMachineArn=three_takes)["roleArn"]
    machine = world.sfn.create_state_machine(name=language, definition=json.dumps(definition), roleArn=role)
    execution = ended(world, machine["stateMachineArn"], language, {"order_id": f"order-{number}"})
    assert execution["status"] == "SUCCEEDED", execution
    output = json.loads(execution["output"])
    assert (output.get("Output", output))["job_id"] == f"order-{number}"


@pytest.mark.skipif(not SAM.exists(), reason="`make lint` or `make build` installs SAM's command line")
def test_the_pages_command_deploys_the_parent(world: RunningCloud) -> None:
    page = (ROOT / "docs" / "integrations.md").read_text()
    (script,) = (block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "sam deploy" in block)
    variables = {
        **world.environment,
        "PATH": f"{SAM.parent}:{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "STATE_MACHINE_ARN": world.at.state_machine_arn,
    }
    ran = subprocess.run(  # noqa: S603 - this project's own page
        ["/bin/sh", "-euc", script], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=180, check=False
    )
    assert ran.returncode == 0, ran.stderr
    outputs = world.cloud.client("cloudformation").describe_stacks(StackName="three-takes")["Stacks"][0]["Outputs"]
    execution = run(world, outputs[0]["OutputValue"], "deployed", [GOOD] * 3)
    assert json.loads(execution["output"])["status"] == "succeeded"


def start_take(world: RunningCloud, name: str, key: str) -> str:
    """Start a video job under a take's name, as somebody else or an earlier run would."""
    answer = world.sfn.start_execution(
        stateMachineArn=world.at.state_machine_arn,
        name=name,
        input=json.dumps({"source": {"type": "request", "key": key}}),
    )
    return str(answer["executionArn"])


def test_a_parent_finds_a_video_that_was_made_under_its_name_before(world: RunningCloud, three_takes: str) -> None:
    world.upload("assets/before.json", json.dumps(GOOD).encode())
    start_take(world, "used-0", "assets/before.json")
    before = json.loads(world.execution("used-0")["output"])
    execution = run(world, three_takes, "used", [{**GOOD, "prompt": "Another boat"}])
    assert (execution["status"], json.loads(execution["output"])) == ("SUCCEEDED", before), execution
    assert world.paid("used-0") == 1


def test_a_take_that_is_canceled_or_fails_with_a_text_leaves_the_others(world: RunningCloud, three_takes: str) -> None:
    # Both names were used before: by a job that was stopped without a document, and by one that somebody canceled.
    for number, error in enumerate([{}, {"error": "JobClosed", "cause": "{No JSON, only a text."}]):
        key = f"assets/stopped-{number}.json"
        world.upload(key, json.dumps(GOOD).encode())
        world.sfn.stop_execution(executionArn=start_take(world, f"mixed-{number}", key), **error)
    execution = run(world, three_takes, "mixed", [GOOD, GOOD, {**GOOD, "prompt": "A third boat"}])
    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(execution["output"])["job_id"] == "mixed-2"


def test_a_job_that_is_canceled_while_its_parent_waits_fails_one_take(world: RunningCloud, three_takes: str) -> None:
    slow = {**GOOD, "params": {"duration_seconds": 10}}
    keys = [f"assets/canceled/{number}.json" for number in range(2)]
    for key, request in zip(keys, (slow, GOOD), strict=True):
        world.upload(key, json.dumps(request).encode())
    arn = world.sfn.start_execution(stateMachineArn=three_takes, name="canceled", input=json.dumps({"requests": keys}))[
        "executionArn"
    ]
    until(lambda: world.api.delete("/videos/canceled-0").is_success or None)
    ended: Callable[[], Any] = lambda: world.sfn.describe_execution(executionArn=arn)  # noqa: E731
    execution = until(lambda: found if (found := ended())["status"] != "RUNNING" else None)
    assert execution["status"] == "SUCCEEDED", execution
    assert json.loads(execution["output"])["job_id"] == "canceled-1"
    assert world.get("canceled-0")["status"] == "canceled"


def test_a_parent_without_a_good_take_fails_and_says_so(world: RunningCloud, three_takes: str) -> None:
    execution = run(world, three_takes, "none", [{"prompt": "no model"}])
    assert (execution["status"], execution["error"]) == ("FAILED", "NothingCameOut")


# ---- a durable function ----------------------------------------------------------------------------------


@pytest.fixture
def durable(world: RunningCloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return the sample's functions as modules, with clients of the running cloud."""
    monkeypatch.setattr(boto3, "client", world.cloud.client)
    monkeypatch.setenv("UPLOADS_BUCKET", world.at.uploads_bucket)
    monkeypatch.setenv("VIDEO_JOB_ARN", world.at.state_machine_arn)

    def module(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"durable_{name}", SAMPLES / "durable" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return module


@contextlib.contextmanager
def running(handler: Callable[..., Any]) -> Iterator[DurableFunctionTestRunner]:
    """Run a durable function, and close the event loop that the runner leaves open."""
    with DurableFunctionTestRunner(handler=handler) as runner:
        yield runner
    loop = runner._scheduler._loop
    for task in asyncio.all_tasks(loop):
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    loop.close()


def callbacks_of(runner: DurableFunctionTestRunner) -> SimpleNamespace:
    """Return the client of the Lambda service that the sample uses, for durable functions in a runner."""
    errors = SimpleNamespace(CallbackTimeoutException=TimeoutError, InvalidParameterValueException=ValueError)
    return SimpleNamespace(
        send_durable_execution_callback_success=lambda CallbackId, Result: runner.send_callback_success(  # noqa: N803
            CallbackId, Result
        ),
        send_durable_execution_callback_failure=lambda CallbackId, Error: runner.send_callback_failure(  # noqa: N803
            CallbackId, ErrorObject.from_dict(Error)
        ),
        exceptions=errors,
    )


@pytest.mark.parametrize(("request_", "outcome"), [(GOOD, "SUCCEEDED"), ({"prompt": "no model"}, "FAILED")])
def test_a_durable_function_waits_for_its_video(
    world: RunningCloud,
    durable: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    request_: dict[str, Any],
    outcome: str,
) -> None:
    ask, answer = durable("ask"), durable("answer")
    with running(ask.handler) as runner:
        monkeypatch.setattr(answer, "aws", callbacks_of(runner))
        arn = runner.run_async(input=json.dumps({"request": {**request_, "metadata": {"order": "7"}}}))
        notification = world.await_notification(
            lambda one: (
                str(one.get("job_id")).startswith("durable-") and (one["status"] == "succeeded") == (request_ is GOOD)
            )
        )
        # The record of a job that was started by hand may know no file.
        message = json.dumps({**notification, "source": {"type": "execution"}})
        for _ in range(2):  # delivery is at least once
            answer.handler({"Records": [{"Sns": {"Message": message}}]}, None)
        result = runner.wait_for_result(arn)
    assert result.status.value == outcome
    kept = world.s3.list_objects_v2(Bucket=world.at.uploads_bucket, Prefix=f"assets/{notification['job_id']}")
    assert kept["KeyCount"] == 0
    if request_ is GOOD:
        assert notification["metadata"]["order"] == "7"
        assert json.loads(result.result or "null") == notification["video"]
        assert world.paid(notification["job_id"]) == 1


# ---- events ----------------------------------------------------------------------------------------------


def test_a_rule_puts_the_events_of_finished_videos_into_a_queue_and_a_web_hook_gets_all(world: RunningCloud) -> None:
    resources = yaml_parse((SAMPLES / "events" / "template.yaml").read_text())["Resources"]
    events, sqs = world.cloud.client("events"), world.cloud.client("sqs")
    url = sqs.create_queue(QueueName="videos")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    machine = world.at.state_machine_arn
    prefix = f"{machine.replace(':stateMachine:', ':execution:')}:"
    hook = WebHook()
    key = {"ApiKeyName": "x-genviral-key", "ApiKeyValue": "a secret"}
    assert (
        resources["WebHook"]["Properties"]["AuthParameters"]["ApiKeyAuthParameters"]["ApiKeyName"] == "x-genviral-key"
    )
    connection = events.create_connection(
        Name="hook", AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
    )
    destination = events.create_api_destination(
        Name="hook", ConnectionArn=connection["ConnectionArn"], InvocationEndpoint=hook.url, HttpMethod="POST"
    )
    for name, target in (("ToQueue", arn), ("ToWebHook", destination["ApiDestinationArn"])):
        rule = resources[name]["Properties"]
        (executions,) = rule["EventPattern"]["resources"]
        assert resolved(executions["prefix"]["Fn::Sub"], machine) == prefix
        pattern = {**rule["EventPattern"], "resources": [{"prefix": prefix}]}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern), State="ENABLED")
        (given,) = rule["Targets"]
        more = {option: given[option] for option in ("InputPath",) if option in given}
        events.put_targets(Rule=name, Targets=[{"Id": given["Id"], "Arn": target, **more}])
    another = {"notification_id": "x", "status": "succeeded", "summary": "x", "source": {}, "job_id": "another-stack"}
    entry = {"Source": "genviral.video", "DetailType": "Video Succeeded", "Detail": json.dumps(another)}
    with hook:
        for there in ([f"{prefix[:-1]}Other:x"], []):
            events.put_events(Entries=[{**entry, "Resources": there}])
        jobs = [world.post(body).json()["job_id"] for body in (GOOD, {**GOOD, "prompt": "content_policy"})]
        notifications = [world.notification_of_job(job) for job in jobs]
        posted = until(lambda: hook.posted if len(hook.posted) >= len(jobs) else None)
    bodies = {body["job_id"]: body for _, body in posted}
    assert [bodies[job] for job in jobs] == notifications
    assert "another-stack" not in bodies
    assert {headers["x-genviral-key"] for headers, _ in posted} == {"a secret"}
    received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10)["Messages"]
    details = {(detail := json.loads(message["Body"])["detail"])["job_id"]: detail for message in received}
    assert {detail["status"] for detail in details.values()} == {"succeeded"}
    assert jobs[0] in details
    assert "another-stack" not in details
    # The stand-in has no pipes, so fill in the template as EventBridge does: a pipe reads a body of JSON by itself.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html
    template = resources["VideoPipe"]["Properties"]["TargetParameters"]["InputTemplate"]
    given = [json.loads(filled(template, {**one, "body": json.loads(one["Body"])})) for one in received]
    assert {"job_id": jobs[0], "video": notifications[0]["video"]} in given


def resolved(sub: list[Any], machine: str) -> str:
    """Return the text of a `Fn::Sub` whose only own variable is the machine's name."""
    text, variables = sub
    select: list[Any] = variables["Name"]["Fn::Select"]
    assert select == [6, {"Fn::Split": [":", {"Ref": "VideoJobArn"}]}]
    _, partition, _, region, account, *_ = machine.split(":")
    given = {"AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": account}
    for name, value in {**given, "Name": machine.split(":")[select[0]]}.items():
        text = text.replace(f"${{{name}}}", value)
    return str(text)


def filled(template: str, message: dict[str, Any]) -> str:
    """Fill in the placeholders of a pipe's input template, `<$.a.b>`, with JSON values."""

    def value(path: re.Match[str]) -> str:
        return json.dumps(functools.reduce(lambda found, name: found[name], path[1].split("."), message))

    return re.sub(r"<\$\.([^>]+)>", value, template)


def test_a_chat_room_is_told_of_a_job_in_one_thread(world: RunningCloud) -> None:
    (topic,) = [
        one["TopicArn"] for one in world.cloud.client("sns").list_topics()["Topics"] if "ChatTopic" in one["TopicArn"]
    ]
    url = world.subscribe("room", topic)
    job = world.post(GOOD).json()["job_id"]
    sqs = world.cloud.client("sqs")

    def told() -> dict[str, Any] | None:
        received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", [])
        messages = [json.loads(message["Body"]) for message in received]
        return next((message for message in messages if message["metadata"]["threadId"] == job), None)

    message = until(told)
    assert (message["version"], message["source"]) == ("1.0", "custom")
    assert message["content"]["title"] == ":clapper: The video is ready."
    assert GOOD["prompt"] not in json.dumps(message)


class WebHook:
    """A receiver on the loopback that keeps what is posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[dict[str, str], Any]] = []
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                posted.append((headers, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/videos"

    def __enter__(self) -> WebHook:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
