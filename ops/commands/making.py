"""Add the commands that make videos: `submit` and `wait`."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.cli import Desk, command
from ops.exits import Exit, NotFound
from ops.output import console, document, say, say_command
from shared.jobs.identity import is_job_id
from shared.requests.recipes import DEFAULT_RECIPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ops.submit import Submitted, Wish
    from ops.wait import Outcome

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
    wish = _wish(desk, file, recipe, prompt, model, labels)
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


def _wish(
    desk: Desk, file: Path | None, recipe: str | None, prompt: str | None, model: str | None, labels: dict[str, str]
) -> Wish:
    from ops.wishes import Misused, missing_recipe, of_named, of_prompt, require_size

    if file is None:
        return of_prompt(str(prompt), model, labels)
    try:
        wish = of_named(file.name, file.read_bytes(), recipe=recipe, labels=labels)
    except Misused as error:
        if error.option:
            raise click.BadParameter(str(error), param_hint=error.option) from None
        raise click.UsageError(str(error)) from None
    require_size(desk.stack, wish)
    if warning := missing_recipe(desk.stack, wish):
        say(warning, error=True)
    return wish


def _require_folder(out: Path) -> None:
    """Refuse a folder that can hold no video, before anything is paid for."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        text = f"no video can be saved in '{out}': {error.strerror}"
        raise click.BadParameter(text, param_hint="--out") from None


# ---- submitting and waiting ------------------------------------------------------------------------------------------


def _submit(desk: Desk, wish: Wish, *, again: bool) -> Submitted:
    from ops.wishes import submitter

    try:
        return submitter(desk.stack).submit(wish, again=again)
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
