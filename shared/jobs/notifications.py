"""Build notifications: one SNS message, as data for programs and as a text for people.

Knows how a record becomes a message, and where the AWS console shows things. Must not know when a message is due or how
it is sent. Nothing in it needs to be kept secret: no prompt, no key, no link that opens anything without signing in.
`docs/notification.schema.json` describes the data for subscribers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.jobs.errors import DailyLimitReached, PriceUnknown
from shared.jobs.identity import number_of_turn
from shared.jobs.states import STATES, Status
from shared.printable import in_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.faults import Fault
    from shared.jobs.record import Job

VERSION = "1"
RECIPE_INVALID = "recipe_invalid"
"""Not a job's status: a recipe was uploaded that no job could use."""
UPLOAD_IGNORED = "upload_ignored"
"""Not a job's status: a file was uploaded that starts nothing where it is."""
BATCH_FINISHED = "batch_finished"
BATCH_CHECKED = "batch_checked"
BATCH_REJECTED = "batch_rejected"
BATCH_INTERRUPTED = "batch_interrupted"
# What the report of a batch tells again. Nobody wants ten thousand mails, so the stack's own subscription of an address
# leaves out what carries the attribute `reported_in`.
_REPORTED = frozenset({Status.SUCCEEDED, Status.FAILED})
_SUBJECT_CHARACTERS = 100  # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
_SMS_CHARACTERS = 160  # more would be sent, and charged, as several messages
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-eusc": "console.amazonaws-eusc.eu",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
"""Partition → its console, after the region and a dot. The template's mapping `Partitions` has the same hosts.

https://docs.aws.amazon.com/general/latest/gr/mgmt-console.html
"""

_LIMIT_HOLDS = {
    DailyLimitReached.code: "The job waits: the daily credit limit does not cover it.",
    PriceUnknown.code: "The job waits: its price is not known yet, and such jobs are sent one at a time.",
}
_SUMMARY = {
    RECIPE_INVALID: "The recipe cannot be used.",
    UPLOAD_IGNORED: "The file starts nothing, and nothing was paid for it.",
    BATCH_FINISHED: "The batch is done; its report says how each row ended.",
    BATCH_CHECKED: "The batch was checked. Nothing was started and nothing was paid.",
    BATCH_REJECTED: "The batch cannot be read. No row of it was started.",
    BATCH_INTERRUPTED: "The batch was interrupted; no row is paid for twice, whatever you do next.",
}
# What mail programs make links of, but for a bare host, which looks like a file's name: any scheme but that of places
# in S3, which open nothing. Times and "a: b" are none.
_LINK = re.compile(
    r"(?<![a-z])(?!s3://|(?<=\d)t\d\d:)[a-z][a-z0-9+.-]{0,63}:(?=\S)(?://[^\s/?#]*)?|(?<!\bs3)://[^\s/?#]*|www\.|(?<=\S)@(?=\S)",
    re.IGNORECASE,
)
_ODD_IN_NAME = re.compile(r'[\s:"<>|@]')
_MOST_ABOUT = 48
"""Characters of a name in a title. The ids that the pipeline makes fit."""
_CLAUSE = re.compile(r"[.;:] ")
_WITHOUT_FILE = (Status.FAILED, Status.TIMED_OUT)
_PAID = {"yes": "yes", "no": "no", "unknown": "nobody knows"}


@dataclass(frozen=True, slots=True)
class Notification:
    """One message.

    Attributes:
        subject: A line for people: ASCII, at most 100 characters.
        message: The message as data.
        text: The message for an e-mail.
        short: The message for a phone: ASCII, at most 160 characters.
        attributes: What subscribers filter by.
    """

    subject: str
    message: dict[str, Any]
    text: str
    short: str
    attributes: dict[str, str]


