"""List the rights of every role in the template after SAM's transform."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools import translate_template as plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = re.compile(r"^arn:\$\{AWS::Partition\}:\w+:\$\{AWS::Region\}:\$\{AWS::AccountId\}:")


@dataclass(frozen=True, slots=True)
class Right:
    """One allowed action of one role on one resource.

    Attributes:
        role: The role's id in the transformed template.
        policy: The name of the role's inline policy, or the id of a managed policy.
        statement: The statement's position in it.
        sid: The statement's name; empty for SAM's own statements.
        action: The action.
        resource: The resource, with the template's ids instead of ARNs: `JobsTable/index/by_status`.
        position: The resource's position in the statement.
    """

    role: str
    policy: str
    statement: int
    sid: str
    action: str
    resource: str
    position: int


def rights() -> Iterator[Right]:
    """Yield every right of every role in the template."""
    for role, policy, document in _policies():
        for number, statement in enumerate(document["Statement"]):
            if statement["Effect"] == "Allow":
                yield from _rights(role, policy, number, statement)


def managed_by_aws() -> dict[str, list[str]]:
    """Return role → its AWS managed policies."""
    return {
        role: [_named(arn).rpartition("/")[2] for arn in properties.get("ManagedPolicyArns", [])]
        for role, properties in _of_type("AWS::IAM::Role")
    }


def _policies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield role, policy and document; a policy of several roles once for each."""
    for role, properties in _of_type("AWS::IAM::Role"):
        for policy in properties.get("Policies", []):
            yield role, policy["PolicyName"], policy["PolicyDocument"]
    for name, properties in _of_type("AWS::IAM::ManagedPolicy"):
        for role in properties["Roles"]:
            yield _named(role), name, properties["PolicyDocument"]


def _of_type(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in plain.template()["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


def _rights(role: str, policy: str, number: int, statement: dict[str, Any]) -> Iterator[Right]:
    for action in _listed(statement["Action"]):
        for position, resource in enumerate(_listed(statement["Resource"])):
            yield Right(role, policy, number, statement.get("Sid", ""), action, _named(resource), position)


def _listed(one_or_more: Any) -> list[Any]:
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def _named(resource: Any) -> str:
    """Return a resource with the template's ids instead of ARNs."""
    match resource:
        case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
            return str(name)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{(\w+)\.\w+\}", r"\1", _PREFIX.sub("", text))
    return str(resource)
