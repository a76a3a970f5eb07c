"""Patch MiniStack so that its Lambda functions run in real execution environments.

MiniStack's own Python worker converts every exception to `Runtime.HandlerError`, which no Retry or Catch would match.
Here `runtime_api` handles invocations instead.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from typing import TYPE_CHECKING, Any

from ministack.core import lambda_runtime, tls
from ministack.services import lambda_svc

from local.aws.runtime_api import Function, Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.aws.runtime_api import FailedStart


class Functions:
    """All functions of the stand-in, each with its pool of execution environments.

    Args:
        endpoint: The URL of AWS for the functions.
        work: The existing folder for code, layers, logs and scratch folders. The caller removes it.
        runtime_packages: The folder with awslambdaric and boto3.
        report: Called when a function's process fails before it asks for an invocation.
    """

    def __init__(
        self, endpoint: str, work: Path, runtime_packages: Path, report: Callable[[FailedStart], None]
    ) -> None:
        self._report = report
        self._endpoint = endpoint
        self._work = work
        self._runtime_packages = runtime_packages
        self._lock = threading.Lock()
        self._pools: dict[str, Pool] = {}
        self._closed = False

    def install(self) -> None:
        """Replace MiniStack's worker pool."""
        lambda_svc._execute_function_warm = self._execute

    def close(self) -> None:
        """End every process."""
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()

    def _execute(self, record: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        config = record["config"]
        trace = lambda_svc._xray_trace_id_for_invocation(config) or ""
        answer = self._pool(config, record["code_zip"]).invoke(json.dumps(event).encode(), request_id, trace)
        result = {"body": json.loads(answer.payload), "log": answer.log}
        return result | {"error": True} if answer.failed else result

    def _pool(self, config: dict[str, Any], code: bytes) -> Pool:
        """Return the pool for this configuration. As on Lambda, a changed function gets new environments."""
        fields = ("FunctionArn", "CodeSha256", "Handler", "Runtime", "Timeout", "MemorySize", "Environment", "Layers")
        key = json.dumps([config.get(field) for field in fields], sort_keys=True, default=str)
        with self._lock:
            if self._closed:
                raise RuntimeError("the stand-in is shutting down")
            if key not in self._pools:
                digest = hashlib.sha256(key.encode()).hexdigest()[:8]
                self._pools[key] = Pool(self._function(config, code, digest), self._report)
            return self._pools[key]

    def _function(self, config: dict[str, Any], code: bytes, digest: str) -> Function:
        layers = (lambda_svc._resolve_layer_zip(layer) for layer in config.get("Layers", []))
        return Function(
            name=config["FunctionName"],
            arn=config["FunctionArn"],
            handler=config["Handler"],
            runtime=config["Runtime"],
            timeout=config["Timeout"],
            memory=config["MemorySize"],
            log_format=config.get("LoggingConfig", {}).get("LogFormat", "Text"),
            code=self._unpack(code),
            layers=tuple(self._unpack(layer) for layer in layers if layer),
            environment=self._environment(config),
            runtime_packages=self._runtime_packages,
            logs=self._work / "logs",
            scratch=self._work / "scratch" / digest,
        )

    def _environment(self, config: dict[str, Any]) -> dict[str, str]:
        environment: dict[str, str] = dict((config.get("Environment") or {}).get("Variables") or {})
        credentials = lambda_runtime.execution_credentials(config)
        environment |= {name: value for name, value in credentials.items() if value}
        environment["AWS_ENDPOINT_URL"] = self._endpoint
        if tls.use_ssl_enabled():
            tls.trust_gateway_cert(environment)
        return environment

    def _unpack(self, archive: bytes) -> Path:
        folder = self._work / "code" / hashlib.sha256(archive).hexdigest()[:20]
        if not folder.exists():
            with zipfile.ZipFile(io.BytesIO(archive)) as package:
                package.extractall(folder)
        return folder