def notification_for(job: Job) -> Notification:
    """Build the notification about a job in its present status."""
    # People were notified that it was interrupted, and a report may have said so too: its end is news to them.
    is_news = Status.INTERRUPTED in job.timeline or number_of_turn(job.execution or "") > 0
    return _notice(
        {
            "version": VERSION,
            "notification_id": f"{job.job_id}/{job.notice_due}",
            "job_id": job.job_id,
            "status": job.status.value,
            "summary": _summary(job),
            "occurred_at": job.timeline.get(job.status.value),
            "paid": job.paid.value,
            "source": job.origin,
            "recipe": job.recipe,
            "model_id": job.model_id,
            "video_id": job.video_id,
            "credits_used": job.credits_used,
            "other_videos": job.others or None,
            "video": job.output,
            "error": job.shown_error if job.status is not Status.SUCCEEDED else None,
            **job.redrive,
            "metadata": job.metadata or None,
            "execution": job.execution,
        },
        is_reported=job.status in _REPORTED and not is_news,
    )


def notification_of_upload(
    upload_id: str, source: Mapping[str, Any], *, fault: Fault, occurred_at: str, recipe: str | None = None
) -> Notification:
    """Build the notification about an uploaded file that starts nothing, or about a recipe that no job could use.

    Args:
        upload_id: Names this upload; a repeat has the same name.
        source: Where the file is.
        fault: What is wrong with it.
        occurred_at: When it was uploaded, ISO 8601.
        recipe: The recipe's name, where the file is a recipe that cannot be used.
    """
    status = UPLOAD_IGNORED if recipe is None else RECIPE_INVALID
    return _notice(
        {
            "version": VERSION,
            "notification_id": f"{upload_id}/{status}",
            "status": status,
            "summary": _SUMMARY[status],
            "occurred_at": occurred_at,
            "paid": "no",
            "source": dict(source),
            "recipe": recipe,
            "error": fault.document(),
        }
    )


def notification_of_batch(
    batch_id: str,
    status: str,
    *,
    source: Mapping[str, Any],
    occurred_at: str,
    paid: str,
    batch: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    execution: str | None = None,
    moment: str = "",
) -> Notification:
    """Build the notification about a batch as a whole.

    Args:
        batch_id: The name of its execution.
        status: `batch_finished`, `batch_checked`, `batch_rejected` or `batch_interrupted`.
        source: Where it lies.
        occurred_at: When, ISO 8601.
        paid: Whether any of its rows is paid for: `yes`, `no` or `unknown`.
        batch: How its rows ended, and where the report lies.
        error: What went wrong, as a document.
        execution: Its execution's ARN.
        moment: Tells one interruption from the next.
    """
    return _notice(
        {
            "version": VERSION,
            "notification_id": f"{batch_id}/{status}{moment and f'#{moment}'}",
            "status": status,
            "summary": _SUMMARY[status],
            "occurred_at": occurred_at,
            "paid": paid,
            "source": dict(source),
            "batch": {"batch_id": batch_id, **(batch or {})},
            "error": error,
            "execution": execution,
        }
    )


def _notice(parts: Mapping[str, Any], *, is_reported: bool = False) -> Notification:
    """Make a notification of its parts.

    Args:
        parts: The data; None stands for what there is not.
        is_reported: Whether a batch's report tells it again, if it is about a row of a batch.
    """
    message = {name: value for name, value in parts.items() if value is not None}
    error = message.get("error", {})
    attributes = {
        "status": message["status"],
        "source": str(message["source"].get("type", "execution")),
        "model_id": message.get("model_id"),
        "recipe": message.get("recipe"),
        "error_code": error.get("code"),
    }
    if message["source"].get("type") == "batch" and is_reported:
        attributes["reported_in"] = "batch"
    about = _about(message)
    title = _title(message["summary"], about)
    links = list(console_links(message))
    return Notification(
        subject=_subject(message["summary"], about),
        message=message,
        text="\n".join([*lines_for_people(message), *([""] if links else []), *links]),
        short=_ascii(f"{title}. {_rows(message) or _words(str(error.get('message', '')))}")[:_SMS_CHARACTERS],
        # SNS refuses a whole message for one control character, and a folder's name may hold them.
        attributes={name: value for name, value in attributes.items() if value and value.isprintable()},
    )


