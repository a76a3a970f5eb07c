"""Add the command that examines a stack: `doctor`."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from ops.cli import Desk, command
from ops.exits import Exit
from ops.output import document, say
from shared.printable import in_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.doctor.checks import Result
    from ops.doctor.findings import State

_MARKS = {"ok": "✓", "warning": "!", "problem": "✗", "unknown": "?"}
_ASCII = {**_MARKS, "ok": "+", "problem": "x"}
_INDENT = " " * 17


@command("doctor", "doctor", "doctor --json")
def doctor(desk: Desk) -> Exit | None:
    """Check a stack: what holds, what does not, and what to do. Pays nothing, writes nothing.

    It checks the key, recipes, subscriptions, rules, alarms, quotas and code, and asks Genviral for its free list of
    models.
    """
    from ops.doctor.checks import examine
    from ops.doctor.deployment import Deployment

    results = []
    for result in examine(Deployment(desk.stack)):
        results.append(result)
        if not desk.as_json:
            _say(result)
    ended = _exit_code(results)
    if desk.as_json:
        checks = [result.document() for result in results]
        document({"stack": desk.stack.name, "sound": ended is not Exit.UNSOUND, "checks": checks})
    else:
        say(_summary(results))
    return ended


def _say(result: Result) -> None:
    # A recipe's name or an address must not be able to look like another check.
    say(f"{_mark(result.state)} {result.name:<14} {in_line(result.message)}", indent=_INDENT)
    if result.advice:
        say(f"{_INDENT}{in_line(result.advice)}")


def _mark(state: State) -> str:
    """Return a state's mark, in ASCII where the terminal has no other."""
    try:
        _MARKS[state].encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _ASCII[state]
    return _MARKS[state]


def _summary(results: Sequence[Result]) -> str:
    found = Counter(result.state.value for result in results)
    names = {"problem": "problems", "warning": "warnings", "unknown": "not known"}
    counts = "".join(f", {name}: {found[state]}" for state, name in names.items() if found[state])
    return f"{'Not sound' if found['problem'] else 'Sound'}{counts}."


def _exit_code(results: Sequence[Result]) -> Exit | None:
    if any(result.state == "problem" for result in results):
        return Exit.UNSOUND
    return Exit.UNANSWERED if any(result.is_unanswered for result in results) else None


COMMANDS = (doctor,)
