"""Test that the same event or request is always the same job, and that different ones never are."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs import identity
from tests.support.fakes import arn_of

if TYPE_CHECKING:
    import random

TEXTS = st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda members: st.lists(members, max_size=4) | st.dictionaries(TEXTS, members, max_size=4),
    max_leaves=12,
)


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_an_object_names_one_job_and_two_objects_name_two(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (identity.for_object(*one) == identity.for_object(*other)) == (one == other)


@given(TEXTS, TEXTS, st.integers(0, 40))
def test_characters_that_move_between_the_parts_make_another_job(left: str, right: str, cut: int) -> None:
    text = left + right
    pairs = {(text[:cut], text[cut:]), (left, right)}
    assert len({identity.for_idempotency_key(*pair) for pair in pairs}) == len(pairs)


@given(TEXTS, TEXTS, TEXTS)
def test_every_derived_id_is_its_executions_name_and_comes_back_from_it(bucket: str, key: str, version: str) -> None:
    for job_id in (identity.for_object(bucket, key, version), identity.for_idempotency_key(bucket, key)):
        assert identity.is_job_id(job_id)
        assert identity.of_execution(arn_of(job_id)) == job_id
        # A later execution of the job still has room for its suffix in the 80 characters of a name.
        assert identity.of_execution(arn_of(f"{job_id}.r999")) == job_id
        assert len(f"{job_id}.r999") <= 80


@given(st.text(alphabet="abcXYZ019_-.+@= äß", min_size=1, max_size=80))
def test_any_execution_has_a_job_with_a_usable_id(name: str) -> None:
    job_id = identity.of_execution(arn_of(name))
    assert identity.is_job_id(job_id)
    assert len(f"{job_id}.r999") <= 80
    assert identity.of_execution(arn_of(name)) == job_id


def test_foreign_names_do_not_meet() -> None:
    names = ["a.b", "a.c", "a.r", "a.r1.r2", "a.r1234", "a" * 76, "a" * 80, "ä"]
    assert len({identity.of_execution(arn_of(name)) for name in names}) == len(names)


def test_ids_without_a_key_differ_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for moment in (1_700_000_000.0, 1_700_000_000.001, 1_800_000_000.0, 99_999_999_999.0):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        made += [identity.new(), identity.new()]
    assert len(set(made)) == len(made)
    assert all(map(identity.is_job_id, made))
    assert [name[:16] for name in made] == sorted(name[:16] for name in made)


def test_a_whole_number_is_the_same_with_and_without_its_fraction() -> None:
    """As a spreadsheet writes it."""
    one, other = ({"params": {"fps": 24, "seconds": seconds, "scale": [0.5]}} for seconds in (5, 5.0))
    assert identity.fingerprint(one) == identity.fingerprint(other)
    assert identity.fingerprint({"seconds": 5.5}) != identity.fingerprint({"seconds": 5})


@pytest.mark.parametrize(
    ("fraction", "whole"),
    [(5.0, 5), (-5.0, -5), (-0.0, 0), (1e16, 10**16), (1e22, 10**22), ([[1.5, {"a": 2.0}]], [[1.5, {"a": 2}]])],
)
def test_a_fraction_of_zero_makes_no_difference_wherever_it_stands(fraction: Any, whole: Any) -> None:
    for one, other in (
        (fraction, whole),
        ({"a": fraction}, {"a": whole}),
        ([fraction, "x"], [whole, "x"]),
        ({"text": "5.0,", "z": [fraction]}, {"text": "5.0,", "z": [whole]}),
    ):
        assert identity.canonical_json(one) == identity.canonical_json(other)
        assert json.loads(identity.canonical_json(one)) == other
    assert identity.canonical_json({"prompt": "5.0,"}) == '{"prompt":"5.0,"}'


def test_metadata_that_are_null_are_none() -> None:
    assert identity.fingerprint({"prompt": "x", "metadata": None}) == identity.fingerprint({"prompt": "x"})
    assert identity.fingerprint({"prompt": None}) != identity.fingerprint({})


@given(st.dictionaries(TEXTS, VALUES, max_size=6), st.randoms(use_true_random=False))
def test_a_fingerprint_is_of_the_value_not_of_how_it_was_written(value: dict[str, Any], chance: random.Random) -> None:
    members = list(value.items())
    chance.shuffle(members)
    rewritten = json.loads(
        json.dumps(dict(members), indent=chance.choice([None, 2]), ensure_ascii=chance.random() < 0.5)
    )
    assert identity.fingerprint(rewritten) == identity.fingerprint(value)
    assert identity.fingerprint({**value, "one more": 1}) != identity.fingerprint(value)


def test_only_a_jobs_id_reaches_the_table() -> None:
    assert not any(map(identity.is_job_id, ["", "a" * 76, "a/b", "model#x", "a.r1", "a\n"]))
