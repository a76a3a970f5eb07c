"""Configure every test: no failures from a slow machine, and helpers' assertions that show their values."""

from __future__ import annotations

import os

import hypothesis
import pytest

# pytest-xdist gives its workers a width of 80, to which commands that are tested would cut their tables.
os.environ.pop("COLUMNS", None)

pytest.register_assert_rewrite("tests.support")
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")
