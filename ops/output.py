"""Print what commands have to say: lines and tables for people, one JSON document for programs.

All that is printed comes through here, because a key in S3 may hold characters that steer a terminal. Must not know
what a job is.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from ops.exits import Refused
from shared.printable import in_line, json_text, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_UNBOUNDED = 10_000
_WIDEST = 50
"""The most columns of a cell. With more, a long name could move the next cell out of sight."""
_TO_COPY = "type "
"""How a line of facts begins that holds a command to copy."""
_NOTHING: tuple[object, ...] = (None, "", {}, [], 0)


def say(*lines: str, error: bool = False, margin: str = "", indent: str = "") -> None:
    """Print lines. On a terminal, a long one is broken between words, and goes on after the indent.

    Args:
        margin: What each line begins with. Blanks of a line itself are shown as a number where it is an error.
    """
    stream = sys.stderr if error else sys.stdout
    for line in lines:
        text = margin + (in_line(line) if error else visible(line))
        for part in _broken(text, indent) if stream.isatty() else [text]:
            print(part, file=stream)


def say_error(text: str) -> None:
    """Print an error of several lines of this program's own, some of which begin with blanks."""
    for line in text.expandtabs(2).splitlines():
        words = line.lstrip()
        say(words, error=True, margin=line[: len(line) - len(words)])


def _broken(line: str, indent: str) -> list[str]:
    # Words stay whole: half of a command, a link or a path could not be copied.
    width = shutil.get_terminal_size().columns
    if len(line) <= width or line.startswith(_TO_COPY):
        return [line]
    begin = line[: len(line) - len(line.lstrip())]
    options: Any = {"break_long_words": False, "break_on_hyphens": False, "drop_whitespace": True}
    return textwrap.wrap(line, width, subsequent_indent=indent or begin, **options)


def document(value: object) -> None:
    """Print a JSON document."""
    print(json_text(value, indent=2))


def console(*, error: bool = False) -> Console:
    """Return the terminal, or the file that stands for it, which has no width and no colours."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    is_wide = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(
        file=stream, width=_UNBOUNDED if is_wide else None, markup=False, emoji=False, highlight=False, soft_wrap=False
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Text | str | None]]) -> Table:
    """Return a table in which no line wraps: where there is no room, the longest cells are cut."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(cell(column, "bold"), max_width=_WIDEST)
    for row in rows:
        grid.add_row(*(cell(value or "-") if value is None or isinstance(value, str) else value for value in row))
    return grid


def cell(text: str, style: str = "") -> Text:
    """Return a cell of a table in a style."""
    from rich.text import Text

    return Text(in_line(text), style=style, no_wrap=True, overflow="ellipsis")


def say_facts(values: Mapping[str, Any]) -> None:
    """Print the facts that there are, by name. No value can fill up a line and go on as another fact."""
    say(*facts(values), indent=" " * 14)


def facts(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the facts that there are."""
    for name, value in values.items():
        if value not in _NOTHING:
            first, *more = value if isinstance(value, list) else [str(value)]
            yield f"{name:<13} {in_line(first)}"
            yield from (f"{'':<13} {in_line(line)}" for line in more)


def say_command(text: str, command: str) -> None:
    """Print, beside the command's own output, a text and a command to copy, which stands alone on its line."""
    say(text, error=True)
    print(f"  {visible(command)}", file=sys.stderr)


def agree(warning: str, word: str, *, yes: bool) -> None:
    """Let a person decide about money.

    Args:
        word: What they type to agree.
        yes: Whether they agreed already.

    Raises:
        Refused: They did not agree, or nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{warning} Nothing was done. Add --yes if that is what you want.")
    say(warning, error=True)
    print(f"Type {visible(word)} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise Refused("Nothing was done.")
