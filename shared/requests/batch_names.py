"""Tell from the name of a batch's file whether to run it or only check it.

A check is `batches/<name>.check.csv`. Browsers and systems rename files (`.check (1).csv`, `.check - Copy.csv`), and
people mistype. So a batch is never run if the name of the file or of a folder resembles that of a check.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from enum import StrEnum

from shared.requests.recipes import BATCHES

_WORD = "check"
_CHECK = re.compile(r"\.\s*check(?![^\W\d_])", re.IGNORECASE)
_SUFFIX = re.compile(r"\.(csv|jsonl)\Z", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r"[\s\d.()_-]*")
# What Windows, macOS and Linux add to the name of a file's copy, in the most common languages, and the suffix once more
# where the system hides it.
_OF_COPIES = frozenset(("csv", "jsonl", "check", "copy", "another", "st", "nd", "rd", "th", "duplicate")) | frozenset(
    ("kopie", "kopia", "kopi", "kopio", "copie", "copia", "c\u00f3pia", "\u526f\u672c", "\u30b3\u30d4\u30fc")
)
# Letters of other alphabets that look like those of `check`.
_LOOK_ALIKES = str.maketrans("\u0441\u03f2\u04bb\u0435\u03b5\u043a\u03ba", "ccheekk")
_ALIKE = 0.8  # `chekc`, `chck` and `heck` are; `chess`, `chef` and `Czech` are not
_OTHER_WORDS = ("cheque",)
_CAPITAL_WITHIN = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
_DIGIT_FOR_E = re.compile(r"(?<=[^\W\d_])3(?=[^\W\d_])")


class Purpose(StrEnum):
    """What a batch was uploaded for."""

    RUN = "run"
    CHECK = "check"
    UNCLEAR = "unclear"
    """Its name resembles that of a check but is not one: nothing may be started."""


def purpose_of(key: str) -> Purpose:
    """Return what a batch's key says is to be done with it."""
    if _check_begins(key) is not None:
        return Purpose.CHECK
    return Purpose.UNCLEAR if _is_near(key) else Purpose.RUN


def is_check(key: str) -> bool:
    """Whether a batch is only to be checked: `batches/<name>.check.csv`."""
    return purpose_of(key) is Purpose.CHECK


def checked_key(key: str) -> str:
    """Return the key of the batch that a check is about; a batch's own key otherwise."""
    begins = _check_begins(key)
    return key if begins is None else key[:begins] + key[len(_stem(key)) :]


def name_of(key: str) -> str:
    """Return a batch's name, which its reports' keys start with: `spring` for `batches/spring.csv`."""
    return _stem(checked_key(key)).removeprefix(BATCHES)


def _check_begins(key: str) -> int | None:
    """Return where `.check` begins in a check's key, None for any other key."""
    folder = key.rfind("/") + 1
    found = _CHECK.search(key, folder)
    if found is None or not _SUFFIX.search(key):
        return None
    rest = _SUFFIX.sub("", key[found.end() :])
    words = {word.casefold() for word in _LETTERS.findall(rest)}
    return found.start() if words <= _OF_COPIES and _BETWEEN.fullmatch(_LETTERS.sub("", rest)) else None


def _is_near(key: str) -> bool:
    """Whether the name of the file or of a folder contains `check` or a similar word.

    That includes `checkout` and `paycheck`: rejecting a name costs nothing, running a batch does.
    """
    return any(map(_has_word, key.removeprefix(BATCHES).split("/")))


def _has_word(part: str) -> bool:
    apart = _as_it_looks(_CAPITAL_WITHIN.sub(" ", part))
    spellings = (apart, _DIGIT_FOR_E.sub("e", apart))
    if any(_WORD in "".join(_LETTERS.findall(spelling)) for spelling in spellings):
        return True
    words = {word for spelling in spellings for word in _LETTERS.findall(spelling)} - _OF_COPIES
    return any(word.startswith(_OTHER_WORDS) or _is_alike(word) for word in words)


def _is_alike(word: str) -> bool:
    return len(word) < 2 * len(_WORD) and difflib.SequenceMatcher(None, word, _WORD).ratio() >= _ALIKE


def _as_it_looks(text: str) -> str:
    """Return the text as it looks: without invisible characters, marks, widths and case."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_LOOK_ALIKES)
    return "".join(character for character in folded if unicodedata.category(character) not in ("Cf", "Mn", "Cc"))


def _stem(key: str) -> str:
    stem, dot, suffix = key.rpartition(".")
    return stem if dot and "/" not in suffix else key
