"""Columns of candidates from the tables of all shards: what the table of a subset does not have, and all of one that was never judged.

Shards are read one after the other. Where candidates lie otherwise than shard by shard, values go through files, each of a run of rows, which are then put in order. What belongs
here: reading shards. What does not: where the columns are kept (`candidates.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.look.blocks import BLOCK_ROWS, blocks_of
from curation_assets.look.collection import Collection
from curation_assets.look.column_files import ColumnWriter, KeptColumn, Values, reserved
from curation_assets.publish.curating.rule_values import seen_by_rule
from curation_assets.publish.curating.subset_inputs import subset_shards
from curation_assets.publish.curating.subset_tables import tables_needed
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import tables_of_columns
from curation_assets.schemas import schema
from curation_resources.progress import told
from curation_resources.provenance import combined_hash
from curation_resources.scratch import scratch_folder, scratch_root
from curation_resources.tables import MissingTable, TableStore

RUNS = 64
"""Files in which values wait to be put in order, at most."""
TRACKS = "tracks"
NewColumn = Callable[[pa.DataType], ColumnWriter]


class CollectionShards:
    """The tables of the shards of a collection.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        collection: whose shards.
    """

    def __init__(self, store: TableStore, recipes: Mapping[str, Recipe], collection: Collection) -> None:
        self._store, self._recipes, self._collection = store, recipes, collection

    def shards(self) -> list[str]:
        """Their keys, sorted."""
        collection = self._collection
        return sorted(s for _, s in subset_shards(self._store, collection.subset, collection.recipe.dataset))

    def version(self) -> str:
        """Names the clips of all shards as they are now: what those of a collection that was never judged are."""
        return combined_hash(self._store.hashes(CLIPS.asset, self.shards()))[:16]

    def state(self, name: str, about_clip: bool) -> str:
        """Names what a column is made from now.

        Raises:
            RuleError: no table has it.
        """
        collection, shards = self._collection, self.shards()
        of_tracks = collection.subset.of == TRACKS
        found: dict[str, str] = {}
        for dataset in collection.datasets:
            recipe = self._recipes[dataset]
            of_track = of_tracks and not about_clip and (name in schema(TRACKS).names or name == "duration_s")
            assets = {CLIPS.asset, *(() if of_track else tables_of_columns({name}, recipe))}
            assets |= {TRACKS, *tables_needed(collection.subset, recipe)} if of_tracks else set()
            own = [s for s in shards if s.rpartition("-")[0] == dataset]
            found |= {f"{dataset}/{a}": self._store.combined_hash(a, own) or "" for a in sorted(assets)}
            found[f"{dataset}/recipe"] = recipe.model_dump_json()
        return combined_hash(found)[:16]

    def places(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Each shard with some columns of its candidates; one without a table that the subset needs is left out, as it is not judged either."""
        shards = self.shards()
        for shard in told(shards, len(shards), "shards"):
            try:
                yield shard, self._seen(shard, columns, self._collection.of_clips)[1]
            except MissingTable:
                continue

    def _seen(self, shard: str, columns: Sequence[str], about_clip: bool) -> tuple[Values, pa.Table]:
        of = self._recipes[shard.rpartition("-")[0]], self._collection.subset
        return seen_by_rule(self._store, of, shard, columns, about_clip)

    def values(self, shard: str, name: str, about_clip: bool, ids: pa.Array) -> Values | None:
        """A column for candidates of a shard by their ids; None where the shard has no such table."""
        try:
            found, seen = self._seen(shard, [name], about_clip)
        except MissingTable:
            return None
        return seen[name].take(pc.index_in(ids, value_set=found))


