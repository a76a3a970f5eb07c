"""Add the commands with which a person decides: `attach`, `resubmit`, `redrive`, `cancel`, and the kill switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ops import questions
from ops.cli import Desk, command
from ops.exits import Exit, Refused
from ops.output import agree, document, say
from shared.faults import Paid

if TYPE_CHECKING:
    from shared.jobs.record import Job

_yes = click.option("--yes", is_flag=True, help="do not ask")


@command("attach", "attach s3-4f1c8a3d", "attach s3-4f1c8a3d 0d37218d-d48c-4efd-b95e-0e5a2848f031")
@click.argument("job")
@click.argument("video", required=False)
@click.option("--replace", is_flag=True, help="even if the record names another video")
@click.option("--force", is_flag=True, help="even if Genviral does not know the video, or another job has it")
def attach(desk: Desk, job: str, video: str | None, replace: bool, force: bool) -> None:
    """Continue with a video that Genviral has; pays nothing.

    VIDEO is Genviral's id of it (default: the one that show names).
    """
    job_id = desk.job(job).job_id
    _goes_on(desk, job_id, desk.stack.operator.attach(job_id, video, replace=replace, force=force))


@command("resubmit", "resubmit s3-4f1c8a3d")
@click.argument("job")
@_yes
def resubmit(desk: Desk, job: str, yes: bool) -> None:
    """Send the paid call again; MAY PAY A SECOND TIME, so it asks."""

    def approve(found: Job) -> None:
        agree(questions.before_resubmit(found), found.job_id, yes=yes)

    job_id = desk.job(job).job_id
    _goes_on(desk, job_id, desk.stack.operator.resubmit(job_id, approve), "Sent again in")


@command("redrive", "redrive s3-4f1c8a3d", "redrive --all --dry-run", "redrive --all --error VideoNotFound")
@click.argument("job", required=False)
@click.option("--all", "every", is_flag=True, help="all interrupted jobs; lists them, then asks once")
@click.option("--error", help="with --all: only jobs with this error, by its name or code")
@click.option("--dry-run", is_flag=True, help="with --all: list them, and do nothing")
@_yes
def redrive(desk: Desk, job: str | None, every: bool, error: str | None, dry_run: bool, yes: bool) -> Exit | None:
    """Resume interrupted jobs where they failed; never pays twice."""
    if every == (job is not None):
        raise click.UsageError("Name one job, or give --all.")
    if job is None:
        return _redrive_all(desk, error, dry_run=dry_run, yes=yes)
    if error or dry_run:
        raise click.UsageError("--error and --dry-run go with --all.")
    _redrive_one(desk, job, yes=yes)
    return None


@command("cancel", "cancel s3-4f1c8a3d")
@click.argument("job")
def cancel(desk: Desk, job: str) -> None:
    """Stop following a job; Genviral continues with what was paid."""
    canceled = desk.stack.operator.cancel(desk.job(job).job_id)
    if desk.as_json:
        document({"job_id": canceled.job_id, "status": canceled.status.value, "paid": canceled.paid.value})
        return
    say("Canceled.")
    if canceled.paid is not Paid.NO:
        say(f"Genviral goes on with what was paid. Fetch it with: {desk.command('attach', canceled.job_id)}")


@command("stop-intake")
def stop_intake(desk: Desk) -> None:
    """Let no new job start until start-intake: the kill switch."""
    desk.stack.switch.stop()
    if desk.as_json:
        document({"intake_stopped": True})
        return
    say("Stopped. POST /videos answers 503; uploads are recorded and wait. Jobs that were started go on.")


@command("start-intake")
@_yes
def start_intake(desk: Desk, yes: bool) -> None:
    """Let jobs start again; asks if any have waited."""
    waiting, question = questions.before_start(desk.stack.store)
    if question:
        agree(question, "start", yes=yes)
    desk.stack.switch.start()
    if desk.as_json:
        document({"intake_stopped": False, "queued": waiting})
        return
    say("Started. What waited begins with the next sweeps; they come every 15 minutes.")


def _goes_on(desk: Desk, job_id: str, arn: str, said: str = "Going on in") -> None:
    if desk.as_json:
        document({"job_id": job_id, "execution": arn})
        return
    say(f"{said} {arn}")


def _redrive_one(desk: Desk, what: str, *, yes: bool) -> None:
    def approve(job: Job) -> None:
        agree(questions.before_redrive(job, desk.stack.switch), job.job_id, yes=yes)

    job_id = desk.job(what).job_id
    _goes_on(desk, job_id, desk.stack.operator.redrive(job_id, approve))


def _redrive_all(desk: Desk, error: str | None, *, dry_run: bool, yes: bool) -> Exit | None:
    """Show what would be redriven, ask once, and do it."""
    jobs = list(desk.stack.operator.interrupted(error))
    if desk.stack.switch.is_stopped and any(job.video_id is None for job in jobs):
        say("Intake is stopped: jobs that are not paid for are left out.", error=True)
        jobs = [job for job in jobs if job.video_id is not None]
    if not desk.as_json:
        for job in jobs:
            say(f"{job.job_id:<46} paid: {job.paid:<8} {(job.error or {}).get('code')}")
    if jobs and not dry_run:
        agree(questions.before_redrive_all(jobs), "redrive", yes=yes)
    reasons = {} if dry_run else {job.job_id: reason for job, reason in desk.stack.operator.redrive_all(jobs)}
    left = {job_id: reason for job_id, reason in reasons.items() if reason is not None}
    if desk.as_json:
        listed = [
            {"job_id": job.job_id, "paid": job.paid.value, "error_code": (job.error or {}).get("code")}
            | ({"left_alone": left[job.job_id]} if job.job_id in left else {})
            for job in jobs
        ]
        document({"jobs": listed, "redriven": len(reasons) - len(left), "left_alone": len(left)})
        return Exit.REFUSED if left else None
    if dry_run or not jobs:
        say(f"Jobs that would be redriven: {len(jobs)}.")
        return None
    for job_id, reason in left.items():
        say(f"{job_id}: {reason}", error=True)
    say(f"Redriven: {len(jobs) - len(left)}.")
    if left:
        raise Refused(f"Left alone: {len(left)}, for the reasons above.")
    return None


COMMANDS = (attach, resubmit, redrive, cancel, stop_intake, start_intake)
