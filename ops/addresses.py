"""Turn a link, an address or a key, as people copy them, into a bucket and a key.

Knows how S3, its console, AWS's command line and this stack's API write addresses. Must not know what lies there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, unquote_plus, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_S3_ADDRESS = re.compile(r"(?:s3://|arn:[\w-]+:s3:::)([^/]+)/(.+)", re.DOTALL | re.IGNORECASE)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html, with dualstack, FIPS and accelerate
_S3_HOST = re.compile(r"(?:(.+?)\.)?s3(?:[.-][a-z0-9-]+)*\.amazonaws\.(?:com(?:\.cn)?|eu)", re.IGNORECASE)
# https://eu-central-1.console.aws.amazon.com/…, https://s3.console.aws.amazon.com/…, and those of other partitions
_CONSOLE_HOST = re.compile(
    r"(?:[\w-]+\.)*console\.(?:aws\.amazon\.com|amazonaws\.cn|amazonaws-us-gov\.com|amazonaws-eusc\.eu)", re.IGNORECASE
)
# A page of the access portal or of a sign-in that leads to a link of the console.
# https://docs.aws.amazon.com/singlesignon/latest/userguide/createshortcutlink.html
_LEADS_ON = re.compile(r"[?&](?:destination|redirect_uri)=(https?(?::|%3a)[^&]+)", re.IGNORECASE)
_MARKDOWN = re.compile(r"!?\[[^\]]*\]\(\s*<?([^\s>]+)>?[^)]*\)[.,;:!?]?")
_SLACK = re.compile(r"<([^<>|]+)\|[^<>]*>")
_AROUND = "<>()[]{}\"'`*_.,;:!?\u2026\u201c\u201d\u2018\u2019\u201e\xab\xbb"
_MOST_BEHIND = 4
_CONSOLE_OBJECT = re.compile(r"/s3/(?:object|buckets)/([^/]+)(?:/(.+))?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something may be.

    Attributes:
        name: A key, or a text that is no address.
        bucket: The bucket, where the text names one.
        version_id: The object's version, where the text names one.
    """

    name: str
    bucket: str | None = None
    version_id: str | None = None


def readings(text: str, buckets: Collection[str]) -> list[Address]:
    """What a text may mean, the most literal reading first.

    Args:
        text: What a person copied: a link, an S3 address or ARN, a key (percent-encoded or not), or anything else.
        buckets: Names of buckets that a path may begin with on any host.
    """
    found: dict[Address, None] = {}
    for plain in _unwrapped(text.strip()):
        found |= dict.fromkeys(_readings(plain, buckets))
    # Tools that join a path to a host may write a slash too many.
    slashed = [replace(each, name=each.name.lstrip("/")) for each in found if each.name.startswith("/")]
    return list(found | dict.fromkeys(each for each in slashed if each.name))


def _unwrapped(text: str) -> Iterator[str]:
    """Yield a text without what surrounds it in an e-mail, a chat or Markdown; a key itself may end in any of that."""
    for form in (_MARKDOWN, _SLACK):
        if wrapped := form.fullmatch(text):
            text = wrapped[1]
    if len(text) > 1 and text[0] + text[-1] in ("<>", '""', "''", "``"):
        text = text[1:-1].strip()
    if leads_on := _LEADS_ON.search(text):
        yield unquote(leads_on[1])
    yield text
    text = text.lstrip(_AROUND)
    yield text
    for _ in range(_MOST_BEHIND):
        if text.endswith(tuple(_AROUND)):
            text = text[:-1]
            yield text


def _readings(text: str, buckets: Collection[str]) -> Iterator[Address]:
    first, slash, _ = text.partition("/")
    if slash and first in buckets:
        text = f"s3://{text}"
    elif slash and (_S3_HOST.fullmatch(first) or _CONSOLE_HOST.fullmatch(first)):
        text = f"https://{text}"
    if text[:8].lower().startswith(("https://", "http://")):
        try:
            parts = urlsplit(text)
            yield from _of_link(parts, parts.hostname or "", buckets)
        except ValueError:  # no link after all
            pass
        yield Address(text)
        yield Address(unquote(text))
        return
    named = _S3_ADDRESS.fullmatch(text)
    bucket, written = named.groups() if named else (None, text)
    yield Address(written, bucket)
    plain, _, query = written.partition("?")
    version = _one(query, "versionId")
    for name in dict.fromkeys((written, plain) if version else (written,)):
        yield Address(unquote(name), bucket, version)
        yield Address(unquote_plus(name), bucket, version)


def _of_link(link: SplitResult, host: str, buckets: Collection[str]) -> Iterator[Address]:
    version = _one(link.query, "versionId")
    if _CONSOLE_HOST.fullmatch(host):
        if place := _CONSOLE_OBJECT.fullmatch(link.path):
            key = _one(link.query, "prefix") or unquote(place[2] or "")
            yield Address(key, unquote(place[1]), version)
        return
    s3 = _S3_HOST.fullmatch(host)
    bucket, path = (s3[1] if s3 else None), link.path.removeprefix("/")
    if bucket is None:
        first, _, rest = path.partition("/")
        if not s3 and first not in buckets:
            return
        bucket, path = first, rest
    yield Address(unquote(path), bucket, version)
    yield Address(unquote_plus(path), bucket, version)


def _one(query: str, name: str) -> str | None:
    return parse_qs(query).get(name, [None])[0]
