"""Handle each finished video in a Lambda function that is subscribed to the topic.

Subscribe it with the filter policy {"status": ["succeeded"]}. Its role needs s3:GetObject on the videos bucket,
dynamodb:GetItem and dynamodb:PutItem on a table of its own, whose key is `notification_id`.
"""

import json
import os

import boto3

seen = boto3.resource("dynamodb").Table(os.environ["SEEN_TABLE"])


def handler(event: dict, context: object) -> None:
    for record in event["Records"]:
        notice = json.loads(record["Sns"]["Message"])
        key = {"notification_id": notice["notification_id"]}
        if "Item" not in seen.get_item(Key=key, ConsistentRead=True):  # delivery is at least once
            publish(notice["video"]["bucket"], notice["video"]["key"], notice.get("metadata", {}))
            # Only now: after a crash before, Lambda delivers the notification again, and no video is lost.
            seen.put_item(Item=key)


def publish(bucket: str, key: str, labels: dict) -> None:
    """Must bear a repeat: after a crash, or when two deliveries come at the same time."""
    print(f"s3://{bucket}/{key} is ready for {labels}")
