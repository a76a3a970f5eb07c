"""Test which tests `make check` runs for a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.changed_tests import concerned

STORE = Path("tests/unit/test_jobs_transitions.py")


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        ("shared/jobs/transitions.py", True),
        ("tests/support/fakes.py", True),
        ("tests/unit/test_jobs_transitions.py", True),
        ("shared/delivery/guard.py", False),
        ("template.yaml", False),
    ],
)
def test_a_change_concerns_the_tests_that_import_it(changed: str, runs: bool) -> None:
    assert (STORE in concerned({Path(changed)})) == runs


def test_no_change_concerns_no_test() -> None:
    assert concerned(set()) == []
