"""Test `make deploy` and `make package` against a fake `sam` and a fake S3."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import moto
import pytest
import yaml
from botocore.exceptions import ClientError

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


SAM = docs.ROOT / ".venv-sam" / "bin" / "python"
GUIDED = """version = 0.1

[default.deploy.parameters]
stack_name = "my-stack"
s3_prefix = "my-stack"
region = "eu-central-1"
profile = "work"
confirm_changeset = true
capabilities = "CAPABILITY_IAM"
resolve_s3 = true
parameter_overrides = "Stage=\\"dev\\""

[default.global.parameters]
region = "eu-central-1"

[dev.deploy.parameters]
stack_name = "my-dev-stack"
"""
"""As SAM's GuidedConfig (1.170) writes it."""


class Sam:
    """A `sam` that writes down how it was called."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        failing: tuple[str, ...] = (),
        saved: dict[str, str] | None = None,
    ) -> None:
        self._calls = folder / "calls"
        module = folder / "samcli"
        module.mkdir()
        (module / "__init__.py").touch()
        (module / "__main__.py").write_text(FAKE.format(calls=str(self._calls), failing=failing, packaged=PACKAGED))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setattr(deploy, "ROOT", folder)
        monkeypatch.setattr(deploy, "PACKAGED", folder / "build" / "package.json")
        monkeypatch.setattr(build, "build", lambda _: [])
        monkeypatch.setattr(deploy, "_saved", lambda *_: saved or {})

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()]


def deployed(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], *, name: str, status: str = "CREATE_COMPLETE", age: int = 0
) -> list[Any]:
    """Deploy beside a CloudFormation that has one stack. Return the exit status, and where the tool looked for it.

    Args:
        monkeypatch: Of the test.
        arguments: Those of the deployment.
        name: The stack's name.
        status: Its status after the deployment.
        age: How many hours ago it was changed; 0 is during the deployment.
    """
    looked: list[Any] = []

    class CloudFormation:
        def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
            if StackName != name:
                raise ClientError({"Error": {"Code": "ValidationError", "Message": "no such stack"}}, "DescribeStacks")
            outputs = [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()]
            # A change set was created first, maybe long ago; then the stack was.
            changed = datetime.now(UTC) - timedelta(hours=age)
            times = {"CreationTime": changed - timedelta(days=1), "LastUpdatedTime": changed}
            return {"Stacks": [{"StackStatus": status, "Outputs": outputs, **times}]}

    def client(target: deploy.Target, service: str) -> CloudFormation:
        assert service == "cloudformation"
        looked.append(target)
        return CloudFormation()

    monkeypatch.setattr(deploy.Target, "client", client)
    return [deploy.main(["deploy", *arguments]), *looked]


SAVED = {"stack_name": "saved-stack", "region": "eu-west-1", "profile": "saved"}


@pytest.mark.parametrize(
    ("arguments", "saved", "expected"),
    [
        (["--region", "eu-central-1", "--stack-name=my-stack"], {}, ("my-stack", "eu-central-1", None)),
        (["--guided"], SAVED, ("saved-stack", "eu-west-1", "saved")),
        (["--profile=p", "--region=r"], SAVED, ("saved-stack", "r", "p")),
        (["--profile", "p", "--parameter-overrides", "Stage=dev", "A=b"], SAVED, ("saved-stack", "eu-west-1", "p")),
    ],
)
def test_the_stack_is_the_one_that_options_or_saved_answers_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    saved: dict[str, str],
    expected: tuple[str, str, str | None],
) -> None:
    Sam(tmp_path, monkeypatch, saved=saved)
    found = deployed(monkeypatch, arguments, name=expected[0])
    assert found == [0, deploy.Target(*expected)]


@pytest.mark.skipif(not SAM.exists(), reason="make build sets SAM up")
def test_the_answers_to_guided_are_found_where_sam_saves_them(tmp_path: Path) -> None:
    """SAM names the stack under `deploy` alone, which no other command of SAM reads."""
    (tmp_path / "samconfig.toml").write_text(GUIDED)
    script = (
        f"from pathlib import Path; from tools import deploy; deploy.ROOT = Path({str(tmp_path)!r}); "
        "print(deploy.target('deploy', ['--guided']), deploy.target('deploy', ['--config-env=dev', '--region', 'r']))"
    )
    command = [str(SAM), "-c", script]
    done = subprocess.run(command, cwd=docs.ROOT, env={"SAM_CLI_TELEMETRY": "0"}, capture_output=True, text=True)  # noqa: S603
    guided = deploy.Target("my-stack", "eu-central-1", "work")
    assert done.stdout.strip() == f"{guided} {deploy.Target('my-dev-stack', 'r', None)}", done.stderr


def test_a_first_deployment_says_what_to_do_with_the_stacks_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sam = Sam(tmp_path, monkeypatch, saved={"profile": "work"})
    arguments = ["--stack-name=my-stack", "--region", "eu-central-1"]
    assert deployed(monkeypatch, arguments, name="my-stack")[0] == 0
    assert sam.calls == [["deploy", *arguments]]
    said = capsys.readouterr().out
    named = ("ApiUrl", "ApiKeySecretArn", "UploadsBucket", "TopicArn", "AlarmTopicArn")
    assert [name for name in named if OUTPUTS[name] not in said] == []
    commands = [line.strip() for line in said.splitlines() if re.match(r" +(aws|\./genviral) ", line)]
    assert [line.split(" --")[0] for line in commands] == [
        "aws secretsmanager put-secret-value",
        "aws s3 cp",
        *["aws sns subscribe"] * 2,
        "./genviral doctor",
        "./genviral submit",
    ]
    assert [line for line in commands if "--region eu-central-1 --profile work" not in line] == []
    assert [line for line in commands if line.startswith("./") and "--stack my-stack" not in line] == []
    assert "--secret-string file://" in said, "on the command line, the key would stay in the shell's history"
    assert commands[-1].endswith("samples/product.jpg --wait")


def test_an_update_gives_no_advice_that_would_replace_a_key_or_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Sam(tmp_path, monkeypatch, saved=SAVED)
    assert deployed(monkeypatch, [], name="saved-stack", status="UPDATE_COMPLETE")[0] == 0
    said = capsys.readouterr().out
    assert "put-secret-value" not in said
    assert "recipes/" not in said
    assert "./genviral doctor --stack saved-stack --region eu-central-1 --profile saved\n" in said


def test_a_deployment_that_changes_nothing_is_not_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Sam(tmp_path, monkeypatch, saved=SAVED)
    assert deployed(monkeypatch, [], name="saved-stack", age=1)[0] == 0
    assert "put-secret-value" not in capsys.readouterr().out


@pytest.mark.parametrize("saved", [{}, {"stack_name": "another", "region": "eu-central-1"}])
def test_answers_that_were_not_saved_fail_no_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], saved: dict[str, str]
) -> None:
    Sam(tmp_path, monkeypatch, saved=saved)
    assert deployed(monkeypatch, ["--guided"], name="answered")[0] == 0
    said = capsys.readouterr().out
    assert said.startswith("\nDeployed. ")
    assert "docs/deploy.md" in said


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
        stored = {one["Key"] for one in s3.list_objects_v2(Bucket="shared")["Contents"]}
        bodies = {key: s3.get_object(Bucket="shared", Key=key)["Body"].read() for key in stored}
    document = json.loads(bodies["genviral-video/template.json"])
    assert {one["Type"] for one in document["Resources"].values()} == {"AWS::Lambda::Function", "AWS::IAM::Role"}
    assert "Transform" not in document
    assert f"arn:{partition}:iam::aws:policy/" in json.dumps(document)
    (call,) = sam.calls
    assert call[0] == "package"
    assert {"--s3-bucket", "shared", "--kms-key-id", "k"} <= set(call)
    assert [key for key in stored if f"https://shared.{host}/{key}" not in said] == []
    assert f"https://{console}/cloudformation/" in said


def test_each_version_of_a_package_has_an_address_and_the_link_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terraform updates a stack only if the address of its template changes."""
    Sam(tmp_path, monkeypatch)
    said, versions = [], ["one", "two", "one"]
    with moto.mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="shared")
        for version in versions:
            monkeypatch.setattr(deploy, "_plain", lambda *_, version=version: {"Description": version})
            said.append(deploy.package("shared", [], s3=s3).strip().splitlines()[-1].strip())
            newest = s3.get_object(Bucket="shared", Key="genviral-video/template.json")["Body"].read()
            assert json.loads(newest) == {"Description": version}
        for address, version in zip(said, versions, strict=True):
            kept = s3.get_object(Bucket="shared", Key=urlsplit(address).path[1:])["Body"].read()
            assert json.loads(kept) == {"Description": version}
    assert said[0] == said[2] != said[1]


@pytest.mark.parametrize(
    "arguments", [["--region", "cn-north-1", "--profile", "p"], ["--region=cn-north-1", "--profile=p"]]
)
def test_a_package_is_uploaded_with_the_region_and_profile_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    Sam(tmp_path, monkeypatch)
    config = tmp_path / "config"
    config.write_text("[profile p]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    client = deploy.target("package", arguments).client("s3")
    assert client.meta.region_name == "cn-north-1"
    assert deploy.target("package", arguments).profile == "p"


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
