"""Test that wanted members are read as a JSON parser reads them, wherever the text is cut. Nothing else is built."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.genviral.partial_json import MAX_MEMBERS, read

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = {"a": 1_000, "b": 1_000, "data": {"a": 1_000, "c": 1_000}}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["a", "b", "c", "data", "x", '"', "\\", "é"])
objects = st.dictionaries(names, values | st.dictionaries(names, values, max_size=5), max_size=6)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-32-be"])


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def everything(_: dict[str, Any]) -> bool:
    return False


def wanted_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: document[name] for name in ("a", "b") if name in document}
    if "data" in document:
        found["data"] = document["data"]
    if isinstance(document.get("data"), dict):
        found["data"] = {name: document["data"][name] for name in ("a", "c") if name in document["data"]}
    return found


@given(objects, encodings, st.booleans(), st.integers(1, 40), st.sampled_from([None, 1, "\t"]))
def test_any_object_is_read_as_a_parser_reads_it(
    document: dict[str, Any], encoding: str, escaped: bool, size: int, indent: int | str | None
) -> None:
    text = json.dumps(document, ensure_ascii=escaped, indent=indent).encode(encoding)
    assert read(pieces(text, size), WANTED, enough=everything) == (wanted_of(document), True)


@given(objects, st.integers(1, 40), st.data())
def test_an_object_that_breaks_off_counts_as_far_as_it_came(
    document: dict[str, Any], size: int, data: st.DataObject
) -> None:
    text = json.dumps(document).encode()
    text = text[: data.draw(st.integers(0, len(text) - 1))]
    found, whole = read(pieces(text, size), WANTED, enough=everything)
    assert not whole
    there = wanted_of(document)
    inner, inner_there = found.pop("data", {}), there.get("data", {})
    if not isinstance(inner_there, dict):
        assert inner in ({}, inner_there)
        inner = {}
    assert found == {name: there[name] for name in found}
    assert inner == {name: inner_there[name] for name in inner}


@given(st.binary(max_size=200), st.integers(1, 40))
def test_what_is_no_object_is_nothing(text: bytes, size: int) -> None:
    found, whole = read(pieces(text, size), WANTED, enough=everything)
    assert not whole or text.lstrip(b"\xef\xbb\xbf \t\r\n\x00\xfe\xff")[:1] == b"{"
    assert set(found) <= set(WANTED)


def test_a_text_that_is_too_long_is_cut_and_anything_else_left_out() -> None:
    text = json.dumps({"a": "é" * 5_000, "b": [1] * 5_000, "data": {"a": "x" * 5_000, "c": int("1" * 4_000)}}).encode()
    found, whole = read([text], WANTED, enough=everything)
    assert whole
    assert found == {"a": "é" * 166, "data": {"a": "x" * 999}}


def test_nothing_more_is_taken_once_it_is_enough() -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"a": 1, "x": "'
        raise AssertionError("another piece was taken")

    assert read(endless(), WANTED, enough=lambda found: "a" in found) == ({"a": 1}, True)


@pytest.mark.parametrize("unit", ["[],", "{},", "[[[]]],", "[", '{"a":{"b":1}},', '"]",', '"\\n\\"",', "1,", "xyz"])
def test_a_member_that_nobody_wants_takes_no_memory(unit: str) -> None:
    size = 2**21
    block = (unit * (65_536 // len(unit))).encode()

    def text() -> Iterator[bytes]:
        yield b'{"x": ['
        yield from (block for _ in range(size // len(block)))
        yield b'1], "a": 1}'

    tracemalloc.start()
    try:
        found, whole = read(text(), WANTED, enough=everything)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found, whole) == (({}, False) if unit == "[" else ({"a": 1}, True))
    assert peak < size


def test_an_object_of_too_many_members_is_not_read_to_its_end() -> None:
    text = b"{" + b'"x": 0, ' * MAX_MEMBERS + b'"a": 1}'
    assert read([text], WANTED, enough=everything) == ({}, False)
