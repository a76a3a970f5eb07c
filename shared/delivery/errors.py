"""Define the errors between a finished video's link and the bucket, one class per situation.

    Fault
    ├── OutputExpired        the link itself is refused
    ├── OutputUnreachable    the host cannot be reached, redirects without end, or is too slow
    ├── OutputInvalid        the body is not the whole video
    ├── OutputTooLarge       more than the limit allows
    ├── OutputRefused        the guard does not allow the link
    └── DeliveryIncomplete   out of time; the copied parts are kept

In every case the video has been paid for, so all errors except a refused link are retried and then left uncaught; a
redrive continues from there. A message contains no more of a link than its host name.
"""

from __future__ import annotations

from typing import ClassVar

from shared.faults import Branch, Fault, Paid


class OutputExpired(Fault):
    """The origin answers the link with 400, 401, 403, 404 or 410: it has probably expired."""

    code = "output_expired"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Every attempt asks for a fresh link. If that keeps failing, the vendor no longer has the file."


class OutputUnreachable(Fault):
    """The origin's host does not resolve or connect, speaks no HTTP, redirects without end, or is too slow."""

    code = "output_unreachable"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "This is usually temporary. If attempts run out, redrive the execution when the host answers again."


class OutputInvalid(Fault):
    """The body is truncated, empty, encoded, no video, of another length than announced, or without a marked end.

    A length, chunks or the end of a TLS connection marks it. Without one, truncation would go unnoticed.
    """

    code = "output_invalid"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Nothing was published. If attempts run out, check the video in the vendor's studio, then redrive."


class OutputTooLarge(Fault):
    """The file is larger than the limit, as announced or as counted while reading."""

    code = "output_too_large"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Raise the size limit for videos and redrive the execution: the paid video is still with the vendor."


class OutputRefused(Fault):
    """The link or its redirect is malformed or no public https address: fetching it could reach into the account."""

    code = "output_refused"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.FAIL
    advice = "Do not open the link from inside the account. Report it to the vendor, then resume the job."


class DeliveryIncomplete(Fault):
    """Too little of the caller's time is left. The copied parts are kept, and the next call continues."""

    code = "delivery_incomplete"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "No action: the next attempt copies only what is missing."


ERRORS: tuple[type[Fault], ...] = (
    OutputExpired,
    OutputUnreachable,
    OutputInvalid,
    OutputTooLarge,
    OutputRefused,
    DeliveryIncomplete,
)
"""Every error of this package, for the documentation and the tests of the state machine."""
