"""How a job begins: a record first, then an execution of the same name.

Both may be repeated. An event that comes twice, or a process killed between the two, ends with one record and one
execution. Knows Step Functions and the store; must not know what the job asks for.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.record import Job


def start_batch(batch_id: str, source: Mapping[str, Any], *, sfn: SFNClient, state_machine_arn: str) -> None:
    """Start a batch's execution, unless the same event started it before. It needs no record: it pays for nothing."""
    with contextlib.suppress(sfn.exceptions.ExecutionAlreadyExists):
        sfn.start_execution(
            stateMachineArn=state_machine_arn, name=batch_id, input=json.dumps({"source": dict(source)})
        )


def start(job: Job, *, sfn: SFNClient, state_machine_arn: str) -> None:
    """Start the job's execution, unless it was started before.

    The execution's input says which job it is and where it came from, never what it asks for.
    """
    if job.status is not Status.QUEUED:
        return
    try:
        sfn.start_execution(
            stateMachineArn=state_machine_arn,
            # A job that was taken up again has a later execution; its first name is used up.
            name=(job.execution or job.job_id).rpartition(":")[2],
            input=json.dumps({"job_id": job.job_id, "source": job.source}),
        )
    except sfn.exceptions.ExecutionAlreadyExists:
        return
