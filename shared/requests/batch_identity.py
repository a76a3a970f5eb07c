"""Derive the job id of a batch's row from a canonical form of its request.

A spreadsheet, an editor or a converter rewrites a file without changing what it asks for: line ends, the Unicode normal
form, blanks around a text, members that are null or empty. None of that makes a different job. Under the older rule
most of it did. So the ids of the older rule are looked up as well, and a job that exists under one of them remains the
row's job.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import from_json, to_json

from shared.genviral.models import GenerateRequest, Params
from shared.jobs import identity
from shared.requests.batch_names import name_of
from shared.requests.recipes import KIND_OF_FIELD
from shared.requests.row_source import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

MAX_ROWS = 10_000
MAX_MARKS = 30
"""How many combining marks one character may have. Stream-Safe Text has the same limit, which suffices in any language.
https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format"""
_FRACTION = re.compile(r"-?(?:0|[1-9]\d{0,14})\.\d{1,15}", re.ASCII)
_MARKS = re.compile(rb"[^\0]{%d}" % (MAX_MARKS + 1))
# Characters below U+0300 are not marks. Half as many may be enough, because some decompose into two.
_MAYBE_MARKS = re.compile(f"[\u0300-\U0010ffff]{{{MAX_MARKS // 2 + 1}}}")
# The only characters that are not marks themselves and decompose into marks only.
_MADE_OF_MARKS = ("\u0f73", "\u0f75", "\u0f81")
_MAX_LIKE = 100
_METADATA, _PARAMS, _RAW = "metadata", "params", "raw_params"
# In a JSON text without escaped backslashes: an escape that would combine with the mark behind it.
_ESCAPE_BEFORE_MARK = re.compile(r"(\\(?:[^u]|u[0-9a-f]{4}))(?=[^\x00-\x7f])")
# No JSON text contains these two unescaped.
_BACKSLASH, _GUARD = "\0", "\1"
_FIELDS = frozenset(GenerateRequest.model_fields) | {_METADATA}


@dataclass(frozen=True, slots=True)
class Identity:
    """The fingerprints of a row.

    Attributes:
        meaning: The fingerprint of its canonical form.
        older: Fingerprints that the older rule gave a row of this meaning, first the one for its spelling in the file.
    """

    meaning: str
    older: tuple[str, ...]


def has_too_many_marks(text: str) -> bool:
    """Whether so many combining marks follow each other that normalization would take unbounded time."""
    if text.isascii() or not _MAYBE_MARKS.search(text):
        return False
    for made_of_marks in _MADE_OF_MARKS:
        text = text.replace(made_of_marks, "\u0f71\u0f71")
    return _MARKS.search(bytes(map(unicodedata.combining, text))) is not None


def tidy(document: object) -> object:
    """Return a row's request in the form in which it is sent, before it is validated.

    Fields that are null or empty are removed. Texts lose blanks around them, get `\\n` as line ends, and become NFC.
    Links only lose blanks. `raw_params` and `metadata` do not change, because others read them. Check a text with
    `has_too_many_marks` first.
    """
    if not isinstance(document, dict):
        return document
    request = _given(document, _FIELDS)
    params = request.get(_PARAMS)
    if isinstance(params, dict):
        request = _given({**request, _PARAMS: _given(params, frozenset(Params.model_fields))}, _FIELDS)
    return request


def identify(request: dict[str, Any], written: dict[str, Any] | None) -> Identity:
    """Return a row's fingerprints.

    Args:
        request: Its valid request, tidied, with its metadata.
        written: The request as the older rule read it, with the same `raw_params`; None where that rule refused it.
    """
    json_of = _RequestJson().of
    raw = _spellings_of_raw(to_json(request[_RAW]) if _RAW in request else None)
    (as_sent,) = json_of(request, {_RAW: raw.as_it_is})
    texts = [] if written is None or written is request else json_of(written, {_RAW: raw.as_it_is})
    texts.append(as_sent)
    has_lines, has_marks = "\\n" in as_sent or "\\r" in as_sent, "\\u" in as_sent
    metadata = request.get(_METADATA, {})
    fields = {name: value for name, value in request.items() if name not in (_METADATA, _RAW)}
    if has_lines or has_marks:
        fields, metadata = _respelled(fields, _text), _spelled(metadata, _text)
    former = _former_labels(metadata)
    labels = _labels(former)
    forms = (labels,) if labels == former else (labels, former)
    meanings = [_Spellings(to_json(form) if form else None) for form in forms]
    meant = json_of(fields, *({_METADATA: form.as_it_is, _RAW: raw.normal} for form in meanings))
    texts += meant
    if has_lines:
        crlf = _respelled(fields, _with_crlf)
        texts += json_of(crlf, *({_METADATA: form.with_crlf, _RAW: raw.with_crlf} for form in meanings))
    if has_marks:
        nfd = _respelled(fields, _decomposed)
        texts += json_of(nfd, *({_METADATA: form.decomposed, _RAW: raw.decomposed} for form in meanings))
    fingerprints = {text: identity.fingerprint_of(text) for text in dict.fromkeys(texts)}
    return Identity(fingerprints[meant[0]], tuple(fingerprints.values()))


class _RequestJson:
    """Write the spellings of one request as canonical JSON. A text that several of them share is encoded once."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def of(self, request: dict[str, Any], *choices: dict[str, str | None]) -> list[str]:
        """Return a request's canonical JSON with each choice of some members.

        Args:
            choices: Each has the same members, in canonical JSON already. Those that are None are the request's own.
        """
        chosen = [{name: text for name, text in members.items() if text is not None} for members in choices]
        fields = {name: self._value(value) for name, value in request.items() if name not in chosen[0]}
        return [_object(fields | members) for members in chosen]

    def _value(self, value: Any) -> str:
        if not isinstance(value, str):
            return identity.canonical_json(value)
        return self._texts.get(value) or self._texts.setdefault(value, identity.canonical_json(value))


