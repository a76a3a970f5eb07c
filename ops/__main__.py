"""The command line for operators: `python -m ops <command>`; `./genviral` has the same commands and more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ops.cli import group, run
from ops.commands import batching, checking, console, deciding, looking, making

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    *making.COMMANDS,
    *looking.COMMANDS,
    *console.COMMANDS,
    *batching.COMMANDS,
    *checking.COMMANDS,
    *deciding.COMMANDS,
)
cli = group("ops", "Make videos, see what jobs do, and decide what only a person can.", COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return its exit code (`ops.exits`)."""
    return run(cli, arguments, name="python -m ops")


if __name__ == "__main__":
    sys.exit(main())
