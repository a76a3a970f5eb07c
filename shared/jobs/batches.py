"""A batch: one file, CSV or JSON lines, in which each row asks for a video.

Knows the two forms, which columns there are (from the vendor's request model), what makes a row the job that it is, and
what a plan holds. Must not know S3, or how a row is started.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.genviral.models import GenerateRequest, Params
from shared.jobs import identity
from shared.jobs.errors import BatchTooLarge, BatchUnreadable
from shared.jobs.recipes import BATCHES, PLANS
from shared.jobs.resolve import MAX_DOCUMENT_BYTES, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from shared.faults import Fault

BATCH = "batch"
"""The type of a row's source."""
MAX_ROWS = 10_000
MAX_BYTES = 32 * 1024 * 1024
_CHECK = ".check"
_METADATA = "metadata."
_MAX_ISSUES = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,40}")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
csv.field_size_limit(MAX_BYTES)  # its own limit is below that of a row, and fails the file
_SOURCE = {"type": str, "bucket": str, "key": str, "line": int, "plan": str, "offset": int, "length": int}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch.

    Attributes:
        line: The line of the file where it begins, counted from 1.
        request: The generate body, with its metadata; None where it is refused.
        fault: Why it is refused.
    """

    line: int
    request: dict[str, Any] | None = field(default=None, repr=False)
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a batch.

    Attributes:
        key: Where `requests` are to lie. It is derived from them: under one key, there is never anything else.
        requests: The bodies of the rows that are not refused, one after another.
        jobs: The inputs of their executions, in the order of the file: `job_id`, `model_id`, and in `source` where the
            body lies.
        refused: The other rows: `line`, and `error` as a document.
    """

    key: str
    requests: bytes = field(repr=False)
    jobs: list[dict[str, Any]] = field(repr=False)
    refused: list[dict[str, Any]]


def is_check(key: str) -> bool:
    """Whether a batch is only to be checked: `batches/<name>.check.csv`."""
    return _stem(key).endswith(_CHECK)


def checked_key(key: str) -> str:
    """The key of the batch that a check is about; a batch's own key otherwise."""
    stem = _stem(key)
    return stem.removesuffix(_CHECK) + key[len(stem) :]


def name_of(key: str) -> str:
    """A batch's name, which its reports lie under: `spring` for `batches/spring.csv`."""
    return _stem(checked_key(key)).removeprefix(BATCHES)


def _stem(key: str) -> str:
    stem, dot, suffix = key.rpartition(".")
    return stem if dot and "/" not in suffix else key


def source_in(given: object) -> dict[str, Any] | None:
    """The source of a batch's row in an execution's input, or None where the execution is no such row's."""
    source = given.get("source") if isinstance(given, dict) else None
    if not isinstance(source, dict) or source.get("type") != BATCH:
        return None
    if any(type(source.get(name)) is not kind for name, kind in _SOURCE.items()):
        return None
    return {name: source[name] for name in _SOURCE}


