"""Add the commands that make videos: `submit` and `wait`."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.cli import ROOT, Desk, command
from ops.exits import Exit, NotFound, Refused
from ops.output import console, document, say, say_command
from shared.jobs.identity import is_job_id
from shared.requests.recipes import DEFAULT_RECIPE, RECIPES, UPLOADS, recipe_named_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ops.submit import Submitted, Wish
    from ops.wait import Outcome

_BATCHES = (".csv", ".jsonl")
_MANIFEST = ".manifest.json"
_MEGABYTE = 1_000_000  # as the stack counts them

_out = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=".", help="folder for the video (default: this)"
)
_timeout = click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="the most seconds to wait")


@command(
    "submit",
    "submit shoe.jpg --wait",
    "submit shoe.jpg --recipe restyle --metadata style='Film noir'",
    "submit --prompt 'A paper boat on a calm lake' --wait --out videos",
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prompt", help="what the video shows, instead of a FILE")
@click.option("--recipe", help=f"the recipe of a FILE (default: {DEFAULT_RECIPE})")
@click.option("--model", help="the model for --prompt (default: that of recipes/default.json)")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="yours; any text. May be repeated")
@click.option("--again", is_flag=True, help="another video of the same, which is PAID FOR ONCE MORE")
@click.option("--wait", "waits", is_flag=True, help="wait for the video, save it and print its path")
@_out
@_timeout
def submit(
    desk: Desk,
    file: Path | None,
    prompt: str | None,
    recipe: str | None,
    model: str | None,
    metadata: tuple[str, ...],
    again: bool,
    waits: bool,
    out: Path,
    timeout: float | None,
) -> Exit | None:
    """Ask for a video of a FILE, or of a prompt.

    FILE is a picture, a video, a sound, a manifest or, as .json, a whole request. Prints the job's id, or with --wait
    the video's path. The same command again finds the same job and pays nothing.
    """
    _require_one(file, prompt, recipe, model)
    labels = _labels(metadata)
    if waits:
        _require_folder(out)
    wish = _of_file(file, recipe, labels) if file is not None else _of_prompt(str(prompt), model, labels)
    _require_size(desk, wish)
    if file is not None:
        _look_for_recipe(desk, wish, recipe or DEFAULT_RECIPE)
    submitted = _submit(desk, wish, again=again)
    if not waits:
        if desk.as_json:
            document(_described(desk, submitted))
            return None
        _say_submitted(desk, submitted)
        print(submitted.job_id)
        return None
    if not desk.as_json:
        _say_submitted(desk, submitted)
    desk.known.update(_described(desk, submitted))
    (outcome,) = _waited(desk, [submitted.job_id], out, timeout)
    if desk.as_json:
        document({**_described(desk, submitted), "job": _outcome(outcome)})
    else:
        _say_outcome(desk, outcome)
    return outcome.exit_code


@command("wait", "wait s3-4f1c8a3d", "wait shoe.jpg boat.jpg --timeout 600 --out videos")
@click.argument("jobs", required=True, nargs=-1, metavar="JOB|FILE...")
@_out
@_timeout
def wait(desk: Desk, jobs: tuple[str, ...], out: Path, timeout: float | None) -> Exit | None:
    """Wait for jobs, save their videos and print the paths.

    It ends when each job has ended or needs a person; with several, the exit code is the highest of theirs. Ctrl-C ends
    only the waiting.
    """
    _require_folder(out)
    job_ids = list(dict.fromkeys(_meant(desk, job) for job in jobs))
    desk.known["job_ids"] = job_ids
    outcomes = _waited(desk, job_ids, out, timeout)
    if desk.as_json:
        document({"jobs": [_outcome(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            _say_outcome(desk, outcome)
    return max(outcome.exit_code for outcome in outcomes)


COMMANDS = (submit, wait)


# ---- what is asked for -----------------------------------------------------------------------------------------------


def _require_one(file: Path | None, prompt: str | None, recipe: str | None, model: str | None) -> None:
    if (file is None) == (prompt is None):
        raise click.UsageError("Give a FILE, or --prompt.")
    if recipe and file is None:
        raise click.UsageError("--recipe goes with a FILE; a prompt has --model.")
    if prompt is not None and not prompt.strip():
        raise click.BadParameter("a prompt needs words", param_hint="--prompt")
    if model and prompt is None:
        raise click.UsageError("--model goes with --prompt; the model of a FILE is in its recipe.")


def _labels(metadata: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in metadata:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{text}' is not of the form NAME=VALUE", param_hint="--metadata")
        labels[name] = value
    return labels


def _of_file(file: Path, recipe: str | None, labels: dict[str, str]) -> Wish:
    from ops.submit import of_file, of_request

    if file.suffix.lower() in _BATCHES:
        raise Refused(f"{file} is a batch: its rows are jobs of their own. Use: batch {file}")
    if file.suffix.lower() == ".json" and not file.name.endswith(_MANIFEST):
        if recipe or labels:
            raise click.UsageError(f"{file} is a whole request: --recipe and --metadata do not go with it.")
        body = file.read_bytes()
        _require_json(file, body)
        return of_request(file.name, body)
    if file.name.endswith(_MANIFEST):
        _require_json(file, file.read_bytes())
    chosen = recipe or DEFAULT_RECIPE
    if recipe_named_by(f"{RECIPES}{chosen}.json") is None:
        raise click.BadParameter(f"'{chosen}' can be no recipe's name", param_hint="--recipe")
    _require_names(labels)
    return of_file(file, recipe=chosen, metadata=labels)


def _require_folder(out: Path) -> None:
    """Refuse a folder that can hold no video, before anything is paid for."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        text = f"no video can be saved in '{out}': {error.strerror}"
        raise click.BadParameter(text, param_hint="--out") from None


