"""S3 "Object Created" (through EventBridge) → a job's record and execution, a batch's execution, a recipe's check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.recipes import BATCHES, RECIPES, REQUESTS, recipe_named_by
from shared.jobs.store import JobStore
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.intake import start, start_batch


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    state_machine_arn: str
    record_retention_days: int
    topic_arn: str
    batch_machine_arn: str


@entrypoint(paid=Paid.NO, clients=("dynamodb", "stepfunctions"))
def handler(event: dict[str, Any], context: object) -> dict[str, str] | None:
    """One object, one job. A repeated event finds the job that it made before."""
    config = settings(Settings)
    bucket, item = event["detail"]["bucket"]["name"], event["detail"]["object"]
    key: str = item["key"]
    if key.endswith("/"):
        logger.info("a folder's marker is no upload")
        return None
    version = item.get("version-id") or f"{item.get('etag')}/{item.get('sequencer')}"
    job_id = identity.for_object(bucket, key, version)
    logger.append_keys(job_id=job_id)
    source = {
        "type": _kind_of(key),
        "bucket": bucket,
        "key": key,
        "version_id": item.get("version-id"),
    }
    source = {name: value for name, value in source.items() if value}
    if source["type"] == "recipe":
        _check(job_id, source, event["time"])
        return None
    if source["type"] == "batch":
        start_batch(job_id, source, sfn=client("stepfunctions"), state_machine_arn=config.batch_machine_arn)
        logger.info("batch started")
        return {"job_id": job_id}
    store = JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days)
    job, created = store.create(job_id, source=source)
    if IntakeSwitch(client("dynamodb"), config.jobs_table).is_stopped:
        logger.info("intake is stopped; a sweep starts the job when it is open again")
        return {"job_id": job.job_id}
    start(job, sfn=client("stepfunctions"), state_machine_arn=config.state_machine_arn)
    logger.info("job queued" if created else "job known", source_type=source["type"])
    return {"job_id": job.job_id}


def _kind_of(key: str) -> str:
    if key.startswith(RECIPES):
        return "recipe"
    if key.startswith(BATCHES):
        return "batch"
    return "request" if key.startswith(REQUESTS) else "upload"


def _check(upload_id: str, source: dict[str, str], occurred_at: str) -> None:
    # Few uploads are recipes, and the request models take long to import.
    from shared.steps.recipe_check import RecipeInspector

    recipe = recipe_named_by(source["key"])
    if recipe is None:
        logger.info("no upload can use this as its recipe")
        return
    inspector = RecipeInspector(s3=client("s3"), sns=client("sns"), topic_arn=settings(Settings).topic_arn)
    fault = inspector.inspect(upload_id, source, recipe=recipe, occurred_at=occurred_at)
    logger.info("recipe checked", usable=fault is None)
