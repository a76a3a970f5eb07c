"""A sound stack in a made-up account, for the tests of `doctor`. What moto lacks is answered from plain records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import ClientError

from tests.support.fakes import TABLE, TOPIC, UPLOADS, Vendor, client
from tests.support.template import JOBS_TABLE

if TYPE_CHECKING:
    from tests.support.operators import CommandLine

LAYER = "arn:aws:lambda:us-east-1:123456789012:layer:genviral-video-shared:7"
FUNCTIONS = ("UploadsFunction", "ApiFunction", "SubmitFunction", "StatusFunction", "DeliverFunction", "SweepFunction")
RULES = ("UploadsFunctionObjectCreated", "SweepFunctionEvery15Minutes")
ALARMS = ("EventsDlqAlarm", "SweepSilentAlarm")
ORIGIN = "https://www.example.com"
EMAIL = "you@example.com"
MODELS = [{"id": "m/m", "name": "M", "provider": "m", "mode": "video"}]


def models(_: httpx.Request) -> httpx.Response:
    """Answer like Genviral's list of models."""
    return httpx.Response(200, json={"ok": True, "code": 200, "data": {"models": MODELS}})


class SoundStack:
    """A stack in which every check of `doctor` is right. A test breaks one thing of it.

    Attributes:
        stack: What CloudFormation says of it, beside outputs and parameters.
        functions: What Lambda says of each function, by its name in the template.
        reserved: The reserved concurrency of functions.
        concurrency: The account's concurrent executions.
        api_origins: What the API allows.
        events: What the uploads bucket sends its events to.
    """

    def __init__(self, account: CommandLine) -> None:
        self.account, self.world = account, account.world
        self.now = datetime.now(UTC)
        deployed = self.now - timedelta(days=2)
        self.deployed = deployed
        self.stack: dict[str, Any] = {"StackStatus": "UPDATE_COMPLETE", "CreationTime": deployed}
        self.functions: dict[str, dict[str, Any]] = {
            name: {"Layers": [{"Arn": LAYER}], "LastModified": deployed.isoformat(), "State": "Active"}
            for name in FUNCTIONS
        }
        self.reserved: dict[str, int] = {}
        self.concurrency = 1000
        self.api_origins = [ORIGIN]
        self.events: dict[str, Any] = {"EventBridgeConfiguration": {}}
        self.resources: dict[str, tuple[str, str]] = {
            "SharedLayer1f2e3d": ("AWS::Lambda::LayerVersion", LAYER),
            "HttpApi": ("AWS::ApiGatewayV2::Api", "a1b2c3"),
            **{name: ("AWS::Lambda::Function", name) for name in FUNCTIONS},
            **{name: ("AWS::Events::Rule", name) for name in RULES},
            **{name: ("AWS::CloudWatch::Alarm", name) for name in ALARMS},
        }
        account.parameters |= {"AllowedOrigins": ORIGIN, "BatchConcurrency": "20", "ReservedConcurrency": "0"}
        account.parameters |= {"NotificationEmail": EMAIL, "AlarmEmail": EMAIL}
        account.answers |= {
            "DescribeStacks": self._described,
            "ListStackResources": self._listed,
            "GetFunctionConfiguration": lambda arguments: self.functions[arguments["FunctionName"]],
            "GetFunctionConcurrency": self._reserved,
            "GetAccountSettings": lambda _: {
                "AccountLimit": {
                    "ConcurrentExecutions": self.concurrency,
                    "UnreservedConcurrentExecutions": self.concurrency,
                }
            },
            "GetBucketNotificationConfiguration": lambda _: self.events,
            "GetApi": lambda _: {"CorsConfiguration": {"AllowOrigins": self.api_origins}},
        }
        self.world.vendor = Vendor(get=[models])
        self._fill()

    def _fill(self) -> None:
        """Create what moto has."""
        world = self.world
        world.recipe({"model_id": "m/m", "prompt": "{{filename}}"})
        rule = {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["POST"]}
        world.s3.put_bucket_cors(Bucket=UPLOADS, CORSConfiguration={"CORSRules": [rule]})
        expiry = JOBS_TABLE["TimeToLiveSpecification"]
        world.dynamodb.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=expiry)
        self.topics = {"TopicArn": TOPIC, "AlarmTopicArn": f"{TOPIC}-alarms"}
        for topic in self.topics.values():
            world.sns.create_topic(Name=topic.rpartition(":")[2])
            world.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=EMAIL)
        events = client("events")
        for name in RULES:
            events.put_rule(Name=name, ScheduleExpression="rate(15 minutes)")
            events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": "arn:aws:lambda:us-east-1:123456789012:f"}])
        cloudwatch = client("cloudwatch")
        for name in ALARMS:
            cloudwatch.put_metric_alarm(
                AlarmName=name, EvaluationPeriods=1, ComparisonOperator="LessThanThreshold", Namespace="n",
                MetricName="m", Period=60, Statistic="Sum", Threshold=1.0, ActionsEnabled=True,
            )  # fmt: skip
        self.swept(minutes_ago=10)
        url = client("sqs").create_queue(QueueName="EventsDlq")["QueueUrl"]
        self.resources["EventsDlq"] = ("AWS::SQS::Queue", url)

    def swept(self, *, minutes_ago: int) -> None:
        """Count a call of the sweep."""
        client("cloudwatch").put_metric_data(
            Namespace="AWS/Lambda",
            MetricData=[
                {
                    "MetricName": "Invocations",
                    "Dimensions": [{"Name": "FunctionName", "Value": "SweepFunction"}],
                    "Timestamp": self.now - timedelta(minutes=minutes_ago),
                    "Value": 1.0,
                }
            ],
        )

    def _described(self, arguments: dict[str, Any]) -> dict[str, Any]:
        (stack,) = self.account.answer("DescribeStacks", arguments)["Stacks"]
        stack["Outputs"] += [{"OutputKey": name, "OutputValue": value} for name, value in self.topics.items()]
        return {"Stacks": [{**stack, **self.stack}]}

    def _listed(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "StackResourceSummaries": [
                {
                    "LogicalResourceId": name,
                    "ResourceType": kind,
                    "PhysicalResourceId": physical,
                    "LastUpdatedTimestamp": self.deployed,
                    "ResourceStatus": "UPDATE_COMPLETE",
                }
                for name, (kind, physical) in self.resources.items()
            ]
        }

    def _reserved(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = arguments["FunctionName"]
        return {"ReservedConcurrentExecutions": self.reserved[name]} if name in self.reserved else {}


def denied(operation: str) -> ClientError:
    """Return how AWS denies a call."""
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "made up"}}, operation)