def _object(members: dict[str, str]) -> str:
    """Return an object as canonical JSON, given its members in it."""
    return "{" + ",".join([f'"{name}":{members[name]}' for name in sorted(members)]) + "}"


class _Spellings:
    """The canonical JSON of an object in each spelling of its texts. Parsing JSON is faster than respelling values.

    Args:
        json_text: The object as JSON. If there is none, each spelling is None.
    """

    def __init__(self, json_text: bytes | None) -> None:
        self._canonical: dict[str, str] = {}
        self._json = ""
        self.as_it_is: str | None = None
        if json_text is None:
            return
        value = from_json(json_text)
        whole, self.as_it_is = identity.canonical_form(value)
        text = json_text if whole is value else to_json(whole)
        # Escaped backslashes are replaced by another character, so that every remaining backslash begins an escape.
        self._json = text.decode().replace("\\\\", _BACKSLASH)
        self._canonical[self._json] = self.as_it_is

    @cached_property
    def _normal_json(self) -> str:
        """Return JSON in which `_text` has respelled each text."""
        return _normalized("NFC", self._json.replace("\\r\\n", "\\n").replace("\\r", "\\n"))

    @cached_property
    def normal(self) -> str | None:
        """Its canonical JSON after `_text` has respelled each text."""
        return self._canonical_of(self._normal_json)

    @cached_property
    def with_crlf(self) -> str | None:
        """The same with CRLF as line ends."""
        return self._canonical_of(self._normal_json.replace("\\n", "\\r\\n"))

    @cached_property
    def decomposed(self) -> str | None:
        """The same in NFD."""
        return self._canonical_of(_normalized("NFD", self._normal_json))

    def _canonical_of(self, spelling: str) -> str | None:
        if self.as_it_is is None:
            return None
        if spelling not in self._canonical:
            # Its names may have another order in this spelling.
            value = from_json(spelling.replace(_BACKSLASH, "\\\\"))
            self._canonical[spelling] = identity.canonical_json(value)
        return self._canonical[spelling]


