"""Write text to a terminal in any encoding, and fit lines to its width."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from pathlib import Path


def accept_all_text() -> None:
    """Escape characters that the terminal's encoding lacks, and drop what a shell has closed (`>&-`)."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the program ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def columns() -> int | None:
    """Return the terminal's width; None if output goes to a file or a pipe without `COLUMNS`."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def visible(text: str) -> str:
    r"""Escape invisible characters (`\x1b`): file names and logs may contain control sequences for a terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def fit(text: str, width: int | None) -> str:
    """Return a text as one line: invisible characters are escaped, and the middle of too wide a text is left out.

    Args:
        text: Any text.
        width: Most columns; None for no limit.
    """
    line = visible(text).replace("\n", "\\n")
    if width is None or _width(line) <= width:
        return line
    head, tail = line[: len(line) // 2], line[len(line) // 2 :]
    while head + tail and _width(head) + _width(tail) + 3 > width:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return f"{head}...{tail}"[: max(0, width)]


def _width(text: str) -> int:
    """Return the columns of a text: https://www.unicode.org/reports/tr11/."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)
