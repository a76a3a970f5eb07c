"""Cancel a job.

Genviral has no cancel call, so the project only stops following the job. It closes the job and notifies first, then
stops the execution, whose end then finds nothing left to notify. Repeating a cancel is safe and completes one that was
interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.executions import Executions
from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.errors import JobEnded, JobNotFound
from shared.jobs.transitions import TransitionConflict

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from shared.steps.notify import Notifier

_MESSAGES = {
    Paid.YES: (
        "The job is not followed any more. Its video is paid for and Genviral continues to make it: find it in "
        "Genviral's studio under its video_id, or ask an operator to fetch it with the command `attach`."
    ),
    Paid.NO: "The job is not followed any more. Nothing was sent to Genviral, so nothing was paid.",
    Paid.UNKNOWN: (
        "The job is not followed any more. Its request was being sent to Genviral, so it may be paid for and continue "
        "there. Check Genviral's studio; an operator can fetch the video with the command `attach`."
    ),
}


def cancel_job(job_id: str, *, notifier: Notifier, sfn: SFNClient, state_machine_arn: str) -> dict[str, Any]:
    """Stop following a job.

    Returns:
        The job's status, and what this means for its video.

    Raises:
        JobNotFound: There is no such job.
        JobEnded: It has already ended in another way.
    """
    if not identity.is_job_id(job_id):
        raise JobNotFound("there is no such job")
    try:
        job = notifier.canceled(job_id)
    except TransitionConflict as conflict:
        if conflict.current is None:
            raise JobNotFound("there is no such job") from None
        raise JobEnded(f"the job has ended: it is {conflict.current.status}") from None
    executions = Executions(sfn=sfn, state_machine_arn=state_machine_arn)
    executions.stop(executions.arn_of(job), cause="Its owner canceled the job.")
    answer = {
        "job_id": job.job_id,
        "status": job.status.value,
        "video_id": job.video_id,
        "message": _MESSAGES[job.paid],
    }
    return {name: value for name, value in answer.items() if value is not None}
