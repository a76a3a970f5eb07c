"""What can be wrong with a job before the vendor is asked, and what ends a wait afterwards.

    Fault
     ├─ RequestFault (branch: reject; never paid)
     │   ├─ RequestTooLarge      the request is too large to be passed on or kept
     │   ├─ UploadUnreadable     the uploaded object is gone, empty or may not be read
     │   │   └─ AssetMissing     a file that a manifest names is not there, or not yet
     │   ├─ UploadTooLarge       it is larger than the stack allows
     │   ├─ UploadUnsupported    it is no picture, video or sound that the recipe's field takes
     │   ├─ UploadMisplaced      its key asks for nothing, or one cannot tell for which recipe
     │   ├─ FormUsed             (notification) a form was used for another file before
     │   ├─ RecipeMissing        no recipe of that name lies in the uploads bucket
     │   ├─ RecipeInvalid        the recipe is no JSON object, or names something it cannot have
     │   ├─ RequestUnreadable    a request file or manifest is not JSON, or an execution's input holds no request
     │   ├─ JobConflict          the same name was used for another request
     │   ├─ BodyTooLarge         (API) the body is larger than any request can be
     │   ├─ KeyUnusable          (API) the Idempotency-Key is no such key
     │   ├─ JobNotFound          (API) there is no such job
     │   ├─ JobEnded             (API) the job has ended, so it cannot be canceled
     │   ├─ QueryInvalid         (API) a query parameter is missing or wrong
     │   ├─ MediaTypeUnsupported (API) the body is not declared to be JSON
     │   ├─ ServiceUnavailable   (API) AWS itself failed
     │   ├─ IntakeStopped        (API) an operator has stopped the intake
     │   ├─ BatchUnreadable      (batch) the file is no CSV or JSON lines of requests
     │   └─ BatchTooLarge        (batch) it has more rows, bytes or values than a batch may have
     ├─ DailyLimitReached (branch: hold) the stack's DailyCreditLimit does not cover the job today
     ├─ PriceUnknown (branch: hold)      its price is not known, and such jobs are sent one at a time
     ├─ SubmissionInProgress (branch: retry)  an earlier attempt may still be sending the paid call
     ├─ JobClosed (branch: reject)      the job has ended, or was canceled: nothing is sent any more
     └─ TimedOut (branch: timed_out)    paid for, but the video did not come by its deadline

Knows a job's own errors; the vendor's are in `shared.genviral.errors`, a download's in `shared.delivery.errors`.
"""

from __future__ import annotations

from typing import ClassVar

from shared.faults import Branch, Fault, Paid


class RequestFault(Fault):
    """What was asked for cannot be sent to the vendor. Raised before anything is paid."""

    branch: ClassVar[Branch] = Branch.REJECT


class UploadUnreadable(RequestFault):
    """The uploaded object is gone, empty, or this stack may not read it."""

    code = "upload_unreadable"
    advice = "Upload the file again. It must lie in this stack's uploads bucket and must not be empty."


class AssetMissing(UploadUnreadable):
    """A file that a manifest names is not in the uploads bucket, and did not come while it was waited for."""

    advice = "Upload the file under the key that the manifest gives, then upload the manifest again."


class UploadTooLarge(RequestFault):
    """The uploaded object is larger than the stack's `MaxUploadMegabytes`."""

    code = "upload_too_large"
    advice = "Upload a smaller file, or raise the stack's parameter MaxUploadMegabytes."


class UploadUnsupported(RequestFault):
    """The uploaded object's content is not of a kind that the recipe's field takes."""

    code = "upload_unsupported"
    advice = (
        "Upload a file of the kind that the recipe's field takes: a picture (JPEG, PNG, WebP, GIF, HEIC, AVIF), a "
        "video (MP4, MOV, WebM) or sound (MP3, WAV, M4A, AAC, Ogg, FLAC)."
    )


class UploadMisplaced(RequestFault):
    """The object's key is in no place that starts something, or does not say clearly which recipe it is for."""

    code = "upload_misplaced"
    advice = (
        "Nothing was started. Upload the file again: for a recipe as uploads/<recipe>/<file>, a request as "
        "requests/<name>.json, a batch as batches/<name>.csv or .jsonl, a recipe as recipes/<name>.json."
    )


class FormUsed(RequestFault):
    """A form of `POST /uploads` was used again with another file, and its job can take no other one."""

    code = "form_used"
    advice = (
        "Nothing was started for the second file. Ask for a new form with POST /uploads, and send the file with that."
    )


class RecipeMissing(RequestFault):
    """No `recipes/<name>.json` lies in the uploads bucket, and none came while it was waited for."""

    code = "recipe_missing"
    advice = "Put the recipe into the uploads bucket as recipes/<name>.json, then upload the file again."


class RecipeInvalid(RequestFault):
    """The recipe is not a JSON object, or holds a placeholder that has no value."""

    code = "recipe_invalid"
    advice = "Correct the recipe and upload it, then upload the file again."


class RequestUnreadable(RequestFault):
    """A request file or a manifest is not JSON, or an execution's input holds no request."""

    code = "invalid_json"
    advice = (
        "Give one JSON object: in a file, the body of the vendor's generate call or a manifest; as an execution's "
        "input, an object with that body as `request`."
    )


class RequestTooLarge(RequestFault):
    """The request is too large for an execution's input or for the job's record."""

    code = "request_too_large"
    advice = (
        "Put the request into the uploads bucket as requests/<name>.json, which starts a job as well. If it is too "
        "large there, too: give links to media, not the media, and shorten the longest fields."
    )


