"""Split CSV, as people and spreadsheets write it, into a header and rows of cells.

The separator is inferred from the header, or given by a line `sep=;` above it. Quotes follow RFC 4180
(https://www.rfc-editor.org/rfc/rfc4180). A row that could be split in two ways is reported and never split. Each step
is linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.jobs.errors import BatchUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_COLUMNS = 500
MAX_ROW_CHARACTERS = 512 * 1024
"""More than the largest request needs as a row."""
_SEPARATORS = (",", ";", "\t", "|")
# Excel's way to name the separator, in the file's first line. A program that puts this line above an existing file
# leaves that file's byte order mark after it.
_NAMED_SEPARATOR = re.compile(r'"?sep=([^\w"\s]|\t)"?[,;\t|]*+(?:\r\n|\r|\n|\Z)\ufeff*+', re.IGNORECASE)
_LINE = re.compile(r"([^\r\n]*+)(?:\r\n|\r|\n|\Z)")
_PLAIN_LINE = re.compile(r'[^\r\n"]*+(?=[\r\n]|\Z)')
# Quotes that people write but that do not quote a cell: an opening one, and those that may close it.
_OTHER_QUOTES: dict[str, tuple[str, ...]] = {
    "'": ("'", "\u2019"),
    "`": ("`", "'", "\u00b4"),
    "\u00b4": ("\u00b4",),
    "\u2018": ("\u2019", "\u2018", "'"),
    "\u2019": ("\u2019",),
    "\u201a": ("\u2018", "\u2019", "'"),
    "\u201b": ("\u2019",),
    "\u201c": ("\u201d", "\u201c"),
    "\u201d": ("\u201d", "\u201c"),
    "\u201e": ("\u201c", "\u201d", "\u201f"),
    "\u201f": ("\u201d",),
    "\u00ab": ("\u00bb", "\u00ab"),
    "\u00bb": ("\u00ab", "\u00bb"),
    "\u2039": ("\u203a", "\u2039"),
    "\u203a": ("\u2039", "\u203a"),
    "\u2032": ("\u2032", "\u2035"),
    "\u2035": ("\u2032",),
    "\u2033": ("\u2033", "\u2036"),
    "\u2036": ("\u2033",),
    "\u275b": ("\u275c",),
    "\u275d": ("\u275e",),
    "\u300c": ("\u300d",),
    "\u300e": ("\u300f",),
    "\uff62": ("\uff63",),
    "\u300a": ("\u300b",),
    "\u3008": ("\u3009",),
    "\u301d": ("\u301e", "\u301f"),
    "\uff02": ("\uff02",),
    "\uff07": ("\uff07",),
    **{code: (code,) for code in ("&quot;", "&#34;", "&#x22;", "&apos;", "&#39;", "&#x27;")},
    "&ldquo;": ("&rdquo;",),
    "&lsquo;": ("&rsquo;",),
    "&laquo;": ("&raquo;",),
}
_BY_FIRST_SIGN = {
    sign: tuple(opening for opening in _OTHER_QUOTES if opening[0] == sign)
    for sign in {opening[0] for opening in _OTHER_QUOTES}
}
_CLOSING_SIGNS = frozenset(closing[-1] for closings in _OTHER_QUOTES.values() for closing in closings)
_BEHIND_QUOTES = " .!?\u2026\u3002"
_QUOTED = r'"[^"]*+(?:""[^"]*+)*+"'
_QUOTED_CELL = re.compile(_QUOTED)


@dataclass(frozen=True, slots=True)
class Record:
    """One row that is not blank.

    Attributes:
        line: The line of the file where it begins, counted from 1.
        cells: Its cells without their quotes.
        problem: Why it cannot be split into cells.
        cell: The cell with the problem, counted from 0.
    """

    line: int
    cells: list[str] = field(default_factory=list, repr=False)
    problem: str = ""
    cell: int | None = None


def read_table(text: str, is_column: Callable[[str], bool]) -> tuple[list[str], Iterator[Record]]:
    """Read a CSV file.

    Args:
        text: The file, without a byte order mark.
        is_column: Whether a column may have this name. The separator that yields most such names is used.

    Returns:
        The names in the header, and the rows below it.

    Raises:
        BatchUnreadable: The header cannot be read or has too many columns. The iterator of rows raises it, too, where
            the rest of the text cannot be split into rows.
    """
    if named := _NAMED_SEPARATOR.match(text):
        scanner = _Scanner(text, named[1], begin=named.end())
    else:
        scanner = _Scanner(text, _separator_of(text, is_column))
    return scanner.header(), scanner.rows()


def lines_in(text: str) -> int:
    """Count the line ends in a text. CR, LF and CRLF each count as one."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _begin_of(cells: list[str], number: int) -> int:
    """Return where a cell begins in the text of its row."""
    return sum(len(cell) + 1 for cell in cells[:number])


