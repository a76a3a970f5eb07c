"""The parts of the template that tests compare with."""

from __future__ import annotations

from typing import Any

from tools import docs

ROOT = docs.ROOT
TEMPLATE = docs.template()
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
JOBS_TABLE: dict[str, Any] = RESOURCES["JobsTable"]["Properties"]