def _require_size(desk: Desk, wish: Wish) -> None:
    """Refuse a file that is empty or too large before it is uploaded: its job could only fail."""
    if not wish.body:
        raise Refused(f"{wish.name} is empty. Nothing was submitted.")
    most = int(desk.stack.parameter("MaxUploadMegabytes"))
    if len(wish.body) > most * _MEGABYTE:
        size = f"{wish.name} has {len(wish.body) / _MEGABYTE:.1f} MB, and this stack takes {most} MB at most"
        raise Refused(f"{size} (its parameter MaxUploadMegabytes). Nothing was submitted.")


def _look_for_recipe(desk: Desk, wish: Wish, recipe: str) -> None:
    """Warn of a recipe that is not there. It may still come; without the right to look, nothing is said."""
    from botocore.exceptions import ClientError

    from shared.requests.s3_errors import is_missing

    if not wish.place.startswith(UPLOADS):
        return
    key = f"{RECIPES}{recipe}.json"
    try:
        desk.stack.s3.head_object(Bucket=desk.stack.uploads, Key=key)
    except ClientError as error:
        if is_missing(error):
            where = f"s3://{desk.stack.uploads}/{key}"
            text = f"There is no recipe {recipe}. It has two minutes to appear at {where}; else the job fails, unpaid."
            say(text, error=True)


def _require_names(labels: dict[str, str]) -> None:
    for name in labels:
        if not (name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()):
            text = f"'{name}' can be no name in S3: use ASCII letters, digits, '-', '_', '.'. Values may be any text"
            raise click.BadParameter(text, param_hint="--metadata")


def _require_json(file: Path, body: bytes) -> None:
    """Refuse a file that is no JSON, with the line and the column, before it is uploaded."""
    from shared import strict_json

    try:
        strict_json.loads(strict_json.text_of(body))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(f"{file} is not valid JSON: {where}: {error.msg}. Nothing was submitted.") from None
    except strict_json.RepeatedKey as error:
        raise Refused(f"{file} has the key '{error.key}' twice in one object. Nothing was submitted.") from None
    except (ValueError, RecursionError):
        raise Refused(f"{file} is not JSON in UTF-8. Nothing was submitted.") from None


def _of_prompt(prompt: str, model: str | None, labels: dict[str, str]) -> Wish:
    from ops.submit import of_request

    chosen = model or json.loads((ROOT / "recipes" / "default.json").read_text("utf-8"))["model_id"]
    request: dict[str, Any] = {"model_id": chosen, "prompt": prompt}
    if labels:
        request["metadata"] = labels
    # The key must not show the prompt: notifications and logs have keys.
    return of_request("prompt.json", json.dumps(request, ensure_ascii=False).encode())


# ---- submitting and waiting ------------------------------------------------------------------------------------------