@lru_cache(maxsize=4)
def _spellings_of_raw(json_text: bytes | None) -> _Spellings:
    # Most rows of a batch have the same `raw_params`.
    return _Spellings(json_text)


def _normalized(form: Literal["NFC", "NFD"], json_text: str) -> str:
    """Return JSON with each of its texts in a Unicode normal form. JSON's own characters do not combine with marks."""
    guarded = _ESCAPE_BEFORE_MARK.sub(rf"\1{_GUARD}", json_text) if "\\" in json_text else json_text
    return unicodedata.normalize(form, guarded).replace(_GUARD, "")


@dataclass(frozen=True, slots=True)
class RowIds:
    """The ids of a row's job.

    Attributes:
        job_id: Its id.
        others: The ids of the older rule under which an earlier upload may be about to run the same row.
    """

    job_id: str
    others: tuple[str, ...] = ()


def job_ids(
    rows: Sequence[Identity], bucket: str, name: str, known: Callable[[Iterable[str]], Container[str]]
) -> list[RowIds]:
    """Return the job ids of a batch's rows.

    A row keeps the job that the older rule gave to its spelling in the file, or to another spelling. Otherwise it gets
    a new one. Rows of the same meaning are numbered, so that each has a job of its own.

    Args:
        rows: The rows, in the order of the file.
        bucket: The bucket that the batch lies in.
        name: The batch's name.
        known: Returns which of many job ids already have a job.
    """
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.meaning, []).append(place)
    choices = [_Choices.of([rows[place] for place in places], bucket, name) for places in groups.values()]
    in_doubt = [job_id for choice in choices if choice.in_doubt for job_id in choice.every]
    existing = known(in_doubt) if in_doubt else ()
    ids = dict(
        pair
        for places, choice in zip(groups.values(), choices, strict=True)
        for pair in zip(places, choice.made(existing), strict=True)
    )
    return [ids[place] for place in range(len(rows))]


