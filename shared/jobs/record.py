"""A job's record, as the rest of the code sees it: a frozen view of one DynamoDB item.

Knows the names and types of the attributes. Must not know how they are read or written (`shared.jobs.transitions`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.states import TERMINAL, Status

MAY_BE_PAID = {"paid": Paid.UNKNOWN.value}
"""What is known of a further video that an answer of unknown outcome named."""
SUBMIT_SECONDS = 300
"""The time-out of the submit function, in seconds: no attempt runs longer. The template has the same figure."""
_CLOCKS_DIFFER_SECONDS = 30
LONGEST_ATTEMPT_SECONDS = SUBMIT_SECONDS + _CLOCKS_DIFFER_SECONDS
"""After how many seconds an attempt must have ended, whatever became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. Times are ISO 8601 in UTC where people read them, whole epoch seconds where code counts with them."""

    job_id: str
    status: Status
    created_at: str
    source: dict[str, Any]
    """Where it came from: `type` (`upload`, `request`, `batch`, `api` or `execution`) and its coordinates."""
    changed_at: int | None = None
    """When it entered its status, in epoch seconds."""
    timeline: dict[str, str] = field(default_factory=dict)
    """Status → when it was last entered."""
    fingerprint: str | None = None
    """Digest of the request, to tell a repeat from another request under the same name."""
    request: str | None = field(default=None, repr=False)
    """The generate body as JSON text. May hold a prompt, so it is never logged. What opens its links is there only
    until the job is sent or has ended, whichever comes first."""
    links_stripped: bool = False
    """Whether its request lost what opens links when the job ended. Then it cannot be sent again."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The caller's own labels, echoed back."""
    recipe: str | None = None
    model_id: str | None = None
    claim: str | None = None
    """The attempt that may have sent the paid POST and whose end is not known yet."""
    claimed_at: int | None = None
    """When the claim was taken, in epoch seconds. Taking it over does not change it."""
    attempt_at: int | None = None
    """When the attempt that has the claim took it, or took it over, in epoch seconds."""
    ended_attempt: str | None = None
    """The last attempt that kept its claim and is known to have ended."""
    claims_given_back: int = 0
    """How often a claim was given back, or refused before it landed. A claim is taken only if that is still so."""
    reserved: dict[str, Any] | None = None
    """What was counted for it against the daily limit: `day` (UTC) and `credits`. None: nothing, or settled since."""
    resubmissions: int = 0
    """How often an operator chose to pay again."""
    video_id: str | None = None
    """The vendor's id. Once it is there, the job is paid for."""
    possible_video_id: str | None = None
    """A video that an answer of unknown outcome named: it may be paid for. `attach` can continue with it."""
    attached_id: str | None = None
    """The video that a person entered and no answer named. If it is the job's video, it may be a mistake."""
    vendor_status: str | None = None
    """The vendor's own status of the video, if it is not `processing`. `succeeded` means finished without a link."""
    credits_used: float | None = None
    other_videos: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further videos of this job at the vendor: id → `credits_used`, `submitted_at` (epoch seconds) where the vendor
    was paid for it, `paid` (`unknown`) where an answer of unknown outcome named it, and `delivery` and `output` where
    its copy was begun or lies in the bucket."""
    delivery: int = 1
    """Which of the job's videos is delivered, counted from 1; each gets a file of its own."""
    submitted_at: int | None = None
    deadline_at: int | None = None
    expected_seconds: list[int] | None = None
    """How long it should take, as people are shown it: half of such generations, and nine of ten. None: not known."""
    copy_began: int | None = None
    """When the first copy of the video was begun, in epoch seconds. None: the bucket holds nothing of it yet."""
    retrying: dict[str, Any] | None = None
    """The last step that failed and is repeated; `current_retry` says whether that is still so."""
    held_since: int | None = None
    """When the account began to refuse it, in epoch seconds. None: it is not held because of the account."""
    limit_held_since: int | None = None
    """When it began to wait for the daily limit, in epoch seconds. Both kinds of hold may be running."""
    next_try_at: str | None = None
    """When a job on hold is tried again. Out of date at any other status."""
    held_until: str | None = None
    """When a hold comes to its end. Out of date at any other status."""
    interrupted_by: str | None = None
    interrupted_at: int | None = None
    """When the last execution ended that left it open, in epoch milliseconds. News of an earlier end is out of date."""
    redrive_at: int | None = None
    """When an interrupted job is redriven automatically, in epoch seconds. Past: with the next sweep, if not yet."""
    redrive_until: int | None = None
    """Until when it is tried again in this outage, in epoch seconds. None: there is no outage."""
    redrives: int = 0
    """How often it was redriven automatically in this outage."""
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    notice_due: str | None = None
    """The notification that has been decided on but not yet been sent."""
    counted: str | None = None
    """The same notification, if its status was counted in the metrics before it could be sent."""
    execution: str | None = None
    command: str | None = None
    """The id of the operator's last command on the job. It tells a repeat of that command from another one."""

    @property
    def origin(self) -> dict[str, Any]:
        """The source as others may see it: without who asked, an object's etag, and where a plan keeps its row."""
        return {name: value for name, value in self.source.items() if name not in _OUR_OWN}

    @property
    def shown_error(self) -> dict[str, Any] | None:
        """The error as people are shown it. Where the links are gone, its advice is a new job instead of `resubmit`."""
        if not self.links_stripped or self.error is None or "advice" not in self.error:
            return self.error
        return {**self.error, "advice": with_fresh_links(self.error["advice"])}

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended (an operator may still reopen some ends)."""
        return self.status in TERMINAL

    @property
    def is_to_be_started(self) -> bool:
        """Whether it waits for its execution to be started, where that does not exist.

        A job is given a video or a later execution before that is started, and a command may be cut off in between.
        """
        has_later = identity.number_of_turn(self.execution or "") > 0
        return self.status is Status.QUEUED or self.video_id is not None or has_later

    @property
    def paid(self) -> Paid:
        """Whether it was paid for, as far as the record can tell."""
        if self.video_id is not None:
            return Paid.YES
        return Paid.UNKNOWN if self.claim is not None else Paid.NO

    @property
    def current_retry(self) -> dict[str, Any] | None:
        """The failed tries of the step that is being repeated now: `error`, `tries`, `since`, `next_try_by`."""
        if self.retrying is None or self.is_terminal:
            return None
        # An interruption, a hold or an end is the end of the tries before it.
        ended = (self.timeline.get(status, "") for status in (Status.INTERRUPTED, Status.ON_HOLD, *TERMINAL))
        return self.retrying if all(moment <= self.retrying["since"] for moment in ended) else None

    @property
    def known_video(self) -> str | None:
        """The video to go on with: the job's own, or the one that an answer named."""
        return self.video_id or self.possible_video_id or (self.error or {}).get("video_id")

    @property
    def named_videos(self) -> list[str]:
        """The videos that answers of unknown outcome named, and of which nobody knows whether they are paid for."""
        first = [self.known_video] if self.video_id is None and self.known_video else []
        return [*first, *(name for name, facts in sorted(self.other_videos.items()) if "paid" in facts)]

    @property
    def attempt_runs_until(self) -> int | None:
        """Until when the attempt that has the claim may still be running, in epoch seconds. None: none is."""
        since = self.attempt_at or self.claimed_at
        if self.claim is None or self.claim == self.ended_attempt or since is None:
            return None
        return since + LONGEST_ATTEMPT_SECONDS

    @property
    def others(self) -> list[dict[str, Any]]:
        """The job's further videos as others may see them."""
        return [
            {"video_id": video_id, **{name: facts[name] for name in _SHOWN_OF_OTHERS if name in facts}}
            for video_id, facts in sorted(self.other_videos.items())
        ]

    @property
    def delivered_others(self) -> list[str]:
        """The ids of the job's further videos that lie in the bucket."""
        return sorted(video_id for video_id, facts in self.other_videos.items() if "output" in facts)

    @property
    def credits_total(self) -> float | None:
        """What all of the job's videos cost, as far as the vendor has named it."""
        named = [self.credits_used, *(other.get("credits_used") for other in self.other_videos.values())]
        known = [cost for cost in named if cost is not None]
        return sum(known) if known else None

    @property
    def times_accepted(self) -> int:
        """How often the vendor was paid for this job, as far as the record can tell."""
        others = sum("submitted_at" in other for other in self.other_videos.values())
        return others + (self.video_id is not None)

    @property
    def redrive(self) -> dict[str, str]:
        """When it is tried again automatically (`redrive_at`), and until when (`redrive_until`). Empty: it is not."""
        if self.status is not Status.INTERRUPTED or self.redrive_at is None or self.redrive_until is None:
            return {}
        if self.current_retry is not None:  # it runs again
            return {}
        return {"redrive_at": _iso(self.redrive_at), "redrive_until": _iso(self.redrive_until)}

    @property
    def idempotency_key(self) -> str:
        """What is sent to the vendor as `Idempotency-Key`: stable until an operator chooses to pay again."""
        return f"{self.job_id}.{self.resubmissions}" if self.resubmissions else self.job_id

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any]) -> Job:
        """The job that these attributes describe. Attributes that this version does not know are left alone."""
        known = {name: value for name, value in attributes.items() if name in _FIELDS}
        return cls(**{**known, "status": Status(attributes["status"])})


