"""Test the AWS stand-in with a small template: Lambda, Step Functions, EventBridge and the HTTP API."""

from __future__ import annotations

import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from local.deploy import DeploymentFailed
from tests.support.small_project import DEFINITION, write_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

NO_VENDOR = "http://127.0.0.1:9/api"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    template = write_project(tmp_path_factory.mktemp("project"))
    with Cloud(template=template, time_scale=0.001, genviral_url=NO_VENDOR, api_key="the.key") as cloud:
        yield cloud


def until(check: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while (seen := check()) is None:
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return seen


def invoke(cloud: Cloud, event: dict[str, Any], function: str = "probe") -> tuple[Any, bool]:
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    return json.loads(answer["Payload"].read()), "FunctionError" in answer


def start(cloud: Cloud, **event: Any) -> str:
    machine = cloud.endpoints.state_machine_arn
    answer = cloud.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(event))
    arn: str = answer["executionArn"]
    return arn


def ended(cloud: Cloud, arn: str) -> dict[str, Any]:
    states = cloud.client("stepfunctions")

    def check() -> dict[str, Any] | None:
        execution: dict[str, Any] = states.describe_execution(executionArn=arn)
        return execution if execution["status"] != "RUNNING" else None

    execution: dict[str, Any] = until(check)
    return execution


def noted(cloud: Cloud, note: str) -> Any:
    table = cloud.client("dynamodb")
    return until(lambda: table.get_item(TableName=cloud.endpoints.jobs_table, Key={"id": {"S": note}}).get("Item"))


def test_a_handler_sees_the_layer_the_runtime_and_nothing_of_this_machine(cloud: Cloud) -> None:
    seen, failed = invoke(cloud, {"do": "inspect"})
    assert not failed
    assert seen["found"] == ["boto3", "httpx", "pydantic", "shared"]
    environment = seen["environment"]
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoints.aws_endpoint
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert environment["VENDOR"] == "http://127.0.0.1:9/api"
    assert environment["SECRET"].startswith("arn:aws:secretsmanager:")
    assert not {"VIRTUAL_ENV", "USER", "PYTEST_CURRENT_TEST", "PYTHONUNBUFFERED"} & environment.keys()
    assert seen["memory"] == "512"
    assert 0 < seen["left"] <= 2000
    assert seen["trace"].startswith("Root=1-")
    assert seen["arn"].endswith(":function:probe")


@pytest.mark.parametrize(
    ("event", "function", "error"),
    [
        ({"do": "fail"}, "probe", "NotEnough"),
        ({"do": "leave"}, "probe", "Runtime.ExitError"),
        ({"do": "sleep", "seconds": 60}, "probe", "Sandbox.Timedout"),
        ({}, "broken", "Runtime.ImportModuleError"),
    ],
)
def test_a_failure_has_the_name_that_lambda_gives_it(cloud: Cloud, event: Any, function: str, error: str) -> None:
    answer, failed = invoke(cloud, event, function)
    assert (answer["errorType"], failed) == (error, True)
    assert invoke(cloud, {"do": "echo", "still": "here"})[0]["still"] == "here"


@pytest.mark.parametrize(("function", "level"), [("probe", None), ("leveled", "INFO")])
def test_lambdas_own_log_level_comes_with_the_format_json(cloud: Cloud, function: str, level: str | None) -> None:
    """Powertools prefers it to the function's own setting, which then has no effect here as on AWS."""
    environment = invoke(cloud, {"do": "inspect"}, function)[0]["environment"]
    assert environment.get("AWS_LAMBDA_LOG_LEVEL") == level


def test_concurrent_invocations_get_own_processes_and_reuse_warm_ones(cloud: Cloud) -> None:
    with ThreadPoolExecutor(3) as pool:
        busy = list(pool.map(lambda _: invoke(cloud, {"do": "sleep", "seconds": 0.5})[0]["pid"], range(3)))
    assert len(set(busy)) == 3
    assert invoke(cloud, {"do": "sleep", "seconds": 0})[0]["pid"] in busy


def test_what_a_function_prints_is_kept(cloud: Cloud) -> None:
    invoke(cloud, {"do": "fail"})
    assert "handling fail" in cloud.logs()
    assert "need 5, have 1" in cloud.logs()