def is_own_row(job_id: str, source: Mapping[str, Any], body: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a job is the batch's row that its source names, by either rule. True for jobs that are not rows.

    Args:
        body: The generate body of the row.
        metadata: The row's labels.
    """
    if source.get("type") != BATCH:
        return True
    row = identify({**body, _METADATA: metadata} if metadata else {**body}, None)
    about = tuple(product(_spellings_of(name_of(source["key"])), dict.fromkeys((row.meaning, *row.older))))
    # The source does not say which of several equal rows it is.
    return any(
        job_id == identity.for_row(source["bucket"], name, meaning, copy)
        for copy in range(MAX_ROWS)
        for name, meaning in about
    )


def newer_ids(source: Mapping[str, Any], body: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """Return the ids that the current rule gives to the row of an earlier upload, which has an id of the older rule.

    There are several, because it is unknown which of several equal rows it is.
    """
    written = {**body, _METADATA: metadata} if metadata else {**body}
    request = tidy(written)
    assert isinstance(request, dict)  # noqa: S101 - for the type checker: tidy returns a dict for a dict
    meaning, name = identify(request, written).meaning, unicodedata.normalize("NFC", name_of(source["key"]))
    return [identity.for_row(source["bucket"], name, meaning, copy) for copy in range(_MAX_LIKE)]


def _spellings_of(name: str) -> tuple[str, ...]:
    """Return the spellings that a batch's name may have had, the canonical one first."""
    return tuple(dict.fromkeys((unicodedata.normalize("NFC", name), name, _decomposed(name))))


@dataclass(frozen=True, slots=True)
class _Choices:
    """The ids that rows of one meaning may have.

    Attributes:
        new: The ids of the current rule, in the order of the rows.
        written: The older rule's id for the spelling of each row in the file.
        every: All ids that either rule gives to rows of this meaning, the new ones first.
    """

    new: list[str]
    written: list[str]
    every: list[str]

    @classmethod
    def of(cls, rows: Sequence[Identity], bucket: str, name: str) -> _Choices:
        """Return the choices of rows of one meaning."""
        names = _spellings_of(name)
        fingerprints = dict.fromkeys((rows[0].meaning, *(older for row in rows for older in row.older)))
        every = [
            identity.for_row(bucket, *about, copy)
            for about in product(names, fingerprints)
            for copy in range(len(rows))
        ]
        seen: Counter[str] = Counter()
        written = []
        for row in rows:
            written.append(identity.for_row(bucket, name, row.older[0], seen[row.older[0]]))
            seen[row.older[0]] += 1
        return cls(every[: len(rows)], written, every)

    @property
    def in_doubt(self) -> bool:
        """Whether the older rule gives other ids."""
        return len(self.every) > len(self.new)

    def made(self, existing: Container[str]) -> list[RowIds]:
        """Choose the rows' ids, in their order; `existing` are those that already have a job."""
        new = set(self.new)
        ids = [job_id if job_id in existing else "" for job_id in self.written]
        taken = set(ids)
        known = iter([job_id for job_id in self.every if job_id in existing and job_id not in taken])
        ids = [job_id or next(known, "") for job_id in ids]
        ids = [job_id or (older if older in new else "") for job_id, older in zip(ids, self.written, strict=True)]
        taken = set(ids)
        spare = iter([job_id for job_id in self.new if job_id not in taken])
        ids = [job_id or next(spare) for job_id in ids]
        taken = new | set(ids)
        return [RowIds(job_id, self._others(place, taken)) for place, job_id in enumerate(ids)]

    def _others(self, place: int, taken: set[str]) -> tuple[str, ...]:
        """Return the older rule's ids that the row may have and that no row of this file has."""
        older = dict.fromkeys((self.written[place], *self.every[place :: len(self.new)]))
        return tuple(job_id for job_id in older if job_id not in taken)


def _given(members: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    """Return the members without empty fields. Unknown members stay, so that they are refused."""
    tidied = {name: _tidied(name, value) if name in fields else value for name, value in members.items()}
    return {name: value for name, value in tidied.items() if name not in fields or not _is_empty(value)}


def _tidied(name: str, value: Any) -> Any:
    if name in (_METADATA, _RAW):
        return value
    if isinstance(value, list) and name in KIND_OF_FIELD:
        return [_tidied(name, member) for member in value]
    if not isinstance(value, str):
        return value
    return value.strip() if name in KIND_OF_FIELD else _text(value).strip()


def _is_empty(value: Any) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _labels(former: dict[str, Any]) -> dict[str, Any]:
    """Return labels in canonical form: a spreadsheet writes `true` as `TRUE` and `5.0` as `5`."""
    return {name: _label(value) if isinstance(value, str) else value for name, value in former.items()}


def _label(text: str) -> str:
    if text.lower() in ("true", "false"):
        return text.lower()
    return text.rstrip("0").removesuffix(".") if "." in text and _FRACTION.fullmatch(text) else text


def _former_labels(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical form of labels as of the version that did not yet read numbers and booleans in texts.

    In a CSV, a label is always a text, and an empty cell is absent. Other forms of metadata are reduced to that.
    """
    return {name: _former_label(value) for name, value in metadata.items() if not _is_empty(value)}


def _former_label(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    return value if isinstance(value, dict | list) else _canonical_scalar(value)


@lru_cache(maxsize=1024, typed=True)
def _canonical_scalar(value: float | None) -> str:
    return identity.canonical_json(value)


def _respelled(request: dict[str, Any], spell: Callable[[str], str]) -> dict[str, Any]:
    """Return a request with each text respelled. Links stay as they are: another spelling is another address."""
    return {name: value if name in KIND_OF_FIELD else _spelled(value, spell) for name, value in request.items()}


def _spelled(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, list):
        return [_spelled(member, spell) for member in value]
    if isinstance(value, dict):
        return {spell(name): _spelled(member, spell) for name, member in value.items()}
    return value


def _text(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def _with_crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)
