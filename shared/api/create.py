"""A request for a video, as an API caller makes it.

Everything that can be judged without the vendor is judged before a job is accepted. Knows jobs and how they begin; must
not know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from shared.api.json_body import json_object
from shared.jobs import identity
from shared.jobs.errors import IntakeStopped, JobConflict, KeyUnusable
from shared.requests.resolve import parse_request, request_text
from shared.runtime import logger
from shared.steps.intake import start

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from shared.jobs.intake_switch import IntakeSwitch
    from shared.jobs.record import Job
    from shared.jobs.transitions import JobStore
    from shared.steps.callers import Caller

_MAX_KEY = 255
_SCOPE = 2
"""Marks jobs whose caller has its present name. Jobs of earlier releases lack it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Takes requests.

    Args:
        store: Where jobs are kept.
        switch: Whether new jobs may start.
        sfn: A boto3 Step Functions client.
        state_machine_arn: The machine that runs jobs.
    """

    store: JobStore
    switch: IntakeSwitch
    sfn: SFNClient
    state_machine_arn: str

    def ask(self, body: bytes, *, caller: Caller, key: str | None) -> Job:
        """Accept a request as a job, or find the job that the same request made before.

        Args:
            body: The generate body as JSON, with an optional `metadata`.
            caller: Who asks; idempotency keys of different callers never meet.
            key: The caller's `Idempotency-Key`.

        Raises:
            Fault: The request is not accepted: one of the classes in `shared.api.errors`.
        """
        if key is not None and not _is_usable(key):
            raise KeyUnusable("the Idempotency-Key cannot be used")
        if self.switch.is_stopped:
            raise IntakeStopped("no new jobs are taken at the moment")
        document = json_object(body)
        if document.get("metadata", ...) is None:
            del document["metadata"]
        _, metadata = parse_request(document)
        fingerprint = identity.fingerprint(document)
        job, _ = self.store.create(
            identity.new() if key is None else self._job_of(caller, key),
            source={"type": "api", "caller": caller.name, "scope": _SCOPE},
            # A body has at most 256 KiB, so this fits.
            request=request_text({name: value for name, value in document.items() if name != "metadata"}),
            fingerprint=fingerprint,
            metadata=metadata,
            model_id=document["model_id"],
        )
        if job.fingerprint != fingerprint:
            raise JobConflict("this Idempotency-Key was used before, with another request")
        try:
            start(job, sfn=self.sfn, state_machine_arn=self.state_machine_arn)
        except (ClientError, BotoCoreError) as error:
            # The record stands, and the sweep starts what is recorded. Who is told to ask again, and has no key to ask
            # with, would get and pay for a second job.
            logger.warning("the execution could not be started; the sweep will", reason=type(error).__name__)
        return job

    def _job_of(self, caller: Caller, key: str) -> str:
        """The id of the job that a header means. A key in quotes, or sent twice, is the same key as without.

        Raises:
            KeyUnusable: It has more than one key.
        """
        first, *others = identity.keys_in(key)
        own = identity.for_idempotency_key(caller.name, identity.plain_key(first))
        written = [key] if others else [key, first, identity.plain_key(first)]
        names = filter(None, (caller.name, caller.former_name))
        ids = list(dict.fromkeys(identity.for_idempotency_key(name, text) for name in names for text in written))
        # A job of an earlier release must not be paid for again. Quotes and commas were a part of its key, and callers
        # shared names: so the caller's own job comes before one that another caller may have asked for.
        for job_id in ids if ids != [own] else ():
            job = self.store.get(job_id)
            if job is not None and (job_id == own or "scope" not in job.source):
                return job_id
        if others:
            raise KeyUnusable("the Idempotency-Key has more than one value; put a key with a comma in quotes")
        return own


def _is_usable(key: str) -> bool:
    keys = identity.keys_in(key) if key.isascii() and key.isprintable() else []
    return bool(keys) and all(identity.plain_key(written) and len(written) <= _MAX_KEY for written in keys)
