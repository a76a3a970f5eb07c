"""Check what people put into a stack and around it: the key, recipes, subscriptions; and what jobs wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.doctor.findings import Finding, ok, problem, unanswered, warning
from ops.exits import Refused
from shared.genviral.errors import AccountFault, GenviralFault
from shared.jobs.errors import RecipeInvalid
from shared.jobs.states import OPEN, STATES, Status
from shared.requests.recipes import DEFAULT_RECIPE, RECIPES, recipe_named_by
from shared.requests.resolve import MAX_DOCUMENT_BYTES, check_recipe

if TYPE_CHECKING:
    from ops.doctor.deployment import Deployment

_SHOWN = 3
_TOPICS = (
    ("notifications", "TopicArn", "NotificationEmail"),
    ("alarms", "AlarmTopicArn", "AlarmEmail"),
)


def key(deployment: Deployment) -> Finding:
    """Check that the API key is kept, and that Genviral accepts it. It asks for the list of models, which is free."""
    secret = deployment.stack.output("ApiKeySecretArn")
    deleted = deployment.client("secretsmanager").describe_secret(SecretId=secret).get("DeletedDate")
    if deleted:
        text = f"the secret with the API key will be deleted on {deleted:%Y-%m-%d}; until then nobody can read it"
        return problem(text, f"aws secretsmanager restore-secret --secret-id {secret}")
    try:
        models = deployment.stack.vendor.models()
    except AccountFault as fault:
        return problem(fault.message, fault.advice)
    except GenviralFault as fault:
        return unanswered(fault.message, "Jobs are tried again automatically. Run doctor again later.")
    except Refused as error:
        return problem(str(error), "Correct the parameter GenviralBaseUrl, and deploy.")
    return ok(f"Genviral accepts it, and has {len(models)} models for it")


def recipes(deployment: Deployment) -> Finding:
    """Check every recipe in the uploads bucket as its upload was checked."""
    s3, bucket = deployment.stack.s3, deployment.stack.uploads
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=RECIPES)
    named = {one["Key"]: recipe_named_by(one["Key"]) for page in pages for one in page.get("Contents", ())}
    wrong, names = [], [name for name in named.values() if name]
    for name in names:
        body = s3.get_object(Bucket=bucket, Key=f"{RECIPES}{name}.json")["Body"].read(MAX_DOCUMENT_BYTES + 1)
        try:
            check_recipe(body, name)
        except RecipeInvalid as fault:
            wrong.append(fault.message)
    if wrong:
        return problem(_some(wrong))
    if DEFAULT_RECIPE not in names:
        text = f"there is no {RECIPES}{DEFAULT_RECIPE}.json, so a file directly in uploads/ makes no video"
        return warning(text, "Upload one, for example this project's recipes/default.json.")
    return ok(f"{len(names)} valid: {_some(sorted(names), ', ')}")


def intake(deployment: Deployment) -> Finding:
    """Check that new jobs may start."""
    if deployment.stack.switch.is_stopped:
        return problem("it is stopped: no new job starts")
    return ok("open")


def subscriptions(deployment: Deployment) -> Finding:
    """Check that somebody is notified of jobs and of alarms, and that every subscription is confirmed."""
    sns, wrong, nobody, numbers = deployment.client("sns"), [], [], []
    for what, output, parameter in _TOPICS:
        if output not in deployment.outputs or (what == "alarms" and deployment.parameters.get("Monitoring") == "off"):
            continue
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=deployment.outputs[output])
        # One that was deleted is listed for some days more.
        found = [one for page in pages for one in page["Subscriptions"] if one["SubscriptionArn"] != "Deleted"]
        wrong += [
            f"{one['Endpoint']} has not confirmed its subscription to {what}"
            for one in found
            if one["SubscriptionArn"] == "PendingConfirmation"
        ]
        wanted = deployment.parameters.get(parameter)
        if wanted and wanted not in {one["Endpoint"] for one in found}:
            wrong.append(f"{wanted} ({parameter}) is not subscribed to {what} any more")
        if not found:
            nobody.append(f"nobody is subscribed to {what}")
        numbers.append(f"{what}: {len(found)}")
    if wrong:
        return problem(_some(wrong))
    if nobody:
        return warning(_some(nobody), "Subscribe an address or a program: docs/notifications.md.")
    return ok(f"all are confirmed; {', '.join(numbers)}")


def jobs(deployment: Deployment) -> Finding:
    """Count the jobs that are open or wait for a person. That is information and no judgement."""
    counted = [status for status in Status if status in OPEN or STATES[status].list_order]
    many = {status: deployment.stack.store.count(status)[0] for status in counted}
    shown = ", ".join(f"{number} {status}" for status, number in many.items() if number)
    return ok(shown or "none is open, and none waits for a person")


def _some(texts: list[str], between: str = "; ") -> str:
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return between.join(texts[:_SHOWN] + more)
