"""Define the vendor's envelope, and the status, `error_code` and message of each documented error.

If the documentation gives no message, the text is the stand-in's own.
"""

from __future__ import annotations

from typing import Any

_BILLING = "https://www.genviral.io/billing"


class Refusal(Exception):
    """A response with `ok: false`. `error_code` is optional in the contract, so it may be None."""

    def __init__(self, status: int, error_code: str | None, message: str, **extras: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.message = message
        self.extras = extras

    def envelope(self) -> dict[str, Any]:
        code = {"error_code": self.error_code} if self.error_code else {}
        return {"ok": False, "code": self.status, "message": self.message, **code, **self.extras}


def success(status: int, message: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "code": status, "message": message, "data": data}


def issue(path: tuple[str | int, ...], message: str) -> dict[str, Any]:
    """Return an entry of a 422's `issues`. The vendor's form is unknown; a list of path segments is common."""
    return {"path": list(path), "message": message}


def key_missing() -> Refusal:
    return Refusal(401, None, "Missing API key")


def key_unknown() -> Refusal:
    return Refusal(401, "invalid_token", "API key not found")


def key_revoked() -> Refusal:
    return Refusal(401, "invalid_token", "API key has been revoked")


def subscription_required() -> Refusal:
    return Refusal(
        402,
        "subscription_required",
        "An active Creator, Professional or Business plan is required",
        action_url=_BILLING,
        remediation_hint="Choose a plan, then try again.",
    )


def tier_not_allowed() -> Refusal:
    return Refusal(
        403,
        "tier_not_allowed",
        "The Scheduler tier cannot use the Partner API",
        action_url=_BILLING,
        remediation_hint="Upgrade to Creator, Professional or Business.",
    )


def insufficient_credits(status: int = 403) -> Refusal:
    return Refusal(
        status,
        "insufficient_credits",
        "Not enough credits for this generation",
        action_url=_BILLING,
        remediation_hint="Top up credits, then try again.",
    )


def invalid_json() -> Refusal:
    return Refusal(400, "invalid_json", "Request body is not valid JSON")


def invalid_payload(issues: list[dict[str, Any]]) -> Refusal:
    return Refusal(422, "invalid_payload", "The request body is invalid", issues=issues)


def invalid_input(issues: list[dict[str, Any]], error_code: str = "invalid_input") -> Refusal:
    return Refusal(422, error_code, "The model cannot use this input", issues=issues)


def invalid_query() -> Refusal:
    return Refusal(422, "invalid_query", "mode must be video, image or absent")


def rate_limited() -> Refusal:
    return Refusal(429, "rate_limited", "Too many requests")


def generation_failed() -> Refusal:
    return Refusal(500, "generation_failed", "The generation could not be started")


def video_not_found() -> Refusal:
    return Refusal(404, "video_not_found", "Video not found")


def route_not_found() -> Refusal:
    return Refusal(404, "not_found", "Route not found")