class JobConflict(RequestFault):
    """The job's name was used before for another request, or an execution's input names another job."""

    code = "job_conflict"
    advice = (
        "Use a new Idempotency-Key or execution name for a new request. A row of a batch runs under its own name only."
    )


class BodyTooLarge(RequestFault):
    """The body of an API call is larger than any request can be."""

    code = "payload_too_large"
    advice = "Send links to media, not the media. A request may have 256 KiB."


class KeyUnusable(RequestFault):
    """The `Idempotency-Key` header is empty, too long, not printable ASCII, or has more than one value."""

    code = "invalid_idempotency_key"
    advice = (
        "Send one key of 1 to 255 printable ASCII characters, in quotes if it has a comma, or leave the header out."
    )


class JobNotFound(RequestFault):
    """There is no job of that id, or its record has expired."""

    code = "job_not_found"
    advice = "Check the job's id. Records are kept for the stack's RecordRetentionDays."


class JobEnded(RequestFault):
    """The job has ended already, so there is nothing left to cancel."""

    code = "job_ended"
    advice = "Read the job: it says how it ended."


class QueryInvalid(RequestFault):
    """A query parameter is missing or has a value that it cannot have."""

    code = "invalid_query"
    advice = "Correct the query parameters that the issues name."


class MediaTypeUnsupported(RequestFault):
    """The `Content-Type` of an API call's body is not JSON."""

    code = "unsupported_media_type"
    advice = "Send the body as JSON, with the header Content-Type: application/json."


class ServiceUnavailable(RequestFault):
    """An AWS service that the API needs failed or refused a call."""

    code = "unavailable"
    advice = "Repeat the request after a while, with the same Idempotency-Key; it never pays twice."


class IntakeStopped(RequestFault):
    """An operator has stopped intake: no new job starts until it is started again."""

    code = "intake_stopped"
    advice = "Nothing was sent. Try again later, with the same Idempotency-Key."


class BatchUnreadable(RequestFault):
    """A batch is not CSV or JSON lines in UTF-8, has an unknown column or no rows, or is named nearly like a check."""

    code = "batch_unreadable"
    advice = "Correct the file as the issues say and upload it again. No row of it was started."


class BatchTooLarge(RequestFault):
    """A batch has more rows, bytes or values than a batch may have."""

    code = "batch_too_large"
    advice = "Split the file and upload the parts. No row of it was started."


class DailyLimitReached(Fault):
    """The stack's `DailyCreditLimit` does not cover the job today. Nothing was sent."""

    code = "daily_credit_limit"
    branch = Branch.HOLD
    advice = (
        "Nothing was paid. The job goes on automatically when a day's credits cover it: after 00:00 UTC, or within an "
        "hour after the stack's parameter DailyCreditLimit is raised (0 means no limit)."
    )


class PriceUnknown(Fault):
    """With `DailyCreditLimit`: the job's price is not known yet, and another such job is being sent."""

    code = "price_unknown"
    branch = Branch.HOLD
    advice = (
        "Nothing was paid, and there is nothing to do. Jobs whose price is not known are sent one at a time. This one "
        "is tried again automatically, after seconds or minutes at first."
    )


LIMIT_ERRORS: tuple[type[Fault], ...] = (DailyLimitReached, PriceUnknown)
"""Raised only where a daily limit is set. They share one hold, which needs nobody."""
LIMIT_CODES = frozenset(fault.code for fault in LIMIT_ERRORS)


class SubmissionInProgress(Fault):
    """An earlier attempt may still be sending the paid call. Nothing was sent this time."""

    code = "submission_in_progress"
    paid = Paid.UNKNOWN
    branch = Branch.RETRY
    advice = (
        "Nothing to do: the job tries again every 30 seconds. It goes on when that attempt has ended, or is uncertain "
        "once it must have ended. If the execution ended meanwhile, redrive it."
    )


class JobClosed(Fault):
    """The job has come to an end, so nothing is sent for it any more."""

    code = "job_closed"
    branch = Branch.REJECT
    advice = "Ask for a new video, or reopen this job with the operator's command `attach`."


class TimedOut(Fault):
    """The video had not come when the job's deadline came."""

    code = "timed_out"
    paid = Paid.YES
    branch = Branch.TIMED_OUT
    advice = "The video is paid for. Resume with the operator's command `attach`, which goes on polling."


API_ERRORS: tuple[type[Fault], ...] = (
    BodyTooLarge,
    KeyUnusable,
    JobNotFound,
    JobEnded,
    QueryInvalid,
    MediaTypeUnsupported,
    ServiceUnavailable,
    IntakeStopped,
)
"""Answered to an API caller; a state machine never sees them."""

BATCH_ERRORS: tuple[type[Fault], ...] = (BatchUnreadable, BatchTooLarge)
"""What can be wrong with a batch as a whole. What is wrong with one of its rows stands in its report."""

UPLOAD_ERRORS: tuple[type[Fault], ...] = (UploadMisplaced, FormUsed)
"""Why an uploaded file starts nothing. There is no job for it, so each gets a notification of its own."""

JOB_ERRORS: tuple[type[Fault], ...] = (
    UploadUnreadable,
    AssetMissing,
    UploadMisplaced,
    UploadTooLarge,
    UploadUnsupported,
    RecipeMissing,
    RecipeInvalid,
    RequestUnreadable,
    RequestTooLarge,
    JobConflict,
    *LIMIT_ERRORS,
    SubmissionInProgress,
    JobClosed,
    TimedOut,
)
