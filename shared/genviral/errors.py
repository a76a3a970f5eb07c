"""Define every error between this project and Genviral, and the one table that describes them.

The table has the vendor's statuses and error codes, whether the job may have been paid for, and what to do next. The
class names are the ASL's `ErrorEquals` strings.

    Fault
    └── GenviralFault
        ├── AccountFault               a person must fix the account; jobs wait
        │   ├── AuthenticationFailed
        │   ├── SubscriptionRequired
        │   ├── TierNotAllowed
        │   └── InsufficientCredits
        ├── RequestRefused             this request can never succeed
        │   ├── InvalidJson
        │   ├── InvalidPayload
        │   ├── InvalidInput
        │   └── RequestRejected
        ├── RateLimited
        ├── GenerationFailed
        ├── GenviralUnreachable        nothing was sent
        ├── SubmissionUncertain        sent, and the outcome is unknown
        │   └── SubmissionUnconfirmed  the same, where the operator trusts the Idempotency-Key
        ├── VideoNotFound              a poll, which can be repeated
        └── GenviralUnavailable        any free GET, which can be repeated
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from shared.faults import Branch, Fault, Paid


class GenviralFault(Fault):
    """Base of all errors of this package."""


class AccountFault(GenviralFault):
    """Base of refusals that a change to the account resolves. Nothing was done."""

    branch = Branch.HOLD


class AuthenticationFailed(AccountFault):
    """The API key is missing, malformed, unknown or revoked."""

    code = "authentication_failed"
    advice = "Put a valid Genviral API key into the secret. Jobs on hold continue automatically."


class SubscriptionRequired(AccountFault):
    """The account has no active plan."""

    code = "subscription_required"
    advice = "Activate a Creator, Professional or Business plan at Genviral. Jobs on hold continue automatically."


class TierNotAllowed(AccountFault):
    """The account's plan has no access to the Partner API, or access is refused without a reason.

    This includes Genviral's own 403 without a reason: a person has to check the account in any case, and holding a job
    is safe, while ending a paid one is not. It does not include the page of a firewall in front of Genviral.
    """

    code = "tier_not_allowed"
    advice = (
        "Move the account to a plan with access to the Partner API (Scheduler has none), or ask Genviral why access is "
        "refused. Jobs on hold continue automatically."
    )


class InsufficientCredits(AccountFault):
    """The account's credits do not cover the video."""

    code = "insufficient_credits"
    advice = "Top up the account's credits at Genviral. Jobs on hold continue automatically."


class RequestRefused(GenviralFault):
    """Base of refusals that only a different request can avoid. Nothing was charged."""

    branch = Branch.REJECT


class InvalidJson(RequestRefused):
    """The request body was not JSON."""

    code = "invalid_json"
    advice = "Nothing was charged. Make the body or recipe one JSON object and submit it as a new job."


class InvalidPayload(RequestRefused):
    """A field is unknown, missing, too long or of the wrong type, or the model is not supported."""

    code = "invalid_payload"
    advice = "Nothing was charged. Correct the request (fields, types, limits, model_id) and submit it as a new job."


class InvalidInput(RequestRefused):
    """The fields are well-formed, but the chosen model does not take them."""

    code = "invalid_input"
    advice = (
        "Nothing was charged. Give the model the input that it accepts (GET /studio/models?mode=video lists it) and "
        "submit it as a new job."
    )


class RequestRejected(RequestRefused):
    """The vendor refused the request with another 4xx."""

    code = "request_rejected"
    advice = (
        "Nothing was charged. Correct what the message names (the request, or the configured base URL) and submit it "
        "as a new job."
    )


class RateLimited(GenviralFault):
    """There were too many requests at a time."""

    code = "rate_limited"
    branch = Branch.RETRY
    advice = "It is retried automatically. If that is not enough, run fewer jobs at a time, then redrive the execution."


class GenerationFailed(GenviralFault):
    """The vendor tried to start the video and reports a failure, without a video id or credits."""

    code = "generation_failed"
    branch = Branch.FAIL
    advice = "No video was made. Change the prompt or the input, or submit the same again later as a new job."


class GenviralUnreachable(GenviralFault):
    """No connection: DNS, refusal, timeout or TLS handshake. Nothing of the request was sent."""

    code = "genviral_unreachable"
    branch = Branch.RETRY
    advice = (
        "It is retried automatically. If that is not enough, check the base URL, the network's outbound access and "
        "Genviral's own status, then redrive the execution."
    )


