"""Let a person decide about a job, with the same questions as on the command line, and about intake.

Every change is `ops.operator`'s. A command that pays, or may pay, is refused with its question until the page says that
a person agreed; the operator then asks about the job as it is in that moment, and leaves one alone that has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops import questions
from ops.console.calls import BadCall, Unconfirmed
from ops.console.jobs import row
from ops.exits import NotFound, Refused
from shared.executions import is_live
from shared.jobs.states import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.console.calls import Call
    from ops.stack import Stack
    from shared.jobs.record import Job

COMMANDS = ("cancel", "attach", "resubmit", "redrive")
_ATTACHED = ["video_id", "replace", "force"]
_CANCEL = "The job is not followed any more. Genviral goes on with what was paid; attach fetches it later."


def commands(job: Job, execution: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what a person can do with a job now: `name`, `question`, whether it `pays`, `fields` and what was `seen`.

    Args:
        execution: Its execution as Step Functions describes it.
    """
    seen, useful, offered = _seen(job), STATES[job.status].commands, []
    if not job.is_terminal:
        offered.append({"name": "cancel", "question": _CANCEL, "pays": False, "fields": []})
    if not job.is_terminal and not is_live(execution):
        question = questions.redrive_question(job) if job.video_id is None else None
        offered.append({"name": "redrive", "question": question, "pays": question is not None, "fields": []})
    if "attach" in useful or job.other_videos:
        video = {"video_id": job.known_video}
        offered.append({"name": "attach", "question": None, "pays": False, "fields": _ATTACHED, "defaults": video})
    if "resubmit" in useful and job.video_id is None and not job.links_stripped:
        offered.append({"name": "resubmit", "question": questions.before_resubmit(job), "pays": True, "fields": []})
    return [{**command, "seen": seen} for command in offered]


def act(stack: Stack, call: Call) -> dict[str, Any]:
    """Carry out a command on a job, and return the job afterwards.

    Raises:
        NotFound: There is no such job or command.
        Unconfirmed: A person must agree first.
        Refused: It cannot be done as things are.
    """
    job_id, name, asked = call.path["job_id"], call.path["command"], call.json()
    if name not in COMMANDS:
        raise NotFound(f"There is no command {name}.")
    confirmed = asked.get("confirmed") is True

    def agree(job: Job, question: str) -> None:
        if not confirmed:
            raise Unconfirmed(question)
        if asked.get("seen") != _seen(job):
            raise Refused("The job has changed since you looked at it. Nothing was done. Look at it again.")

    match name:
        case "cancel":
            stack.operator.cancel(job_id)
        case "attach":
            video, replace, force = _attached(asked)
            stack.operator.attach(job_id, video, replace=replace, force=force)
        case "resubmit":
            stack.operator.resubmit(job_id, lambda job: agree(job, questions.before_resubmit(job)))
        case "redrive":
            stack.operator.redrive(job_id, lambda job: agree(job, questions.before_redrive(job, stack.switch)))
    job, _ = stack.operator.show(job_id)
    return {"job": row(job)}


def intake(stack: Stack, call: Call) -> dict[str, Any]:
    """Stop intake, or let jobs start again; the latter asks if any have waited.

    Raises:
        Unconfirmed: Jobs wait, and each would be paid for.
        BadCall: The page does not say which.
    """
    asked = call.json()
    stopped = asked.get("stopped")
    if stopped is True:
        stack.switch.stop()
    elif stopped is False:
        _, question = questions.before_start(stack.store)
        if question and asked.get("confirmed") is not True:
            raise Unconfirmed(question)
        stack.switch.start()
    else:
        raise BadCall("stopped must be true or false.")
    return {"intake_stopped": stopped}


def _seen(job: Job) -> str:
    """Name what a person saw of a job. A repeated or late click must not decide about what came after."""
    return f"{job.status}.{job.changed_at}.{job.resubmissions}"


def _attached(asked: Mapping[str, Any]) -> tuple[str | None, bool, bool]:
    video, replace, force = asked.get("video_id") or None, asked.get("replace", False), asked.get("force", False)
    if not isinstance(video, str | None) or not isinstance(replace, bool) or not isinstance(force, bool):
        raise BadCall("video_id must be a text; replace and force must be true or false.")
    return video, replace, force
