"""All tables of two storage roots held against each other, a partition at a time, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.comparing.clip_matching import moved_clips
from curation_assets.comparing.row_differences import Differences, Tolerance, differences
from curation_assets.contracts.component import Component
from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.registry import COMPONENTS
from curation_resources.tables import MissingTable, TableStore

Roots = tuple[TableStore, TableStore]
OF_IDS = "cluster_id"
"""A hash of ids, which is another where they are."""
CLIP_COLUMNS = ("clip_id", "duplicate_of", "survivor")
"""Columns that name clips, which are called in the second root as the same clips are in the first."""


def compare_roots(
    roots: Roots, assets: Collection[str], tolerance: Tolerance, chosen: Callable[[str], bool] = lambda partition: True
) -> Iterator[tuple[str, Differences, int]]:
    """(asset, differences over all its partitions, clips whose boundaries moved), in graph order; assets that neither root has are left out.

    Clips whose boundaries moved are held against each other as one: by their ids they would be others.

    Args:
        roots: both.
        assets: which.
        tolerance: how much numbers may differ.
        chosen: which partitions count, by their keys.
    """
    moved = _Moved(roots)
    for component in COMPONENTS:
        if component.asset not in assets:
            continue
        if component.partitioned == "whole":
            partitions: list[str | None] = [None] if any(r.exists(component.asset) for r in roots) else []
        else:
            known = sorted({p for r in roots for p in r.partitions(component.asset)})
            partitions = [p for p in known if chosen(p)]
        found, clips = Differences(), 0
        for partition in partitions:
            more, count = _partition(roots, component, partition, moved, tolerance)
            found, clips = found + more, clips + count
        if partitions:
            yield component.asset, found, clips


def _partition(
    roots: Roots, component: Component, partition: str | None, moved: _Moved, tolerance: Tolerance
) -> tuple[Differences, int]:
    tables = [_read(root, component, partition) for root in roots]
    if all(t is not None and t.equals(tables[0]) for t in tables):
        rows = tables[0].num_rows if tables[0] is not None else 0
        return Differences(rows, rows), 0
    a, b = (component.table.empty() if t is None else t for t in tables)
    clips = 0
    if "clip_id" in component.table.names and component.partitioned == "shard":
        b, clips = _renamed(b, moved.of(partition or ""))
    elif "clip_id" in component.table.names:
        parts = [
            _renamed(b.filter(pc.equal(b["dataset"], dataset)), moved.of_dataset(dataset))
            for dataset in pc.unique(b["dataset"]).to_pylist()
        ]
        b, clips = pa.concat_tables([b.slice(0, 0), *(t for t, _ in parts)]), sum(n for _, n in parts)
    key = [name for name in component.table.key if name != OF_IDS]
    return differences((a, b), key, component.table.volatile | {OF_IDS}, tolerance), clips


def _read(root: TableStore, component: Component, partition: str | None) -> pa.Table | None:
    try:
        return root.read(component.asset, partition)
    except MissingTable:
        return None


def _renamed(table: pa.Table, named: Mapping[str, str]) -> tuple[pa.Table, int]:
    """The table with clips called as they are in the first root, and how many there are of those."""
    if not named:
        return table, 0
    old, new = pa.array(list(named), pa.string()), pa.array(list(named.values()), pa.string())
    count = pc.count_distinct(table["clip_id"].filter(pc.is_in(table["clip_id"], value_set=old))).as_py()
    for name in CLIP_COLUMNS:
        if name in table.column_names:
            values = pc.coalesce(new.take(pc.index_in(table[name], value_set=old)), table[name])
            table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
    return table, count


class _Moved:
    """Clips of the second root with other boundaries than in the first, by shard."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._of: dict[str, Mapping[str, str]] = {}

    def of(self, shard: str) -> Mapping[str, str]:
        if shard not in self._of:
            columns = ["video_id", "clip_id", "status", "start_ms", "end_ms"]
            tables = []
            for root in self._roots:
                try:
                    clips = root.read(CLIPS.asset, shard, columns)
                except MissingTable:
                    clips = CLIPS.empty().select(columns)
                tables.append(clips.filter(pc.equal(clips["status"], "ok")))
            self._of[shard] = moved_clips(*tables)
        return self._of[shard]

    def of_dataset(self, dataset: str) -> Mapping[str, str]:
        shards = {s for r in self._roots for s in r.partitions(CLIPS.asset) if s.rpartition("-")[0] == dataset}
        return {b: a for shard in sorted(shards) for b, a in self.of(shard).items()}
