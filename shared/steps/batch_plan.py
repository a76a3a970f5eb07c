"""Validate a batch's rows and store them as a plan.

Nothing is paid for here. A plan's name is derived from its content, so a repeated step, or a file that is uploaded
twice, finds the same rows under the same names. Must not know Lambda or how an execution is started.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.jobs.errors import UploadUnreadable
from shared.requests import batches
from shared.requests.recipes import PLANS
from shared.requests.s3_errors import is_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Plan batches.

    Args:
        concurrency: How many rows run at a time.
        known: Returns which of many job ids already have a job.
    """

    s3: S3Client
    concurrency: int
    known: Callable[[Iterable[str]], Container[str]]

    def plan(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Validate every row, and store the plan.

        Args:
            source: Where the batch lies: `bucket`, `key`, and `version_id` where the bucket keeps versions.

        Returns:
            The state machine's data: `source`; how many `rows` and how many of them `started`; the
            `concurrency`; and the keys of the plan's parts, `jobs` and `refused`.

        Raises:
            BatchUnreadable: The file has no readable rows, or its name resembles that of a check but is not one.
            BatchTooLarge: There are too many rows or bytes.
            UploadUnreadable: The file is gone or may not be read.
        """
        bucket, key = source["bucket"], source["key"]
        data, content_encoding = self._read(source)
        rows = batches.read(data, key, content_encoding=content_encoding)
        plan = batches.plan(rows, bucket, key, self.known)
        self.s3.put_object(Bucket=bucket, Key=plan.key, Body=plan.requests)
        return {
            "source": dict(source),
            "rows": len(rows),
            "started": 0 if batches.is_check(key) else len(plan.jobs),
            "concurrency": self.concurrency,
            "jobs": self._write(bucket, plan.jobs),
            "refused": self._write(bucket, plan.refused),
        }

    def _read(self, source: Mapping[str, Any]) -> tuple[bytes, str]:
        """Return the file, up to one byte more than allowed, and its `Content-Encoding`."""
        version = {"VersionId": source["version_id"]} if "version_id" in source else {}
        try:
            answer = self.s3.get_object(Bucket=source["bucket"], Key=source["key"], **version)
        except ClientError as error:
            if is_unreadable(error):
                raise UploadUnreadable("the batch is not in the uploads bucket any more, or may not be read") from None
            raise
        return answer["Body"].read(batches.MAX_BYTES + 1), answer.get("ContentEncoding", "")

    def _write(self, bucket: str, part: list[Any]) -> str:
        text = json.dumps(part, ensure_ascii=False).encode()
        key = f"{PLANS}{hashlib.sha256(text).hexdigest()}.json"
        self.s3.put_object(Bucket=bucket, Key=key, Body=text)
        return key
