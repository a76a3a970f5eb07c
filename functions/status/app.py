"""Run state `Poll`: ask once for the video's status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.transitions import JobStore
from shared.polling.durations import Durations
from shared.polling.policy import PollingPolicy
from shared.polling.schedule import PollScheduler
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.poll import Poller
from shared.vendor import POLL, genviral


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    genviral_base_url: str
    api_key_secret: str
    poll_floor_seconds: int
    poll_cap_seconds: int
    job_deadline_minutes: int


@entrypoint(paid=Paid.YES, clients=("dynamodb", "secretsmanager"))
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Poll once, and return how long to wait."""
    config = settings(Settings)
    logger.append_keys(job_id=identity.of_execution(event["execution_id"]))
    poller = Poller(
        store=JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days),
        vendor=genviral(config.genviral_base_url, config.api_key_secret, timeouts=POLL, paid=Paid.YES),
        scheduler=PollScheduler(
            policy=PollingPolicy(config.poll_floor_seconds, config.poll_cap_seconds),
            durations=Durations(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days),
            deadline_seconds=config.job_deadline_minutes * 60,
        ),
    )
    return poller.poll(event["execution_id"], event["video_id"], event["submitted_at"], event.get("waiting"))
