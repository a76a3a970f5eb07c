"""Define what a page asks for and how that can be refused, without a word of HTTP's.

Each module of the console answers a `Call` with a document. Must not know the server or AWS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ops.exits import Exit, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class BadCall(Refused):
    """The page asks for something that cannot be, such as a number that is none.

    Args:
        issues: What is wrong with single fields: `path` and `message`.
    """

    exit_code: ClassVar[Exit] = Exit.USAGE

    def __init__(self, text: str, issues: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(text)
        self.issues = list(issues)


class Unconfirmed(Refused):
    """A person must agree first; the text is the question."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a page.

    Attributes:
        path: The parts of the address that vary, by name.
        query: The rest of the address.
        body: What was sent.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; nothing sent is an empty one.

        Raises:
            BadCall: It is none.
        """
        try:
            document = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise BadCall("The page sent no JSON object. Reload it.")
        return document

    def number(self, name: str, default: int, *, most: int) -> int:
        """Return a whole number of the address, from 1 to `most`.

        Raises:
            BadCall: It is none.
        """
        text = self.query.get(name) or str(default)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
            raise BadCall(f"{name} must be a whole number from 1 to {most}.")
        return int(text)

    def flag(self, name: str) -> bool:
        """Return whether a switch of the address is on: 0 or 1."""
        return self.query.get(name, "0") == "1"
