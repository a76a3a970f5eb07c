"""Test batch files: each row is a request or a named error with field and reason, and a moved row is the same job."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import strict_json
from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.genviral.models import GenerateRequest, Params
from shared.genviral.redaction import one_line
from shared.jobs import identity
from shared.jobs.errors import BatchTooLarge, BatchUnreadable
from shared.requests import batches, csv_cells
from shared.requests.resolve import MAX_DOCUMENT_BYTES, parse_request

if TYPE_CHECKING:
    from shared.requests.batches import Row

BUCKET, KEY = "example-uploads", "batches/spring.csv"
MODEL = "bytedance/seedance-2.0"


def csv_of(*rows: dict[str, str]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def lines_of(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def ids(data: bytes, key: str = KEY, bucket: str = BUCKET) -> list[str]:
    return [job["job_id"] for job in batches.plan(batches.read(data, key), bucket, key).jobs]


def issues(row: Row) -> list[tuple[str, str]]:
    assert row.fault is not None
    return [(issue["path"], issue["message"]) for issue in row.fault.issues]


# ---- what a file says -------------------------------------------------------------------------------------


def test_cells_become_what_their_fields_are() -> None:
    (row,) = batches.read(
        csv_of(
            {
                "model_id": f" {MODEL} ",
                "prompt": 'Two boats,\n"red" and blue',
                "reference_image_urls": "https://example.com/a.png\nhttps://example.com/b.png  https://example.com/c.png",
                "params.duration_seconds": "5",
                "params.fps": "23.976",
                "params.generate_audio": "TRUE",
                "params.aspect_ratio": "9:16",
                "params.resolution": "",
                "raw_params": '{"seed": 7}',
                "metadata.sku": "007",
                "metadata.a.b": "x",
            }
        ),
        KEY,
    )
    assert row.fault is None
    assert row.request == {
        "model_id": MODEL,
        "prompt": 'Two boats,\n"red" and blue',
        "reference_image_urls": [f"https://example.com/{name}.png" for name in "abc"],
        "params": {"duration_seconds": 5, "fps": 23.976, "generate_audio": True, "aspect_ratio": "9:16"},
        "raw_params": {"seed": 7},
        "metadata": {"sku": "007", "a.b": "x"},
    }


def test_every_field_of_the_request_has_its_column() -> None:
    fields = {*GenerateRequest.model_fields} - {"params"} | {f"params.{name}" for name in Params.model_fields}
    assert set(csv_cells.CONVERTERS) == fields


@pytest.mark.parametrize(
    ("cells", "path"),
    [
        ({"params.duration_seconds": "five"}, "params.duration_seconds"),
        ({"params.duration_seconds": "-1"}, "params.duration_seconds"),
        ({"params.fps": "1e400"}, "params.fps"),
        ({"params.generate_audio": "yes"}, "params.generate_audio"),
        ({"raw_params": "{"}, "raw_params"),
        ({"raw_params": "[1]"}, "raw_params"),
        ({"image_url": "shoe.jpg"}, "image_url"),
        ({"reference_image_urls": "https://example.com/a.png shoe.jpg"}, "reference_image_urls.1"),
        ({"reference_audio_urls": "https://example.com/a.mp3"}, "reference_audio_urls"),
        ({"metadata.note": "x" * 3000}, "metadata"),
    ],
)
def test_a_wrong_cell_is_named_by_its_column(cells: dict[str, str], path: str) -> None:
    good, bad = batches.read(csv_of({"model_id": MODEL}, {"model_id": MODEL, **cells}), KEY)
    assert good.fault is None
    assert isinstance(bad.fault, InvalidPayload)
    assert [named for named, _ in issues(bad)] == [path]


def test_a_row_is_named_by_the_line_where_it_begins() -> None:
    data = f'model_id,prompt\n{MODEL},"one\ntwo"\n\n,,\n{MODEL},three\n{MODEL},four,five\n'.encode()
    first, second, third = batches.read(data, KEY)
    assert (first.line, second.line, third.line) == (2, 6, 7)
    assert issues(third) == [("", "cell 3 is beyond the columns that the first line names")]
    rows = batches.read(lines_of({"model_id": MODEL}, "", "  ", {"model_id": MODEL}), "batches/a.jsonl")
    assert [row.line for row in rows] == [1, 4]


def test_empty_cells_and_columns_are_not_there() -> None:
    data = f"model_id,prompt,,params.fps,\n{MODEL},,,,\n".encode()
    (row,) = batches.read(data, KEY)
    assert row.request == {"model_id": MODEL}


def test_a_byte_order_mark_and_any_line_ending_are_taken() -> None:
    data = csv_of({"model_id": MODEL, "prompt": "Ein Boot, grün"})
    mark = b"\xef\xbb\xbf"
    ends = (data.replace(b"\r\n", b"\n"), data.replace(b"\r\n", b"\r"))
    marks = (mark + data, mark + mark + data, b"sep=,\r\n" + mark + data, mark + b"sep=,\n" + mark + data)
    for variant in (data, *marks, *ends):
        assert [row.request for row in batches.read(variant, KEY)] == [{"model_id": MODEL, "prompt": "Ein Boot, grün"}]
    lines = lines_of({"model_id": MODEL, "prompt": "a\u2028b"}, {"model_id": MODEL})
    for variant in (lines, mark + lines, mark + mark + lines, lines.replace(b"\n", b"\r\n")):
        assert [row.fault for row in batches.read(variant, "batches/A.JSONL")] == [None, None]


@pytest.mark.parametrize("line", ["{", "NaN", '{"a": Infinity}', "[" * 100_000, "9" * 5000])
def test_a_line_that_is_not_json_is_refused_alone(line: str) -> None:
    bad, good = batches.read(lines_of(line, {"model_id": MODEL}), "batches/a.jsonl")
    assert isinstance(bad.fault, InvalidJson)
    assert good.fault is None


@pytest.mark.parametrize("line", ['"text"', "7", "null", "[]", "{}", '{"model_id": "m", "prompt": "\\ud800"}'])
def test_a_line_that_is_no_request_is_refused_alone(line: str) -> None:
    bad, good = batches.read(lines_of(line, {"model_id": MODEL}), "batches/a.jsonl")
    assert isinstance(bad.fault, InvalidPayload)
    assert issues(bad)
    assert good.fault is None


def test_a_row_may_be_as_large_as_a_request() -> None:
    (row,) = batches.read(lines_of({"model_id": MODEL, "x": "y" * MAX_DOCUMENT_BYTES}), "batches/a.jsonl")
    assert issues(row) == [("", f"must have at most {MAX_DOCUMENT_BYTES} bytes")]


@pytest.mark.parametrize(
    ("data", "key", "said"),
    [
        (b"", KEY, "names no columns"),
        (b"\n\n", KEY, "names no columns"),
        (b"model_id\n", KEY, "has no rows"),
        (b"", "batches/a.jsonl", "has no rows"),
        (b"model_id\n\xff\n", KEY, "line 2 has a character of another encoding"),
        ("model_id".encode("utf-16"), KEY, "not UTF-8"),
        (
            b'model_id,prompt\nm,"open\n',
            KEY,
            "not CSV: line 2, character 3: the quote that begins a cell is never closed",
        ),
        (b"model_id;prompt,params.fps\nm;a,1\n", KEY, "separated by commas (or all by semicolons, or all by tabs)"),
        (b'model_id, "prompt"\nm,a\n', KEY, "first line of names cannot be read: has a blank before a cell's quote"),
        (b"model_id,model_id\nm,m\n", KEY, "is named twice"),
        ("model_id,metadata.\u00e9,metadata.e\u0301\nm,a,b\n".encode(), KEY, "is named twice"),
        (("model_id,metadata.e" + "\u0301" * 31 + "\nm,a\n").encode(), KEY, "is not a column"),
        (b"model_id,metadata.\nm,m\n", KEY, "is not a column"),
        (b"model_id,params\nm,m\n", KEY, "is not a column"),
        (b"{}", "batches/a.txt", "must end in .csv or .jsonl"),
        (b"{}", "batches/a.jsonl/b", "must end in .csv or .jsonl"),
    ],
)
def test_a_file_of_which_no_row_can_be_made_out_is_refused(data: bytes, key: str, said: str) -> None:
    with pytest.raises(BatchUnreadable) as refused:
        batches.read(data, key)
    assert said in refused.value.message


def test_all_unknown_columns_are_named_at_once() -> None:
    with pytest.raises(BatchUnreadable) as refused:
        batches.read(b"model_id,promt,params.lenght\nm,a,b\n", KEY)
    assert [issue["path"] for issue in refused.value.issues] == ["promt", "params.lenght"]


def test_a_file_without_a_line_of_names_shows_none_of_its_first_row() -> None:
    with pytest.raises(BatchUnreadable) as refused:
        batches.read(b"bytedance/seedance-2.0,A secret prompt,https://example.com/s/key\n", KEY)
    text = json.dumps(refused.value.document())
    assert [issue["path"] for issue in refused.value.issues] == ["column 1", "column 2", "column 3"]
    assert "secret" not in text
    assert "example.com" not in text


def test_one_large_cell_refuses_one_row() -> None:
    first, second = batches.read(f"model_id,prompt\n{MODEL},{'x' * 140_000}\n{MODEL},short\n".encode(), KEY)
    assert first.fault is not None
    assert second.fault is None


def test_the_same_rows_in_the_other_form_are_the_same_jobs() -> None:
    csv = batches.read(f"model_id,prompt\n{MODEL},A boat\n".encode(), "batches/spring.csv")
    lines = batches.read(json.dumps({"model_id": MODEL, "prompt": "A boat"}).encode(), "batches/spring.jsonl")
    first = batches.plan(csv, "b", "batches/spring.csv").jobs
    assert first[0]["job_id"] == batches.plan(lines, "b", "batches/spring.jsonl").jobs[0]["job_id"]


def test_a_batch_has_its_limits() -> None:
    line = json.dumps({"model_id": MODEL}).encode()
    assert len(batches.read(b"\n".join([line] * batches.MAX_ROWS), "batches/a.jsonl")) == batches.MAX_ROWS
    for data in (b"\n".join([line] * (batches.MAX_ROWS + 1)), b" " * (batches.MAX_BYTES + 1)):
        with pytest.raises(BatchTooLarge):
            batches.read(data, "batches/a.jsonl")


@pytest.mark.parametrize("name", ["a", "a.check"])
def test_a_batch_of_too_many_values_is_rejected_by_check_and_run(name: str) -> None:
    prompt = ', "[{' * 4_000
    dense = {"model_id": MODEL, "prompt": prompt, "raw_params": {"a\\": [0, '"', []] * 4_000}}
    cells = {"model_id": MODEL, "prompt": prompt, "raw_params": json.dumps(dense["raw_params"])}
    for suffix, few, many in (
        ("jsonl", lines_of(*[dense] * 16), lines_of(*[dense] * 17)),
        ("csv", csv_of(*[cells] * 16), csv_of(*[cells] * 17)),
    ):
        assert [row.fault for row in batches.read(few, f"batches/{name}.{suffix}")] == [None] * 16
        with pytest.raises(BatchTooLarge, match="200,000 values"):
            batches.read(many, f"batches/{name}.{suffix}")


def values_in(document: Any) -> int:
    members = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + sum(map(values_in, members))


@given(
    st.recursive(
        st.none() | st.integers() | st.text('a"\\[]{},:'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text('a"\\[]{},:'), inner),
    )
)
def test_values_are_counted_without_a_parser(document: Any) -> None:
    assert strict_json.count(json.dumps(document)) == values_in(document)


@pytest.mark.parametrize(
    ("key", "checks", "about", "name"),
    [
        ("batches/a.csv", False, "batches/a.csv", "a"),
        ("batches/a.check.csv", True, "batches/a.csv", "a"),
        ("batches/2026/a.b.check.JSONL", True, "batches/2026/a.b.JSONL", "2026/a.b"),
        ("batches/check.csv", False, "batches/check.csv", "check"),
        ("batches/x.y/none", False, "batches/x.y/none", "x.y/none"),
    ],
)
def test_a_key_says_whether_to_check_and_what(key: str, checks: bool, about: str, name: str) -> None:
    assert (batches.is_check(key), batches.checked_key(key), batches.name_of(key)) == (checks, about, name)


# ---- cells that can be read in two ways, or mean nothing ---------------------------------------------------

A_LINK, B_LINK = "https://example.com/front.jpg?w=800", "https://example.com/back.jpg?w=800"
TWO_LINKS = {
    "blanks": f"{A_LINK}  {B_LINK}",
    "line breaks": f"{A_LINK}\r\n{B_LINK}\n",
    "commas": f"{A_LINK},{B_LINK}",
    "commas and blanks": f"{A_LINK}, {B_LINK},",
    "semicolons": f"{A_LINK};{B_LINK}",
    "bars": f"{A_LINK} | {B_LINK}",
    "two signs": f"{A_LINK},;{B_LINK}",
}
ONE_LINK = {
    "a folder's name": "https://example.com/w_300,h_200,ar_1.5/a.jpg",
    "encoded": "https://example.com/a%2Cb.jpg?rect=0%2C0%2C10%2C10",
    "another link in its path": "https://example.com/fetch/https://example.com/a.jpg",
    "another link behind a folder with options": "https://example.com/w_300,ar_1.5/https://example.com/a.jpg",
    "another link in its query": "https://example.com/fetch?w=8&url=https://example.com/a.jpg",
    "another link as its query": "https://example.com/fetch?https://example.com/a.jpg",
}
AMBIGUOUS = {
    "a comma in a query": "https://example.com/a.jpg?w=800,600",
    "a semicolon in a query": "https://example.com/a.jpg?w=800;h=600",
    "a bar in a query": "https://example.com/a.jpg?w=800|600",
    "a comma in a fragment": "https://example.com/a.jpg#x=0,y=1",
    "a comma in a file's name": "https://example.com/a,b.jpg",
    "a link without its beginning": "https://example.com/a.jpg,b.jpg",
    "a host without its beginning": "https://example.com/a.jpg,www.example.com/b.jpg",
    "another scheme": "https://example.com/a,s3://bucket/b.jpg",
    "in the second of two": f"{A_LINK},https://example.com/b.jpg?w=1,2",
    "a host without its beginning behind a folder": "https://example.com/photos,www.example.com/b.jpg",
    "a bare host behind a folder": "https://example.com/photos;example.org/b.jpg",
    "a scheme without its colon": "https://example.com/photos,http//example.com/b.jpg",
    "an ideographic comma and no beginning": "https://example.com/a.jpg\u3001www.example.com/b.jpg",
    "a full-width comma and no beginning": "https://example.com/a.jpg\uff0cwww.example.com/b.jpg",
}
# `+` and similar characters may occur in a link, so neither form treats them as a separator.
TORN = {
    "nothing between": "https://example.com/a.jpghttps://example.com/b.jpg",
    "nothing between queries": f"{A_LINK}{B_LINK}",
    "an ideographic comma": "https://example.com/a.jpg\u3001https://example.com/b.jpg",
    "a full-width comma": "https://example.com/a.jpg\uff0chttps://example.com/b.jpg",
    "a full-width semicolon": "https://example.com/a\uff1bHTTPS://example.com/b",
    "a line break that is spelled out": "https://example.com/a.jpg\\nhttps://example.com/b.jpg",
    "a plus": "https://example.com/a.jpg+https://example.com/b.jpg",
    "an ampersand": "https://example.com/a.jpg&https://example.com/b.jpg",
    "an ampersand behind a query": f"{A_LINK}&{B_LINK}",
    "a scheme without its colon": "https://example.com/a.jpg+https//example.com/b.jpg",
    "a scheme with one slash": "https://example.com/a.jpg+https:/example.com/b.jpg",
    "a backslash that is left of a separator": "https://example.com/a.jpg\\",
}


@pytest.mark.parametrize("kind", TWO_LINKS)
def test_links_in_one_cell_are_split_by_what_stands_between_them(kind: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "reference_image_urls": TWO_LINKS[kind]}), KEY)
    assert row.request == {"model_id": MODEL, "reference_image_urls": [A_LINK, B_LINK]}


@pytest.mark.parametrize("kind", ONE_LINK)
def test_a_sign_that_can_only_belong_to_a_link_stays_in_it(kind: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "reference_image_urls": ONE_LINK[kind]}), KEY)
    assert row.request == {"model_id": MODEL, "reference_image_urls": [ONE_LINK[kind]]}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_links_that_can_be_parted_in_two_ways_are_refused(kind: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "reference_image_urls": AMBIGUOUS[kind]}), KEY)
    ((path, message),) = issues(row)
    assert path == "reference_image_urls"
    assert "%2C" in message


@pytest.mark.parametrize("kind", [*TORN, "commas"])
def test_two_links_that_are_written_as_one_are_refused_in_either_form(kind: str) -> None:
    link = TORN.get(kind, "https://example.com/a.jpg,https://example.com/b.jpg")
    requests: dict[str, dict[str, Any]] = {
        "reference_image_urls.1": {"reference_image_urls": [A_LINK, link]},
        "image_url": {"image_url": link},
    }
    for path, request in requests.items():
        (row,) = batches.read(lines_of({"model_id": MODEL, **request}), "batches/a.jsonl")
        assert [named for named, _ in issues(row)] == [path]
    for name in ("image_url", *(("reference_image_urls",) if kind in TORN else ())):
        (row,) = batches.read(csv_of({"model_id": MODEL, name: link}), KEY)
        assert [named.split(".")[0] for named, _ in issues(row)] == [name]


@pytest.mark.parametrize("kind", ONE_LINK)
def test_a_link_within_a_link_is_one_in_json_too(kind: str) -> None:
    request = {"model_id": MODEL, "image_url": ONE_LINK[kind], "reference_image_urls": [ONE_LINK[kind]]}
    (row,) = batches.read(lines_of(request), "batches/a.jsonl")
    assert row.request == request


@pytest.mark.parametrize("cell", [TWO_LINKS["commas"], TWO_LINKS["semicolons"], TWO_LINKS["bars"], f"{A_LINK},"])
def test_a_column_for_one_link_takes_no_two(cell: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "image_url": cell}), KEY)
    assert issues(row) == [("image_url", "must be one link with nothing behind it: this column takes no list")]


ERRORS = ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#GETTING_DATA"]
ERRORS += [
    "#NV",
    "#BEZUG!",
    "#WERT!",
    "#NOM?",
    "#N/D",
    "#\u0421\u0421\u042b\u041b\u041a\u0410!",
    "Err:502",
    "#ERROR!",
    " #n/a ",
    "####",
    "#ref!",
    "#Name?",
    "#DIV/0",
    "#VALUE",
    "#NULL",
    "#N/A N/A",
    "#N/A Requesting Data...",
    "#PUUTTUU",
    "#PUUTTUU!",
    "#NEDOSTUPN\u00dd",
    "#NEDOSTUPNY\u0301",
    "#SAYI/0!",
    "#\u00a1REF!",
    "err:502",
    "\uff03N/A",
    "\uff03\uff2e\uff0f\uff21",
    "'#N/A",
    "\u200b#N/A",
    "#N\u2060/A\ufeff",
    "=#REF!",
    "#REF!+1",
    "=Sheet1!#REF!",
    "=IF(#N/A,1)",
    "=1+#BEZUG!*2",
    "Loading...",
    "Loading\u2026",
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_spreadsheets_error_is_no_value_in_either_form(error: str) -> None:
    for name in ("prompt", "params.resolution", "metadata.sku", "model_id"):
        (row,) = batches.read(csv_of({"model_id": MODEL, name: error}), KEY)
        assert issues(row) == [(name, "is a spreadsheet's error, not a value")]
    for request, path in (
        ({"prompt": error}, "prompt"),
        ({"metadata": {"sku": error}}, "metadata.sku"),
        ({"metadata": {"a": {"b": error}}}, "metadata.a.b"),
        ({"raw_params": {"a": ["b", {"c": error}]}}, "raw_params.a.1.c"),
    ):
        (row,) = batches.read(lines_of({"model_id": MODEL, **request}), "batches/a.jsonl")
        assert issues(row) == [(path, "is a spreadsheet's error, not a value")]


@pytest.mark.parametrize("time", ["9:16:00", "09:16:00", "09:16", "16:09", "1:01", "9:16 AM", "9:16:00 pm", " 04:03 "])
def test_a_time_that_a_spreadsheet_made_of_an_aspect_ratio_is_refused(time: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "params.aspect_ratio": time}), KEY)
    ((path, message),) = issues(row)
    assert path == "params.aspect_ratio"
    assert "time of day" in message


DATES = [
    "16-Sep",
    "Sep-16",
    "16. Sep",
    "16-sept.",
    "16-Sep-24",
    "9-Mär",
    "2024-09-16",
    "16.09.2024",
    "9/16/24",
    "45551",
]


@pytest.mark.parametrize("date", [*DATES, "45551.386", "0.386111", "0,386111111", ".386"])
def test_an_aspect_ratio_that_a_spreadsheet_made_a_date_is_refused(date: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "params.aspect_ratio": date}), KEY)
    ((path, message),) = issues(row)
    assert path == "params.aspect_ratio"
    assert "a date" in message


RATIOS = ["9:16", "16:9", "1:1", "21:9", "2.39:1", "1:2.35", "adaptive", "10:16", "1.85:1"]


@pytest.mark.parametrize(
    "ratio", [*RATIOS, "1.85", "0.56", "16x9", "9/16", "1280x720", "landscape", "match_input_image"]
)
def test_an_aspect_ratio_is_taken_as_it_is(ratio: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "params.aspect_ratio": f" {ratio} "}), KEY)
    assert row.request == {"model_id": MODEL, "params": {"aspect_ratio": ratio}}


@pytest.mark.parametrize(
    "text",
    [
        "#1 boat",
        "a #N/A boat",
        "#boat",
        "#",
        "C#!",
        "#wow!",
        "Error: 502",
        "#ref the boat",
        "ref!",
        "'tis",
        "Loading... a truck",
        "loading",
        "1=#1",
        "#REF! it says",
    ],
)
def test_a_text_that_resembles_an_error_is_a_text(text: str) -> None:
    (row,) = batches.read(csv_of({"model_id": MODEL, "prompt": text}), KEY)
    assert row.request == {"model_id": MODEL, "prompt": text}


DAMAGED = {
    "a character that was lost": "gr\ufffdn",
    "NUL": "a\0b",
    "a backspace": "a\bb",
    "a form feed": "a\fb",
    "DEL": "a\x7fb",
    "quotes of Windows-1252 that were read as Latin-1": "a \x93boat\x94",
    "a line end of a mainframe": "a\x85b",
    "ISO-2022-JP": "\x1b$B%\\!<%H\x1b(B",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_text_is_refused_wherever_it_stands(kind: str) -> None:
    text = DAMAGED[kind]
    for name in ("prompt", "metadata.sku"):
        # Far behind the beginning, from which the encoding is detected.
        *good, row = batches.read(csv_of(*[{"model_id": MODEL}] * 9, {"model_id": MODEL, name: text}), KEY)
        assert [one.fault for one in good] == [None] * 9
        assert [path for path, _ in issues(row)] == [name]
    for path, request in (
        ("prompt", {"prompt": text}),
        ("raw_params.a.1", {"raw_params": {"a": ["b", text]}}),
        ("metadata.a.b", {"metadata": {"a": {"b": text}}}),
    ):
        (row,) = batches.read(lines_of({"model_id": MODEL, **request}), "batches/a.jsonl")
        assert [named for named, _ in issues(row)] == [path]
    (row,) = batches.read(lines_of({"model_id": MODEL, "metadata": {text: "a"}}), "batches/a.jsonl")
    assert "control character" in issues(row)[0][1]


MARKS = {
    "one mark again and again": ("a" + "\u0301" * 31, True),
    "marks out of order": ("a" + "\u0301\u0323" * 16, True),
    "marks that are made of marks": ("\u0f40" + "\u0f73" * 16, True),
    "as many as a text may have": (("a" + "\u0301" * 30) * 5, False),
    "a script with many marks": ("\u0928\u093f\u0919\u094d\u0995\u0941" * 50, False),
}


@pytest.mark.parametrize("kind", MARKS)
def test_a_text_with_endless_marks_is_refused_before_normalization(kind: str) -> None:
    text, is_refused = MARKS[kind]
    for path, request in (
        ("prompt", {"prompt": text}),
        ("raw_params.a.1", {"raw_params": {"a": ["b", text]}}),
        ("metadata.a", {"metadata": {"a": text}}),
    ):
        (row,) = batches.read(lines_of({"model_id": MODEL, **request}), "batches/a.jsonl")
        assert (row.fault is not None) is is_refused
        assert not is_refused or issues(row) == [(path, "has more than 30 marks on one character")]
    (row,) = batches.read(csv_of({"model_id": MODEL, "prompt": text}), KEY)
    assert (row.fault is not None) is is_refused


def test_a_cell_that_could_be_split_in_two_ways_is_named_by_its_column() -> None:
    data = f'model_id, prompt, negative_prompt\n{MODEL}, "A red boat, on a lake"\n{MODEL},a 5" boat,\n{MODEL},good,\n'
    first, second, third = batches.read(data.encode(), KEY)
    ((path, message),) = issues(first)
    assert (first.line, path) == (2, "prompt")
    assert "line 2, character 25" in message
    assert (second.line, issues(second)[0][0]) == (3, "prompt")
    assert third.request == {"model_id": MODEL, "prompt": "good"}


# ---- what a file is instead ---------------------------------------------------------------------------------

ROW = f"model_id,prompt\n{MODEL},grün\n"
OTHERWISE = {
    "gzip": (gzip.compress(ROW.encode()), "compressed (gzip)"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed (zstd)"),
    "a workbook": (b"PK\x03\x04" + bytes(20), "workbook"),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(20), "workbook"),
    "UTF-16": (ROW.encode("utf-16"), "UTF-16"),
    "UTF-16, the other order": (b"\xfe\xff" + ROW.encode("utf-16-be"), "UTF-16"),
    "UTF-16 without a mark": (ROW.encode("utf-16-le"), "UTF-16"),
    "UTF-32": (ROW.encode("utf-32"), "UTF-32"),
    "Windows-1252": (ROW.encode("cp1252"), "line 2 has a character of another encoding, such as Windows-1252"),
    "Windows-1252, CR": ("model_id\ra\rb\rgrün\r".encode("cp1252"), "line 4 has a character of another"),
    "Windows-1252, CRLF": (
        "model_id\r\na\r\nb\r\ngrün\r\n".encode("cp1252"),
        "line 4 has a character of another",
    ),
}


@pytest.mark.parametrize("kind", OTHERWISE)
def test_what_is_no_utf_8_is_named(kind: str) -> None:
    data, said = OTHERWISE[kind]
    for key in (KEY, "batches/a.jsonl"):
        with pytest.raises(BatchUnreadable) as refused:
            batches.read(data, key)
        assert said in refused.value.message


def test_a_content_encoding_is_named_where_the_content_is_no_text() -> None:
    with pytest.raises(BatchUnreadable, match="compressed, as its Content-Encoding says"):
        batches.read(b"\x8b\x03\x80\xff", KEY, content_encoding="br")
    assert batches.read(ROW.encode(), KEY, content_encoding="aws-chunked")[0].request


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[\n{"model_id": "m"},\n{"model_id": "m"}\n]', "one JSON array"),
        ('[{"model_id": "m"}]', "one JSON array"),
        ('\n{\n"model_id": "m"\n}\n', "one JSON object over several lines"),
    ],
)
def test_json_that_is_not_in_lines_is_named(text: str, said: str) -> None:
    with pytest.raises(BatchUnreadable, match=said):
        batches.read(text.encode(), "batches/a.jsonl")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_json_are_counted_alike(end: str) -> None:
    row = json.dumps({"model_id": MODEL})
    assert [one.line for one in batches.read(end.join([row, "", " ", row, "{", row]).encode(), "batches/a.jsonl")] == [
        1,
        4,
        5,
        6,
    ]


@pytest.mark.parametrize(
    "line",
    ['{"model_id": "m", "prompt": "a", "prompt": "b"}', '{"model_id": "m", "raw_params": {"prompt": 1, "prompt": 1}}'],
)
def test_a_key_that_stands_twice_is_refused_by_name(line: str) -> None:
    bad, good = batches.read(lines_of(line, {"model_id": MODEL}), "batches/a.jsonl")
    assert issues(bad) == [("prompt", "stands twice in one object")]
    assert good.fault is None
    (row,) = batches.read(csv_of({"model_id": MODEL, "raw_params": '{"a": 1, "a": 2}'}), KEY)
    assert issues(row) == [("raw_params", "names 'a' twice in one object")]


def test_a_key_in_two_spellings_in_one_object_is_refused_by_name() -> None:
    """The row's identity would hold only one of the values, and a change of the other would be no new job."""
    for name, twin in (("\u00e9", "e\u0301"), ("a\nb", "a\r\nb"), ("a\nb", "a\rb"), ("\u00e9\n", "e\u0301\r")):
        for raw in ({name: 1, twin: 2}, {twin: 1, name: 2}, {"a": [{name: 1, twin: 2}]}):
            (row,) = batches.read(lines_of({"model_id": MODEL, "raw_params": raw}), "batches/a.jsonl")
            (cell,) = batches.read(csv_of({"model_id": MODEL, "raw_params": json.dumps(raw)}), KEY)
            assert issues(row) == issues(cell) == [(one_line(name), "stands twice in one object")]
        (row,) = batches.read(lines_of({"model_id": MODEL, "raw_params": {"a": {name: 1}, twin: 2}}), "batches/a.jsonl")
        assert row.fault is None
    for request in (
        {"raw_params": {"\u00e9": 1, "e\u0301": 2}},
        {"raw_params": {"a": [{"\u00e9": 1, "e\u0301": 2}]}},
        {"metadata": {"\u00e9": 1, "e\u0301": 2}},
    ):
        (row,) = batches.read(lines_of({"model_id": MODEL, **request}), "batches/a.jsonl")
        assert issues(row) == [("\u00e9", "stands twice in one object")]
    (row,) = batches.read(
        lines_of({"model_id": MODEL, "raw_params": {"a": {"\u00e9": 1}, "e\u0301": 2}}), "batches/a.jsonl"
    )
    assert row.fault is None


