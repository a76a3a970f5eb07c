"""Test how the commands submit and wait: what is paid, what is printed, and the exit code of each end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from boto3.exceptions import Boto3Error
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError

import ops.submit
import ops.wait
from ops.exits import OF_STATUS, Exit
from ops.facts import FIELDS
from ops.wait import Polls, Waiter
from shared.executions import Executions
from shared.jobs import identity
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.states import Status
from shared.requests.object_metadata import decoded
from tests.support.fakes import JOB_ID, TABLE, UPLOADS, VIDEO_ID, VIDEOS, failed
from tests.support.operators import CommandLine, claimed, ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.fakes import World


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ops.submit, "_FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr(ops.wait, "_SHORTEST_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shoe.jpg").write_bytes(b"shoe")


def objects(world: World) -> list[str]:
    return [one["Key"] for one in world.s3.list_object_versions(Bucket=UPLOADS).get("Versions", [])]


def arrived(world: World) -> str:
    """Make the job of the last upload, as its event does."""
    version = world.s3.list_object_versions(Bucket=UPLOADS)["Versions"][-1]
    source = {"type": "upload", "bucket": UPLOADS, "key": version["Key"], "version_id": version["VersionId"]}
    job_id = identity.for_object(UPLOADS, version["Key"], version["VersionId"])
    world.store.create(job_id, source=source)
    return job_id


def succeeded(world: World, job_id: str = JOB_ID) -> None:
    if world.store.get(job_id) is None:
        world.paid_job(job_id)
    world.s3.put_object(Bucket=VIDEOS, Key=f"videos/2026/11/22/{job_id}.mp4", Body=b"video")
    output = {"bucket": VIDEOS, "key": f"videos/2026/11/22/{job_id}.mp4", "bytes": 5}
    world.overwrite(job_id, status=Status.SUCCEEDED.value, output=output, video_id=VIDEO_ID)


# ---- submit ----------------------------------------------------------------------------------------------------------


def test_the_same_command_again_finds_the_same_job(account: CommandLine) -> None:
    status, first, err = account.run("submit", "shoe.jpg", "--recipe", "shoes")
    job_id = arrived(account.world)
    assert (status, first) == (0, f"{job_id}\n")
    assert f"wait {job_id}" in err
    (key,) = objects(account.world)
    assert key.startswith("uploads/shoes/")
    assert key.endswith("/shoe.jpg")
    status, again, err = account.run("submit", "shoe.jpg", "--recipe", "shoes")
    assert (status, again) == (0, first)
    assert f"submitted before: {job_id}, it is queued. Nothing more is paid" in err
    assert objects(account.world) == [key]
    for other in (["--recipe", "boots"], ["--recipe", "shoes", "--metadata", "a=b"], ["--recipe", "shoes", "--again"]):
        assert account.run("submit", "shoe.jpg", *other)[1] not in (first, "")


class Lossy:
    """S3 that stores an object and loses the answer, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> None:
        self.left = times
        real = BaseClient._make_api_call  # type: ignore[attr-defined]  # private, so the stubs do not have it

        def call(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
            answer = real(client, operation, arguments)
            if operation == "PutObject" and self.left:
                self.left -= 1
                raise error
            return answer

        monkeypatch.setattr(BaseClient, "_make_api_call", call)


BROKEN = ClientError(
    {"Error": {"Code": "InternalError"}, "ResponseMetadata": {"HTTPStatusCode": 500}},  # type: ignore[typeddict-item]
    "PutObject",
)
CONFLICT = ClientError(
    {"Error": {"Code": "ConditionalRequestConflict"}, "ResponseMetadata": {"HTTPStatusCode": 409}},  # type: ignore[typeddict-item]
    "PutObject",
)
LOST = ReadTimeoutError(endpoint_url="https://s3.example")


@pytest.mark.parametrize("again", [[], ["--again"]])
@pytest.mark.parametrize("error", [LOST, BROKEN, CONFLICT], ids=["time-out", "500", "409"])
def test_a_lost_answer_never_becomes_a_second_job(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, again: list[str], error: Exception
) -> None:
    Lossy(monkeypatch, 1, error)
    status, out, _ = account.run("submit", "shoe.jpg", *again)
    assert (status, len(objects(account.world))) == (0, 1)
    assert out == f"{arrived(account.world)}\n"


def test_if_no_answer_comes_a_repeat_of_the_command_finds_the_file(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.submit, "_TRIES", 1)
    Lossy(monkeypatch, 1, LOST)
    status, out, err = account.run("submit", "shoe.jpg")
    assert (status, out) == (Exit.UNANSWERED, "")
    assert "pays for nothing twice" in err
    assert account.run("submit", "shoe.jpg")[:2] == (0, f"{arrived(account.world)}\n")
    assert len(objects(account.world)) == 1


@pytest.mark.parametrize(
    ("status", "claim", "is_repeated"),
    [(Status.FAILED, None, True), (Status.CANCELED, None, True), (Status.FAILED, "sent", False)],
)
def test_only_what_failed_unpaid_is_submitted_once_more(
    account: CommandLine, status: Status, claim: str | None, is_repeated: bool
) -> None:
    first = account.run("submit", "shoe.jpg")[1].strip()
    assert arrived(account.world) == first
    account.world.overwrite(first, status=status.value, **({"claim": claim} if claim else {}))
    again = account.run("submit", "shoe.jpg")[1].strip()
    assert (again != first, len(objects(account.world))) == (is_repeated, 1 + is_repeated)


@pytest.mark.parametrize(
    "value", ["noir", "Méliès", "映画 🎬", "two\nlines", " blanks ", "=?UTF-8?B?eA==?=", "%41", "a" * 500]
)
def test_metadata_may_be_any_text(account: CommandLine, value: str) -> None:
    assert account.run("submit", "shoe.jpg", "--metadata", f"style={value}")[0] == 0
    (key,) = objects(account.world)
    sent = account.world.s3.head_object(Bucket=UPLOADS, Key=key)["Metadata"]["style"]
    assert sent.isascii()
    assert decoded(sent) == value


def test_a_prompt_becomes_a_request_whose_key_does_not_show_it(account: CommandLine) -> None:
    words = ["--prompt", "A secret boat", "--model", "maker/model", "--metadata", "größe=42", "--json"]
    status, out, _ = account.run("submit", *words)
    submitted = json.loads(out)
    assert (status, submitted["is_new"], "ecret" in submitted["key"]) == (0, True, False)
    body = account.world.s3.get_object(Bucket=UPLOADS, Key=submitted["key"])["Body"].read()
    assert json.loads(body) == {"model_id": "maker/model", "prompt": "A secret boat", "metadata": {"größe": "42"}}
    assert json.loads(account.run("submit", *words)[1])["is_new"] is False


WRONG: dict[str, tuple[list[str], Exit, str]] = {
    "nothing": ([], Exit.USAGE, "Give a FILE, or --prompt"),
    "both": (["shoe.jpg", "--prompt", "x"], Exit.USAGE, "Give a FILE, or --prompt"),
    "no file": (["gone.jpg"], Exit.USAGE, "'gone.jpg' does not exist"),
    "a model for a file": (["shoe.jpg", "--model", "m"], Exit.USAGE, "in its recipe"),
    "a recipe for a prompt": (["--prompt", "x", "--recipe", "r"], Exit.USAGE, "goes with a FILE"),
    "a recipe's path": (["shoe.jpg", "--recipe", "a/b"], Exit.USAGE, "can be no recipe's name"),
    "metadata without a value": (["shoe.jpg", "--metadata", "a"], Exit.USAGE, "not of the form NAME=VALUE"),
    "a name beyond ASCII": (["shoe.jpg", "--metadata", "größe=1"], Exit.USAGE, "can be no name in S3"),
    "much metadata": (["shoe.jpg", "--metadata", f"a={'x' * 3000}"], Exit.REFUSED, "S3 keeps 2048 at most"),
    "a batch": (["boats.csv"], Exit.REFUSED, "Use: batch boats.csv"),
    "broken JSON": (["broken.json"], Exit.REFUSED, "broken.json is not valid JSON: line 3, column 1"),
    "a key twice": (["twice.json"], Exit.REFUSED, "has the key 'a' twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_submitted_is_said_before_anything_is_sent(
    account: CommandLine, case: str, tmp_path: Path
) -> None:
    (tmp_path / "boats.csv").write_text("model_id\n")
    (tmp_path / "broken.json").write_text('{"model_id": "m",\n"prompt": "x"\n"params": {}}')
    (tmp_path / "twice.json").write_text('{"a": 1, "a": 2}')
    words, code, text = WRONG[case]
    status, out, err = account.run("submit", *words)
    assert (status, out, text in " ".join(err.split())) == (code, "", True), err
    assert objects(account.world) == []


# ---- wait ------------------------------------------------------------------------------------------------------------


def test_the_path_stands_alone_on_the_output(account: CommandLine, tmp_path: Path) -> None:
    succeeded(account.world)
    status, out, err = account.run("wait", JOB_ID[:12], "--out", "new folder")
    assert (status, out, err) == (0, f"new folder/{JOB_ID}.mp4\n", "")
    assert (tmp_path / "new folder" / f"{JOB_ID}.mp4").read_bytes() == b"video"
    account.calls.clear()
    assert account.run("wait", JOB_ID, "--out", "new folder")[:2] == (0, out)
    assert "s3:GetObject" not in account.calls  # it is there already


def _at(world: World, status: Status) -> None:
    if status is Status.SUCCEEDED:
        succeeded(world)
    elif status is Status.UNCERTAIN:
        claimed(world)
        world.store.transition(
            JOB_ID, status, error={"code": "submission_uncertain", "message": "Lost.", "advice": "Look."}
        )
    else:
        ended(world, Status.INTERRUPTED)
        held = {"held_since": int(time.time())} if status is Status.ON_HOLD else {}
        error = {"code": "made_up", "message": "It was made up.", "advice": "Do something."}
        world.overwrite(JOB_ID, status=status.value, error=error, **held)


@pytest.mark.parametrize("status", OF_STATUS)
def test_each_end_has_its_exit_code(account: CommandLine, status: Status) -> None:
    _at(account.world, status)
    code, out, err = account.run("wait", JOB_ID)
    assert code == OF_STATUS[status]
    assert bool(out) is (status is Status.SUCCEEDED)
    if status is not Status.SUCCEEDED:
        assert f"{JOB_ID} is {status}. Paid: " in err
        assert f"show {JOB_ID}" in err
    (told,) = json.loads(account.run("wait", JOB_ID, "--json")[1])["jobs"]
    assert (told["exit_code"], told["status"]) == (code, status)
    assert told.keys() <= FIELDS.keys() | {"exit_code"}


def test_each_status_is_waited_for_or_has_an_exit_code_of_its_own() -> None:
    moving = {Status.QUEUED, Status.SUBMITTING, Status.PROCESSING, Status.DELIVERING}
    assert OF_STATUS.keys() == set(Status) - moving
    assert len(set(OF_STATUS.values())) == len(OF_STATUS)
    assert len({int(code) for code in Exit}) == len(Exit)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (Status.PROCESSING, {}),
        (Status.ON_HOLD, {"limit_held_since": 1}),  # it continues on the next day
        (Status.INTERRUPTED, {"redrive_at": 4_102_444_800, "redrive_until": 4_102_531_200}),
    ],
)
def test_a_wait_goes_on_until_its_time_is_over(account: CommandLine, status: Status, fields: dict[str, int]) -> None:
    account.world.paid_job()
    account.world.overwrite(JOB_ID, status=status.value, **fields)
    code, out, err = account.run("wait", JOB_ID, "--timeout", "0.01")
    assert (code, out) == (Exit.STILL_RUNNING, "")
    assert f"wait {JOB_ID}" in err


