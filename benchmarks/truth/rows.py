"""A row of the table of truth: what one kind of footage holds, and what this project and its peers found of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What was found on one kind of footage, by all systems on the same frames in the same run.

    Attributes:
        area: the module that measured it.
        kind: of footage, in words.
        half: `first` or `second` by source video, or `all`. Constants are chosen on the first; the second is only reported.
        truth: what there is to find, in words.
        found: for each system what it found, in words; this project's own comes first.
        figures: the same as numbers, by system and name, for comparing runs.
    """

    area: str
    kind: str
    half: str
    truth: str
    found: Mapping[str, str]
    figures: Mapping[str, Mapping[str, float]]

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


def table(rows: Iterable[Row]) -> str:
    """Markdown: one line for each row, with the peers named in their column."""
    lines = ["| area | kind | half | truth | this project | peers |", "|---|---|---|---|---|---|"]
    for row in rows:
        own, *peers = row.found.items()
        beside = ", ".join(f"{name} {found}" for name, found in peers)
        lines.append(f"| {row.area} | {row.kind} | {row.half} | {row.truth} | {own[1]} | {beside} |")
    return "\n".join(lines)