def test_an_execution_runs_waits_in_scaled_time_and_emits_events(cloud: Cloud) -> None:
    arn = start(cloud, do="echo", number=1)
    execution = ended(cloud, arn)
    assert (execution["status"], json.loads(execution["output"])) == ("SUCCEEDED", {"do": "echo", "number": 1})
    events = cloud.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
    assert [event["type"] for event in events][-2:] == ["WaitStateExited", "ExecutionSucceeded"]
    assert noted(cloud, f"Step Functions Execution Status Change|{execution['name']}|SUCCEEDED")


def test_a_caught_error_ends_with_its_own_name_and_cause(cloud: Cloud) -> None:
    execution = ended(cloud, start(cloud, do="fail"))
    assert (execution["status"], execution["error"]) == ("FAILED", "NotEnough")
    assert json.loads(execution["cause"])["errorMessage"] == "need 5, have 1"
    assert noted(cloud, f"Step Functions Execution Status Change|{execution['name']}|FAILED")


def test_a_function_timeout_is_retried_and_then_fails_the_execution(cloud: Cloud) -> None:
    arn = start(cloud, do="sleep", seconds=60)
    assert ended(cloud, arn)["error"] == "Sandbox.Timedout"
    events = cloud.client("stepfunctions").get_execution_history(executionArn=arn)["events"]
    assert [event["type"] for event in events].count("TaskFailed") == 2


def kinds(states: Any, arn: str) -> list[str]:
    return [event["type"] for event in states.get_execution_history(executionArn=arn)["events"]]


def test_a_stopped_execution_is_over_at_once_and_enters_no_further_state(cloud: Cloud) -> None:
    states = cloud.client("stepfunctions")
    arn = start(cloud, do="sleep", seconds=1)
    # Its own state, not the log: an earlier test may have slept there too.
    until(lambda: "TaskStateEntered" in kinds(states, arn) or None)
    states.stop_execution(executionArn=arn, error="Canceled", cause="by a test")
    execution = states.describe_execution(executionArn=arn)
    assert (execution["status"], execution["error"]) == ("ABORTED", "Canceled")
    assert noted(cloud, f"Step Functions Execution Status Change|{execution['name']}|ABORTED")
    invoke(cloud, {"do": "sleep", "seconds": 1.2})
    seen = kinds(states, arn)
    assert [kind for kind in seen if "StateEntered" in kind] == ["TaskStateEntered"]
    assert seen[-1] == "ExecutionAborted"


def test_thirty_executions_at_once_keep_to_themselves(cloud: Cloud) -> None:
    arns = [start(cloud, do="echo", number=number) for number in range(30)]
    outputs = [json.loads(ended(cloud, arn)["output"])["number"] for arn in arns]
    assert outputs == list(range(30))


def test_a_name_starts_once(cloud: Cloud) -> None:
    states = cloud.client("stepfunctions")
    request = {"stateMachineArn": cloud.endpoints.state_machine_arn, "name": "once"}
    event = json.dumps({"do": "sleep", "seconds": 1})
    first = states.start_execution(**request, input=event)
    assert states.start_execution(**request, input=event)["executionArn"] == first["executionArn"]
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        states.start_execution(**request, input="{}")
    ended(cloud, first["executionArn"])
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        states.start_execution(**request, input=event)


