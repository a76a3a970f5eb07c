"""Convert plain values to DynamoDB's typed form and back.

boto3 can do the same, but then every cold start would import all of boto3. Knows the form
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html); must not know any item.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def typed(value: object) -> dict[str, Any]:
    """Return a value in DynamoDB's form. A number keeps every digit of its text form.

    Args:
        value: What JSON can express, or a Decimal.

    Raises:
        TypeError: It is, or holds, something else.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int() | float() | Decimal():
            return {"N": str(value)}
        case list() | tuple():
            return {"L": [typed(member) for member in value]}
        case dict():
            return {"M": {name: typed(member) for name, member in value.items()}}
    raise TypeError(f"{type(value).__name__} has no place in an item")


def plain(attribute: dict[str, Any]) -> Any:
    """Return the value of an attribute. A whole number is an int, any other number a float."""
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return _number(value)
        case "L":
            return [plain(member) for member in value]
        case "M":
            return {name: plain(member) for name, member in value.items()}
    return value


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return int(number) if number.is_integer() else number