def _subject(summary: str, about: str) -> str:
    """The title, with no more than the first clause of the summary where it is too long."""
    title = _title(summary, about)
    if len(title) > _SUBJECT_CHARACTERS:
        title = _title(_CLAUSE.split(summary, maxsplit=1)[0], about)
    return _ascii(title)[:_SUBJECT_CHARACTERS]


def _title(summary: str, about: str) -> str:
    """What happened, and to what: in this order, so that no name can take the place of what happened."""
    return f"{summary.removesuffix('.')}: {about}"


def _about(message: Mapping[str, Any]) -> str:
    """What it is about, in a few words: a file, a line of one, or a job."""
    source = message["source"]
    key = str(source.get("key") or message.get("job_id"))
    name = key if _LINK.search(key) else key.rsplit("/", 1)[-1]
    about = _name(name if len(name) <= _MOST_ABOUT else f"{name[: _MOST_ABOUT - 3]}...")
    return f"{about}, line {source['line']}" if "line" in source else str(about)


def _rows(message: Mapping[str, Any]) -> str | None:
    """How a batch's rows ended: `1,000: 998 succeeded, 2 refused`."""
    batch = message.get("batch", {})
    if "rows" not in batch:
        return None
    counts = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in batch["counts"].items())
    return f"{batch['rows']:,}: {counts}"


def _credits(message: Mapping[str, Any]) -> str | None:
    batch = message.get("batch", {})
    if "credits_estimated" in batch:
        return f"about {batch['credits_estimated']:,g}"
    used = message.get("credits_used", batch.get("credits_used"))
    if batch.get("rows_paid_before"):
        return f"{batch['credits_new']:,g} new, {used:,g} in all"
    return None if used is None else f"{used:,g}"


def lines_for_people(message: Mapping[str, Any]) -> Iterator[str]:
    """Return a notification as text: what happened, what to do, and the facts."""
    yield _title(message["summary"], _about(message))
    error, video = message.get("error", {}), message.get("video", {})
    if error:
        yield ""
        yield _words(str(error.get("message", "")))
        yield from (f"  - {_words(issue['path'])}: {_words(issue['message'])}" for issue in error.get("issues", ()))
        if advice := error.get("advice"):
            yield f"What to do: {in_line(advice)}"
        if action_url := error.get("action_url"):
            yield f"Where: {in_line(action_url)}"
    if advice := message.get("batch", {}).get("advice"):
        yield ""
        yield f"What to do: {in_line(advice)}"
    yield ""
    facts = {
        "Status": message["status"],
        "Paid": _PAID[message["paid"]],
        "Rows": _rows(message),
        "Credits": _credits(message),
        "Others": ", ".join(map(_other, message.get("other_videos", ()))) or None,
        "Retry": _retry(message),
        "Video": _described(video),
        "Report": _place(report) if (report := message.get("batch", {}).get("report")) else None,
        "Source": _place(message["source"]),
        "Recipe": _name(message.get("recipe")),
        "Model": _name(message.get("model_id")),
        "Job": _words(message.get("job_id", "")) or None,
        "Time": message.get("occurred_at"),
    }
    yield from (f"{name + ':':9}{in_line(str(fact))}" for name, fact in facts.items() if fact is not None)


def _other(video: Mapping[str, Any]) -> str:
    """A further video of the same job."""
    cost = f" ({video['credits_used']:,g} credits)" if "credits_used" in video else ""
    if output := video.get("output"):
        return f"video {_words(video['video_id'])}{cost}, in the bucket: s3://{output['bucket']}/{_key(output['key'])}"
    if "paid" in video:
        cost = " (an answer named it; nobody knows whether it was paid for)"
    return f"video {_words(video['video_id'])} at Genviral{cost}"


def _retry(message: Mapping[str, Any]) -> str | None:
    """When an interrupted job is tried again automatically."""
    if "redrive_at" not in message:
        return None
    return f"{message['redrive_at']}, and then again until {message['redrive_until']}"