def test_a_redrive_resumes_a_failed_execution_and_emits_events(cloud: Cloud) -> None:
    states, table = cloud.client("stepfunctions"), cloud.client("dynamodb")
    arn = start(cloud, do="outage", until="the-end")
    name = arn.rpartition(":")[2]
    failed = ended(cloud, arn)
    assert (failed["error"], failed["redriveCount"], failed["redriveStatus"]) == ("LookupError", 0, "REDRIVABLE")
    states.redrive_execution(executionArn=arn)
    again = ended(cloud, arn)
    assert (again["status"], again["error"], again["redriveCount"]) == ("FAILED", "LookupError", 1)
    assert again["redriveDate"] <= again["stopDate"]
    assert again["startDate"] == failed["startDate"]
    table.put_item(TableName=cloud.endpoints.jobs_table, Item={"id": {"S": "the-end"}})
    first = states.redrive_execution(executionArn=arn, clientToken="token")
    assert states.redrive_execution(executionArn=arn, clientToken="token")["redriveDate"] == first["redriveDate"]
    home = ended(cloud, arn)
    assert (home["status"], home["redriveCount"], "error" in home) == ("SUCCEEDED", 2, False)
    assert home["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    seen = kinds(states, arn)
    assert [seen.count(kind) for kind in ("ExecutionRedriven", "TaskStateEntered", "TaskScheduled")] == [2, 1, 3]
    with pytest.raises(ClientError, match=r"ExecutionNotRedrivable.*SUCCEEDED"):
        states.redrive_execution(executionArn=arn)
    change = f"Step Functions Execution Status Change|{name}"
    assert noted(cloud, f"{change}|RUNNING|1|NOT_REDRIVABLE")
    assert noted(cloud, f"{change}|FAILED|1|REDRIVABLE")
    assert noted(cloud, f"{change}|SUCCEEDED|2|NOT_REDRIVABLE")
    (listed,) = [one for one in listing(states, cloud, "SUCCEEDED") if one["name"] == name]
    assert listed["redriveCount"] == 2


def listing(states: Any, cloud: Cloud, status: str) -> list[dict[str, Any]]:
    pages = states.get_paginator("list_executions").paginate(
        stateMachineArn=cloud.endpoints.state_machine_arn, statusFilter=status
    )
    return [execution for page in pages for execution in page["executions"]]


def test_a_stopped_execution_is_redriven_while_its_task_still_runs(cloud: Cloud) -> None:
    states = cloud.client("stepfunctions")
    arn = start(cloud, do="sleep", seconds=1)
    until(lambda: "TaskStateEntered" in kinds(states, arn) or None)
    with pytest.raises(ClientError, match=r"ExecutionNotRedrivable.*RUNNING"):
        states.redrive_execution(executionArn=arn)
    states.stop_execution(executionArn=arn)
    states.redrive_execution(executionArn=arn)
    assert arn in [one["executionArn"] for one in listing(states, cloud, "RUNNING")]
    assert ended(cloud, arn)["status"] == "SUCCEEDED"
    assert kinds(states, arn).count("TaskStateExited") == 1


def test_what_cannot_be_redriven_or_listed_is_refused_as_on_aws(cloud: Cloud) -> None:
    states, machine = cloud.client("stepfunctions"), cloud.endpoints.state_machine_arn
    with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
        states.redrive_execution(executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:nobody")
    for refused in ({"statusFilter": "PENDING_REDRIVE"}, {"maxResults": 1001}):
        with pytest.raises(ClientError, match="ValidationException"):
            states.list_executions(stateMachineArn=machine, **refused)
    assert len(states.list_executions(stateMachineArn=machine, maxResults=2)["executions"]) == 2


def test_bad_input_and_a_bad_definition_are_refused(cloud: Cloud) -> None:
    states = cloud.client("stepfunctions")
    with pytest.raises(ClientError, match="InvalidExecutionInput"):
        states.start_execution(stateMachineArn=cloud.endpoints.state_machine_arn, input="{")
    with pytest.raises(ClientError, match="missing state 'B'"):
        states.create_state_machine(
            name="bad",
            roleArn="arn:aws:iam::123456789012:role/bad",
            definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}),
        )


def test_an_upload_reaches_the_function_that_its_rule_names(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=cloud.endpoints.uploads_bucket, Key="out/other.jpg", Body=b"x")
    s3.put_object(Bucket=cloud.endpoints.uploads_bucket, Key="in/a shoe.jpg", Body=b"x")
    assert noted(cloud, "Object Created|in/a shoe.jpg|")
    table = cloud.client("dynamodb").scan(TableName=cloud.endpoints.jobs_table)["Items"]
    assert not [item for item in table if "other" in item["id"]["S"]]


@pytest.mark.parametrize(
    ("sent", "returned"),
    [
        (b"AMAZONS3", "AMAZONS3"),
        # AWS's own example: the bytes are read one by one.
        ("ÄMÄZÕÑ S3".encode(), "=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?="),
        ("Grüß".encode("latin-1"), "=?UTF-8?B?R3LDvMOf?="),
        (b"=?UTF-8?B?R3LDvMOfIEdvdHQ=?=", "=?UTF-8?Q?Gr=C3=BC=C3=9F_Gott?="),
        (b"=?UTF-8?Q?actually-ascii?=", "actually-ascii"),
        (b"=?UTF-8?Q?test=5F=E2=80=94=5F2=3F.pdf?=", "=?UTF-8?Q?test=5F=E2=80=94=5F2=3F.pdf?="),
        (b"=?UTF-8?B?AAECAw==?=", "=?UTF-8?B?AAECAw==?="),
        (b"=?UTF-8?B?***", "=?UTF-8?B?***"),
    ],
)
def test_metadata_comes_back_as_s3_writes_it(cloud: Cloud, sent: bytes, returned: str) -> None:
    bucket = cloud.endpoints.uploads_bucket
    answer = httpx.put(
        f"{cloud.endpoints.aws_endpoint}/{bucket}/out/a", headers={b"x-amz-meta-Said": sent}, content=b"x"
    )
    assert answer.status_code == 200
    for read in (cloud.client("s3").head_object, cloud.client("s3").get_object):
        assert read(Bucket=bucket, Key="out/a")["Metadata"] == {"said": returned}