@pytest.mark.parametrize("nothing", [None, "", " ", [], {}])
def test_a_field_that_is_null_or_empty_is_not_given(nothing: object) -> None:
    optional = [name for name in GenerateRequest.model_fields if name not in ("model_id", "params")]
    request = {"model_id": MODEL, **dict.fromkeys([*optional, "metadata"], nothing)}
    for params in (nothing, dict.fromkeys(Params.model_fields, nothing)):
        (row,) = batches.read(lines_of({**request, "params": params}), "batches/a.jsonl")
        assert row.request == {"model_id": MODEL}
    unknown, missing = batches.read(
        lines_of({"model_id": MODEL, "x": nothing}, {"model_id": nothing}), "batches/a.jsonl"
    )
    assert issues(unknown) == [("x", "is not a known field")], "nothing is ignored"
    assert issues(missing) == [("model_id", "is required")]


def test_a_row_of_ten_thousand_unknown_fields_is_refused_as_such() -> None:
    (row,) = batches.read(lines_of({"model_id": MODEL, **dict.fromkeys(map(str, range(10_000)), 1)}), "batches/a.jsonl")
    assert issues(row) == [("", "has 10,001 fields, more than a request can have")]


# ---- which job a row is -----------------------------------------------------------------------------------

A, B, C = ({"model_id": MODEL, "prompt": prompt} for prompt in "ABC")


