"""Test the roles: no wildcard without a reason, no right granted twice, and a fresh table."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

import pytest

from tools import iam, iam_proof
from tools import translate_template as plain
from tools.iam_proof import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOURCES = {
    "*": "Step Functions' log delivery knows no resources: https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html",
    "${AWS::StackName}-ChatTopic-*": "the room's topic exists only where it is wanted; its name is CloudFormation's",
    "UploadsBucket/assets/*": "the keys of what a manifest names are the users' to choose",
    "UploadsBucket/batches/*": "the keys of batches are the users' to choose",
    "UploadsBucket/plans/*": "a plan's key holds its batch's id",
    "UploadsBucket/recipes/*": "the keys of recipes are the users' to choose",
    "UploadsBucket/requests/*": "the keys of request files are the users' to choose",
    "UploadsBucket/uploads/*": "the keys of uploads are the users' to choose",
    "VideosBucket/batches/*": "a report's key holds its batch's id",
    "VideosBucket/videos/*": "a video's key holds its job's id and date",
    "VideosBucket/videos/*.partial": "a note's key holds its job's id and date",
    "execution:BatchJob:*": "an execution's name is its batch's id",
    "execution:BatchJob/*": "a map's child executions are named by Step Functions",
    "execution:VideoJob:*": "an execution's name is its job's id",
}
"""A resource with a wildcard → why it needs one."""

ACTIONS = {
    "kms:GenerateDataKey*": "GenerateDataKey and GenerateDataKeyWithoutPlaintext, as the services' own pages have it",
    "kms:ReEncrypt*": "ReEncryptFrom and ReEncryptTo, as DynamoDB's own page has it",
}
"""An action with a wildcard → why it needs one."""

MANAGED = {
    "AWSLambdaBasicExecutionRole": "writes the function's log; SAM gives it to every function",
    "AWSXrayWriteOnlyAccess": "sends traces, and X-Ray knows no resources",
    "AWSCodeDeployRoleForLambdaLimited": "moves the API's alias by a canary; CodeDeploy's page asks for it",
}
"""A policy of AWS's own → why a role has it. These have wildcards."""


def test_no_wildcard_without_a_reason() -> None:
    rights = list(iam.rights())
    assert len(rights) > 50
    assert {right.resource for right in rights if "*" in right.resource} == RESOURCES.keys()
    assert {right.action for right in rights if "*" in right.action} == ACTIONS.keys()
    assert {name for names in iam.managed_by_aws().values() for name in names} == MANAGED.keys()


def test_only_the_account_as_a_whole_is_kept_out_by_statements_for_all() -> None:
    """Resource policies name whom they allow, and a service must come from this account or this API."""
    for name, statement in resource_statements():
        if statement["Effect"] == "Allow":
            assert statement["Principal"] != "*", name
            assert "*" not in str(statement["Principal"]), name
        else:
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, name


def resource_statements() -> Iterator[tuple[str, dict[str, Any]]]:
    kinds = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
    for name, resource in plain.template()["Resources"].items():
        if resource["Type"] in kinds:
            yield from ((name, one) for one in resource["Properties"]["PolicyDocument"]["Statement"])


def test_every_permission_to_invoke_names_who_may() -> None:
    permissions = [one for one in plain.template()["Resources"].values() if one["Type"] == "AWS::Lambda::Permission"]
    assert permissions
    for permission in permissions:
        assert {"SourceArn", "Principal"} <= permission["Properties"].keys()


def test_no_right_is_given_twice() -> None:
    given = [(right.role, right.action, right.resource) for right in iam.rights()]
    once = [one for one in given if not one[1].startswith("kms:")]  # by two statements, through different services
    assert len(once) == len(set(once))


def test_what_cannot_be_shown_says_where_aws_asks_for_it() -> None:
    names = [f"{right.role}:{right.action}:{right.resource}" for right in iam.rights()]
    for pattern, reason in iam_proof.NOT_SHOWN.items():
        assert fnmatch.filter(names, pattern), f"{pattern} matches no right"
        assert re.search(r"https://docs\.aws\.amazon\.com/\S+", reason), pattern


RIGHT = iam.Right("SubmitFunctionRole", "P", 0, "Read", "s3:GetObject", "Bucket/*", 0)
USED = {"tests/a.py::one": {("SubmitFunctionRole", "s3:GetObject")}, "tests/a.py::two": {("Other", "s3:GetObject")}}


@pytest.mark.parametrize(
    ("right", "failed", "refused", "verdict"),
    [
        (RIGHT, "tests/a.py::one", {("SubmitFunctionRole", "s3:GetObject")}, "needed"),
        (RIGHT, None, {("SubmitFunctionRole", "s3:GetObject")}, "SURPLUS: every test"),
        (RIGHT, "tests/a.py::one", {("Other", "s3:GetObject")}, "UNCLEAR"),
        (iam.Right("X", "P", 0, "", "s3:GetObject", "Bucket/*", 0), None, set(), "SURPLUS: no test"),
        (iam.Right("X", "P", 0, "", "sqs:SendMessage", "EventsDlq", 0), None, set(), "not shown here"),
    ],
)
def test_what_the_proof_concludes(
    monkeypatch: pytest.MonkeyPatch,
    right: iam.Right,
    failed: str | None,
    refused: set[tuple[str, str]],
    verdict: str,
) -> None:
    asked = []

    def run(tests: list[str], *, without: iam.Right | None = None) -> Run:
        asked.append((tests, without))
        return Run(failed, refused, {}, "")

    monkeypatch.setattr(iam_proof, "run", run)
    assert iam_proof.examine(right, USED).verdict.startswith(verdict)
    assert asked in ([], [(["tests/a.py::one"], right)])
