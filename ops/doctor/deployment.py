"""Read the stack that is examined: its status, its resources, its clients. Must not know what is right or wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ops.exits import NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from ops.stack import Stack

RIGHTS = {
    "DescribeStacks": "cloudformation:DescribeStacks",
    "ListStackResources": "cloudformation:ListStackResources",
    "DescribeSecret": "secretsmanager:DescribeSecret",
    "GetSecretValue": "secretsmanager:GetSecretValue",
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetBucketCors": "s3:GetBucketCORS",
    "ListSubscriptionsByTopic": "sns:ListSubscriptionsByTopic",
    "GetItem": "dynamodb:GetItem",
    "Query": "dynamodb:Query",
    "DescribeTable": "dynamodb:DescribeTable",
    "DescribeTimeToLive": "dynamodb:DescribeTimeToLive",
    "DescribeStateMachine": "states:DescribeStateMachine",
    "DescribeRule": "events:DescribeRule",
    "ListTargetsByRule": "events:ListTargetsByRule",
    "GetMetricStatistics": "cloudwatch:GetMetricStatistics",
    "DescribeAlarms": "cloudwatch:DescribeAlarms",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "GetAccountSettings": "lambda:GetAccountSettings",
    "GetFunctionConfiguration": "lambda:GetFunctionConfiguration",
    "GetFunctionConcurrency": "lambda:GetFunctionConcurrency",
    "GetApi": "apigateway:GET",
}
"""Every call of AWS that a check makes, and the right that it needs."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of the stack.

    Attributes:
        kind: Its type in CloudFormation.
        id: What CloudFormation calls its physical id: a name, an ARN or an address.
        changed_at: When a deployment last changed it.
    """

    kind: str
    id: str
    changed_at: datetime


class Deployment:
    """A stack as AWS describes it.

    Raises:
        NotFound: There is no such stack, or it is none of this project.
    """

    def __init__(self, stack: Stack) -> None:
        stack.output("StateMachineArn")
        self.stack = stack
        self._clients: dict[str, Any] = {}
        (described,) = self.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"]
        self.status: str = described["StackStatus"]
        self.status_reason: str = described.get("StackStatusReason", "")
        self.created_at: datetime = described["CreationTime"]
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}
        self.parameters = {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}

    def client(self, service: str) -> Any:
        """Return a boto3 client. Each is created once, which takes longer than most of its calls."""
        if service not in self._clients:
            self._clients[service] = self.stack.client(service)
        return self._clients[service]

    @property
    def is_on_laptop(self) -> bool:
        """Whether this is the cloud on a laptop."""
        address = urlsplit(self.client("cloudformation").meta.endpoint_url)
        return address.hostname in ("127.0.0.1", "localhost", "::1")

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """The stack's resources, by their names in the template."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack.name)
        return {
            one["LogicalResourceId"]: Resource(
                one["ResourceType"], one.get("PhysicalResourceId", ""), one["LastUpdatedTimestamp"]
            )
            for page in pages
            for one in page["StackResourceSummaries"]
            if not one["ResourceStatus"].startswith("DELETE_COMPLETE")
        }

    def of_kind(self, kind: str) -> dict[str, Resource]:
        """Return the resources of a type, by their names in the template."""
        return {name: resource for name, resource in self.resources.items() if resource.kind == kind}

    def id_of(self, name: str) -> str:
        """Return the physical id of a resource.

        Raises:
            NotFound: The stack has no such resource.
        """
        if name not in self.resources:
            raise NotFound(f"The stack has no {name}.")
        return self.resources[name].id

    def number(self, parameter: str) -> int:
        """Return a parameter that is a number; 0 where the stack does not have it."""
        return int(self.parameters.get(parameter) or 0)
