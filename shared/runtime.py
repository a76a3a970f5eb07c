"""Provide what every function needs: settings, the logger, metrics, AWS clients and error handling.

This module must not know jobs or the vendor. Powertools' tracer is not used: importing it costs more than all the rest
together, and `Tracing: Active` already shows every call between the services.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_type_hints

import botocore.session
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.faults import Branch, Fault, Paid
from shared.printable import json_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = [
    "AwsCallFailed",
    "InternalError",
    "MetricUnit",
    "SettingsInvalid",
    "add_metric",
    "add_source",
    "entrypoint",
    "logger",
    "metrics",
]

# Without the source location: it costs a stack walk for each line and adds nothing to the message.
logger = Logger(location=None, json_serializer=functools.partial(json_text, default=str, separators=(",", ":")))
metrics = Metrics()

# httpx logs every address that it calls at INFO, and an output link gives access to the video.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

_S = TypeVar("_S")

ALL_METRICS = "all"
"""The value of the variable `METRICS` with which every metric is published."""

# Bodies are sent over TLS with a CRC-32 that S3 checks. botocore would also sign a SHA-256 of each body whose checksum
# it did not compute itself. That took a quarter of a large copy's time and protects against nothing more.
S3 = Config(
    read_timeout=15,
    signature_version="s3v4",
    s3={"addressing_style": "virtual", "payload_signing_enabled": False},
    max_pool_connections=16,
)
"""The configuration of the S3 client."""


class AwsCallFailed(Fault):
    """An AWS call was refused or failed, after botocore's own retries. Retried, then left for a redrive."""

    code = "aws_call_failed"
    paid = Paid.UNKNOWN
    branch = Branch.RETRY
    advice = (
        "Fix what the message names (often a permission, a quota or a temporary fault), then redrive the execution."
    )


class InternalError(Fault):
    """A defect in this project, or an unexpected answer. Never caught, so that a redrive resumes at that state."""

    code = "internal_error"
    paid = Paid.UNKNOWN
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Nothing is lost: after a fixed version is deployed, redrive the execution. Please report it."


class SettingsInvalid(Fault):
    """A function's environment lacks a value or has one that cannot be used."""

    code = "settings_invalid"
    paid = Paid.UNKNOWN
    branch: ClassVar[Branch] = Branch.RETRY
    advice = "Deploy the stack again, with its own template and correct parameters, then redrive the execution."


def settings(kind: type[_S]) -> _S:
    """Return a function's settings from its environment.

    Args:
        kind: A dataclass whose field `jobs_table` means the variable `JOBS_TABLE`; str, int, float and bool fields.

    Raises:
        SettingsInvalid: A variable is missing or has a value of another type.
    """
    values: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        variable = field.name.upper()
        text = os.environ.get(variable, "")
        if not text:
            if field.default is MISSING:
                raise SettingsInvalid(f"the environment variable {variable} is not set")
            continue
        try:
            values[field.name] = _PARSERS[hints[field.name]](text)
        except ValueError:
            raise SettingsInvalid(f"the environment variable {variable} is no {hints[field.name].__name__}") from None
    return kind(**values)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


_PARSERS: dict[type, Callable[[str], Any]] = {str: str, int: int, float: float, bool: _boolean}


def _published() -> frozenset[str]:
    """Return the names in the variable `METRICS`, which the template's parameter Monitoring chooses."""
    return frozenset(os.environ.get("METRICS", ALL_METRICS).split(","))


def add_metric(*, name: str, unit: MetricUnit, value: float) -> None:
    """Publish a metric if the stack's Monitoring wants it, else log it.

    CloudWatch charges for each metric in each hour with a value (https://aws.amazon.com/cloudwatch/pricing/). So unless
    all metrics are published, only those that an alarm reads are, and no zeros: an alarm takes no data for zero.
    """
    published = _published()
    if ALL_METRICS in published or (value and name in published):
        metrics.add_metric(name=name, unit=unit, value=value)
    elif value:
        logger.info("counted", metric=name, value=value)


def add_source(source: str) -> None:
    """Count the metrics of this invocation also by where jobs come from, if all metrics are published.

    That is a second set of dimensions, and so a second metric. It names the stack as well, or two stacks in one account
    would count for each other.
    """
    if ALL_METRICS in _published():
        metrics.add_dimensions(service=str(metrics.service), source=source)


@functools.cache
def client(service: str) -> Any:
    """Return an AWS client, made once an environment. Its calls are boto3's.

    S3 links are signed with version 4 for the bucket's regional address. botocore's default is the global one, which
    answers with a redirect that breaks the signature outside us-east-1.
    """
    # A call that hangs must leave time for what comes after the paid one: 3 x (2 + 3) seconds and two pauses at most.
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=3)
    return _session().create_client(service, config=config.merge(S3) if service == "s3" else config)


@functools.cache
def _session() -> botocore.session.Session:
    """Create botocore's session. boto3 adds resources and transfers, which are unused here and slow a cold start."""
    return botocore.session.get_session()


def entrypoint(*, paid: Paid, clients: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a handler: set the logger's context, flush metrics, and let only named errors leave the handler.

    Args:
        paid: Whether the job may have been paid for, where an error's own class cannot know.
        clients: The AWS services that every event needs. On Lambda their clients are created before the first event:
            until then a whole processor is available, afterwards the share that belongs to the function's memory.
            https://serverlessland.com/content/service/lambda/guides/effectively-running-java-on-serverless/init-heavy-lifting
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        for service in clients:
            client(service)

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def wrapped(event: dict[str, Any], context: Any) -> Any:
            try:
                return handler(event, context)
            except Fault as fault:
                raise _quiet(fault) from None
            except (ClientError, BotoCoreError) as error:
                raise _quiet(AwsCallFailed(_aws_message(error), paid=paid)) from None
            except Exception as error:  # noqa: BLE001 - the boundary: its text may hold a prompt or a signed URL
                where = _location(error.__traceback__)
                # A defect may occur before or after the paid call.
                known = paid if paid is Paid.YES else Paid.UNKNOWN
                raise _quiet(InternalError(f"{type(error).__name__} at {where}", paid=known)) from None
            finally:
                # Powertools' own decorator logs a warning for each call without metrics.
                if metrics.metric_set:
                    metrics.flush_metrics()

        return logger.inject_lambda_context(wrapped, clear_state=True)

    return decorate


def _quiet(fault: Fault) -> Fault:
    """Log a fault, and keep the runtime's stack trace out of logs and histories."""
    logger.warning(fault.message, fault=fault.document())
    # The runtime puts `traceback.extract_tb` of what is raised into the error payload; this makes it empty.
    # https://docs.python.org/3/library/sys.html#sys.tracebacklimit
    sys.tracebacklimit = 0
    return fault


def _aws_message(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name} failed with {error.response.get('Error', {}).get('Code', 'an unknown code')}"
    return f"an AWS call failed with {type(error).__name__}"


def _location(traceback: TracebackType | None) -> str:
    """Return the file and line that raised, without any of its values."""
    where = "an unknown place"
    while traceback is not None:
        code = traceback.tb_frame.f_code
        where = f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno} in {code.co_name}"  # noqa: PTH119 - cheap
        traceback = traceback.tb_next
    return where
