"""Record what the processes of a run did and knew, where the invariants need it and the records do not show it.

Knows claims, paid calls and what a process knew when it ended. Must not know how a fault is injected, or what must
hold (`invariants`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.jobs.states import Status
from tests.chaos import account as aws
from tests.chaos import dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.lambdas import Invocation

_UNCERTAIN = ("SubmissionUncertain", "SubmissionUnconfirmed")


class Observed:
    """The observations of a run.

    Args:
        now: Returns the time, in epoch seconds.
        claim_seconds: How long the process that took a claim may be running.
    """

    def __init__(self, now: Callable[[], float], claim_seconds: float) -> None:
        self._now = now
        self._claim_seconds = claim_seconds
        self._claims_sent: set[str] = set()
        self._claims_of_killed: set[str] = set()
        self._claims_reported: set[str] = set()
        self.early: list[tuple[str, str]] = []
        """Job's id, and why `uncertain` was too early."""
        self.unsent: list[str] = []
        """Ids of jobs that became `uncertain` though nothing was sent."""
        self.known: dict[str, str] = {}
        """Video → the idempotency key of the job whose process, or execution, knew of it."""
        self.not_awaited: set[str] = set()
        """Jobs whose slow answer was not waited for."""
        self.counted: Counter[tuple[str, Status]] = Counter()
        """Job's id and status → how often metrics counted that."""
        self.died_with_count: set[tuple[str, Status]] = set()
        """The same, where a process was killed between counting and sending its metrics."""
        self.may_count_again: Counter[tuple[str, Status]] = Counter()
        """Job's id and status → how many processes counted it and could not record that."""
        self.late: list[str] = []
        """Ids of jobs whose old key was sent in a paid call after an operator had resubmitted them."""

    def changed(self, invocation: Invocation, request: Any, *, done: bool, lost: bool) -> None:
        """Note that a record was updated, or that the update was rejected."""
        invocation.last_write_answered = not lost
        if not done:
            return
        if claim := aws.claim_taken(request):
            invocation.claim = claim
        elif aws.gives_claim_back(request):
            invocation.claim = None
        if aws.status_set(request) == Status.UNCERTAIN:
            self._became_uncertain(aws.job_of(request))

    def unanswered(self, invocation: Invocation, operation: str) -> None:
        """Note that a call had no effect."""
        if operation == "UpdateItem":
            invocation.last_write_answered = False

    def sent(self, invocation: Invocation, key: str) -> None:
        """Note that a paid call is about to be sent."""
        job_id = job_of_key(key)
        item = dynamodb.record(job_id)
        if invocation.claim:
            self._claims_sent.add(invocation.claim)
        if int(item.get("resubmissions", {}).get("N", 0)) > resubmissions_of_key(key):
            self.late.append(job_id)

    def failed(self, invocation: Invocation, error: str) -> None:
        """Note that a handler raised."""
        if error in _UNCERTAIN and invocation.claim and invocation.made["generate"]:
            self._claims_reported.add(invocation.claim)

    def flushed(self, invocation: Invocation, counts: list[tuple[str, Status]]) -> None:
        """Note that a process sends its metrics, or was killed before it did."""
        if invocation.died_of:
            self.died_with_count.update(counts)
            return
        self.counted.update(counts)
        for job_id, status in counts:
            # Its successor may have read the record before this process wrote that it had counted.
            if invocation.given_up or (not invocation.last_write_answered and _is_to_be_counted(job_id, status)):
                self.may_count_again[job_id, status] += 1

    def ended(self, invocation: Invocation, *, arrives: bool) -> None:
        """Note that an invocation has ended.

        Args:
            arrives: Whether its answer reached a caller that can use it.
        """
        if invocation.died_of:
            if invocation.claim:
                self._claims_of_killed.add(invocation.claim)
        elif arrives or invocation.last_write_answered:
            self.known.update(dict.fromkeys(invocation.videos, invocation.job))

    def _became_uncertain(self, job_id: str) -> None:
        item = dynamodb.record(job_id)
        claim = item.get("claim", {}).get("S")
        if claim is None or claim in self._claims_reported:
            return
        taken = item.get("attempt_at", item["claimed_at"])  # `attempt_at` if this attempt took over the claim
        age = self._now() - int(taken["N"])
        if age < self._claim_seconds:
            self.early.append((job_id, f"its claim was {age:.0f} s old"))
        if claim not in self._claims_sent | self._claims_of_killed:
            self.unsent.append(job_id)


def _is_to_be_counted(job_id: str, status: Status) -> bool:
    """Tell whether the record still asks for a status to be counted."""
    item = dynamodb.record(job_id)
    due = item.get("notice_due", {}).get("S", "")
    return bool(due.partition("#")[0] == status and item.get("counted", {}).get("S") != due)


def job_of_key(key: str) -> str:
    """Return the job that an idempotency key belongs to."""
    return key.partition(".")[0]


def resubmissions_of_key(key: str) -> int:
    """Return the number of resubmissions that an idempotency key encodes."""
    return int(key.partition(".")[2] or 0)
