"""All tables of two storage roots held against each other, part by part, so that memory does not grow with them.

Tables whose content hashes are the same are not read. Of all others the rows are put into parts by their video, whichever shard it lies in, and compared a part at a time. What is held of
the whole are the clips whose boundaries moved, some 100 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.comparing.clip_matching import moved_clips
from curation_assets.comparing.row_differences import Differences, Tolerance, differences
from curation_assets.comparing.spilling import in_parts, parts_for
from curation_assets.contracts.component import Component
from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.registry import COMPONENTS
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

Roots = tuple[TableStore, TableStore]
Group = Sequence[str | None]
"""Partitions whose rows are compared together: the shards of a dataset, or one table."""
Headers = dict[str | None, TableHeader]
OF_IDS = "cluster_id"
"""A hash of ids, which is another where they are."""
CLIP_COLUMNS = ("clip_id", "duplicate_of", "survivor")
"""Columns that name clips, which are called in the second root as the same clips are in the first."""
BY = ("dataset", "video_id")
"""Columns by which rows are put into parts, so that a clip and what it was before are in the same one."""


def compare_roots(
    roots: Roots, assets: Collection[str], tolerance: Tolerance, chosen: Callable[[str], bool] = lambda partition: True
) -> Iterator[tuple[str, Differences, int]]:
    """(asset, differences over all its partitions, clips whose boundaries moved), in graph order; assets that neither root has are left out.

    Clips whose boundaries moved are held against each other as one: by their ids they would be others. A video may lie in another shard.

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
        found, clips = Differences(), 0
        groups = list(_groups(roots, component, chosen))
        for group in groups:
            more, count = _group(roots, component, group, moved, tolerance)
            found, clips = found + more, clips + count
        if groups:
            yield component.asset, found, clips


def _groups(roots: Roots, component: Component, chosen: Callable[[str], bool]) -> Iterator[Group]:
    if component.partitioned == "whole":
        if any(r.exists(component.asset) for r in roots):
            yield [None]
        return
    known = sorted({p for r in roots for p in r.partitions(component.asset) if chosen(p)})
    if component.partitioned == "subset":
        yield from ([key] for key in known)
        return
    of_dataset: dict[str, list[str | None]] = {}
    for key in known:
        of_dataset.setdefault(key.rpartition("-")[0], []).append(key)
    yield from of_dataset.values()


def _headers(root: TableStore, asset: str, group: Group) -> Headers:
    found: Headers = {}
    if None in group and (header := root.header(asset)) is not None:
        found[None] = header
    found.update(root.headers(asset, [key for key in group if key is not None]).items())
    return found


def _group(
    roots: Roots, component: Component, group: Group, moved: _Moved, tolerance: Tolerance
) -> tuple[Differences, int]:
    asset, table = component.asset, component.table
    headers = [_headers(root, asset, group) for root in roots]
    other = unlike(headers[0], headers[1])
    same = sum(h.rows for key, h in headers[0].items() if key not in other)
    found, clips = Differences(same, same), 0
    if not other:
        return found, clips
    left = [{key: h for key, h in side.items() if key in other} for side in headers]
    count = max(parts_for(sum(h.rows for h in side.values()), sum(h.size or 0 for h in side.values())) for side in left)
    key = [name for name in table.key if name != OF_IDS]
    by = [name for name in BY if name in table.names] if "video_id" in table.names else key
    sides = [_rows(root, asset, side) for root, side in zip(roots, left, strict=True)]
    with in_parts(sides, by, count) as parts:
        for part in parts:
            a, b = (table.empty() if one is None else one for one in part)
            if "clip_id" in b.column_names:
                b, renamed = moved.renamed(b)
                clips += renamed
            found += differences((a, b), key, table.volatile | {OF_IDS}, tolerance)
    return found, clips


def unlike(a: Mapping[str | None, TableHeader], b: Mapping[str | None, TableHeader]) -> set[str | None]:
    """Partitions of which the tables say something else, or which only one has."""
    return {key for key in {*a, *b} if key not in a or key not in b or a[key].content_hash != b[key].content_hash}


def _rows(root: TableStore, asset: str, headers: Headers) -> Iterator[pa.Table]:
    for key in headers:
        for batch in root.batches(asset, partition=key):
            yield pa.Table.from_batches([batch]).replace_schema_metadata(None)


class _Moved:
    """Clips of the second root with other boundaries than in the first."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._of: dict[str, tuple[pa.Array, pa.Array]] = {}

    def renamed(self, table: pa.Table) -> tuple[pa.Table, int]:
        """Rows of the second root with clips called as they are in the first, and how many there are of those.

        Args:
            table: all rows of the videos that it has rows of.
        """
        parts, count = [table.slice(0, 0)], 0
        for dataset in pc.unique(table["dataset"]).to_pylist():
            own, (old, new) = table.filter(pc.equal(table["dataset"], dataset)), self._of_dataset(dataset)
            if len(old):
                count += pc.count_distinct(own["clip_id"].filter(pc.is_in(own["clip_id"], value_set=old))).as_py()
                for name in CLIP_COLUMNS:
                    if name in own.column_names and pa.types.is_string(own.schema.field(name).type):
                        values = pc.coalesce(new.take(pc.index_in(own[name], value_set=old)), own[name])
                        own = own.set_column(own.column_names.index(name), own.schema.field(name), values)
            parts.append(own)
        return pa.concat_tables(parts), count

    def _of_dataset(self, dataset: str) -> tuple[pa.Array, pa.Array]:
        """What clips are called in the second root, and in the first."""
        if dataset not in self._of:
            shards = sorted(
                {s for r in self._roots for s in r.partitions(CLIPS.asset) if s.rpartition("-")[0] == dataset}
            )
            headers = [_headers(root, CLIPS.asset, shards) for root in self._roots]
            other = unlike(*headers)
            left = [{key: h for key, h in side.items() if key in other} for side in headers]
            count = max(parts_for(sum(h.rows for h in side.values())) for side in left)
            pairs = [self._moved_in(part) for part in self._parts(left, count)] if other else []
            columns = zip(*pairs, strict=True) if pairs else ([], [])
            old, new = (pa.concat_arrays(list(c)) if c else pa.array([], pa.string()) for c in columns)
            self._of[dataset] = old, new
        return self._of[dataset]

    def _parts(self, headers: Sequence[Headers], count: int) -> Iterator[tuple[pa.Table | None, ...]]:
        sides = [_spans(root, own) for root, own in zip(self._roots, headers, strict=True)]
        with in_parts(sides, ["video_id"], count) as parts:
            yield from parts

    def _moved_in(self, part: tuple[pa.Table | None, ...]) -> tuple[pa.Array, pa.Array]:
        empty = CLIPS.empty().select(SPAN)
        found = moved_clips(*(empty if one is None else one for one in part))
        return pa.array(list(found), pa.string()), pa.array(list(found.values()), pa.string())


SPAN = ["video_id", "clip_id", "start_ms", "end_ms"]


def _spans(root: TableStore, headers: Headers) -> Iterator[pa.Table]:
    for key in headers:
        for batch in root.batches(CLIPS.asset, [*SPAN, "status"], partition=key):
            table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
            yield table.filter(pc.equal(table["status"], "ok")).select(SPAN)
