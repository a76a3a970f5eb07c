"""Test the template beside its functions.

Covers retention of logs, alarms of queues, unique names, tags, boundaries, keys, and a canary where one works.
Figures of AWS are in `test_template_watch`.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]  # the package has no types
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]  # the package has no types

from shared.jobs import notifications
from tools import conditions, docs
from tools import translate_template as plain

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOURCES: dict[str, dict[str, Any]] = docs.template()["Resources"]
TAGS = {"project": "genviral-video", "stage": {"Ref": "Stage"}}
FUNCTION, MACHINE, LOGS = "AWS::Serverless::Function", "AWS::Serverless::StateMachine", "AWS::Logs::LogGroup"
LAMBDA = "AWS::Lambda::Function"
TAGGED = {
    FUNCTION,
    MACHINE,
    LOGS,
    "AWS::ApiGatewayV2::Api",
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
}
"""Resources that appear on a bill and can have tags."""


def of_type(*kinds: str) -> dict[str, dict[str, Any]]:
    found = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] in kinds}
    assert found, kinds
    return found


def all_roles() -> dict[str, dict[str, Any]]:
    every = plain.template()["Resources"].items()
    return {name: one["Properties"] for name, one in every if one["Type"] == "AWS::IAM::Role"}


# ---- logs ------------------------------------------------------------------------------------------------


def test_every_function_logs_into_a_group_of_its_own_that_ends() -> None:
    groups = of_type(LOGS)
    used = [one["LoggingConfig"]["LogGroup"]["Ref"] for one in of_type(FUNCTION).values()]
    assert len(set(used)) == len(used)
    assert set(used) <= set(groups)
    assert {json.dumps(group["RetentionInDays"]) for group in groups.values()} == {'{"Ref": "LogRetentionDays"}'}


def test_what_is_logged_is_for_the_parameter_to_say() -> None:
    """In the format JSON, Lambda's own level would override the parameter's, and could drop metrics."""
    shared = docs.template()["Globals"]["Function"]
    assert shared["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == {"Ref": "LogLevel"}
    functions = [one["Properties"] for one in plain.template()["Resources"].values() if one["Type"] == LAMBDA]
    assert len(functions) == len(of_type(FUNCTION))
    for function in functions:
        assert function["LoggingConfig"].keys() == {"LogFormat", "LogGroup"}
        assert function["LoggingConfig"]["LogFormat"] == "Text"


@pytest.mark.parametrize(("of_lambda", "counts"), [("", "DEBUG"), ("INFO", "INFO")])
def test_powertools_ranks_lambdas_own_level_above_the_parameters(
    monkeypatch: pytest.MonkeyPatch, of_lambda: str, counts: str
) -> None:
    """This is why the format is Text. If this fails, Powertools has changed, and JSON may be possible."""
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", of_lambda)
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "DEBUG")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so itself
        assert logging.getLevelName(Logger(service=f"ranked {counts}").log_level) == counts


def test_state_machines_log_names_and_times_only() -> None:
    for name, machine in of_type(MACHINE).items():
        logging = machine["Logging"]
        assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
        (destination,) = logging["Destinations"]
        group, attribute = destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"]
        assert attribute == "Arn", name
        assert RESOURCES[group]["Properties"]["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/states/")


def test_log_groups_of_other_services_need_no_statement_of_their_own() -> None:
    """It would be in the account's one policy of 5,120 characters. Lambda writes with its own role."""
    of_functions = {function["LoggingConfig"]["LogGroup"]["Ref"] for function in of_type(FUNCTION).values()}
    for name in of_type("AWS::Logs::LogGroup").keys() - of_functions:
        assert RESOURCES[name]["Properties"]["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/")


# ---- what could not be handled ---------------------------------------------------------------------------


def sources() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, function in of_type(FUNCTION).items():
        for event in function.get("Events", {}).values():
            yield name, event


def test_every_event_is_retried_then_parked_unless_it_is_scheduled() -> None:
    """A parked event keeps the queue's alarm on for two weeks, so scheduled ones would hide an upload."""
    kinds = set()
    for name, event in sources():
        source, function = event["Properties"], RESOURCES[name]["Properties"]["EventInvokeConfig"]
        assert "MaximumRetryAttempts" in function
        kinds.add(event["Type"])
        assert set(source["RetryPolicy"]) == {"MaximumRetryAttempts", "MaximumEventAgeInSeconds"}, name
        if event["Type"] == "Schedule":
            assert "DeadLetterConfig" not in source
            assert "DestinationConfig" not in function
        else:
            assert source["DeadLetterConfig"]["Arn"] in parked_in()
            assert function["DestinationConfig"]["OnFailure"]["Destination"] in parked_in()
    assert kinds == {"EventBridgeRule", "Schedule"}
    # SNS itself tries to hand a message to a function for 23 days.
    # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
    forward = RESOURCES["ForwardFunction"]["Properties"]["EventInvokeConfig"]
    assert forward["DestinationConfig"]["OnFailure"]["Destination"] in parked_in()


