"""Handle each finished video once, in a Lambda function that is subscribed to the topic.

Subscribe it with the filter policy {"status": ["succeeded"]}. Its role needs s3:GetObject on the videos bucket and
dynamodb:PutItem on a table of its own, whose key is `notification_id`.
"""

import json
import os

import boto3

seen = boto3.resource("dynamodb").Table(os.environ["SEEN_TABLE"])


def handler(event: dict, context: object) -> None:
    for record in event["Records"]:
        notice = json.loads(record["Sns"]["Message"])
        try:
            seen.put_item(
                Item={"notification_id": notice["notification_id"]},
                ConditionExpression="attribute_not_exists(notification_id)",
            )
        except seen.meta.client.exceptions.ConditionalCheckFailedException:
            continue  # delivery is at least once
        publish(notice["video"]["bucket"], notice["video"]["key"], notice.get("metadata", {}))


def publish(bucket: str, key: str, labels: dict) -> None:
    print(f"s3://{bucket}/{key} is ready for {labels}")