def test_a_wait_tells_state_polls_and_seconds_and_asks_no_more_without_the_right(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account.world.paid_job()
    entered = {"stateEnteredEventDetails": {"name": "Poll"}}
    histories = [{"events": [entered, {}]}, {"events": [entered, entered]}]
    oldest: dict[str, Any] = {"events": [{}]}  # of a history that is longer than a page
    account.answers["GetExecutionHistory"] = lambda asked: histories.pop(0) if asked.get("reverseOrder") else oldest
    executions = Executions(sfn=account.world.sfn, state_machine_arn=account.world.machine)
    told: list[str] = []
    waiter = Waiter(
        store=account.world.store, s3=account.world.s3, out=tmp_path, tell=told.append, polls=Polls(executions)
    )
    for _ in range(2):
        waiter.wait([JOB_ID], 0)
    account.fails["GetExecutionHistory"] = failed("GetExecutionHistory", "AccessDeniedException")
    waiter.wait([JOB_ID], 0)
    del account.fails["GetExecutionHistory"]
    waiter.wait([JOB_ID], 0)  # would fail: no history is left
    assert [text.partition(": ")[2] for text in told] == [
        "processing, 1 poll (0 s)",
        "processing, 2 polls (0 s)",
        *["processing (0 s)"] * 2,
    ]


def test_a_job_whose_event_has_not_come_is_waited_for(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = account.run("submit", "shoe.jpg")[1].strip()
    pauses: Iterator[Callable[[], object]] = iter(
        [lambda: arrived(account.world), lambda: succeeded(account.world, job_id)]
    )
    monkeypatch.setattr(time, "sleep", lambda _: next(pauses)())
    assert account.run("wait", job_id)[:2] == (0, f"{job_id}.mp4\n")
    assert account.run("wait", "shoe.jpg")[:2] == (0, f"{job_id}.mp4\n")


def test_a_job_that_never_comes_is_not_found(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.wait, "ARRIVAL_SECONDS", 0)
    assert account.run("wait", identity.for_object(UPLOADS, "uploads/a", "1"))[0] == Exit.NOT_FOUND
    assert account.run("wait", "nobody")[0] == Exit.NOT_FOUND


def test_ctrl_c_ends_only_the_waiting(account: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    account.world.paid_job()

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    code, out, err = account.run("wait", JOB_ID)
    assert (code, out) == (Exit.STOPPED, "")
    assert f"The job continues. Wait on with:\n  python -m ops wait {JOB_ID}\n" in err
    assert account.world.record().status is Status.PROCESSING


def test_with_several_jobs_the_highest_code_counts(account: CommandLine) -> None:
    succeeded(account.world)
    account.world.job("job-failed")
    account.world.store.transition("job-failed", Status.FAILED)
    code, out, _ = account.run("wait", JOB_ID, "job-failed")
    assert (code, out) == (Exit.FAILED, f"{JOB_ID}.mp4\n")


# ---- what goes wrong beside the job ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["submit", "shoe.jpg", "--wait"], ["wait", JOB_ID]])
@pytest.mark.parametrize("out", ["/proc/nope", "shoe.jpg/videos", "/dev/null"])
def test_a_folder_that_can_hold_no_video_is_refused_first(account: CommandLine, command: list[str], out: str) -> None:
    status, printed, err = account.run(*command, "--out", out)
    assert (status, printed, "no video can be saved" in err or "is a file" in err) == (Exit.USAGE, "", True)
    assert objects(account.world) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(28, "No space left on device", "x.mp4"), Exit.REFUSED),
        (ResponseParserError("invalid XML received:\nb'<html>'"), Exit.UNANSWERED),
        (Boto3Error("too often"), Exit.UNANSWERED),
        (LOST, Exit.UNANSWERED),
    ],
)
def test_a_paid_video_that_cannot_be_fetched_is_told(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, error: Exception, code: Exit
) -> None:
    def fetch(*_: Any) -> None:
        raise error

    succeeded(account.world)
    monkeypatch.setattr(Waiter, "fetch", fetch)
    status, out, err = account.run("wait", JOB_ID)
    assert (status, out, "Paid: yes" in err, f"wait {JOB_ID}" in err) == (code, "", True, True)
    status, out, _ = account.run("wait", JOB_ID, "--json")
    (job,) = json.loads(out)["jobs"]
    assert (status, job["paid"], job["exit_code"], bool(job["not_saved"])) == (code, "yes", code, True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LOST, ResponseParserError("x"), OSError(5, "I/O", "f")])
