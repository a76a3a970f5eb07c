"""Map faults to HTTP statuses, advice and `Retry-After`.

A problem between this project and the vendor is not the caller's fault, so it is a 502. The exception is the vendor's
429, which is passed on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shared.genviral.errors import (
    AuthenticationFailed,
    GenviralUnavailable,
    GenviralUnreachable,
    InsufficientCredits,
    InvalidJson,
    InvalidPayload,
    RateLimited,
    SubscriptionRequired,
    TierNotAllowed,
)
from shared.jobs.errors import (
    BodyTooLarge,
    IntakeStopped,
    JobConflict,
    JobEnded,
    JobNotFound,
    KeyUnusable,
    MediaTypeUnsupported,
    QueryInvalid,
    RecipeMissing,
    ServiceUnavailable,
)
from shared.runtime import SettingsInvalid

if TYPE_CHECKING:
    from shared.faults import Fault

HTTP_STATUS: dict[type[Fault], int] = {
    InvalidJson: 400,
    KeyUnusable: 400,
    JobNotFound: 404,
    JobConflict: 409,
    JobEnded: 409,
    BodyTooLarge: 413,
    MediaTypeUnsupported: 415,
    InvalidPayload: 422,
    QueryInvalid: 422,
    RecipeMissing: 422,
    RateLimited: 429,
    SettingsInvalid: 500,
    AuthenticationFailed: 502,
    SubscriptionRequired: 502,
    TierNotAllowed: 502,
    InsufficientCredits: 502,
    GenviralUnreachable: 502,
    GenviralUnavailable: 502,
    ServiceUnavailable: 503,
    IntakeStopped: 503,
}

_RETRY_AFTER_SECONDS = {RateLimited: 30, ServiceUnavailable: 5, IntakeStopped: 60}
"""Used where the fault has no `retry_after` of its own."""
# The advice of these faults is about jobs, which continue automatically. An API call does not.
_LATER = "Repeat the call after a while."
_ADVICE: dict[type[Fault], str] = dict.fromkeys((RateLimited, GenviralUnreachable, GenviralUnavailable), _LATER)


def advice_on(fault: type[Fault]) -> str:
    """Return what a caller of the API can do about an error."""
    return _ADVICE.get(fault, fault.advice)


def retry_after(fault: Fault) -> int | None:
    """Return after how many whole seconds the call may be repeated; None where a repeat would not help."""
    if fault.retry_after is not None:
        return math.ceil(fault.retry_after)
    return _RETRY_AFTER_SECONDS.get(type(fault))
