"""Validate notifications against their published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "notification.schema.json").read_text())


def valid(message: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(message)


EXECUTION_SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "execution.schema.json").read_text())


def valid_end(kind: str, document: Any) -> None:
    """Validate what an execution ended with: its output (`succeeded`), or its cause as JSON (`failed`)."""
    schema = {**EXECUTION_SCHEMA, "$ref": f"#/$defs/{kind}"}
    jsonschema.Draft202012Validator(schema).validate(document)
