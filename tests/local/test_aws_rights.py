"""Test how the AWS stand-in evaluates a role by rules of AWS that MiniStack lacks, and that it records decisions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.cloud import Cloud
from tests.support.small_project import write_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

ROLE, BUCKET, KEY = "reader", "shelf", "books/one"
OBJECT = {"Bucket": BUCKET, "Key": KEY}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    template = write_project(tmp_path_factory.mktemp("project"))
    with Cloud(template=template, genviral_url="http://127.0.0.1:9/api", api_key="the.key", sigv4=True) as cloud:
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        everyone = {"AWS": "arn:aws:iam::123456789012:root"}
        trust = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": everyone})
        cloud.client("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)
        yield cloud


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def with_rights(cloud: Cloud) -> Callable[..., Any]:
    """Return a factory of clients whose role has these S3 rights and no others."""

    def client(*actions: str, service: str = "s3") -> Any:
        iam = cloud.client("iam")
        allow = {
            "Effect": "Allow",
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
        }
        iam.put_role_policy(RoleName=ROLE, PolicyName="may", PolicyDocument=policy(allow))
        arn = iam.get_role(RoleName=ROLE)["Role"]["Arn"]
        key = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return boto3.client(
            service,
            region_name=cloud.endpoints.region,
            endpoint_url=cloud.endpoints.aws_endpoint,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key["SessionToken"],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    return client


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return str(raised.value.response["Error"]["Code"])


def test_without_list_rights_a_missing_object_is_not_reported_missing(
    cloud: Cloud, with_rights: Callable[..., Any]
) -> None:
    missing = {"Bucket": BUCKET, "Key": "nothing"}
    assert refusal(with_rights("s3:GetObject").get_object, **missing) == "AccessDenied"
    assert refusal(with_rights("s3:GetObject").head_object, **missing) == "403"
    assert refusal(with_rights("s3:GetObject", "s3:ListBucket").get_object, **missing) == "NoSuchKey"
    cloud.client("s3").put_object(**OBJECT, Body=b"text")
    assert with_rights("s3:GetObject").get_object(**OBJECT)["Body"].read() == b"text"


def test_a_new_object_with_tags_needs_the_right_to_tag(with_rights: Callable[..., Any]) -> None:
    put = with_rights("s3:PutObject")
    put.put_object(**OBJECT, Body=b"text")
    assert refusal(put.put_object, **OBJECT, Body=b"text", Tagging="a=b") == "AccessDenied"
    assert refusal(put.create_multipart_upload, **OBJECT, Tagging="a=b") == "AccessDenied"
    with_rights("s3:PutObject", "s3:PutObjectTagging").put_object(**OBJECT, Body=b"text", Tagging="a=b")


def test_a_topic_without_a_policy_is_its_owners_alone(cloud: Cloud, with_rights: Callable[..., Any]) -> None:
    message = {"TopicArn": cloud.endpoints.topic_arn, "Message": "hello"}
    assert "Authoriz" in refusal(with_rights("s3:GetObject", service="sns").publish, **message)
    cloud.client("sns").publish(**message)


def test_every_decision_about_a_role_is_on_record(cloud: Cloud, with_rights: Callable[..., Any]) -> None:
    before = len(cloud.decisions())
    reader = with_rights("s3:ListBucket")
    reader.list_objects_v2(Bucket=BUCKET)
    assert refusal(reader.delete_object, **OBJECT) == "AccessDenied"
    cloud.client("s3").list_objects_v2(Bucket=BUCKET)  # by the account's root
    assert cloud.decisions()[before:] == [
        {"role": ROLE, "action": "s3:ListBucket", "resource": f"arn:aws:s3:::{BUCKET}", "allowed": True},
        {"role": ROLE, "action": "s3:DeleteObject", "resource": f"arn:aws:s3:::{BUCKET}/{KEY}", "allowed": False},
    ]


def test_events_of_a_versioned_bucket_name_the_version(cloud: Cloud) -> None:
    s3, sqs, events = cloud.client("s3"), cloud.client("sqs"), cloud.client("events")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    may = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy(may | {"Resource": arn})})
    events.put_rule(
        Name="all", EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [BUCKET]}}})
    )
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}})
    put = s3.put_object(**OBJECT, Body=b"more text")
    received: list[dict[str, Any]] = []
    end = time.monotonic() + 20
    while not received and time.monotonic() < end:
        received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
    detail = json.loads(received[0]["Body"])["detail"]
    assert (detail["object"]["key"], detail["object"]["version-id"]) == (KEY, put["VersionId"])