class RowsByShard:
    """Which rows of a collection are of which shard.

    Args:
        shard: the shard of each row, as codes.
        rows: how many there are.
    """

    def __init__(self, shard: KeptColumn, rows: int) -> None:
        self._shard, self.rows = shard, rows
        assert shard.names is not None
        self.shards = [str(name) for name in shard.names]
        counts = np.zeros(len(self.shards), np.int64)
        self.ordered, last = True, 0
        for block in range(blocks_of(rows)):
            codes = shard.numbers(block)
            self.ordered = self.ordered and bool(codes[0] >= last and (np.diff(codes) >= 0).all())
            last = int(codes[-1])
            counts += np.bincount(codes, minlength=len(counts))
        self.starts = np.r_[0, np.cumsum(counts)]
        self._order: NDArray[np.uint32] | None = None

    def of(self, number: int) -> NDArray[np.int64]:
        """int64: the rows of a shard, by its number, in order."""
        start, end = self.starts[number : number + 2].tolist()
        if self.ordered:
            return np.arange(start, end)
        if self._order is None:
            self._order = self._sorted()
        return self._order[start:end].astype(np.int64)

    def _sorted(self) -> NDArray[np.uint32]:
        """All rows by shard, in a file."""
        with tempfile.TemporaryFile(dir=scratch_root()) as file:
            found: NDArray[np.uint32] = reserved(file, np.uint32, (self.rows,))
        free = self.starts[:-1].copy()
        for block in range(blocks_of(self.rows)):
            codes = self._shard.numbers(block)
            order = np.argsort(codes, kind="stable")
            counts = np.bincount(codes, minlength=len(free))
            before = np.cumsum(counts) - counts
            found[(free - before)[codes[order]] + np.arange(len(order))] = order + block * BLOCK_ROWS
            free += counts
        return found


def write_column(
    tables: CollectionShards, name: str, about_clip: bool, by_shard: RowsByShard, ids: KeptColumn, new: NewColumn
) -> None:
    """Writes a column of a collection.

    Args:
        tables: of its shards.
        about_clip: whether the clip's is meant.
        by_shard: which of its rows are of which shard.
        ids: the id of each row.
        new: makes the writer of the column, once its type is known.
    """

    def parts() -> Iterator[tuple[NDArray[np.int64], Values | None]]:
        for number in told(range(len(by_shard.shards)), len(by_shard.shards), "shards"):
            rows = by_shard.of(number)
            yield rows, tables.values(by_shard.shards[number], name, about_clip, ids.take(rows))

    with ExitStack() as stack:
        column = _Typed(new, stack)
        if by_shard.ordered:
            for rows, values in parts():
                column.add(values, len(rows))
        else:
            folder = Path(stack.enter_context(scratch_folder("look-column-")))
            _in_order(parts(), by_shard.rows, folder, column)
        column.end()


class _Typed:
    """A column whose type is known once there are values."""

    def __init__(self, new: NewColumn, stack: ExitStack) -> None:
        self._new, self._stack = new, stack
        self._writer: ColumnWriter | None = None
        self._unknown = 0

    def add(self, values: Values | None, rows: int) -> None:
        known = values is not None and not pa.types.is_null(values.type)
        if self._writer is None and not known:
            self._unknown += rows
            return
        if self._writer is None:
            assert values is not None
            self._begin(values.type)
        assert self._writer is not None
        self._writer.add(values if values is not None and known else pa.nulls(rows, self._writer.type))

    def _begin(self, kind: pa.DataType) -> None:
        self._writer = self._stack.enter_context(self._new(kind))
        if self._unknown:
            self._writer.add(pa.nulls(self._unknown, kind))

    def end(self) -> None:
        if self._writer is None:
            self._begin(pa.null())


def _in_order(
    parts: Iterator[tuple[NDArray[np.int64], Values | None]], rows: int, folder: Path, column: _Typed
) -> None:
    """Puts values that come with their rows, each part in order, into the order of the rows: through files, each of a run of rows."""
    run = -(-rows // min(RUNS, blocks_of(rows)))
    edges = np.arange(0, rows + run, run)
    with ExitStack() as stack:
        files: dict[int, Any] = {}
        for own, values in parts:
            at = np.searchsorted(own, edges)
            for number in np.flatnonzero(np.diff(at)).tolist():
                here = slice(int(at[number]), int(at[number + 1]))
                size = here.stop - here.start
                part = values[here.start : here.stop] if values is not None else pa.nulls(size)
                whole = part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part
                batch = pa.record_batch([pa.array(own[here]), whole], ["row", "value"])
                kinds = files.setdefault(number, {})
                if whole.type not in kinds:  # a shard without the table has nulls, and no type
                    path = folder / f"{number}-{len(kinds)}.arrow"
                    kinds[whole.type] = path, stack.enter_context(pa.ipc.new_stream(str(path), batch.schema))
                kinds[whole.type][1].write_batch(batch)
    for number in range(len(edges) - 1):
        found = []
        for path, _ in files.get(number, {}).values():
            with pa.OSFile(str(path)) as file:
                found.append(pa.ipc.open_stream(file).read_all())
            path.unlink()
        if not found:
            continue
        table = pa.concat_tables(found, promote_options="permissive")
        order = np.argsort(table["row"].to_numpy(), kind="stable")
        values = table["value"].combine_chunks().take(pa.array(order))
        column.add(values, len(values))
