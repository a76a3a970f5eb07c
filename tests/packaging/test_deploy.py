"""Test `make deploy` and `make package` against a fake `sam` and a fake S3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import moto
import pytest
import yaml

from tools import build, deploy, docs

if TYPE_CHECKING:
    from pathlib import Path

FAKE = """
import json, sys
from pathlib import Path
calls = Path({calls!r})
calls.write_text((calls.read_text() if calls.exists() else "") + json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] in {failing!r}:
    sys.exit(1)
if sys.argv[1] == "list":
    print({outputs!r})
if sys.argv[1] == "package":
    Path(sys.argv[sys.argv.index("--output-template-file") + 1]).write_text({packaged!r})
"""
PACKAGED = """
Transform: AWS::Serverless-2016-10-31
Resources:
  One:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: 's3://shared/code', Handler: app.handler, Runtime: python3.13}
"""
OUTPUTS = {
    "ApiUrl": "https://a1b2.execute-api.eu-central-1.amazonaws.com",
    "ApiKeySecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ApiKeySecret-x-AbC123",
    "UploadsBucket": "my-stack-uploads",
    "VideosBucket": "my-stack-videos",
    "TopicArn": "arn:aws:sns:eu-central-1:123456789012:my-stack-Topic-1",
    "AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:my-stack-AlarmTopic-2",
}


class Sam:
    """A `sam` that writes down how it was called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...] = ()) -> None:
        self._calls = folder / "calls"
        listed = json.dumps([{"OutputKey": name, "OutputValue": value} for name, value in OUTPUTS.items()])
        module = folder / "samcli"
        module.mkdir()
        (module / "__init__.py").touch()
        (module / "__main__.py").write_text(
            FAKE.format(calls=str(self._calls), failing=failing, outputs=listed, packaged=PACKAGED)
        )
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setattr(deploy, "ROOT", folder)
        monkeypatch.setattr(deploy, "PACKAGED", folder / "build" / "package.json")
        monkeypatch.setattr(build, "build", lambda _: [])

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()]


def test_a_deployment_says_what_to_do_next_with_the_stacks_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sam = Sam(tmp_path, monkeypatch)
    chosen = ["--region", "eu-central-1", "--stack-name=my-stack"]
    assert deploy.main(["deploy", *chosen, "--parameter-overrides", "Stage=dev"]) == 0
    assert sam.calls == [
        ["deploy", *chosen, "--parameter-overrides", "Stage=dev"],
        ["list", "stack-outputs", "--output", "json", *chosen],
    ]
    said = capsys.readouterr().out
    assert [value for value in OUTPUTS.values() if value not in said] == []
    assert said.count("--region eu-central-1") >= 5


def test_a_deployment_that_fails_says_so_and_gives_no_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sam = Sam(tmp_path, monkeypatch, failing=("deploy",))
    assert deploy.main(["deploy"]) == 1
    assert [call[0] for call in sam.calls] == ["deploy"]
    assert capsys.readouterr() == ("", "`sam deploy` failed.\n")


def test_the_advice_needs_no_output_that_some_stacks_lack() -> None:
    outputs = docs.template()["Outputs"]
    assert [name for name in OUTPUTS if "Condition" in outputs[name]] == []


@pytest.mark.parametrize(
    ("region", "host", "console", "partition"),
    [
        ("eu-central-1", "s3.eu-central-1.amazonaws.com", "eu-central-1.console.aws.amazon.com", "aws"),
        ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com", "us-gov-west-1.console.amazonaws-us-gov.com", "aws-us-gov"),
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn", "cn-north-1.console.amazonaws.cn", "aws-cn"),
        ("eusc-de-east-1", "s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1.console.amazonaws-eusc.eu", "aws-eusc"),
    ],
)
def test_a_package_is_one_template_in_the_bucket_and_a_link_to_launch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str, host: str, console: str, partition: str
) -> None:
    sam = Sam(tmp_path, monkeypatch)
    with moto.mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="shared", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        head = s3.head_bucket
        monkeypatch.setattr(s3, "head_bucket", lambda **names: head(**names) | {"BucketRegion": region})
        said = deploy.package("shared", ["--kms-key-id", "k"], s3=s3)
        (key,) = [one["Key"] for one in s3.list_objects_v2(Bucket="shared")["Contents"]]
        document = json.loads(s3.get_object(Bucket="shared", Key=key)["Body"].read())
    assert {one["Type"] for one in document["Resources"].values()} == {"AWS::Lambda::Function", "AWS::IAM::Role"}
    assert "Transform" not in document
    assert f"arn:{partition}:iam::aws:policy/" in json.dumps(document)
    (call,) = sam.calls
    assert call[0] == "package"
    assert {"--s3-bucket", "shared", "--kms-key-id", "k"} <= set(call)
    assert f"https://shared.{host}/{key}" in said
    assert f"https://{console}/cloudformation/" in said


def test_sam_deploy_asks_nothing_that_has_a_good_default() -> None:
    """`sam deploy --region …` needs a name, rights and a bucket for artefacts; every parameter has a default."""
    config: dict[str, Any] = yaml.safe_load((docs.ROOT / "samconfig.yaml").read_text())
    for environment in ("default", "dev"):
        given = config[environment]["deploy"]["parameters"]
        assert (given["capabilities"], given["resolve_s3"], given["confirm_changeset"]) == (
            "CAPABILITY_IAM",
            True,
            False,
        )
        assert config[environment]["global"]["parameters"]["stack_name"]
    assert [name for name, one in docs.template()["Parameters"].items() if "Default" not in one] == []
    # What `--guided` writes, and git must not see.
    assert "samconfig.toml" in (docs.ROOT / ".gitignore").read_text().splitlines()


# ---- samples ---------------------------------------------------------------------------------------------


def test_the_samples_give_parameters_that_the_template_has() -> None:
    parameters = docs.template()["Parameters"].keys()
    for file in ("cdk/app.py", "terraform/main.tf"):
        text = (docs.ROOT / "samples" / file).read_text()
        assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= 14, file
        assert {"Monitoring"} <= {name for name in parameters if name in text}, file


def test_the_terraform_sample_allows_the_roles_of_the_template() -> None:
    text = (docs.ROOT / "samples" / "terraform" / "main.tf").read_text()
    assert '["CAPABILITY_IAM"]' in text
