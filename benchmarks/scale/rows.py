"""A line of the benchmark's table: what was measured, and what that makes at the full size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.ingest import Cost

HEAD = "| what | rows | CPU s | rows per CPU s | peak MB | full size | at full size |\n|---|---|---|---|---|---|---|"


class Line(Protocol):
    """Of the table."""

    def line(self) -> str: ...


Step = Callable[[Path, float], Iterator[Line]]
"""(folder for temporary files, share of the full size) -> the lines, each as soon as it is measured."""


def _how(rows: int, full: int) -> str:
    return "measured" if rows >= full else "extrapolated"


@dataclass(frozen=True)
class Row:
    """What a process took for a number of rows; in proportion to them at the full size."""

    what: str
    rows: int
    full: int
    cost: Cost

    def line(self) -> str:
        cpu_s = self.cost.cpu_s * self.full / self.rows
        return (
            f"| {self.what} | {self.rows:,} | {self.cost.cpu_s:.1f} | {self.rows / max(self.cost.cpu_s, 0.1):,.0f} | {self.cost.peak_mb:.0f} "
            f"| {self.full:,} | {cpu_s:,.0f} CPU s ({_how(self.rows, self.full)}) |"
        )


@dataclass(frozen=True)
class Counted:
    """What was counted, not timed, such as requests; in proportion to the rows at the full size.

    Attributes:
        unit: what is counted.
    """

    what: str
    rows: int
    full: int
    count: int
    unit: str

    def line(self) -> str:
        total = self.count * self.full / self.rows
        return f"| {self.what}: {self.count / self.rows:.1f} {self.unit} each | {self.rows:,} | | | | {self.full:,} | {total:,.0f} {self.unit} ({_how(self.rows, self.full)}) |"