def is_own_row(job_id: str, source: Mapping[str, Any], body: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a job is the row of a batch that its source names; true for jobs that are no rows.

    Args:
        job_id: The job.
        source: Its source.
        body: The generate body of the row.
        metadata: The row's labels.
    """
    if source.get("type") != BATCH:
        return True
    meaning = identity.fingerprint({**body, "metadata": metadata} if metadata else {**body})
    bucket, name = source["bucket"], name_of(source["key"])
    # Which of several like rows it is does not stand in the source.
    return any(job_id == identity.for_row(bucket, name, meaning, copy) for copy in range(MAX_ROWS))


# ---- reading --------------------------------------------------------------------------------------------------------


def read(data: bytes, key: str) -> list[Row]:
    """The rows of a batch, each judged as the API judges a request.

    Args:
        data: The file.
        key: The object's key; its suffix says which form the file has.

    Raises:
        BatchUnreadable: No row can be made out.
        BatchTooLarge: There are too many rows or bytes.
    """
    if len(data) > MAX_BYTES:
        raise BatchTooLarge(f"the file has more than the {MAX_BYTES:,} bytes that a batch may have")
    form = next((form for suffix, form in _FORMS.items() if key.lower().endswith(suffix)), None)
    if form is None:
        raise BatchUnreadable("the file's name ends neither in .csv nor in .jsonl")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BatchUnreadable(f"the file is not UTF-8: line {line} holds another encoding's character") from None
    rows: list[Row] = []
    for row in form(text):
        if len(rows) == MAX_ROWS:
            raise BatchTooLarge(f"the file has more than the {MAX_ROWS:,} rows that a batch may have")
        rows.append(row)
    if not rows:
        raise BatchUnreadable("the file has no rows")
    return rows


def _json_lines(text: str) -> Iterator[Row]:
    # Not splitlines(): a JSON text may hold the other characters that it takes for the end of a line.
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        if len(written.encode()) > MAX_DOCUMENT_BYTES:
            yield Row(line, fault=_wrong("", f"must have at most {MAX_DOCUMENT_BYTES} bytes"))
            continue
        try:
            document = json.loads(written, parse_constant=_refuse)
        except (ValueError, RecursionError):
            yield Row(line, fault=InvalidJson("the row is not valid JSON"))
            continue
        yield _judged(line, document)


def _csv(text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 0
    try:
        columns = _columns(next(reader, []))
        while True:
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield _from_cells(line, columns, cells)
    except csv.Error as error:  # its texts are fixed sentences
        raise BatchUnreadable(f"the file is no CSV: line {max(line, 1)}: {error}") from None


def _from_cells(line: int, columns: list[str], cells: list[str]) -> Row:
    request: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        if not cell.strip():
            continue
        column = columns[number] if number < len(columns) else ""
        if not column:
            return Row(line, fault=_wrong("", f"cell {number + 1} stands in no column that the first line names"))
        group, dot, name = column.partition(".")
        (request.setdefault(group, {}) if dot else request)[name or group] = _convert(column, cell)
    if len(json.dumps(request).encode()) > MAX_DOCUMENT_BYTES:
        return Row(line, fault=_wrong("", f"must have at most {MAX_DOCUMENT_BYTES} bytes"))
    return _judged(line, request)


def _columns(header: list[str]) -> list[str]:
    """The names in a CSV's first line.

    Raises:
        BatchUnreadable: It has none, or some that no request has; the issues name them.
    """
    names = [name.strip() for name in header]
    if not any(names):
        raise BatchUnreadable("the file's first line names no columns")
    issues = []
    for number, name in enumerate(names):
        if name and name in names[:number]:
            issues.append({"path": _shown(name, number), "message": "is named twice"})
        elif name and name not in _CONVERTERS and not (name.startswith(_METADATA) and name != _METADATA):
            issues.append({"path": _shown(name, number), "message": "is no column that a batch can have"})
    if issues:
        wrong = f"'{issues[0]['path']}' {issues[0]['message']}"
        raise BatchUnreadable(
            f"the file's first line must name the columns, separated by commas, but {wrong}",
            issues=tuple(issues[:_MAX_ISSUES]),
        )
    return names


def _shown(name: str, number: int) -> str:
    # A file without a first line of names shows a row in its place, with the prompt and links in it.
    return name if _NAME.fullmatch(name) else f"column {number + 1}"


def _convert(column: str, cell: str) -> Any:
    return _CONVERTERS.get(column, str.strip)(cell)


def _judged(line: int, document: object) -> Row:
    try:
        body, metadata = parse_request(document)
    except InvalidPayload as fault:
        return Row(line, fault=fault)
    except RecursionError:
        return Row(line, fault=_wrong("", "is nested too deeply"))
    return Row(line, body | {"metadata": metadata} if metadata else body)


def _wrong(path: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"The row {message}.", issues=({"path": path, "message": message},))


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are Python's own, not JSON's


# A cell that is nothing of the kind stays a text, so that the request model says what is wrong with it.


def _number(cell: str) -> Any:
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        return cell
    return float(text) if "." in text else int(text)


def _boolean(cell: str) -> Any:
    return {"true": True, "false": False}.get(cell.strip().lower(), cell)


def _json(cell: str) -> Any:
    try:
        return json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return cell


def _types(annotation: Any) -> set[Any]:
    """The types that a field's annotation comes down to."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*map(_types, get_args(annotation)))
    return {origin or annotation}


def _converter(annotation: Any) -> Callable[[str], Any]:
    kinds: dict[type, Callable[[str], Any]] = {list: str.split, dict: _json, bool: _boolean, float: _number}
    return next((convert for kind, convert in kinds.items() if kind in _types(annotation)), str.strip)


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    f"{group}{name}": _converter(info.annotation)
    for group, model in (("", GenerateRequest), ("params.", Params))
    for name, info in model.model_fields.items()
    if name != "params"
}
"""Column → how its cells are read."""
_FORMS: dict[str, Callable[[str], Iterator[Row]]] = {".csv": _csv, ".jsonl": _json_lines}


# ---- planning -------------------------------------------------------------------------------------------------------


def plan(rows: Iterable[Row], bucket: str, key: str) -> Plan:
    """What becomes of a batch's rows. The same rows in the same place are the same jobs, whatever stands around them.

    Args:
        rows: The rows, as `read` gave them.
        bucket: The bucket that the batch lies in.
        key: The batch's key.
    """
    key = checked_key(key)
    lines: list[bytes] = []
    jobs: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    copies: dict[str, int] = {}
    offset = 0
    for row in rows:
        if row.request is None:
            refused.append({"line": row.line, "error": row.fault.document() if row.fault else None})
            continue
        body = json.dumps(row.request, ensure_ascii=False).encode()
        meaning = identity.fingerprint(row.request)
        copy = copies.get(meaning, 0)
        copies[meaning] = copy + 1
        source = {"type": BATCH, "bucket": bucket, "key": key, "line": row.line, "offset": offset, "length": len(body)}
        job_id = identity.for_row(bucket, name_of(key), meaning, copy)
        jobs.append({"job_id": job_id, "model_id": row.request["model_id"], "source": source})
        lines.append(body)
        offset += len(body) + 1
    requests = b"\n".join(lines)
    place = f"{PLANS}{hashlib.sha256(requests).hexdigest()}.jsonl"
    for job in jobs:
        job["source"]["plan"] = place
    return Plan(place, requests, jobs, refused)
