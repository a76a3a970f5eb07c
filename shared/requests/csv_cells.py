"""Read the cells of a batch's CSV by their columns.

The columns are the fields of the vendor's request model. A cell that cannot be converted to its field's type stays a
text, so that the model reports the error.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from shared import strict_json
from shared.genviral.models import MAX_REFERENCE_IMAGES, GenerateRequest, Params
from shared.genviral.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

METADATA = "metadata."
"""The prefix of columns with the caller's own labels."""
SPREADSHEET_ERROR = "is a spreadsheet's error, not a value"
_MAX_NAME = 100
# With seconds, a leading zero, or AM and PM: nobody writes an aspect ratio like this.
_TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?\s*[ap]\.?m\.?|\d{1,2}:\d{2}:\d{2}|0\d?:\d{2}|\d{1,2}:0\d", re.IGNORECASE)
# What spreadsheets make of `9:16` and `16:9` when they read it as a date, and the serial numbers of dates and times.
_DATE = re.compile(
    r"\d{1,2}[-./ ]+[^\W\d_]{3,9}\.?(?:[-./ ]+\d{2,4})?|[^\W\d_]{3,9}\.?[-./ ]+\d{1,4}"
    r"|\d{1,4}([-./])\d{1,2}\1\d{1,4}|\d{5}(?:[.,]\d+)?|0?[.,]\d{3,}"
)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
# These characters separate links only between two complete links.
_BETWEEN_LINKS = ",;|"
_LINK_BEHIND = re.compile(r"(?<![,;|])[,;|]++(?=\s*+https?://)", re.IGNORECASE)
_SEPARATOR = "[,;|\u3001\uff0c\uff1b\uff5c]"
# After a file's name, or before another scheme, a scheme without its colon, or a host.
_TORN = re.compile(
    rf"\.[a-z]\w{{1,4}}{_SEPARATOR}|{_SEPARATOR}(?:[a-z][\w+.-]*:|https?/|www\.|(?:[a-z\d-]+\.)+[a-z]{{2,}}/)",
    re.IGNORECASE,
)
# Errors of Excel, LibreOffice and Google Sheets, in several languages. People and programs copy them in any case, and
# without the final character.
_ERRORS_IN_WORDS = (
    "ref name value num null div/0 n/a spill calc getting_data nv bezug wert zahl überlauf kalk valeur nom "
    "nombre nul propagation valor nulo desbordamiento rif valore nome nullo n/d espansione núm despejar verw "
    "waarde naam getal leeg deel/0 n/b overloop adr arg nazwa liczba dziel/0 referens värdefel namn ogiltigt "
    "skärning division/0 saknas reference værdi navn verdi i/t viittaus arvo nimi luku tyhjä jako/0 puuttuu "
    "odkaz hodnota název číslo dělení_nulou nedostupný není_k_dispozici hiv érték név szám nulla zéróosztó "
    "hiányzik başv değer sayi sayi/0 boş yok ссылка знач имя число пусто дел/0 н/д"
)
_ERRORS = frozenset(_ERRORS_IN_WORDS.split())
_UNKNOWN_ERROR = re.compile(r"#[^\s#a-z]{2,30}[!?]")
_ERROR = re.compile(r"err:\d{3}|#{2,}|#n/a\s.*|loading\.\.\.")
# The rest of a formula that contained an error: `=#REF!`, `#REF!+1`.
_ANY_ERROR = f"#(?:{'|'.join(map(re.escape, sorted(_ERRORS)))})"
_BEHIND = r"[-+*/^&=<>,;:()].*"
_IN_FORMULA = re.compile(rf"=.*{_ANY_ERROR}[!?]?(?:{_BEHIND})?|{_ANY_ERROR}[!?]{_BEHIND}")
_MAX_ERROR = 80


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a batch.

    Attributes:
        name: Its name in the first line; may be empty.
        group: The member of a request that its cells belong to; empty where that is the request itself.
        member: Their name there.
        convert: Converts a cell. Raises ValueError where it cannot be meant; the error's text continues "The row".
    """

    name: str
    group: str
    member: str
    convert: Callable[[str], Any]

    @classmethod
    def of(cls, name: str) -> Column:
        """Return the column for a name in the first line."""
        group, dot, member = name.partition(".")
        return cls(name, group if dot else "", member if dot else name, CONVERTERS.get(name, str.strip))


def is_column(name: str) -> bool:
    """Whether a batch can have a column of this name."""
    return name in CONVERTERS or (name.startswith(METADATA) and name != METADATA)


def is_spreadsheet_error(text: str) -> bool:
    """Whether a text is only what a spreadsheet shows for a failed formula: `#N/A`, `=#REF!`, `Loading...`."""
    if len(text) > _MAX_ERROR and len(text := text.strip()) > _MAX_ERROR:
        return False
    lower = text.lower()
    if lower.isascii() and "#" not in lower and "err" not in lower and "loading" not in lower:
        return False
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
    seen = seen.strip().removeprefix("'").strip()
    error = seen.casefold()
    if error.startswith("#") and unicodedata.normalize("NFC", error[1:].strip("!?\u00a1\u00bf")) in _ERRORS:
        return True
    known = _ERROR.fullmatch(error) or _IN_FORMULA.fullmatch(unicodedata.normalize("NFC", error))
    return known is not None or _UNKNOWN_ERROR.fullmatch(seen) is not None


def shown_name(name: str) -> str:
    """Make a name from outside safe for a message."""
    return one_line(name)[:_MAX_NAME]


def _number(cell: str) -> Any:
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        return cell
    return float(text) if "." in text else int(text)


def _boolean(cell: str) -> Any:
    return {"true": True, "false": False}.get(cell.strip().lower(), cell)


def _ratio(cell: str) -> str:
    """Read an aspect ratio.

    Raises:
        ValueError: It is a time or a date, as spreadsheets make it of `9:16`.
    """
    if _TIME.fullmatch(ratio := cell.strip()) or _DATE.fullmatch(ratio):
        raise ValueError("is a time of day or a date, as a spreadsheet makes it of `9:16`: format the cells as text")
    return ratio


def _json(cell: str) -> Any:
    try:
        return strict_json.loads(cell)
    except strict_json.RepeatedKey as repeated:
        raise ValueError(f"names '{shown_name(repeated.key)}' twice in one object") from None
    except (ValueError, RecursionError):
        return cell


def _link(cell: str) -> str:
    link = cell.strip()
    if _LINK_BEHIND.search(link) or link[-1:] in _BETWEEN_LINKS:
        raise ValueError("must be one link with nothing behind it: this column takes no list")
    return link


def _links(cell: str) -> list[str]:
    """Read the links in a cell. Blanks, line ends, `,`, `;` or `|` separate them.

    Raises:
        ValueError: One of these is within a link, where it could also end it.
    """
    links = [link.strip(_BETWEEN_LINKS) for text in cell.split() for link in _LINK_BEHIND.split(text)]
    links = [link for link in links if link][: MAX_REFERENCE_IMAGES + 1]  # one too many is enough to refuse the row
    if any(map(_is_ambiguous, links)):
        raise ValueError(
            "has a `,`, `;` or `|` that may belong to a link or end it: write %2C, %3B or %7C within a link, and begin "
            "each link with https://"
        )
    return links


def _is_ambiguous(link: str) -> bool:
    """Whether a link has a separator outside the name of a folder (`/w_300,h_200/`)."""
    query = min((place for place in (link.find("?"), link.find("#")) if place >= 0), default=len(link))
    file = link[:query].rpartition("/")[2]
    return any(separator in file + link[query:] for separator in _BETWEEN_LINKS) or _TORN.search(link) is not None


def _types(annotation: Any) -> set[Any]:
    """Return the types in a field's annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*map(_types, get_args(annotation)))
    return {origin or annotation}


def _converter(annotation: Any) -> Callable[[str], Any]:
    kinds: dict[type, Callable[[str], Any]] = {list: _links, dict: _json, bool: _boolean, float: _number}
    return next((convert for kind, convert in kinds.items() if kind in _types(annotation)), str.strip)


_BY_NAME: dict[str, Callable[[str], Any]] = {"aspect_ratio": _ratio}
CONVERTERS: dict[str, Callable[[str], Any]] = {
    f"{group}{name}": _BY_NAME.get(name) or (_link if name.endswith("_url") else _converter(info.annotation))
    for group, model in (("", GenerateRequest), ("params.", Params))
    for name, info in model.model_fields.items()
    if name != "params"
}
"""Column → the function that converts its cells."""
