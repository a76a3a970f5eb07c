"""What the processes of a run did and knew: all that the invariants need and nobody can see in the records afterwards.

Knows claims, paid calls and what a process had learnt when it ended. Must not know how a fault is brought about, or
what must hold (`invariants`).
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
        now: Tells the time, in epoch seconds.
        claim_seconds: As long as the process that took a claim may be running, in seconds.
    """

    def __init__(self, now: Callable[[], float], claim_seconds: float) -> None:
        self._now = now
        self._claim_seconds = claim_seconds
        self._claims_sent: set[str] = set()
        self._claims_of_the_dead: set[str] = set()
        self._claims_reported: set[str] = set()
        self.early: list[tuple[str, str]] = []
        """Job's id, and why it became `uncertain` too early."""
        self.unsent: list[str] = []
        """Ids of jobs that became `uncertain` though nothing was sent."""
        self.known: dict[str, str] = {}
        """Video → the idempotency key of the job whose process, or execution, knew of it."""
        self.not_awaited: set[str] = set()
        """Jobs whose slow answer was not waited for."""
        self.counted: Counter[tuple[str, Status]] = Counter()
        """Job's id and status → how often metrics counted that."""
        self.died_with_count: set[tuple[str, Status]] = set()
        """The same, where a process was killed between counting it and sending its metrics."""
        self.may_count_again: Counter[tuple[str, Status]] = Counter()
        """Job's id and status → how many processes counted it and left others no way to know of it."""
        self.late: list[str] = []
        """Ids of jobs for which a paid call was sent after an operator had resubmitted them, under the old key."""

    def changed(self, invocation: Invocation, request: Any, *, done: bool, lost: bool) -> None:
        """A record was changed, or refused the change."""
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
        """A call had no effect."""
        if operation == "UpdateItem":
            invocation.last_write_answered = False

    def sent(self, invocation: Invocation, key: str) -> None:
        """A paid call is about to leave the process."""
        job_id = job_of_key(key)
        item = dynamodb.record(job_id)
        if invocation.claim:
            self._claims_sent.add(invocation.claim)
        if int(item.get("resubmissions", {}).get("N", 0)) > resubmissions_of_key(key):
            self.late.append(job_id)

    def failed(self, invocation: Invocation, error: str) -> None:
        """A handler raised."""
        if error in _UNCERTAIN and invocation.claim and invocation.made["generate"]:
            self._claims_reported.add(invocation.claim)

    def flushed(self, invocation: Invocation, counts: list[tuple[str, Status]]) -> None:
        """A process sends its metrics, or was killed with them."""
        if invocation.died_of:
            self.died_with_count.update(counts)
            return
        self.counted.update(counts)
        for job_id, status in counts:
            # Whoever took over may have read the record before this process wrote that it had counted.
            if invocation.given_up or (not invocation.last_write_answered and _is_to_be_counted(job_id, status)):
                self.may_count_again[job_id, status] += 1

    def ended(self, invocation: Invocation, *, arrives: bool) -> None:
        """An invocation is over.

        Args:
            arrives: Whether its answer reached somebody who can use it.
        """
        if invocation.died_of:
            if invocation.claim:
                self._claims_of_the_dead.add(invocation.claim)
        elif arrives or invocation.last_write_answered:
            self.known.update(dict.fromkeys(invocation.videos, invocation.job))

    def _became_uncertain(self, job_id: str) -> None:
        item = dynamodb.record(job_id)
        claim = item.get("claim", {}).get("S")
        if claim is None or claim in self._claims_reported:
            return
        taken = item.get("attempt_at", item["claimed_at"])  # the attempt's own, where it took the claim over
        age = self._now() - int(taken["N"])
        if age < self._claim_seconds:
            self.early.append((job_id, f"its claim was {age:.0f} s old"))
        if claim not in self._claims_sent | self._claims_of_the_dead:
            self.unsent.append(job_id)


def _is_to_be_counted(job_id: str, status: Status) -> bool:
    """Whether the record says that a status is to be counted still."""
    item = dynamodb.record(job_id)
    due = item.get("notice_due", {}).get("S", "")
    return bool(due.partition("#")[0] == status and item.get("counted", {}).get("S") != due)


def job_of_key(key: str) -> str:
    """The job that an idempotency key belongs to."""
    return key.partition(".")[0]


def resubmissions_of_key(key: str) -> int:
    """How often an operator had chosen to pay again, by an idempotency key."""
    return int(key.partition(".")[2] or 0)
