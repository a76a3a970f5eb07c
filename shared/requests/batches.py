"""Read a batch and plan its jobs. A batch is one file, CSV or JSON lines, in which each row asks for a video.

`csv_rows` splits a CSV's text, `csv_cells` reads its cells, `batch_identity` derives a row's job id, and `batch_names`
interprets the file's name.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from unicodedata import is_normalized, normalize

from pydantic_core import to_json

from shared import strict_json
from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.jobs.errors import BatchTooLarge, BatchUnreadable
from shared.jobs.links import is_torn
from shared.requests.batch_identity import MAX_MARKS, MAX_ROWS, Identity, has_too_many_marks, identify, job_ids, tidy
from shared.requests.batch_names import Purpose, checked_key, is_check, name_of, purpose_of
from shared.requests.csv_cells import SPREADSHEET_ERROR, Column, is_column, is_spreadsheet_error, shown_name
from shared.requests.csv_rows import lines_in, read_table
from shared.requests.recipes import KIND_OF_FIELD, PLANS
from shared.requests.resolve import MAX_DOCUMENT_BYTES, parse_request
from shared.requests.row_source import BATCH, OTHER_IDS, source_in

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from shared.faults import Fault
    from shared.requests.csv_rows import Record

__all__ = ["MAX_BYTES", "MAX_ROWS", "Plan", "Row", "checked_key", "is_check", "name_of", "plan", "read", "source_in"]

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUES = 200_000
"""How many JSON values the rows of a batch may have together. Time grows with them, more than with the bytes."""
_MAX_ISSUES = 20
_MAX_FIELDS = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,40}")
_OTHER_SEPARATOR = re.compile(r"[;\t|,]")
_JSON_LINE = re.compile(r"\S[^\r\n]*+")
_OTHER_FILES = (
    (b"\x1f\x8b", "compressed (gzip): upload it uncompressed"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd): upload it uncompressed"),
    (b"BZh", "compressed (bzip2): upload it uncompressed"),
    (b"\xfd7zXZ", "compressed (xz): upload it uncompressed"),
    (b"PK\x03\x04", "a spreadsheet's workbook or a ZIP file: save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet's workbook: save the sheet as CSV in UTF-8"),
    (b"\xff\xfe\0\0", "UTF-32: save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32: save it as UTF-8"),
    (b"\xff\xfe", "UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16: save it as UTF-8"),
)
_MAX_PATH = 200
_RAW = "raw_params"
# Control characters other than tabs and line ends, and U+FFFD, which marks a character that was lost in a conversion.
_DAMAGED = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_DAMAGED_TEXT = (
    "has a control character or U+FFFD, so it was damaged before it arrived or has another encoding: write it again"
)
# If a row's JSON contains none of these, nor `err`, `loading` or a control character, none of its texts is damaged.
_SUSPECT = ("#", "\uff03", "\ufe5f", "\ufffd", "\\u", "\\b", "\\f")
_TORN_LINK = (
    "seems to be more than one link, or has a backslash: write each link separately, and encode special characters "
    "within a link (%3A for the colon of a link within a link, %5C for a backslash)"
)
_PLAIN_ENCODINGS = ("", "identity", "aws-chunked", "utf-8")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch.

    Attributes:
        line: The line of the file where it begins, counted from 1.
        fault: Why it is refused.
        body: The generate body, with its metadata, as JSON, because parsed values of a whole file would take gigabytes.
            None where it is refused.
        model_id: The model of the body.
        identity: Its fingerprints; None where it is refused.
    """

    line: int
    fault: Fault | None = None
    body: bytes | None = field(default=None, repr=False)
    model_id: str = ""
    identity: Identity | None = field(default=None, repr=False)

    @property
    def request(self) -> dict[str, Any] | None:
        """The generate body, with its metadata."""
        return None if self.body is None else dict(json.loads(self.body))


