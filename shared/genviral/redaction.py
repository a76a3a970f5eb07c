"""Redact the vendor's texts to one short line without the request, a key, a query string or markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TEXT = 300
"""Longest redacted text, in characters."""

_MARK = "[…]"
_LONGEST_INPUT = 4_096
# Shorter values ("9:16", "720p") are not secret, and masking them would garble every message.
_SHORTEST_PRIVATE = 8
# Parts of a private text this long are masked, too: vendors quote the start of a prompt. Shorter parts would match
# common phrases such as "reference image".
_RUN = 16
_MARKUP = re.compile(r"<[A-Za-z/!][^<>]*>?")
# The spellings of one character of a link: plain, escaped in JSON or percent-encoded (any number of times), or
# full-width. HTML entities are resolved before. All repetitions are bounded, so that no text takes long. These are not
# compiled here, because that takes 10 ms of every cold start, and few calls meet an error.
_ESCAPE = r"(?:\\{1,16}[ux]|%u)\{?(?:00){0,3}"
_PERCENT = r"%(?:25){0,8}"
_SLASH = rf"(?:\\{{0,16}}/|\\|{_PERCENT}2f|{_ESCAPE}2f|\uff0f)"
_EQUALS = rf"(?:=|{_PERCENT}3d|{_ESCAPE}3d|\uff1d)"
_QUOTE = rf"""(?:\\{{0,16}}["'`]|{_PERCENT}2[27]|{_ESCAPE}2[27])"""
_QUERY = rf"(?:[?#\uff1f\uff03]|=3f|{_PERCENT}(?:3f|23)|{_ESCAPE}(?:3f|23))"
_LAST_LABEL = r"(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})"
_HOST = rf"(?:(?:[\w-]{{1,63}}\.){{1,9}}{_LAST_LABEL}|(?:\d{{1,3}}\.){{3}}\d{{1,3}}|localhost|\[[0-9a-f:.]{{2,45}}\])"
_LINK = rf"(?i){_SLASH}{{2}}|(?<![\w.-]){_HOST}(?::\d{{1,5}})?(?={_SLASH}|{_QUERY})"
# A query with a name in it. After a slash it belongs to a link, whatever the host looks like.
_NAMED_QUERY = rf"(?i){_QUERY}[\w.%\[\]-]{{1,64}}{_EQUALS}"
_URL_USER = rf"(?i)({_SLASH}{{2}})(?:(?!{_PERCENT}2f)[^\s/\\]){{1,512}}(?:@|{_PERCENT}40)"
_USER = r"(?i)(?<![\w.+-])[a-z][\w.+-]{0,63}:[^\s:/@]{1,128}@(?=[\w\[])"
# Credentials in any notation: name=value, name%3Dvalue, "name": "value", <name>value</name>.
_LONG_NAME = r"""(?:signature(?:[-_]?provided)?|credentials?|passw(?:or)?d|passphrase|secret|key[-_]?pair[-_]?id
    |access[-_]?id|(?:access|account|api|auth|private|secret|session|shared|signing)[-_]?(?:key|token)(?:[-_]?id)?)"""
_NAME = rf"""(?:
    (?:(?<![a-z0-9])|(?<=%[0-9a-f]{{2}})|(?<=25[0-9a-f]{{2}})|(?<=u[0-9a-f]{{4}}))(?:{_LONG_NAME}|
      (?:(?:access|auth|bearer|id|refresh|security|session|x)[-_]?){{0,2}}(?:sig|hmac|token|jwt|pwd|policy|hdnts|hdnea))
    |(?<![\w-])[\w-]{{1,40}}?{_LONG_NAME})"""
_VALUE = rf"""(?:(?!{_PERCENT}2[267]|{_ESCAPE}2[267])[^\s"'`&\uff06,;<>\\])+"""
_SECRET = rf"""(?ix)
    ({_NAME}(?:\[\w{{0,16}}\]|\])?
    (?:{_QUOTE}?\s?(?:{_EQUALS}>?|:{_EQUALS})\s?b?{_QUOTE}?|{_QUOTE}\s?:\s?b?{_QUOTE}
      |{_QUOTE}[\s,]{{1,3}}{_QUOTE}?value{_QUOTE}?\s?[:=]\s?b?{_QUOTE}|(?:\s[^<>]{{0,200}})?>))
    {_VALUE}
    # As in a header. "token: expired" and "policy: no-violence-please" are sentences.
    | ((?!policy){_NAME}\s?:\s{{0,3}}{_QUOTE}?)(?=\S{{0,64}}?\d|\S{{16}})[^\s"'&,;<>\\]{{8,}}
    | ((?<![a-z0-9])Authorization{_QUOTE}?\s?[:=]\s?{_QUOTE}?(?:[\w-]{{1,32}}\s)?)
      (?=\S{{0,64}}?\d|\S{{16}})(?>[^\s"',=]{{8,}})(?!=\w)
    | ((?<![a-z0-9])Cookie{_QUOTE}?\s?[:=]\s?{_QUOTE}?)[^\s=]{{1,64}}=[^\s;]+(?:;\s?[^\s=]{{1,64}}=[^\s;]+)*
    | (\b(?:Bearer|Basic|ApiKey)(?:\s|:\s?|{_PERCENT}20|\+))[\w.~+/=%-]{{8,}}
    # A JSON Web Token: https://www.rfc-editor.org/rfc/rfc7519#section-3
    | (?<![\w-])eyJ[\w-]{{5,}}\.[\w-]{{4,}}\.[\w-]*
    """
# A long word with a query that is split by a plain or escaped line break, and its continuation.
_WRAPPED = (
    rf"(?i)((?:{_QUERY}|{_EQUALS})\S{{0,256}}?)=?(?:\r?\n|(?:\\{{1,16}}r)?\\{{1,16}}n)[\t >]{{0,16}}"
    r"(?=(?=\S{0,512}?\d|\S{16})[\w%&=+/.~-]{8})"
)
_TORN_QUERY = r"\r?\n[\t >]{0,16}(?=[?&][\w.%-]{1,64}=)"
# A letter or digit that is percent-encoded, or escaped in JSON.
_LETTER = rf"(?i)(?:{_PERCENT}|{_ESCAPE})(3[0-9]|[46][1-9a-f]|[57][0-9a])\}}?"
_FULL_WIDTH = {sign + 0xFEE0: sign for sign in (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B))}
_MOST_LINES = 32
_ENTITY = re.compile(r"&#?\w{1,8};")
_MOST_LAYERS = 3


def one_line(text: str) -> str:
    """Replace each run of white space, control characters and lone surrogates by one space."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def redact(text: str, private: Iterable[str] = ()) -> str:
    """Make the vendor's text safe for a log line, an error or a notification.

    Args:
        text: The vendor's text.
        private: Texts that must not appear, whole (from 8 characters) or in parts (from 16).

    Returns:
        One line of at most 300 characters, without those texts, query strings of URLs, signatures, tokens and markup.
    """
    hidden = tuple(map(_plain, private))
    visible = hide_secrets(_mask(_plain(_joined(_lettered(_unescaped(text[:_LONGEST_INPUT])))), hidden))
    # Once more, because markup may have split a private text or a secret.
    whole = one_line(_MARKUP.sub("", visible))
    visible = one_line(_MARKUP.sub(" ", visible))
    if (shown := hide_secrets(_mask(whole, hidden))) == whole:
        shown = hide_secrets(_mask(visible, hidden))
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def _unescaped(text: str) -> str:
    """Resolve HTML entities, including repeatedly escaped ones."""
    for _ in range(_MOST_LAYERS):
        if "&" not in text:
            break
        import html  # imported here, because few errors are HTML

        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    return text


def _lettered(text: str) -> str:
    """Replace encoded letters and digits by plain ones, so that no spelling hides a name."""
    text = text.translate(_FULL_WIDTH)
    return re.sub(_LETTER, lambda found: chr(int(found[1], 16)), text) if "%" in text or "\\" in text else text


def _joined(text: str) -> str:
    """Join links and signatures that are split over several lines."""
    text = re.sub(_TORN_QUERY, "", text)
    for _ in range(_MOST_LINES):
        joined = re.sub(_WRAPPED, r"\1", text)
        if joined == text:
            break
        text = joined
    return text


def _plain(text: str) -> str:
    """Return the text as one line without zero-width characters, which can split a word invisibly."""
    return one_line("".join(character for character in text if category(character) != "Cf"))


def hide_secrets(text: str) -> str:
    """Remove queries, fragments and users of links, and the values of signatures and tokens."""
    return hide_values(re.sub(r"\S+", lambda word: _without_query(word[0]), text))


def hide_values(text: str) -> str:
    """Remove users of links, and the values of signatures and tokens."""
    text = re.sub(_USER, f"{_MARK}@", re.sub(_URL_USER, r"\1", text)) if "@" in text or "%" in text else text
    return re.sub(_SECRET, lambda found: f"{next(filter(None, found.groups()), '')}{_MARK}", text)


def _without_query(word: str) -> str:
    """Cut the word at the query or fragment of the first link in it."""
    link = re.search(_LINK, word)
    query = re.search(f"(?i){_QUERY}", word[link.end() :]) if link else None
    word = word[: link.end() + query.start()] if link and query else word
    slash = re.search(f"(?i){_SLASH}", word)
    query = re.search(_NAMED_QUERY, word[slash.end() :]) if slash else None
    return word[: slash.end() + query.start()] if slash and query else word


def holds_private(text: str, private: Iterable[str]) -> bool:
    """Whether a text contains a private text, whole (from 8 characters) or in parts (from 16)."""
    line = _plain(text)
    return _mask(line, tuple(map(_plain, private))) != line


def strings_of(document: object) -> Iterator[str]:
    """Yield every string value in a JSON document. Not recursive, so that no document is too deep."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)


def _mask(text: str, private: Iterable[str]) -> str:
    hidden = bytearray(len(text))
    for run in _runs(private, within=text):
        start = text.find(run)
        while start >= 0:
            hidden[start : start + len(run)] = b"\1" * len(run)
            start = text.find(run, start + 1)
    pieces: list[str] = []
    for position, character in enumerate(text):
        if not hidden[position]:
            pieces.append(character)
        elif not position or not hidden[position - 1]:
            pieces.append(_MARK)
    return "".join(pieces)


def _runs(private: Iterable[str], *, within: str) -> set[str]:
    """Return the parts of the private texts that occur in `within`."""
    runs: set[str] = set()
    shown: dict[int, set[str]] = {}
    for value in private:
        length = min(len(value), _RUN)
        if length < _SHORTEST_PRIVATE:
            continue
        if length not in shown:
            shown[length] = set(_parts(within, length))
        runs.update(shown[length].intersection(_parts(value, length)))
    return runs


def _parts(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))
