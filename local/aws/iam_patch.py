"""Patch MiniStack so that it records its decisions about the calls of roles, one line of JSON each.

On AWS, CloudTrail has them. The record shows tests which rights a step used and which were denied. It also adds two
rules that MiniStack lacks: a caller without the right to list a bucket does not learn that an object is missing, and
only its owner may use a topic without a policy.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator, responses
from ministack.services import s3, sns

if TYPE_CHECKING:
    from pathlib import Path

_enforce = iam_evaluator.enforce
_topic_policy = sns.topic_policy_for_arn


def install(record: Path) -> None:
    """Record every decision about a role from now on.

    Args:
        record: The file. Each line has `role`, `action`, `resource` and `allowed`.
    """
    lock = threading.Lock()
    lines = record.open("a", buffering=1, encoding="utf-8")

    def enforce(access_key_id: str, iam_action: str, *rest: Any, resource_arn: str = "*", **more: Any) -> Any:
        refusal = _enforce(access_key_id, iam_action, *rest, resource_arn=resource_arn, **more)
        caller = iam_evaluator.resolve_credential(access_key_id or "", responses.get_account_id())
        if getattr(caller, "principal_type", "") == "AssumedRole":
            role = caller.principal_arn.split("/")[1]
            decision = {"role": role, "action": iam_action, "resource": resource_arn, "allowed": refusal is None}
            with lock:
                lines.write(f"{json.dumps(decision)}\n")
        if refusal is None and iam_action == "s3:GetObject" and (bucket := _bucket_without(resource_arn)):
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Permissions"
            return enforce(access_key_id, "s3:ListBucket", *rest, resource_arn=bucket)
        return refusal

    iam_evaluator.enforce = enforce
    sns.topic_policy_for_arn = _own_topic_policy


def _bucket_without(object_arn: str) -> str | None:
    """Return the ARN of the bucket of a missing object; None if the object exists."""
    arn, _, key = object_arn.partition("/")
    bucket = s3._buckets.get(arn.rpartition(":")[2])
    return arn if bucket is not None and key not in bucket["objects"] else None


def _own_topic_policy(arn: str) -> tuple[str, str] | None:
    """Drop MiniStack's default policy of a topic, by which everyone may publish; on AWS only the owner may.

    https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.iam.permissions.html
    """
    found: tuple[str, str] | None = _topic_policy(arn)
    return ("", found[1]) if found and "__default_policy_ID" in found[0] else found