def _described(video: Mapping[str, Any]) -> str | None:
    if not video:
        return None
    seconds, width, height = (video.get(name) for name in ("duration_seconds", "width", "height"))
    facts = [f"{seconds:g} s" if seconds else "", f"{width}x{height}" if width and height else ""]
    facts.append(f"{video['bytes']:,} bytes" if "bytes" in video else "")
    return f"s3://{video['bucket']}/{_key(video['key'])} ({', '.join(filter(None, facts))})"


def _place(source: Mapping[str, Any]) -> str:
    if "key" not in source or "bucket" not in source:
        return str(source["type"])
    return f"s3://{source['bucket']}/{_key(source['key'])}" + (f", line {source['line']}" if "line" in source else "")


def console_links(message: Mapping[str, Any]) -> Iterator[str]:
    """Return the pages of the AWS console about a notification. They show nothing without signing in."""
    execution = str(message.get("execution") or "")
    if execution.count(":") < 7:
        return
    for name, file in (("video", message.get("video")), ("report", message.get("batch", {}).get("report"))):
        if file:
            yield f"The {name} (sign in to AWS first):"
            yield page_of_object(execution, file["bucket"], file["key"])
    yield "The execution:"
    yield page_of_execution(execution)


def page_of_execution(arn: str) -> str:
    """Return the address of an execution's page in AWS's console."""
    return f"{console_of(arn)}/states/home?region={arn.split(':')[3]}#/v2/executions/details/{_quoted(arn, ':')}"


def page_of_object(arn: str, bucket: str, key: str) -> str:
    """Return the address of an object's page in AWS's console, in the region that an ARN names."""
    return f"{console_of(arn)}/s3/object/{bucket}?region={arn.split(':')[3]}&prefix={_quoted(key)}"


def console_of(arn: str) -> str:
    """Return the address of AWS's console for what an ARN names."""
    _, partition, _, region, *_ = arn.split(":")
    return f"https://{region}.{_CONSOLES.get(partition, _CONSOLES['aws'])}"


def _name(name: str | None) -> str | None:
    """A name from outside. One that could be read as a sentence, a line or a link of ours is quoted."""
    if name is None or not (_ODD_IN_NAME.search(name) or _words(name) != name):
        return name
    return '"' + _words(name).replace('"', "'") + '"'


def _key(key: str) -> str:
    """A key from outside, percent-encoded where it could be read as more than a key. `ops show` takes both."""
    if _words(key) == key:
        return key
    return _quoted(key, "/").replace("//", "/%2F").replace(".", "%2E")


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe, errors="surrogatepass")


def _words(text: str) -> str:
    """Words that hold names from outside, or are the vendor's: in one line, and with no link that can be followed.

    Not to be called for what it returned: a link would be broken twice.
    """
    return _LINK.sub(lambda link: re.sub("[:.@]", r"[\g<0>]", link[0]), in_line(text))


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode().strip()


def _summary(job: Job) -> str:
    times = job.times_accepted
    again = f" Genviral was paid for {times} videos of this job." if job.other_videos and times > 1 else ""
    return _sentence(job) + again


def _sentence(job: Job) -> str:
    if job.status in _WITHOUT_FILE and job.output is None and job.delivered_others:
        return "One more video of the job did not come; another one was delivered before and is in the bucket."
    if job.status is Status.ON_HOLD and (reason := _LIMIT_HOLDS.get((job.error or {}).get("code", ""))):
        return reason
    if job.status is Status.UNCERTAIN and job.video_id is not None:
        return "The video is paid for: the answer came after all, too late for the job. Attach it."
    if job.status is Status.UNCERTAIN and job.known_video is not None:
        return "Nobody knows whether the video was paid for; the answer named an id that may be the video's."
    if job.redrive and job.video_id is None:
        return "The job was interrupted and is tried again automatically while intake is open; nothing is lost."
    if job.redrive:
        return "The job was interrupted and is tried again automatically; nothing is lost."
    return STATES[job.status].summary
