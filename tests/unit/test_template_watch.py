"""Test that every alarm, dashboard and saved query uses existing data.

Its metrics are emitted by the functions or documented by AWS, with the same dimensions. Its fields occur in log
lines.
"""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ops.__main__ import cli
from shared import runtime
from shared.jobs import states
from shared.jobs.errors import DailyLimitReached
from shared.steps import sweep
from tests.support.fakes import JOB_ID, Vendor, accepting, breaking, event, refusing
from tests.support.handlers import SAMPLES, adopt, version_of_the_event
from tools import cost, docs
from tools.conditions import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fakes import Answer, World
    from tests.support.handlers import Functions

RESOURCES: dict[str, dict[str, Any]] = docs.template()["Resources"]
OWN = "GenviralVideo"
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"
STATES = "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html"
API = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html"
EVENTS = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html"
SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"
SNS = "https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html"
FUNCTION, MACHINE = "AWS::Serverless::Function", "AWS::Serverless::StateMachine"
AWS: dict[tuple[str, str], tuple[str, str, str]] = {
    **dict.fromkeys(
        [("AWS/Lambda", name) for name in ("Errors", "Throttles", "Invocations", "Duration")],
        ("FunctionName", FUNCTION, LAMBDA),
    ),
    ("AWS/Lambda", "DestinationDeliveryFailures"): ("FunctionName", FUNCTION, LAMBDA),
    **dict.fromkeys(
        [
            ("AWS/States", f"Executions{end}")
            for end in ("Started", "Succeeded", "Failed", "Aborted", "TimedOut")
        ],
        ("StateMachineArn", MACHINE, STATES),
    ),
    ("AWS/States", "ExecutionThrottled"): ("StateMachineArn", MACHINE, STATES),
    **dict.fromkeys(
        [("AWS/ApiGateway", name) for name in ("Count", "4xx", "5xx", "Latency")],
        ("ApiId", "AWS::ApiGatewayV2::Api", API),
    ),
    ("AWS/Events", "InvocationsFailedToBeSentToDlq"): ("RuleName", "AWS::Events::Rule", EVENTS),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ("QueueName", "AWS::SQS::Queue.QueueName", SQS),
    ("AWS/SNS", "NumberOfNotificationsFailed"): ("TopicName", "AWS::SNS::Topic.TopicName", SNS),
}  # fmt: skip
"""The AWS metrics in use: the dimension, the resource whose name is its value, and AWS's documentation."""

SERVICE, SOURCE = ("service",), ("service", "source")
EMITTED: dict[str, tuple[Any, ...]] = {
    # The sweep counts a status whose own function was cut off. The rows below say which function that is.
    **{state.metric: (f"sweep_schedule:{status}", SERVICE) for status, state in states.STATES.items() if state.metric},
    "BytesDelivered": ("deliver", SERVICE),
    "CreditsUsed": ("submit", SERVICE, SOURCE),
    "JobsAwaitingRedrive": ("sweep_schedule", SERVICE),
    "JobsCanceled": ("api_delete_video", SERVICE),
    "JobsFailed": ("notify_failed", SERVICE),
    "JobsHeld": ("notify_on_hold", SERVICE),
    "JobsHeldByLimit": ("notify_on_hold:DailyLimitReached", SERVICE),
    "JobsInterrupted": ("notify_execution_status_change", SERVICE),
    "JobsLeftInterrupted": ("notify_execution_status_change", SERVICE),
    "JobsOnHold": ("sweep_schedule", SERVICE),
    "JobsOpen": ("sweep_schedule", SERVICE),
    "JobsSubmitted": ("submit", SERVICE, SOURCE),
    "JobsSucceeded": ("notify_succeeded", SERVICE),
    "JobsTimedOut": ("notify_failed:TimedOut", SERVICE),
    "JobsUncertain": ("notify_failed:SubmissionUncertain", SERVICE),
    "OldestOpenJobSeconds": ("sweep_schedule", SERVICE),
    "Polls": ("status", SERVICE),
    "SecondVideos": ("submit:accepted twice", SERVICE, SOURCE),
    "SecondsToFinish": ("notify_succeeded", SERVICE),
    "SubmissionsUncertain": ("submit:unanswered", SERVICE),
    "SweptInterrupted": ("sweep_schedule", SERVICE),
    "SweptRedriven": ("sweep_schedule", SERVICE),
    "SweptStarted": ("sweep_schedule", SERVICE),
}
"""Our own metrics: the sample event that causes each, and its sets of dimensions."""

Metric = tuple[str, str, tuple[tuple[str, str], ...]]
"""Namespace, name, and the dimensions with their values."""


