"""The HTTP API. `docs/openapi.json` describes it for callers.

Each route imports what it needs itself. Most calls need neither the request models nor the vendor's client, which take
longer to import than to use.
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
    """Create a job."""
    from shared.api.callers import caller_of
    from shared.api.create import create_job
    from shared.api.json_body import body_of

    request, config = app.current_event, settings(Settings)
    job = create_job(
        body_of(request.raw_event),
        caller=caller_of(request.raw_event),
        key=request.headers.get("idempotency-key"),
        store=_store(),
        switch=_switch(),
        sfn=client("stepfunctions"),
        state_machine_arn=config.state_machine_arn,
    )
    logger.append_keys(job_id=job.job_id)
    logger.info("job accepted", status=job.status.value)
    return _answer(202, {"job_id": job.job_id, "status": job.status.value}, {"Location": f"/videos/{job.job_id}"})


@app.get("/videos")
def list_videos() -> Response[str]:
    """List the jobs of a status, last changed first."""
    return _answer(200, _lookup().list(app.current_event.query_string_parameters or {}))


@app.get("/videos/<job_id>")
def get_video(job_id: str) -> Response[str]:
    """Show a job."""
    logger.append_keys(job_id=job_id[:80])
    return _answer(200, _lookup().show(job_id))


@app.delete("/videos/<job_id>")
def delete_video(job_id: str) -> Response[str]:
    """Stop following a job. Genviral has no cancel call: it completes what it has started."""
    from shared.api.cancel import cancel_job
    from shared.steps.notify import Notifier

    logger.append_keys(job_id=job_id[:80])
    config = settings(Settings)
    notifier = Notifier(store=_store(), sns=client("sns"), topic_arn=config.topic_arn)
    answer = cancel_job(
        job_id, notifier=notifier, sfn=client("stepfunctions"), state_machine_arn=config.state_machine_arn
    )
    return _answer(200, answer)


@app.post("/uploads")
def post_upload() -> Response[str]:
    """Issue a presigned form for an upload."""
    from shared.api.json_body import body_of
    from shared.api.upload_form import presign_upload

    config = settings(Settings)
    form = presign_upload(
        body_of(app.current_event.raw_event),
        switch=_switch(),
        s3=client("s3"),
        bucket=config.uploads_bucket,
        max_bytes=config.max_upload_megabytes * 1_000_000,
    )
    logger.append_keys(job_id=form["job_id"])
    logger.info("upload form issued")
    return _answer(201, form, {"Location": f"/videos/{form['job_id']}"})


@app.get("/models")
def list_models() -> Response[str]:
    """List Genviral's video models with their prices."""
    from shared.genviral.model_list import KEPT_SECONDS

    return _answer(200, {"models": _model_list().models()}, {"Cache-Control": f"private, max-age={KEPT_SECONDS}"})


@app.get("/health")
def get_health() -> Response[str]:
    """Report whether the API and its table work, and whether new jobs are accepted."""
    return _answer(200, {"ok": True, "intake": "stopped" if _switch().is_stopped else "open"})


@app.head("/health")
def head_health() -> Response[str]:
    """Report whether the API and its table work, without a body."""
    return Response(get_health().status_code, "application/json", "")


@app.exception_handler(Fault)  # type: ignore[untyped-decorator]
def handle_fault(fault: Fault) -> Response[str]:
    """Answer a fault in the shape of the vendor's errors."""
    status = HTTP_STATUS.get(type(fault), 500)
    logger.info("request refused", error_code=fault.error_code, http_status=status)
    document = {
        "ok": False,
        "code": status,
        "message": fault.message,
        "error_code": fault.code,  # not the vendor's own code: our pages do not list it
        "issues": list(fault.issues),
        "advice": advice_on(type(fault)),
    }
    seconds = retry_after(fault)
    headers = None if seconds is None else {"Retry-After": str(seconds)}
    return _answer(status, {name: value for name, value in document.items() if value != []}, headers)


@app.exception_handler([ClientError, BotoCoreError, AwsCallFailed])  # type: ignore[untyped-decorator]
def handle_aws_error(error: Exception) -> Response[str]:
    """Answer that AWS itself failed. The caller may repeat the request; with an Idempotency-Key this is safe."""
    logger.warning("an AWS call failed", reason=type(error).__name__)
    answer: Response[str] = handle_fault(ServiceUnavailable("the service is not available at the moment"))
    return answer


@app.not_found
def not_found(_: Exception) -> Response[str]:
    """Answer that there is no such route."""
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
    # Shorter than the function's own 15 seconds, even if the key is fetched again in between.
    timeouts = Timeouts(connect=2, read=5, write=2, pool=2, total=5)
    return genviral(config.genviral_base_url, config.api_key_secret, timeouts=timeouts, paid=Paid.NO)


def _answer(status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status, "application/json", json_text(document), headers=headers or {})
