"""Add the command for batches: `batch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.cli import Desk, command
from ops.commands.making import progress
from ops.output import document, say_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ops.exits import Exit

_MOST_ROWS = 20


@command(
    "batch",
    "batch boats.csv --check --wait",
    "batch boats.csv --wait",
    "batch boats",
    "batch boats --wait --timeout 60",
)
@click.argument("what", metavar="NAME|FILE")
@click.option("--check", is_flag=True, help="validate and price every row; start and pay nothing")
@click.option("--wait", "waits", is_flag=True, help="wait for the report")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="the most seconds to wait")
def batch(desk: Desk, what: str, check: bool, waits: bool, timeout: float | None) -> Exit | None:
    """Make a video of each row of a FILE, or show a batch.

    FILE is a .csv or .jsonl of this machine. The same file again pays only for what is new in it; --check says first
    what that would be.
    """
    from ops.batches import SUFFIXES, Batches, exit_code

    batches = Batches(desk.stack)
    file = Path(what)
    uploads = file.is_file() and file.suffix.lower() in SUFFIXES
    if check and not uploads:
        raise click.UsageError(f"--check needs a FILE of this machine, .csv or .jsonl; there is none at '{what}'.")
    if uploads:
        key, _, batch_id = batches.upload(file.name, file.read_bytes(), check=check)
    else:
        key, batch_id = batches.latest(desk.keys(what))
    desk.known["batch"] = {"batch_id": batch_id, "bucket": desk.stack.uploads, "key": key}
    if waits:
        try:
            with progress() as tell:
                shown = batches.wait(key, batch_id, timeout=timeout, tell=tell)
        except KeyboardInterrupt:
            raise desk.stopped("The batch continues. Wait on with:", desk.command("batch", key, "--wait")) from None
    else:
        shown = batches.show(key, batch_id)
    print_batch(desk, shown)
    return exit_code(shown, waited=waits)


COMMANDS = (batch,)


def print_batch(desk: Desk, shown: Mapping[str, Any]) -> None:
    """Print what became of a batch."""
    if desk.as_json:
        document({"batch": {name: value for name, value in shown.items() if value not in (None, [], {})}})
        return
    error, report = shown.get("error", {}), shown.get("report")
    wrong = list(_wrong(shown))
    more = [f"and {len(wrong) - _MOST_ROWS} more, in the report"] if len(wrong) > _MOST_ROWS else []
    counts = ", ".join(f"{many} {status}" for status, many in shown.get("counts", {}).items())
    facts = {
        "batch": shown["name"],
        "file": f"s3://{shown['bucket']}/{shown['key']}",
        "status": shown["status"],
        "rows": f"{shown['rows']}: {counts}" if "rows" in shown else None,
        "new to pay": _estimate(shown),
        "paid": _paid(shown),
        "wrong rows": [*wrong[:_MOST_ROWS], *more],
        "report": f"s3://{report['bucket']}/{report['key']}" if report else None,
        "error": error.get("code") or error.get("error"),
        "message": error.get("message"),
        "advice": shown.get("advice"),
    }
    if shown["status"] in ("arriving", "running"):
        facts["type"] = desk.command("batch", shown["key"], "--wait")
    say_facts(facts)


def _estimate(shown: Mapping[str, Any]) -> str | None:
    if "credits_estimated" not in shown:
        return None
    unknown = shown.get("rows_without_price")
    return f"about {shown['credits_estimated']:g} credits{f', and {unknown} rows without a price' if unknown else ''}"


def _paid(shown: Mapping[str, Any]) -> str | None:
    if "credits_new" not in shown:
        return None
    before = shown.get("rows_paid_before")
    text = f"{shown['credits_new']:g} credits since this upload, {shown['credits_used']:g} in all"
    return f"{text}; {before} rows were paid before" if before else text


def _wrong(shown: Mapping[str, Any]) -> Iterator[str]:
    for row in shown.get("wrong_rows", ()):
        column = f", {row['column']}" if row.get("column") else ""
        message = f": {row['message']}" if row["message"] else ""
        yield f"line {row['line']}{column}: {row['status']}{message}"
