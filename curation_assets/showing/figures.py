"""Numbers and texts of a table as a page shows them: counts, unicode histograms, markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_resources.markdown import Markdown, escape

BARS = "▁▂▃▄▅▆▇█"
NO_BAR = "\u00a0"
"""An empty bin: a space that HTML does not merge with its neighbours."""


def histogram(values: np.ndarray, bins: int = 16) -> str:
    """Bars over equal bins between the smallest and the largest of some finite values."""
    counts, _ = np.histogram(values, bins=bins)
    top = counts.max()
    return "".join(NO_BAR if c == 0 else BARS[min(len(BARS) - 1, int(c / top * (len(BARS) - 0.001)))] for c in counts)


def distributions(
    columns: Mapping[str, Sequence[float | None] | np.ndarray], heading: str = "column"
) -> Markdown | None:
    """A markdown table with bars, minimum, median, maximum and the number of nulls per column; None if no column has values."""
    rows = []
    for name, given in columns.items():
        known = np.asarray(given, dtype=float)  # null becomes nan
        known = known[~np.isnan(known)]
        if len(known):
            numbers = (f"{n:.4g}" for n in (known.min(), np.median(known), known.max()))
            rows.append((name, Markdown(f"`{histogram(known)}`"), *numbers, len(given) - len(known) or ""))
    return markdown_table((heading, "distribution", "min", "median", "max", "null"), rows)


def histograms(table: pa.Table, columns: Sequence[str]) -> Markdown | None:
    """The distributions of a table's columns."""
    return distributions({c: table[c].to_pylist() for c in columns})


def counts(table: pa.Table, column: str) -> dict[str, int]:
    """Value -> number of rows, most frequent first; nulls are left out."""
    tally = pc.value_counts(table[column].drop_null()).to_pylist()
    return {str(t["values"]): t["counts"] for t in sorted(tally, key=lambda t: -t["counts"])}


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markdown | None:
    """A markdown table, None if it has no rows; cells are shown as the text that they are, unless they are `Markdown`."""
    lines = list(rows)
    if not lines:
        return None

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(c if isinstance(c, Markdown) else escape(str(c)) for c in cells) + " |"

    return Markdown("\n".join([line(header), "|" + "---|" * len(header), *map(line, lines)]))


def bullets(lines: Sequence[str]) -> Markdown | None:
    """A list of lines, None if there are none."""
    return Markdown("\n".join(f"- {escape(line)}" for line in lines)) if lines else None
