"""Run the local AWS stand-in and count every request and every invocation of a function.

`benchmarks.cost` runs it in the stand-in's place (`python -m benchmarks.counting`, with the same arguments). Each line
of the file that `COUNTS` names is one JSON object. A request is counted when it reaches the stand-in's HTTP server, so
none of a function's is missed. An invocation is counted in its execution environment. Knows AWS's wire format
(https://docs.aws.amazon.com/general/latest/gr/sigv4-create-string-to-sign.html). Must not know prices.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from local.aws import __main__ as stand_in
from local.aws import runtime_api

_SCOPE = re.compile(r"Credential=[^/]+/\d+/[\w-]+/([\w-]+)/aws4_request")
_CALLER = "exec-env/AWS_Lambda"


def _write(**fact: Any) -> None:
    with Path(os.environ["COUNTS"]).open("a") as file:
        file.write(json.dumps(fact) + "\n")


def _counted(app: Any) -> Any:
    """Wrap the app, and record each request."""

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope.get("headers", [])}
        query = scope.get("query_string", b"").decode()
        signed = _SCOPE.search(headers.get("authorization", ""))
        presigned = "X-Amz-Signature" in query
        if not presigned and not (signed and _CALLER in headers.get("user-agent", "")):
            await app(scope, receive, send)
            return
        service, asked, answered = signed[1] if signed else "s3", bytearray(), bytearray()

        async def listen() -> Any:
            message = await receive()
            asked.extend(message.get("body", b"") if service != "s3" else b"")
            return message

        async def reply(message: dict[str, Any]) -> None:
            answered.extend(message.get("body", b"") if service != "s3" else b"")
            await send(message)

        await app(scope, listen, reply)
        _write(
            service=service,
            operation=_operation(service, scope["method"], query, headers, bytes(asked)),
            item=_item(bytes(asked), bytes(answered)) if service == "dynamodb" else None,
            at=time.time(),
        )

    return serve


def _operation(service: str, method: str, query: str, headers: dict[str, str], body: bytes) -> str:
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if service == "s3":
        marks = parse_qs(query, keep_blank_values=True).keys() & {"uploads", "uploadId", "list-type", "tagging"}
        return " ".join((method, *sorted(marks)))
    action: list[str] = parse_qs(body.decode(errors="replace")).get("Action", [method])
    return action[0]


def _item(asked: bytes, answered: bytes) -> dict[str, Any]:
    """Return the item that was read or written, or only its key if the answer lacks it."""
    request, answer = json.loads(asked or b"{}"), json.loads(answered or b"{}")
    item: dict[str, Any] = (
        answer.get("Item") or answer.get("Attributes") or request.get("Item") or request.get("Key") or {}
    )
    return item


def _timed(invoke: Any) -> Any:
    @functools.wraps(invoke)
    def wrapped(self: Any, payload: bytes, request_id: str, trace: str) -> Any:
        cold = not self._ready.is_set()
        self._ready.wait(runtime_api.INIT_SECONDS)
        began = time.perf_counter()
        answer = invoke(self, payload, request_id, trace)
        _write(
            service="lambda",
            function=self._function.name,
            megabytes=self._function.memory,
            seconds=time.perf_counter() - began,
            cold=cold,
            failed=answer.failed,
            logged=len(answer.log.encode()),
            at=time.time(),
        )
        return answer

    return wrapped


if __name__ == "__main__":
    stand_in._as_if_encrypted = functools.partial(  # noqa: SLF001 - the one place where every request passes
        lambda original, app: original(_counted(app)),
        stand_in._as_if_encrypted,  # noqa: SLF001
    )
    runtime_api.Environment.invoke = _timed(runtime_api.Environment.invoke)  # type: ignore[method-assign]  # patched to be timed
    status = stand_in.main()
    sys.stdout.flush()
    os._exit(status)
