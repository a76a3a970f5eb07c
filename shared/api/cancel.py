"""A job that its owner does not want any more.

Genviral knows no cancel, so this means: stop following. The job is closed and told first, then its execution is
stopped, so that the execution's end finds nothing left to tell. Repeating it is safe, and finishes what was cut off.
Knows the notifier and Step Functions; must not know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.executions import Executions
from shared.faults import Paid
from shared.jobs import identity
from shared.jobs.errors import JobEnded, JobNotFound
from shared.jobs.transitions import TransitionConflict

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from shared.steps.notify import Notifier

_TOLD = {
    Paid.YES: (
        "The job is not followed any more. Its video is paid for and Genviral goes on making it: find it in Genviral's "
        "studio under its video_id, or let an operator fetch it with the command `attach`."
    ),
    Paid.NO: "The job is not followed any more. Nothing was sent to Genviral, so nothing was paid.",
    Paid.UNKNOWN: (
        "The job is not followed any more. Its request was on the way to Genviral: it may be paid for and go on there. "
        "Look into Genviral's studio; an operator can fetch a video with the command `attach`."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceler:
    """Stops following jobs.

    Args:
        notifier: Closes the job and says so.
        sfn: A boto3 Step Functions client.
        state_machine_arn: The machine that runs jobs.
    """

    notifier: Notifier
    sfn: SFNClient
    state_machine_arn: str

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop following a job.

        Returns:
            The job's status, and what this means for its video.

        Raises:
            JobNotFound: There is no such job.
            JobEnded: It has ended otherwise.
        """
        if not identity.is_job_id(job_id):
            raise JobNotFound("there is no such job")
        try:
            job = self.notifier.canceled(job_id)
        except TransitionConflict as refused:
            if refused.current is None:
                raise JobNotFound("there is no such job") from None
            raise JobEnded(f"the job has ended: it is {refused.current.status}") from None
        executions = Executions(sfn=self.sfn, state_machine_arn=self.state_machine_arn)
        executions.stop(executions.arn_of(job), cause="Its owner canceled the job.")
        answer = {
            "job_id": job.job_id,
            "status": job.status.value,
            "video_id": job.video_id,
            "message": _TOLD[job.paid],
        }
        return {name: value for name, value in answer.items() if value is not None}
