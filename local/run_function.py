"""Run a single built function outside of the repository, with the settings of a deployed stack.

As on Lambda, it has only its artefact, the layer, the runtime's own packages, and the template's environment variables.
It cannot import anything else of this machine's Python, so a module or package that is missing in an artefact is an
error here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.aws.runtime_api import Answer, Environment, Function
from local.cloud import STACK

if TYPE_CHECKING:
    from pathlib import Path

    from local.build import Built
    from local.cloud import Cloud


TRACE = "Root=1-00000000-000000000000000000000000;Sampled=0"
"""The X-Ray header of an untraced invocation."""


def functions(cloud: Cloud, built: Built, python: Path, work: Path) -> dict[str, Function]:
    """Return the stack's functions by the names of their folders, each with its artefact.

    Args:
        cloud: A running cloud with the tables, buckets and vendor for them.
        built: The folders that were built for `python`.
        python: The interpreter for them.
        work: A folder for their logs and temporary files.
    """
    client = cloud.client("lambda")
    resources = cloud.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    found = {}
    for resource in resources:
        if resource["ResourceType"] == "AWS::Lambda::Function":
            name = resource["LogicalResourceId"].removesuffix("Function").lower()
            deployed = client.get_function_configuration(FunctionName=resource["PhysicalResourceId"])
            found[name] = _function(deployed, cloud, built, name, python, work)
    return found


def invoke(function: Function, event: bytes, number: int = 1) -> Answer:
    """Invoke a function in a fresh environment with one event. `number` must be unique, for the log's name."""
    environment = Environment(function, number)
    try:
        return environment.invoke(event, f"alone-{number}", TRACE)
    finally:
        if environment.alive:
            environment.close()


def _function(deployed: dict[str, Any], cloud: Cloud, built: Built, name: str, python: Path, work: Path) -> Function:
    return Function(
        name=name,
        arn=deployed["FunctionArn"],
        handler=deployed["Handler"],
        runtime=deployed["Runtime"],
        timeout=deployed["Timeout"],
        memory=deployed["MemorySize"],
        log_format=deployed.get("LoggingConfig", {}).get("LogFormat", "Text"),
        code=built.functions / name,
        layers=(built.layer,),
        environment={
            **deployed["Environment"]["Variables"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": cloud.endpoints.aws_endpoint,
        },
        runtime_packages=built.runtime_packages,
        logs=work / "logs",
        scratch=work / "scratch",
        python=str(python),
    )
