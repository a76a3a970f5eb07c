"""Serve `make iam-proof` (`tools.iam_proof`) in a test run: remove one right, and record the rights used.

Both are set by environment variables, and without them nothing happens. Knows IAM's API, and no role of this project.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.cloud import STACK

if TYPE_CHECKING:
    from local.cloud import Cloud

WITHDRAW = os.environ.get("IAM_PROOF_WITHDRAW")
"""A right as JSON, as `tools.iam.Right` has it: `role`, `policy`, `statement`, `action`, `position` are read."""
NOTES = os.environ.get("IAM_PROOF_NOTES")
"""The file for one line of JSON per test: `test`, `decisions`."""


def withdraw(cloud: Cloud) -> None:
    """Remove the right that this run must do without."""
    if not WITHDRAW:
        return
    right = json.loads(WITHDRAW)
    iam = cloud.client("iam")
    role = physical(cloud, right["role"])
    if right["policy"] in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=right["policy"])["PolicyDocument"]
    else:  # a policy with an id of its own becomes the role's own one
        arn = physical(cloud, right["policy"])
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    document["Statement"][right["statement"] : right["statement"] + 1] = without(
        document["Statement"][right["statement"]], right["action"], right["position"]
    )
    if document["Statement"]:
        iam.put_role_policy(RoleName=role, PolicyName=right["policy"], PolicyDocument=json.dumps(document))
    else:
        iam.delete_role_policy(RoleName=role, PolicyName=right["policy"])


def physical(cloud: Cloud, resource: str) -> str:
    """Return AWS's name of a resource of the template."""
    found = cloud.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=resource)
    name: str = found["StackResourceDetail"]["PhysicalResourceId"]
    return name


def without(statement: dict[str, Any], action: str, position: int) -> list[dict[str, Any]]:
    """Return a statement without one action on one of its resources: two statements, one, or none."""
    actions, resources = listed(statement["Action"]), listed(statement["Resource"])
    rest = {name: value for name, value in statement.items() if name != "Sid"}  # an id must be unique
    others = [one for one in actions if one != action]
    elsewhere = [resource for place, resource in enumerate(resources) if place != position]
    parts = [(others, resources), ([action], elsewhere)]
    return [{**rest, "Action": these, "Resource": here} for these, here in parts if these and here]


def note(test: str, decisions: list[dict[str, Any]]) -> None:
    """Record the decisions made during a test."""
    if NOTES:
        with Path(NOTES).open("a") as notes:
            notes.write(json.dumps({"test": test, "decisions": decisions}) + "\n")


def listed(one_or_more: Any) -> list[Any]:
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
