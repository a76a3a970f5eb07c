"""Test CSV files of people and spreadsheets: read as meant, or refused with line and character, never split."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.jobs.errors import BatchUnreadable
from shared.requests.csv_rows import MAX_COLUMNS, read_table

COLUMNS = {"model_id", "prompt", "negative_prompt"}


def read(text: str) -> tuple[list[str], list[tuple[int, list[str], str]]]:
    header, rows = read_table(text, COLUMNS.__contains__)
    return header, [(row.line, row.cells, row.problem) for row in rows]


def problems(text: str) -> dict[int, str]:
    return {line: problem for line, _, problem in read(text)[1] if problem}


# ---- what separates cells -----------------------------------------------------------------------------------

SEPARATED = {
    "commas": "model_id,prompt\nm,a;b\n",
    "semicolons": "model_id;prompt\r\nm;a;b\r\n".replace("a;b", '"a;b"'),
    "tabs": "model_id\tprompt\nm\ta;b\n",
    "tabs, header in quotes": '"model_id"\t"prompt"\nm\t"a;b"\n',
    "bars": "model_id|prompt\nm|a;b\n",
    "a line that names it": 'sep=;\r\nmodel_id;prompt\r\nm;"a;b"\r\n',
    "such a line with a tab": "SEP=\t\nmodel_id\tprompt\nm\ta;b\n",
    "such a line above another file's byte order mark": 'sep=;\r\n\ufeffmodel_id;prompt\r\nm;"a;b"\r\n',
    "such a line above two of them": 'sep=,\n\ufeff\ufeff"model_id",prompt\nm,a;b\n',
    "such a line in quotes": '"sep=,"\nmodel_id,prompt\nm,a;b\n',
    "such a line from a sheet with more columns": 'sep=;;;\nmodel_id;prompt\nm;"a;b"\n',
    "another sign that is named": "sep=:\nmodel_id:prompt\nm:a;b\n",
}


@pytest.mark.parametrize("kind", SEPARATED)
def test_cells_are_separated_as_the_header_shows(kind: str) -> None:
    text = SEPARATED[kind]
    header, rows = read(text)
    assert header == ["model_id", "prompt"]
    assert rows == [(3 if text.lower().lstrip('"').startswith("sep") else 2, ["m", "a;b"], "")]


def test_only_the_header_is_evidence_and_commas_win_a_draw() -> None:
    assert read("prompt\na;b;c\nd;e;f\n")[1] == [(2, ["a;b;c"], ""), (3, ["d;e;f"], "")]
    assert read("model_id,prompt;\nm,a\n")[0] == ["model_id", "prompt;"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_alike(end: str) -> None:
    text = end.join(["model_id,prompt", 'm,"one', 'two"', "", ",", '"",""', "m,b", 'm,"x', "", 'y"', "m,c"])
    assert [line for line, _, _ in read(text)[1]] == [2, 7, 8, 11]


def test_empty_columns_at_the_end_are_not_there() -> None:
    assert read("model_id,prompt," + "," * 20_000 + "\nm,a" + "," * 20_000)[0] == ["model_id", "prompt"]


@pytest.mark.parametrize("width", [MAX_COLUMNS + 1, 50_000, 80_000, 1_000_000])
def test_a_header_is_capped(width: int) -> None:
    with pytest.raises(BatchUnreadable, match=r"names|must have at most"):
        read(",".join(f"a{number}" for number in range(width)))


# ---- quotes -------------------------------------------------------------------------------------------------

A_BLANK, INSIDE = (
    "has a blank before a cell's quote (line {}): remove the blank",
    "has a quote inside an unquoted cell (line {})",
)
REFUSED = {
    "a blank before a quote": ('m, "A red boat, on a lake"', {2: A_BLANK.format("2, character 4")}),
    "a tab before a quote": ('m,\t"A red boat, on a lake"', {2: A_BLANK.format("2, character 4")}),
    "a no-break space before a quote": ('m,\u00a0"A red boat, on a lake"', {2: A_BLANK.format("2, character 4")}),
    "a blank before the first cell": (' "m",a', {2: A_BLANK.format("2, character 2")}),
    "inches": ('m,A 5" boat', {2: INSIDE.format("2, character 6")}),
    "inches, and a comma in quotes": ('m,A 5" boat,"x, y"', {2: INSIDE.format("2, character 6")}),
    "a quoted word": ('m,the "red, small" boat', {2: INSIDE.format("2, character 7")}),
    "a quote at the end": ('m,boat"', {2: INSIDE.format("2, character 7")}),
    "a doubled quote": ('m,a ""b"" c', {2: INSIDE.format("2, character 5")}),
    "behind a cell of two lines": ('m,"a\nb", "c, d"', {2: A_BLANK.format("3, character 5")}),
    "curly quotes": (
        "m,\u201cA red boat, on a lake\u201d",
        {2: "has a cell in \u201c, which does not count as a quote"},
    ),
    "German quotes": (
        "m,\u201eA red boat, on a lake\u201c",
        {2: "has a cell in \u201e, which does not count as a quote"},
    ),
    "guillemets": ("m,\u00abA red boat, on a lake\u00bb", {2: "has a cell in \u00ab, which does not count as a quote"}),
    "apostrophes": ("m,'A red boat, on a lake'", {2: "has a cell in ', which does not count as a quote"}),
    "a backslash before a separator": (
        "m,A red boat\\, on a lake",
        {2: "has a backslash at the end of an unquoted cell (line 2, character 13)"},
    ),
    "a backslash behind one that is escaped": (
        "m,A red boat\\\\\\, on a lake",
        {2: "has a backslash at the end of an unquoted cell (line 2, character 15)"},
    ),
    "a backslash before a line's end": (
        "m,a,A red boat\\",
        {2: "has a backslash at the end of an unquoted cell (line 2, character 15)"},
    ),
    **{
        f"{opening} and {closing}": (
            f"m,{opening}A red boat, on a lake{closing}{behind}",
            {2: f"has a cell in {opening}, which does not count as a quote (line 2, character 3)"},
        )
        for opening, closing, behind in (
            ("\u201e", "\u201d", ""),
            ("\u201e", "\u201c", "."),
            ("\u201d", "\u201d", ""),
            ("\u00bb", "\u00ab", ""),
            ("\u00bb", "\u00bb", ""),
            ("\u201a", "\u2018", ""),
            ("`", "`", ""),
            ("`", "'", ""),
            ("\u2039", "\u203a", ""),
            ("\u203a", "\u2039", ""),
            ("\u300c", "\u300d", "\u3002"),
            ("\u300e", "\u300f", ""),
            ("\u2032", "\u2032", ""),
            ("\u2033", "\u2033", ""),
            ("\uff02", "\uff02", ""),
            ("&quot;", "&quot;", ""),
            ("&#39;", "&#39;", ""),
            ("&ldquo;", "&rdquo;", ""),
        )
    },
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_row_that_could_be_split_in_two_ways_is_refused_alone(kind: str) -> None:
    row, expected = REFUSED[kind]
    found = problems(f"model_id,prompt,negative_prompt\n{row}\nm,good\n")
    assert found.keys() == expected.keys()
    assert all(found[line].startswith(text) for line, text in expected.items()), found
    assert read(f"model_id,prompt,negative_prompt\n{row}\nm,good\n")[1][-1][1] == ["m", "good"]


def test_the_lines_of_a_cell_whose_quote_does_not_count_are_no_rows() -> None:
    """The middle one could be a row of its own, and paid for."""
    text = 'model_id,prompt\nm, "one\nm,two\n\nthree"\nm,good\n'
    assert sorted(problems(text)) == [2, 3, 5]
    assert problems(text)[3] == "belongs to the cell that the quote at line 2, character 4 opens"
    assert read(text)[1][-1] == (6, ["m", "good"], "")
    assert sorted(problems('model_id,prompt\nm, "one\nm,two\nm,three\n')) == [2, 3, 4], "it is never closed"


SOUND = {
    "quotes within quotes": ('m,"a ""b"" c"', 'a "b" c'),
    "a quote alone": ('m,""""', '"'),
    "all that parts": ('m,"a,\r\n;b"', "a,\r\n;b"),
    "an apostrophe": ("m,the boys' boat", "the boys' boat"),
    "curly quotes that hold one cell": ("m,\u201ca\u201d", "\u201ca\u201d"),
    "curly quotes within a cell": ("m,\u201ca\u201d b", "\u201ca\u201d b"),
    "a decade": ("m,'90s boat", "'90s boat"),
    "East Asian quotes that hold one cell": ("m,\u300ca\u300d", "\u300ca\u300d"),
    "a backslash within": ("m,a\\b", "a\\b"),
    "an escaped backslash": ("m,a\\\\", "a\\\\"),
    "a backslash in quotes": ('m,"a\\"', "a\\"),
    "blanks": ("m,  a  ", "  a  "),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_quote_that_cannot_be_misread_is_read(kind: str) -> None:
    row, cell = SOUND[kind]
    assert [cells for _, cells, problem in read(f"model_id,prompt\n{row}\n")[1] if not problem] == [["m", cell]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('m,"open\nm,x\n', "line 2, character 3: the quote that begins a cell is never closed"),
        ('m,a\nm,"He said "hi" to me"\n', "line 3, character 13: text follows the quote that ends a cell"),
        ('m,"a" ,b\n', "line 2, character 6: text follows the quote that ends a cell"),
    ],
)
def test_a_file_with_ambiguous_rows_is_rejected_with_line_and_character(text: str, said: str) -> None:
    with pytest.raises(BatchUnreadable, match=said):
        read(f"model_id,prompt\n{text}")


