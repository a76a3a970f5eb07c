"""Answer the durable function that waits for a video, in a Lambda function that is subscribed to the topic.

Its role needs s3:GetObject and s3:DeleteObject below assets/ of the uploads bucket, s3:ListBucket on the bucket (or S3
does not say that a file is missing), lambda:SendDurableExecutionCallbackSuccess and
lambda:SendDurableExecutionCallbackFailure on the durable function.
"""

import contextlib
import json
import os

import boto3

FINAL = ("succeeded", "failed", "canceled")  # a job that is uncertain, timed out or interrupted waits for an operator
aws, s3 = boto3.client("lambda"), boto3.client("s3")


def handler(event: dict, context: object) -> None:
    for record in event["Records"]:
        notification = json.loads(record["Sns"]["Message"])
        if notification["status"] in FINAL and str(notification.get("job_id")).startswith("durable-"):
            # The file that ask.py wrote. A notification need not name it, nor hold the metadata of a refused request.
            file = {"Bucket": os.environ["UPLOADS_BUCKET"], "Key": f"assets/{notification['job_id']}.json"}
            with contextlib.suppress(s3.exceptions.NoSuchKey):  # answered before: delivery is at least once
                answer(json.load(s3.get_object(**file)["Body"])["metadata"]["callback"], notification)
                s3.delete_object(**file)  # nothing else deletes a file below assets/


def answer(callback: str, notification: dict) -> None:
    # It was answered before, or nobody waits any more.
    with contextlib.suppress(aws.exceptions.CallbackTimeoutException, aws.exceptions.InvalidParameterValueException):
        if notification["status"] == "succeeded":
            result = json.dumps(notification).encode()
            aws.send_durable_execution_callback_success(CallbackId=callback, Result=result)
        else:
            error = {"ErrorType": notification["status"], "ErrorMessage": notification["summary"]}
            aws.send_durable_execution_callback_failure(CallbackId=callback, Error=error)
