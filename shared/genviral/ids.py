"""Find the ids in an answer, at any depth, the most likely video id first.

An answer outside the contract may still contain the id of the paid video, in any place and under any name.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_CHARACTERS = 512
_MAX_IDS, _MAX_ITEMS, _DEPTH = 20, 20, 4
_LARGEST_EXACT = 2**53  # a larger float may have lost digits

# The kinds of ids that may be a video's, the most likely first. "" is an `id` of unknown kind.
_KINDS = ("video", "generation", "", "task", "job", "prediction")
# The kinds of ids that are never a video's.
_OTHERS = ("request", "event", "trace")
_OTHER_ID = re.compile(rf"(?:req|evt|{'|'.join(_OTHERS)})[_-]", re.IGNORECASE)
_PLAIN_NAMES = ("id", "_id", "ID", "ids", "uuid", "UUID")
_KIND_OF = {
    **dict.fromkeys(_PLAIN_NAMES, ""),
    **{
        f"{kind}{ending}": kind
        for kind in (*filter(None, _KINDS), *_OTHERS)
        for ending in ("_id", "Id", "ID", "_ids", "Ids", "IDs")
    },
}
_HOLDERS = (
    *("data", "result", "results", "response", "payload", "item", "items"),
    *(name for kind in filter(None, _KINDS) for name in (kind, f"{kind}s")),
)
# Members whose text itself may be the id.
_DIRECT = frozenset({"data", "video", "videos", "generation", "generations"})
_LIKE_ID = re.compile(r"(?=.*\d)[\w-]{1,128}")


def members(value: int, depth: int = _DEPTH) -> dict[str, Any]:
    """Return the members that may hold ids, for `partial_json.read`, with `value` characters each."""
    inner = dict.fromkeys(_HOLDERS, members(value, depth - 1)) if depth else {}
    return {**dict.fromkeys(_KIND_OF, value), **inner}


class NamedId(NamedTuple):
    """An id in an answer.

    Attributes:
        kind: What it identifies: `video`, `generation`, `request` and others; empty if unknown.
        name: The answer's name for it; `video` for the id of a video.
        text: The id.
        is_outermost: Whether it is beside `data`, where it may identify the answer itself.
    """

    kind: str
    name: str
    text: str
    is_outermost: bool

    @property
    def may_be_video(self) -> bool:
        """Whether this could be the id of a video."""
        return self.kind not in _OTHERS and not _OTHER_ID.match(self.text)

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Sort key: lower for a more likely video id."""
        rank = _KINDS.index(self.kind) if self.kind in _KINDS else len(_KINDS)
        return not self.may_be_video, self.is_outermost and not self.kind, rank


def named_ids(envelope: Mapping[str, Any]) -> tuple[NamedId, ...]:
    """Find the ids in an answer, each once, at most 20, the most likely video id first."""
    first: dict[str, NamedId] = {}
    for named in sorted(itertools.islice(_found(envelope, "", _DEPTH + 1), _MAX_IDS), key=lambda named: named.rank):
        first.setdefault(named.text, named)
    return tuple(first.values())


def _found(value: object, holder: str, depth: int) -> Iterator[NamedId]:
    """Yield the ids in the value of the member `holder`."""
    match value:
        case dict() if depth:
            for name, item in value.items():
                if name in _KIND_OF:
                    yield from _under(name, item, holder)
                elif name in _HOLDERS:
                    yield from _found(item, name, depth - 1)
        case list() if depth:
            for item in value[:_MAX_ITEMS]:
                yield from _found(item, holder, depth - 1)
        case str() if holder in _DIRECT:
            text = value.strip()
            if text.startswith(("{", "[")):
                yield from _found(_parsed(text), holder, depth - 1)
            elif _LIKE_ID.fullmatch(text):
                kind = _kind(holder)
                yield NamedId(kind, holder if kind != "video" else "video", text, is_outermost=False)


def _under(name: str, value: object, holder: str) -> Iterator[NamedId]:
    """Yield the id, or the ids of a list, in a member with an id's name."""
    own, is_outermost = _KIND_OF[name], not holder
    kind = own or _kind(holder)
    label = "video" if own == "video" or (kind == "video" and name in ("id", "_id", "ID", "ids")) else name
    for item in value[:_MAX_ITEMS] if isinstance(value, list) else [value]:
        if text := id_of(item):
            yield NamedId(kind, label, text, is_outermost)


def _kind(holder: str) -> str:
    kind = holder.removesuffix("s")
    return kind if kind in _KINDS else ""


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_video_id(text: str) -> bool:
    """Whether this could be a video's id: printable, and usable in a path."""
    if text in (".", "..") or "\ufffd" in text:  # special path segments; a character that was lost in decoding
        return False
    return 0 < len(text) <= _MAX_CHARACTERS and text.isprintable() and not text.isspace()


def id_of(value: object) -> str | None:
    """Return an id as a stripped text. Numbers are accepted unless they may have lost digits."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = value.strip() if isinstance(value, str) else ""
    return text if is_video_id(text) else None
