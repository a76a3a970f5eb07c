"""Schedule a job's polls, and learn from its duration for the next job of its kind.

Combines the polling policy with the durations in the table. A failure here never fails a job: where the table cannot be
read or written, the job is polled as if its model were unknown.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.jobs.states import Status
from shared.polling.durations import Durations, kind_of
from shared.polling.policy import PollingPolicy, deadline, expectation, measured
from shared.runtime import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.record import Job

_UNDISTURBED = frozenset({Status.QUEUED, Status.SUBMITTING, Status.PROCESSING})
_LATE_SHARE, _LATE_SECONDS = 0.1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PollScheduler:
    """Plan polls and learn from them.

    Args:
        policy: When to poll.
        durations: How long the last generations took.
        deadline_seconds: The shortest deadline of a job, in seconds.
    """

    policy: PollingPolicy
    durations: Durations
    deadline_seconds: int

    def known(self, model_id: str | None, request: Mapping[str, object]) -> list[float]:
        """Return how long the last generations like this one took, in seconds; empty where that is not known."""
        try:
            return self.durations.of(kind_of(model_id, request))
        except (ClientError, BotoCoreError) as error:
            logger.warning("past durations could not be read", reason=type(error).__name__)
            return []

    def facts(self, known: list[float], submitted_at: int) -> dict[str, Any]:
        """Return the fields for the record of a job that was just submitted: its deadline and its estimate."""
        expected = expectation(known)
        return {
            "deadline_at": submitted_at + deadline(expected, self.deadline_seconds),
            "expected_seconds": list(expected) if expected else None,
        }

    def first_poll(self, job_id: str, known: list[float], submitted_at: int) -> dict[str, Any]:
        """Plan a job's polls and return the state machine's data: `wait_seconds` until the first poll, and `waiting`.

        All times in `waiting` are seconds since the submission: the planned polls (`looks`), when a poll last found the
        video unfinished, and when the next poll is due.
        """
        # Random, but the same for a repeat.
        chance = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[-4:], "big") / 2**32
        return self._wait(self.policy.plan(known, chance), 0, _since(submitted_at), None)

    def next_poll(
        self, waiting: Mapping[str, Any] | None, submitted_at: int, retry_after: float | None = None
    ) -> dict[str, Any]:
        """Return the state machine's data after a poll that found the video unfinished.

        Args:
            waiting: Its data before the poll. None for an execution that an older version started.
            submitted_at: When the job was submitted, in epoch seconds.
            retry_after: Seconds the vendor asked for instead of an answer.
        """
        plan, unfinished = (waiting["looks"], waiting["unfinished"]) if waiting else ([], 0)
        elapsed = _since(submitted_at)
        return self._wait(plan, unfinished if retry_after is not None else elapsed, elapsed, retry_after)

    def learn(self, job: Job, waiting: Mapping[str, Any] | None, submitted_at: int) -> None:
        """Store how long the video took that was just found finished.

        The duration is unknown if the job was held, interrupted or reopened, or if the poll was late because the vendor
        or AWS was unreachable: the video may have been finished for a long time.
        """
        elapsed = _since(submitted_at)
        if waiting is None or set(job.timeline) - _UNDISTURBED or job.model_id is None:
            return
        if elapsed > waiting["next"] * (1 + _LATE_SHARE) + _LATE_SECONDS:
            return
        kind = kind_of(job.model_id, json.loads(job.request or "{}"))
        try:
            self.durations.learn(kind, job.job_id, measured(waiting["unfinished"], elapsed))
        except (ClientError, BotoCoreError) as error:
            logger.warning("the duration could not be stored", reason=type(error).__name__)

    def _wait(self, plan: list[int], unfinished: int, elapsed: int, retry_after: float | None) -> dict[str, Any]:
        seconds = self.policy.wait(plan, elapsed, retry_after)
        due = elapsed + seconds
        ahead = [poll for poll in plan if poll > elapsed]
        return {"wait_seconds": seconds, "waiting": {"looks": ahead, "unfinished": unfinished, "next": due}}


def _since(submitted_at: int) -> int:
    return max(0, int(time.time()) - submitted_at)
