"""Handle a poll as the usual template shows it. `make bench-coldstart` compares with this function.

Everything is imported and created at the top: boto3 with the two clients that are used most, Powertools' logger,
metrics and tracer, a pydantic model of the event. It calls each client once, and not the vendor.
"""

from __future__ import annotations

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from pydantic import BaseModel

logger = Logger()
metrics = Metrics()
tracer = Tracer()
dynamodb = boto3.client("dynamodb")
s3 = boto3.client("s3")


class Poll(BaseModel):
    execution_id: str
    video_id: str
    submitted_at: int
    waiting: dict[str, Any]


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    poll = Poll.model_validate(event)
    key = {"job_id": {"S": poll.execution_id.rpartition(":")[2]}}
    job = dynamodb.get_item(TableName=os.environ["JOBS_TABLE"], Key=key).get("Item", {})
    s3.get_object(Bucket=os.environ["UPLOADS_BUCKET"], Key="recipes/default.json")["Body"].read()
    metrics.add_metric("Polls", "Count", 1)
    logger.info("polled", video_id=poll.video_id)
    return {"status": job["status"]["S"]}
