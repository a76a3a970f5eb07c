"""Download each finished video, in a worker on a queue that is subscribed to the topic with raw message delivery.

Start it as `python sqs_worker.py QUEUE_URL FOLDER`.
"""

import json
import sys
from pathlib import Path

import boto3

sqs, s3 = boto3.client("sqs"), boto3.client("s3")


def work(queue_url: str, folder: Path) -> None:
    received = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=20, MaxNumberOfMessages=10)
    for message in received.get("Messages", []):
        notice = json.loads(message["Body"])
        if notice["status"] == "succeeded":
            # Named by the job, so that a second delivery writes the same file again.
            s3.download_file(notice["video"]["bucket"], notice["video"]["key"], folder / f"{notice['job_id']}.mp4")
        else:
            print(f"{notice['summary']} {notice.get('error', {}).get('advice', '')}", file=sys.stderr)
        # Only now: a worker that dies before leaves the message to the next one.
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    while True:
        work(sys.argv[1], Path(sys.argv[2]))
