"""Ask for a video in a Lambda durable function, and wait for it without paying for the wait.

The request, with its prompt, is part of the function's own input, which Lambda keeps with the durable execution.
Its role needs s3:PutObject below assets/ of the uploads bucket and states:StartExecution on the stack's state machine.
"""

import contextlib
import hashlib
import json
import os

import boto3
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration, WaitForCallbackConfig

s3, sfn = boto3.client("s3"), boto3.client("stepfunctions")


@durable_execution
def handler(event: dict, context: DurableContext) -> dict:
    # Longer than a job may be on hold.
    waiting = WaitForCallbackConfig(timeout=Duration.from_days(21))
    answer = context.wait_for_callback(
        lambda callback, _: ask(event["request"], callback), name="video", config=waiting
    )
    return json.loads(answer)["video"]


def ask(request: dict, callback: str) -> None:
    # Named by the callback, so that a repeat of this step starts nothing again. The prompt stays in the file.
    name = f"durable-{hashlib.sha256(callback.encode()).hexdigest()[:32]}"
    key = f"assets/{name}.json"
    body = json.dumps({**request, "metadata": {**request.get("metadata", {}), "callback": callback}})
    s3.put_object(Bucket=os.environ["UPLOADS_BUCKET"], Key=key, Body=body.encode())
    given = json.dumps({"source": {"type": "request", "key": key}})
    with contextlib.suppress(sfn.exceptions.ExecutionAlreadyExists):
        sfn.start_execution(stateMachineArn=os.environ["VIDEO_JOB_ARN"], name=name, input=given)
