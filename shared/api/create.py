"""Create a job from an API caller's request.

Every check that does not need the vendor runs before the job is accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from shared.api.json_body import json_object
from shared.executions import Executions
from shared.jobs import identity
from shared.jobs.errors import JobConflict, KeyUnusable
from shared.jobs.states import Status
from shared.requests.resolve import parse_request, request_text
from shared.runtime import logger

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from shared.api.callers import Caller
    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore

_MAX_KEY = 255
_SCOPE = 2
"""Marks jobs whose caller is recorded under its current name. Jobs of earlier releases lack it."""


def create_job(
    body: bytes,
    *,
    caller: Caller,
    key: str | None,
    store: JobStore,
    switch: IntakeSwitch,
    sfn: SFNClient,
    state_machine_arn: str,
) -> Job:
    """Create a job and start its execution, or find the job that the same request created before.

    Args:
        body: The generate body as JSON, with an optional `metadata`.
        caller: Who asks. The same key of two callers means two jobs.
        key: The caller's `Idempotency-Key`.

    Raises:
        Fault: The request is not accepted: one of the classes in `shared.api.errors`.
    """
    if key is not None and not _is_usable(key):
        raise KeyUnusable("the Idempotency-Key cannot be used")
    switch.require_open()
    document = json_object(body)
    if document.get("metadata", ...) is None:
        del document["metadata"]
    _, metadata = parse_request(document)
    fingerprint = identity.fingerprint(document)
    job, _ = store.create(
        identity.new() if key is None else _job_id_of(caller, key, store),
        source={"type": "api", "caller": caller.name, "scope": _SCOPE},
        # A body has at most 256 KiB, so this fits.
        request=request_text({name: value for name, value in document.items() if name != "metadata"}),
        fingerprint=fingerprint,
        metadata=metadata,
        model_id=document["model_id"],
    )
    if job.fingerprint != fingerprint:
        raise JobConflict("this Idempotency-Key was used before, with another request")
    if job.status is not Status.QUEUED:
        return job
    try:
        Executions(sfn=sfn, state_machine_arn=state_machine_arn).start_job(job)
    except (ClientError, BotoCoreError) as error:
        # The sweep starts every recorded job. A caller without a key that was asked to repeat the request would
        # get and pay for a second job.
        logger.warning("the execution could not be started; the sweep will", reason=type(error).__name__)
    return job


def _job_id_of(caller: Caller, key: str, store: JobStore) -> str:
    """Find the id of the job that an `Idempotency-Key` header names. Quotes and repeats of the key do not matter.

    Raises:
        KeyUnusable: It has more than one key.
    """
    first, *others = identity.keys_in(key)
    own = identity.for_idempotency_key(caller.name, identity.plain_key(first))
    written = [key] if others else [key, first, identity.plain_key(first)]
    names = filter(None, (caller.name, caller.former_name))
    ids = list(dict.fromkeys(identity.for_idempotency_key(name, text) for name in names for text in written))
    # A job of an earlier release must not be paid for again. Its key included quotes and commas, and callers
    # shared names; so the caller's own job comes before one that another caller may have created.
    for job_id in ids if ids != [own] else ():
        job = store.get(job_id)
        if job is not None and (job_id == own or "scope" not in job.source):
            return job_id
    if others:
        raise KeyUnusable("the Idempotency-Key has more than one value; put a key with a comma in quotes")
    return own


def _is_usable(key: str) -> bool:
    keys = identity.keys_in(key) if key.isascii() and key.isprintable() else []
    return bool(keys) and all(identity.plain_key(written) and len(written) <= _MAX_KEY for written in keys)