def test_the_same_file_is_the_same_jobs_and_a_check_speaks_of_them() -> None:
    assert ids(csv_of(A, B)) == ids(csv_of(A, B)) == ids(csv_of(A, B), "batches/spring.check.csv")
    for other in (ids(csv_of(A, B), "batches/autumn.csv"), ids(csv_of(A, B), bucket="another")):
        assert not set(other) & set(ids(csv_of(A, B)))


def test_a_row_that_moves_stays_the_same_job() -> None:
    before = ids(csv_of(A, B))
    assert ids(csv_of(C, A, B))[1:] == before
    assert ids(csv_of(B, A)) == before[::-1]


def test_how_a_row_is_written_does_not_matter() -> None:
    plain = ids(lines_of({"model_id": MODEL, "params": {"fps": 24}}), "batches/a.jsonl")
    other = '{ "params": {"resolution": null, "fps": 24}, "model_id": "' + MODEL + '", "prompt": null }'
    assert ids(lines_of(other), "batches/a.jsonl") == plain


def test_the_same_row_twice_is_two_jobs_and_one_more_is_one_more() -> None:
    two = ids(csv_of(A, B, A))
    assert len(set(two)) == 3
    assert ids(csv_of(A, A, B, A))[:1] == two[:1]
    assert len(set(ids(csv_of(A, A, B, A))) - set(two)) == 1


