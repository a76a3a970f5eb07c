"""Test the command line: its output, its questions, its errors, and what it needs in AWS."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from ops.exits import Exit
from ops.wait import Polls
from shared.executions import Executions
from shared.genviral.errors import GenviralUnavailable, InsufficientCredits
from shared.jobs import identity
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from tests.support.fakes import (
    EXECUTION,
    JOB_ID,
    KEY,
    PROMPT,
    TABLE,
    UPLOADS,
    VIDEO_ID,
    VIDEOS,
    World,
    caught,
    client,
    failed,
    refusing,
)
from tests.support.operators import (
    LATER,
    CommandLine,
    alive,
    claimed,
    dead,
    ended,
    generation_failed,
    paid,
    uncertain,
)
from tests.support.template import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Terminal(io.StringIO):
    """A terminal with this input."""

    def isatty(self) -> bool:
        return True


def test_list_says_that_there_is_no_job(account: CommandLine) -> None:
    assert account.run("list") == (0, "No open jobs.\n", "")
    assert account.run("list", "--status", "uncertain") == (0, "No jobs that are uncertain.\n", "")


def test_the_key_is_not_sent_over_plain_http(account: CommandLine) -> None:
    uncertain(account.world)
    account.parameters = {"GenviralBaseUrl": "http://vendor.example/api/v1", "AllowPrivateOutput": "false"}
    status, _, err = account.run("attach", JOB_ID, VIDEO_ID)
    assert (status, account.world.vendor.asked) == (Exit.REFUSED, [])
    assert "GenviralBaseUrl" in err
    account.parameters["AllowPrivateOutput"] = "true"
    assert account.run("attach", JOB_ID, VIDEO_ID)[0] == 0


def test_a_key_cannot_steer_the_terminal(account: CommandLine) -> None:
    source = {"type": "upload", "bucket": "b", "key": "uploads/\x1b]0;x\x07\u202ea.jpg"}
    account.world.store.create("job-odd", source=source)
    assert r"uploads/\x1b]0;x\x07\u202ea.jpg" in account.run("show", "job-odd")[1]


def test_list_shows_the_newest_first_under_a_header(account: CommandLine) -> None:
    world = account.world
    key = "uploads/shoes/red shoe.jpg"
    world.store.create("job-upload", source={"type": "upload", "bucket": UPLOADS, "key": key})
    uncertain(world)
    world.overwrite(JOB_ID, created_at="2026-01-02T03:04:05Z", credits_used=5)
    world.job("job-failed")
    world.store.transition("job-failed", Status.FAILED)
    status, out, err = account.run("list")
    head, *rows = (re.split(r" {2,}", line.strip()) for line in out.splitlines())
    assert head == ["JOB", "MADE OF", "STATUS", "AGE", "CREDITS", "TIME LEFT"]
    assert [row[:3] for row in rows] == [["job-upload", "red shoe.jpg", "queued"], [JOB_ID, "api", "uncertain"]]
    assert rows[1][4] == "5"
    assert status == 0
    assert "Waiting for a person: 1" in err
    account.run("stop-intake")
    _, out, err = account.run("list", "--limit", "1")
    assert len(out.splitlines()) == 2
    assert "Intake is stopped" in err
    assert "more than 1" in err
    listed = json.loads(account.run("list", "--status", "failed", "--json")[1])
    assert (listed["jobs"][0]["job_id"], listed["intake_stopped"], listed["more"]) == ("job-failed", True, False)


def test_what_a_list_reads_depends_on_what_it_shows_and_not_on_the_table(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(130):
        account.world.store.create(f"job-{number:03}", source={"type": "api"})
    asked: list[str] = []
    real = BaseClient._make_api_call  # type: ignore[attr-defined]  # private, so the stubs do not have it

    def call(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        asked.append(operation)
        return real(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    assert len(json.loads(account.run("list", "--json")[1])["jobs"]) == 100
    assert (asked.count("Query"), asked.count("BatchGetItem"), asked.count("GetItem")) == (8, 1, 1)


def test_show_says_what_to_do_and_no_prompt(account: CommandLine) -> None:
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
    world.store.update(JOB_ID, submitted_at=int(time.time()))
    alive(world)


def failed_with_a_late_video(world: World) -> None:
    ended(world, Status.FAILED)
    world.store.record_video(JOB_ID, VIDEO_ID)


def with_a_wrong_video(world: World) -> None:
    world.paid_job()
    dead(world)
    world.notifier().interrupted(EXECUTION, ended="FAILED", error="VideoNotFound", cause="", moment="1")


def stopped(world: World) -> None:
    world.job()
    IntakeSwitch(world.dynamodb, TABLE).stop()


def in_an_outage(world: World, at: int = 4_102_444_800, name: str = JOB_ID, **attributes: Any) -> None:
    """Create a paid job that is redriven automatically, by default in the year 2100."""
    world.paid_job(name)
    dead(world, name)
    error = {"error": "GenviralUnavailable", "code": "genviral_unavailable", "message": "no answer"}
    outage = {"redrive_at": at, "redrive_until": 4_102_531_200, "error": error, **attributes}
    world.store.transition(name, Status.INTERRUPTED, **outage)


def an_unpaid_one_held_back(world: World) -> None:
    ended(world, Status.INTERRUPTED)
    world.store.update(JOB_ID, redrive_at=4_102_444_800, redrive_until=4_102_531_200)
    IntakeSwitch(world.dynamodb, TABLE).stop()


def failing(world: World) -> None:
    world.paid_job()
    alive(world)
    world.vendor.script["GET"] = [refusing(503)]
    for _ in range(2):
        with pytest.raises(GenviralUnavailable):
            world.poller().poll(EXECUTION, VIDEO_ID, int(time.time()))


def held(world: World) -> None:
    world.job()
    alive(world)
    world.notifier().on_hold(EXECUTION, caught(InsufficientCredits("no credits")))


MISTAKEN = f"If {VIDEO_ID} was attached by mistake: attach {JOB_ID} VIDEO_ID --replace"
NEXT: dict[str, tuple[Callable[[World], Any], str]] = {
    "not paid": (lambda world: ended(world, Status.FAILED), f"ask for a new job, or: resubmit {JOB_ID}, which pays"),
    "could not be made": (generation_failed, f"Genviral could not make it: ask for a new job. {MISTAKEN}"),
    "a row could not be made": (
        lambda world: generation_failed(world, "batch"),
        f"Genviral could not make it: change its row and upload the batch again. {MISTAKEN}",
    ),
    "not begun": (lambda world: world.job(), "nothing, the sweep starts it by MOMENT"),
    "polls fail": (failing, "nothing, it is tried again by MOMENT"),
    "on hold": (held, "do what the advice says; the job is tried again at MOMENT"),
    "held back": (stopped, "intake is stopped, start-intake lets it begin"),
    "being made": (expected_soon, "nothing, Genviral works on it; about 5 min left"),
    "dead": (
        lambda world: paid(world, Status.DELIVERING),
        f"its execution has ended. If it stays so: redrive {JOB_ID}",
    ),
    "interrupted": (lambda world: paid(world, Status.INTERRUPTED), f"fix the cause, then: redrive {JOB_ID}"),
    "redriven automatically": (
        in_an_outage,
        (
            "nothing, it is tried again at 2100-01-01T00:00:00Z, and then until 2100-01-02T00:00:00Z; sooner: "
            f"redrive {JOB_ID}"
        ),
    ),
    "redriven by the next sweep": (
        lambda world: in_an_outage(world, 1_700_000_000),
        (
            "nothing, it is tried again with the next sweep, within 15 minutes, and then until 2100-01-02T00:00:00Z; "
            f"sooner: redrive {JOB_ID}"
        ),
    ),
    "redriven when intake is open": (an_unpaid_one_held_back, "intake is stopped, start-intake lets it go on"),
    "not found": (with_a_wrong_video, f"attach {JOB_ID} VIDEO_ID --replace"),
    "late": (
        failed_with_a_late_video,
        f"attach {JOB_ID} {VIDEO_ID}",
    ),
}


@pytest.mark.parametrize("name", NEXT)
def test_show_says_what_comes_next(account: CommandLine, name: str) -> None:
    prepare, text = NEXT[name]
    prepare(account.world)
    (line,) = (line for line in account.run("show", JOB_ID)[1].splitlines() if line.startswith("next"))
    assert line.endswith(text) or _MOMENT.sub("MOMENT", line).endswith(text)


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def test_show_says_why_a_job_does_not_move_and_until_when(account: CommandLine) -> None:
    failing(account.world)
    shown = _MOMENT.sub("MOMENT", account.run("show", JOB_ID)[1])
    message = "Genviral gave no usable answer (HTTP 503): no"
    assert (
        f"retrying      genviral_unavailable: {message}\n"
        "              2 failed since MOMENT, the next comes by MOMENT\n" in shown
    )
    account.world.notifier().on_hold(EXECUTION, caught(InsufficientCredits("no credits")))
    shown = _MOMENT.sub("MOMENT", account.run("show", JOB_ID)[1])
    assert "tried again   MOMENT; the hold ends at MOMENT\n" in shown


def test_show_says_which_fields_are_wrong(account: CommandLine) -> None:
    account.world.job()
    issues = [{"path": "params.fps", "message": "must be a number"}, {"path": "prompt", "message": "is too long"}]
    account.world.store.transition(JOB_ID, Status.FAILED, error={"code": "invalid_payload", "issues": issues})
    assert (
        "\nissues        params.fps: must be a number\n              prompt: is too long\n"
        in account.run("show", JOB_ID)[1]
    )


@pytest.mark.parametrize("name", [EXECUTION, f"{JOB_ID}.r2", LATER])
def test_what_the_console_shows_names_the_job(account: CommandLine, name: str) -> None:
    account.world.job()
    assert account.run("show", name)[1].startswith(f"job           {JOB_ID}\n")


def test_show_takes_what_a_person_holds_and_lists_all_that_it_may_mean(account: CommandLine) -> None:
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
    assert {line.split()[0] for line in out.splitlines()[1:]} == set(jobs)
    assert "2 jobs" in err


def test_a_video_that_an_answer_named_is_pointed_out(account: CommandLine) -> None:
    uncertain(account.world)
    account.world.store.update(JOB_ID, possible_video_id="a video")
    shown = account.run("show", JOB_ID)[1]
    assert re.search(r"^may be paid +a video$", shown, re.MULTILINE)
    assert f"attach {JOB_ID}, which is 'a video'" in shown
    assert account.run("attach", JOB_ID) == (0, f"Going on in {LATER}\n", "")
    assert account.world.record().video_id == "a video"


@pytest.mark.parametrize(
    ("word", "shown"), [("Rendering", "Rendering"), ("SUCCEEDED", "SUCCEEDED, but gives no link"), (None, None)]
)
def test_show_says_what_the_vendor_says(account: CommandLine, word: str | None, shown: str | None) -> None:
    account.world.paid_job(vendor_status=word)
    lines = [line for line in account.run("show", JOB_ID)[1].splitlines() if line.startswith("Genviral says")]
    assert lines == ([f"Genviral says {shown}"] if shown else [])


@pytest.mark.parametrize("arguments", [("show", "{}"), ("redrive", "{}", "--yes"), ("attach", "{}", VIDEO_ID)])
def test_an_error_shows_no_run_of_blanks_from_an_argument(account: CommandLine, arguments: tuple[str, ...]) -> None:
    given = (argument.format("x" + " " * 99 + "y") for argument in arguments)
    code, _, err = account.run(*given)
    assert (code, "  " in err) == (Exit.NOT_FOUND, False)
    assert "x[99 blanks]y" in err


def test_a_video_that_became_known_too_late_is_pointed_out(account: CommandLine) -> None:
    uncertain(account.world)
    account.world.store.record_video(JOB_ID, VIDEO_ID)
    shown = account.run("show", JOB_ID)[1]
    assert f"attach {JOB_ID} {VIDEO_ID}" in shown
    assert "resubmit" not in shown
    assert json.loads(account.run("list", "--json")[1])["jobs"][0]["video_id"] == VIDEO_ID


def test_an_attached_job_goes_on(account: CommandLine) -> None:
    uncertain(account.world)
    assert account.run("attach", JOB_ID, VIDEO_ID) == (0, f"Going on in {LATER}\n", "")
    assert account.world.record().video_id == VIDEO_ID
    assert "VIDEO_ID" not in account.run("show", JOB_ID)[1]


def test_attach_asks_genviral_with_the_stacks_key(account: CommandLine) -> None:
    uncertain(account.world)
    account.world.vendor.script["GET"] = [refusing(404, "video_not_found")]
    status, out, err = account.run("attach", JOB_ID, "nonsense")
    assert (status, out) == (Exit.REFUSED, "")
    assert "Genviral does not know the video nonsense" in err
    (asked,) = account.world.vendor.asked
    assert (str(asked.url), asked.headers["Authorization"]) == (
        "https://vendor.example/api/v1/studio/videos/nonsense",
        f"Bearer {KEY}",
    )
    account.fails["GetSecretValue"] = failed("GetSecretValue", "AccessDeniedException")
    status, _, err = account.run("attach", JOB_ID, "nonsense")
    assert (status, len(err.splitlines())) == (Exit.UNANSWERED, 1)
    assert "docs/operator-access.md" in err
    assert account.run("attach", JOB_ID, "nonsense", "--force")[0] == 0
    assert len(account.world.vendor.asked) == 1


def test_a_key_that_was_never_set_is_named(account: CommandLine) -> None:
    uncertain(account.world)
    client("secretsmanager").put_secret_value(SecretId="genviral-key", SecretString="not-set")
    status, _, err = account.run("attach", JOB_ID, VIDEO_ID)
    assert status == Exit.REFUSED
    assert "The stored API key is empty" in err
    assert not account.world.vendor.asked


@pytest.mark.parametrize(
    ("typed", "sent"), [(f"{JOB_ID}\n", True), ("yes\n", False), ("\n", False), ("", False)], ids=repr
)
def test_resubmit_asks_for_the_jobs_id(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, typed: str, sent: bool
) -> None:
    uncertain(account.world)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    status, _, err = account.run("resubmit", JOB_ID)
    assert "may pay a second time" in err
    assert status == (Exit.DONE if sent else Exit.REFUSED)
    assert account.world.record().resubmissions == sent


PAYING: dict[str, tuple[Callable[[World], object], list[str]]] = {
    "resubmit": (lambda world: uncertain(world), ["resubmit", JOB_ID]),
    "redrive": (lambda world: ended(world, Status.INTERRUPTED), ["redrive", JOB_ID]),
    "start-intake": (lambda world: world.job(), ["start-intake"]),
}


@pytest.mark.parametrize("name", PAYING)
def test_without_a_terminal_nothing_is_paid_unless_confirmed(account: CommandLine, name: str) -> None:
    prepare, command = PAYING[name]
    prepare(account.world)
    if name == "start-intake":
        account.run("stop-intake")
    before, executions = account.world.record(), account.world.executions()
    account.calls.clear()
    status, out, err = account.run(*command)
    assert (status, out) == (Exit.REFUSED, "")
    assert "--yes" in err
    assert (account.world.record(), account.world.executions()) == (before, executions)
    writing = {"StartExecution", "RedriveExecution", "UpdateItem", "DeleteItem", "PutItem"}
    assert not {call.partition(":")[2] for call in account.calls} & writing
    assert account.run(*command, "--yes")[0] == 0
    assert {call.partition(":")[2] for call in account.calls} & writing


def test_a_paid_job_is_redriven_without_a_question(account: CommandLine) -> None:
    paid(account.world, Status.INTERRUPTED)
    assert account.run("redrive", JOB_ID) == (0, f"Going on in {EXECUTION}\n", "")


def three_interrupted(world: World) -> None:
    in_an_outage(world, name="job-down", redrives=3)
    lost = {"error": "VideoNotFound", "code": "video_not_found", "message": "unknown"}
    in_an_outage(world, name="job-lost", error=lost)
    ended(world, Status.INTERRUPTED)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([], {"job-down", "job-lost", JOB_ID}),
        (["--error", "VideoNotFound"], {"job-lost"}),
        (["--error", "genviral_unavailable"], {"job-down"}),
        (["--error", "nothing"], set()),
    ],
)
def test_a_dry_run_lists_what_would_be_redriven(account: CommandLine, options: list[str], chosen: set[str]) -> None:
    three_interrupted(account.world)
    account.calls.clear()
    status, out, _ = account.run("redrive", "--all", "--dry-run", *options)
    *listed, total = out.splitlines()
    assert (status, {line.split()[0] for line in listed}) == (0, chosen)
    assert total == f"Jobs that would be redriven: {len(chosen)}."
    assert not {call for call in account.calls if "UpdateItem" in call or "RedriveExecution" in call}
    assert PROMPT[:20] not in out


@pytest.mark.parametrize(("typed", "sent"), [("redrive\n", True), ("yes\n", False), ("", False)], ids=repr)
def test_many_are_redriven_after_one_question(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, typed: str, sent: bool
) -> None:
    three_interrupted(account.world)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    status, out, err = account.run("redrive", "--all")
    assert "Jobs to redrive: 3. Not paid for yet, so that their paid call is sent: 1." in err
    assert err.count("Type redrive") == 1
    assert (status, "Redriven: 3." in out) == ((0, True) if sent else (Exit.REFUSED, False))
    assert ("states:RedriveExecution" in account.calls) is sent
    # An operator resumed it, so the next failure is notified.
    assert account.world.record("job-down").redrives == (0 if sent else 3)


def test_without_a_terminal_many_are_redriven_only_if_confirmed(account: CommandLine) -> None:
    three_interrupted(account.world)
    status, _, err = account.run("redrive", "--all")
    assert (status, "--yes" in err) == (Exit.REFUSED, True)
    assert "states:RedriveExecution" not in account.calls
    assert account.run("redrive", "--all", "--yes")[0] == 0


def test_one_that_cannot_be_redriven_does_not_keep_the_others_waiting(account: CommandLine) -> None:
    three_interrupted(account.world)
    alive(account.world, "job-again")
    account.world.paid_job("job-again")
    account.world.store.transition("job-again", Status.INTERRUPTED)
    status, out, err = account.run("redrive", "--all", "--yes")
    assert (status, "Redriven: 3." in out) == (Exit.REFUSED, True)
    assert "job-again: The job's execution is running; there is nothing to redrive." in err
    assert "Left alone: 1" in err


def claimed_and_interrupted(world: World) -> None:
    claimed(world)
    world.store.transition(JOB_ID, Status.INTERRUPTED)


def test_while_intake_is_stopped_only_paid_ones_of_many_are_redriven(account: CommandLine) -> None:
    three_interrupted(account.world)
    account.run("stop-intake")
    _, out, err = account.run("redrive", "--all", "--yes")
    assert "Redriven: 2." in out
    assert "not paid for are left out" in err
    assert JOB_ID not in out


@pytest.mark.parametrize("prepare", [lambda world: ended(world, Status.INTERRUPTED), claimed_and_interrupted])
def test_a_job_without_a_video_is_not_redriven_while_intake_is_stopped(
    account: CommandLine, prepare: Callable[[World], object]
) -> None:
    prepare(account.world)
    account.run("stop-intake")
    status, _, err = account.run("redrive", JOB_ID, "--yes")
    assert (status, "Intake is stopped" in err) == (Exit.REFUSED, True)
    assert "states:RedriveExecution" not in account.calls
    account.run("start-intake", "--yes")
    assert account.run("redrive", JOB_ID, "--yes")[0] == 0


@pytest.mark.parametrize("command", [[], [JOB_ID, "--all"], [JOB_ID, "--dry-run"], [JOB_ID, "--error", "x"]])
def test_a_redrive_of_one_and_one_of_all_are_distinguished(account: CommandLine, command: list[str]) -> None:
    paid(account.world, Status.INTERRUPTED)
    assert account.run("redrive", *command)[0] == Exit.USAGE
    assert "states:RedriveExecution" not in account.calls


def test_an_empty_queue_is_opened_without_a_question(account: CommandLine) -> None:
    account.run("stop-intake")
    assert account.run("start-intake")[0] == 0
    assert "stopped" not in account.run("list")[2]


def test_cancel_says_what_becomes_of_the_money(account: CommandLine) -> None:
    account.world.job("job-unpaid")
    assert account.run("cancel", "job-unpaid")[1] == "Canceled.\n"
    account.world.paid_job()
    assert "attach" in account.run("cancel", JOB_ID)[1]


ERRORS: dict[str, tuple[list[str], Exception | None, Exit, str]] = {
    "unknown job": (["cancel", "nobody"], None, Exit.NOT_FOUND, "Nothing is known as nobody"),
    "no job's name": (["cancel", "#intake"], None, Exit.NOT_FOUND, "Nothing is known as #intake"),
    "no job's item": (["show", "#intake"], None, Exit.NOT_FOUND, "Nothing is known as #intake"),
    "several jobs": (["cancel", "test-job"], None, Exit.REFUSED, "test-job may mean 2 jobs: "),
    "wrong state": (["attach", JOB_ID, VIDEO_ID], None, Exit.REFUSED, "The job is queued"),
    "wrong stack": (["--stack", "nothing", "list"], None, Exit.NOT_FOUND, "There is no stack nothing in us-east-1"),
    "unknown profile": (["list", "--profile", "nobody"], None, Exit.UNANSWERED, "profile"),
    "no credentials": (["list"], NoCredentialsError(), Exit.UNANSWERED, "credentials"),
    "expired": (["list"], failed("DescribeStacks", "ExpiredToken"), Exit.UNANSWERED, "Sign in again"),
    "no network": (["list"], EndpointConnectionError(endpoint_url="x"), Exit.UNANSWERED, "could not be asked"),
    "no right": (["list"], failed("DescribeStacks", "AccessDenied"), Exit.UNANSWERED, "docs/operator-access.md"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_refusal_is_one_clear_line_and_an_exit_code(account: CommandLine, case: str) -> None:
    command, error, code, text = ERRORS[case]
    account.world.job()
    for name in ("test-job-1", "test-job-2"):
        account.world.job(name)
    if error is not None:
        account.fails["DescribeStacks"] = error
    status, out, err = account.run(*command)
    assert (status, out, len(err.splitlines())) == (code, "", 1)
    assert text in err
    status, out, err = account.run(*command, "--json")
    told = json.loads(out)["error"]
    assert (status, told["exit_code"], told["kind"], err) == (code, code, code.name.lower(), "")
    assert text in told["message"]


@pytest.fixture
def no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


@pytest.mark.usefixtures("no_region")
def test_the_region_may_stand_where_other_tools_read_it(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ops.stack._ENV_FILE", tmp_path / "settings")
    assert account.run("list") == (Exit.UNANSWERED, "", "No region is known. Give --region, or set AWS_REGION.\n")
    (tmp_path / "settings").touch()
    assert ". ./.genviral-env" in account.run("list")[2]
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert "no stack other in eu-west-1" in account.run("--stack", "other", "list")[2]
    assert "no stack other in us-east-1" in account.run("--stack", "other", "--region", "us-east-1", "list")[2]


def test_an_endpoint_that_is_no_address_is_refused(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "foo")
    status, out, err = account.run("list")
    assert (status, out, len(err.splitlines())) == (Exit.UNANSWERED, "", 1)
    assert "foo" in err
    assert "AWS_ENDPOINT_URL" in err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["list", "--watch"], [JOB_ID, "Waiting for a person: 1", "Intake is stopped"]),
        (["list", "--watch", "--status", "delivering"], ["No jobs that are delivering.", "Intake is stopped"]),
    ],
)
def test_a_watched_list_says_all_that_a_list_does_until_ctrl_c(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, words: list[str], shown: list[str]
) -> None:
    def press(_: float) -> NoReturn:
        raise KeyboardInterrupt

    uncertain(account.world)
    IntakeSwitch(account.world.dynamodb, TABLE).stop()
    monkeypatch.setattr(time, "sleep", press)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = account.run(*words)
    assert code == Exit.STOPPED
    assert [text for text in shown if text not in out] == []


def test_another_projects_stack_is_refused(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandLine, "answer", lambda *_: {"Stacks": [{"Outputs": [], "Parameters": []}]})
    status, _, err = account.run("list")
    assert status == Exit.NOT_FOUND
    assert "no stack of this project" in err


def test_a_key_press_that_ends_a_command_shows_no_traceback(account: CommandLine) -> None:
    account.fails["DescribeStacks"] = KeyboardInterrupt()  # type: ignore[assignment]  # not an Exception
    status, _, err = account.run("list")
    assert status == 130
    assert "again" in err


def test_the_documented_policy_is_just_enough(account: CommandLine) -> None:
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
    assert account.run("attach", "job-new", "another-video")[0] == 0

    assert _called(account) == _allowed(0)


def test_the_documented_policy_for_making_videos_is_just_enough(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shoe.jpg").write_bytes(b"shoe")
    (tmp_path / "boats.jsonl").write_text('{"model_id": "m/m", "prompt": "a boat"}')
    account.world.recipe({"model_id": "m/m", "prompt": "{{filename}}"})
    account.world.paid_job()
    key = f"videos/2026/11/22/{JOB_ID}.mp4"
    account.world.s3.put_object(Bucket=VIDEOS, Key=key, Body=b"video")
    account.world.overwrite(JOB_ID, status="succeeded", output={"bucket": VIDEOS, "key": key})
    account.calls.clear()
    for command in (
        ["submit", "shoe.jpg"],
        ["submit", "shoe.jpg"],
        ["wait", JOB_ID],
        ["batch", "boats.jsonl"],
        ["batch", "boats"],
        ["show", "recipes/default.json"],
    ):
        assert account.run(*command)[0] == 0, command
    # On a terminal, `wait` says how often a job was polled.
    executions = Executions(sfn=account.world.sfn, state_machine_arn=account.world.machine)
    assert Polls(executions).of(account.world.record()) == 0
    read = {"cloudformation:DescribeStacks", "dynamodb:GetItem", "s3:ListBucketVersions"}
    assert _called(account) - read == _allowed(1)


def _called(account: CommandLine) -> set[str]:
    return {_ACTIONS.get(call, call) for call in account.calls}


def _allowed(number: int) -> set[str]:
    """Return the actions that a policy of the page allows."""
    text = (ROOT / "docs" / "operator-access.md").read_text()
    statements = json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[number])["Statement"]
    assert all(statement["Effect"] == "Allow" and statement["Resource"] != "*" for statement in statements)
    return {action for statement in statements for action in _list(statement["Action"])}


# Actions with other names than their operations. https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    "dynamodb:TransactWriteItems": "dynamodb:UpdateItem",
}


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed"])
def test_a_wrong_signature_is_explained_with_the_clock(account: CommandLine, code: str) -> None:
    account.fails["DescribeStacks"] = failed("DescribeStacks", code)
    status, _, err = account.run("list")
    assert (status, code in err, "clock" in err) == (Exit.UNANSWERED, True, True)


def test_oldest_lists_the_oldest_first(account: CommandLine) -> None:
    for number, name in enumerate(("first-job", "second-job", "third-job")):
        account.world.store.create(name, source={"type": "api"})
        account.world.overwrite(name, created_at=f"2026-11-2{number}T00:00:00Z")
    listed = [job["job_id"] for job in json.loads(account.run("list", "--oldest", "--json")[1])["jobs"]]
    assert listed == ["first-job", "second-job", "third-job"]
    assert account.run("list", "--oldest", "--limit", "1")[1].splitlines()[1].startswith("first-job")


@pytest.mark.parametrize("form", [f"{JOB_ID}.mp4", f"./{JOB_ID}.mp4", f"/x/videos/{JOB_ID}.mp4", f"{JOB_ID[:7]}…"])
def test_show_takes_what_people_copy_of_a_job(account: CommandLine, form: str) -> None:
    account.world.paid_job()
    assert JOB_ID in account.run("show", form)[1]


def test_show_takes_the_path_of_a_file_that_was_uploaded(
    account: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "shoe.jpg").touch()
    account.world.job()
    account.world.store.set_source(JOB_ID, {"type": "upload", "bucket": UPLOADS, "key": "uploads/default/a/shoe.jpg"})
    assert JOB_ID in account.run("show", "samples/shoe.jpg")[1]
    assert account.run("show", "samples/boot.jpg")[0] == Exit.NOT_FOUND