def parked_in() -> list[Any]:
    return [{"Fn::GetAtt": [queue, "Arn"]} for queue in of_type("AWS::SQS::Queue")]


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_every_queue_lets_events_in_and_has_an_alarm(queue: str) -> None:
    statements = [
        statement
        for policy in of_type("AWS::SQS::QueuePolicy").values()
        if {"Ref": queue} in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert [one["Principal"]["Service"] for one in statements] == ["events.amazonaws.com"]
    # Every rule of this account and region only. EventBridge documents `aws:SourceArn` alone.
    rules = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*"
    assert statements[0]["Condition"] == {"ArnLike": {"aws:SourceArn": {"Fn::Sub": rules}}}
    watched = [one.get("Dimensions") for one in of_type("AWS::CloudWatch::Alarm").values()]
    assert [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}] in watched


def test_a_step_throttled_by_lambda_waits_as_long_as_by_the_vendor() -> None:
    """Otherwise a low ReservedConcurrency would interrupt jobs in a burst."""
    for name in ("Submit", "Poll", "Deliver"):
        rules = [rule["ErrorEquals"] for rule in docs.machine()["States"][name]["Retry"]]
        assert [set(rule) >= {"RateLimited", "Lambda.TooManyRequestsException"} for rule in rules].count(True) == 1
        assert sum("Lambda.TooManyRequestsException" in rule for rule in rules) == 1


# ---- what stays ------------------------------------------------------------------------------------------


def test_videos_and_jobs_outlive_the_stack_except_a_failed_first_deploy() -> None:
    """The buckets' policies stay too, or a kept bucket would accept requests without TLS."""
    buckets, policies = of_type("AWS::S3::Bucket"), of_type("AWS::S3::BucketPolicy")
    assert sorted(policy["Bucket"]["Ref"] for policy in policies.values()) == sorted(buckets)
    for name in (*buckets, *policies, *of_type("AWS::DynamoDB::Table")):
        assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain", name


# ---- names and tags --------------------------------------------------------------------------------------

NO_NAME_OF_A_THING = {
    "AttributeName", "DeploymentConfigName", "EventBusName", "FunctionName", "IndexName", "MetricName",
    "ApplicationName", "StageName",
}  # fmt: skip
"""Top-level properties that name something else, or a part of the resource."""


@pytest.mark.parametrize(
    ("origin", "is_one"),
    [
        *((origin, True) for origin in ("", "https://www.example.com", "http://localhost:8000", "http://[::1]:3000")),
        *((origin, True) for origin in ("https://xn--mnchen-3ya.de:8443", "http://a:443", "https://a:80")),
        *(
            (origin, False)
            for origin in ("https://WWW.Example.com", "HTTPS://a.example", "https://a:443", "http://a:80")
        ),
        *((origin, False) for origin in ("https://a/", "https://a/b", "https://*.a", "*", "null", "a.example", "//a")),
        *((origin, False) for origin in ("https://m\u00fcnchen.de", "https://me@a", "https://a:", "https://a:080")),
        *((origin, False) for origin in ("https://a?b", "https://a#b", "https://a b", "https://", "https://a..b")),
    ],
)
def test_an_allowed_origin_is_one_as_a_browser_sends_it(origin: str, is_one: bool) -> None:
    pattern = docs.template()["Parameters"]["AllowedOrigins"]["AllowedPattern"]
    assert (re.fullmatch(pattern, origin) is not None) is is_one


def test_two_stacks_fit_into_one_account() -> None:
    for name, resource in plain.template()["Resources"].items():  # with the names that SAM gives
        for key, value in resource.get("Properties", {}).items():
            if re.fullmatch(r"(\w+)?Name", key) and key not in NO_NAME_OF_A_THING:
                if resource["Type"] in ("AWS::ApiGatewayV2::Authorizer", "AWS::Lambda::Alias"):  # within their parent
                    continue
                assert "${AWS::StackName}" in str(value), f"{name}.{key}"


