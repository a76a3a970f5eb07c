"""Write down that a step failed and is repeated, for people who wonder why a job does not move.

If the note cannot be written, that is only logged: the step's own failure matters more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Branch
from shared.jobs.transitions import TransitionConflict
from shared.jobs.waits import retry_of
from shared.runtime import logger

if TYPE_CHECKING:
    from shared.faults import Fault
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore


def note_retry(store: JobStore, job: Job, fault: Fault, wait_seconds: float | None = None) -> None:
    """Note on a job's record why its step failed, how often, and when the next try comes.

    Args:
        job: The job as it was read for this try.
        fault: Why the step failed. Noted only if the step is repeated.
        wait_seconds: How long the state machine waits. None: as long as its backoff says.
    """
    if fault.branch is not Branch.RETRY:
        return
    try:
        store.update(job.job_id, retrying=retry_of(job, fault, wait_seconds))
    except (TransitionConflict, ClientError, BotoCoreError) as error:
        logger.warning("the failed try could not be noted", reason=type(error).__name__)
