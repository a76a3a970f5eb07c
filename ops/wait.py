"""Wait for jobs, and fetch their videos. Only reads. Must not know the command line."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ops.exits import OF_STATUS, Exit, NotFound, of_os
from ops.facts import made_of, time_left, waits_for_a_person
from ops.stack import ERRORS, explained
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_s3 import S3Client

    from shared.executions import Executions
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

_SHORTEST_SECONDS, _LONGEST_SECONDS, _GROWTH = 0.5, 5.0, 1.3
ARRIVAL_SECONDS = 120
"""How long what was uploaded a moment ago may have started nothing: S3's event takes seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How waiting for a job ended.

    Attributes:
        file: Where its video was saved.
        not_saved: Why the video of a job that succeeded was not.
    """

    job_id: str
    exit_code: Exit
    job: Job | None = None
    file: Path | None = None
    not_saved: str | None = None


def rounds(timeout: float | None) -> Iterator[float]:
    """Yield the seconds waited so far, with longer and longer pauses between, until the time is over.

    Args:
        timeout: The most seconds to wait; there is one round at least. None: without end.
    """
    begun, pause = time.monotonic(), _SHORTEST_SECONDS
    while True:
        yield time.monotonic() - begun
        left = None if timeout is None else timeout - (time.monotonic() - begun)
        if left is not None and left <= 0:
            return
        time.sleep(pause if left is None else min(pause, left))
        pause = min(_LONGEST_SECONDS, pause * _GROWTH)


@dataclass(slots=True)
class Polls:
    """Count the polls of jobs, from the histories of their executions. Without the right to read them, it does not."""

    executions: Executions
    _is_refused: bool = field(default=False, init=False)

    def of(self, job: Job) -> int:
        """Return how often a job was polled; 0 also where that cannot be read."""
        if self._is_refused:
            return 0
        try:
            return self.executions.entered(self.executions.arn_of(job), "Poll")
        except ClientError:
            self._is_refused = True
            return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """Wait for jobs.

    Args:
        tell: Called with the state of a job after each read of its record.
        polls: Counts the polls of a job for `tell`. None: `tell` gets no polls.
        out: The folder for the videos.
    """

    store: JobStore
    s3: S3Client
    out: Path
    tell: Callable[[str], None]
    polls: Polls | None = None

    def wait(self, job_ids: Sequence[str], timeout: float | None) -> list[Outcome]:
        """Wait until each job has ended or needs a person, and fetch the videos.

        Args:
            timeout: The most seconds to wait. None: as long as it takes.

        Raises:
            NotFound: A job has no record, and none came.
        """
        outcomes: dict[str, Outcome] = {}
        for waited in rounds(timeout):
            for job_id in job_ids:
                if job_id not in outcomes and (outcome := self._look(job_id, waited)):
                    outcomes[job_id] = outcome
            if len(outcomes) == len(set(job_ids)):
                break
        over = (Outcome(job_id, Exit.STILL_RUNNING, self.store.get(job_id)) for job_id in job_ids)
        return [outcomes.get(outcome.job_id, outcome) for outcome in over]

    def _look(self, job_id: str, waited: float) -> Outcome | None:
        """Return how a job ended, or None while it goes on."""
        job = self.store.get(job_id)
        if job is None:
            if waited > ARRIVAL_SECONDS:
                raise NotFound(
                    f"No job {job_id} came within {ARRIVAL_SECONDS} seconds. S3's event may be late: wait on."
                )
            self.tell(f"{job_id}: waiting for S3's event ({waited:.0f} s)")
            return None
        if job.is_terminal or waits_for_a_person(job):
            return self._fetched(job)
        polls = self.polls.of(job) if self.polls and job.video_id else 0
        parts = [job.status, time_left(job), f"{polls} poll{'s' * (polls > 1)}" if polls else None]
        self.tell(f"{made_of(job)}: {', '.join(filter(None, parts))} ({waited:.0f} s)")
        return None

    def _fetched(self, job: Job) -> Outcome:
        """Return how a job ended, with its video. The outcome says why a video, which is paid for, was not saved."""
        code = OF_STATUS[job.status]
        if job.status is not Status.SUCCEEDED or not job.output:
            return Outcome(job.job_id, code, job)
        try:
            return Outcome(job.job_id, code, job, self.fetch(job))
        except ERRORS as error:  # before OSError, which some of them are
            return Outcome(job.job_id, Exit.UNANSWERED, job, not_saved=explained(error))
        except OSError as error:
            return Outcome(job.job_id, Exit.REFUSED, job, not_saved=of_os(error))

    def fetch(self, job: Job) -> Path:
        """Save a job's video, unless it was saved before, and return its path.

        Raises:
            OSError: It cannot be written.
        """
        place = job.output or {}
        self.out.mkdir(parents=True, exist_ok=True)
        file = self.out / Path(place["key"]).name
        if not file.exists() or file.stat().st_size != place.get("bytes"):
            # It writes to another name first, so no half of a video lies under this one.
            self.s3.download_file(place["bucket"], place["key"], str(file))
        return file
