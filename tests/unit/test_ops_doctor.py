"""Test what `doctor` finds: each planted fault by its own check, nothing on a sound stack, and no write."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ops.__main__ import main
from ops.doctor import course, wiring
from ops.doctor.checks import CHECKS, FIELDS
from ops.doctor.deployment import RIGHTS
from ops.exits import Exit
from ops.stack import Stack
from tests.support.examined import EMAIL, SoundStack, denied
from tests.support.fakes import KEY, TABLE, UPLOADS, Vendor, client, refusing
from tests.support.operators import claimed
from tests.support.template import JOBS_TABLE, RESOURCES, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.operators import CommandLine

PROBLEM, WARNING, UNKNOWN = "problem", "warning", "unknown"


@pytest.fixture
def stack(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> SoundStack:
    # The tests' own clients: to create twelve takes longer than all calls of a run.
    monkeypatch.setattr(Stack, "client", lambda _, service, **__: client(service))
    sound = SoundStack(account)
    account.calls.clear()
    return sound


def examined(account: CommandLine) -> tuple[int, dict[str, dict[str, str]]]:
    status, out, err = account.run("doctor", "--json")
    assert not err
    document = json.loads(out)
    assert document["sound"] is (status != Exit.UNSOUND)
    return status, {check["name"]: check for check in document["checks"]}


def wrong(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["state"] for name, check in found.items() if check["state"] != "ok"}


# ---- a sound stack ---------------------------------------------------------------------------------------------------


def test_a_sound_stack_has_no_finding(account: CommandLine, stack: SoundStack) -> None:
    status, found = examined(account)
    assert (status, wrong(found)) == (0, {})
    assert list(found) == [check.name for check in CHECKS]
    assert not any("advice" in check for check in found.values())
    status, out, err = account.run("doctor")
    assert (status, err) == (0, "")
    *lines, summary = out.splitlines()
    assert [line.split()[:2] for line in lines] == [["✓", check.name] for check in CHECKS]
    assert summary == "Sound."


def test_it_writes_nothing_and_pays_nothing(account: CommandLine, stack: SoundStack) -> None:
    claimed(account.world)
    account.calls.clear()
    before = account.world.dynamodb.scan(TableName=TABLE)["Items"]
    account.calls.clear()
    assert examined(account)[0] == 0
    operations = {call.partition(":")[2] for call in account.calls}
    assert operations == set(RIGHTS)
    assert all(operation.startswith(("Describe", "Get", "List", "Head", "Query")) for operation in operations)
    asked = {
        (request.method, request.url.path, str(request.url.query, "ascii")) for request in stack.world.vendor.asked
    }
    assert asked == {("GET", "/api/v1/studio/models", "mode=video")}
    assert account.world.dynamodb.scan(TableName=TABLE)["Items"] == before


def test_jobs_that_wait_are_counted_and_no_fault(account: CommandLine, stack: SoundStack) -> None:
    stack.world.paid_job("job-1")
    stack.world.job("job-2")
    stack.world.overwrite("job-2", status="uncertain")
    status, found = examined(account)
    assert (status, wrong(found)) == (0, {})
    assert found["jobs"]["message"] == "1 processing, 1 uncertain"


# ---- planted faults --------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """Something that is wrong, and what finds it."""

    check: str
    state: str
    says: str
    plant: Callable[[SoundStack], Any]


def _secret(stack: SoundStack, value: str) -> None:
    client("secretsmanager").put_secret_value(SecretId="genviral-key", SecretString=value)


def _vendor(stack: SoundStack, *answers: Any) -> None:
    stack.world.vendor = Vendor(get=list(answers))


def _subscribed(stack: SoundStack, arn: str) -> None:
    one = {"SubscriptionArn": arn, "Endpoint": EMAIL, "Protocol": "email"}
    stack.account.answers["ListSubscriptionsByTopic"] = lambda _: {"Subscriptions": [one]}


def _nobody(stack: SoundStack) -> None:
    stack.account.parameters |= {"NotificationEmail": "", "AlarmEmail": ""}
    stack.account.answers["ListSubscriptionsByTopic"] = lambda _: {"Subscriptions": []}


def _topic_deleted(stack: SoundStack) -> None:
    gone = ClientError({"Error": {"Code": "NotFound", "Message": "Topic does not exist"}}, "ListSubscriptionsByTopic")
    stack.account.fails["ListSubscriptionsByTopic"] = gone


def _targets_removed(stack: SoundStack) -> None:
    client("events").remove_targets(Rule="UploadsFunctionObjectCreated", Ids=["1"])


def _no_sweep(stack: SoundStack, **ago: float) -> None:
    """Have no sweep since a stack was created."""
    stack.stack["CreationTime"] = datetime.now(UTC) - timedelta(**ago)
    stack.account.answers["GetMetricStatistics"] = lambda _: {"Datapoints": []}


def _late_sweep(stack: SoundStack) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=50)
    stack.account.answers["GetMetricStatistics"] = lambda _: {"Datapoints": [{"Timestamp": begun, "Sum": 1.0}]}


def _alarm(stack: SoundStack, name: str = "EventsDlqAlarm") -> None:
    client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="made up")


def _silent_alarm_of_a_new_stack(stack: SoundStack) -> None:
    stack.stack["CreationTime"] = datetime.now(UTC) - timedelta(minutes=20)
    _alarm(stack, "SweepSilentAlarm")


def _index_deleted(stack: SoundStack) -> None:
    delete = {"Delete": {"IndexName": "by_notice"}}
    stack.world.dynamodb.update_table(TableName=TABLE, GlobalSecondaryIndexUpdates=[delete])


def _no_expiry(stack: SoundStack) -> None:
    off = {"AttributeName": "expires_at", "Enabled": False}
    stack.world.dynamodb.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=off)


def _old_layer(stack: SoundStack) -> None:
    stack.functions["StatusFunction"]["Layers"] = [{"Arn": "arn:aws:lambda:us-east-1:1:layer:genviral-video-shared:6"}]


FAULTS = {
    "a deployment that was rolled back": Fault(
        "stack",
        PROBLEM,
        "UPDATE_ROLLBACK_COMPLETE",
        lambda stack: stack.stack.update(StackStatus="UPDATE_ROLLBACK_COMPLETE"),
    ),
    "a deployment that runs": Fault(
        "stack", WARNING, "is being changed", lambda stack: stack.stack.update(StackStatus="UPDATE_IN_PROGRESS")
    ),
    "no key": Fault("key", PROBLEM, "API key is empty", lambda stack: _secret(stack, "not-set")),
    "a key that Genviral refuses": Fault(
        "key", PROBLEM, "401", lambda stack: _vendor(stack, refusing(401, "unauthorized", "401: no such key"))
    ),
    "no plan": Fault(
        "key",
        PROBLEM,
        "a plan is needed",
        lambda stack: _vendor(stack, refusing(402, "subscription_required", "a plan is needed")),
    ),
    "a secret that will be deleted": Fault(
        "key", PROBLEM, "will be deleted on", lambda _: client("secretsmanager").delete_secret(SecretId="genviral-key")
    ),
    "an address without encryption": Fault(
        "key",
        PROBLEM,
        "unencrypted",
        lambda stack: stack.account.parameters.update(GenviralBaseUrl="http://vendor.example/api"),
    ),
    "a broken recipe": Fault(
        "recipes", PROBLEM, "'shoes'", lambda stack: stack.world.recipe({"prompt": "{{asset_urk}}"}, "shoes")
    ),
    "no default recipe": Fault(
        "recipes",
        WARNING,
        "recipes/default.json",
        lambda stack: stack.world.s3.delete_object(Bucket=UPLOADS, Key="recipes/default.json"),
    ),
    "stopped intake": Fault("intake", PROBLEM, "stopped", lambda stack: stack.account.run("stop-intake")),
    "an unconfirmed subscription": Fault(
        "subscriptions", PROBLEM, f"{EMAIL} has not confirmed", lambda stack: _subscribed(stack, "PendingConfirmation")
    ),
    "a deleted subscription": Fault(
        "subscriptions",
        PROBLEM,
        f"{EMAIL} (NotificationEmail) is not subscribed to notifications any more",
        lambda stack: _subscribed(stack, "Deleted"),
    ),
    "an address that unsubscribed": Fault(
        "subscriptions",
        PROBLEM,
        "late@example.com (AlarmEmail) is not subscribed to alarms",
        lambda stack: stack.account.parameters.update(AlarmEmail="late@example.com"),
    ),
    "nobody subscribed": Fault("subscriptions", WARNING, "nobody is subscribed to notifications", _nobody),
    "a deleted topic": Fault("subscriptions", PROBLEM, "Topic does not exist", _topic_deleted),
    "a bucket without events": Fault(
        "uploads",
        PROBLEM,
        "uploads start nothing",
        lambda stack: stack.events.clear(),
    ),
    "a disabled schedule": Fault(
        "rules",
        PROBLEM,
        "SweepFunctionEvery15Minutes",
        lambda _: client("events").disable_rule(Name="SweepFunctionEvery15Minutes"),
    ),
    "a rule without a target": Fault(
        "rules", PROBLEM, "without a target: UploadsFunctionObjectCreated", _targets_removed
    ),
    "a deleted rule": Fault(
        "rules", PROBLEM, "not there any more", lambda stack: stack.resources.update(Gone=("AWS::Events::Rule", "gone"))
    ),
    "a late sweep": Fault("sweep", PROBLEM, "50 minutes ago", _late_sweep),
    "no sweep": Fault("sweep", PROBLEM, "none within the last hour", lambda stack: _no_sweep(stack, hours=2)),
    "no sweep yet": Fault("sweep", UNKNOWN, "new", lambda stack: _no_sweep(stack, minutes=10)),
    "an alarm": Fault("alarms", PROBLEM, "EventsDlqAlarm", _alarm),
    "an alarm before the first sweep": Fault("alarms", WARNING, "SweepSilentAlarm", _silent_alarm_of_a_new_stack),
    "an alarm that tells nobody": Fault(
        "alarms",
        WARNING,
        "disabled: SweepSilentAlarm",
        lambda _: client("cloudwatch").disable_alarm_actions(AlarmNames=["SweepSilentAlarm"]),
    ),
    "a deleted alarm": Fault(
        "alarms",
        WARNING,
        "EventsDlqAlarm",
        lambda _: client("cloudwatch").delete_alarms(AlarmNames=["EventsDlqAlarm"]),
    ),
    "a parked event": Fault(
        "queue",
        PROBLEM,
        "1",
        lambda stack: client("sqs").send_message(QueueUrl=stack.resources["EventsDlq"][1], MessageBody="{}"),
    ),
    "a small account": Fault(
        "quotas", WARNING, "the account has 10 calls", lambda stack: setattr(stack, "concurrency", 10)
    ),
    "a function that may not run": Fault(
        "quotas", PROBLEM, "SubmitFunction may not run", lambda stack: stack.reserved.update(SubmitFunction=0)
    ),
    "a reservation that was changed": Fault(
        "quotas",
        WARNING,
        "ApiFunction has 5 reserved calls, and the settings ask for none",
        lambda stack: stack.reserved.update(ApiFunction=5),
    ),
    "old shared code": Fault("code", PROBLEM, "StatusFunction has shared code", _old_layer),
    "a function that cannot run": Fault(
        "code", PROBLEM, "ApiFunction cannot run", lambda stack: stack.functions["ApiFunction"].update(State="Failed")
    ),
    "code changed by hand": Fault(
        "code",
        WARNING,
        "ApiFunction was changed by hand",
        lambda stack: stack.functions["ApiFunction"].update(LastModified="2099-01-01T00:00:00.000+0000"),
    ),
    "a bucket without CORS": Fault(
        "cors",
        PROBLEM,
        "the uploads bucket allows none",
        lambda stack: stack.world.s3.delete_bucket_cors(Bucket=UPLOADS),
    ),
    "an API for another origin": Fault(
        "cors", PROBLEM, "the API allows https://other", lambda stack: setattr(stack, "api_origins", ["https://other"])
    ),
    "a deleted state machine": Fault(
        "machines",
        PROBLEM,
        "not there any more",
        lambda stack: stack.world.sfn.delete_state_machine(stateMachineArn=stack.world.batch_machine),
    ),
    "a table without expiry": Fault("table", PROBLEM, "TTL", _no_expiry),
    "a table without an index": Fault("table", PROBLEM, "by_notice", _index_deleted),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_by_its_check_alone(account: CommandLine, stack: SoundStack, name: str) -> None:
    fault = FAULTS[name]
    fault.plant(stack)
    status, found = examined(account)
    assert wrong(found) == {fault.check: fault.state}
    assert fault.says in found[fault.check]["message"]
    assert found[fault.check]["advice"]
    assert set(found[fault.check]) == set(FIELDS)
    assert status == (Exit.UNSOUND if fault.state == PROBLEM else Exit.DONE)
    assert KEY not in json.dumps(found)


def test_a_deleted_table_is_to_be_restored_and_not_recreated(account: CommandLine, stack: SoundStack) -> None:
    stack.world.dynamodb.delete_table(TableName=TABLE)
    status, found = examined(account)
    assert (status, wrong(found)) == (Exit.UNSOUND, dict.fromkeys(("intake", "table", "jobs"), PROBLEM))
    assert all("Do not create an empty table" in found[name]["advice"] for name in wrong(found))


def test_the_rule_that_only_needs_its_bus_may_stay_disabled(account: CommandLine, stack: SoundStack) -> None:
    """Asked for by the name that CloudFormation has for it, EventBridge would refuse to describe it."""
    assert RESOURCES[wiring._NEVER_ENABLED]["Properties"]["State"] == "DISABLED"
    stack.resources[wiring._NEVER_ENABLED] = ("AWS::Events::Rule", "video-events|stack-BusExists-1")
    status, found = examined(account)
    assert (status, wrong(found)) == (0, {})


def test_without_monitoring_no_alarm_is_missed(account: CommandLine, stack: SoundStack) -> None:
    account.parameters |= {"Monitoring": "off", "AlarmEmail": ""}
    stack.resources = {name: one for name, one in stack.resources.items() if one[0] != "AWS::CloudWatch::Alarm"}
    real = client("sns").list_subscriptions_by_topic
    for one in real(TopicArn=stack.topics["AlarmTopicArn"])["Subscriptions"]:
        client("sns").unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    status, found = examined(account)
    assert (status, wrong(found)) == (0, {})


# ---- checks that cannot be made --------------------------------------------------------------------------------------


def test_a_check_without_its_right_names_the_right(account: CommandLine, stack: SoundStack) -> None:
    for operation in set(RIGHTS) - {"DescribeStacks"}:
        account.fails = {operation: denied(operation)}
        status, found = examined(account)
        assert (status, set(wrong(found).values())) == (Exit.UNANSWERED, {UNKNOWN}), operation
        for name in wrong(found):
            assert found[name]["message"] == f"these credentials lack the right {RIGHTS[operation]}"
            assert "docs/operator-access.md" in found[name]["advice"]


UNANSWERED: dict[str, tuple[str, Callable[[SoundStack], Any]]] = {
    "a silent service": (
        "queue",
        lambda stack: stack.account.fails.update(
            GetQueueAttributes=EndpointConnectionError(endpoint_url="https://sqs.example")
        ),
    ),
    "a Genviral that is away": ("key", lambda stack: _vendor(stack, refusing(503))),
}


@pytest.mark.parametrize("name", UNANSWERED)
def test_what_does_not_answer_is_not_known(account: CommandLine, stack: SoundStack, name: str) -> None:
    check, plant = UNANSWERED[name]
    plant(stack)
    status, found = examined(account)
    assert (status, wrong(found)) == (Exit.UNANSWERED, {check: UNKNOWN})


def test_a_problem_outweighs_what_is_not_known(account: CommandLine, stack: SoundStack) -> None:
    account.fails["GetQueueAttributes"] = denied("GetQueueAttributes")
    account.run("stop-intake")
    status, out, _ = account.run("doctor")
    assert status == Exit.UNSOUND
    lines = out.splitlines()
    assert lines[-1] == "Not sound, problems: 1, not known: 1."
    marked = {line.split()[1]: line[0] for line in lines[:-1] if line[0] not in "✓ "}
    assert marked == {"intake": "✗", "queue": "?"}


def test_without_a_stack_there_is_nothing_to_check(account: CommandLine) -> None:
    status, _, err = account.run("doctor", "--stack", "other")
    assert status == Exit.NOT_FOUND
    assert "There is no stack other" in err


# ---- what is printed, what is documented -----------------------------------------------------------------------------


def test_a_terminal_without_the_marks_gets_ascii(
    account: CommandLine, stack: SoundStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.run("stop-intake")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    assert main(["doctor"]) == Exit.UNSOUND
    marks = {line.split()[1]: line[0] for line in raw.getvalue().decode("ascii").splitlines() if line[0] in "+x!?"}
    assert marks == {check.name: "x" if check.name == "intake" else "+" for check in CHECKS}


def test_what_the_checks_expect_is_what_the_template_asks_for() -> None:
    assert {index["IndexName"] for index in JOBS_TABLE["GlobalSecondaryIndexes"]} == wiring._INDEXES
    assert JOBS_TABLE["TimeToLiveSpecification"]["AttributeName"] == wiring._EXPIRES
    reserving = {name for name, one in RESOURCES.items() if "ReservedConcurrentExecutions" in one.get("Properties", {})}
    assert reserving == wiring._RESERVING
    schedule = RESOURCES["SweepFunction"]["Properties"]["Events"]["Every15Minutes"]["Properties"]["Schedule"]
    assert schedule == f"rate({course._SWEEP_EVERY.seconds // 60} minutes)"
    assert {course._SILENT, "EventsDlq", "HttpApi"} <= set(RESOURCES)


def test_no_name_can_look_like_another_check(account: CommandLine, stack: SoundStack) -> None:
    stack.world.recipe({"model_id": "m/m", "prompt": "{{filename}}"}, "a\n✗ intake  stopped\x1b[2J")
    status, out, _ = account.run("doctor")
    assert status == 0
    assert len(out.splitlines()) == len(CHECKS) + 1
    assert "\x1b" not in out


def test_the_documented_policy_for_doctor_is_just_enough() -> None:
    text = (ROOT / "docs" / "operator-access.md").read_text()
    policies = [json.loads(block)["Statement"] for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    (own,) = [policy for policy in policies if any(one["Sid"].startswith("Examine") for one in policy)]
    shared = {"FindTheStack", "ListJobs", "AskGenviral"}
    others = {one["Sid"]: one for one in policies[0]}
    assert shared <= set(others)
    allowed = {action for one in own for action in _list(one["Action"])}
    before = {action for sid in shared for action in _list(others[sid]["Action"])} | {"dynamodb:GetItem"}
    assert allowed == set(RIGHTS.values()) - before
    everywhere = {action for one in own if one["Resource"] == "*" for action in _list(one["Action"])}
    assert everywhere == {"cloudwatch:GetMetricStatistics", "lambda:GetAccountSettings"}


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
