"""Add the commands that only look: `list` and `show`."""

from __future__ import annotations

import re
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ops.cli import Desk, command, program
from ops.commands.batching import print_batch
from ops.exits import Exit, NotFound
from ops.facts import age, document, issues, made_of, style_of, time_left, waits_for_a_person
from ops.output import cell, console, say, say_facts, table
from ops.output import document as print_document
from shared.jobs.states import OPEN, STATES, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.table import Table

    from shared.jobs.record import Job

_LISTED = frozenset(status for status in Status if STATES[status].list_order) | OPEN
_WATCH_SECONDS = 2
_STATUSES = [status.value for status in Status]
_LISTED_AS = f"{', '.join(_STATUSES[:-1])} or {_STATUSES[-1]}"
_COLUMNS = ("JOB", "MADE OF", "STATUS", "AGE", "CREDITS", "TIME LEFT")


@command("list", "list", "list --watch", "list --status failed --limit 20")
@click.option("--status", type=click.Choice(_STATUSES), metavar="STATUS", help=f"only jobs that are {_LISTED_AS}")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="at most so many")
@click.option("--oldest", is_flag=True, help="the oldest first, such as a job that hangs")
@click.option("--watch", is_flag=True, help="show it again every two seconds, until Ctrl-C")
def list_(desk: Desk, status: str | None, limit: int, watch: bool, oldest: bool) -> None:
    """List jobs, newest first.

    Without --status: those that are open or wait for a person.
    """
    wanted = Status(status) if status else None
    if watch and (desk.as_json or not sys.stdout.isatty()):
        raise click.UsageError("--watch needs a terminal, and has no JSON")
    if watch:
        _watch(desk, wanted, limit, oldest=oldest)
    found, more = _read(desk, wanted, limit, oldest=oldest)
    stopped = desk.stack.switch.is_stopped
    if desk.as_json:
        jobs = [document(job) for job in found]
        print_document({"jobs": jobs, "intake_stopped": stopped, "more": more})
        return
    _print_list(found, wanted, limit=limit, more=more, stopped=stopped)


@command("show", "show s3-4f1c8a3d", "show 'red shoe.jpg'", "show recipes/shoes.json")
@click.argument("what")
def show(desk: Desk, what: str) -> None:
    """Show a job, whether it is paid for, and what can be done.

    WHAT is whatever is known of it: the id of the job or its first characters, of its execution, its notification or
    its video at Genviral; the key, address, link or name of the uploaded file; the key, address or link of the finished
    video; an Idempotency-Key. It may also be a batch, its report or a recipe.
    """
    show_one(desk, what)


def show_one(desk: Desk, what: str) -> None:
    """Show what is meant: one job, several of them, a batch or a recipe."""
    from ops import meaning

    if named := meaning.batch(desk.stack, what):
        _show_batch(desk, named)
        return
    if recipe := meaning.recipe(desk.stack, what):
        _show_recipe(desk, recipe)
        return
    try:
        found = desk.jobs(what)
    except NotFound:
        if named := meaning.batch(desk.stack, what, by_name=True):
            _show_batch(desk, named)
            return
        raise
    if len(found) > 1:
        found = desk.stack.store.in_full(found)
        if desk.as_json:
            print_document({"jobs": [document(job) for job in found]})
            return
        console().print(_table(found))
        say(f"These are {len(found)} jobs; show one by its id.", error=True)
        return
    from ops.showing import look_at

    shown = look_at(desk.stack, found[0].job_id)
    if desk.as_json:
        print_document({"job": shown.document()})
        return
    words = shown.next_command
    say_facts(shown.facts() | {"next": shown.next_step, "type": desk.command(*words) if words else None})


def _show_batch(desk: Desk, named: tuple[str, str]) -> None:
    from ops.batches import Batches

    print_batch(desk, Batches(desk.stack).show(*named))


def _show_recipe(desk: Desk, name: str) -> None:
    """Show whether a recipe can be used, what it takes, and what is wrong with it."""
    from ops.recipes import described

    shown = described(desk.stack, name)
    if desk.as_json:
        print_document({"recipe": shown})
        return
    error = shown.get("error", {})
    say_facts(
        {
            "recipe": shown["name"],
            "status": f"{shown['status']}, uploaded {shown['changed_at']}",
            "model": shown.get("model_id"),
            "takes": shown.get("placeholders"),
            "message": error.get("message"),
            "issues": issues(error),
            "advice": error.get("advice"),
            "files go to": shown.get("files_go_to"),
        }
    )


def _read(desk: Desk, status: Status | None, limit: int, *, oldest: bool) -> tuple[list[Job], bool]:
    """Return the newest or oldest jobs and whether there are more.

    Of each status, those are read that changed last, or first.
    """
    read = _changed_first if oldest else _changed_last
    found = [job for one in ([status] if status else _LISTED) for job in read(desk, one, limit + 1)]
    found.sort(key=lambda job: (job.created_at, job.job_id), reverse=not oldest)
    return desk.stack.store.in_full(found[:limit]), len(found) > limit


def _changed_first(desk: Desk, status: Status, many: int) -> list[Job]:
    return list(islice(desk.stack.store.in_status(status), many))


def _changed_last(desk: Desk, status: Status, many: int) -> list[Job]:
    found, after = desk.stack.store.page(status, limit=many)
    while after is not None and len(found) < many:  # a page has 1 MB at most
        more, after = desk.stack.store.page(status, limit=many - len(found), after=after)
        found += more
    return found


def _print_list(found: list[Job], status: Status | None, *, limit: int, more: bool, stopped: bool) -> None:
    if found:
        console().print(_table(found))
    elif limit:
        say(_empty(status))
    say(*_notes(found, status, stopped=stopped), error=True)
    if more:
        say(f"There are more than {limit}; see --limit and --status.", error=True)


def _empty(status: Status | None) -> str:
    return f"No jobs that are {status}." if status else "No open jobs."


def _notes(found: list[Job], status: Status | None, *, stopped: bool) -> Iterator[str]:
    """Yield what people should know beside the list."""
    if stopped:
        yield "Intake is stopped: no new job starts until start-intake."
    waiting = sum(map(waits_for_a_person, found))
    if waiting and status is None:
        yield f"Waiting for a person: {waiting}. `{program()} show JOB` says what to do."


def _watch(desk: Desk, status: Status | None, limit: int, *, oldest: bool) -> NoReturn:
    from rich.console import Group
    from rich.live import Live

    screen = console()
    try:
        with Live(console=screen, screen=True, auto_refresh=False) as live:
            while True:
                found, _ = _read(desk, status, min(limit, max(1, screen.height - 4)), oldest=oldest)
                notes = map(cell, _notes(found, status, stopped=desk.stack.switch.is_stopped))
                live.update(Group(_table(found) if found else cell(_empty(status)), *notes), refresh=True)
                time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.STOPPED) from None


def _table(jobs: Iterable[Job]) -> Table:
    return table(_COLUMNS, map(_row, jobs))


def _row(job: Job) -> tuple[Any, ...]:
    credits_used = None if job.credits_total is None else f"{job.credits_total:g}"
    left = time_left(job)
    left = re.sub(r"^about (.*) left$", r"\1", left) if left else None
    status = cell(job.status, style_of(job.status))
    return job.job_id, made_of(job), status, age(job.created_at), credits_used, left


COMMANDS = (list_, show)
