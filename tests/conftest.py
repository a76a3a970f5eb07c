"""Configure every test: no failures from a slow machine, and helpers' assertions that show their values."""

from __future__ import annotations

import functools
import os
from typing import Any

import hypothesis
import pytest
from botocore.loaders import JSONFileLoader, Loader

# pytest-xdist gives its workers a width of 80, to which commands that are tested would cut their tables.
os.environ.pop("COLUMNS", None)

pytest.register_assert_rewrite("tests.support")
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")

_models = functools.cache(JSONFileLoader().load_file)


class _SharedModels(JSONFileLoader):
    """Reads each model of an AWS service once. Each of the tests' thousands of sessions would read its own."""

    def load_file(self, file_path: str) -> Any:
        return _models(file_path)


Loader.FILE_LOADER_CLASS = _SharedModels