@dataclass(slots=True)
class _Values:
    """Counts the values in the rows of a batch."""

    total: int = 0

    def add(self, number: int) -> None:
        """Count the values of one more row.

        Raises:
            BatchTooLarge: There are too many.
        """
        self.total += number
        if self.total > MAX_VALUES:
            raise BatchTooLarge(
                f"the file has more than the {MAX_VALUES:,} values that a batch may have (each text, number, list and "
                "object in a row is one): split it"
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch starts.

    Attributes:
        key: The key under which to store `requests`. It is derived from them, so a key never gets other content.
        requests: The bodies of the accepted rows, one after another.
        jobs: The inputs of their executions, in the order of the file: `job_id`, `model_id`, and `source`, which says
            where the body is stored.
        refused: The other rows: `line`, and `error` as a document.
    """

    key: str
    requests: bytes = field(repr=False)
    jobs: list[dict[str, Any]] = field(repr=False)
    refused: list[dict[str, Any]]


# ---- reading --------------------------------------------------------------------------------------------------------


def read(data: bytes, key: str, *, content_encoding: str = "") -> list[Row]:
    """Return the rows of a batch, each validated as the API validates a request.

    Args:
        data: The file.
        key: The object's key. Its suffix tells the file's format, its name whether to run it.
        content_encoding: The object's `Content-Encoding`.

    Raises:
        BatchUnreadable: The file cannot be split into rows, or its name resembles that of a check but is not one.
        BatchTooLarge: There are too many rows, bytes or values.
    """
    if purpose_of(key) is Purpose.UNCLEAR:
        raise BatchUnreadable(
            "the name of the file or of a folder resembles that of a check but is not one, so nothing was started: "
            "name the file <name>.check.csv (or .check.jsonl) to check it, or remove the word 'check', and similar "
            "words, from all its names to run it"
        )
    if len(data) > MAX_BYTES:
        raise BatchTooLarge(f"the file has more than the {MAX_BYTES:,} bytes that a batch may have")
    form = next((form for suffix, form in _FORMS.items() if key.lower().endswith(suffix)), None)
    if form is None:
        raise BatchUnreadable("the file's name must end in .csv or .jsonl")
    rows: list[Row] = []
    values = _Values()
    with _no_search_for_cycles():
        for row in form(_decoded(data, content_encoding), values):
            if len(rows) == MAX_ROWS:
                raise BatchTooLarge(f"the file has more than the {MAX_ROWS:,} rows that a batch may have")
            rows.append(row)
    if not rows:
        raise BatchUnreadable("the file has no rows")
    return rows


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Pause the cyclic garbage collector: JSON has no cycles, and searching for them doubles the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _decoded(data: bytes, content_encoding: str) -> str:
    """Return the file's text without byte order marks.

    Raises:
        BatchUnreadable: It is not UTF-8. The message names its actual format where that can be detected.
    """
    if other := next((name for magic, name in _OTHER_FILES if data.startswith(magic)), None):
        raise BatchUnreadable(f"the file is not UTF-8 but {other}")
    if b"\0" in data[:64]:
        raise BatchUnreadable("the file is not UTF-8 but UTF-16, or not a text: save it as UTF-8")
    try:
        return data.decode().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if content_encoding.strip().lower() not in _PLAIN_ENCODINGS:
            raise BatchUnreadable(
                "the file is compressed, as its Content-Encoding says: upload it uncompressed"
            ) from None
        # In Latin-1 every byte is a character, so this counts the file's lines.
        line = lines_in(data[: error.start].decode("latin-1")) + 1
        raise BatchUnreadable(
            f"the file is not UTF-8: line {line} has a character of another encoding, such as Windows-1252: save it as "
            "UTF-8"
        ) from None


def _json_lines(text: str, values: _Values) -> Iterator[Row]:
    first = _JSON_LINE.search(text)
    if first is not None and first[0][0] in "[{":
        _require_lines(text, first[0])
    line, position = 1, 0
    # Not splitlines(): it also splits at characters that may occur within a JSON text.
    for found in _JSON_LINE.finditer(text):
        line += lines_in(text[position : found.start()])
        position = found.start()
        written = found[0]
        if 4 * len(written) > MAX_DOCUMENT_BYTES and len(written.encode()) > MAX_DOCUMENT_BYTES:
            yield Row(line, fault=_wrong("", f"must have at most {MAX_DOCUMENT_BYTES} bytes"))
            continue
        values.add(strict_json.count(written))
        try:
            document = strict_json.loads(written)
        except strict_json.RepeatedKey as repeated:
            yield Row(line, fault=_repeated(repeated.key))
        except (ValueError, RecursionError) as wrong:
            where = f" (column {wrong.colno}: {wrong.msg.lower()})" if isinstance(wrong, json.JSONDecodeError) else ""
            said = f"the row is not valid JSON{where}; each line must be one whole JSON object"
            yield Row(line, fault=InvalidJson(said))
        else:
            yield _judged(line, document, document, written)


def _require_lines(text: str, first_line: str) -> None:
    """Refuse a file that is JSON but not JSON lines.

    Raises:
        BatchUnreadable: The whole file is one array, or one object over several lines.
    """
    try:
        if isinstance(json.loads(first_line), dict):
            return
    except (ValueError, RecursionError):
        pass
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return
    what = "array" if isinstance(whole, list) else "object over several lines"
    raise BatchUnreadable(f"the file is one JSON {what}: write each request as an object on a line of its own")


def _csv(text: str, values: _Values) -> Iterator[Row]:
    header, records = read_table(text, is_column)
    _require_columns(header)
    columns = list(map(Column.of, header))
    raw = header.index(_RAW) if _RAW in header else None
    for record in records:
        values.add(len(record.cells) - record.cells.count(""))
        if raw is not None and raw < len(record.cells):
            values.add(strict_json.count(record.cells[raw]))
        yield _from_problem(record, columns) if record.problem else _from_cells(record, columns)


def _from_problem(record: Record, columns: list[Column]) -> Row:
    named = record.cell is not None and record.cell < len(columns)
    return Row(record.line, fault=_wrong(columns[record.cell or 0].name if named else "", record.problem))


def _from_cells(record: Record, columns: list[Column]) -> Row:
    line, cells = record.line, record.cells
    document: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=False):
        if not cell or cell.isspace():
            continue
        if not column.name:
            return _outside(record, columns)
        if is_spreadsheet_error(cell):
            return Row(line, fault=_wrong(column.name, SPREADSHEET_ERROR))
        try:
            value = column.convert(cell)
        except ValueError as wrong:
            return Row(line, fault=_wrong(column.name, str(wrong)))
        (document.setdefault(column.group, {}) if column.group else document)[column.member] = value
    if "".join(cells[len(columns) :]).strip():
        return _outside(record, columns)
    if len(columns) > 1 and not "".join(cells[1:]).strip() and (other := _OTHER_SEPARATOR.search(cells[0])):
        sign = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "the sign |"}[other[0]]
        return Row(
            line, fault=_wrong("", f"is separated by {sign}, and the first line by another sign: use one of them")
        )
    if sum(map(len, cells)) * 6 > MAX_DOCUMENT_BYTES and len(json.dumps(document)) > MAX_DOCUMENT_BYTES:
        return Row(line, fault=_wrong("", f"must have at most {MAX_DOCUMENT_BYTES} bytes"))
    # The older rule separated links at blanks only, so it may have paid for two links as one.
    older = {
        column.name: cell.split()
        for column, cell in zip(columns, cells, strict=False)
        if column.name in KIND_OF_FIELD and isinstance(document.get(column.name), list)
    }
    return _judged(line, document, document | older, "\n".join(cells))


def _outside(record: Record, columns: list[Column]) -> Row:
    names = [column.name for column in columns]
    cells = zip_longest(record.cells, names[: len(record.cells)], fillvalue="")
    number = next(number for number, (cell, name) in enumerate(cells, 1) if cell.strip() and not name)
    return Row(record.line, fault=_wrong("", f"cell {number} is beyond the columns that the first line names"))


def _require_columns(names: list[str]) -> None:
    """Check the names in a CSV's first line.

    Raises:
        BatchUnreadable: There are none, or some are unknown; the issues name them.
    """
    if not any(names):
        raise BatchUnreadable("the file's first line names no columns")
    issues = []
    seen: set[str] = set()
    for number, written in enumerate(names):
        name = written if has_too_many_marks(written) else normalize("NFC", written)
        if name in seen:
            issues.append({"path": _shown(name, number), "message": "is named twice"})
        elif name and (has_too_many_marks(name) or not is_column(name)):
            issues.append({"path": _shown(name, number), "message": "is not a column that a batch can have"})
        if name:
            seen.add(name)
    if issues:
        wrong = f"'{issues[0]['path']}' {issues[0]['message']}"
        raise BatchUnreadable(
            "the file's first line must name the columns, separated by commas (or all by semicolons, or all by tabs), "
            f"but {wrong}",
            issues=tuple(issues[:_MAX_ISSUES]),
        )


def _shown(name: str, number: int) -> str:
    # A file without a header has a row in its place, with the prompt and links in it.
    return name if _NAME.fullmatch(name) else f"column {number + 1}"


def _judged(line: int, document: object, written: object, text: str) -> Row:
    """Validate a row, given its document, the document that the older rule would have read, and its original text."""
    try:
        if wrong := _ambiguous_in(document, text):
            return Row(line, fault=wrong)
        if wide := _too_wide(document):
            return Row(line, fault=_wrong("", f"has {wide:,} fields, more than a request can have"))
        request = _request(tidy(document))
        body = to_json(request).decode()
        if "://" in body and (torn := _torn_link_in(request)):
            return Row(line, fault=_wrong(torn, _TORN_LINK))
        if _may_have_wrong_text(body) and (wrong := _wrong_text_in(request)):
            return Row(line, fault=wrong)
        return Row(
            line,
            body=body.encode(),
            model_id=request["model_id"],
            identity=identify(request, _older_request(written, request)),
        )
    except InvalidPayload as fault:
        # The traceback of each of ten thousand rows would keep everything on its stack alive.
        fault.__traceback__ = fault.__context__ = None
        return Row(line, fault=fault)
    except RecursionError:
        return Row(line, fault=_wrong("", "is nested too deeply"))


def _too_wide(document: object) -> int:
    """Return how many fields a document has, if there are too many to name each unknown one; 0 otherwise."""
    params = document.get("params") if isinstance(document, dict) else None
    return max(
        (len(part) for part in (document, params) if isinstance(part, dict) and len(part) > _MAX_FIELDS), default=0
    )


def _request(document: object) -> dict[str, Any]:
    """Validate a document as a request with its metadata.

    Raises:
        InvalidPayload: It is not valid.
    """
    body, metadata = parse_request(document)
    return body | {"metadata": metadata} if metadata else body


def _older_request(written: object, request: dict[str, Any]) -> dict[str, Any] | None:
    if written == request or not isinstance(written, dict):
        return request
    # They are validated already, and would take most of the time.
    raw = {name: request[name] for name in (_RAW,) if name in request}
    try:
        return _request({name: value for name, value in written.items() if name not in raw}) | raw
    except InvalidPayload:
        return None


def _torn_link_in(request: dict[str, Any]) -> str | None:
    """Return the first field of a request that contains two links as one."""
    for name in KIND_OF_FIELD:
        value = request.get(name, [])
        links = (
            {name: value} if isinstance(value, str) else {f"{name}.{place}": link for place, link in enumerate(value)}
        )
        if torn := next((path for path, link in links.items() if is_torn(link)), None):
            return torn
    return None


def _ambiguous_in(document: object, text: str) -> InvalidPayload | None:
    """Return an error for too many combining marks, or for names that differ in their spelling only.

    Args:
        document: The document.
        text: Its text in the file, where marks may be written as `\\u0301` and line ends as `\\r`.
    """
    if "\\u" in text:
        text = json.dumps(document, ensure_ascii=False, check_circular=False)
    if (
        not text.isascii()
        and has_too_many_marks(text)
        and (found := strict_json.first_text(has_too_many_marks, document))
    ):
        return _wrong(_path(found), f"has more than {MAX_MARKS} marks on one character")
    is_spelled_otherwise = "\\r" in text or not is_normalized("NFC", text)
    if is_spelled_otherwise and (twice := _name_in_two_forms(document)) is not None:
        return _repeated(twice)
    return None


def _may_have_wrong_text(body: str) -> bool:
    """Whether a text or name in a request's JSON could be damaged or be only a spreadsheet's error."""
    lower = body.lower()
    is_suspect = any(sign in body for sign in _SUSPECT) or "err" in lower or "loading" in lower
    return is_suspect or not (body.isprintable() or not _is_damaged(body))


def _wrong_text_in(request: dict[str, Any]) -> InvalidPayload | None:
    """Return an error for the first such text."""
    found = strict_json.first_text(_is_wrong, request)
    if found is None:
        return None
    return _wrong(_path(found), _DAMAGED_TEXT if _is_damaged(found[-1]) else SPREADSHEET_ERROR)


def _is_damaged(text: str) -> bool:
    return _DAMAGED.search(text) is not None


def _is_wrong(text: str) -> bool:
    return _is_damaged(text) or is_spreadsheet_error(text)


def _name_in_two_forms(document: object) -> str | None:
    """Return the first name that one object has twice, if Unicode normal forms and line ends are ignored."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            # All at once: nothing combines with NUL, which stands in no sound name.
            names = _one_form("\0".join(value)).split("\0")
            if len(set(names)) < len(names):
                return Counter(names).most_common(1)[0][0]
    return None


def _one_form(name: str) -> str:
    if "\r" in name:
        name = name.replace("\r\n", "\n").replace("\r", "\n")
    return name if name.isascii() else normalize("NFC", name)


def _path(found: tuple[str, ...]) -> str:
    return shown_name(".".join(found[:-1])[-_MAX_PATH:])


def _repeated(key: str) -> InvalidPayload:
    return _wrong(shown_name(key), "stands twice in one object")


def _wrong(path: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"The row {message}.", issues=({"path": path, "message": message},))


_FORMS: dict[str, Callable[[str, _Values], Iterator[Row]]] = {".csv": _csv, ".jsonl": _json_lines}


# ---- planning -------------------------------------------------------------------------------------------------------


def plan(
    rows: Sequence[Row], bucket: str, key: str, known: Callable[[Iterable[str]], Container[str]] = lambda _: ()
) -> Plan:
    """Plan a batch's jobs. The same rows in a batch of the same name are the same jobs, whatever the other rows are.

    Args:
        rows: The rows that `read` returned.
        bucket: The bucket that the batch lies in.
        key: The batch's key.
        known: Returns which of many job ids already have a job; by default none has.
    """
    key = checked_key(key)
    accepted = [(row, row.body, row.identity) for row in rows if row.body is not None and row.identity is not None]
    refused = [{"line": row.line, "error": row.fault.document()} for row in rows if row.fault is not None]
    ids = job_ids([known_by for _, _, known_by in accepted], bucket, name_of(key), known)
    lines: list[bytes] = []
    jobs: list[dict[str, Any]] = []
    offset = 0
    for (row, body, _), row_ids in zip(accepted, ids, strict=True):
        source: dict[str, Any] = {
            "type": BATCH,
            "bucket": bucket,
            "key": key,
            "line": row.line,
            "offset": offset,
            "length": len(body),
        }
        if row_ids.others:
            source[OTHER_IDS] = list(row_ids.others)
        jobs.append({"job_id": row_ids.job_id, "model_id": row.model_id, "source": source})
        lines.append(body)
        offset += len(body) + 1
    requests = b"\n".join(lines)
    place = f"{PLANS}{hashlib.sha256(requests).hexdigest()}.jsonl"
    for job in jobs:
        job["source"]["plan"] = place
    return Plan(place, requests, jobs, refused)
