"""Run state `Deliver`: verify and copy the finished video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.delivery import Limits
from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.transitions import JobStore
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.deliver import Deliverer
from shared.vendor import POLL, genviral


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    genviral_base_url: str
    api_key_secret: str
    videos_bucket: str
    max_video_megabytes: int
    allow_private_output: bool
    output_hosts: str = ""


@entrypoint(paid=Paid.YES, clients=("dynamodb", "s3", "secretsmanager"))
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Copy the video to the videos bucket."""
    config = settings(Settings)
    logger.append_keys(job_id=identity.of_execution(event["execution_id"]))
    deliverer = Deliverer(
        store=JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days),
        vendor=genviral(config.genviral_base_url, config.api_key_secret, timeouts=POLL, paid=Paid.YES),
        s3=client("s3"),
        bucket=config.videos_bucket,
        limits=Limits(
            max_bytes=config.max_video_megabytes * 1_000_000,
            hosts=tuple(host.strip() for host in config.output_hosts.split(",") if host.strip()),
            allow_http=config.allow_private_output,
            allow_private=config.allow_private_output,
        ),
        remaining=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    return deliverer.deliver(event["execution_id"], event["video_id"])
