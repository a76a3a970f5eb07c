"""Package and deploy a SAM template over the CloudFormation API, like `sam deploy`, in one second instead of ten."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from typing import TYPE_CHECKING, Any

import yaml
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

BUCKET = "deployment-artifacts"
DEPLOY_SECONDS = 120


class DeploymentFailed(Exception):
    """The template could not be deployed; the text lists the failures and their reasons."""


def parameters_of(template: Path) -> Mapping[str, Any]:
    """Return the parameters that a template declares, by name."""
    parameters: Mapping[str, Any] = _read(template).get("Parameters", {})
    return parameters


def deploy(
    template: Path,
    *,
    stack: str,
    parameters: Mapping[str, str],
    client: Callable[[str], Any],
    layer: Path,
) -> dict[str, str]:
    """Create the stack and wait until it is complete.

    Args:
        template: The SAM template; paths in it are relative to its folder.
        stack: The stack's name.
        parameters: Values for the template's parameters.
        client: Returns a boto3 client for a service.
        layer: The built content of the template's layer, instead of its `ContentUri`.

    Returns:
        The stack's outputs.

    Raises:
        DeploymentFailed: CloudFormation refused the template or a resource, or took longer than `DEPLOY_SECONDS`.
    """
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)

    def upload(data: bytes) -> str:
        key = hashlib.sha256(data).hexdigest()
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"

    document = _read(template)
    resources = [resource.get("Properties", {}) for resource in document["Resources"].values()]
    for properties in [*document.get("Globals", {}).values(), *resources]:
        _package(properties, template.parent, layer, upload)
    location = upload(json.dumps(document).encode()).removeprefix("s3:/")
    cloudformation = client("cloudformation")
    try:
        cloudformation.create_stack(
            StackName=stack,
            TemplateURL=s3.meta.endpoint_url + location,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
    except ClientError as error:
        raise DeploymentFailed(f"The template was refused: {error.response['Error']['Message']}") from None
    return _outputs(cloudformation, stack)


def _read(template: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = yaml_parse(template.read_text("utf-8"))
    except OSError as error:
        raise DeploymentFailed(f"The template cannot be read: {template.name}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise DeploymentFailed(f"The template is not YAML: {' '.join(str(error).split())}") from None
    return document


def _package(properties: dict[str, Any], root: Path, layer: Path, upload: Callable[[bytes], str]) -> None:
    """Upload the local files of a resource, and replace their paths."""
    if isinstance(properties.get("CodeUri"), str):
        properties["CodeUri"] = upload(_archive(root / properties["CodeUri"], without="__pycache__"))
    if isinstance(properties.get("ContentUri"), str):
        properties["ContentUri"] = upload(_archive(layer))
    if isinstance(properties.get("DefinitionUri"), str):
        properties["DefinitionUri"] = upload((root / properties["DefinitionUri"]).read_bytes())


def _archive(folder: Path, without: str = "") -> bytes:
    """Return a ZIP of a folder, with the same bytes for the same files. `without`: name of folders to leave out.

    It is not compressed, because it is sent only over the loopback.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and without not in path.parts):
            entry = zipfile.ZipInfo(str(file.relative_to(folder)), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _outputs(cloudformation: Any, stack: str) -> dict[str, str]:
    end = time.monotonic() + DEPLOY_SECONDS
    while True:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        if found["StackStatus"] == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
        if not found["StackStatus"].endswith("_IN_PROGRESS"):
            break
        if time.monotonic() > end:
            raise DeploymentFailed(f"The stack was not complete after {DEPLOY_SECONDS} seconds.")
        time.sleep(0.05)
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in reversed(events)
        if event["ResourceStatus"] == "CREATE_FAILED"
    ]
    raise DeploymentFailed(f"The stack could not be created: {'; '.join(failed) or found['StackStatus']}")
