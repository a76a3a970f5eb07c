"""A job's record, as the rest of the code sees it: a frozen view of one DynamoDB item.

Knows the names and types of the attributes. Must not know how they are read or written (`shared.jobs.store`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from shared.faults import Paid
from shared.jobs.states import TERMINAL, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. Times are ISO 8601 in UTC where people read them, whole epoch seconds where code counts with them."""

    job_id: str
    status: Status
    created_at: str
    source: dict[str, Any]
    """Where it came from: `type` (`upload`, `request`, `batch`, `api` or `execution`) and its coordinates."""
    timeline: dict[str, str] = field(default_factory=dict)
    """Status → when it was last entered."""
    fingerprint: str | None = None
    """Digest of the request, to tell a repeat from another request under the same name."""
    request: str | None = field(default=None, repr=False)
    """The generate body as JSON text, without signed URLs; may hold a prompt, so it is never logged."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The caller's own labels, echoed back."""
    recipe: str | None = None
    model_id: str | None = None
    claim: str | None = None
    """The attempt that may have sent the paid POST and whose end is not known yet."""
    claimed_at: int | None = None
    """When the claim was taken, in epoch seconds. Taking it over does not change it."""
    reserved: dict[str, Any] | None = None
    """What was counted for it against the daily limit: `day` (UTC) and `credits`. None: nothing, or settled since."""
    resubmissions: int = 0
    """How often an operator chose to pay again."""
    video_id: str | None = None
    """The vendor's id. Once it is there, the job is paid for."""
    credits_used: float | None = None
    submitted_at: int | None = None
    deadline_at: int | None = None
    expected_seconds: list[int] | None = None
    """How long it should take, as people are told: half of such generations, and nine of ten. None: not known."""
    copy_began: int | None = None
    """When the first copy of the video was begun, in epoch seconds. None: the bucket holds nothing of it yet."""
    held_since: int | None = None
    interrupted_by: str | None = None
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    notice_due: str | None = None
    """The notification that has been decided on but not yet been sent."""
    execution: str | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """The source as others may see it: without who asked, an object's etag, and where a plan keeps its row."""
        return {name: value for name, value in self.source.items() if name not in _OUR_OWN}

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended (an operator may still reopen some ends)."""
        return self.status in TERMINAL

    @property
    def paid(self) -> Paid:
        """Whether it was paid for, as far as the record can tell."""
        if self.video_id is not None:
            return Paid.YES
        return Paid.UNKNOWN if self.claim is not None else Paid.NO

    @property
    def idempotency_key(self) -> str:
        """What is sent to the vendor as `Idempotency-Key`: stable until an operator chooses to pay again."""
        return f"{self.job_id}.{self.resubmissions}" if self.resubmissions else self.job_id

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any]) -> Job:
        """The job that these attributes describe. Attributes that this version does not know are left alone."""
        known = {name: value for name, value in attributes.items() if name in _FIELDS}
        return cls(**{**known, "status": Status(attributes["status"])})


_OUR_OWN = frozenset({"caller", "etag", "plan", "offset", "length"})
_FIELDS = frozenset(field.name for field in fields(Job))
