"""Upload batches and say what became of them: from the batch's execution and its report. Only an upload writes.

Knows the batch's state machine and where reports lie. Must not know the command line.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.exits import Exit, NotFound, Refused
from ops.facts import waits_for_a_person
from ops.wait import ARRIVAL_SECONDS, rounds
from shared.executions import Executions
from shared.jobs import identity
from shared.jobs.states import Status
from shared.requests.batch_names import is_check, name_of
from shared.requests.recipes import BATCHES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ops.stack import Stack
    from shared.jobs.record import Job

SUFFIXES = (".csv", ".jsonl")
_REPORTED = (".json", ".csv")
_GOOD = frozenset({Status.SUCCEEDED.value, "valid", "known"})

FIELDS = {
    "name": "the batch's name",
    "batch_id": "the name of its execution",
    "bucket": "the uploads bucket",
    "key": "the file's key there",
    "status": "`arriving`, `running`, `finished`, `checked`, `rejected` or `interrupted`",
    "rows": "how many rows the file has",
    "counts": "status of a row → how many rows have it",
    "credits_estimated": "a check: what the new rows are likely to cost",
    "rows_without_price": "a check: rows whose model has no price",
    "credits_new": "a run: what was paid since this upload",
    "credits_used": "a run: what the videos of all rows cost, whenever they were paid",
    "rows_paid_before": "a run: rows that an earlier upload paid for",
    "report": "the report: `bucket` and `key`; a .csv lies beside it",
    "wrong_rows": "rows that get no video unless somebody acts: `line`, `status`, the `job_id` if there is a job, "
    "`column` where one is wrong, and `message`",
    "advice": "what to do next",
    "error": "why it was rejected or interrupted: `error`, `code`, `message`",
}
"""What the JSON document of a batch may have, and what it says. A field that has no value is left out."""


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a stack."""

    stack: Stack

    def upload(self, name: str, body: bytes, *, check: bool) -> tuple[str, str, str]:
        """Upload a file, and return its key, its version and the batch's id. The same rows are never paid for twice.

        Args:
            name: The file's name, without a folder.

        Raises:
            Refused: It cannot be read as a batch; nothing was uploaded.
        """
        from shared.jobs.errors import BatchTooLarge, BatchUnreadable
        from shared.requests.batches import read

        key = f"{BATCHES}{name}"
        if check and not is_check(key):
            stem, dot, suffix = key.rpartition(".")
            key = f"{stem}.check{dot}{suffix}"
        try:
            read(body, key)
        except (BatchUnreadable, BatchTooLarge) as fault:
            raise Refused(f"{name}: {fault.message.rstrip('.')}. Nothing was uploaded.") from None
        version_id = self.stack.s3.put_object(Bucket=self.stack.uploads, Key=key, Body=body).get("VersionId", "")
        return key, version_id, self.id_of(key, version_id)

    def id_of(self, key: str, version_id: str) -> str:
        """Return the id of an uploaded batch."""
        return identity.for_object(self.stack.uploads, key, version_id)

    def latest(self, names: Sequence[str]) -> tuple[str, str]:
        """Return the key and the id of the last upload of a batch.

        Args:
            names: What it may be called: its name, its id, its file's key or name, its report's key.

        Raises:
            NotFound: There is no such file in the uploads bucket.
        """
        plain = [name.removeprefix(BATCHES) for name in names]
        if found := next(filter(None, map(self._upload_of, plain)), None):
            return found
        if found := next((one for one in self._uploads("") if one[1] in plain), None):
            return found
        name = plain[0] if plain else "of that name"
        raise NotFound(f"There is no batch {name} in {self.stack.uploads}. Upload its file: batch {name}.csv")

    def _upload_of(self, name: str) -> tuple[str, str] | None:
        folder, slash, last = name.rpartition("/")
        if slash and last.endswith(_REPORTED) and (found := self._listed(folder)):
            named = last.rpartition(".")[0]
            return next((one for one in found if one[1] == named), found[0])
        exact = [one for one in self._listed(name_of(f"{BATCHES}{name}")) if one[0] == f"{BATCHES}{name}"]
        return next(iter(exact or self._listed(name)), None)

    def _listed(self, name: str) -> list[tuple[str, str]]:
        """The keys and ids of a batch's uploads, checks included; the last one first."""
        return [one for one in self._uploads(f"{name}.") if name_of(one[0]) == name]

    def _uploads(self, begin: str) -> list[tuple[str, str]]:
        """The keys and ids of all uploads of batches whose key begins with this; the last one first."""
        pages = self.stack.s3.get_paginator("list_object_versions").paginate(
            Bucket=self.stack.uploads, Prefix=f"{BATCHES}{begin}"
        )
        versions = [version for page in pages for version in page.get("Versions", ())]
        found = [one for one in versions if one["Key"].lower().endswith(SUFFIXES)]
        found.sort(key=lambda one: one["LastModified"], reverse=True)
        return [(one["Key"], identity.for_object(self.stack.uploads, one["Key"], one["VersionId"])) for one in found]

    def show(self, key: str, batch_id: str) -> dict[str, Any]:
        """Return what became of an upload, with the fields of `FIELDS` that have a value."""
        return self.show_rows(key, batch_id)[0]

    def show_rows(self, key: str, batch_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return what became of an upload, and of its rows, as the report has them; none while there is no report."""
        execution = self._executions.describe(self._executions.arn(batch_id))
        shown = {"name": name_of(key), "batch_id": batch_id, "bucket": self.stack.uploads, "key": key}
        if execution is None:
            return {**shown, "status": "arriving"}, []
        if execution["status"] == "RUNNING":
            return {**shown, "status": "running"}, []
        if execution["status"] == "SUCCEEDED":
            known = json.loads(execution["output"])
            if is_check(key):
                rows = self._rows(known["report"])
                return {**shown, "status": "checked", **known, "wrong_rows": _wrong(rows)}, rows
            rows, goes_on = self._present(self._rows(known["report"]))
            now = {"counts": dict(Counter(row["status"] for row in rows).most_common()), "wrong_rows": _wrong(rows)}
            return {**shown, "status": "running" if goes_on else "finished", **known, **now}, rows
        return {**shown, **_failure(execution)}, []

    def planned(self, batch_id: str) -> list[dict[str, Any]] | None:
        """Return the rows of a batch by its plan: `line`, and `job_id` or an `error`. None until there is a plan.

        They name no request: that lies in another part of the plan.
        """
        plan = self._executions.output_of(self._executions.arn(batch_id), "Plan")
        if plan is None or "jobs" not in plan:
            return None
        jobs, refused = (self._part(plan["source"]["bucket"], plan[name]) for name in ("jobs", "refused"))
        rows = [{"line": job["source"]["line"], "job_id": job["job_id"]} for job in jobs]
        return sorted([*rows, *({**row, "status": "refused"} for row in refused)], key=lambda row: row["line"])

    def _part(self, bucket: str, key: str) -> list[dict[str, Any]]:
        part: list[dict[str, Any]] = json.loads(self.stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return part

    @property
    def _executions(self) -> Executions:
        return Executions(sfn=self.stack.sfn, state_machine_arn=self.stack.output("BatchMachineArn"))

    def _rows(self, report: dict[str, str]) -> list[dict[str, Any]]:
        body = self.stack.s3.get_object(Bucket=report["bucket"], Key=report["key"])["Body"].read()
        rows: list[dict[str, Any]] = json.loads(body)["items"]
        return rows

    def _present(self, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
        """Return a report's rows as their jobs are now, and whether some still go on.

        A report tells how they were: a file that is uploaded again is reported while its jobs still run, and people
        decide about jobs afterwards. Rows that go on are left without an error.
        """
        unfinished = [row["job_id"] for row in rows if row["status"] not in _GOOD and "job_id" in row]
        known = self.stack.store.batch_get(unfinished)
        present = [_as_now(row, known.get(row.get("job_id", ""))) for row in rows]
        return present, any(map(_goes_on, known.values()))

    def wait(self, key: str, batch_id: str, *, timeout: float | None, tell: Callable[[str], None]) -> dict[str, Any]:
        """Wait until a batch has its report or has failed, or the time is over, and return what became of it."""
        shown: dict[str, Any] = {}
        for waited in rounds(timeout):
            shown = self.show(key, batch_id)
            if shown["status"] not in ("arriving", "running"):
                break
            if shown["status"] == "arriving" and waited > ARRIVAL_SECONDS:
                raise NotFound(f"The batch {shown['name']} did not begin within {ARRIVAL_SECONDS} seconds. Wait on.")
            tell(f"{shown['name']}: {shown['status']} ({waited:.0f} s)")
        return shown


def _as_now(row: dict[str, Any], job: Job | None) -> dict[str, Any]:
    if job is None:
        return row
    return {**row, "status": job.status.value, "runs": _goes_on(job), "error": job.shown_error or {}}


def _goes_on(job: Job) -> bool:
    return not job.is_terminal and not waits_for_a_person(job)


def _wrong(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is wrong with rows that have no video and get none unless somebody acts."""
    wrong: list[dict[str, Any]] = []
    for row in rows:
        if row["status"] in _GOOD or row.get("runs"):
            continue
        where: dict[str, Any] = {name: row[name] for name in ("line", "status", "job_id") if name in row}
        error = row.get("error", {})
        issues = [
            {**({"column": issue["path"]} if issue["path"] else {}), "message": issue["message"]}
            for issue in error.get("issues", ())
        ]
        wrong += [{**where, **issue} for issue in issues or [{"message": error.get("message", "")}]]
    return wrong


def exit_code(shown: dict[str, Any], *, waited: bool) -> Exit:
    """Return how a command about a batch ends."""
    match shown["status"]:
        case "arriving" | "running":
            return Exit.STILL_RUNNING if waited else Exit.DONE
        case "interrupted":
            return Exit.INTERRUPTED
        case "rejected":
            return Exit.FAILED
    return Exit.FAILED if shown.get("wrong_rows") else Exit.DONE


def _failure(execution: dict[str, Any]) -> dict[str, Any]:
    from shared.jobs.errors import BATCH_ERRORS, UploadUnreadable

    name, cause = execution.get("error", ""), execution.get("cause", "")
    rejected = name in {fault.__name__ for fault in (*BATCH_ERRORS, UploadUnreadable)}
    try:
        error = {"error": name, **json.loads(cause)}
    except ValueError:
        error = {"error": name, "message": f"Its execution ended as {execution['status']}."}
    advice = error.pop("advice", None) or "Upload the same file again: only rows without a job are started and paid."
    return {"status": "rejected" if rejected else "interrupted", "error": error, "advice": advice}
