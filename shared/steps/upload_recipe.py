"""Check a recipe when it is uploaded, so that people hear of a mistake at once and not with the first file for it.

Knows S3 and how a notification is sent. Must not know Lambda. There is no job yet, so nothing is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.jobs.errors import RecipeInvalid
from shared.jobs.notifications import notification_of_upload
from shared.requests.resolve import MAX_DOCUMENT_BYTES, check_recipe
from shared.requests.s3_errors import is_unreadable
from shared.steps.notify import publish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient


def check_upload(
    upload_id: str,
    source: Mapping[str, Any],
    *,
    recipe: str,
    occurred_at: str,
    s3: S3Client,
    sns: SNSClient,
    topic_arn: str,
) -> RecipeInvalid | None:
    """Read a recipe, and notify people if no upload could become a video with it.

    Args:
        upload_id: Names this upload; a repeat of the event has the same.
        source: Where it lies: `bucket`, `key` and `version_id`.
        recipe: Its name.
        occurred_at: When it was uploaded, ISO 8601.

    Returns:
        What is wrong with it.

    Raises:
        ClientError: AWS failed. The event comes again.
    """
    version = {"VersionId": source["version_id"]} if "version_id" in source else {}
    try:
        answer = s3.get_object(Bucket=source["bucket"], Key=source["key"], **version)
    except ClientError as error:
        if is_unreadable(error):
            return None
        raise
    try:
        check_recipe(answer["Body"].read(MAX_DOCUMENT_BYTES + 1), recipe)
    except RecipeInvalid as fault:
        notification = notification_of_upload(upload_id, source, recipe=recipe, fault=fault, occurred_at=occurred_at)
        publish(notification, sns=sns, topic_arn=topic_arn)
        return fault
    return None
