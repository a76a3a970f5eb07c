"""Run state `Submit`: make the one paid call of a job."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from shared.credits.counter import CreditCounter
from shared.credits.limiter import CreditLimiter
from shared.faults import Paid
from shared.genviral.client import Timeouts
from shared.genviral.model_list import ModelList
from shared.jobs import identity
from shared.jobs.transitions import JobStore
from shared.polling.durations import Durations
from shared.polling.policy import PollingPolicy
from shared.polling.schedule import PollScheduler
from shared.requests.resolve import Resolver
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.submit import Submitter
from shared.vendor import genviral

# The vendor's own script waits 120 seconds for the answer to the paid call. Lambda must not cut off the claim, the
# call or the record of its outcome (about 20 seconds each for AWS, if it hangs). What comes before may be repeated.
_TIMEOUTS = Timeouts(connect=5, read=150, write=10, pool=5, total=180)
_TIMEOUTS_OF_LIST = Timeouts(connect=2, read=4, write=2, pool=2, total=4)


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    uploads_bucket: str
    max_upload_megabytes: int
    genviral_base_url: str
    api_key_secret: str
    poll_floor_seconds: int
    poll_cap_seconds: int
    job_deadline_minutes: int
    trust_vendor_idempotency: bool
    daily_credit_limit: float = 0


@entrypoint(paid=Paid.NO, clients=("dynamodb", "s3", "secretsmanager"))
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Submit the execution's job, once."""
    config = settings(Settings)
    logger.append_keys(job_id=identity.of_execution(event["execution_id"]))
    store = JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days)
    submitter = Submitter(
        store=store,
        resolver=Resolver(client("s3"), config.uploads_bucket, max_bytes=config.max_upload_megabytes * 1_000_000),
        vendor=genviral(config.genviral_base_url, config.api_key_secret, timeouts=_TIMEOUTS, paid=Paid.NO),
        scheduler=PollScheduler(
            policy=PollingPolicy(config.poll_floor_seconds, config.poll_cap_seconds),
            durations=Durations(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days),
            deadline_seconds=config.job_deadline_minutes * 60,
        ),
        trust_idempotency=config.trust_vendor_idempotency,
        remaining=lambda: context.get_remaining_time_in_millis() / 1000,
        limiter=_limiter(config, store) if config.daily_credit_limit else None,
    )
    return submitter.submit(event["execution_id"], event["input"])


def _limiter(config: Settings, store: JobStore) -> CreditLimiter:
    return CreditLimiter(
        store=store,
        counter=CreditCounter(client("dynamodb"), config.jobs_table, config.daily_credit_limit),
        model_list=_model_list(config.genviral_base_url, config.api_key_secret),
    )


@functools.cache
def _model_list(base_url: str, secret: str) -> ModelList:
    return ModelList(lambda: genviral(base_url, secret, timeouts=_TIMEOUTS_OF_LIST, paid=Paid.NO))
