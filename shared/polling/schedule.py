"""How long to wait for a job's video, and what is learned from it for the next job of its kind.

Joins the polling policy with the durations in the table. Nothing here is worth a job: where the table cannot be asked
or told, a job waits as if its model were unknown. Must not know Lambda or the vendor.
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
    """Plans looks and learns from them.

    Args:
        policy: When to look.
        durations: How long the last generations took.
        deadline_seconds: How long the vendor may take at least before a job counts as stuck, in seconds.
    """

    policy: PollingPolicy
    durations: Durations
    deadline_seconds: int

    def known(self, model_id: str | None, request: Mapping[str, object]) -> list[float]:
        """How long the last generations like this one took, in seconds; empty where that is not known."""
        try:
            return self.durations.of(kind_of(model_id, request))
        except (ClientError, BotoCoreError) as error:
            logger.warning("how long it should take could not be read", reason=type(error).__name__)
            return []

    def facts(self, known: list[float], submitted_at: int) -> dict[str, Any]:
        """What belongs on the record of a job that was just submitted: its deadline, and what people are told."""
        expected = expectation(known)
        return {
            "deadline_at": submitted_at + deadline(expected, self.deadline_seconds),
            "expected_seconds": list(expected) if expected else None,
        }

    def begin(self, job_id: str, known: list[float], submitted_at: int) -> dict[str, Any]:
        """What the state machine carries from the submission on: `wait_seconds`, and `waiting` for the next look.

        All times in `waiting` are seconds since the submission: the planned looks, when the video was last seen
        unfinished, and when the next look is due.
        """
        # By chance, but the same for a repeat.
        chance = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[-4:], "big") / 2**32
        return self._wait(self.policy.plan(known, chance), 0, _since(submitted_at), None)

    def go_on(
        self, waiting: Mapping[str, Any] | None, submitted_at: int, retry_after: float | None = None
    ) -> dict[str, Any]:
        """What the state machine carries after a look that found nothing.

        Args:
            waiting: What it carried before. None for an execution that was started by an older version.
            submitted_at: When the job was submitted, in epoch seconds.
            retry_after: Seconds the vendor asked for instead of an answer.
        """
        looks, unfinished = (waiting["looks"], waiting["unfinished"]) if waiting else ([], 0)
        elapsed = _since(submitted_at)
        return self._wait(looks, unfinished if retry_after is not None else elapsed, elapsed, retry_after)

    def learn(self, job: Job, waiting: Mapping[str, Any] | None, submitted_at: int) -> None:
        """Remember how long the video took that was just found finished.

        A job that was held, interrupted or reopened tells nothing, and neither does a look that came late (the vendor
        or AWS was not to be reached): the video may have been finished for a long time.
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
            logger.warning("how long it took could not be written down", reason=type(error).__name__)

    def _wait(self, looks: list[int], unfinished: int, elapsed: int, retry_after: float | None) -> dict[str, Any]:
        seconds = self.policy.wait(looks, elapsed, retry_after)
        due = elapsed + seconds
        ahead = [look for look in looks if look > elapsed]
        return {"wait_seconds": seconds, "waiting": {"looks": ahead, "unfinished": unfinished, "next": due}}


def _since(submitted_at: int) -> int:
    return max(0, int(time.time()) - submitted_at)
