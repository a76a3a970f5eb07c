"""Read all that there is to know of one job: its record, its execution, and what comes next. Only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.facts import document, facts
from ops.next_step import command_in, next_step
from shared.jobs.waits import sweep_by

if TYPE_CHECKING:
    from ops.stack import Stack
    from shared.jobs.record import Job


@dataclass(frozen=True, slots=True)
class Shown:
    """A job as a person looks at it.

    Attributes:
        execution: Its execution as Step Functions describes it; None where there is none.
        next_step: What comes next, in words.
        next_command: The command for it, as words of a command line.
    """

    job: Job
    execution: dict[str, Any] | None
    next_step: str
    next_command: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document, with the fields of `ops.facts.FIELDS` that have a value."""
        execution = self.execution or {}
        return document(
            self.job,
            execution=self.job.execution or execution.get("executionArn"),
            execution_status=execution.get("status"),
            next_step=self.next_step,
            next_command=list(self.next_command),
        )

    def facts(self) -> dict[str, Any]:
        """Return what there is to know of it, in reading order."""
        return facts(self.job, self.execution)


def look_at(stack: Stack, job_id: str) -> Shown:
    """Read a job.

    Raises:
        NotFound: There is no such job.
    """
    job, execution = stack.operator.show(job_id)
    stopped = job.video_id is None and not job.is_terminal and stack.switch.is_stopped
    step = next_step(job, execution, intake_stopped=stopped, sweep_by=sweep_by(job, stack.quiet_seconds))
    return Shown(job, execution, step, command_in(job, step))
