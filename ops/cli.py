"""Provide what all commands share: their options, how they end, and what they print where they fail.

A command is a function that takes a `Desk` and its own arguments, and returns an exit code or nothing. It imports what
is slow when it runs, so that help and completion are quick. Must not know what single commands do.
"""

from __future__ import annotations

import functools
import io
import os
import shlex
import shutil
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.exits import Exit, Refused
from ops.output import document, say
from shared.printable import in_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ops.stack import Stack
    from shared.jobs.record import Job

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "GENVIRAL_PROGRAM"
"""The environment variable in which the launcher says how it was called."""
STACK = "genviral-video"


class Group(click.Group):
    """A group whose help lists the commands in the order in which they were added."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@dataclass(frozen=True)
class Desk:
    """What a command acts with.

    Attributes:
        options: Which stack, in which region, with which profile; only what was chosen.
        as_json: Whether to answer with one JSON document.
    """

    options: dict[str, str]
    as_json: bool

    @cached_property
    def stack(self) -> Stack:
        """The chosen stack."""
        from ops.stack import Stack

        names = {"stack": "name", "region": "region", "profile": "profile"}
        return Stack(**{names[option]: value for option, value in {"stack": STACK, **self.options}.items()})

    def job(self, what: str) -> Job:
        """Return the one job that is meant by whatever a person has of it.

        Raises:
            Refused: There is none, or there are several.
        """
        found = self.stack.finder.find(what)
        if len(found) > 1:
            some = ", ".join(job.job_id for job in found[:5])
            raise Refused(
                f"{what} may mean {len(found)} jobs: {some}{', …' if len(found) > 5 else ''}. Name one by id."
            )
        return found[0]

    def keys(self, what: str) -> list[str]:
        """Return the keys in this stack's buckets that a text may mean: it may be a link or an address."""
        from ops.addresses import readings

        ours = (self.stack.uploads, self.stack.videos)
        return list(dict.fromkeys(one.name for one in readings(what, ours) if one.bucket in (None, *ours)))

    def command(self, *words: str) -> str:
        """Return a command as it can be pasted: the same program, for the same stack."""
        options = (word for name, value in self.options.items() for word in (f"--{name}", value))
        return f"{program()} {shlex.join([*words, *options])}"


def program() -> str:
    """Return how this program is called, for a shell."""
    called = os.environ.get(PROGRAM)
    if not called:
        return "python -m ops"
    name = Path(called).name
    return name if shutil.which(name) == called else shlex.quote(called)


def version() -> str:
    """Return this project's version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def _where(function: Any) -> Any:
    """Add the options that choose a stack to a command."""
    for name, text in (
        ("profile", "the AWS profile to use"),
        ("region", "its region (default: AWS_REGION, or the profile's)"),
        ("stack", f"the stack's name (default: {STACK})"),
    ):
        function = click.option(f"--{name}", help=text)(function)
    return function


def group(name: str, text: str, commands: Iterable[click.Command]) -> Group:
    """Create a group of commands, with the options that choose a stack for all of them."""
    created = Group(
        name,
        help=text,
        callback=click.pass_context(_keep),
        commands={str(command.name): command for command in commands},
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
    )
    click.version_option(version(), message="%(version)s")(_where(created))
    return created


def _keep(context: click.Context, **where: str | None) -> None:
    context.obj = where


def command(name: str, *examples: str) -> Callable[[Callable[..., Exit | None]], click.Command]:
    """Make a function a command; its docstring is the help.

    Args:
        examples: What to type after the program's name, for the help.
    """

    def make(function: Callable[..., Exit | None]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, **arguments: Any) -> Exit | None:
            own = {option: arguments.pop(option) for option in ("stack", "region", "profile")}
            chosen = {**(click.get_current_context().obj or {}), **{name: one for name, one in own.items() if one}}
            return function(Desk({key: value for key, value in chosen.items() if value}, as_json), **arguments)

        shown = "\n".join(["Examples:", "", "\b", *(f"  genviral {example}" for example in examples)])
        made: click.Command = click.command(name, epilog=shown if examples else None)(_where(run))
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help="answer with one JSON document"))
        return made

    return make


def run(cli: Group, arguments: Sequence[str] | None = None, *, name: str) -> int:
    """Run a command line. Return its exit code; an error is one line, or a JSON document where that was asked for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not have every letter
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _require_text(given)
        ended = cli.main(given, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed it. https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except click.UsageError as error:
        if "--json" not in given and error.ctx is not None:
            print(error.ctx.get_usage(), file=sys.stderr)
            say(f"See: {error.ctx.command_path} --help", error=True)
        return _failed(Exit.USAGE, error.format_message(), as_json="--json" in given)
    except (click.Abort, KeyboardInterrupt):
        text = "Interrupted. It is safe to give the same command again."
        return _failed(Exit.STOPPED, text, as_json="--json" in given)
    except (click.ClickException, Refused, *_aws_errors()) as error:
        return _failed(*_reason(error), as_json="--json" in given)
    return int(ended or Exit.DONE)


def _aws_errors() -> tuple[type[Exception], type[Exception]]:
    """Return what botocore raises. Only evaluated after an error, so commands without AWS need not import it."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _reason(error: Exception) -> tuple[Exit, str]:
    """Return the exit code and the text of an error that people are told of."""
    if isinstance(error, Refused):
        return error.exit_code, str(error)
    if isinstance(error, click.ClickException):
        return Exit(error.exit_code), error.message  # type: ignore[call-arg]  # mypy takes it for a new member
    from ops.stack import explained

    return Exit.UNANSWERED, explained(error)


def _failed(code: Exit, text: str, *, as_json: bool) -> int:
    if as_json:
        document({"error": {"exit_code": int(code), "kind": code.name.lower(), "message": in_line(text)}})
    else:
        say(text, error=True)
    return int(code)


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that are no UTF-8, which come as halves of characters: AWS could not be asked for them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"this is no text in UTF-8: {argument}") from None
