"""The thresholds that rules set: each comparison of a column with a number, and the candidates nearest to it on either side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.rule_percentiles import Percentiles
from curation_assets.rules.language import ORDERINGS, Both, Compare, Literal, Name, Node, Percentile, Rule

EXAMPLES = 6
"""Clips kept on each side of a threshold for the contact sheets."""
Example = tuple[str, str, float, bool]
"""(clip_id, shard, value, whether it passed)."""


@dataclass(frozen=True)
class Threshold:
    """A comparison of a column with a number, alone or joined to others by `and`.

    Attributes:
        text: as the rule has it.
        column, op, value: what is compared with what; a percentile's value is that over all candidates.
        of_clip: whether the column is the clip's, or that of a track.
    """

    text: str
    column: str
    op: str
    value: float
    of_clip: bool

    def values_in(self, table: pa.Table) -> np.ndarray:
        """The column's values as floats, in single precision where they are stored so; nan for null."""
        column = table[self.column]
        if not pa.types.is_floating(column.type):
            column = column.cast(pa.float64())
        values: np.ndarray = pc.fill_null(column, math.nan).to_numpy()
        return values

    def holds(self, values: np.ndarray, at: float | None = None) -> np.ndarray:
        """Where the comparison holds, with another number in place of its own if `at` is given; false for nan.

        Args:
            values: see `values_in`; a number is compared as one of their type, as in the rule itself.
        """
        held: np.ndarray = getattr(np, ORDERINGS[self.op])(values, self.value if at is None else at)
        return held


def thresholds_of(rule: Rule, percentiles: Percentiles, of_clip: bool) -> Iterator[Threshold]:
    """Each comparison of a column with a number that the rule joins by `and`.

    Args:
        rule: as it was parsed.
        percentiles: values of those that it names; one without a value sets no threshold.
        of_clip: whether the rule is about clips.
    """

    def leaves(node: Node) -> Iterator[Compare]:
        if isinstance(node, Compare):
            yield node
        elif isinstance(node, Both):
            yield from leaves(node.left)
            yield from leaves(node.right)

    for leaf in leaves(rule.node):
        value: float | None = None
        text = ""
        if isinstance(leaf.right, Literal) and isinstance(leaf.right.value, float):
            value, text = leaf.right.value, f"{leaf.right.value:g}"
        elif isinstance(leaf.right, Percentile):
            value, text = percentiles.get((leaf.left.name, leaf.right.p)), f"p{leaf.right.p:g}"
        if value is not None and leaf.op in ORDERINGS and isinstance(leaf.left, Name):
            shown = rule.text if leaf is rule.node else f"{leaf.left.name} {leaf.op} {text}"
            yield Threshold(shown, leaf.left.name, leaf.op, value, of_clip)


class NearestExamples:
    """The candidates nearest to each threshold on either side, over all shards."""

    def __init__(self) -> None:
        self._nearest: dict[Threshold, list[tuple[float, Example]]] = {}

    @property
    def examples(self) -> dict[Threshold, list[Example]]:
        """Up to `EXAMPLES` for each side of a threshold, the nearest first."""
        return {threshold: [example for _, example in found] for threshold, found in self._nearest.items()}

    def add(
        self,
        thresholds: Sequence[Threshold],
        who: tuple[pa.ChunkedArray, pa.Array | pa.ChunkedArray],
        seen: pa.Table,
        alive: np.ndarray,
    ) -> None:
        """Looks through some candidates.

        Args:
            thresholds: of one rule.
            who: the id of each candidate's clip, and its shard.
            seen: the columns that the rule sees, a row per candidate.
            alive: bool (n,), which candidates the rules before let by.
        """
        for threshold in thresholds:
            column = seen[threshold.column]
            if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
                continue
            values = threshold.values_in(seen)
            distance = np.abs(values - threshold.value)
            holds = threshold.holds(values)
            kept = self._nearest.get(threshold, [])
            for side in (True, False):
                known = [near for near, example in kept if example[3] == side]
                most = max(known) if len(known) == EXAMPLES else math.inf
                index = np.flatnonzero(alive & (holds == side) & (distance <= most))  # which no nan is
                if len(index) > EXAMPLES:
                    index = index[np.argpartition(distance[index], EXAMPLES)[:EXAMPLES]]
                kept += [
                    (float(distance[i]), (who[0][int(i)].as_py(), who[1][int(i)].as_py(), float(values[i]), side))
                    for i in index
                ]
            kept.sort()
            self._nearest[threshold] = [
                found for side in (True, False) for found in [k for k in kept if k[1][3] == side][:EXAMPLES]
            ]
