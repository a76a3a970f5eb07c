"""Extend schemathesis with rules that JSON Schema cannot express. Loaded by its command.

Set `SCHEMATHESIS_HOOKS=tests.support.api_rules` and use the check `valid_data_acceptance` instead of its own
`positive_data_acceptance`. They differ only in the rules below.
"""

from __future__ import annotations

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


@schemathesis.check
def valid_data_acceptance(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Check that requests valid by the document are accepted, except for the rules that it cannot express."""
    if response.status_code == 422 and _is_beyond_schemas(response.json()):
        return None
    return positive_data_acceptance(ctx, response, case)


def _is_beyond_schemas(refusal: dict[str, Any]) -> bool:
    issues = refusal.get("issues", [])
    all_named = all(_BEYOND_SCHEMAS.get(issue["path"]) == issue["message"] for issue in issues)
    return refusal["error_code"] == _NOT_THERE or (bool(issues) and all_named)
