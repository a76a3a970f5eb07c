"""Test that a row is one job in every notation, and that jobs paid for under the older rule are found again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.requests import batches

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET, NAME = "example-uploads", "spring"
MODEL = "bytedance/seedance-2.0"
CSV, JSONL = f"batches/{NAME}.csv", f"batches/{NAME}.jsonl"


def ids(data: bytes, key: str = JSONL, *, known: Any = ()) -> list[str]:
    plan = batches.plan(batches.read(data, key), BUCKET, key, lambda _: known)
    assert not plan.refused, plan.refused
    return [job["job_id"] for job in plan.jobs]


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


# ---- ids that must never change ----------------------------------------------------------------------------

GOLDEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "a prompt": ({"prompt": "A paper boat"}, "row-774186ba5839593d3fe86fe262299093d9511b2f", "e3b0c44298fc"),
    "line ends and marks": (
        {"prompt": "Gru\u0308n\r\nund blau", "negative_prompt": "\u212b"},
        "row-685b77502e8799dd2829c71b73b19bb0467c9bb2",
        "e04788b79934",
    ),
    "fractions": (
        {"params": {"duration_seconds": 5.0, "fps": 23.976}, "raw_params": {"a": [5.0, -0.0, 1e16, 0.5, 1e-7]}},
        "row-54ddbd9e7424c3267fd5070feee9b2d54c810803",
        "e3b0c44298fc",
    ),
    "names of raw_params": (
        {"raw_params": {"b": {"\u00e9": 1, "z": "\r\n"}, "a": ["e\u0301", {"\u0344": "\ud55c"}]}},
        "row-d3d3f7011983cb011381dfbee3f6bc726c1bdef1",
        "2a368bbf425a",
    ),
    "backslashes": (
        {"prompt": "a\\nb", "raw_params": {"\\u0301": "\\\u0301", "\n\u0303": "n\u0303\\n", '"\u0338': "\t\u0303"}},
        "row-d66542b89f4376e95a990194cc2a6cac44d1e882",
        "abc824fbea7b",
    ),
    "labels": (
        {"metadata": {"a": "TRUE", "b": "5.0", "c": 5.0, "d": None, "e": {"f": [1.0]}, "raw_params": None}},
        "row-6d8e9ad58d22afd398a35660934e89f603fcd109",
        "b10c6ca7a819",
    ),
    "links stay": (
        {"image_url": "https://example.com/e\u0301.png", "reference_image_urls": ["https://example.com/\u00e9"]},
        "row-9ade00a50ccadb12ee74da5e2a33361c576057e5",
        "e3b0c44298fc",
    ),
    "nothing beside raw_params": (
        {"raw_params": {"a": {}}, "voice_id": "v"},
        "row-b6af7c1da61bbd4fa05ef19388cf4eca1ebcb458",
        "e3b0c44298fc",
    ),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_an_id_is_what_it_was_and_so_are_those_of_the_older_rule(kind: str) -> None:
    """A different id would be a different job, and paid for again."""
    row, job_id, older = GOLDEN[kind]
    plan = batches.plan(batches.read(lines({"model_id": MODEL, **row}), JSONL), BUCKET, JSONL)
    (job,) = plan.jobs
    others = " ".join(job["source"].get("other_ids", []))
    assert (job["job_id"], hashlib.sha256(others.encode()).hexdigest()[:12]) == (job_id, older)


# ---- one id, however it is written --------------------------------------------------------------------------

# No quotes, no `#` and no backslash: they have their own CSV tests.
_LETTERS = (
    st.text("abcZ äöüßé 한글 日本 नि 😀 ,;|.!?-_=+@\n\t(){}[]/", min_size=1, max_size=30).map(str.strip).filter(bool)
)
_NORMAL = _LETTERS.map(lambda text: unicodedata.normalize("NFC", text))
_LINKS = st.lists(st.sampled_from([f"https://example.com/{name}" for name in ("a.png", "b.jpg?w=8", "w_1,h_2/c.png")]))
_NUMBER = st.integers(1, 60) | st.sampled_from([0.5, 23.976, 5.25])


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "prompt": _NORMAL,
        "negative_prompt": _NORMAL,
        "speech_text": _NORMAL,
        "image_url": st.just("https://example.com/a.png"),
        "reference_image_urls": _LINKS.filter(lambda links: 0 < len(links) < 9),
        "params": st.dictionaries(st.sampled_from(["duration_seconds", "fps"]), _NUMBER, min_size=1),
        "raw_params": st.dictionaries(_NORMAL, _NUMBER | _NORMAL | st.booleans(), min_size=1, max_size=3),
        "metadata": st.dictionaries(st.sampled_from(["sku", "a.b"]), _NORMAL, min_size=1),
    }
    return {"model_id": MODEL, **{name: draw(value) for name, value in optional.items() if draw(st.booleans())}}


def respelled(value: Any, spell: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, list):
        return [respelled(member, spell) for member in value]
    if isinstance(value, dict):
        return {name: respelled(member, spell) for name, member in value.items()}
    return value


def shuffled(value: Any) -> Any:
    return {name: shuffled(value[name]) for name in reversed(value)} if isinstance(value, dict) else value


def with_nothing(request: dict[str, Any], nothing: Any) -> dict[str, Any]:
    fields = ("prompt", "voice_id", "image_url", "reference_audio_urls", "raw_params")
    optional = dict.fromkeys(fields, nothing)
    params = dict.fromkeys(("fps", "resolution"), nothing) | request.get("params", {})
    return {**optional, **request, "params": params, "metadata": request.get("metadata", nothing)}


def as_fractions(request: dict[str, Any]) -> str:
    """Write whole numbers with a fraction, as spreadsheets and some serializers do."""
    params = {
        name: float(value) if isinstance(value, int) else value for name, value in request.get("params", {}).items()
    }
    return json.dumps({**request, "params": params} if params else request)


def table(
    request: dict[str, Any], *, between: str = ",", end: str = "\n", links: str = " ", quoting: Any = csv.QUOTE_MINIMAL
) -> str:
    cells = {name: value for name, value in request.items() if name not in ("params", "metadata")}
    cells |= {
        f"{group}.{name}": value for group in ("params", "metadata") for name, value in request.get(group, {}).items()
    }
    written = {
        name: value
        if isinstance(value, str)
        else links.join(value)
        if isinstance(value, list)
        else json.dumps(value, ensure_ascii=False)
        for name, value in cells.items()
    }
    text = io.StringIO()
    writer = csv.writer(text, delimiter=between, lineterminator=end, quoting=quoting)
    writer.writerows([[*written, "voice_id", ""], [*written.values(), " ", ""]])
    return text.getvalue()


SPELLINGS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "CSV": (CSV, table),
    "CSV of a spreadsheet": (CSV, lambda row: "\ufeffsep=;\r\n" + table(row, between=";", end="\r\n", links=";\n")),
    "CSV with tabs, each cell in quotes": (CSV, lambda row: table(row, between="\t", end="\r", quoting=csv.QUOTE_ALL)),
    "CSV with CRLF within cells": (
        CSV,
        lambda row: table(row, end="\r\n", links=" | ").replace("\n", "\r\n").replace("\r\r", "\r"),
    ),
    "JSON lines": (JSONL, json.dumps),
    "JSON lines, another order, decomposed": (
        JSONL,
        lambda row: json.dumps(respelled(shuffled(row), lambda text: unicodedata.normalize("NFD", text))),
    ),
    "JSON lines with nulls and CRLF": (
        JSONL,
        lambda row: json.dumps(with_nothing(respelled(row, lambda text: text.replace("\n", "\r\n")), None)),
    ),
    "JSON lines with empty texts and fractions": (JSONL, lambda row: as_fractions(with_nothing(row, ""))),
}


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_a_row_has_one_id_in_each_of_its_equivalent_spellings(row: dict[str, Any]) -> None:
    found = {kind: ids(spell(row).encode(), key) for kind, (key, spell) in SPELLINGS.items()}
    assert len(set(map(tuple, found.values()))) == 1, found


@settings(max_examples=200, deadline=None)
@given(requests(), requests())
def test_rows_that_ask_for_different_things_are_different_jobs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (ids(lines(one)) == ids(lines(other))) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "a boat"},
        {"prompt": "A  boat"},
        {"prompt": "A\nboat"},
        {"negative_prompt": "A boat"},
        {"params": {"generate_audio": False}},
        {"params": {"fps": 24}},
        {"metadata": {"sku": "0"}},
        {"raw_params": {"seed": None}},
        {"image_url": "https://example.com/a.png"},
        {"image_url": "https://example.com/\u00fc.png"},
        {"image_url": "https://example.com/u\u0308.png"},
    ],
)
def test_what_makes_another_video_makes_another_job(changed: dict[str, Any]) -> None:
    kept = {"model_id": MODEL, "prompt": "A boat"}
    others = [
        kept,
        {**kept, "image_url": "https://example.com/\u00fc.png"},
        {**kept, "image_url": "https://example.com/A"},
    ]
    assert ids(lines({**kept, **changed}))[0] not in {
        ids(lines(other))[0] for other in others if other != {**kept, **changed}
    }


@pytest.mark.parametrize(
    "spellings",
    [
        [True, "true", "TRUE", " True "],
        [False, "false", "FALSE"],
        [5, 5.0, "5", "5.0", "5.00"],
        [0.5, "0.5", "0.50"],
        [-3, "-3.0"],
    ],
)
def test_a_metadata_number_or_boolean_is_one_in_any_spelling(spellings: list[Any]) -> None:
    assert len({ids(lines(row(metadata={"x": spelling})))[0] for spelling in spellings}) == 1
    # A notation paid for under the former rule is found when it is used again.
    for spelling in spellings:
        paid = older_ids([row(metadata={"x": spelling})])
        assert ids(lines(row(metadata={"x": spelling})), known=paid) == paid


def test_labels_that_only_begin_like_numbers_stay_apart() -> None:
    labels = ["7", "007", "7.0.0", "7,0", "+7", "7.", "70", "7e0", "7.05", "7.5", "truth"]
    assert len({ids(lines(row(metadata={"x": label})))[0] for label in labels}) == len(labels)


def test_a_label_paid_under_the_former_rule_in_other_line_ends_is_found() -> None:
    (job_id,) = older_ids([row(prompt="a\r\nb", metadata={"take": "5.0"})])
    assert ids(lines(row(prompt="a\nb", metadata={"take": "5.0"})), known=[job_id]) == [job_id]


def test_rows_that_differ_in_their_spelling_alone_count_as_equal_rows() -> None:
    """Two equal rows are two videos, and stay these two in whatever notation they come next time."""
    first = ids(lines({"model_id": MODEL, "prompt": "a\r\nb"}, {"model_id": MODEL, "prompt": "a\nb"}))
    assert len(set(first)) == 2
    again = ids(lines({"model_id": MODEL, "prompt": "a\nb"}, {"model_id": MODEL, "prompt": "a\nb", "params": {}}))
    assert sorted(again) == sorted(first)


def test_a_batch_is_the_same_under_its_name_in_either_normal_form() -> None:
    row = lines({"model_id": MODEL})
    assert ids(row, "batches/fr\u00fchling.jsonl") == ids(row, "batches/fru\u0308hling.jsonl")


# ---- what was paid for under the older rule -----------------------------------------------------------------


def older_ids(requests: list[dict[str, Any]], name: str = NAME) -> list[str]:
    """Return the job ids of the older rule, implemented a second time."""

    def whole(text: str) -> float:
        return int(float(text)) if float(text).is_integer() else float(text)

    seen: Counter[str] = Counter()
    found = []
    for request in requests:
        plain = json.loads(json.dumps(request), parse_float=whole)
        canonical = json.dumps(plain, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        fingerprint = hashlib.sha256(canonical.encode()).hexdigest()
        parts = (BUCKET, name, fingerprint, str(seen[fingerprint]))
        seen[fingerprint] += 1
        text = "".join(f"{len(part)}:{part}" for part in parts)
        found.append("row-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40])
    return found


def row(**fields: Any) -> dict[str, Any]:
    return {"model_id": MODEL, **fields}


OLD: dict[str, tuple[bytes, str, list[dict[str, Any]]]] = {
    "nothing special": (
        lines(row(prompt="A boat", params={"fps": 24.0})),
        JSONL,
        [row(prompt="A boat", params={"fps": 24})],
    ),
    "CRLF in a cell": (
        b'model_id,prompt\r\nbytedance/seedance-2.0,"a\r\nb"\r\n',
        CSV,
        [row(prompt="a\r\nb")],
    ),
    "CR in a cell": (b'model_id,prompt\nbytedance/seedance-2.0,"a\rb"\n', CSV, [row(prompt="a\rb")]),
    "a decomposed text": (lines(row(prompt="u\u0308")), JSONL, [row(prompt="u\u0308")]),
    "empty members": (
        lines(row(prompt="", params={"fps": None}, raw_params={}, reference_image_urls=[])),
        JSONL,
        [row(prompt="", params={}, raw_params={}, reference_image_urls=[])],
    ),
    "blanks around a text": (lines(row(prompt=" a ")), JSONL, [row(prompt=" a ")]),
    "a number as metadata": (lines(row(metadata={"sku": 5, "x": None})), JSONL, [row(metadata={"sku": 5, "x": None})]),
    "two links taken for one": (
        f'model_id,reference_image_urls\n{MODEL},"https://example.com/a.png,https://example.com/b.png"\n'.encode(),
        CSV,
        [row(reference_image_urls=["https://example.com/a.png,https://example.com/b.png"])],
    ),
    "equal rows in two spellings": (
        lines(*[row(prompt=text) for text in ("a\r\nb", "a\nb", "a\r\nb", "a\nb")]),
        JSONL,
        [row(prompt=text) for text in ("a\r\nb", "a\nb", "a\r\nb", "a\nb")],
    ),
}


@pytest.mark.parametrize("kind", OLD)
def test_a_file_that_was_paid_for_under_the_older_rule_is_the_same_jobs(kind: str) -> None:
    data, key, requests = OLD[kind]
    paid = older_ids(requests)
    assert ids(data, key, known=paid) == paid


def test_an_ordinary_row_has_the_id_that_it_always_had() -> None:
    requests = [
        row(prompt="A boat, gr\u00fcn", params={"fps": 24, "duration_seconds": 5}, metadata={"sku": "1"}),
        row(),
    ]
    assert ids(lines(*requests)) == older_ids(requests)


@pytest.mark.parametrize("paid", [row(prompt="a\r\nb"), row(prompt="a\nb")])
def test_a_row_that_was_paid_for_in_other_line_ends_is_not_paid_again(paid: dict[str, Any]) -> None:
    (job_id,) = older_ids([paid])
    for text in ("a\nb", "a\r\nb", "a\rb", " a\nb"):
        assert ids(lines(row(prompt=text)), known=[job_id]) == [job_id]


def test_a_row_paid_in_the_other_normal_form_is_not_paid_again() -> None:
    (job_id,) = older_ids([row(prompt="u\u0308")])
    assert ids(lines(row(prompt="\u00fc")), known=[job_id]) == [job_id]
    (job_id,) = older_ids([row()], "fru\u0308hling")
    assert ids(lines(row()), "batches/fr\u00fchling.jsonl", known=[job_id]) == [job_id]


def test_one_more_equal_row_beside_an_older_one_is_one_more_job() -> None:
    (older,) = older_ids([row(prompt="a\r\nb")])
    first = ids(lines(row(prompt="a\r\nb"), row(prompt="a\nb")), known=[older])
    assert first[0] == older
    assert first[1] != older
    # Any of them may exist by then, in any order.
    for known in ([older], first):
        again = ids(lines(row(prompt="a\nb"), row(prompt="a\r\nb")), known=known)
        assert sorted(again) == sorted(first)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["a\nb", "a\r\nb", "a\rb", "x"]), min_size=1, max_size=6), st.data())
def test_jobs_differ_and_are_the_same_at_the_next_upload(texts: list[str], data: st.DataObject) -> None:
    every = older_ids([row(prompt=text) for text in [*texts, *texts]])
    paid = data.draw(st.sets(st.sampled_from(every)))
    file = lines(*[row(prompt=text) for text in texts])
    first = ids(file, known=paid)
    assert len(set(first)) == len(texts)
    again = ids(file, known=paid | set(first))
    assert set(again) == set(first)
    assert again == first or paid, "without older jobs, each row keeps its own"
    again = ids(lines(*[row(prompt=text) for text in reversed(texts)]), known=paid | set(first))
    assert set(again) <= paid | set(first), "nothing is paid for again in another order"
