"""Build the OpenAPI document of the HTTP API; `python -m tools.docs` writes it to docs/openapi.json.

Routes and their summaries come from `functions/api/app.py`, request bodies from the models that validate them, errors
and their statuses from `shared.api.errors`. This module has the shape of the answers, which a test compares with real
ones. It must not import the function itself.
"""

from __future__ import annotations

import ast
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.api.errors import HTTP_STATUS
from shared.api.read import DEFAULT_PAGE, MAX_PAGE
from shared.api.upload_form import FORM_SECONDS, UploadRequest
from shared.genviral.errors import (
    AuthenticationFailed,
    GenviralUnavailable,
    GenviralUnreachable,
    InsufficientCredits,
    InvalidJson,
    InvalidPayload,
    RateLimited,
    SubscriptionRequired,
    TierNotAllowed,
)
from shared.genviral.models import PATTERN_OF_NAMES, GenerateRequest
from shared.jobs.errors import (
    BodyTooLarge,
    IntakeStopped,
    JobConflict,
    JobEnded,
    JobNotFound,
    KeyUnusable,
    MediaTypeUnsupported,
    QueryInvalid,
    RecipeMissing,
    ServiceUnavailable,
)
from shared.jobs.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.faults import Fault

ROOT = Path(__file__).parents[1]
PATH = ROOT / "docs" / "openapi.json"

_SCHEMAS = "#/components/schemas/"
_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}
_TIME = {"type": "string", "format": "date-time"}
_STATUS = {"type": "string", "enum": [status.value for status in Status]}
_JOB_ID = {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,75}$"}
_BODY: tuple[type[Fault], ...] = (InvalidJson, BodyTooLarge, MediaTypeUnsupported, InvalidPayload, IntakeStopped)
_VENDOR: tuple[type[Fault], ...] = (
    RateLimited,
    AuthenticationFailed,
    SubscriptionRequired,
    TierNotAllowed,
    InsufficientCredits,
    GenviralUnreachable,
    GenviralUnavailable,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and answers, beside what its code says.

    Attributes:
        status: The HTTP status of its success.
        answers: The schema of that answer; None where it has no body.
        takes: The schema of its body.
        parameters: Names of its parameters, beside those in its path.
        headers: Names of the headers of its success.
        faults: The errors that it answers, beside those that every route has.
    """

    status: int
    answers: str | None
    takes: str | None = None
    parameters: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    faults: tuple[type[Fault], ...] = ()


OPERATIONS = {
    "post_video": Operation(
        202,
        "Accepted",
        takes="VideoRequest",
        parameters=("idempotency_key",),
        headers=("Location",),
        faults=(*_BODY, KeyUnusable, JobConflict),
    ),
    "list_videos": Operation(200, "JobList", parameters=("status", "limit", "next_token"), faults=(QueryInvalid,)),
    "get_video": Operation(200, "Job", faults=(JobNotFound,)),
    "delete_video": Operation(200, "Canceled", faults=(JobNotFound, JobEnded)),
    "post_upload": Operation(
        201, "UploadForm", takes="UploadRequest", headers=("Location",), faults=(*_BODY, RecipeMissing)
    ),
    "list_models": Operation(200, "ModelList", headers=("Cache-Control",), faults=_VENDOR),
    "get_health": Operation(200, "Health"),
    "head_health": Operation(200, None),
}
"""Name of the function behind a route → the rest."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "job_id": {"name": "job_id", "in": "path", "required": True, "schema": _JOB_ID},
    "idempotency_key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Printable ASCII. A repeat with the same key and body is the same job, paid once. Quotes around "
        "the key are not part of it. A key with a comma must be in quotes.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            # HTTP removes the blanks around a value.
            "pattern": r'^([!-+\--~]([ -+\--~]*[!-+\--~])?|"[ !#-[\]-~]+")$',
            "not": {"const": '""'},
        },
    },
    "status": {"name": "status", "in": "query", "required": True, "schema": _STATUS},
    "limit": {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
    },
    "next_token": {
        "name": "next_token",
        "in": "query",
        "description": "From the previous answer, unchanged.",
        "schema": _TEXT,
    },
}

_HEADERS = {
    "Location": {"description": "Where the job is.", "schema": _TEXT},
    "Cache-Control": {"description": "How long the list may be kept.", "schema": _TEXT},
    "Retry-After": {"description": "Seconds until the same call may be made again.", "schema": _COUNT},
}


EXAMPLES: dict[str, dict[str, Any]] = {
    "VideoRequest": {
        "model_id": "bytedance/seedance-2.0",
        "prompt": "A paper boat on a calm lake",
        "params": {"duration_seconds": 5},
        "metadata": {"order": "4711"},
    },
    "UploadRequest": {"filename": "red shoe.jpg", "content_type": "image/jpeg", "recipe": "default"},
}