def _torn_cell(cells: list[str]) -> tuple[int, str] | None:
    """Return the first cell with an opening quote of another kind that a later cell closes, and that quote."""
    opened: dict[str, int] = {}
    for number, cell in enumerate(cells[:MAX_COLUMNS]):  # a row with more is refused anyway
        text = cell.strip().rstrip(_BEHIND_QUOTES)
        if opened and text[-1:] in _CLOSING_SIGNS:
            torn = next((opening for opening in opened if _closes(text, opening)), None)
            if torn is not None:
                return opened[torn], torn
        for opening in _BY_FIRST_SIGN.get(text[:1], ()):
            if _opens(text, opening):
                opened[opening] = number
    return None


def _opens(text: str, opening: str) -> bool:
    """Whether a cell opens a quote that it does not close."""
    return text.startswith(opening) and not any(closing in text[len(opening) :] for closing in _OTHER_QUOTES[opening])


def _closes(text: str, opening: str) -> bool:
    """Whether a cell closes a quote that it did not open."""
    closings = _OTHER_QUOTES[opening]
    closing = next((closing for closing in closings if text.endswith(closing)), None)
    return closing is not None and not any(mark in text[: -len(closing)] for mark in (opening, *closings))


def _escaped_cell(cells: list[str]) -> int | None:
    """Return the first unquoted cell that ends in an unescaped backslash."""
    ends = (number for number, cell in enumerate(cells) if cell.endswith("\\") and cell[0] != '"')
    return next((number for number in ends if (len(cells[number]) - len(cells[number].rstrip("\\"))) % 2), None)


def _separator_of(text: str, is_column: Callable[[str], bool]) -> str:
    found = _LINE.match(text)
    header = found[1][:MAX_ROW_CHARACTERS] if found else ""

    def names(separator: str) -> int:
        return sum(is_column(cell.strip(' \t"')) for cell in header.split(separator))

    return max(_SEPARATORS, key=names)


