"""Extend schemathesis with rules that JSON Schema cannot express. Loaded by its command.

Set `SCHEMATHESIS_HOOKS=tests.support.api_rules` and use the check `valid_data_acceptance` instead of its own
`positive_data_acceptance`. They differ only in the rules below.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, Response

# Depends on the contents of the stack.
_NOT_THERE = "recipe_missing"
# A field → errors that no schema expresses: a token must come from an earlier answer, and sizes are in bytes.
_BEYOND_SCHEMAS = {
    "next_token": "must be the next_token of an earlier answer",
    "metadata": "must be at most 2048 bytes of JSON",
    "raw_params": "must be at most 65536 bytes of JSON",
}
# Refusals of characters, which the patterns express except for these: above U+FFFF, where JavaScript's patterns need a
# flag, and selectors, which are only allowed behind emoji.
_OF_CHARACTERS = ("must have names without control characters", "must not contain control characters")
_BEYOND_PATTERNS = re.compile("[\ufe0e\ufe0f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")


@schemathesis.check
def valid_data_acceptance(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Check that requests valid by the document are accepted, except for the rules that it cannot express."""
    if response.status_code == 422 and _is_beyond_schemas(response.json(), case.body):
        return None
    return positive_data_acceptance(ctx, response, case)


def _is_beyond_schemas(refusal: dict[str, Any], body: Any) -> bool:
    issues = refusal.get("issues", [])
    all_named = all(_is_beyond_its_schema(issue, body) for issue in issues)
    return refusal["error_code"] == _NOT_THERE or (bool(issues) and all_named)


def _is_beyond_its_schema(issue: dict[str, str], body: Any) -> bool:
    if issue["message"] in _OF_CHARACTERS:
        return isinstance(body, dict) and _BEYOND_PATTERNS.search(json.dumps(body, ensure_ascii=False)) is not None
    return _BEYOND_SCHEMAS.get(issue["path"]) == issue["message"]
