"""Run the sweep, every 15 minutes: restart or complete jobs that nothing else would continue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.faults import Paid
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.transitions import JobStore
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.notify import Notifier
from shared.steps.sweep import Sweeper


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    topic_arn: str
    state_machine_arn: str
    sweep_quiet_seconds: int
    job_deadline_minutes: int


@entrypoint(paid=Paid.UNKNOWN, clients=("dynamodb", "sns", "stepfunctions"))
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Run one sweep."""
    config = settings(Settings)
    store = JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days)
    sweeper = Sweeper(
        store=store,
        switch=IntakeSwitch(client("dynamodb"), config.jobs_table),
        notifier=Notifier(store=store, sns=client("sns"), topic_arn=config.topic_arn),
        sfn=client("stepfunctions"),
        state_machine_arn=config.state_machine_arn,
        quiet_seconds=config.sweep_quiet_seconds,
        deadline_seconds=config.job_deadline_minutes * 60,
        remaining=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    count = sweeper.sweep()
    logger.info("swept", count=count)
    return count