def kind_of(reference: str) -> str:
    """Return the resource type behind a reference, with its attribute if any. SAM makes a rule of an event."""
    if reference == "AWS::StackName":
        return reference
    name, _, attribute = reference.partition(".")
    rules = {
        f"{function}{source}"
        for function, one in RESOURCES.items()
        for source in one["Properties"].get("Events", {})
        if one["Type"] == FUNCTION
    }
    kind = "AWS::Events::Rule" if name in rules else RESOURCES[name]["Type"]
    return f"{kind}.{attribute}" if attribute else kind


def value_of(given: Any) -> str:
    """Return the source of a dimension's value."""
    return given.get("Ref") or ".".join(given["Fn::GetAtt"])


def alarms() -> dict[str, dict[str, Any]]:
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == "AWS::CloudWatch::Alarm"}


def of_alarms() -> Iterator[tuple[str, Metric]]:
    for name, alarm in alarms().items():
        asked = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one] or [alarm]
        for one in asked:
            dimensions = tuple((d["Name"], value_of(d["Value"])) for d in one["Dimensions"])
            yield name, (one["Namespace"], one["MetricName"], dimensions)


def dashboards() -> dict[str, dict[str, Any]]:
    found = {}
    for name, one in RESOURCES.items():
        if one["Type"] == "AWS::CloudWatch::Dashboard":
            found[name] = json.loads(one["Properties"]["DashboardBody"]["Fn::Sub"])
    return found


def of_dashboards() -> Iterator[tuple[str, Metric]]:
    for name, body in dashboards().items():
        for widget in body["widgets"]:
            for row in widget["properties"].get("metrics", []):
                if isinstance(row[0], dict):
                    (namespace, own_name), *more = re.findall(r"{(\w+),([\w,]+)}", row[0]["expression"])
                    assert not more
                    (metric,) = re.findall(r'MetricName="(\w+)"', row[0]["expression"])
                    known = dict(re.findall(r'(\w+)="\$\{([\w:]+)\}"', row[0]["expression"]))
                    yield name, (namespace, metric, tuple((one, known.get(one, "*")) for one in own_name.split(",")))
                    continue
                namespace, metric, *pairs = [part for part in row if isinstance(part, str)]
                values = [value.removeprefix("${").removesuffix("}") for value in pairs[1::2]]
                yield name, (namespace, metric, tuple(zip(pairs[::2], values, strict=True)))


# ---- what the functions emit -----------------------------------------------------------------------------


def error_of(name: str, code: str = "made_up", paid: str = "unknown") -> dict[str, str]:
    document = {"error": name, "code": code, "message": "made up", "paid": paid}
    return {"Error": name, "Cause": json.dumps({"errorMessage": json.dumps(document)})}


def beaten_to_it(world: World) -> Answer:
    """Make a paid call that is accepted after another one of the same job."""

    def answer(request: httpx.Request) -> httpx.Response:
        world.store.record_accepted(JOB_ID, "the-first")
        return accepting()(request)

    return answer


def driven(stage: Functions, sample: str) -> None:
    """Call a function with a sample event, or with one made of it."""
    sample, _, changed = sample.partition(":")
    name, prepare, _, _ = SAMPLES[sample]
    given = event(sample)
    prepare(stage.world)
    if changed == "unanswered":
        stage.world.vendor = Vendor([breaking(httpx.ReadTimeout)])
        stage.fails(name, given)
        return
    if changed == "accepted twice":
        stage.world.vendor = Vendor([beaten_to_it(stage.world)])
    elif changed in set(states.Status):
        stage.world.entered(states.Status(changed))
    elif changed:
        stage.world.job()
        given["error"] = error_of(changed, DailyLimitReached.code, paid="yes" if changed == "TimedOut" else "unknown")
    if changed == "TimedOut":
        stage.world.paid_job()
    adopt(given.get("execution_id") or given.get("detail", {}).get("executionArn"), stage.world)
    stage.call(name, given)


