"""The command line for operators: `python -m ops <command>`.

Knows options and words for people. What the commands do is in `ops.operator`.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ops.operator import Operator, Refused
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.jobs.store import JobStore

if TYPE_CHECKING:
    from shared.jobs.record import Job

_MINUTE = 60


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Answers the exit status: 2 where it could not be carried out."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.run(_Desk(chosen), chosen)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    except (ClientError, BotoCoreError) as error:
        print(f"AWS said no: {error}", file=sys.stderr)
        return 2
    return 0


class _Desk:
    """The clients for the stack that was chosen."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        session = boto3.session.Session(region_name=chosen.region, profile_name=chosen.profile)
        stacks = session.client("cloudformation").describe_stacks(StackName=chosen.stack)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
        parameters = {item["ParameterKey"]: item["ParameterValue"] for item in stacks[0].get("Parameters", [])}
        table = session.client("dynamodb")
        store = JobStore(table, outputs["JobsTable"], retention_days=int(parameters.get("RecordRetentionDays", "365")))
        self.switch = IntakeSwitch(table, outputs["JobsTable"])
        self.operator = Operator(
            store=store,
            sfn=session.client("stepfunctions"),
            state_machine_arn=outputs["StateMachineArn"],
            deadline_seconds=int(parameters.get("JobDeadlineMinutes", "120")) * _MINUTE,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops", description="Look at jobs and settle what a person must.")
    parser.add_argument("--stack", default="genviral-video", help="the stack's name (default: %(default)s)")
    parser.add_argument("--region", help="its region (default: the profile's)")
    parser.add_argument("--profile", help="the AWS profile to use")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, text: str, *, job: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if job:
            sub.add_argument("job", help="the job's id")
        return sub

    listing = command("list", _list, "jobs that are open or need a person, or all of one status", job=False)
    listing.add_argument("--status", type=Status, choices=list(Status), metavar="STATUS")
    listing.add_argument("--limit", type=int, default=100)
    command("show", _show, "all there is to know about a job, but its prompt")
    attach = command("attach", _attach, "go on with a video that Genviral has; pays nothing")
    attach.add_argument("video", help="Genviral's video_id")
    resubmit = command("resubmit", _resubmit, "send the paid call again; MAY PAY A SECOND TIME")
    resubmit.add_argument("--yes", action="store_true", help="do not ask")
    command("redrive", _redrive, "resume an interrupted job where it failed; pays nothing")
    command("cancel", _cancel, "stop following a job; Genviral goes on with what was paid")
    command("stop-intake", _stop_intake, "the red button: no new job starts until start-intake", job=False)
    command("start-intake", _start_intake, "let jobs start again; those that waited follow by themselves", job=False)
    return parser


def _list(desk: _Desk, chosen: argparse.Namespace) -> None:
    for _, job in zip(range(chosen.limit), desk.operator.list(chosen.status), strict=False):
        print(f"{job.job_id:<46} {job.status.value:<12} {job.created_at}  {job.video_id or '-'}")


def _show(desk: _Desk, chosen: argparse.Namespace) -> None:
    job, execution = desk.operator.show(chosen.job)
    print(json.dumps(_shown(job) | {"execution_status": (execution or {}).get("status", "gone")}, indent=2))


def _shown(job: Job) -> dict[str, Any]:
    facts = {name: getattr(job, name) for name in job.__slots__ if name not in ("request", "fingerprint")}
    return {name: value for name, value in facts.items() if value not in (None, {}, 0)}


def _attach(desk: _Desk, chosen: argparse.Namespace) -> None:
    print(f"Going on in {desk.operator.attach(chosen.job, chosen.video)}")


def _resubmit(desk: _Desk, chosen: argparse.Namespace) -> None:
    if not chosen.yes:
        print("Genviral may have been paid for this job already. Sending it again may pay a second time.")
        if input("Type the job's id to go on: ").strip() != chosen.job:
            raise Refused("Nothing was sent.")
    print(f"Sent again in {desk.operator.resubmit(chosen.job)}")


def _redrive(desk: _Desk, chosen: argparse.Namespace) -> None:
    print(f"Going on in {desk.operator.redrive(chosen.job)}")


def _cancel(desk: _Desk, chosen: argparse.Namespace) -> None:
    desk.operator.cancel(chosen.job)
    print("Canceled. If it was paid for, Genviral still makes the video; `attach` fetches it.")


def _stop_intake(desk: _Desk, _: argparse.Namespace) -> None:
    desk.switch.stop()
    print("Stopped. POST /videos answers 503; uploads are recorded and wait. Running jobs go on.")


def _start_intake(desk: _Desk, _: argparse.Namespace) -> None:
    desk.switch.start()
    print("Started. Uploads that waited begin with the next sweep.")


if __name__ == "__main__":
    sys.exit(main())
