"""Run commands on a pseudo-terminal, and measure what they show there."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLUMNS = 80
TIMEOUT_SECONDS = 120
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


class OnTerminal:
    """A command on a pseudo-terminal of 80 columns.

    Attributes:
        shown: What it has shown so far.
    """

    def __init__(
        self, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], no_color: bool = False
    ) -> None:
        self._terminal, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        variables = {name: value for name, value in environment.items() if name not in ("COLUMNS", "NO_COLOR")}
        self.process: subprocess.Popen[Any] = subprocess.Popen(  # noqa: S603 - this project's own commands
            words,
            cwd=folder,
            env=variables | {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {}),
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a read may end within a letter

    def read(self, until: str | None = None) -> str:
        """Return all that was shown up to its end, or up to a text."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < end and (until is None or until not in self.shown):
            if not select.select([self._terminal], [], [], 0.2)[0]:
                continue
            try:
                part = os.read(self._terminal, 65536)
            except OSError:  # the other side is closed
                part = b""
            if not part:
                break
            self.shown += self._decoder.decode(part)
        assert until is None or until in self.shown, self.shown
        return self.shown

    def end(self) -> int:
        """Read the rest, and return the exit code."""
        self.read()
        code = self.process.wait(TIMEOUT_SECONDS)
        os.close(self._terminal)
        return code


def lines_of(shown: str) -> list[str]:
    """Return the lines as a person sees them: without what steers the terminal."""
    return [line.rpartition("\r")[2] for line in _CONTROLS.sub("", shown).replace("\r\n", "\n").split("\n")]


def width(line: str) -> int:
    """Return how many columns a line takes: a mark takes none of its own."""
    return sum(
        0 if unicodedata.category(sign).startswith("M") else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in line
    )
