"""The command line as a person meets it: what it prints, what it asks, how it refuses, and what it needs in AWS."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from ops.__main__ import _NONE_OPEN, main
from shared.jobs import identity
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from tests.unit.fakes import EXECUTION, JOB_ID, PROMPT, TABLE, UPLOADS, VIDEO_ID, VIDEOS, World, failed
from tests.unit.test_ops import LATER, TEMPLATE, alive, dead, ended, generation_failed, paid, uncertain, with_index

if TYPE_CHECKING:
    from collections.abc import Callable

STACK = "genviral-video"


@dataclass
class Account:
    """AWS behind the commands: all calls noted, a stack of this project, and a redrive, which moto has not."""

    world: World
    capsys: pytest.CaptureFixture[str]
    calls: set[str] = field(default_factory=set)
    fails: dict[str, Exception] = field(default_factory=dict)

    def answer(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation == "RedriveExecution":
            return {}
        if arguments["StackName"] != STACK:
            message = f"Stack with id {arguments['StackName']} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, operation)
        outputs = {
            "JobsTable": TABLE,
            "StateMachineArn": self.world.machine,
            "UploadsBucket": UPLOADS,
            "VideosBucket": VIDEOS,
        }
        parameters = {"RecordRetentionDays": "365", "JobDeadlineMinutes": "120"}
        return {
            "Stacks": [
                {
                    "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()],
                    "Parameters": [
                        {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
                    ],
                }
            ]
        }

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """The exit status of a command, and what it said on both channels."""
        self.capsys.readouterr()
        status = main(list(arguments))
        said = self.capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def account(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Account:
    with_index(world)
    assert world.machine
    assert world.s3
    account = Account(world, capsys)
    real = BaseClient._make_api_call

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        account.calls.add(f"{self.meta.service_model.signing_name}:{operation}")
        if error := account.fails.get(operation):
            raise error
        if operation in ("DescribeStacks", "RedriveExecution"):
            return account.answer(operation, arguments)
        return real(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return account


class Terminal(io.StringIO):
    """Somebody who types this."""

    def isatty(self) -> bool:
        return True


def test_list_says_that_there_is_no_job(account: Account) -> None:
    assert account.run("list") == (0, f"{_NONE_OPEN}\n", "")
    assert account.run("list", "--status", "uncertain") == (0, "There is no job that is uncertain.\n", "")


def test_a_key_cannot_steer_the_terminal(account: Account) -> None:
    source = {"type": "upload", "bucket": "b", "key": "uploads/\x1b]0;x\x07\u202ea.jpg"}
    account.world.store.create("job-odd", source=source)
    assert r"uploads/\x1b]0;x\x07\u202ea.jpg" in account.run("show", "job-odd")[1]


def test_list_begins_with_what_waits_for_a_person(account: Account) -> None:
    world = account.world
    world.job("job-queued")
    world.job("job-failed")
    world.store.move("job-failed", Status.FAILED)
    uncertain(world)
    status, out, err = account.run("list")
    assert [line.split()[:2] for line in out.splitlines()] == [[JOB_ID, "uncertain"], ["job-queued", "queued"]]
    assert (status, err) == (0, "")
    account.run("stop-intake")
    _, out, err = account.run("list", "--limit", "1")
    assert len(out.splitlines()) == 1
    assert "Intake is stopped" in err
    assert "more than 1" in err
    assert account.run("list", "--status", "failed")[1].split()[:2] == ["job-failed", "failed"]


def test_show_says_what_to_do_and_no_prompt(account: Account) -> None:
    uncertain(account.world)
    status, out, _ = account.run("show", JOB_ID)
    shown = dict(re.split(r" {2,}|(?<=video id) |(?<=notice due) ", line, maxsplit=1) for line in out.splitlines())
    assert status == 0
    assert shown["status"].startswith("uncertain since 20")
    assert shown["paid"] == "unknown"
    assert shown["error"] == "submission_uncertain"
    assert shown["notice due"] == "uncertain"
    assert shown["execution"] == f"{EXECUTION} ABORTED"
    assert f"attach {JOB_ID} VIDEO_ID" in shown["next"]
    assert f"resubmit {JOB_ID}" in shown["next"]
    assert PROMPT[:20] not in out


def expected_soon(world: World) -> None:
    world.paid_job(expected_seconds=[290, 400])
    world.store.note(JOB_ID, submitted_at=int(time.time()))
    alive(world)


def with_a_wrong_video(world: World) -> None:
    world.paid_job()
    dead(world)
    world.announcer().interrupted(EXECUTION, ended="FAILED", error="VideoNotFound", cause="", moment="1")


def stopped(world: World) -> None:
    world.job()
    IntakeSwitch(world.dynamodb, TABLE).stop()


MISTAKEN = f"If {VIDEO_ID} was attached by mistake: attach {JOB_ID} VIDEO_ID --replace"
NEXT: dict[str, tuple[Callable[[World], Any], str]] = {
    "not paid": (lambda world: ended(world, Status.FAILED), f"ask for a new job, or: resubmit {JOB_ID}, which pays"),
    "could not be made": (generation_failed, f"Genviral could not make it: ask for a new job. {MISTAKEN}"),
    "a row could not be made": (
        lambda world: generation_failed(world, "batch"),
        f"Genviral could not make it: change its row and upload the batch again. {MISTAKEN}",
    ),
    "not begun": (
        lambda world: world.job(),
        "nothing, it begins by itself with the next sweep, within 15 minutes and SweepQuietSeconds",
    ),
    "held back": (stopped, "intake is stopped, start-intake lets it begin"),
    "being made": (expected_soon, "nothing, Genviral works on it; about 5 min left"),
    "dead": (
        lambda world: paid(world, Status.DELIVERING),
        f"its execution has ended. If it stays so: redrive {JOB_ID}",
    ),
    "interrupted": (lambda world: paid(world, Status.INTERRUPTED), f"mend the cause, then: redrive {JOB_ID}"),
    "not found": (with_a_wrong_video, f"attach {JOB_ID} VIDEO_ID --replace"),
    "late": (
        lambda world: ended(world, Status.FAILED) or world.store.keep(JOB_ID, VIDEO_ID),
        f"attach {JOB_ID} {VIDEO_ID}",
    ),
}


@pytest.mark.parametrize("name", NEXT)
def test_show_says_what_comes_next(account: Account, name: str) -> None:
    prepare, text = NEXT[name]
    prepare(account.world)
    (line,) = (line for line in account.run("show", JOB_ID)[1].splitlines() if line.startswith("next"))
    assert line.endswith(text)


def test_show_says_which_fields_are_wrong(account: Account) -> None:
    account.world.job()
    issues = [{"path": "params.fps", "message": "must be a number"}, {"path": "prompt", "message": "is too long"}]
    account.world.store.move(JOB_ID, Status.FAILED, error={"code": "invalid_payload", "issues": issues})
    assert (
        "\nissues        params.fps: must be a number\n              prompt: is too long\n"
        in account.run("show", JOB_ID)[1]
    )


@pytest.mark.parametrize("name", [EXECUTION, f"{JOB_ID}.r2", LATER])
def test_what_the_console_shows_names_the_job(account: Account, name: str) -> None:
    account.world.job()
    assert account.run("show", name)[1].startswith(f"job           {JOB_ID}\n")


def test_show_takes_what_a_person_holds_and_lists_all_that_it_may_mean(account: Account) -> None:
    world = account.world
    world.paid_job()
    assert account.run("show", VIDEO_ID)[1].startswith(f"job           {JOB_ID}\n")
    key = "uploads/shoe.jpg"
    source = {"type": "upload", "bucket": UPLOADS, "key": key}
    jobs = [identity.for_object(UPLOADS, key, world.upload(key, body)) for body in (b"old", b"new")]
    for job_id in jobs:
        world.store.create(job_id, source=source)
    status, out, err = account.run("show", key)
    assert status == 0
    assert {line.split()[0] for line in out.splitlines()} == set(jobs)
    assert "2 jobs" in err


def test_a_video_that_became_known_too_late_is_pointed_out(account: Account) -> None:
    uncertain(account.world)
    account.world.store.keep(JOB_ID, VIDEO_ID)
    shown = account.run("show", JOB_ID)[1]
    assert f"attach {JOB_ID} {VIDEO_ID}" in shown
    assert "resubmit" not in shown
    assert VIDEO_ID in account.run("list")[1]


def test_an_attached_job_goes_on(account: Account) -> None:
    uncertain(account.world)
    assert account.run("attach", JOB_ID, VIDEO_ID) == (0, f"Going on in {LATER}\n", "")
    assert account.world.record().video_id == VIDEO_ID
    assert "VIDEO_ID" not in account.run("show", JOB_ID)[1]


@pytest.mark.parametrize(
    ("typed", "sent"), [(f"{JOB_ID}\n", True), ("yes\n", False), ("\n", False), ("", False)], ids=repr
)
def test_resubmit_asks_for_the_jobs_id(
    account: Account, monkeypatch: pytest.MonkeyPatch, typed: str, sent: bool
) -> None:
    uncertain(account.world)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    status, _, err = account.run("resubmit", JOB_ID)
    assert "may pay a second time" in err
    assert status == (0 if sent else 2)
    assert account.world.record().resubmissions == sent


PAYING = {
    "resubmit": (lambda world: uncertain(world), ["resubmit", JOB_ID]),
    "redrive": (lambda world: ended(world, Status.INTERRUPTED), ["redrive", JOB_ID]),
    "start-intake": (lambda world: world.job(), ["start-intake"]),
}


@pytest.mark.parametrize("name", PAYING)
def test_without_a_terminal_nothing_is_paid_unless_told(account: Account, name: str) -> None:
    prepare, command = PAYING[name]
    prepare(account.world)
    account.run("stop-intake")
    before, executions = account.world.record(), account.world.executions()
    account.calls.clear()
    status, out, err = account.run(*command)
    assert (status, out) == (2, "")
    assert "--yes" in err
    assert (account.world.record(), account.world.executions()) == (before, executions)
    writing = {"StartExecution", "RedriveExecution", "UpdateItem", "DeleteItem", "PutItem"}
    assert not {call.partition(":")[2] for call in account.calls} & writing
    assert account.run(*command, "--yes")[0] == 0
    assert {call.partition(":")[2] for call in account.calls} & writing


def test_a_paid_job_is_redriven_without_a_question(account: Account) -> None:
    paid(account.world, Status.INTERRUPTED)
    assert account.run("redrive", JOB_ID) == (0, f"Going on in {EXECUTION}\n", "")


def test_an_empty_queue_is_opened_without_a_question(account: Account) -> None:
    account.run("stop-intake")
    assert account.run("start-intake")[0] == 0
    assert "stopped" not in account.run("list")[2]


def test_cancel_says_what_becomes_of_the_money(account: Account) -> None:
    account.world.job("job-unpaid")
    assert account.run("cancel", "job-unpaid")[1] == "Canceled.\n"
    account.world.paid_job()
    assert "attach" in account.run("cancel", JOB_ID)[1]


REFUSALS: dict[str, tuple[list[str], Exception | None, str]] = {
    "unknown job": (["cancel", "nobody"], None, "There is no job nobody"),
    "no job's name": (["cancel", "#intake"], None, "There is no job #intake"),
    "no job's item": (["show", "#intake"], None, "Nothing is known as #intake"),
    "wrong state": (["attach", JOB_ID, VIDEO_ID], None, "The job is queued"),
    "wrong stack": (["--stack", "nothing", "list"], None, "There is no stack nothing in us-east-1"),
    "unknown profile": (["--profile", "nobody", "list"], None, "profile"),
    "no credentials": (["list"], NoCredentialsError(), "credentials"),
    "expired credentials": (["list"], failed("DescribeStacks", "ExpiredToken"), "Sign in again"),
    "no network": (["list"], EndpointConnectionError(endpoint_url="https://x.example"), "could not be asked"),
    "no permission": (["list"], failed("DescribeStacks", "AccessDenied"), "docs/operate.md"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_one_clear_line(account: Account, case: str) -> None:
    command, error, text = REFUSALS[case]
    account.world.job()
    if error is not None:
        account.fails["DescribeStacks"] = error
    status, out, err = account.run(*command)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert text in err


@pytest.fixture
def no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


@pytest.mark.usefixtures("no_region")
def test_the_region_may_stand_where_other_tools_look_for_it(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    assert account.run("list") == (2, "", "No region is known. Give --region, or set AWS_REGION.\n")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert "no stack other in eu-west-1" in account.run("--stack", "other", "list")[2]
    assert "no stack other in us-east-1" in account.run("--stack", "other", "--region", "us-east-1", "list")[2]


def test_an_endpoint_that_is_no_address_is_refused(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "foo")
    status, out, err = account.run("list")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "foo" in err
    assert "AWS_ENDPOINT_URL" in err


def test_another_projects_stack_is_refused(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "answer", lambda *_: {"Stacks": [{"Outputs": [], "Parameters": []}]})
    status, _, err = account.run("list")
    assert status == 2
    assert "no stack of this project" in err


def test_a_key_press_that_ends_a_command_shows_no_traceback(account: Account) -> None:
    account.fails["DescribeStacks"] = KeyboardInterrupt()  # type: ignore[assignment]
    status, _, err = account.run("list")
    assert status == 130
    assert "again" in err


def test_the_documented_policy_is_just_enough(account: Account) -> None:
    world = account.world
    world.job("job-new")
    uncertain(world)
    key = "uploads/shoe.jpg"
    world.store.create(identity.for_object(UPLOADS, key, world.upload(key, b"shoe")), source={"type": "upload"})
    account.calls.clear()
    for command in (
        ["list"],
        ["show", JOB_ID],
        ["show", f"s3://{UPLOADS}/uploads/shoe.jpg"],
        ["resubmit", JOB_ID, "--yes"],
        ["stop-intake"],
        ["start-intake", "--yes"],
    ):
        assert account.run(*command)[0] == 0, command
    world.paid_job("job-dead")
    dead(world, "job-dead")
    assert account.run("redrive", "job-dead")[0] == 0
    alive(world, "job-new")
    assert account.run("cancel", "job-new")[0] == 0
    assert account.run("attach", "job-new", VIDEO_ID)[0] == 0

    text = (TEMPLATE.parent / "docs" / "operate.md").read_text()
    _, _, section = text.partition("\n## What an operator may do in AWS\n")
    block = re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0]
    statements = json.loads(block)["Statement"]
    allowed = [action for statement in statements for action in _list(statement["Action"])]
    assert sorted(allowed) == sorted(_ACTIONS.get(call, call) for call in account.calls)
    assert all(statement["Effect"] == "Allow" and statement["Resource"] != "*" for statement in statements)


# Where an action is not called like its operation. https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ACTIONS = {"s3:ListObjectVersions": "s3:ListBucketVersions"}


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
