"""All commands of this project in one program: those of `ops` and those of `local`. `./genviral` runs it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from local import __main__ as laptop
from ops import __main__ as operating
from ops.cli import group, run

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "genviral"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands in a shell.

    In bash or zsh: eval "$(genviral completion bash)". In fish: genviral completion fish | source.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows these three
    click.echo(kind(cli, {}, NAME, f"_{NAME.upper()}_COMPLETE").source())


cli = group(
    NAME,
    "Make videos of pictures and prompts: on this machine, or with a stack in AWS.",
    [*laptop.COMMANDS, *operating.COMMANDS, completion],
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return its exit code (`ops.exits`)."""
    return run(cli, arguments, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
