"""CSV that people open in a spreadsheet, which takes a cell that begins like a formula for one and runs it.

A title `=HYPERLINK(...)` becomes a link that sends away what stands beside it, `=cmd|...` starts a program. Such a cell gets an apostrophe
in front, by which spreadsheets know a text. Words of letters, digits, `.`, `_` and `-` alone run nothing and stay as they are, so that
ids that begin with `-` read back exactly; what else got an apostrophe is had back by `original`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_HARMLESS = re.compile(r"[+-]?[A-Za-z0-9_.-]+")


def cell(value: Any) -> Any:
    """`value` as it is written: a text that a spreadsheet would take for a formula has an apostrophe in front."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _HARMLESS.fullmatch(value):
        return value
    return f"'{value}"


def original(text: str) -> str:
    """The text that `cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def rows(text: str | Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of such a CSV, with cells as they were given.

    Args:
        text: the whole, or a file opened with newline="", of which a row at a time is held.
    """
    for row in csv.DictReader(io.StringIO(text, newline="") if isinstance(text, str) else text):
        yield {name: original(value or "") for name, value in row.items()}