def test_an_id_can_be_an_executions_name() -> None:
    assert all(identity.is_job_id(job_id) for job_id in ids(csv_of(A, B)))


def test_a_plan_says_where_each_body_lies() -> None:
    plan = batches.plan(batches.read(csv_of(A, {"prompt": "no model"}, {**B, "metadata.sku": "ü"}), KEY), BUCKET, KEY)
    for job, wanted in zip(plan.jobs, (A, {**B, "metadata": {"sku": "ü"}}), strict=True):
        source = job["source"]
        assert batches.source_in(job) == source
        assert json.loads(plan.requests[source["offset"] : source["offset"] + source["length"]]) == wanted
        assert source["plan"] == plan.key
    assert [(row["line"], row["error"]["issues"][0]["path"]) for row in plan.refused] == [(3, "model_id")]
    assert "prompt" not in json.dumps(plan.jobs)


@pytest.mark.parametrize(
    "given",
    [None, [], {}, {"source": None}, {"source": {"type": "batch"}}, {"source": {"type": "upload", "key": "k"}}]
    + [
        {"source": {"type": "batch", "bucket": "b", "key": "k", "line": 1, "plan": "p", "offset": 0, "length": bad}}
        for bad in (True, "7", None, 1.5)
    ],
)
def test_what_is_no_row_is_not_taken_for_one(given: object) -> None:
    assert batches.source_in(given) is None


