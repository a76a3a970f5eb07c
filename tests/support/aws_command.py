"""Provide the parts of the AWS command line that the docs use, so that they need no other installation.

Operations and parameters come from botocore's own models, so a command that AWS would reject fails here, too. Run as
`aws_command.py s3 cp FILE s3://BUCKET/KEY` or `aws_command.py SERVICE OPERATION --parameter value …`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.config import Config

_RENAMED = {("sns", "notification-endpoint"): "Endpoint"}


def client(service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region_name=os.environ["AWS_REGION"],
        config=Config(s3={"addressing_style": "path"}),
    )


def copy(source: str, target: str) -> None:
    bucket, _, key = target.removeprefix("s3://").partition("/")
    client("s3").upload_file(source, bucket, key)


def call(service: str, operation: str, arguments: list[str]) -> None:
    aws = client(service.removesuffix("api"))
    model = aws.meta.service_model.operation_model(
        next(name for name in aws.meta.service_model.operation_names if xform_name(name, "-") == operation)
    )
    members = {xform_name(name, "-"): name for name in model.input_shape.members}
    given: dict[str, Any] = {}
    view = {"query": "@", "output": "json"}
    rest = list(arguments)
    while rest:
        option = rest.pop(0).removeprefix("--")
        value = rest.pop(0)
        if option in view:
            view[option] = value
            continue
        name = _RENAMED.get((service, option)) or members[option]
        given[name] = _value(model.input_shape.members[name], value)
    answer = getattr(aws, xform_name(model.name))(**given)
    answer.pop("ResponseMetadata")
    shown = jmespath.search(view["query"], answer)
    sys.stdout.write(f"{shown if view['output'] == 'text' else json.dumps(shown, default=str)}\n")


def _value(shape: Any, text: str) -> Any:
    """Parse a parameter's value in one of the forms that the command line accepts."""
    if shape.type_name == "blob":
        return Path(text).read_bytes()
    text = Path(text.removeprefix("file://")).read_text() if text.startswith("file://") else text
    if shape.type_name == "list":
        return text.split()
    if shape.type_name == "map":
        return json.loads(text) if text.startswith("{") else dict(part.split("=", 1) for part in text.split(","))
    return text


if __name__ == "__main__":
    if sys.argv[1:3] == ["s3", "cp"]:
        copy(*sys.argv[3:5])
    else:
        call(sys.argv[1], sys.argv[2], sys.argv[3:])
