"""Provide what all commands share: their options, how they end, and what they print where they fail.

A command is a function that takes a `Desk` and its own arguments, and returns an exit code or nothing. It imports what
is slow when it runs, so that help and completion are quick. Must not know what single commands do.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shlex
import shutil
import sys
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.exits import Exit, NotFound, Refused, of_os
from ops.output import document, say, say_command, say_error
from shared.printable import in_line, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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
        known: What the document of an error tells as well, such as the job that was submitted before it.
    """

    options: dict[str, str]
    as_json: bool
    known: dict[str, Any] = field(default_factory=dict)

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
        found = self.jobs(what)
        if len(found) > 1:
            some = ", ".join(job.job_id for job in found[:5])
            raise Refused(
                f"{what} may mean {len(found)} jobs: {some}{', …' if len(found) > 5 else ''}. Name one by id."
            )
        return found[0]

    def jobs(self, what: str) -> list[Job]:
        """Return all jobs that may be meant, oldest first; of a file of this machine, those that have its name.

        Raises:
            Refused: There is none.
        """
        try:
            return self.stack.finder.find(what)
        except NotFound:
            name = Path(what).name
            if name == what or not Path(what).is_file():
                raise
        return self.stack.finder.find(name)

    def keys(self, what: str) -> list[str]:
        """Return the keys in this stack's buckets that a text may mean: it may be a link or an address."""
        from ops.meaning import keys

        return keys(self.stack, what)

    def stopped(self, text: str, command: str) -> click.exceptions.Exit:
        """Say how to go on after Ctrl-C, and return what ends the command."""
        if self.as_json:
            _document(Exit.STOPPED, f"{text} {command}", self.known)
        else:
            say_command(text, command)
        return click.exceptions.Exit(Exit.STOPPED)

    def command(self, *words: str) -> str:
        """Return a command as it can be pasted: the same program, for the same stack."""
        options = (word for name, value in self.options.items() for word in (f"--{name}", value))
        return f"{program()} {shlex.join([*words, *options])}"


@dataclass(slots=True)
class _Call:
    """What a command line was given before its command, and what an error of it tells."""

    where: dict[str, str | None] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)


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
    context.ensure_object(_Call).where = where


def command(name: str, *examples: str) -> Callable[[Callable[..., Exit | None]], click.Command]:
    """Make a function a command; its docstring is the help.

    Args:
        examples: What to type after the program's name, for the help.
    """

    def make(function: Callable[..., Exit | None]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, **arguments: Any) -> Exit | None:
            own = {option: arguments.pop(option) for option in ("stack", "region", "profile")}
            call = click.get_current_context().ensure_object(_Call)
            chosen = {**call.where, **{name: one for name, one in own.items() if one}}
            options = {key: value for key, value in chosen.items() if value}
            return function(Desk(options, as_json, call.known), **arguments)

        shown = "\n".join(["Examples:", "", "\b", *(f"  genviral {example}" for example in examples)])
        made: click.Command = click.command(name, epilog=shown if examples else None)(_where(run))
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help="answer with one JSON document"))
        return made

    return make


def run(cli: Group, arguments: Sequence[str] | None = None, *, name: str) -> int:
    """Run a command line. Return its exit code; an error is one line, or a JSON document where that was asked for."""
    _open_streams()
    try:
        code = _run(cli, list(sys.argv[1:] if arguments is None else arguments), name)
        sys.stdout.flush()
    except BrokenPipeError:
        code = Exit.UNREAD
    except OSError as error:  # not even the error's document could be printed, for example on a full disk
        code = Exit.REFUSED
        with contextlib.suppress(OSError):
            say(of_os(error), error=True)
    else:
        return code
    # What is left to print is dropped, so that Python does not fail at it once more when it ends.
    # https://docs.python.org/3/library/signal.html#note-on-sigpipe
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(cli: Group, given: list[str], name: str) -> int:
    call, as_json = _Call(), "--json" in given
    try:
        _require_text(given)
        ended = cli.main(given, prog_name=name, standalone_mode=False, obj=call)
        sys.stdout.flush()
    except SystemExit:  # click and rich end so, with 1, where the reader has closed the output; nothing else does
        raise BrokenPipeError from None
    except click.UsageError as error:
        return _misused(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        text = "Interrupted. It is safe to give the same command again."
        return _failed(Exit.STOPPED, text, call.known, as_json=as_json)
    except (click.ClickException, Refused) as error:
        return _failed(*_reason(error), call.known, as_json=as_json)
    except _aws_errors() as error:  # before OSError, which some of them are
        return _failed(*_reason(error), call.known, as_json=as_json)
    except OSError as error:
        if error.filename is None:  # an output; nothing can be said there
            raise
        return _failed(Exit.REFUSED, of_os(error), call.known, as_json=as_json)
    return int(ended or Exit.DONE)


def _open_streams() -> None:
    """Make all streams usable: a shell can start a program without one (`>&-`), a terminal may lack letters."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the program ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _misused(error: click.UsageError, *, as_json: bool) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        error.show()
        return Exit.USAGE
    if not as_json and error.ctx is not None:
        print(error.ctx.get_usage(), file=sys.stderr)
        say(f"See: {error.ctx.command_path} --help", error=True)
    if as_json:
        return _failed(Exit.USAGE, " ".join(error.format_message().split()), {}, as_json=True)
    say_error(error.format_message())
    return Exit.USAGE


def _aws_errors() -> tuple[type[Exception], ...]:
    """Return what boto3 raises. Only evaluated after an error, so commands without AWS need not import it."""
    from ops.stack import ERRORS

    return ERRORS


def _reason(error: Exception) -> tuple[Exit, str]:
    """Return the exit code and the text of an error that people see."""
    if isinstance(error, Refused):
        return error.exit_code, visible(str(error))
    if isinstance(error, click.ClickException):
        return Exit(error.exit_code), error.message  # type: ignore[call-arg]  # mypy takes it for a new member
    from ops.stack import explained

    return Exit.UNANSWERED, explained(error)


def _failed(code: Exit, text: str, known: Mapping[str, Any], *, as_json: bool) -> int:
    if as_json:
        _document(code, text, known)
        sys.stdout.flush()
    else:
        say_error(text)
    return int(code)


def _document(code: Exit, text: str, known: Mapping[str, Any]) -> None:
    error = {"exit_code": int(code), "kind": code.name.lower(), "message": in_line(" ".join(text.splitlines()))}
    document({**known, "error": error})


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that are no UTF-8, which come as halves of characters: AWS could not be asked for them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"this is no text in UTF-8: {argument}") from None
