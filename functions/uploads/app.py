"""Handle S3 "Object Created" (through EventBridge): start a job or a batch, or check a recipe.

An object whose key starts nothing gets a notification that says where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.executions import Executions
from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.requests import upload_keys as keys
from shared.requests.recipes import RECIPES, recipe_named_by
from shared.runtime import client, entrypoint, logger, settings

if TYPE_CHECKING:
    from shared.faults import Fault

# The `reason` of an upload by a presigned form. https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
_BY_FORM = "POST Object"


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
    """Handle one object. A repeated event finds the job that it created before."""
    config = settings(Settings)
    detail = event["detail"]
    bucket, item = detail["bucket"]["name"], detail["object"]
    key: str = item["key"]
    if keys.is_folder_mark(key, item.get("size", 1)) or keys.is_kept_only(key):
        logger.info("this object starts nothing")
        return None
    upload_id = identity.for_object(
        bucket, key, item.get("version-id") or f"{item.get('etag')}/{item.get('sequencer')}"
    )
    source = {"type": keys.type_of(key), "bucket": bucket, "key": key, "version_id": item.get("version-id")}
    source = {name: value for name, value in source.items() if value}
    match source.get("type"):
        case None:
            _report_misplaced(upload_id, source, event["time"])
        case "recipe":
            _check(upload_id, source, event["time"])
        case "batch":
            logger.append_keys(job_id=upload_id)
            # A batch needs no record: it pays for nothing.
            executions = Executions(sfn=client("stepfunctions"), state_machine_arn=config.batch_machine_arn)
            executions.start(executions.arn(upload_id), {"source": source})
            logger.info("batch started")
            return {"job_id": upload_id}
        case _:
            # Anything else under a form's key, such as a copy of its file, is an upload like any other.
            of_form = identity.of_form(key) if detail.get("reason", _BY_FORM) == _BY_FORM else None
            logger.append_keys(job_id=of_form or upload_id)
            if of_form and "etag" in item:
                source["etag"] = item["etag"]
            return _start(of_form or upload_id, source, upload_id, event["time"])
    return None


def _start(job_id: str, source: dict[str, str], upload_id: str, occurred_at: str) -> dict[str, str] | None:
    config = settings(Settings)
    store = JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days)
    job, created = store.create(job_id, source=source)
    if not created and job_id != upload_id:
        from shared.jobs.errors import FormUsed
        from shared.steps.upload_again import resent

        try:
            job = resent(job, source, sent_at=occurred_at, store=store, state_machine_arn=config.state_machine_arn)
        except FormUsed as fault:
            del source["etag"]
            _notify(upload_id, source, fault, occurred_at)
            return None
    if IntakeSwitch(client("dynamodb"), config.jobs_table).is_stopped:
        logger.info("intake is stopped; a sweep starts the job when intake is open again")
        return {"job_id": job.job_id}
    if job.status is Status.QUEUED:
        Executions(sfn=client("stepfunctions"), state_machine_arn=config.state_machine_arn).start_job(job)
    logger.info("job queued" if created else "job known", source_type=source["type"])
    return {"job_id": job.job_id}


def _check(upload_id: str, source: dict[str, str], occurred_at: str) -> None:
    # Imported here because few uploads are recipes, and the request models take long to import.
    from shared.steps.upload_recipe import check_upload

    logger.append_keys(job_id=upload_id)
    recipe = recipe_named_by(source["key"]) or ""
    fault = check_upload(
        upload_id,
        source,
        recipe=recipe,
        occurred_at=occurred_at,
        s3=client("s3"),
        sns=client("sns"),
        topic_arn=settings(Settings).topic_arn,
    )
    logger.info("recipe checked", usable=fault is None)


def _report_misplaced(upload_id: str, source: dict[str, str], occurred_at: str) -> None:
    from shared.jobs.errors import UploadMisplaced

    logger.append_keys(job_id=upload_id)
    key = source["key"]
    fault = UploadMisplaced(f"the key '{key}' starts nothing; the file may belong at '{keys.meant(key)}'")
    kind = "recipe" if key.startswith(RECIPES) else "upload"
    _notify(upload_id, {"type": kind, **source}, fault, occurred_at)


def _notify(upload_id: str, source: dict[str, str], fault: Fault, occurred_at: str) -> None:
    from shared.jobs.notifications import notification_of_upload
    from shared.steps.notify import publish

    notice = notification_of_upload(upload_id, source, fault=fault, occurred_at=occurred_at)
    publish(notice, sns=client("sns"), topic_arn=settings(Settings).topic_arn)
    logger.info("the file starts nothing; a notification says why", error_code=fault.error_code)
