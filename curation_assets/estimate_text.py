"""An estimate as text tables. What belongs here: words and columns. What does not: any number (`estimate.py`)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields

from curation_assets.estimate import Line, Range, Total, total
from curation_assets.outcome import text_table
from curation_assets.settings import Settings

NOTHING_TO_DO = "nothing is to be made"


def render(lines: Sequence[Line], settings: Settings) -> str:
    """A line for each table, and the sum with what is not in it."""
    header = ("of", "table", "tables", "core-hours", "GPU-hours", "GB", "dollars", "from")
    rows: list[tuple[str, ...]] = []
    for line in lines:
        took = (said(line.cpu_s, 1 / 3600), said(line.gpu_s, 1 / 3600), said(line.bytes, 1e-9), said(line.dollars))
        rows.append((line.of, line.asset, f"{line.tables:,}", *took, line.source))
        for name, part in line.beside.items():
            rows.append(("", f"  of it {name}", "", said(part.cpu_s, 1 / 3600), "", said(part.bytes, 1e-9), "", ""))
    if not rows:
        return NOTHING_TO_DO
    whole = total(lines, settings)
    prices = (
        f"{settings.price_core_hour:g} a core-hour, {settings.price_gpu_hour:g} a GPU-hour, {settings.price_1000_writes:g} and "
        f"{settings.price_1000_reads:g} a thousand writing and reading requests, {settings.price_gb_month:g} a GB-month"
    )
    parts = [
        text_table(header, rows),
        f"{said(whole.core_hours)} core-hours, {said(whole.gpu_hours)} GPU-hours, {said(whole.gb)} GB\n"
        f"on a bucket {said(whole_number(whole.writes))} writing and {said(whole_number(whole.reads))} reading requests\n"
        f"{said(whole.dollars)} dollars, and {said(whole.dollars_a_month)} a month for what is stored, at {prices}",
    ]
    if whole.unknown:
        parts.append(f"not in the sum, since nothing is known of what they take: {', '.join(whole.unknown)}")
    unsized = [a for a in whole.unsized if a not in whole.unknown]
    if unsized:
        parts.append(f"without the bytes of {', '.join(unsized)}")
    return "\n\n".join(parts)


def whole_number(value: Range) -> Range:
    """A count, to the next whole number."""
    return Range(*(math.ceil(getattr(value, f.name)) for f in fields(value)))


def as_json(found: Line | Total) -> str:
    """A line, or the sum, as one JSON object."""
    counts = {name: asdict(whole_number(getattr(found, name))) for name in ("writes", "reads")}
    return json.dumps({**asdict(found), **counts})


def said(value: Range | None, factor: float = 1.0) -> str:
    """Mean (low to high); one number where they are the same to three digits, `?` where nothing is known."""
    if value is None:
        return "?"
    low, mean, high = (_digits(getattr(value, f.name) * factor) for f in fields(value))
    return mean if low == mean == high else f"{mean} ({low} to {high})"


def _digits(number: float) -> str:
    """Three digits, never as a power of ten."""
    if number >= 100:
        places = len(str(int(number))) - 3
        return f"{round(number / 10**places) * 10**places:,}"
    return f"{number:.3g}" if number >= 0.001 or number == 0 else "<0.001"
