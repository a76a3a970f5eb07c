"""A replacement for the native module `runtime_client` of awslambdaric, which is built for Linux only.

It has the same calls and raises the same errors, so the rest of awslambdaric runs unchanged. A function's process
imports it where the native module is missing. Must not import anything of this project.

The API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
The original: https://github.com/aws/aws-lambda-python-runtime-interface-client/blob/main/awslambdaric/runtime_client.cpp
"""

from __future__ import annotations

import http.client
import os
from typing import NamedTuple

_INVOCATIONS = "/2018-06-01/runtime/invocation"
_REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"
_ARN = "Lambda-Runtime-Invoked-Function-Arn"
_DEADLINE = "Lambda-Runtime-Deadline-Ms"
_OPTIONAL = (
    "Lambda-Runtime-Trace-Id",
    "Lambda-Runtime-Client-Context",
    "Content-Type",
    "Lambda-Runtime-Cognito-Identity",
    "Lambda-Runtime-Aws-Tenant-Id",
    "Lambda-Runtime-Invocation-Id",
)


Headers = dict[str, str | bytes]


class _Client(NamedTuple):
    address: str
    user_agent: str


_client: _Client | None = None


def initialize_client(user_agent: str) -> None:
    """Set the address and the user agent. Must be called before all other functions."""
    global _client
    _client = _Client(os.environ.get("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), user_agent)


def next() -> tuple[bytes, dict[str, str | int | None]]:  # noqa: A001 - the original's name
    """Wait for the next invocation, without a time limit.

    Returns:
        The event as JSON, and the headers that describe the invocation. A header that is missing or empty is None.

    Raises:
        RuntimeError: The Runtime API did not answer, or refused.
    """
    try:
        status, found, body = _call("GET", f"{_INVOCATIONS}/next")
    except (OSError, http.client.HTTPException):
        status = 0
    if not 200 <= status < 300:
        raise RuntimeError("Failed to get next")
    headers: dict[str, str | int | None] = {name: found.get(name) or None for name in _OPTIONAL}
    headers |= {name: found.get(name, "") for name in (_REQUEST_ID, _ARN)}
    headers[_DEADLINE] = int(found.get(_DEADLINE, "0"))
    return body, headers


def post_invocation_result(request_id: str, result: bytes, content_type: str, invocation_id: str | None) -> None:
    """Send a handler's result.

    Raises:
        RuntimeError: The Runtime API did not answer, or refused; or the client is not initialized.
    """
    _post(
        f"{request_id}/response",
        result,
        {"Content-Type": content_type},
        invocation_id,
        "Failed to post invocation response",
    )


def post_error(request_id: str, error: str, xray_fault: str, invocation_id: str | None) -> None:
    """Send a handler's error, and its form for X-Ray, both as JSON.

    Raises:
        RuntimeError: The Runtime API did not answer, or refused; the client is not initialized; or a text has lone
            surrogates, which UTF-8 cannot encode.
    """
    try:
        body, fault = error.encode(), xray_fault.encode()
    except UnicodeEncodeError:
        raise RuntimeError("Wrong arguments") from None
    headers: Headers = {"Content-Type": "application/json"}
    if fault:
        headers["Lambda-Runtime-Function-XRay-Error-Cause"] = fault
    _post(f"{request_id}/error", body, headers, invocation_id, "Failed to post invocation error")


def _post(path: str, body: bytes, headers: Headers, invocation_id: str | None, failure: str) -> None:
    if invocation_id:
        headers["Lambda-Runtime-Invocation-Id"] = invocation_id
    try:
        status, _, _ = _call("POST", f"{_INVOCATIONS}/{path}", body, headers)
    except (OSError, http.client.HTTPException):
        status = 0
    if not 200 <= status < 300:
        raise RuntimeError(failure)


def _call(
    method: str, path: str, body: bytes | None = None, headers: Headers | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    if _client is None:
        raise RuntimeError("Client not yet initalized")  # the original's own spelling
    connection = http.client.HTTPConnection(_client.address)
    try:
        connection.request(method, path, body, {"User-Agent": _client.user_agent, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()
