"""List the possible outcomes of the paid call, and the AWS calls around it that can fail."""

from __future__ import annotations

import httpx

from shared.genviral.errors import (
    GenviralUnreachable,
    InsufficientCredits,
    InvalidInput,
    RateLimited,
    RequestRejected,
    SubmissionUncertain,
)
from tests.support.fakes import Answer, breaking, refusing

UNREADABLE: Answer = lambda _: httpx.Response(202, content=b"<html>")  # noqa: E731
HTML_502: Answer = lambda _: httpx.Response(502, content=b"<html>Bad gateway</html>")  # noqa: E731

NOT_PAID = [
    (refusing(402, "insufficient_credits"), InsufficientCredits),
    (refusing(422, "invalid_input"), InvalidInput),
    (refusing(404), RequestRejected),
    (refusing(429), RateLimited),
    (breaking(httpx.ConnectError), GenviralUnreachable),
]

MAYBE_PAID = [
    (breaking(httpx.ReadTimeout), SubmissionUncertain),
    (breaking(httpx.RemoteProtocolError), SubmissionUncertain),
    (HTML_502, SubmissionUncertain),
    (UNREADABLE, SubmissionUncertain),
    (refusing(409, "conflict"), SubmissionUncertain),
]

WAYS = ("before", "after")
ONCE: list[dict[int, str]] = [{call: way} for call in range(1, 7) for way in WAYS]
