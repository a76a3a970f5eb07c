"""What can go wrong between a finished video's link and the bucket, one class per situation.

    Fault
    ├── OutputExpired        the link itself is refused
    ├── OutputUnreachable    the host cannot be reached, redirects without end, or is too slow
    ├── OutputInvalid        what came is not the whole video
    ├── OutputTooLarge       more than the limit allows
    ├── OutputRefused        the guard will not go where the link points
    └── DeliveryIncomplete   out of time, with the finished parts kept

In every case the video has been paid for, so all errors except a refused link are retried and then left uncaught; a
redrive continues from there. A message contains no more of a link than its host name.
"""

from __future__ import annotations

from typing import ClassVar

from shared.faults import Branch, Fault, Paid


class OutputExpired(Fault):
    """When the origin answers the link with 400, 401, 403, 404 or 410: it was signed for a time that is over."""

    code = "output_expired"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Every attempt asks for a fresh link. If that keeps failing, the vendor no longer has the file."


class OutputUnreachable(Fault):
    """When the origin's host does not resolve or connect, speaks no HTTP, redirects without end, or is too slow."""

    code = "output_unreachable"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "This is usually temporary. If attempts run out, redrive the execution when the host answers again."


class OutputInvalid(Fault):
    """When the body is truncated, empty, encoded, not a video, or of another length than announced; also when nothing
    would show where it was cut off: neither a length nor chunks nor the end of a TLS connection.
    """

    code = "output_invalid"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Nothing was published. If attempts run out, check the video in the vendor's studio, then redrive."


class OutputTooLarge(Fault):
    """When the file is larger than the limit, as announced or as counted while reading."""

    code = "output_too_large"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Raise the size limit for videos and redrive the execution: the paid video is still with the vendor."


class OutputRefused(Fault):
    """When the link, or where it redirects, is not a public https address: fetching it could reach into the account.
    Also when what the vendor calls a link is none.
    """

    code = "output_refused"
    paid = Paid.YES
    branch: ClassVar[Branch] = Branch.FAIL
    advice = "Do not open the link from inside the account. Report it to the vendor, then resume the job."


class DeliveryIncomplete(Fault):
    """When too little of the caller's time is left. The copied parts are kept, and the next call continues."""

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
"""Every error of this package, for the documentation and for the tests that hold the state machine against it."""
