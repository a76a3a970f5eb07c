"""Do the work of `functions/status` as the usual template shows it. `make bench-coldstart` compares the two.

Everything is imported and created at the top: a boto3 resource, Powertools' logger, metrics, tracer and parameters,
httpx, and pydantic models of the inputs. It reads the job and the key, polls the vendor, and records the result.
"""

from __future__ import annotations

import os
from typing import Any

import boto3
import httpx
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities import parameters
from pydantic import BaseModel

logger = Logger()
metrics = Metrics()
tracer = Tracer()
jobs = boto3.resource("dynamodb").Table(os.environ["JOBS_TABLE"])
http = httpx.Client(base_url=os.environ["GENVIRAL_BASE_URL"], timeout=15)


class Poll(BaseModel):
    execution_id: str
    video_id: str
    submitted_at: int
    waiting: dict[str, Any]


class Video(BaseModel):
    video_id: str
    status: str
    output_url: str | None = None


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    poll = Poll.model_validate(event)
    job_id = poll.execution_id.rpartition(":")[2]
    job = jobs.get_item(Key={"job_id": job_id}, ConsistentRead=True)["Item"]
    key = parameters.get_secret(os.environ["API_KEY_SECRET"], max_age=300)
    answer = http.get(f"/studio/videos/{poll.video_id}", headers={"Authorization": f"Bearer {key}"})
    answer.raise_for_status()
    video = Video.model_validate(answer.json()["data"])
    jobs.update_item(
        Key={"job_id": job_id}, UpdateExpression="SET seen = :seen", ExpressionAttributeValues={":seen": video.status}
    )
    metrics.add_metric("Polls", "Count", 1)
    logger.info("polled", video_id=video.video_id, before=job["status"])
    return {"status": video.status}
