"""Test what other parts rely on: named errors, the arithmetic of parts, and a light import."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.delivery import ERRORS, Limits, OutputRefused, errors
from shared.delivery.limits import MIB, parts_in_flight, parts_of
from shared.faults import Branch, Fault, Paid


def test_every_error_is_in_the_table_and_paid_for() -> None:
    defined = {kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__}
    assert defined == set(ERRORS)
    for kind in ERRORS:
        assert issubclass(kind, Fault)
        assert kind.paid is Paid.YES
        assert kind.branch is (Branch.FAIL if kind is OutputRefused else Branch.RETRY)
        assert (vars(kind)["__doc__"] or "").splitlines()[0].endswith(".")
        assert kind("x").document()["advice"]
    assert len({kind.code for kind in ERRORS}) == len(ERRORS)


@given(st.integers(1, 5 * 1024**4), st.sampled_from([5 * MIB, 8 * MIB, 64 * MIB]))
def test_parts_cover_any_file_within_the_limits_of_s3(total: int, part_bytes: int) -> None:
    parts = parts_of(total, Limits(part_bytes=part_bytes))
    assert len(parts) <= 10_000
    assert [part.number for part in (parts[0], parts[-1])] == [1, len(parts)]
    assert parts[0].start == 0
    assert parts[-1].start + parts[-1].length == total
    assert len({part.length for part in parts[:-1]}) <= 1
    assert all(before.start + before.length == after.start for before, after in itertools.pairwise(parts))


@pytest.mark.parametrize(("size", "expected"), [(5 * MIB, 6), (8 * MIB, 4), (40 * MIB, 1), (500 * MIB, 1)])
def test_parts_in_flight_fit_the_memory(size: int, expected: int) -> None:
    assert parts_in_flight(size, Limits(buffer_bytes=32 * MIB)) == expected


def test_parts_smaller_than_s3_takes_are_a_mistake_of_the_settings() -> None:
    with pytest.raises(ValueError, match="part_bytes"):
        Limits(part_bytes=MIB)


def test_import_is_light() -> None:
    heavy = "boto3 botocore pydantic httpx httpcore aws_lambda_powertools"
    code = f"import sys, shared.delivery; print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
