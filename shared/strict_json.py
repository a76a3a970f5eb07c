"""Parse JSON strictly: no key twice in an object, no lost character, and no constants that only Python knows."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LOST = re.compile(r"\ufffd|(?<!\\)(?:\\\\)*+\\u[Ff]{3}[Dd]")


class RepeatedKey(ValueError):
    """An object has the same key twice. Parsers differ in which of the two values they use.

    Args:
        key: The key.
    """

    def __init__(self, key: str) -> None:
        super().__init__("a key stands twice in one object")
        self.key = key


def loads(text: str | bytes) -> Any:
    """Read a JSON text.

    Raises:
        RepeatedKey: A key stands twice in one object.
        ValueError: It is not JSON (https://www.rfc-editor.org/rfc/rfc8259); `NaN` and `Infinity` are not.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)


def text_of(data: bytes) -> str:
    """Return the text of a JSON file or body, which may begin with a byte order mark.

    Raises:
        UnicodeError: It is not UTF-8, and neither UTF-16 nor UTF-32.
    """
    return data.decode(json.detect_encoding(data))


def has_lost_character(text: str) -> bool:
    """Whether a JSON text contains U+FFFD, which marks a character that was lost when a text was converted."""
    return _LOST.search(text) is not None


def count(json_text: str) -> int:
    """Return how many values a JSON text contains, without parsing it. `[ ]` and `{ }` with a blank count twice."""
    without_texts = "0".join(json_text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    return 1 + sum(map(without_texts.count, ",[{")) - without_texts.count("[]") - without_texts.count("{}")


def first_text(is_wanted: Callable[[str], bool], value: Any) -> tuple[str, ...] | None:
    """Return the first wanted text in a document, after the names and indexes that lead to it.

    A member's name is a text of that member.
    """
    if isinstance(value, str):
        return (value,) if is_wanted(value) else None
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        if isinstance(name, str) and is_wanted(name):
            return (name, name)
        if isinstance(member, str | list | dict) and (found := first_text(is_wanted, member)):
            return (str(name), *found)
    return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        raise RepeatedKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return members