def test_what_costs_money_says_whose_it_is() -> None:
    shared = docs.template()["Globals"]["Function"]
    for name, resource in RESOURCES.items():
        if resource["Type"] not in TAGGED:
            continue
        tags = resource["Properties"].get("Tags", shared["Tags"] if resource["Type"] == FUNCTION else {})
        if isinstance(tags, list):
            tags = {tag["Key"]: tag["Value"] for tag in tags}
        assert tags == TAGS, name


# ---- its length ------------------------------------------------------------------------------------------


def test_the_template_can_be_read_in_one_sitting() -> None:
    assert len((docs.ROOT / "template.yaml").read_text().splitlines()) <= 1300


# ---- partitions ------------------------------------------------------------------------------------------


def test_nothing_deployed_names_one_partition() -> None:
    """An ARN or a link with a partition in it works in that one only. Principals have one name in all of them.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-services
    """
    files = [docs.ROOT / "template.yaml", *(docs.ROOT / "statemachine").iterdir()]
    for line in [line for file in files for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]:
        assert not re.search(r"arn:aws[a-z-]*:(?!kms:|iam:)", line), line  # the two are patterns of parameters
        assert not re.search(r"https?://\S*(amazonaws|aws\.amazon)", line), line


def test_the_outputs_links_lead_to_the_console_of_the_partition() -> None:
    hosts = {name: one["Console"] for name, one in docs.template()["Mappings"]["Partitions"].items()}
    assert hosts == notifications._CONSOLES


# ---- boundary and key ------------------------------------------------------------------------------------