def _to_the_job(operation: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": {"job_id": "$response.body#/job_id"}}


def _object(required: str, /, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_SUMMARY = {
    "job_id": _JOB_ID,
    "status": _STATUS,
    "created_at": _TIME,
    "source": _object("type", type=_TEXT, bucket=_TEXT, key=_TEXT, version_id=_TEXT, line=_COUNT),
    "model_id": _TEXT,
    "video_id": {**_TEXT, "description": "Genviral's id of the video. Once it is there, the job is paid for."},
}
# https://repost.aws/knowledge-center/presigned-url-s3-bucket-expiration
_AT_MOST = "At most. What is signed ends with the session of the role that signed it."
_ISSUES = {"type": "array", "items": _object("path message", path=_TEXT, message=_TEXT)}
ANSWERS: dict[str, dict[str, Any]] = {
    "Accepted": _object("job_id status", job_id=_JOB_ID, status=_STATUS),
    "Job": _object(
        "job_id status created_at source timeline",
        **_SUMMARY,
        timeline={
            "type": "object",
            "description": "Status → when it was last entered.",
            "additionalProperties": _TIME,
        },
        elapsed_seconds={**_COUNT, "description": "Since the paid call, while the job is open."},
        estimate={**_TEXT, "description": "How much longer the video will take, in words, while it is being made."},
        vendor_status={
            **_TEXT,
            "description": "Genviral's own status of the video, if it is not processing. "
            "succeeded: Genviral says so, but gives no link.",
        },
        retrying={
            **_object(
                "error tries since next_try_by",
                error=_object("code message", error=_TEXT, code=_TEXT, message=_TEXT),
                tries={**_COUNT, "description": "How many polls or copies have failed one after another."},
                since=_TIME,
                next_try_by={**_TIME, "description": "The next try starts by then. If that is past, it is running."},
            ),
            "description": "While polls or copies fail: the last error.",
        },
        next_try_at={**_TIME, "description": "While on_hold: when it is tried again."},
        held_until={**_TIME, "description": "While on_hold: after this time it is not tried again."},
        sweep_by={
            **_TIME,
            "description": "While queued: the sweep starts it by then, unless it has started or intake is stopped.",
        },
        recipe=_TEXT,
        credits_used={"type": "number"},
        other_videos={
            "type": "array",
            "description": "Further videos of this job at Genviral: it was paid for twice, or another was attached.",
            "items": _object(
                "video_id",
                video_id=_TEXT,
                paid={
                    "enum": ["unknown"],
                    "description": "Only where an answer named the video and nobody knows whether it was paid for.",
                },
                credits_used={"type": "number"},
                output={
                    **_object(
                        "bucket key url url_expires_in_seconds",
                        bucket=_TEXT,
                        key=_TEXT,
                        url={
                            **_TEXT,
                            "format": "uri",
                            "description": "Newly signed. Anybody with this link can fetch the video.",
                        },
                        url_expires_in_seconds={**_COUNT, "description": _AT_MOST},
                    ),
                    "description": "Where the file is, if it was delivered, also if the job has failed since.",
                },
            ),
        },
        metadata={"type": "object"},
        error=_object(
            "code message",
            error=_TEXT,
            code=_TEXT,
            message=_TEXT,
            advice=_TEXT,
            paid=_TEXT,
            issues=_ISSUES,
            video_id={**_TEXT, "description": "A video that an answer of unknown outcome named; it may be the job's."},
        ),
        redrive_at={
            **_TIME,
            "description": "When an interrupted job is retried automatically. If that is past: now, or soon.",
        },
        redrive_until={**_TIME, "description": "Until when it is retried automatically."},
        video=_object(
            "bucket key url url_expires_in_seconds",
            bucket=_TEXT,
            key=_TEXT,
            bytes=_COUNT,
            url={**_TEXT, "format": "uri", "description": "Newly signed. Anybody with this link can fetch the video."},
            url_expires_in_seconds={**_COUNT, "description": _AT_MOST},
        ),
    ),
    "JobList": _object(
        "jobs",
        jobs={"type": "array", "items": _object("job_id status created_at source", **_SUMMARY)},
        next_token={**_TEXT, "description": "There are more jobs."},
    ),
    "Canceled": _object("job_id status message", job_id=_JOB_ID, status=_STATUS, video_id=_TEXT, message=_TEXT),
    "UploadForm": _object(
        "job_id key url fields max_bytes expires_in_seconds",
        job_id={
            **_JOB_ID,
            "description": "The job that the file will start. It is not found until the file has arrived.",
        },
        key=_TEXT,
        url={**_TEXT, "format": "uri", "description": "POST the form here, as multipart/form-data."},
        fields={
            "type": "object",
            "description": "The form's fields. The file follows them, as the last field, named file.",
            "additionalProperties": _TEXT,
        },
        max_bytes=_COUNT,
        expires_in_seconds={**_COUNT, "description": _AT_MOST, "examples": [FORM_SECONDS]},
    ),
    "ModelList": _object(
        "models",
        models={
            "type": "array",
            "items": _object(
                "id name required optional",
                id=_TEXT,
                name=_TEXT,
                provider=_TEXT,
                default_cost={"type": "number", "description": "Credits."},
                required={"type": "array", "items": _TEXT},
                optional={"type": "array", "items": _TEXT},
            ),
        },
    ),
    "Health": _object("ok intake", ok={"type": "boolean"}, intake={"type": "string", "enum": ["open", "stopped"]}),
    "Error": {
        **_object(
            "ok code message error_code",
            ok={"const": False},
            code={**_COUNT, "description": "The HTTP status."},
            message=_TEXT,
            error_code=_TEXT,
            issues=_ISSUES,
            advice=_TEXT,
        ),
        "description": "Genviral's own shape of an error, with advice.",
    },
}


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the function: its method, path, the name of the function behind it and what that says it does."""

    method: str
    path: str
    name: str
    purpose: str


def routes() -> Iterator[Route]:
    """The routes that `functions/api/app.py` declares."""
    tree = ast.parse((ROOT / "functions" / "api" / "app.py").read_text("utf-8"))
    for node in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for decorator in node.decorator_list:
            if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)):
                continue
            method = decorator.func.attr
            if method in ("get", "post", "put", "patch", "delete", "head"):
                path = str(ast.literal_eval(decorator.args[0])).replace("<", "{").replace(">", "}")
                yield Route(method, path, node.name, ast.get_docstring(node) or "")


def document() -> dict[str, Any]:
    """The OpenAPI document.

    Raises:
        KeyError: A route has no entry in `OPERATIONS`.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes():
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": project["name"],
            "version": project["version"],
            "description": project["description"],
            "license": {"name": project["license"], "identifier": project["license"]},
        },
        "servers": [{"url": "{api_url}", "variables": {"api_url": {"default": "https://example.com"}}}],
        "security": [{"iam": []}, {"jwt": []}],
        "paths": paths,
        "components": {
            "schemas": {**_requests(), **ANSWERS},
            "securitySchemes": {
                "iam": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS Signature Version 4 for the service execute-api. The default.",
                },
                "jwt": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of the issuer that the stack's parameter JwtIssuer names.",
                },
            },
        },
    }


