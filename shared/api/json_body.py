"""Read the JSON body of an API Gateway event."""

from __future__ import annotations

import base64
import codecs
from email.message import Message
from typing import Any

from shared import strict_json
from shared.genviral.errors import InvalidJson, InvalidPayload
from shared.genviral.redaction import one_line
from shared.jobs.errors import BodyTooLarge, MediaTypeUnsupported

MAX_BODY_BYTES = 256 * 1024
_JSON = "application/json"
_MAX_KEY = 100
_NOT_UTF8 = "the request's body is not valid UTF-8; send it as UTF-8"
_LOST = "\N{REPLACEMENT CHARACTER}"
_CHARSETS = frozenset(
    codecs.lookup(name).name
    for name in ("utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16", "utf-16-le", "utf-16-be")
)


def body_of(event: dict[str, Any]) -> bytes:
    """Return the body of an API Gateway event in payload format 2.0, as UTF-8.

    Raises:
        MediaTypeUnsupported: Its declared type is not JSON, or its declared charset is not supported.
        InvalidJson: Its bytes are not valid in the declared charset, or not valid UTF-8 where none is declared.
    """
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    charset = _charset(str(headers.get("content-type") or ""))
    body = str(event.get("body") or "")
    if event.get("isBase64Encoded"):
        raw = base64.b64decode(body)
    elif _LOST in body:
        # API Gateway sends such a body as text and has already lost whatever was not UTF-8, whatever the charset.
        raise InvalidJson(_NOT_UTF8)
    else:
        raw = body.encode("utf-8", "surrogatepass")
    if charset is None:
        return raw
    try:
        return raw.decode(charset).encode()
    except UnicodeError:
        raise InvalidJson(
            f"the request's body is not valid {charset.removesuffix('-sig')}, as its Content-Type says it is"
        ) from None


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body as a JSON object.

    Raises:
        BodyTooLarge: It has more than `MAX_BODY_BYTES`.
        InvalidJson: It is not JSON, not UTF-8, contains U+FFFD, or has the same key twice in one object.
        InvalidPayload: It is JSON, but not an object.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body has {len(body)} bytes, more than the {MAX_BODY_BYTES} allowed")
    try:
        text = strict_json.text_of(body)
    except UnicodeError:
        raise InvalidJson(_NOT_UTF8) from None
    if strict_json.has_lost_character(text):
        raise InvalidJson(
            "the request's body contains U+FFFD, which marks a character that was lost before the request was sent; "
            "send the original text"
        )
    try:
        document = strict_json.loads(text)
    except strict_json.RepeatedKey as repeated:
        key = one_line(repeated.key)[:_MAX_KEY]
        raise InvalidJson(f"the request's body has the key '{key}' twice in one object") from None
    except (ValueError, RecursionError):
        raise InvalidJson("the request's body is not valid JSON") from None
    if not isinstance(document, dict):
        raise InvalidPayload("the request's body must be a JSON object")
    return document


def _charset(declared: str) -> str | None:
    """Return Python's name of the charset in the Content-Type, or None where it names none.

    API Gateway joins a header that was sent twice with a comma.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    charsets = set()
    for value in filter(str.strip, declared.split(",")):
        header = Message()
        header["content-type"] = value.strip()
        if header.get_content_type() != _JSON:
            raise MediaTypeUnsupported(f"the body's Content-Type is not {_JSON}")
        charsets.add(header.get_content_charset() or "")
    charsets.discard("")
    if not charsets:
        return None
    try:
        (name,) = {codecs.lookup(charset).name for charset in charsets}
    except (LookupError, ValueError):
        name = ""
    if name not in _CHARSETS:
        raise MediaTypeUnsupported("the charset in the body's Content-Type is not supported; send UTF-8")
    # A byte order mark is not part of the text.
    return "utf-8-sig" if name == "utf-8" else name
