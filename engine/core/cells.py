"""Tables as CSV (RFC 4180) for spreadsheets, which take a text that begins like a formula for one: it is prefixed."""

import csv
import io
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Final

FORMULA_STARTS: Final = frozenset("=+-@\t\r")


def harmless(text: str) -> str:
    """The text of a cell as no spreadsheet computes it.

    >>> harmless("=1+1"), harmless("ada")
    ("'=1+1", 'ada')
    """
    return "'" + text if text and text[0] in FORMULA_STARTS else text


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """A table with its head. Numbers stay numbers, signs and all; None, and a number without an end, is an empty cell:
    no spreadsheet reads `inf`."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_cell(each) for each in row] for row in rows)
    return file.getvalue()


def _cell(value: str | float | None) -> str | float | None:
    if isinstance(value, str):
        return harmless(value)
    return None if value is None or not isfinite(value) else value
