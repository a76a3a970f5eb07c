"""Run states `Plan`, `Admit`, `Report` and `Rejected` of a batch, and handle its execution's unexpected end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.transitions import JobStore
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.batch_admit import admit_row

if TYPE_CHECKING:
    from shared.genviral.client import Model
    from shared.steps.batch_report import Reporter


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    topic_arn: str
    videos_bucket: str
    genviral_base_url: str
    api_key_secret: str
    hold_seconds: int
    batch_concurrency: int


@entrypoint(paid=Paid.NO, clients=("dynamodb",))
def handler(event: dict[str, Any], context: object) -> dict[str, Any] | None:
    """Run one step of a batch, or of one of its rows."""
    config = settings(Settings)
    store = JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days)
    if event.get("event") == "admit":
        # This runs once for each row, so it does not import the rest, which takes long.
        logger.append_keys(job_id=event["job_id"])
        switch = IntakeSwitch(client("dynamodb"), config.jobs_table)
        return admit_row(event["job_id"], store=store, switch=switch, wait_seconds=config.hold_seconds)
    detail = event.get("detail", {})
    execution = event.get("execution_id") or detail["executionArn"]
    logger.append_keys(job_id=identity.of_execution(execution))
    match event.get("event"):
        case "plan":
            from shared.steps.batch_plan import Planner

            planner = Planner(s3=client("s3"), concurrency=config.batch_concurrency, known=store.batch_get)
            planned = planner.plan(event["source"])
            logger.info("planned", rows=planned["rows"], started=planned["started"])
            return planned
        case "report":
            return _reporter(config, store).report(execution, event["plan"], event.get("started_at"))
        case "rejected":
            return _reporter(config, store).rejected(execution, event["source"], event["error"])
        case _:
            _interrupted(config, store, detail, event)
            return None


def _interrupted(config: Settings, store: JobStore, detail: dict[str, Any], event: dict[str, Any]) -> None:
    from shared.jobs.errors import BATCH_ERRORS, UploadUnreadable

    if detail.get("error") in {fault.__name__ for fault in (*BATCH_ERRORS, UploadUnreadable)}:
        logger.info("the batch was rejected, and the notification was sent")
        return
    _reporter(config, store).interrupted(
        detail["executionArn"],
        json.loads(detail.get("input") or "{}").get("source", {"type": "batch"}),
        ended=detail["status"],
        error=detail.get("error") or "",
        cause=detail.get("cause") or "",
        moment=str(detail.get("stopDate") or event.get("time")),
    )


def _reporter(config: Settings, store: JobStore) -> Reporter:
    from shared.steps.batch_report import Reporter

    def models() -> list[Model]:
        from shared.genviral.client import Timeouts
        from shared.vendor import genviral

        vendor = genviral(config.genviral_base_url, config.api_key_secret, timeouts=Timeouts(total=20), paid=Paid.NO)
        return vendor.list_models()

    return Reporter(
        store=store,
        s3=client("s3"),
        sns=client("sns"),
        topic_arn=config.topic_arn,
        bucket=config.videos_bucket,
        models=models,
    )
