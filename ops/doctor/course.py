"""Check how a stack has run lately: the last sweep, alarms, and events that nothing could handle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ops.doctor.findings import Finding, ok, problem, unknown, warning

if TYPE_CHECKING:
    from ops.doctor.deployment import Deployment

_SWEEP_EVERY = timedelta(minutes=15)
# Two sweeps, and the minutes that CloudWatch may take to show one.
_SWEEP_BY = 2 * _SWEEP_EVERY + timedelta(minutes=5)
_READ_BACK = timedelta(hours=1)
_ALARM = "AWS::CloudWatch::Alarm"
_SILENT = "SweepSilentAlarm"
_ALARMS_A_CALL = 100


def sweep(deployment: Deployment) -> Finding:
    """Say when the last sweep began, from Lambda's own count of its calls, which no setting turns off."""
    now = datetime.now(UTC)
    points = deployment.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": deployment.id_of("SweepFunction")}],
        StartTime=now - _READ_BACK,
        EndTime=now,
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    begun = [point["Timestamp"] for point in points if point["Sum"]]
    if begun:
        minutes = int((now - max(begun)).total_seconds() // 60)
        late = now - max(begun) > _SWEEP_BY
        return (problem if late else ok)(f"the last one began {minutes} minutes ago")
    if deployment.is_on_laptop:
        return unknown("the cloud on a laptop does not count calls of functions", "`up` shows on a terminal what runs.")
    if now - deployment.created_at < _SWEEP_BY:
        return unknown("none yet: the stack is new", "The first comes within 15 minutes. Run doctor again then.")
    return problem("none within the last hour")


def alarms(deployment: Deployment) -> Finding:
    """Check that no alarm is on."""
    names = {alarm.id: name for name, alarm in deployment.of_kind(_ALARM).items()}
    if not names:
        return ok("the stack has none (Monitoring)")
    cloudwatch, ids = deployment.client("cloudwatch"), list(names)
    found = [
        alarm
        for start in range(0, len(ids), _ALARMS_A_CALL)
        for alarm in cloudwatch.describe_alarms(AlarmNames=ids[start : start + _ALARMS_A_CALL])["MetricAlarms"]
    ]
    ringing = sorted(names[one["AlarmName"]] for one in found if one["StateValue"] == "ALARM")
    if ringing == [_SILENT] and datetime.now(UTC) - deployment.created_at < _READ_BACK:
        return warning(f"{_SILENT}, which is on until a new stack has had its first sweep", "Run doctor again later.")
    if ringing:
        return problem(f"on: {', '.join(ringing)}")
    if deployment.is_on_laptop:
        return unknown("none is on, but the cloud on a laptop never turns one on", "On AWS, this is checked.")
    silent = sorted(names[one["AlarmName"]] for one in found if not one.get("ActionsEnabled", True))
    if silent:
        return warning(f"would tell nobody, because their actions are disabled: {', '.join(silent)}")
    if missing := sorted(set(names.values()) - {names[one["AlarmName"]] for one in found}):
        return warning(
            f"deleted by hand: {', '.join(missing)}",
            "A deployment does not create them again: docs/alarms.md says what each watches.",
        )
    return ok(f"none of {len(names)} is on")


def queue(deployment: Deployment) -> Finding:
    """Check that no event was parked."""
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = deployment.client("sqs").get_queue_attributes(QueueUrl=deployment.id_of("EventsDlq"), AttributeNames=counts)
    parked = sum(int(found["Attributes"].get(count, 0)) for count in counts)
    if parked:
        return problem(f"events that no try could handle: {parked}")
    return ok("no event is parked")
