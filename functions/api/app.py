"""The HTTP API: `POST /videos` and `GET /videos/{job_id}`."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Fault, Paid
from shared.jobs.intake_switch import IntakeSwitch
from shared.jobs.store import JobStore
from shared.runtime import client, entrypoint, logger, settings
from shared.steps.requests import HTTP_STATUS, Desk

app = APIGatewayHttpResolver()


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment."""

    jobs_table: str
    record_retention_days: int
    state_machine_arn: str


@entrypoint(paid=Paid.NO)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Route one request."""
    return app.resolve(event, context)


@app.post("/videos")
def post_video() -> Response[str]:
    """Accept a generate body: 202 and where to look."""
    request = app.current_event
    job = _desk().ask(
        _body(request.raw_event), caller=_caller(request.raw_event), key=request.headers.get("idempotency-key")
    )
    logger.append_keys(job_id=job.job_id)
    logger.info("job accepted", status=job.status.value)
    return _answer(202, {"job_id": job.job_id, "status": job.status.value}, {"Location": f"/videos/{job.job_id}"})


@app.get("/videos/<job_id>")
def get_video(job_id: str) -> Response[str]:
    """A job as it is now."""
    logger.append_keys(job_id=job_id[:80])
    return _answer(200, _desk().show(job_id))


@app.exception_handler(Fault)  # type: ignore[untyped-decorator]
def refused(fault: Fault) -> Response[str]:
    """A named error, in the vendor's own shape."""
    status = HTTP_STATUS.get(type(fault), 500)
    logger.info("request refused", error_code=fault.error_code, http_status=status)
    document = {
        "ok": False,
        "code": status,
        "message": fault.message,
        "error_code": fault.error_code,
        "issues": list(fault.issues),
        "advice": fault.advice,
    }
    later = {"Retry-After": "60"} if status == 503 else None
    return _answer(status, {name: value for name, value in document.items() if value != []}, later)


@app.exception_handler([ClientError, BotoCoreError])  # type: ignore[untyped-decorator]
def unavailable(error: Exception) -> Response[str]:
    """AWS itself failed. The caller may repeat the request, with an Idempotency-Key at no risk."""
    logger.warning("an AWS call failed", reason=type(error).__name__)
    document = {
        "ok": False,
        "code": 503,
        "message": "The service is not available at the moment.",
        "error_code": "unavailable",
        "advice": "Repeat the request with the same Idempotency-Key; it never pays twice.",
    }
    return _answer(503, document, {"Retry-After": "5"})


@app.not_found
def not_found(_: Exception) -> Response[str]:
    """No such route."""
    return _answer(404, {"ok": False, "code": 404, "message": "There is no such route.", "error_code": "not_found"})


def _desk() -> Desk:
    config = settings(Settings)
    return Desk(
        store=JobStore(client("dynamodb"), config.jobs_table, retention_days=config.record_retention_days),
        switch=IntakeSwitch(client("dynamodb"), config.jobs_table),
        sfn=client("stepfunctions"),
        state_machine_arn=config.state_machine_arn,
        s3=client("s3"),
    )


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode("utf-8", "surrogatepass")
    return base64.b64decode(body)


def _caller(event: dict[str, Any]) -> str:
    """Who is behind the request, as API Gateway found out: a role or user, a token's subject, or nobody (laptop)."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if iam := authorizer.get("iam"):
        arn = str(iam.get("userArn"))
        # A role's session has a new name each time; the same program must find its own keys again.
        return arn.rsplit("/", 1)[0] if ":assumed-role/" in arn else arn
    claims = (authorizer.get("jwt") or {}).get("claims") or {}
    return f"{claims.get('iss', '')}#{claims.get('sub', '')}" if claims else "anonymous"


def _answer(status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status, "application/json", json.dumps(document, ensure_ascii=False), headers=headers or {})
