"""Build and deploy a stack, and say what to do next: `make deploy ARGS="--region eu-central-1"`.

`package BUCKET` puts the artefacts and one template into a bucket instead, from which others can launch a stack without
a checkout. Arguments go to `sam deploy` as they are; SAM also reads its own configuration (samconfig.yaml). The tool
needs only SAM's command line, which brings boto3.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tools import build

ROOT = build.ROOT
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
PACKAGED = ROOT / "build" / "package.json"
PREFIX = "genviral-video"
"""Where the package is in its bucket."""

_HOSTS = {
    "cn-": ("amazonaws.com.cn", "console.amazonaws.cn", "aws-cn"),
    "eusc-": ("amazonaws.eu", "console.amazonaws-eusc.eu", "aws-eusc"),
    "us-gov-": ("amazonaws.com", "console.amazonaws-us-gov.com", "aws-us-gov"),
    "": ("amazonaws.com", "console.aws.amazon.com", "aws"),
}
"""Start of a region's name → the hosts of S3 and of the console in its partition, and the partition."""
_BASIC = "AWSLambdaBasicExecutionRole"


class DeploymentFailed(Exception):
    """SAM failed; it has said why."""


@dataclass(frozen=True)
class Target:
    """Where a command of SAM works.

    Attributes:
        stack: The stack's name. None if neither the options nor the configuration name one.
        region: None for that of the environment or of the profile.
        profile: None for the credentials of the environment.
    """

    stack: str | None
    region: str | None
    profile: str | None

    def client(self, service: Any) -> Any:
        """Return a boto3 client."""
        import boto3

        return boto3.session.Session(profile_name=self.profile, region_name=self.region).client(service)