class Fields(TypedDict, total=False):
    """What a write may set in a record besides its status. None leaves a field as it is."""

    fingerprint: str | None
    request: str | None
    links_stripped: bool | None
    metadata: dict[str, Any] | None
    recipe: str | None
    model_id: str | None
    claimed_at: int | None
    attempt_at: int | None
    resubmissions: int | None
    video_id: str | None
    possible_video_id: str | None
    attached_id: str | None
    vendor_status: str | None
    credits_used: float | None
    other_videos: dict[str, dict[str, Any]] | None
    delivery: int | None
    submitted_at: int | None
    deadline_at: int | None
    expected_seconds: list[int] | None
    copy_began: int | None
    retrying: dict[str, Any] | None
    held_since: int | None
    next_try_at: str | None
    held_until: str | None
    interrupted_by: str | None
    interrupted_at: int | None
    redrive_at: int | None
    redrive_until: int | None
    redrives: int | None
    output: dict[str, Any] | None
    error: dict[str, Any] | None
    notice_due: str | None
    counted: str | None
    execution: str | None
    command: str | None


Hold = Literal["held_since", "limit_held_since"]
"""A kind of hold, by the field that says since when a job is in it."""
Removable = (
    Hold
    | Literal[
        "claim", "reserved", "error", "possible_video_id", "vendor_status", "credits_used", "output", "copy_began"
    ]
    | Literal["retrying", "notice_due", "counted", "redrives", "redrive_at", "redrive_until"]
)
"""The fields that a write may take away."""


def notice_of(status: Status, entry: str = "") -> str:
    """Name the notification of a status. `entry` tells one entry into it from the next; the first has none."""
    return f"{status.value}#{entry}" if entry else status.value


def status_of(notice: str) -> Status:
    """The status that a notification is about, by its name."""
    return Status(notice.partition("#")[0])


def with_fresh_links(advice: str) -> str:
    """What to do with a job whose links are gone, from the advice for one that still has them."""
    for command in ("resubmit the job", "resubmit"):
        advice = advice.replace(command, "ask for a new job with fresh links")
    return advice


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


_OUR_OWN = frozenset({"caller", "scope", "etag", "plan", "offset", "length", "other_ids"})
_SHOWN_OF_OTHERS = ("paid", "credits_used", "output")
_FIELDS = frozenset(field.name for field in fields(Job))