@pytest.mark.parametrize(
    ("sent", "returned"),
    [
        ("ÄMÄZÕÑ S3", "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="),
        ("靴", "=?UTF-8?B?6Z20?="),
        ("=?UTF-8?Q?actually-ascii?=", "=?UTF-8?Q?actually-ascii?="),
    ],
)
def test_a_forms_metadata_is_utf_8_and_comes_back_as_s3_writes_it(cloud: Cloud, sent: str, returned: str) -> None:
    bucket = cloud.endpoints.uploads_bucket
    form = cloud.client("s3").generate_presigned_post(
        bucket, "out/b", Fields={"x-amz-meta-said": sent}, Conditions=[{"x-amz-meta-said": sent}]
    )
    answer = httpx.post(f"{cloud.endpoints.aws_endpoint}/{bucket}", data=form["fields"], files={"file": b"x"})
    assert answer.status_code == 204, answer.text
    assert cloud.client("s3").head_object(Bucket=bucket, Key="out/b")["Metadata"] == {"said": returned}


def test_the_http_api_takes_unsigned_requests(cloud: Cloud) -> None:
    answer = httpx.post(f"{cloud.endpoints.api_url}/videos/7", json="hello")
    assert (answer.status_code, answer.json()) == (202, ["/videos/7", {"job_id": "7"}, '"hello"'])
    assert httpx.post(f"{cloud.endpoints.api_url}/nowhere").status_code == 404


def test_the_secret_holds_the_key_and_a_signed_link_works_for_others(cloud: Cloud) -> None:
    secrets = cloud.client("secretsmanager")
    arn = invoke(cloud, {"do": "inspect"})[0]["environment"]["SECRET"]
    assert secrets.get_secret_value(SecretId=arn)["SecretString"] == "the.key"
    s3 = cloud.client("s3")
    place = {"Bucket": cloud.endpoints.uploads_bucket, "Key": "picture.jpg"}
    s3.put_object(**place, Body=b"a picture")
    assert httpx.get(s3.generate_presigned_url("get_object", Params=place)).content == b"a picture"


def test_changed_code_is_what_runs_next(cloud: Cloud) -> None:
    invoke(cloud, {}, "broken")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("nowhere.py", "def handler(event, context):\n    return 'fixed'\n")
    cloud.client("lambda").update_function_code(FunctionName="broken", ZipFile=archive.getvalue())
    assert invoke(cloud, {}, "broken") == ("fixed", False)


def test_a_definition_with_a_dangling_target_does_not_deploy(tmp_path: Path) -> None:
    template = write_project(tmp_path, DEFINITION.replace("Next: Rest", "Next: Reest"))
    with (
        pytest.raises(DeploymentFailed, match=r"Machine: .*missing state 'Reest'.*Rest cannot be reached"),
        Cloud(template=template, genviral_url=NO_VENDOR, api_key="the.key"),
    ):
        pytest.fail("it deployed")


def test_with_signatures_the_roles_of_the_template_decide(tmp_path: Path) -> None:
    with Cloud(
        template=write_project(tmp_path), time_scale=0.001, sigv4=True, genviral_url=NO_VENDOR, api_key="the.key"
    ) as cloud:
        assert httpx.post(f"{cloud.endpoints.api_url}/videos/7").status_code == 403
        assert ended(cloud, start(cloud, do="echo"))["status"] == "SUCCEEDED"
        answer, failed = invoke(cloud, {"do": "keep", "detail-type": "x", "detail": {"name": "y"}})
        assert failed
        assert "is not authorized to perform: dynamodb:PutItem" in answer["errorMessage"]
        states, iam = cloud.client("stepfunctions"), cloud.client("iam")
        machine = states.describe_state_machine(stateMachineArn=cloud.endpoints.state_machine_arn)
        role = machine["roleArn"].rsplit("/", 1)[-1]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            iam.delete_role_policy(RoleName=role, PolicyName=policy)
        execution = ended(cloud, start(cloud, do="echo"))
        assert (execution["status"], execution["error"]) == ("FAILED", "Lambda.AccessDeniedException"), execution[
            "cause"
        ]