# ---- whatever a program writes ------------------------------------------------------------------------------

_CELLS = st.text('ab,;\t|"\n\r \u00a0=', max_size=6)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.lists(_CELLS, min_size=1, max_size=4), max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_a_program_writes_is_read_as_it_was(rows: list[list[str]], between: str, end: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=between, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [["model_id", "prompt"], *rows]
    )
    found = read(text.getvalue())[1]
    assert [(cells, problem) for _, cells, problem in found] == [
        (cells, "") for cells in rows if "".join(cells).strip()
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_is_not_ended_by_a_cr_that_a_program_left_unquoted(end: str) -> None:
    text = f"model_id,prompt{end}m,one\rm,two{end}m,three\r\r{end}m,good{end}"
    assert sorted(problems(text)) == [2, 3, 4]
    assert read(text)[1][-1][1] == ["m", "good"]


@settings(max_examples=500, deadline=None)
@given(st.text('m,;"\n\r \t', max_size=40))
def test_whatever_is_written_each_line_is_read_refused_or_rejected(text: str) -> None:
    try:
        _, rows = read(f"model_id,prompt\n{text}")
    except BatchUnreadable:
        return
    lines = [line for line, _, _ in rows]
    assert lines == sorted(set(lines))
    assert all(problem or "".join(cells).strip() for _, cells, problem in rows)
