"""Define how a command can end: its exit codes, and the errors that lead to them.

The table here is the one on docs/cli.md. Knows statuses; must not know AWS or the command line.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from shared.jobs.states import Status


class Exit(IntEnum):
    """An exit code, and when a command ends with it."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "the command did what it says; a job that was waited for has succeeded"
    FAILED = 1, "a job failed, or a batch was rejected or has rows without a video"
    USAGE = 2, "the arguments are wrong, or name a file that is not on this machine; nothing was done"
    REFUSED = 3, "the command cannot be carried out as things are, or nobody agreed; the text says why"
    NOT_FOUND = 4, "there is no such job, batch, recipe, upload or stack"
    UNANSWERED = 5, "AWS or Genviral could not be asked, or denied it; it is safe to give the same command again"
    ON_HOLD = 6, "a job is on hold until somebody has fixed the Genviral account, and then continues automatically"
    UNCERTAIN = 7, "nobody knows whether a job was paid for; a person must decide"
    INTERRUPTED = 8, "a job or a batch was interrupted and needs a person"
    TIMED_OUT = 9, "a job is paid for, but its video did not come before the job's deadline"
    CANCELED = 10, "a job was canceled"
    UNSOUND = 11, "`doctor` found a problem"
    STILL_RUNNING = 124, "`--timeout` is over, and the job continues"
    STOPPED = 130, "the command was ended with Ctrl-C; jobs continue"
    UNREAD = 141, "whoever read the output closed it before its end; what the command did stays done"


OF_STATUS = {
    Status.SUCCEEDED: Exit.DONE,
    Status.FAILED: Exit.FAILED,
    Status.ON_HOLD: Exit.ON_HOLD,
    Status.UNCERTAIN: Exit.UNCERTAIN,
    Status.INTERRUPTED: Exit.INTERRUPTED,
    Status.TIMED_OUT: Exit.TIMED_OUT,
    Status.CANCELED: Exit.CANCELED,
}
"""How `wait` ends where a job stands at this status; it goes on waiting at any other."""


class Refused(Exception):
    """The command cannot be carried out; the text says why and what can be done instead. Nothing was changed."""

    exit_code: ClassVar[Exit] = Exit.REFUSED


class NotFound(Refused):
    """There is no such job, batch, file or stack."""

    exit_code = Exit.NOT_FOUND


class Unanswered(Refused):
    """AWS or Genviral could not be asked, or denied it."""

    exit_code = Exit.UNANSWERED


def of_os(error: OSError) -> str:
    """Say what the operating system refused."""
    what = error.filename or "The output"
    return f"{what} cannot be read or written: {error.strerror or error}."
