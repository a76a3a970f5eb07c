"""The command line for operators: `python -m ops <command>`.

Knows options, the stack's outputs and words for people. What the commands do is in `ops.operator`.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from ops.finder import Finder
from ops.next_step import next_step
from ops.operator import Operator, Refused
from ops.vendor import Vendor
from shared.faults import Paid
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.jobs.waits import sweep_by
from shared.printable import in_line, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.jobs.record import Job

_MINUTE = 60
_COUNTED = 1000
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Answers the exit status: 2 where it could not be carried out, 130 where it was interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not have every letter
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    chosen = parser.parse_args(arguments)
    for argument in sys.argv[1:] if arguments is None else arguments:
        if not _is_text(argument):
            parser.error(f"this is no text in UTF-8: {argument}")
    try:
        chosen.run(_Desk(chosen), chosen)
        sys.stdout.flush()
    except Refused as refused:
        _say(str(refused), error=True)
    except (ClientError, BotoCoreError) as error:
        _say(_explained(error), error=True)
    except KeyboardInterrupt:
        _say("", "Interrupted. It is safe to give the same command again.", error=True)
        return 130
    except BrokenPipeError:
        # The reader of the output has closed it. https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    else:
        return 0
    return 2


def _is_text(argument: str) -> bool:
    """Whether AWS could be asked for it: bytes that are no UTF-8 come as halves of characters."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Desk:
    """The chosen stack: its operator, its switch, and who finds jobs there."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        # boto3 does not read AWS_REGION, which is what most other tools of AWS read.
        region = chosen.region or os.environ.get("AWS_REGION")
        session = boto3.session.Session(region_name=region, profile_name=chosen.profile)
        outputs, parameters = _stack(_client(session, "cloudformation"), chosen.stack)
        dynamodb = _client(session, "dynamodb")
        try:
            self.store = JobStore(dynamodb, outputs["JobsTable"], retention_days=int(parameters["RecordRetentionDays"]))
            self.switch = IntakeSwitch(dynamodb, outputs["JobsTable"])
            self.quiet_seconds = int(parameters["SweepQuietSeconds"])
            self.operator = Operator(
                store=self.store,
                sfn=_client(session, "stepfunctions"),
                state_machine_arn=outputs["StateMachineArn"],
                deadline_seconds=int(parameters["JobDeadlineMinutes"]) * _MINUTE,
                ask=Vendor(
                    secrets=_client(session, "secretsmanager"),
                    secret=outputs["ApiKeySecretArn"],
                    base_url=parameters["GenviralBaseUrl"],
                    allow_http=parameters.get("AllowPrivateOutput") == "true",
                ).video,
            )
            self.finder = Finder(
                store=self.store,
                s3=_client(session, "s3"),
                uploads=outputs["UploadsBucket"],
                videos=outputs["VideosBucket"],
            )
        except KeyError as missing:
            raise Refused(
                f"The stack {chosen.stack} is no stack of this project: it has no {missing.args[0]}."
            ) from None


def _client(session: boto3.session.Session, service: Any) -> Any:
    try:
        return session.client(service)
    except ValueError as error:
        if isinstance(error, BotoCoreError):
            raise
        raise Refused(f"{error}. AWS_ENDPOINT_URL must be an address, such as http://127.0.0.1:4566.") from None


def _stack(cloudformation: Any, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The outputs and the parameters of a stack."""
    try:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in error.response["Error"].get("Message", ""):
            raise
        region = cloudformation.meta.region_name
        raise Refused(f"There is no stack {name} in {region}. Choose with --stack, --region and --profile.") from None
    return (
        {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
        {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack.get("Parameters", [])},
    )


def _explained(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, NoRegionError):
        return "No region is known. Give --region, or set AWS_REGION."
    if not isinstance(error, ClientError):
        return f"AWS could not be asked: {error}"
    code = error.response["Error"].get("Code", "an unknown error")
    if code in _EXPIRED:
        return f"AWS does not take these credentials ({code}). Sign in again, or choose others with --profile."
    advice = "docs/operator-access.md has the policy that operators need." if "AccessDenied" in code else "Try again."
    return f"{error.operation_name} failed with {code}. It is safe to give the same command again. {advice}"


_HANDLES = (
    "whatever is known of it: the id of the job, its execution, its notification or its video at Genviral; the key, "
    "address, link or name of the uploaded file; the key, address or link (S3's or the "
    "console's) of the finished video; an Idempotency-Key"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors repeat arguments as anything else is printed."""

    def error(self, message: str) -> NoReturn:
        super().error(in_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ops", description="See what jobs do, and decide what only a person can.")
    parser.add_argument("--stack", default="genviral-video", help="the stack's name (default: %(default)s)")
    parser.add_argument("--region", help="its region (default: AWS_REGION, or the profile's)")
    parser.add_argument("--profile", help="the AWS profile to use")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[..., None], text: str, *, job: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if job:
            sub.add_argument("job", help="the job's id, or the name or ARN of its execution")
        return sub

    listing = command("list", _list, "jobs that wait for a person, then all that are open", job=False)
    listing.add_argument("--status", choices=[status.value for status in Status], help="jobs of this status only")
    listing.add_argument("--limit", type=int, default=100, help="at most so many (default: %(default)s)")
    show = command("show", _show, "a job, whether it is paid for, and what can be done", job=False)
    show.add_argument("what", metavar="job", help=_HANDLES)
    attach = command("attach", _attach, "go on with a video that Genviral has; pays nothing")
    attach.add_argument("video", nargs="?", help="Genviral's id of the video (default: the one that show names)")
    attach.add_argument("--replace", action="store_true", help="even if the record names another video")
    attach.add_argument(
        "--force", action="store_true", help="even if Genviral does not know the video, or another job has it"
    )
    resubmit = command("resubmit", _resubmit, "send the paid call again; MAY PAY A SECOND TIME")
    redrive = command("redrive", _redrive, "resume interrupted jobs where they failed; never pays twice", job=False)
    redrive.add_argument("job", nargs="?", help="the job's id, or the name or ARN of its execution")
    redrive.add_argument("--all", action="store_true", help="all interrupted jobs; lists them, then asks once")
    redrive.add_argument("--error", help="with --all: only jobs with this error, by its name or code")
    redrive.add_argument("--dry-run", action="store_true", help="with --all: list them, and do nothing")
    command("cancel", _cancel, "stop following a job; Genviral goes on with what was paid")
    command("stop-intake", _stop_intake, "the kill switch: no new job starts until start-intake", job=False)
    start_intake = command("start-intake", _start_intake, "let jobs start again, also those that waited", job=False)
    for paying in (resubmit, redrive, start_intake):
        paying.add_argument("--yes", action="store_true", help="do not ask")
    return parser


_NONE_OPEN = (
    "There is no open job, and none that waits for a person. Jobs that have ended: --status succeeded, failed, …"
)


def _list(desk: _Desk, chosen: argparse.Namespace) -> None:
    if desk.switch.is_stopped:
        _say("Intake is stopped: no new job starts until start-intake.", error=True)
    found = desk.operator.list(Status(chosen.status) if chosen.status else None)
    listed = list(itertools.islice(found, max(0, chosen.limit)))
    for job in listed:
        _say(_line(job))
    if not listed and chosen.limit > 0:
        _say(f"There is no job that is {chosen.status}." if chosen.status else _NONE_OPEN)
    if next(found, None) is not None:
        _say(f"There are more than {chosen.limit}; see --limit and --status.", error=True)


def _line(job: Job) -> str:
    return f"{job.job_id:<46} {job.status:<12} {job.created_at}  {in_line(job.video_id or '-')}"


def _show(desk: _Desk, chosen: argparse.Namespace) -> None:
    found = desk.finder.find(chosen.what)
    if len(found) > 1:
        _say(*map(_line, found))
        _say(f"These are {len(found)} jobs; show one by its id.", error=True)
        return
    job, execution = desk.operator.show(found[0].job_id)
    stopped = job.video_id is None and not job.is_terminal and desk.switch.is_stopped
    sweep = sweep_by(job, desk.quiet_seconds)
    facts = _facts(job, execution) | {"next": next_step(job, execution, intake_stopped=stopped, sweep_by=sweep)}
    _say(*_fact_lines(facts))


def _fact_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The facts that there are, by name. No value can fill up a line and go on as another fact."""
    for name, value in facts.items():
        if value not in (None, "", {}, [], 0):
            first, *more = value if isinstance(value, list) else [str(value)]
            yield f"{name:<13} {in_line(first)}"
            yield from (f"{'':<13} {in_line(line)}" for line in more)


def _say(*lines: str, error: bool = False) -> None:
    """Print lines. All that is printed comes here: a key in S3 may hold characters that steer a terminal."""
    for line in lines:
        print(in_line(line) if error else visible(line), file=sys.stderr if error else sys.stdout)


def _facts(job: Job, execution: Mapping[str, Any] | None) -> dict[str, Any]:
    """What there is to know about a job, in reading order; a list is several lines.

    Never its request, which may hold a prompt.
    """
    error, output = job.shown_error or {}, job.output or {}
    where = job.source.get("key") or job.source.get("caller") or ""
    lives = execution["status"] if execution else "not started, or forgotten"
    is_held = job.status is Status.ON_HOLD and job.next_try_at is not None
    return {
        "job": job.job_id,
        "status": f"{job.status} since {job.timeline.get(job.status, '?')}",
        "paid": job.paid,
        "source": f"{job.source.get('type')} {where}".strip(),
        "created": job.created_at,
        "recipe": job.recipe,
        "model": job.model_id,
        "video id": job.video_id,
        "may be paid": job.known_video if job.video_id is None else None,
        "Genviral says": _vendor_status(job),
        "credits": job.credits_used,
        "other videos": [_other(job, video_id) for video_id in sorted(job.other_videos)],
        "resubmissions": job.resubmissions,
        "redrives": job.redrives,
        "video": f"s3://{output['bucket']}/{output['key']}" if output else None,
        "error": error.get("code"),
        "message": error.get("message"),
        "issues": [f"{issue['path']}: {issue['message']}" for issue in error.get("issues", ())],
        "advice": error.get("advice"),
        "retrying": _retries(job),
        "tried again": f"{job.next_try_at}; the hold ends at {job.held_until}" if is_held else None,
        "notice due": job.notice_due,
        "execution": f"{job.execution or job.job_id} {lives}",
    }


def _retries(job: Job) -> list[str] | None:
    """Why a step is being repeated, how often it was, and when it is again."""
    if (now := job.current_retry) is None:
        return None
    many = f"{now['tries']} failed since {now['since']}, the next comes by {now['next_try_by']}"
    return [f"{now['error']['code']}: {now['error']['message']}", many]


def _vendor_status(job: Job) -> str | None:
    """The vendor's own word for where the video is, where that is not what the status says."""
    finished = (job.vendor_status or "").strip().lower() == Status.SUCCEEDED
    return f"{job.vendor_status}, but gives no link" if finished else job.vendor_status


def _other(job: Job, video_id: str) -> str:
    """A further video of a job: what it cost, and where it is or how to get it."""
    facts = job.other_videos[video_id]
    cost = f", {facts['credits_used']:g} credits" if "credits_used" in facts else ""
    cost = ", may be paid" if "paid" in facts else cost
    output = facts.get("output")
    place = f"s3://{output['bucket']}/{output['key']}" if output else f"attach {job.job_id} {video_id}"
    return f"{video_id}{cost}: {place}"


def _attach(desk: _Desk, chosen: argparse.Namespace) -> None:
    arn = desk.operator.attach(chosen.job, chosen.video, replace=chosen.replace, force=chosen.force)
    _say(f"Going on in {arn}")


def _resubmit(desk: _Desk, chosen: argparse.Namespace) -> None:
    def approve(job: Job) -> None:
        if job.claim is None:
            _ask(chosen, "The job was not paid for. Sending it again pays for it.", job.job_id)
        else:
            _ask(chosen, "The job may be paid for already. Sending it again may pay a second time.", job.job_id)

    _say(f"Sent again in {desk.operator.resubmit(chosen.job, approve)}")


def _redrive(desk: _Desk, chosen: argparse.Namespace) -> None:
    if chosen.all == (chosen.job is not None):
        raise Refused("Name one job, or give --all.")
    if chosen.all:
        _redrive_all(desk, chosen)
        return
    if chosen.error or chosen.dry_run:
        raise Refused("--error and --dry-run go with --all.")

    def approve(job: Job) -> None:
        if desk.switch.is_stopped:
            raise Refused("Intake is stopped, and this job has no video yet. Redrive it after start-intake.")
        if job.claim is None:
            _ask(chosen, "The job is not paid for yet. Going on sends its paid call, once.", job.job_id)
        else:
            _ask(
                chosen,
                "The job may be paid for already. Going on sends nothing, unless the call before turns out to be "
                "refused: then it sends the paid call, once.",
                job.job_id,
            )

    _say(f"Going on in {desk.operator.redrive(chosen.job, approve)}")


def _redrive_all(desk: _Desk, chosen: argparse.Namespace) -> None:
    """Show what would be redriven, ask once, and do it.

    Raises:
        Refused: Nobody agreed, or some jobs were left alone.
    """
    jobs = list(desk.operator.interrupted(chosen.error))
    if desk.switch.is_stopped and any(job.video_id is None for job in jobs):
        _say("Intake is stopped: jobs that are not paid for are left out.", error=True)
        jobs = [job for job in jobs if job.video_id is not None]
    for job in jobs:
        _say(f"{job.job_id:<46} paid: {job.paid:<8} {(job.error or {}).get('code')}")
    if not jobs or chosen.dry_run:
        _say(f"Jobs that would be redriven: {len(jobs)}.")
        return
    unpaid = sum(job.paid is Paid.NO for job in jobs)
    unknown = sum(job.paid is Paid.UNKNOWN for job in jobs)
    _ask(
        chosen,
        f"Jobs to redrive: {len(jobs)}. Not paid for yet, so that their paid call is sent: {unpaid}. Perhaps paid for, "
        f"so that it is sent only where the call before turns out to be refused: {unknown}.",
        "redrive",
    )
    left = 0
    for job, reason in desk.operator.redrive_all(jobs):
        if reason is not None:
            left += 1
            _say(f"{job.job_id}: {reason}", error=True)
    _say(f"Redriven: {len(jobs) - left}.")
    if left:
        raise Refused(f"Left alone: {left}, for the reasons above.")


def _cancel(desk: _Desk, chosen: argparse.Namespace) -> None:
    job = desk.operator.cancel(chosen.job)
    _say("Canceled.")
    if job.paid is not Paid.NO:
        _say("Genviral goes on with what was paid. Fetch it with attach.")


def _stop_intake(desk: _Desk, _: argparse.Namespace) -> None:
    desk.switch.stop()
    _say("Stopped. POST /videos answers 503; uploads are recorded and wait. Jobs that were started go on.")


def _start_intake(desk: _Desk, chosen: argparse.Namespace) -> None:
    waiting = len(list(itertools.islice(desk.store.in_status(Status.QUEUED), _COUNTED)))
    if waiting:
        many = f"{waiting} or more" if waiting == _COUNTED else str(waiting)
        _ask(chosen, f"Jobs that are queued now: {many}. Each will be sent and paid for.", "start")
    desk.switch.start()
    _say("Started. What waited begins with the next sweeps; they come every 15 minutes.")


def _ask(chosen: argparse.Namespace, warning: str, word: str) -> None:
    """Let a person decide about money.

    Raises:
        Refused: They did not agree, or nobody can be asked.
    """
    if chosen.yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{warning} Nothing was done. Add --yes if that is what you want.")
    _say(warning, error=True)
    print(f"Type {visible(word)} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise Refused("Nothing was done.")


if __name__ == "__main__":
    sys.exit(main())
