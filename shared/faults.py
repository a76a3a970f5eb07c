"""Define the base of all errors: a message for people, and a branch of the state machine.

Every named error has a code, a message, advice, whether money was spent, and the branch that the workflow takes. This
module must not know particular errors: the vendor's are in `shared.genviral.errors`, a job's in `shared.jobs.errors`,
a download's in `shared.delivery.errors`.
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
    """Retried with backoff, then left uncaught: the execution fails at exactly that state, ready for a redrive."""
    HOLD = "hold"
    """The account needs a person: one notification, then wait and retry automatically."""
    REJECT = "reject"
    """The request can never succeed as it is: `failed`, with a notification."""
    FAIL = "fail"
    """Retried a few times, then `failed`, with a notification."""
    UNCERTAIN = "uncertain"
    """It is unknown whether it was paid: never sent again automatically, a person decides."""
    TIMED_OUT = "timed_out"
    """Paid for, but not finished by its deadline: `timed_out`, and can be resumed."""


class Fault(Exception):
    """Base of every error that a person will read. The class name is the ASL `ErrorEquals` string.

    `str()` is a short JSON document, because Step Functions copies it into the execution's `Cause`.

    Args:
        message: What happened, in one sentence. Never a prompt, a key, a signed URL or a raw response body. Invisible
            characters in it are escaped.
        http_status: The status of the vendor's answer, if there was one.
        error_code: The code in the vendor's answer, where it is more exact than the class's own.
        action_url: The vendor's link to where a person can fix it.
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
        """Return the error as data, without the members that have no value."""
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