class _Scanner:
    """Scan a CSV text once.

    Args:
        text: The text.
        separator: The character between cells.
        begin: Where the header begins.
    """

    def __init__(self, text: str, separator: str, *, begin: int = 0) -> None:
        self._text, self._separator = text, separator
        self._position, self._line = 0, 1
        self._opened = ""  # where a cell is still open that begins with a quote after blanks
        self._cr_ends_lines = True  # until the header ends otherwise
        self._go_to(begin)
        between = re.escape(separator)
        cell = rf'(?:{_QUOTED}|(?!")[^{between}\r\n]*+)'
        # No text matches in two ways, and `*+` never backtracks, so each pattern is linear.
        self._all_but_last = re.compile(rf"(?:{cell}{between})*+")
        self._last = re.compile(rf"{cell}(?=[\r\n]|\Z)")
        self._cell_form = re.compile(rf"{between}({cell})")
        self._blank = re.compile(rf'(?:[\s{between}]++|""(?!"))*+')

    def header(self) -> list[str]:
        """Return the names in the first line, without trailing empty ones.

        Raises:
            BatchUnreadable: It cannot be read or has too many columns.
        """
        record = self._record()
        self._cr_ends_lines = self._text.endswith("\r", 0, self._position)
        if record.problem:
            raise BatchUnreadable(f"the file's first line of names cannot be read: {record.problem}")
        names = [name.strip() for name in record.cells]
        while names and not names[-1]:
            names.pop()
        if len(names) > MAX_COLUMNS:
            raise BatchUnreadable(
                f"the file's first line names {len(names):,} columns, but a batch may have {MAX_COLUMNS:,}"
            )
        return names

    def rows(self) -> Iterator[Record]:
        """Yield the other rows, without blank ones."""
        while self._skip_blank_lines():
            record = self._line_inside() if self._opened else self._record()
            if record.problem or "".join(record.cells).strip():
                yield record

    def _record(self) -> Record:
        line, written = self._line, self._written()
        after = self._next_line(self._position + len(written))
        record = self._split(line, written)
        edges = (self._position, after)
        self._go_to(after)
        # Some programs do not quote a cell with a CR, which would then end the row in the middle of the cell.
        if not self._cr_ends_lines and any(self._text.endswith("\r", 0, edge) for edge in edges):
            return Record(
                line, problem="has a CR in an unquoted cell, or as a line end that differs from the first line's"
            )
        return record

    def _written(self) -> str:
        """Return the text of the next row, which may have line ends in quoted cells."""
        if plain := _PLAIN_LINE.match(self._text, self._position):
            return plain[0]
        before = self._all_but_last.match(self._text, self._position)
        begins = before.end() if before else self._position
        last = self._last.match(self._text, begins)
        if last is None:
            raise self._malformed(begins)
        return self._text[self._position : last.end()]

    def _split(self, line: int, written: str) -> Record:
        if len(written) > MAX_ROW_CHARACTERS:
            return Record(line, problem=f"must have at most {MAX_ROW_CHARACTERS:,} characters")
        quoted = '"' in written
        cells = self._cell_form.findall(self._separator + written) if quoted else written.split(self._separator)
        if quoted:
            stray = next((number for number, cell in enumerate(cells) if '"' in cell and cell[0] != '"'), None)
            if stray is not None:
                return Record(line, problem=self._stray_quote(written, _begin_of(cells, stray)), cell=stray)
        if (torn := self._torn(written, cells)) is not None:
            return Record(line, problem=torn[1], cell=torn[0])
        if quoted:
            cells = [cell[1:-1].replace('""', '"') if cell[:1] == '"' else cell for cell in cells]
        return Record(line, cells)

    def _torn(self, written: str, cells: list[str]) -> tuple[int, str] | None:
        """Return the first cell that was meant to continue after a separator, and what is wrong with it."""
        if "\\" in written and (escaped := _escaped_cell(cells)) is not None:
            behind = self._place(self._position + _begin_of(cells, escaped) + len(cells[escaped]) - 1)
            return escaped, (
                f"has a backslash at the end of an unquoted cell ({behind}), which does not keep it together with what "
                "follows: put the cell in quotes"
            )
        if any(mark in written for mark in _OTHER_QUOTES) and (torn := _torn_cell(cells)) is not None:
            place = self._place(self._position + _begin_of(cells, torn[0]))
            return torn[0], f"has a cell in {torn[1]}, which does not count as a quote ({place})"
        return None

    def _stray_quote(self, written: str, cell_begins: int) -> str:
        """Explain what is wrong with an unquoted cell that has a quote, and remember whether the quote is open."""
        quote = written.index('"', cell_begins)
        place = self._place(self._position + quote)
        if written[cell_begins:quote].strip():
            return f"has a quote inside an unquoted cell ({place}): put the cell in quotes and double those in it"
        if written.count('"', cell_begins) % 2:
            self._opened = place
        return f"has a blank before a cell's quote ({place}): remove the blank"

    def _line_inside(self) -> Record:
        """Read the next line while a misplaced quote is open."""
        line, opened = self._line, self._opened
        found = _LINE.match(self._text, self._position)
        if found:
            self._go_to(found.end())
            self._opened = "" if found[1].count('"') % 2 else opened
        return Record(line, problem=f"belongs to the cell that the quote at {opened} opens")

    def _malformed(self, begins: int) -> BatchUnreadable:
        """Explain what is wrong with a quoted cell that does not end correctly."""
        if quoted := _QUOTED_CELL.match(self._text, begins):
            place, problem = quoted.end(), "text follows the quote that ends a cell; double the quotes within a cell"
        else:
            place, problem = begins, "the quote that begins a cell is never closed"
        return BatchUnreadable(f"the file is not CSV: {self._place(place)}: {problem}")

    def _place(self, offset: int) -> str:
        """Name a place in the current row."""
        before = self._text[self._position : offset]
        begins = max(before.rfind("\n"), before.rfind("\r")) + 1
        return f"line {self._line + lines_in(before)}, character {len(before) - begins + 1}"

    def _skip_blank_lines(self) -> bool:
        """Move to the next line that is not blank; return False at the end."""
        if blank := self._blank.match(self._text, self._position):
            end = blank.end()
            last = max(self._text.rfind("\n", self._position, end), self._text.rfind("\r", self._position, end))
            if end == len(self._text) or last >= 0:
                self._go_to(end if end == len(self._text) else last + 1)
        return self._position < len(self._text)

    def _next_line(self, end: int) -> int:
        return end + (2 if self._text.startswith("\r\n", end) else 1)

    def _go_to(self, position: int) -> None:
        self._line += lines_in(self._text[self._position : position])
        self._position = min(position, len(self._text))