def test_whatever_ends_the_waiting_the_document_names_the_job(
    account: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def look(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Waiter, "_look", look)
    status, out, _ = account.run("submit", "shoe.jpg", "--wait", "--json")
    shown = json.loads(out)
    assert shown["job_id"] == arrived(account.world)
    assert (status, shown["error"]["exit_code"]) == (status, status)
    assert status == {KeyboardInterrupt: Exit.STOPPED, OSError: Exit.REFUSED}.get(type(error), Exit.UNANSWERED)
    assert json.loads(account.run("wait", shown["job_id"], "--json")[1])["job_ids"] == [shown["job_id"]]


def test_what_a_failed_wait_says_is_not_escaped(account: CommandLine) -> None:
    ended(account.world, Status.FAILED)
    account.world.overwrite(JOB_ID, error={"code": "payload_rejected", "message": "No  such\x1bmodel."})
    status, _, err = account.run("wait", JOB_ID)
    assert (status, "\n  No[2 blanks]such\\x1bmodel." in err) == (Exit.FAILED, True)


# ---- what is told before anything is paid ----------------------------------------------------------------------------


def test_what_could_only_fail_is_not_uploaded(account: CommandLine, tmp_path: Path) -> None:
    account.parameters["MaxUploadMegabytes"] = "1"
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "large.jpg").write_bytes(b"x" * 1_000_001)
    for words, code, text in (
        (["empty.jpg"], Exit.REFUSED, "is empty"),
        (["large.jpg"], Exit.REFUSED, "1 MB at most (its parameter MaxUploadMegabytes)"),
        (["--prompt", " \t"], Exit.USAGE, "needs words"),
    ):
        status, out, err = account.run("submit", *words)
        assert (status, out, text in err) == (code, "", True)
    assert objects(account.world) == []


def test_a_recipe_that_is_not_there_is_told_at_once(account: CommandLine) -> None:
    status, _, err = account.run("submit", "shoe.jpg", "--recipe", "nope")
    assert (status, "There is no recipe nope. It has two minutes" in err) == (0, True)
    account.world.recipe({"model_id": "m/m", "prompt": "x"}, "nope")
    assert "no recipe" not in account.run("submit", "shoe.jpg", "--recipe", "nope")[2]


def test_a_wait_tells_that_intake_is_stopped(account: CommandLine) -> None:
    job_id = account.run("submit", "shoe.jpg")[1].strip()
    arrived(account.world)
    wait = ("wait", job_id, "--timeout", "0")
    assert "Intake is stopped" not in account.run(*wait)[2]
    IntakeSwitch(account.world.dynamodb, TABLE).stop()
    for command in (wait, ("submit", "shoe.jpg", "--wait", "--timeout", "0")):
        status, _, err = account.run(*command)
        assert (status, "Intake is stopped" in err) == (Exit.STILL_RUNNING, True)