class SubmissionUncertain(GenviralFault):
    """The paid request was sent, and its outcome is unknown.

    Args:
        message: What happened.
        video_id: The possible id of the video, if the answer names one.
        **more: The other arguments of `Fault`.
    """

    code = "submission_uncertain"
    paid = Paid.UNKNOWN
    branch: ClassVar[Branch] = Branch.UNCERTAIN
    advice = (
        "Check at Genviral whether the video exists. If it does, attach its id to this job; if it does not, resubmit "
        "the job. It is never sent again automatically."
    )
    advice_on_named = (
        "The answer named an id. The operator's command `attach`, without an id, asks Genviral for that video, "
        "continues with it and pays nothing. If Genviral does not know the id, search there before you resubmit."
    )

    def __init__(self, message: str, *, video_id: str | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.video_id = video_id

    def document(self) -> dict[str, Any]:
        """Return the error as data."""
        if self.video_id is None:
            return super().document()
        return {**super().document(), "advice": self.advice_on_named, "video_id": self.video_id}


class SubmissionUnconfirmed(SubmissionUncertain):
    """The outcome is unknown, and the operator has declared that the vendor honours the Idempotency-Key.

    The client never raises it: the step that knows the operator's setting converts a `SubmissionUncertain` into it.
    """

    code = "submission_unconfirmed"
    branch = Branch.RETRY
    advice = (
        "It is sent again automatically with the same Idempotency-Key. If that is not enough, check at Genviral "
        "whether the video exists, then use the operator's command attach or resubmit."
    )


class VideoNotFound(GenviralFault):
    """The vendor does not know the video.

    This does not end the job: with a key of another workspace, every running video gets this answer.
    """

    code = "video_not_found"
    paid = Paid.YES
    branch = Branch.RETRY
    advice = "Check that the API key belongs to the workspace that started the video, then redrive the execution."


class GenviralUnavailable(GenviralFault):
    """A GET of a video or a list got no usable answer. It costs nothing and can be repeated."""

    code = "genviral_unavailable"
    paid = Paid.YES
    branch = Branch.RETRY
    advice = "It is retried automatically. If that is not enough, redrive the execution when Genviral is back."


class Call(StrEnum):
    """The vendor's calls that can raise an error."""

    SUBMIT = "POST"
    READ = "GET"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the error table.

    Attributes:
        fault: The class; its name, `paid`, `branch` and `advice` complete the row.
        when: What happened, as the documentation describes it.
        call: The calls that can raise it.
        codes: The vendor's `error_code`s that mean it. They decide first.
        statuses: Its HTTP statuses. Without a known code, the first row with the status decides.
    """

    fault: type[GenviralFault]
    when: str
    call: Call = Call.ANY
    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()

    @property
    def paid(self) -> Paid:
        return self.fault.paid

    @property
    def branch(self) -> Branch:
        return self.fault.branch

    @property
    def advice(self) -> str:
        return self.fault.advice


# Sources: the vendor's page of the generate call for the codes and statuses of the seven documented refusals and
# `generation_failed`; the vendor's published clients for `rate_limited`, `video_not_found`, 402 for
# `insufficient_credits` and the two `model_…` codes.
TABLE: tuple[Row, ...] = (
    Row(InvalidJson, "the body is not JSON", Call.SUBMIT, ("invalid_json",), (400,)),
    Row(AuthenticationFailed, "the API key is missing, invalid or revoked", Call.ANY, ("invalid_token",), (401,)),
    Row(SubscriptionRequired, "no active plan", Call.ANY, ("subscription_required",), (402,)),
    Row(
        TierNotAllowed,
        "the plan has no API access, or Genviral's own 403 gives no reason",
        Call.ANY,
        ("tier_not_allowed",),
        (403,),
    ),
    Row(InsufficientCredits, "not enough credits", Call.ANY, ("insufficient_credits",), (402, 403)),
    Row(InvalidPayload, "a field or the model is not accepted", Call.SUBMIT, ("invalid_payload",), (422,)),
    Row(
        InvalidInput,
        "the model does not accept this input",
        Call.SUBMIT,
        ("invalid_input", "model_requires_image", "model_input_not_supported"),
        (422,),
    ),
    Row(RequestRejected, "any other 4xx", Call.SUBMIT),
    Row(RateLimited, "too many requests at a time", Call.ANY, ("rate_limited",), (429,)),
    Row(GenerationFailed, "the vendor says that the start failed", Call.SUBMIT, ("generation_failed",), (500,)),
    Row(GenviralUnreachable, "never sent: DNS, refused, connect timeout, TLS handshake"),
    Row(
        SubmissionUncertain,
        "sent, then no answer, a broken one, a 5xx that does not name a cause, a 2xx without a video id, or a 402 or "
        "403 that is not Genviral's own",
        Call.SUBMIT,
    ),
    Row(SubmissionUnconfirmed, "the same, with TrustVendorIdempotency=true", Call.SUBMIT),
    Row(VideoNotFound, "the vendor does not know the video", Call.READ, ("video_not_found",), (404,)),
    Row(GenviralUnavailable, "no answer, a broken one, a 5xx or any other refusal of a GET", Call.READ),
)