# ---- anything at all --------------------------------------------------------------------------------------

TEXT = st.text(max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from([*GenerateRequest.model_fields, "metadata", "extra"]) | TEXT
NEAR_JSON = st.dictionaries(FIELD, JSON | st.just(MODEL), max_size=6).map(lambda body: {"model_id": MODEL, **body})
COLUMN = st.sampled_from([*csv_cells.CONVERTERS, "metadata.sku", "metadata.", "", "promt"]) | TEXT
CELL = TEXT | st.sampled_from(["5", "1.5", "true", "https://example.com/a.png", "{}", '{"a": NaN}', " ", "\x00"])
NAMES = TEXT.map(lambda name: f"batches/{name}") | TEXT


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    columns = draw(st.lists(COLUMN, min_size=1, max_size=6))
    rows = draw(st.lists(st.lists(CELL, max_size=7), max_size=5))
    text = io.StringIO()
    csv.writer(text, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))).writerows([columns, *rows])
    return text.getvalue().encode("utf-8", "surrogatepass")


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    rows = draw(st.lists(NEAR_JSON | JSON | TEXT, max_size=5))
    texts = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows]
    return draw(st.sampled_from(["\n", "\r\n"])).join(texts).encode("utf-8", "surrogatepass")


FILES = st.tuples(tables(), NAMES.map(lambda name: f"{name}.csv")) | st.tuples(
    json_lines(), NAMES.map(lambda name: f"{name}.jsonl")
)
ANYTHING = st.tuples(st.binary(max_size=200), NAMES | NAMES.map(lambda name: f"{name}.csv"))


@settings(max_examples=1000, deadline=None)
@given(FILES | ANYTHING)
def test_every_file_is_accepted_or_refused_with_a_name(file: tuple[bytes, str]) -> None:
    data, key = file
    try:
        rows = batches.read(data, key)
    except (BatchUnreadable, BatchTooLarge):
        return
    plan = batches.plan(rows, BUCKET, key)
    # Every row is accounted for, once.
    assert sorted([job["source"]["line"] for job in plan.jobs] + [row["line"] for row in plan.refused]) == [
        row.line for row in rows
    ]
    assert len({job["job_id"] for job in plan.jobs}) == len(plan.jobs)
    for refused in plan.refused:
        assert refused["error"]["error"] in ("InvalidPayload", "InvalidJson")
        assert refused["error"]["message"]
    for job in plan.jobs:
        source = batches.source_in(json.loads(json.dumps(job)))
        assert source is not None
        # Submit reads what was checked, and checks it in the same way.
        body = json.loads(plan.requests[source["offset"] : source["offset"] + source["length"]])
        request, metadata = parse_request(body)
        assert request | ({"metadata": metadata} if metadata else {}) == body
        assert body["model_id"] == job["model_id"]