def text() -> str:
    """The document as it stands in the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(route: Route) -> dict[str, Any]:
    facts = OPERATIONS[route.name]
    summary, _, rest = route.purpose.partition(". ")
    operation: dict[str, Any] = {"operationId": route.name, "summary": summary.rstrip(".")}
    if rest:
        operation["description"] = rest
    names = (*(name for name in PARAMETERS if f"{{{name}}}" in route.path), *facts.parameters)
    if names:
        operation["parameters"] = [PARAMETERS[name] for name in names]
    if facts.takes:
        body = _json(facts.takes)
        body["application/json"]["example"] = EXAMPLES[facts.takes]
        operation["requestBody"] = {"required": True, "content": body}
    success: dict[str, Any] = {"description": _DESCRIPTIONS[facts.status]}
    if facts.answers:
        success["content"] = _json(facts.answers)
    if facts.headers:
        success["headers"] = {name: _HEADERS[name] for name in facts.headers}
    if "Location" in facts.headers:
        success["links"] = {"job": _to_the_job("get_video")}
    if route.name == "get_video":
        success["links"] = {"cancel": _to_the_job("delete_video")}
    operation["responses"] = {
        str(facts.status): success,
        **_refusals((*facts.faults, ServiceUnavailable), has_body=route.method != "head"),
    }
    return operation


_DESCRIPTIONS = {200: "As asked.", 201: "The form.", 202: "Accepted as a job, or found as the job that it was before."}
_THROTTLED = (
    "API Gateway's own: all callers together were too fast. It has another body and no Retry-After. The request was "
    "not taken; repeat it."
)


def _refusals(faults: tuple[type[Fault], ...], *, has_body: bool) -> dict[str, Any]:
    # The stage's limit stands before every route.
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
    by_status: dict[int, list[str]] = {429: []}
    for fault in faults:
        by_status.setdefault(HTTP_STATUS[fault], []).append(f"`{fault.code}`")
    refusals: dict[str, Any] = {}
    for status, codes in sorted(by_status.items()):
        refusal: dict[str, Any] = {"description": ", ".join(codes) or _THROTTLED}
        if codes:
            if has_body:
                refusal["content"] = _json("Error")
            if status in (429, 503):
                refusal["headers"] = {"Retry-After": _HEADERS["Retry-After"]}
            if status == 429:
                refusal["description"] += f". Or {_THROTTLED}"
        refusals[str(status)] = refusal
    return refusals


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_SCHEMAS}{schema}"}}}


def _requests() -> dict[str, Any]:
    """The schemas of bodies, from the models that judge them."""
    found: dict[str, Any] = {}
    for name, model in (("VideoRequest", GenerateRequest), ("UploadRequest", UploadRequest)):
        schema = model.model_json_schema(ref_template=_SCHEMAS + "{model}")
        found |= schema.pop("$defs", {})
        found[name] = schema | {"title": name}
    for schema in found.values():
        for member in schema.get("properties", {}).values():
            # An absent member is null: no value that a caller has to give. Generators of TypeScript require a default.
            if member.get("default", ...) is None:
                del member["default"]
    found["VideoRequest"]["properties"]["metadata"] = {
        "type": ["object", "null"],
        "propertyNames": {"pattern": PATTERN_OF_NAMES},
        "description": "Your own labels, at most 2,048 bytes of JSON. They come back in the job and its notifications.",
    }
    return found
