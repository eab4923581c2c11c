"""The words of a projection: what the whole would give, as `curation run --sample` and `curation report --sample` print it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from curation_assets.outcome import text_table
from curation_assets.projection import CONFIDENCE, Estimated, ProjectedLine, Projection
from curation_resources.words import plural


def render(found: Projection) -> str:
    """Text tables: what the sample has, what the whole would have, and between which limits."""
    parts = [
        f"{found.dataset}: the whole, by {found.sampled:,} of its {plural(found.listed, 'video', commas=True)}; each interval holds the number in {CONFIDENCE:.0%} of all samples",
        _lines(found.lines),
    ]
    if found.failures:
        parts.append(_lines(found.failures.values(), "videos that fail"))
    if (copies := found.duplicates) is not None and copies.clips:
        parts.append(
            f"clips with a better copy: {copies.seen:,} in the sample, {copies.between:,} of them only in other videos; in the whole {_number(copies.least)} if copies come "
            f"in crowds, up to {_number(copies.most)} if they come in pairs, of which a sample has few: lower limits after that allow for them"
        )
    for key, lines in found.subsets.items():
        parts += [f"subset {key}", _lines(lines)]
    if found.cost:
        rows = [(name, _number(e.value), _interval(e)) for name, e in found.cost.items()]
        parts.append(text_table(("in proportion to the hours of video", "whole", "between"), rows))
    return "\n\n".join(parts)


def _lines(lines: Iterable[ProjectedLine], head: str = "after") -> str:
    found = list(lines)
    timed = any(line.hours is not None for line in found)
    rows = []
    for line in found:
        row = [line.name, f"{line.seen:,}", _number(line.rows.value), _interval(line.rows)]
        if timed:
            row += [_number(line.hours.value), _interval(line.hours)] if line.hours is not None else ["", ""]
        rows.append(row)
    return text_table((head, "sample", "whole", "between", *(("hours", "between") if timed else ())), rows)


def _interval(found: Estimated) -> str:
    return f"{_number(found.low)} and {_number(found.high)}"


def _number(value: float) -> str:
    """Three digits that say something."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "any"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.{min(digits, 6)}f}"
