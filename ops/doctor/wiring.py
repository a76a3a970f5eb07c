"""Check what a deployment set up, and whether it still stands as the template and the parameters ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.doctor.findings import Finding, ok, problem, unknown, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.doctor.deployment import Deployment

_COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "IMPORT_COMPLETE")
_USABLE = ("ACTIVE", "UPDATING")
_INDEXES = frozenset({"by_status", "by_notice", "by_redrive"})
_EXPIRES = "expires_at"
_MACHINES = ("StateMachineArn", "BatchMachineArn")
_FUNCTION, _ALIAS, _LAYER = "AWS::Lambda::Function", "AWS::Lambda::Alias", "AWS::Lambda::LayerVersion"
_RULE = "AWS::Events::Rule"
# Only there so that a deployment fails without its bus.
_NEVER_ENABLED = "BusExists"
_BY_HAND = (
    "Undo what was changed by hand in Lambda (Concurrency). A deployment does it only for a new ReservedConcurrency."
)
_RESERVING = frozenset({"SubmitFunction", "StatusFunction", "DeliverFunction"})
# A deployment notes a change a moment after the function itself does.
_MARGIN = timedelta(minutes=1)


def stack(deployment: Deployment) -> Finding:
    """Check that the last deployment was completed."""
    status, reason = deployment.status, deployment.status_reason
    if status in _COMPLETE:
        return ok(status)
    if status.endswith("_IN_PROGRESS") and "ROLLBACK" not in status:
        return warning(f"{status}: it is being changed", "Run doctor again when that is done.")
    return problem(f"{status}{f': {reason}' if reason else ''}")


def table(deployment: Deployment) -> Finding:
    """Check that the jobs table is there, with its indexes and its expiry."""
    dynamodb, name = deployment.client("dynamodb"), deployment.stack.output("JobsTable")
    described = dynamodb.describe_table(TableName=name)["Table"]
    if described["TableStatus"] not in _USABLE:
        return problem(f"{name} is {described['TableStatus']}")
    indexes = described.get("GlobalSecondaryIndexes", ())
    active = {one["IndexName"] for one in indexes if one.get("IndexStatus", "ACTIVE") in _USABLE}
    if missing := sorted(_INDEXES - active):
        return problem(f"{name} has no active index {', '.join(missing)}")
    expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if not expiry["TimeToLiveStatus"].startswith("ENABL") or expiry.get("AttributeName") != _EXPIRES:
        return problem(f"{name} never deletes old records: its time to live (TTL) is off")
    return ok(f"{name} is active, with its indexes and its TTL")


def machines(deployment: Deployment) -> Finding:
    """Check that both state machines are there."""
    sfn = deployment.client("stepfunctions")
    for output in _MACHINES:
        arn = deployment.stack.output(output)
        status = sfn.describe_state_machine(stateMachineArn=arn)["status"]
        if status != "ACTIVE":
            return problem(f"{arn} is {status}")
    return ok("both are active")


def rules(deployment: Deployment) -> Finding:
    """Check that the sweep's schedule and the rules for events are enabled, and reach a function."""
    events = deployment.client("events")
    found = {name: rule for name, rule in deployment.of_kind(_RULE).items() if name != _NEVER_ENABLED}
    off, idle = {}, []
    for name, rule in found.items():
        if not events.describe_rule(Name=rule.id)["State"].startswith("ENABLED"):
            off[name] = rule.id
        elif not events.list_targets_by_rule(Rule=rule.id)["Targets"]:
            idle.append(name)
    if not found:
        return problem("the stack has none")
    if off:
        commands = "; ".join(f"aws events enable-rule --name {one}" for one in off.values())
        return problem(f"disabled: {', '.join(off)}", f"A deployment does not enable them again. {commands}")
    if idle:
        return problem(f"without a target: {', '.join(idle)}")
    return ok(f"all {len(found)} are enabled, the sweep's schedule among them")


def uploads(deployment: Deployment) -> Finding:
    """Check that the uploads bucket tells EventBridge of new objects."""
    bucket = deployment.stack.uploads
    if "EventBridgeConfiguration" in deployment.stack.s3.get_bucket_notification_configuration(Bucket=bucket):
        return ok(f"{bucket} sends its events to EventBridge")
    return problem(f"{bucket} does not send its events to EventBridge, so uploads start nothing")


