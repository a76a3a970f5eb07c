"""Derive a job's id, so that the same event or request always means the same job.

A job's id is also the name of its execution. Events are delivered at least once and callers repeat requests, so ids are
derived from what was asked for, and are random only where no repeat is possible. Knows nothing of AWS clients.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from typing import Any

# An execution's name has at most 80 characters; five are kept for the suffix of a later execution of the same job.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,75}")
_HANDED_OVER = re.compile(r"uploads/([^/]+)/((up-[0-9a-f]{12}-[0-9a-f]{16})(?:-([0-9a-f]{8}|[0-9a-f]{32}))?)/([^/]+)")
_CONTAINERS = (dict, list)
# One of these is in each JSON text without blanks that has 5.0 within it.
_FRACTIONS_OF_ZERO = (".0,", ".0]", ".0}")
# JSON holds no cycles; looking for them takes most of the time where lists lie within lists.
_SORTED = json.JSONEncoder(check_circular=False, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
_MEMBER = re.compile(r'\s*("(?:[^"\\]|\\["\\])*"(?=\s*(?:,|\Z))|[^,]+)')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_LATER_EXECUTION = re.compile(rf"({_JOB_ID.pattern})\.r(\d{{1,3}})")


def _digest(*parts: str) -> str:
    # The lengths keep ("ab", "c") and ("a", "bc") apart.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def for_object(bucket: str, key: str, version: str) -> str:
    """The job of one version of one S3 object.

    Args:
        bucket: The bucket's name.
        key: The object's key, not URL-encoded (EventBridge sends it as it is).
        version: The version id, or etag and sequencer where the bucket keeps no versions.
    """
    return f"s3-{_digest(bucket, key, version)}"


def of_form(key: str) -> str | None:
    """The job that a form named, by the key that it chose; None for any other key, also one that was copied from it."""
    handed_over = _HANDED_OVER.fullmatch(key)
    if handed_over is None:
        return None
    recipe, job_id, announced, binding, name = handed_over.groups()
    if binding is None:  # forms of an earlier version; S3 may still announce their files again
        return job_id
    return job_id if _binding(announced, recipe, name).startswith(binding) else None


def for_idempotency_key(caller: str, key: str) -> str:
    """The job that `caller` named by an `Idempotency-Key`. Two callers may use the same key for different jobs."""
    return f"api-{_digest(caller, key)}"


def plain_key(key: str) -> str:
    """An `Idempotency-Key` without the quotes that the draft standard puts around it.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07#section-2.1: it is a string as
    https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3 has them. What is no such string is taken as it is.
    """
    quoted = _QUOTED.fullmatch(key)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else key


def keys_in(header: str) -> list[str]:
    """The different keys in an `Idempotency-Key` header, as they are written.

    API Gateway joins headers of one name with commas, so a comma separates keys unless it is within quotes.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    members = (member.strip() for member in _MEMBER.findall(header))
    return list({plain_key(member): member for member in members if member}.values())


def for_row(bucket: str, batch: str, fingerprint: str, copy: int) -> str:
    """Return the id of a batch row's job. It does not depend on the row's place: a row that moves stays the same job.

    Args:
        bucket: The bucket that the batch was uploaded to.
        batch: The batch's name, the same in all its versions and forms.
        fingerprint: The row's `fingerprint`.
        copy: How many rows of the same fingerprint stand before it in the file; each is a job of its own.
    """
    return f"row-{_digest(bucket, batch, fingerprint, str(copy))}"


def new() -> str:
    """An id for a request that nobody can repeat. Sorts by time, to the millisecond."""
    return f"api-{_unique()}"


def for_handover(recipe: str, name: str) -> str:
    """Create an id for a file that is still to be uploaded, with the key `uploads/<recipe>/<id>/<name>`.

    The id ends with a digest of the rest of that key, so under another key it names no job. The digest is too long to
    search for another key that has the same one.
    """
    announced = f"up-{_unique()}"
    return f"{announced}-{_binding(announced, recipe, name)}"


def _binding(announced: str, recipe: str, name: str) -> str:
    # Earlier versions took 8 of these characters. Such an id is shorter, so no new form has it.
    return _digest(announced, recipe, name)[:32]


def _unique() -> str:
    return f"{int(time.time() * 1000):012x}-{secrets.token_hex(8)}"


def of_execution(execution_arn: str) -> str:
    """The job that an execution works on.

    Its name is the job's id, or for a job that an operator took up again, the id and `.r<number>`. A name that somebody
    else chose and that fits neither is replaced by its digest.
    """
    name = execution_arn.rsplit(":", 1)[-1]
    if _JOB_ID.fullmatch(name):
        return name
    if later := _LATER_EXECUTION.fullmatch(name):
        return later[1]
    return f"x-{_digest(name)}"


def later_execution(job_id: str, number: int) -> str:
    """The name of an execution that takes a job up again. The first one had the job's own name, which is used up."""
    return f"{job_id}.r{number}"


def turn_of(execution_arn: str) -> str:
    """`r<number>` for an execution that takes a job up again, nothing for the first one."""
    number = number_of_turn(execution_arn)
    return f"r{number}" if number else ""


def number_of_turn(execution_arn: str) -> int:
    """The number of an execution that takes a job up again, 0 for the first one."""
    later = _LATER_EXECUTION.fullmatch(execution_arn.rsplit(":", 1)[-1])
    return int(later[2]) if later else 0


def fingerprint(request: object) -> str:
    """A digest of a request's meaning: the same for the same JSON value, however it was written.

    A spreadsheet turns 5.0 into 5, and no row of a batch may be paid for again because of that. Metadata that are null
    are none.
    """
    if isinstance(request, dict) and request.get("metadata") is None:
        request = {name: value for name, value in request.items() if name != "metadata"}
    return fingerprint_of(canonical_json(request))


def fingerprint_of(canonical: str) -> str:
    """The same, from a request's canonical JSON."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no blanks, ASCII, and no fraction where it is zero."""
    return canonical_form(value)[1]


def canonical_form(value: object) -> tuple[object, str]:
    """A value without fractions that are zero, and its canonical JSON. Where it has none, it is the value itself."""
    text = _SORTED.encode(value)
    if isinstance(value, str) or not _may_have_fractions_of_zero(text):
        return value, text
    whole = _with_whole_numbers(value)
    return whole, _SORTED.encode(whole)


def _may_have_fractions_of_zero(text: str) -> bool:
    # 5.0 or 1e+16. Substrings are found many times as fast as a pattern.
    return "e+" in text or (".0" in text and (text.endswith(".0") or any(map(text.__contains__, _FRACTIONS_OF_ZERO))))


def _with_whole_numbers(value: object) -> object:
    """A copy of the value that has whole numbers where fractions are zero."""
    whole = [value]
    todo: list[Any] = [whole]
    while todo:
        container = todo.pop()
        for key, member in container.items() if isinstance(container, dict) else enumerate(container):
            if type(member) is float and member.is_integer():
                container[key] = int(member)
            elif isinstance(member, _CONTAINERS):
                container[key] = member.copy()
                todo.append(container[key])
    return whole[0]


def is_job_id(text: str) -> bool:
    """Whether a job could be called this. Keeps other items of the table out of a caller's reach."""
    return _JOB_ID.fullmatch(text) is not None
