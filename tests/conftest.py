"""Configure every test: no failures from a slow machine, and helpers' assertions that show their values."""

from __future__ import annotations

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.support")
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")
