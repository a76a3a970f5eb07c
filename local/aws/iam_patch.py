"""A seam to MiniStack: what it decides about the calls of roles is written down, one line of JSON for each decision.

AWS tells it in CloudTrail. With this record a test can say which right a step used, and which one it was refused. Two
rules that MiniStack leaves out are added: who may not list a bucket is not told that an object is missing, and a topic
without a policy of its own is its owner's alone. It knows how MiniStack keeps callers, objects and topics; nothing of
this project.
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
    """Write down every decision about a role from now on.

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
    """The bucket that a missing object would be in."""
    arn, _, key = object_arn.partition("/")
    bucket = s3._buckets.get(arn.rpartition(":")[2])
    return arn if bucket is not None and key not in bucket["objects"] else None


def _own_topic_policy(arn: str) -> tuple[str, str] | None:
    """MiniStack's CloudFormation gives a topic a policy that lets everyone publish; AWS's lets only its owner.

    https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.iam.permissions.html
    """
    found: tuple[str, str] | None = _topic_policy(arn)
    return ("", found[1]) if found and "__default_policy_ID" in found[0] else found