def code(deployment: Deployment) -> Finding:
    """Check that all functions run the code of the last deployment."""
    layers = {layer.id for layer in deployment.of_kind(_LAYER).values()}
    lambda_, wrong, changed = deployment.client("lambda"), [], []
    # An alias is a function's version that the API calls. Its ARN is a function's name, too.
    functions = deployment.of_kind(_FUNCTION) | deployment.of_kind(_ALIAS)
    for name, function in functions.items():
        found = lambda_.get_function_configuration(FunctionName=function.id)
        if found.get("State") == "Failed" or found.get("LastUpdateStatus", "Successful") == "Failed":
            wrong.append(f"{name} cannot run: {found.get('LastUpdateStatusReason') or found.get('StateReason', '')}")
        elif not layers & {layer["Arn"] for layer in found.get("Layers", ())}:
            wrong.append(f"{name} has shared code (a layer) of another deployment")
        elif datetime.fromisoformat(found["LastModified"]).astimezone(UTC) > function.changed_at + _MARGIN:
            changed.append(f"{name} was changed by hand at {found['LastModified'][:16]}")
    if wrong:
        return problem("; ".join(wrong))
    if changed:
        return warning("; ".join(changed))
    return ok(f"all {len(functions)} functions run the code of the last deployment")


def quotas(deployment: Deployment) -> Finding:
    """Compare what the account and the functions may run at once with the settings."""
    limit = deployment.client("lambda").get_account_settings()["AccountLimit"]
    free, rows = limit["UnreservedConcurrentExecutions"], deployment.number("BatchConcurrency")
    reserved = dict(_reserved(deployment))
    for name, (has, _) in reserved.items():
        if has == 0:
            return problem(f"{name} may not run: 0 calls at once are reserved for it", _BY_HAND)
    if rows > free:
        return warning(f"BatchConcurrency is {rows}, and the account has {free} calls at once that are not reserved")
    wrong = [
        f"{name} has {has or 'no'} reserved calls, and the settings ask for {wanted or 'none'}"
        for name, (has, wanted) in reserved.items()
        if has != wanted
    ]
    if wrong and deployment.is_on_laptop:
        return unknown("the cloud on a laptop reserves no calls for functions", "On AWS, this is checked.")
    if wrong:
        return warning("; ".join(wrong), _BY_HAND)
    return ok(f"Lambda runs up to {limit['ConcurrentExecutions']} calls at once; batches use up to {rows}")


def _reserved(deployment: Deployment) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Yield each function's name, and its reserved concurrency as it is and as the settings ask for."""
    lambda_, asked = deployment.client("lambda"), deployment.number("ReservedConcurrency") or None
    for name, function in deployment.of_kind(_FUNCTION).items():
        found = lambda_.get_function_concurrency(FunctionName=function.id)
        yield name, (found.get("ReservedConcurrentExecutions"), asked if name in _RESERVING else None)


def cors(deployment: Deployment) -> Finding:
    """Compare the origins that the API and the uploads bucket allow with `AllowedOrigins`."""
    wanted = _origins(deployment.parameters.get("AllowedOrigins", "").split(","))
    api = deployment.client("apigatewayv2").get_api(ApiId=deployment.id_of("HttpApi"))
    allowed = {
        "the API": _origins(api.get("CorsConfiguration", {}).get("AllowOrigins", ())),
        "the uploads bucket": _origins(_of_bucket(deployment)),
    }
    wrong = [f"{who} allows {', '.join(sorted(them)) or 'none'}" for who, them in allowed.items() if them != wanted]
    asked = ", ".join(sorted(wanted)) or "none"
    return problem(f"AllowedOrigins is {asked}, but {'; '.join(wrong)}") if wrong else ok(f"allowed origins: {asked}")


def _of_bucket(deployment: Deployment) -> Iterator[str]:
    try:
        rules = deployment.stack.s3.get_bucket_cors(Bucket=deployment.stack.uploads)["CORSRules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchCORSConfiguration":
            raise
        return
    for rule in rules:
        yield from rule["AllowedOrigins"]


def _origins(texts: Any) -> set[str]:
    return {text.strip() for text in texts} - {""}
