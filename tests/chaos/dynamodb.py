"""Call moto's DynamoDB handlers directly, without HTTP, which halves the time of a run.

Knows moto's internals. Moto's answers do not change. Must not know what is stored in the table.
"""

from __future__ import annotations

import copy
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.botocore_stubber import MockRawResponse
from moto.core.exceptions import HTTPException, ServiceException
from moto.dynamodb import models
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from tests.support.fakes import REGION, TABLE

if TYPE_CHECKING:
    import pytest

JSON = "application/x-amz-json-1.0"


def speed_up(patch: pytest.MonkeyPatch) -> None:
    """Replace two slow parts of moto's tables: sorting all items for a query, and copying them for a transaction."""
    touched: list[DynamoType] = []
    transact = models.DynamoDBBackend.transact_write_items

    def transact_write_items(backend: Any, transaction: list[dict[str, Any]]) -> None:
        touched[:] = [DynamoType(write["Key"]["job_id"]) for item in transaction for write in item.values()]
        transact(backend, transaction)

    def copied(value: Any) -> Any:
        if not isinstance(value, Table):
            return copy.deepcopy(value)
        # A rollback needs only the items that the transaction writes.
        table = copy.copy(value)
        table.items = value.items.copy()
        for key in touched:
            if key in table.items:
                table.items[key] = copy.deepcopy(table.items[key])
        return table

    patch.setattr(Table, "all_items", lambda table: list(table.items.values()))
    patch.setattr(models.DynamoDBBackend, "transact_write_items", transact_write_items)
    patch.setattr(models, "copy", SimpleNamespace(deepcopy=copied))


def answer(request: Any) -> AWSResponse | None:
    """Answer a call. None: it was rejected without effect, and moto itself must build the error."""
    operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
    handler = DynamoHandler()
    handler.body = json.loads(request.body)
    handler.current_account, handler.region = DEFAULT_ACCOUNT_ID, REGION
    try:
        result = getattr(handler, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())().result
    except (HTTPException, ServiceException):
        return None
    return response(request.url, 200, JSON, json.dumps(result))


def response(url: str, status: int, content_type: str, text: str) -> AWSResponse:
    headers: Any = {"Content-Type": content_type}  # botocore takes any mapping
    return AWSResponse(url, status, headers, MockRawResponse(text))


def record(key: str) -> dict[str, Any]:
    """Read an item in DynamoDB's format without a call. Empty if it does not exist."""
    table = models.dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].get_table(TABLE)
    item = table.get_item(DynamoType({"S": key}))
    return dict(item.to_json()["Attributes"]) if item else {}
