"""The HTTP API. `docs/openapi.json` describes it for callers.

Each route imports its own step: most calls need neither the request models nor the vendor's client, which take longer
to import than to use.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from botocore.exceptions import BotoCoreError, ClientError

from shared.api.errors import HTTP_STATUS, advice_on, retry_after
from shared.faults import Fault, Paid
from shared.jobs.errors import ServiceUnavailable
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.transitions import JobStore
from shared.printable import json_text
from shared.runtime import AwsCallFailed, client, entrypoint, logger, settings

if TYPE_CHECKING:
    from shared.api.read import Lookup
    from shared.genviral.client import GenviralClient
    from shared.genviral.model_list import ModelList

app = APIGatewayHttpResolver()


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    state_machine_arn: str
    topic_arn: str
    uploads_bucket: str
    max_upload_megabytes: int
    genviral_base_url: str
    api_key_secret: str
    sweep_quiet_seconds: int


@entrypoint(paid=Paid.NO, clients=("dynamodb",))
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Route one request."""
    return app.resolve(event, context)


@app.post("/videos")
def post_video() -> Response[str]:
    """Ask for a video."""
    from shared.api.create import Desk
    from shared.api.json_body import body_of
    from shared.steps.callers import caller_of

    request, config = app.current_event, settings(Settings)
    desk = Desk(
        store=_store(), switch=_switch(), sfn=client("stepfunctions"), state_machine_arn=config.state_machine_arn
    )
    job = desk.ask(
        body_of(request.raw_event), caller=caller_of(request.raw_event), key=request.headers.get("idempotency-key")
    )
    logger.append_keys(job_id=job.job_id)
    logger.info("job accepted", status=job.status.value)
    return _answer(202, {"job_id": job.job_id, "status": job.status.value}, {"Location": f"/videos/{job.job_id}"})


@app.get("/videos")
def list_videos() -> Response[str]:
    """List the jobs of a status, those changed last first."""
    return _answer(200, _lookup().list(app.current_event.query_string_parameters or {}))


@app.get("/videos/<job_id>")
def get_video(job_id: str) -> Response[str]:
    """Look at a job."""
    logger.append_keys(job_id=job_id[:80])
    return _answer(200, _lookup().show(job_id))


@app.delete("/videos/<job_id>")
def delete_video(job_id: str) -> Response[str]:
    """Stop following a job. Genviral knows no cancel: what it has begun, it goes on with."""
    from shared.api.cancel import Canceler
    from shared.steps.notify import Notifier

    logger.append_keys(job_id=job_id[:80])
    config = settings(Settings)
    notifier = Notifier(
        store=_store(),
        sns=client("sns"),
        topic_arn=config.topic_arn,
    )
    canceler = Canceler(notifier=notifier, sfn=client("stepfunctions"), state_machine_arn=config.state_machine_arn)
    return _answer(200, canceler.cancel(job_id))


@app.post("/uploads")
def post_upload() -> Response[str]:
    """Get a form to upload a file with, without AWS keys."""
    from shared.api.json_body import body_of
    from shared.api.upload_form import Reception

    config = settings(Settings)
    reception = Reception(
        switch=_switch(),
        s3=client("s3"),
        bucket=config.uploads_bucket,
        max_bytes=config.max_upload_megabytes * 1_000_000,
    )
    form = reception.form(body_of(app.current_event.raw_event))
    logger.append_keys(job_id=form["job_id"])
    logger.info("form handed out")
    return _answer(201, form, {"Location": f"/videos/{form['job_id']}"})


@app.get("/models")
def list_models() -> Response[str]:
    """List Genviral's video models with what they cost."""
    from shared.genviral.model_list import KEPT_SECONDS

    return _answer(200, {"models": _model_list().models()}, {"Cache-Control": f"private, max-age={KEPT_SECONDS}"})


@app.get("/health")
def get_health() -> Response[str]:
    """See whether the API and its table answer, and whether new jobs are taken."""
    return _answer(200, {"ok": True, "intake": "stopped" if _switch().is_stopped else "open"})


@app.head("/health")
def head_health() -> Response[str]:
    """See whether the API and its table answer, without a body."""
    return Response(get_health().status_code, "application/json", "")


@app.exception_handler(Fault)  # type: ignore[untyped-decorator]
def refused(fault: Fault) -> Response[str]:
    """A named error, in the vendor's own shape."""
    status = HTTP_STATUS.get(type(fault), 500)
    logger.info("request refused", error_code=fault.error_code, http_status=status)
    document = {
        "ok": False,
        "code": status,
        "message": fault.message,
        "error_code": fault.code,  # the vendor's own code would be one that no page of ours lists
        "issues": list(fault.issues),
        "advice": advice_on(type(fault)),
    }
    seconds = retry_after(fault)
    later = None if seconds is None else {"Retry-After": str(seconds)}
    return _answer(status, {name: value for name, value in document.items() if value != []}, later)


@app.exception_handler([ClientError, BotoCoreError, AwsCallFailed])  # type: ignore[untyped-decorator]
def unavailable(error: Exception) -> Response[str]:
    """AWS itself failed. The caller may repeat the request, with an Idempotency-Key at no risk."""
    logger.warning("an AWS call failed", reason=type(error).__name__)
    answer: Response[str] = refused(ServiceUnavailable("the service is not available at the moment"))
    return answer


@app.not_found
def not_found(_: Exception) -> Response[str]:
    """No such route."""
    return _answer(404, {"ok": False, "code": 404, "message": "There is no such route.", "error_code": "not_found"})


def _store() -> JobStore:
    config = settings(Settings)
    return JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days)


def _switch() -> IntakeSwitch:
    return IntakeSwitch(client("dynamodb"), settings(Settings).jobs_table)


def _lookup() -> Lookup:
    from shared.api.read import Lookup

    return Lookup(store=_store(), s3=client("s3"), quiet_seconds=settings(Settings).sweep_quiet_seconds)


@functools.cache
def _model_list() -> ModelList:
    from shared.genviral.model_list import ModelList

    return ModelList(_vendor)


def _vendor() -> GenviralClient:
    from shared.genviral.client import Timeouts
    from shared.vendor import genviral

    config = settings(Settings)
    # Less than the function's own 15 seconds, even when the key is fetched anew in between.
    timeouts = Timeouts(connect=2, read=5, write=2, pool=2, total=5)
    return genviral(config.genviral_base_url, config.api_key_secret, timeouts=timeouts, paid=Paid.NO)


def _answer(status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status, "application/json", json_text(document), headers=headers or {})