def target(command: str, arguments: list[str]) -> Target:
    """Return where SAM's `command` works with these arguments: what they say, else what is saved for that command.

    SAM saves the answers to `--guided` for `deploy` alone, so another command of SAM does not find them.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--stack-name", "--region", "--profile", "--config-env", "--config-file"):
        parser.add_argument(option)
    given, _ = parser.parse_known_args(arguments)
    saved = _saved(command, given.config_env, given.config_file)
    return Target(
        given.stack_name or saved.get("stack_name"),
        given.region or saved.get("region"),
        given.profile or saved.get("profile"),
    )


def _saved(command: str, environment: str | None, file: str | None) -> dict[str, str]:
    """Return the parameters of a command as SAM reads them from its configuration."""
    from samcli.lib.config.samconfig import SamConfig  # type: ignore[import-not-found]  # only SAM's environment has it

    return dict(SamConfig(ROOT, file).get_all([command], "parameters", env=environment))


def deploy(arguments: list[str]) -> str:
    """Build, deploy, and return what to do next.

    Raises:
        build.BuildFailed: The artefacts could not be built.
        DeploymentFailed: `sam deploy` failed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    began = datetime.now(UTC)
    build.build(ROOT)
    _sam("deploy", *arguments)
    where = target("deploy", arguments)  # now, because `--guided` has just saved it
    if where.stack is None:
        return "\nDeployed. No configuration names the stack, so look up in docs/deploy.md what is left to do."
    try:
        (stack,) = where.client("cloudformation").describe_stacks(StackName=where.stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        return f"\nDeployed. What is left to do is in docs/deploy.md: the stack {where.stack} cannot be read ({error})."
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    changed = stack.get("LastUpdatedTime", stack["CreationTime"])
    first = stack["StackStatus"] == "CREATE_COMPLETE" and changed >= began
    return first_steps(outputs, where) if first else after_an_update(outputs, where)


def _options(outputs: dict[str, str], where: Target) -> tuple[str, str]:
    """Return the options that name the stack's place to the AWS CLI, and those that name the stack to `./genviral`."""
    region = outputs["ApiKeySecretArn"].split(":")[3]
    aws = f"--region {region}" + (f" --profile {where.profile}" if where.profile else "")
    return aws, f"--stack {where.stack} {aws}"


def first_steps(outputs: dict[str, str], where: Target) -> str:
    """Return what is left to do after a first deployment, with the stack's own names.

    Later, these steps would replace a key and a recipe.

    Args:
        outputs: The stack's outputs.
        where: Where the stack is.
    """
    aws, of_the_stack = _options(outputs, where)
    topic, alarms = outputs["TopicArn"], outputs["AlarmTopicArn"]
    return f"""
Deployed. What is left to do, once:

1. The Genviral API key. Until it is set, jobs wait on hold and nothing is paid. Write it, as <public_id>.<secret>, into
   a file, so that it stays out of your shell's history. Delete the file afterwards.
   aws secretsmanager put-secret-value {aws} --secret-id {outputs["ApiKeySecretArn"]} \\
     --secret-string file://genviral-key.txt
2. A recipe, which says what to make of an uploaded file.
   aws s3 cp {aws} recipes/default.json s3://{outputs["UploadsBucket"]}/recipes/default.json
3. E-mails. If you gave NotificationEmail or AlarmEmail, confirm the message that AWS sent to the address. Or subscribe
   to notifications (without the rows of batches, which have a report) and to alarms:
   aws sns subscribe {aws} --topic-arn {topic} --protocol email --notification-endpoint you@example.com \\
     --attributes '{{"FilterPolicy": "{{\\"reported_in\\": [{{\\"exists\\": false}}]}}"}}'
   aws sns subscribe {aws} --topic-arn {alarms} --protocol email --notification-endpoint you@example.com
4. A check of all that, which pays nothing.
   ./genviral doctor {of_the_stack}
5. A first video, which is paid for.
   ./genviral submit {of_the_stack} samples/product.jpg --wait

The API: {outputs["ApiUrl"]}. More: docs/deploy.md"""


def after_an_update(outputs: dict[str, str], where: Target) -> str:
    """Return how to check a stack that was there before; see `first_steps` for the arguments."""
    return f"""
Deployed. Check it, which pays nothing:

   ./genviral doctor {_options(outputs, where)[1]}

The API: {outputs["ApiUrl"]}. More: docs/update.md"""


def package(bucket: str, arguments: list[str], *, s3: Any = None) -> str:
    """Build, upload the artefacts and the template into a bucket, and return how to launch a stack of it.

    Args:
        bucket: It must be in the region of the stacks: Lambda takes code from its own region only.
        arguments: More options of `sam package`.
        s3: The S3 client; by default one for the chosen profile and region.

    Raises:
        build.BuildFailed: The artefacts could not be built.
        DeploymentFailed: `sam package` failed.
    """
    build.build(ROOT)
    PACKAGED.parent.mkdir(exist_ok=True)
    into = ("--s3-bucket", bucket, "--s3-prefix", f"{PREFIX}/artefacts")
    for_sam = PACKAGED.with_suffix(".sam.yaml")
    _sam("package", "--template-file", str(BUILT), *into, "--output-template-file", str(for_sam), *arguments)
    where = target("package", arguments)
    s3 = s3 or where.client("s3")
    region = s3.head_bucket(Bucket=bucket)["BucketRegion"]
    document = json.dumps(_plain(for_sam.read_text("utf-8"), region), indent=1)
    PACKAGED.write_text(document, "utf-8")
    # Terraform sees an update only in another address, and a link that others have must stay.
    key = f"{PREFIX}/template.json"
    of_this = f"{PREFIX}/template-{hashlib.sha256(document.encode()).hexdigest()[:16]}.json"
    for name in (of_this, key):
        s3.upload_file(str(PACKAGED), bucket, name)
    suffix, console, _ = next(hosts for start, hosts in _HOSTS.items() if region.startswith(start))
    host = f"https://{bucket}.s3.{region}.{suffix}"
    link = f"https://{region}.{console}/cloudformation/home?region={region}#/stacks/create/review"
    profile = f" --profile {where.profile}" if where.profile else ""
    return f"""
Packaged. Whoever may read s3://{bucket}/{PREFIX}/ can launch a stack in {region}:

   the template: {host}/{key} (always the newest)
   a link:       {link}?templateURL={host}/{key}&stackName=genviral-video
   by command:   aws cloudformation create-stack --region {region}{profile} --stack-name genviral-video \\
                   --template-url {host}/{key} --capabilities CAPABILITY_IAM

For Terraform, which updates a stack only if this address changes (each version has its own):

   {host}/{of_this}"""


def _plain(template: str, region: str) -> dict[str, Any]:
    """Return a template as it is after SAM's transform, which CDK and other readers of templates cannot do.

    The transform chooses the partition of AWS's managed policies by the region.
    """
    import boto3
    from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
    from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
    from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

    # It warns about its own metrics, which it sends nowhere here.
    logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
    partition = next(names[2] for start, names in _HOSTS.items() if region.startswith(start))
    managed = {_BASIC: f"arn:{partition}:iam::aws:policy/service-role/{_BASIC}"}
    session = boto3.session.Session(region_name=region)
    result: dict[str, Any] = Translator(managed, Parser(), boto_session=session).translate(yaml_parse(template), {})
    return result


def _sam(*arguments: str) -> None:
    """Run SAM's command line in this terminal."""
    if subprocess.run([sys.executable, "-m", "samcli", *arguments], cwd=ROOT).returncode:  # noqa: S603
        raise DeploymentFailed(f"`sam {arguments[0]}` failed.")


def main(arguments: list[str]) -> int:
    """Deploy or package. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.deploy", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("deploy", help="build, deploy, and say what to do next")
    commands.add_parser("package", help="put one template and its artefacts into a bucket").add_argument("bucket")
    chosen, rest = parser.parse_known_args(arguments)
    try:
        print(package(chosen.bucket, rest) if chosen.command == "package" else deploy(rest))
    except (build.BuildFailed, DeploymentFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