def test_the_boundary_reaches_every_role() -> None:
    expected = {"Fn::If": ["Bounded", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
    roles = all_roles()
    assert len(roles) > len(of_type(FUNCTION, MACHINE))
    assert [name for name, role in roles.items() if role.get("PermissionsBoundary") != expected] == []


def test_your_key_covers_what_holds_data_and_its_readers_may_use_it() -> None:
    kept = of_type("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SecretsManager::Secret", "AWS::SNS::Topic")
    for name, properties in kept.items():
        assert '{"Fn::If": ["BringKey", ' in json.dumps(properties), name
        assert '{"Ref": "KmsKeyArn"}' in json.dumps(properties), name
    users = {role["Ref"] for role in RESOURCES["UseOfYourKey"]["Properties"]["Roles"]}
    # The state machine of a job touches no data; functions do.
    assert users >= {f"{name}Role" for name in of_type(FUNCTION)}
    assert users <= set(all_roles())


def test_the_page_about_your_key_names_every_topic() -> None:
    names = {"Topic": "notifications", "AlarmTopic": "alarms", "ChatTopic": "chat"}
    page = (docs.ROOT / "docs" / "own-key.md").read_text()
    assert f"all topics ({', '.join(names[topic] for topic in of_type('AWS::SNS::Topic'))})" in page


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({}, None),
        ({"Monitoring": "full"}, {"Ref": "AlarmKey"}),
        ({"Monitoring": "full", "KmsKeyArn": "yours"}, "yours"),
        ({"Monitoring": "off", "KmsKeyArn": "yours"}, "yours"),
    ],
)
def test_alarms_may_use_the_key_of_their_topic(parameters: dict[str, str], key: Any) -> None:
    """With `alias/aws/sns` CloudWatch could not publish, and every alarm would be lost silently."""
    resources = conditions.deployed(parameters)
    assert resources["AlarmTopic"]["Properties"].get("KmsMasterKeyId") == key
    assert ("AlarmKey" in resources) == (key == {"Ref": "AlarmKey"})
    statements = RESOURCES["AlarmKey"]["Properties"]["KeyPolicy"]["Statement"]
    (alarms,) = [one for one in statements if "Service" in one["Principal"]]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert set(alarms["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}


# ---- the bus ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bus", "named"), [("", []), ("default", []), ("video-events", ["BusExists"])])
def test_a_deployment_fails_if_it_names_no_existing_bus(bus: str, named: list[str]) -> None:
    """PutEvents answers success for such a bus, PutRule an error. Every account has `default`.

    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
    """
    rules = {
        name: one["Properties"]
        for name, one in conditions.deployed({"EventBusName": bus}).items()
        if one["Type"] == "AWS::Events::Rule" and "EventBusName" in one["Properties"]
    }
    assert list(rules) == named
    for rule in rules.values():
        assert (rule["EventBusName"], rule["State"], rule.get("Targets")) == (bus, "DISABLED", None)


# ---- the canary ------------------------------------------------------------------------------------------


def versions(content: str) -> set[str]:
    """Return the versions that SAM publishes of a function whose layer has this content."""
    function = {
        "CodeUri": "s3://bucket/function",
        "Handler": "app.handler",
        "Runtime": "python3.13",
        "Layers": [{"Ref": "Layer"}],
        "AutoPublishAlias": "live",
        "AutoPublishAliasAllProperties": True,
    }
    document = {
        "Resources": {
            "Layer": {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": f"s3://bucket/{content}"}},
            "Function": {"Type": FUNCTION, "Properties": function},
        }
    }
    session = boto3.session.Session(region_name="us-east-1")
    made = Translator({}, Parser(), boto_session=session).translate(document, {})["Resources"]
    return {name for name, one in made.items() if one["Type"] == "AWS::Lambda::Version"}


def test_sams_own_alias_would_not_see_a_change_of_the_layer() -> None:
    """This is why the canary is written out. If this fails, SAM supports it, and the template may become shorter."""
    assert versions("old") == versions("new") != set()


def test_a_release_moves_the_api_by_a_canary_and_back_by_its_alarm() -> None:
    canary = [name for name, one in RESOURCES.items() if one.get("Condition") == "Canary"]
    assert sorted(canary) == ["ApiAlias", "ApiCanary", "ApiVersion", "CanaryApplication", "CanaryRole"]
    through = {"Fn::If": ["Canary", {"Ref": "ApiAlias"}, {"Fn::GetAtt": ["ApiFunction", "Arn"]}]}
    assert RESOURCES["ApiIntegration"]["Properties"]["IntegrationUri"] == through
    assert RESOURCES["ApiPermission"]["Properties"]["FunctionName"]["Fn::If"][1] == {"Ref": "ApiAlias"}
    # CloudFormation knows RetainExceptOnCreate for a deletion only; for a replacement it is Retain.
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatereplacepolicy.html
    kept = RESOURCES["ApiVersion"]["DeletionPolicy"], RESOURCES["ApiVersion"]["UpdateReplacePolicy"]
    assert kept == ("RetainExceptOnCreate", "Retain")
    # Both must change with a release: without the version none is published, and without the function no second one.
    assert RESOURCES["ApiVersion"]["Properties"]["Description"] == {"Ref": "Release"}
    assert RESOURCES["ApiFunction"]["Properties"]["Environment"]["Variables"]["RELEASE"] == {"Ref": "Release"}
    alarms = RESOURCES["ApiCanary"]["Properties"]["AlarmConfiguration"]["Alarms"]
    assert alarms == [{"Name": {"Ref": "ApiFunctionErrorsAlarm"}}]


# ---- who may call the API --------------------------------------------------------------------------------


def test_every_route_asks_for_the_scope_and_tokens_for_any_audience() -> None:
    routes = of_type("AWS::ApiGatewayV2::Route")
    scopes = {json.dumps(route["AuthorizationScopes"]) for route in routes.values()}
    assert scopes == {'{"Fn::If": ["UseJwtScope", [{"Ref": "JwtScope"}], {"Ref": "AWS::NoValue"}]}'}
    (authorizer,) = of_type("AWS::ApiGatewayV2::Authorizer").values()
    assert authorizer["JwtConfiguration"]["Audience"] == {"Fn::Split": [",", {"Ref": "JwtAudience"}]}


@pytest.mark.parametrize(("name", "needs"), [("JwtIssuer", "JwtAudience"), ("JwtScope", "JwtIssuer")])
def test_a_parameter_of_tokens_is_refused_without_the_one_that_it_needs(name: str, needs: str) -> None:
    rules = docs.template()["Rules"].values()
    (rule,) = [one for one in rules if one["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}]
    assert [one["Assert"] for one in rule["Assertions"]] == [{"Fn::Not": [{"Fn::Equals": [{"Ref": needs}, ""]}]}]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("JwtAudience", ["", "a", "a,b", "https://api.example/,b"], ["a, b", ",", "a,", ",a", "a,,b", " a"]),
        ("JwtScope", ["", "videos", "https://api.example/videos.write"], ["a b", "a\n"]),
    ],
)
def test_a_list_that_api_gateway_would_misread_is_refused(name: str, good: list[str], bad: list[str]) -> None:
    pattern = re.compile(docs.template()["Parameters"][name]["AllowedPattern"])
    assert all(map(pattern.fullmatch, good))
    assert not any(map(pattern.fullmatch, bad))


def test_every_caller_of_genviral_knows_whether_plain_http_is_allowed() -> None:
    environments = [one.get("Environment", {}).get("Variables", {}) for one in of_type(FUNCTION).values()]
    calling = [one for one in environments if "GENVIRAL_BASE_URL" in one]
    assert calling
    assert all(one["ALLOW_PRIVATE_OUTPUT"] == {"Ref": "AllowPrivateOutput"} for one in calling)
