"""Patch MiniStack so that its HTTP APIs accept unsigned requests.

A route with IAM authorization answers 403 to an unsigned request, and signing is inconvenient on a laptop. Here an
unsigned request gets the account's root as its caller; a request with a signature or a token keeps its own.
"""

from __future__ import annotations

from typing import Any

from ministack.services import apigateway

ROOT = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/execute-api/aws4_request"

_handle = apigateway.handle_execute


def install() -> None:
    """Sign unsigned requests."""
    apigateway.handle_execute = _handle_signed


async def _handle_signed(
    api: str, stage: str, path: str, method: str, headers: dict[str, str], *rest: Any, **more: Any
) -> Any:
    return await _handle(api, stage, path, method, {"authorization": ROOT} | headers, *rest, **more)
