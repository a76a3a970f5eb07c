"""Start the execution of a job that has a record already. Both have the same name.

An event that comes twice, or a process that is killed between the two, ends with one record and one execution. Must not
know what the job asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.executions import Executions
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.record import Job


def start_batch(batch_id: str, source: Mapping[str, Any], *, sfn: SFNClient, state_machine_arn: str) -> None:
    """Start a batch's execution, unless the same event started it before. It needs no record: it pays for nothing."""
    executions = Executions(sfn=sfn, state_machine_arn=state_machine_arn)
    executions.start(executions.arn(batch_id), {"source": dict(source)})


def start(job: Job, *, sfn: SFNClient, state_machine_arn: str) -> None:
    """Start the job's execution, unless it was started before.

    The execution's input says which job it is and where it came from, never what it asks for.
    """
    if job.status is Status.QUEUED:
        executions = Executions(sfn=sfn, state_machine_arn=state_machine_arn)
        # A job that was taken up again has a later execution; its first name is used up.
        executions.start(executions.arn_of(job), {"job_id": job.job_id, "source": job.source})
