"""Run states `NotifySucceeded`, `NotifyFailed` and `Hold`, and handle an execution's unexpected end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.transitions import JobStore
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.notify import Notifier


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    topic_arn: str
    hold_seconds: int
    hold_hours: float


@entrypoint(paid=Paid.UNKNOWN, clients=("dynamodb", "sns"))
def handler(event: dict[str, Any], context: object) -> dict[str, Any] | None:
    """Write the job's new status and send its notification, once."""
    config = settings(Settings)
    detail = event.get("detail", {})
    execution = event.get("execution_id") or detail["executionArn"]
    logger.append_keys(job_id=identity.of_execution(execution))
    notifier = Notifier(
        store=JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days),
        sns=client("sns"),
        topic_arn=config.topic_arn,
        hold_seconds=config.hold_seconds,
        hold_hours=config.hold_hours,
    )
    match event.get("event"):
        case "succeeded":
            return notifier.succeeded(execution)
        case "failed":
            return notifier.failed(execution, event["error"])
        case "on_hold":
            return notifier.on_hold(execution, event["error"])
        case _:
            notifier.interrupted(
                execution,
                ended=detail["status"],
                error=detail.get("error") or "",
                cause=detail.get("cause") or "",
                moment=str(detail.get("stopDate") or event.get("time")),
            )
            return None
