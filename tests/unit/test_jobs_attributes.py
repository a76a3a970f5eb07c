"""Test the conversion of plain values to DynamoDB's typed form, as boto3 does it, and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.attributes import plain, typed

WHOLE = st.integers(-(10**38) + 1, 10**38 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | WHOLE,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_the_form_is_the_one_that_boto3_writes(value: Any) -> None:
    assert typed(value) == TypeSerializer().serialize(value)


@given(st.recursive(VALUES | st.floats(allow_nan=False, allow_infinity=False), lambda inner: st.lists(inner)))
def test_what_was_written_is_read(value: Any) -> None:
    assert plain(typed(value)) == value


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("5.0", 5), ("1E+3", 1000), ("0.25", 0.25), ("12345678901234567891", 12345678901234567891)],
)
def test_a_whole_number_is_an_int(text: str, number: float) -> None:
    found = plain({"N": text})
    assert (found, type(found)) == (number, type(number))


def test_a_number_keeps_its_digits() -> None:
    assert typed([0.1, Decimal("0.10"), 7]) == {"L": [{"N": "0.1"}, {"N": "0.10"}, {"N": "7"}]}


@pytest.mark.parametrize("value", [object(), {"a": b"bytes"}, [{1, 2}]])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no place in an item"):
        typed(value)


def test_a_kind_that_this_project_does_not_write_is_handed_on() -> None:
    assert plain({"SS": ["a", "b"]}) == ["a", "b"]
