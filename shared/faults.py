"""What an error is, here: a sentence for a person, and a place in the state machine.

Knows the shape every named error has (code, message, advice, whether money was spent, which branch a workflow takes)
and how it reads in an execution's `Cause`. Must not know who raises it: the vendor's errors live in
`shared.genviral.errors`, a job's in `shared.jobs.errors`, a download's in `shared.delivery.errors`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from shared.printable import in_line, json_text


class Paid(StrEnum):
    """Whether the vendor may have charged for the job when this error was raised."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class Branch(StrEnum):
    """What the state machine does about an error."""

    RETRY = "retry"
    """Tried again with backoff, then left uncaught: the execution fails at that very state, ready for a redrive."""
    HOLD = "hold"
    """The account needs a person: one notice, then wait and try again by itself."""
    REJECT = "reject"
    """The request can never succeed as it is: `failed`, with a notification."""
    FAIL = "fail"
    """Tried a few times, then `failed`, with a notification."""
    UNCERTAIN = "uncertain"
    """Nobody knows whether it was paid: never sent again by itself, a person decides."""
    TIMED_OUT = "timed_out"
    """Paid for, but not finished by its deadline: `timed_out`, and can be resumed."""


class Fault(Exception):
    """Base of every error that a person will read. The class name is the ASL `ErrorEquals` string.

    `str()` is a short JSON document, because Step Functions copies it into the execution's `Cause`.

    Args:
        message: What happened, in one sentence. Never a prompt, a key, a signed URL or a raw response body. A name from
            outside that it holds is escaped where it cannot be seen.
        http_status: The status of the vendor's answer, if there was one.
        error_code: The code in the vendor's answer, where it is more exact than the class's own.
        action_url: Where a person can mend it, as the vendor gave it.
        issues: What is wrong with which field: `{"path": "params.fps", "message": "…"}`.
        retry_after: Seconds to wait before the next attempt, if the vendor said so.
        paid: Overrides the class's own answer.
    """

    code: ClassVar[str]
    paid: Paid = Paid.NO
    branch: ClassVar[Branch]
    advice: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        error_code: str | None = None,
        action_url: str | None = None,
        issues: tuple[dict[str, str], ...] = (),
        retry_after: float | None = None,
        paid: Paid | None = None,
    ) -> None:
        super().__init__(message)
        self.message = in_line(message)
        self.http_status = http_status
        self.error_code = in_line(error_code or self.code)
        self.action_url = action_url and in_line(action_url)
        self.issues = tuple({name: in_line(text) for name, text in issue.items()} for issue in issues)
        self.retry_after = retry_after
        if paid is not None:
            self.paid = paid

    def document(self) -> dict[str, Any]:
        """The error as data, without the members that have no value."""
        document: dict[str, Any] = {
            "error": type(self).__name__,
            "code": self.error_code,
            "http_status": self.http_status,
            "message": self.message,
            "advice": self.advice,
            "paid": self.paid.value,
            "action_url": self.action_url,
            "issues": list(self.issues),
            "retry_after": self.retry_after,
        }
        return {name: value for name, value in document.items() if value not in (None, [])}

    def __str__(self) -> str:
        return json_text(self.document(), separators=(", ", ": "))
