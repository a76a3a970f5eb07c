"""Report on a batch: write a report to the videos bucket, as JSON and as CSV, and send one message.

Must not know Lambda. A report contains no prompt and no link. Writing it again changes only the time in it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.faults import Paid
from shared.genviral.errors import GenviralFault, InvalidPayload
from shared.jobs import identity
from shared.jobs.notifications import (
    BATCH_CHECKED,
    BATCH_FINISHED,
    BATCH_INTERRUPTED,
    BATCH_REJECTED,
    notification_of_batch,
)
from shared.jobs.states import Status
from shared.jobs.waits import from_now
from shared.printable import in_line, json_text
from shared.requests import batches
from shared.requests.recipes import BATCHES
from shared.steps.notify import publish, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

    from shared.genviral.client import Model
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

VERSION = "1"
_REFUSED, _NOT_STARTED, _VALID, _KNOWN = "refused", "not_started", "valid", "known"
_MAX_NAME_BYTES = 800  # of the 1,024 that S3 allows for a key
_ADVICE = (
    "The rows that are not_started have no job, and nothing was paid for them. Upload the same file again: only rows "
    "without a job are started and paid."
)
_UNKNOWN_MODEL = InvalidPayload(
    "The vendor does not list this model.",
    issues=({"path": "model_id", "message": "is not in the vendor's list of models"},),
)
_COLUMNS = ("line", "job_id", "status", "video", "credits", "error", "paid_before")
_FORMULA = re.compile("((?:^|[,'])\\s*)([=+\\-@]|\uff1d|\uff0b|\uff0d|\uff20)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Report on batches.

    Args:
        bucket: The videos bucket.
        models: Asks the vendor for its models.
    """

    store: JobStore
    s3: S3Client
    sns: SNSClient
    topic_arn: str
    bucket: str
    models: Callable[[], list[Model]]

    def report(self, execution_arn: str, plan: Mapping[str, Any], started_at: str | None = None) -> dict[str, Any]:
        """Write the report of a batch that has been run, or of one that was only to be checked, and notify people.

        Args:
            execution_arn: The batch's execution; its name is the batch's id.
            plan: What `Planner.plan` answered.
            started_at: When the batch's execution was started, ISO 8601. What was paid before is not this upload's.
                None: an older version started the execution.

        Returns:
            The batch's facts, as the message has them.
        """
        jobs = self._part(plan, "jobs")
        known = self.store.batch_get(job["job_id"] for job in jobs)
        if batches.is_check(plan["source"]["key"]):
            rows, facts = self._checked(jobs, known)
            status, paid = BATCH_CHECKED, "no"
        else:
            rows, facts = _run(jobs, known, started_at)
            status, paid = BATCH_FINISHED, _paid(known.values())
        rows += [{**row, "status": _REFUSED} for row in self._part(plan, "refused")]
        rows.sort(key=lambda row: row["line"])
        counts = Counter(row["status"] for row in rows)
        facts = {"rows": len(rows), "counts": dict(counts.most_common()), **facts}
        if counts[_NOT_STARTED]:
            facts["advice"] = _ADVICE
        batch_id = identity.of_execution(execution_arn)
        report = {"bucket": self.bucket, "key": report_key(plan["source"]["key"], batch_id)}
        document = {"version": VERSION, "batch_id": batch_id, "source": plan["source"]}
        document |= {"reported_at": from_now(), **facts}
        self._write(report["key"], json_text({**document, "items": rows}), "application/json")
        self._write(f"{report['key'].removesuffix('.json')}.csv", _table(rows), "text/csv; charset=utf-8")
        facts["report"] = report
        error = facts.pop("error", None)
        self._notify(execution_arn, status, source=plan["source"], paid=paid, batch=facts, error=error)
        return facts

    def rejected(self, execution_arn: str, source: Mapping[str, Any], error: Mapping[str, str]) -> dict[str, Any]:
        """Notify people of a batch that has no readable rows.

        Returns:
            `error` with the name and the readable cause, for the execution's own end.
        """
        document = reason_of(ended="FAILED", error=error["Error"], cause=error["Cause"])
        self._notify(execution_arn, BATCH_REJECTED, source=source, paid="no", error=document)
        return {"error": {"Error": error["Error"], "Cause": json_text(document)}}

    def interrupted(
        self, execution_arn: str, source: Mapping[str, Any], *, ended: str, error: str, cause: str, moment: str
    ) -> None:
        """Notify people of a batch whose execution ended before its report.

        Args:
            source: Where the batch lies.
            ended: How it ended: FAILED, TIMED_OUT or ABORTED.
            moment: When it ended.
        """
        document = reason_of(ended=ended, error=error, cause=cause)
        document["advice"] = (
            "Fix what the message names, then redrive the batch's execution or upload the same file again: rows that "
            "were started are not started again. Jobs that are under way go on automatically."
        )
        self._notify(execution_arn, BATCH_INTERRUPTED, source=source, paid="unknown", error=document, moment=moment)

    def _checked(
        self, jobs: list[dict[str, Any]], known: Mapping[str, Job]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return what the rows would cost. A row that has a job already costs nothing more."""
        facts: dict[str, Any] = {}
        try:
            prices = {model.id: model.default_cost for model in self.models()}
        except GenviralFault as fault:
            # The rows are reported nevertheless.
            prices = None
            facts["error"] = fault.document()
        rows = []
        for job in jobs:
            row = {"line": job["source"]["line"], "job_id": job["job_id"], "model_id": job["model_id"]}
            if job["job_id"] in known:
                rows.append({**row, "status": _KNOWN, "credits": 0})
            elif prices is not None and job["model_id"] not in prices:
                rows.append({**row, "status": _REFUSED, "error": _UNKNOWN_MODEL.document()})
            else:
                price = (prices or {}).get(job["model_id"])
                rows.append({**row, "status": _VALID} | ({} if price is None else {"credits": price}))
        if prices is not None:
            facts["credits_estimated"] = _sum(row.get("credits") for row in rows)
            facts["rows_without_price"] = sum(row["status"] == _VALID and "credits" not in row for row in rows)
        return rows, facts

    def _part(self, plan: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        answer = self.s3.get_object(Bucket=plan["source"]["bucket"], Key=plan[name])
        part: list[dict[str, Any]] = json.loads(answer["Body"].read())
        return part

    def _write(self, key: str, text: str, kind: str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode(), ContentType=kind)

    def _notify(self, execution_arn: str, status: str, **parts: Any) -> None:
        notice = notification_of_batch(
            identity.of_execution(execution_arn), status, occurred_at=from_now(), execution=execution_arn, **parts
        )
        publish(notice, sns=self.sns, topic_arn=self.topic_arn)


def report_key(key: str, batch_id: str) -> str:
    """Return the key of a batch's report in the videos bucket: `batches/<name>/<batch id>.json`."""
    name = batches.name_of(key).encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    return f"{BATCHES}{name}/{batch_id}.json"


def _run(
    jobs: list[dict[str, Any]], known: Mapping[str, Job], started_at: str | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return how the rows ended, and what their videos cost: all of them, and those that this upload paid for."""
    since = None if started_at is None else int(datetime.fromisoformat(started_at).timestamp())
    rows = []
    for planned in jobs:
        job = known.get(planned["job_id"])
        row = {"line": planned["source"]["line"], "job_id": planned["job_id"], "model_id": planned["model_id"]}
        if job is None:
            rows.append({**row, "status": _NOT_STARTED})
            continue
        is_of_before = since is not None and job.video_id is not None and (job.submitted_at or since) < since
        facts = {
            "status": job.status.value,
            "video_id": job.video_id,
            "video": job.output,
            "credits": job.credits_total,
            "other_videos": job.others or None,
            "error": None if job.status is Status.SUCCEEDED else job.error,
            "paid_before": is_of_before or None,
        }
        rows.append(row | {name: value for name, value in facts.items() if value is not None})
    sums: dict[str, Any] = {"credits_used": _sum(row.get("credits") for row in rows)}
    if since is not None:
        sums["credits_new"] = _sum(row.get("credits") for row in rows if "paid_before" not in row)
        sums["rows_paid_before"] = sum("paid_before" in row for row in rows)
    return rows, sums


def _paid(jobs: Any) -> str:
    """Return whether any of the jobs is paid for."""
    found = {job.paid for job in jobs}
    return next((paid.value for paid in (Paid.YES, Paid.UNKNOWN) if paid in found), Paid.NO.value)


def _sum(credit: Any) -> float:
    total = round(sum(value for value in credit if value), 6)
    return int(total) if total == int(total) else total


def _table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as CSV that any spreadsheet can read, whatever separator it expects."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for row in rows:
        video, error = row.get("video"), row.get("error")
        table.writerow(
            (
                row["line"],
                row.get("job_id"),
                row["status"],
                _cell(f"s3://{video['bucket']}/{video['key']}") if video else None,
                row.get("credits"),
                _cell(_sentence(error)) if error else None,
                "yes" if row.get("paid_before") else None,
            )
        )
    return text.getvalue()


def _cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula or for two cells.

    Excel in many languages has `;` between cells and begins formulas with any of the signs below, full-width ones as
    well: https://owasp.org/www-community/attacks/CSV_Injection
    """
    plain = re.sub("[;|]", " ", in_line(text)).replace('"', "'")
    return _FORMULA.sub(r"\1'\2", plain)


def _sentence(error: Mapping[str, Any]) -> str:
    """Return an error as one cell: its code, and its message or the fields that are wrong."""
    issues = " / ".join(f"{issue['path']} {issue['message']}".strip() for issue in error.get("issues", ()))
    return f"{error['code']}: {issues or error['message']}"