@pytest.mark.parametrize("metric", EMITTED)
def test_a_metric_of_ours_is_emitted_with_its_dimensions(
    stage: Functions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    # Powertools reads it when it is imported, which was before the environment of the test.
    monkeypatch.setattr(runtime.metrics.provider, "service", "stack")
    sample, *dimensions = EMITTED[metric]
    driven(stage, sample)
    found = set()
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        (directive,) = document["_aws"]["CloudWatchMetrics"]
        if metric in document:
            assert (directive["Namespace"], document["service"]) == (OWN, "stack")
            found |= {tuple(one) for one in directive["Dimensions"]}
    assert found == set(dimensions)


def test_no_metric_is_emitted_that_is_not_in_the_table() -> None:
    named: set[Any] = {name for state in states.STATES.values() for name in (state.metric, state.gauge)} - {""}
    named |= {*sweep._COUNTED}
    for path in (docs.ROOT / "shared").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "add_metric":
                named |= {word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    assert {name for name in named if isinstance(name, str)} <= set(EMITTED)


# ---- what each value of Monitoring has -------------------------------------------------------------------

KINDS = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::KMS::Key")


def stack(monitoring: str, **parameters: str) -> dict[str, dict[str, Any]]:
    return deployed({"Monitoring": monitoring, **parameters})


def published(resources: dict[str, dict[str, Any]]) -> set[str]:
    """Return what the functions of a stack publish; all of them do the same."""
    functions = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Lambda::Function"]
    (names,) = {function["Environment"]["Variables"]["METRICS"] for function in functions}
    return set(names.split(","))


@pytest.mark.parametrize("parameters", [{}, {"CreditsAlarmPerDay": "5"}])
def test_essential_publishes_the_metrics_that_its_alarms_read_and_no_other(parameters: dict[str, str]) -> None:
    resources = stack("essential", **parameters)
    read = {metric for name, (namespace, metric, _) in of_alarms() if name in resources and namespace == OWN}
    assert published(resources) == read
    assert ("CreditsUsed" in read) == bool(parameters)


@pytest.mark.parametrize(
    ("monitoring", "publishes", "alarms_there", "others"),
    [("essential", None, 10, set()), ("off", "none", 0, set()), ("full", "all", 21, {"dashboards", "key"})],
)
def test_each_monitoring_has_its_alarms_and_only_full_what_costs_most(
    monitoring: str, publishes: str | None, alarms_there: int, others: set[str]
) -> None:
    resources = stack(monitoring)
    kinds = [one["Type"] for one in resources.values()]
    assert kinds.count("AWS::CloudWatch::Alarm") == alarms_there
    expected = {"AWS::CloudWatch::Dashboard": 2, "AWS::KMS::Key": 1} if others else {}
    assert {kind: kinds.count(kind) for kind in KINDS[1:] if kind in kinds} == expected
    assert publishes is None or published(resources) == {publishes}


@pytest.mark.parametrize("monitoring", ["essential", "full"])
def test_a_sweep_that_fails_or_does_not_come_raises_an_alarm(monitoring: str) -> None:
    """What only the sweep measures is missing then, and an alarm on it goes back to OK."""
    resources = stack(monitoring)
    on_sweep = [{"Name": "FunctionName", "Value": {"Ref": "SweepFunction"}}]
    watching = {
        alarm["MetricName"]: (alarm["ComparisonOperator"], alarm["Threshold"], alarm["TreatMissingData"])
        for name, alarm in alarms().items()
        if name in resources and alarm.get("Dimensions") == on_sweep
    }
    # Lambda counts an invocation that fails, too.
    assert watching == {
        "Errors": ("GreaterThanOrEqualToThreshold", 1, "notBreaching"),
        "Invocations": ("LessThanThreshold", 1, "breaching"),
    }


def test_what_holds_data_or_subscribers_does_not_depend_on_monitoring() -> None:
    def others(monitoring: str) -> set[str]:
        return {name for name, one in stack(monitoring).items() if one["Type"] not in KINDS}

    assert others("off") == others("essential") == others("full") >= {"AlarmTopic", "Topic", "JobsTable", "ApiLogs"}


def test_the_rights_of_the_roles_do_not_depend_on_monitoring() -> None:
    def policies(monitoring: str) -> dict[str, Any]:
        kinds = ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
        return {name: one["Properties"] for name, one in stack(monitoring).items() if one["Type"] in kinds}

    assert policies("off") == policies("essential") == policies("full")
    assert len(policies("full")) > 10


def test_a_canary_has_its_alarm_whatever_monitoring_is() -> None:
    for monitoring in ("off", "essential", "full"):
        assert "ApiFunctionErrorsAlarm" in stack(monitoring, Release="1")


@pytest.mark.parametrize(
    ("published", "expected"),
    [("all", {"JobsOnHold": 0, "Polls": 1}), ("JobsOnHold", {}), ("Polls", {"Polls": 1}), ("none", {})],
)
def test_a_metric_that_is_not_published_is_logged_and_a_zero_is_neither(
    stage: Functions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    published: str,
    expected: dict[str, int],
) -> None:
    monkeypatch.setenv("METRICS", published)
    driven(stage, "sweep_schedule")
    driven(stage, "status")
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    found = {name: document[name] for document in documents for name in ("JobsOnHold", "Polls") if name in document}
    assert {name: value[0] if isinstance(value, list) else value for name, value in found.items()} == expected
    logged = [line["metric"] for line in stage.log if line["message"] == "counted"]
    assert ("Polls" in logged) == ("Polls" not in expected)
    assert "JobsOnHold" not in logged


def test_credits_are_counted_by_source_only_if_all_metrics_are_published(
    stage: Functions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.metrics.provider, "service", "stack")
    monkeypatch.setenv("METRICS", "CreditsUsed")
    driven(stage, "submit")
    (document,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert (directive["Dimensions"], [one["Name"] for one in directive["Metrics"]]) == ([["service"]], ["CreditsUsed"])


# ---- what it costs ---------------------------------------------------------------------------------------


def test_an_idle_stack_with_the_defaults_costs_at_most_a_dollar_and_a_half_a_month() -> None:
    assert docs.template()["Parameters"]["Monitoring"]["Default"] == "essential"
    lines = cost.month("essential", jobs=0)
    assert sum(lines.values()) <= 1.50
    assert {name for name in lines if name.startswith("sweeps: ")} >= {"sweeps: Lambda request", "sweeps: GB of logs"}
    assert lines["the secret of the API key"] == 0.40
    watched = sum(sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1 for alarm in alarms().values())
    with_credits = cost.month("full", jobs=0)["metrics that alarms watch"] + 0.10
    assert with_credits == pytest.approx(watched / 10)


def test_every_metric_of_ours_has_a_price(stage: Functions, capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.METRICS.keys() == EMITTED.keys()
    by_source = {name for name, (_, *dimensions) in EMITTED.items() if SOURCE in dimensions}
    assert {name for name, (_, metrics) in cost.METRICS.items() if metrics == 2} == by_source
    driven(stage, "sweep_schedule")
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    published = {one["Name"] for document in documents for one in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert published & cost.BY_SWEEP == cost.BY_SWEEP


# ---- what is watched -------------------------------------------------------------------------------------

WATCHED = [*of_alarms(), *of_dashboards()]


@pytest.mark.parametrize(("name", "metric"), WATCHED, ids=lambda one: one if isinstance(one, str) else one[1])
def test_what_is_watched_exists_with_these_dimensions(name: str, metric: Metric) -> None:
    namespace, metric_name, dimensions = metric
    if namespace == OWN:
        assert dimensions[0] == ("service", "AWS::StackName")
        assert tuple(dimension for dimension, _ in dimensions) in EMITTED[metric_name][1:]
        return
    dimension, kind, _ = AWS[namespace, metric_name]
    assert [(one, kind_of(value)) for one, value in dimensions] == [(dimension, kind)]


def test_every_metric_of_ours_is_on_a_dashboard() -> None:
    assert {name for _, (namespace, name, _) in of_dashboards() if namespace == OWN} == set(EMITTED)


def test_every_function_is_watched_for_throttles() -> None:
    functions = {name for name, one in RESOURCES.items() if one["Type"] == FUNCTION}
    for watcher in ("ThrottlesAlarm", "OperatorDashboard"):
        watched = {
            dict(more)["FunctionName"]
            for name, (_, metric, more) in WATCHED
            if metric == "Throttles" and name == watcher
        }
        assert watched == functions, watcher


def test_an_event_that_not_even_its_queue_took_is_noticed() -> None:
    functions = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == FUNCTION}
    watched = {value for name, (_, _, pairs) in WATCHED if name == "EventsLostAlarm" for _, value in pairs}
    expected = {name for name, one in functions.items() if "DestinationConfig" in one.get("EventInvokeConfig", {})}
    for name, one in functions.items():
        events = one.get("Events", {}).items()
        expected |= {f"{name}{event}" for event, source in events if "DeadLetterConfig" in source["Properties"]}
    assert expected
    assert watched == expected


def test_an_expression_uses_the_metrics_that_its_alarm_fetches() -> None:
    for name, alarm in alarms().items():
        fetched = {one["Id"] for one in alarm.get("Metrics", []) if "MetricStat" in one}
        for one in alarm.get("Metrics", []):
            if "Expression" in one:
                text = one["Expression"]["Fn::Sub"] if isinstance(one["Expression"], dict) else one["Expression"]
                assert set(re.findall(r"(?<![{\w])[a-z]\w*", text)) == fetched, name


# ---- what an alarm says ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", alarms())
def test_an_alarm_reaches_somebody_and_says_what_to_do(name: str) -> None:
    alarm = alarms()[name]
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["TreatMissingData"] in ("notBreaching", "ignore", "breaching")
    assert len(re.findall(r"[.:;] ?", alarm["AlarmDescription"])) >= 2, "what happened, and what to do"
    assert len(alarm["AlarmDescription"]) <= 1024
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    period = alarm.get("Period") or alarm["Metrics"][0]["MetricStat"]["Period"]
    assert period * alarm["EvaluationPeriods"] <= 86400


def test_an_alarm_names_commands_as_the_operator_types_them() -> None:
    texts = {name: alarm["AlarmDescription"] for name, alarm in alarms().items()}
    assert [name for name, text in texts.items() if "python -m" in text] == []
    commands = {line.split()[0] for text in texts.values() for line in re.findall(r"`\./genviral ([^`]+)`", text)}
    assert commands >= {"list", "show", "stop-intake"}
    assert commands <= set(cli.commands)
    page = (docs.ROOT / "docs" / "alarms.md").read_text()
    asked = {one for text in (*texts.values(), page) for one in re.findall(r"--status (\w+)", text)}
    assert asked >= {"uncertain", "on_hold", "canceled"}
    assert asked <= {str(one.value) for one in states.Status}


def test_every_alarm_has_its_row_among_the_symptoms() -> None:
    page = (docs.ROOT / "docs" / "alarms.md").read_text()
    assert set(re.findall(r"^\| `(\w+Alarm)` \|", page, re.MULTILINE)) == set(alarms())


def test_the_operators_dashboard_shows_every_alarm_that_full_has() -> None:
    (shown,) = [
        one["properties"]["alarms"] for one in dashboards()["OperatorDashboard"]["widgets"] if one["type"] == "alarm"
    ]
    there = {name for name, one in stack("full").items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    assert set(shown) == {f"${{{name}.Arn}}" for name in there}


# ---- what a query asks for -------------------------------------------------------------------------------

WORDS = set("fields filter sort limit stats by as and or not in desc asc ispresent count latest like display".split())  # noqa: SIM905


def fields_of(query: str) -> set[str]:
    """Return the log fields in a query, without its keywords, quoted texts and aliases."""
    bare = re.sub(r'"[^"]*"|\bas \w+|SOURCE \S+', "", query)
    given = set(re.findall(r"\bas (\w+)", query))
    return set(re.findall(r"@?[a-zA-Z_][\w.]*", bare)) - WORDS - given - {"@timestamp"}


def queries() -> dict[str, str]:
    found = {
        name: one["Properties"]["QueryString"] for name, one in RESOURCES.items() if "QueryString" in one["Properties"]
    }
    for body in dashboards().values():
        for widget in body["widgets"]:
            if widget["type"] == "log":
                found[widget["properties"]["title"]] = re.sub(r"SOURCE '[^']*' \| ", "", widget["properties"]["query"])
    return found


def test_every_field_of_a_query_stands_in_a_line_that_is_really_logged(stage: Functions) -> None:
    logged: set[str] = set()
    version_of_the_event(stage.world)
    stage.world.vendor = Vendor([refusing(403, "insufficient_credits"), accepting()])
    stage.fails("submit", event("submit"))
    submitted = stage.call("submit", event("submit"))
    adopt(event("status")["execution_id"], stage.world)
    stage.call("status", event("status") | {"video_id": submitted["video_id"]})
    stage.call("notify", event("notify_failed") | {"error": error_of("GenerationFailed", paid="yes")})
    for line in stage.log:
        logged |= set(line) | {
            f"{name}.{more}" for name, inner in line.items() if isinstance(inner, dict) for more in inner
        }
    asked = {name: fields_of(query) for name, query in queries().items()}
    assert all(asked.values())
    assert {name: fields - logged for name, fields in asked.items() if fields - logged} == {}
    ended = [line for line in stage.log if line["message"] == "the job ended"]
    assert [line["status"] for line in ended] == ["failed"]
    assert ended[0]["seconds"] >= 0
    texts = {text for query in queries().values() for text in re.findall(r'message = "([^"]*)"', query)}
    assert texts <= {line["message"] for line in stage.log}


def test_queries_and_alarms_read_the_log_of_every_function() -> None:
    groups = {
        one["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] for one in RESOURCES.values() if one["Type"] == FUNCTION
    }
    for name, one in RESOURCES.items():
        if one["Type"] == "AWS::Logs::QueryDefinition":
            assert {group["Ref"] for group in one["Properties"]["LogGroupNames"]} == groups, name
    (errors,) = [widget for widget in dashboards()["OperatorDashboard"]["widgets"] if widget["type"] == "log"]
    assert set(re.findall(r"SOURCE '\$\{(\w+)\}'", errors["properties"]["query"])) == groups
