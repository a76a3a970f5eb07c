"""Build and deploy a stack, and say what to do next: `make deploy ARGS="--region eu-central-1"`.

`package BUCKET` puts the artefacts and one template into a bucket instead, from which others can launch a stack without
a checkout. Arguments go to `sam deploy` as they are; SAM also reads its own configuration (samconfig.yaml). The tool
needs only SAM's command line, which brings boto3.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from typing import Any

from tools import build

ROOT = build.ROOT
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
PACKAGED = ROOT / "build" / "package.json"
PREFIX = "genviral-video"
"""Where the package is in its bucket."""
_OF_THE_STACK = ("--stack-name", "--region", "--profile", "--config-env", "--config-file")
"""Options that say which stack is meant, with a value each."""


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


def deploy(arguments: list[str]) -> str:
    """Build, deploy, and return what to do next.

    Raises:
        build.BuildFailed: The artefacts could not be built.
        DeploymentFailed: `sam deploy` failed.
    """
    build.build(ROOT)
    _sam("deploy", *arguments)
    chosen = _of_the_stack(arguments)
    listed = json.loads(_sam("list", "stack-outputs", "--output", "json", *chosen, quiet=True))
    return next_steps({one["OutputKey"]: one["OutputValue"] for one in listed})


def next_steps(outputs: dict[str, str]) -> str:
    """Return what is left to do after a first deployment, with the stack's own names.

    Args:
        outputs: The stack's outputs.
    """
    secret, uploads, topic = outputs["ApiKeySecretArn"], outputs["UploadsBucket"], outputs["TopicArn"]
    alarms, region = outputs["AlarmTopicArn"], secret.split(":")[3]
    return f"""
Deployed. What is left to do, once:

1. The Genviral API key. Until it is set, jobs wait on hold and nothing is paid.
   aws secretsmanager put-secret-value --region {region} --secret-id {secret} --secret-string '<public_id>.<secret>'
2. A recipe, which says what to make of an uploaded file.
   aws s3 cp --region {region} recipes/default.json s3://{uploads}/recipes/default.json
3. E-mails. If you gave NotificationEmail or AlarmEmail, confirm the message that AWS sent to the address. Or subscribe
   to notifications (without the rows of batches, which have a report) and to alarms:
   aws sns subscribe --region {region} --topic-arn {topic} --protocol email --notification-endpoint you@example.com \\
     --attributes '{{"FilterPolicy": "{{\\"reported_in\\": [{{\\"exists\\": false}}]}}"}}'
   aws sns subscribe --region {region} --topic-arn {alarms} --protocol email --notification-endpoint you@example.com
4. A first video. It arrives in s3://{outputs["VideosBucket"]}/videos/.
   aws s3 cp --region {region} shoe.jpg s3://{uploads}/uploads/shoe.jpg

The API: {outputs["ApiUrl"]}. More: docs/deploy.md"""


def package(bucket: str, arguments: list[str], *, s3: Any = None) -> str:
    """Build, upload the artefacts and the template into a bucket, and return how to launch a stack of it.

    Args:
        bucket: It must be in the region of the stacks: Lambda takes code from its own region only.
        arguments: More options of `sam package`.
        s3: The S3 client; by default one for the chosen profile.

    Raises:
        build.BuildFailed: The artefacts could not be built.
        DeploymentFailed: `sam package` failed.
    """
    build.build(ROOT)
    PACKAGED.parent.mkdir(exist_ok=True)
    where = ("--s3-bucket", bucket, "--s3-prefix", f"{PREFIX}/artefacts")
    for_sam = PACKAGED.with_suffix(".sam.yaml")
    _sam("package", "--template-file", str(BUILT), *where, "--output-template-file", str(for_sam), *arguments)
    s3 = s3 or _client(arguments)
    region = s3.head_bucket(Bucket=bucket)["BucketRegion"]
    PACKAGED.write_text(json.dumps(_plain(for_sam.read_text("utf-8"), region), indent=1), "utf-8")
    key = f"{PREFIX}/template.json"
    s3.upload_file(str(PACKAGED), bucket, key)
    suffix, console, _ = next(hosts for start, hosts in _HOSTS.items() if region.startswith(start))
    url = f"https://{bucket}.s3.{region}.{suffix}/{key}"
    link = f"https://{region}.{console}/cloudformation/home?region={region}#/stacks/create/review"
    return f"""
Packaged. Whoever may read s3://{bucket}/{PREFIX}/ can launch a stack in {region}:

   the template: {url}
   a link:       {link}?templateURL={url}&stackName=genviral-video
   by command:   aws cloudformation create-stack --region {region} --stack-name genviral-video \\
                   --template-url {url} --capabilities CAPABILITY_IAM"""


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


def _client(arguments: list[str]) -> Any:
    import boto3

    profile = arguments[arguments.index("--profile") + 1] if "--profile" in arguments else None
    return boto3.session.Session(profile_name=profile).client("s3")


def _of_the_stack(arguments: list[str]) -> list[str]:
    """Return the options that say which stack is meant."""
    found = []
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, joined = option.partition("=")
        if name in _OF_THE_STACK:
            found += [option] if joined else [option, value]
    return found


def _sam(*arguments: str, quiet: bool = False) -> str:
    """Run SAM's command line in this terminal, or `quiet` and return what it printed."""
    command = [sys.executable, "-m", "samcli", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE if quiet else None, encoding="utf-8")  # noqa: S603
    if done.returncode:
        raise DeploymentFailed(f"`sam {arguments[0]}` failed.")
    return done.stdout or ""


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