def _submit(desk: Desk, wish: Wish, *, again: bool) -> Submitted:
    from ops.submit import Submitter

    submitter = Submitter(s3=desk.stack.s3_without_retries, bucket=desk.stack.uploads, store=desk.stack.store)
    try:
        return submitter.submit(wish, again=again)
    except KeyboardInterrupt:
        if not again:
            raise
        text = "It may have been submitted. Before you give --again once more, look with:"
        raise desk.stopped(text, desk.command("list")) from None


def _described(desk: Desk, submitted: Submitted) -> dict[str, Any]:
    return {
        "job_id": submitted.job_id,
        "is_new": submitted.is_new,
        "bucket": desk.stack.uploads,
        "key": submitted.key,
        "version_id": submitted.version_id,
    }


def _say_submitted(desk: Desk, submitted: Submitted) -> None:
    if submitted.is_new:
        say_command("Submitted. Follow it with:", desk.command("wait", submitted.job_id))
        return
    status = f"it is {submitted.job.status}" if submitted.job else "S3's event is on its way"
    say(f"This was submitted before: {submitted.job_id}, {status}. Nothing more is paid.", error=True)
    say("Another video of the same, which is paid for once more: --again", error=True)


def _meant(desk: Desk, what: str) -> str:
    """Return the id of the job that is meant; one that was submitted a moment ago may have no record yet."""
    try:
        return desk.job(what).job_id
    except NotFound:
        if what.startswith("s3-") and len(what) == len("s3-") + 40 and is_job_id(what):
            return what
        raise


def _waited(desk: Desk, job_ids: Sequence[str], out: Path, timeout: float | None) -> list[Outcome]:
    from ops.wait import Polls, Waiter

    if _wait_for_intake(desk, job_ids):
        say("Intake is stopped: no new job starts until start-intake. Waiting for that as well.", error=True)
    polls = Polls(desk.stack.executions) if sys.stderr.isatty() else None
    try:
        with progress() as tell:
            waiter = Waiter(store=desk.stack.store, s3=desk.stack.s3, out=out, tell=tell, polls=polls)
            return waiter.wait(job_ids, timeout)
    except KeyboardInterrupt:
        raise desk.stopped("The job continues. Wait on with:", desk.command("wait", *job_ids)) from None


def _wait_for_intake(desk: Desk, job_ids: Sequence[str]) -> bool:
    """Whether a job can only start once intake is open again."""
    if not desk.stack.switch.is_stopped:
        return False
    jobs = map(desk.stack.store.get, job_ids)
    return any(job is None or (job.video_id is None and not job.is_terminal) for job in jobs)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show how things stand on a terminal, in a line that goes away; be quiet elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    screen = console(error=True)
    with screen.status("") as status:
        from ops.output import cell

        yield lambda text: status.update(cell(text))


def _outcome(outcome: Outcome) -> dict[str, Any]:
    from ops.facts import document as of_job

    file = str(outcome.file) if outcome.file else None
    known = of_job(outcome.job, file=file, not_saved=outcome.not_saved) if outcome.job else {"job_id": outcome.job_id}
    return {**known, "exit_code": int(outcome.exit_code)}


def _say_outcome(desk: Desk, outcome: Outcome) -> None:
    if outcome.file is not None:
        # The path as it is, for programs; only this command's own folder and a job's id are in it.
        print(outcome.file)
        return
    if outcome.job is None or outcome.exit_code is Exit.STILL_RUNNING:
        status = outcome.job.status if outcome.job else "not there yet"
        text = f"{outcome.job_id} is {status} when the time is over; it continues. Wait on with:"
        say_command(text, desk.command("wait", outcome.job_id))
        return
    say(f"{outcome.job_id} is {outcome.job.status}. Paid: {outcome.job.paid}.", error=True)
    if outcome.not_saved is not None:
        say(f"Its video lies safe in {desk.stack.videos}, but is not here: {outcome.not_saved}", error=True)
        say_command("Fetch it with:", desk.command("wait", outcome.job_id, "--out", "."))
        return
    from ops.facts import issues

    error = outcome.job.shown_error or {}
    lines = (error.get("message"), *issues(error), error.get("advice"))
    say(*filter(None, lines), error=True, margin="  ", indent="  ")
    say_command("More with:", desk.command("show", outcome.job_id))
