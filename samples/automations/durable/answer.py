"""Answer the durable function that waits for a video, in a Lambda function that is subscribed to the topic.

Its role needs s3:GetObject below assets/ of the uploads bucket, lambda:SendDurableExecutionCallbackSuccess and
lambda:SendDurableExecutionCallbackFailure on the durable function.
"""

import contextlib
import json

import boto3

FINAL = ("succeeded", "failed", "canceled")  # a job that is uncertain, timed out or interrupted waits for an operator
aws, s3 = boto3.client("lambda"), boto3.client("s3")


def handler(event: dict, context: object) -> None:
    for record in event["Records"]:
        notification = json.loads(record["Sns"]["Message"])
        if notification["status"] in FINAL and str(notification.get("job_id")).startswith("durable-"):
            answer(callback_of(notification["source"]), notification)


def callback_of(source: dict) -> str:
    # From the file: a request that is refused has no metadata in its notification.
    file = s3.get_object(Bucket=source["bucket"], Key=source["key"])
    return json.load(file["Body"])["metadata"]["callback"]


def answer(callback: str, notification: dict) -> None:
    # It was answered before, as delivery is at least once, or nobody waits any more.
    with contextlib.suppress(aws.exceptions.CallbackTimeoutException, aws.exceptions.InvalidParameterValueException):
        if notification["status"] == "succeeded":
            result = json.dumps(notification).encode()
            aws.send_durable_execution_callback_success(CallbackId=callback, Result=result)
        else:
            error = {"ErrorType": notification["status"], "ErrorMessage": notification["summary"]}
            aws.send_durable_execution_callback_failure(CallbackId=callback, Error=error)
