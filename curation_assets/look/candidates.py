"""The candidates of a collection in columns, kept on disk: what the page counts, sorts and filters.

Where the subset was judged they are those of its table in force, one file; a column that it has not, and all of a subset that was never judged, comes from the
tables of the shards. A column is made when it is first asked for (`column_files.py`), a part of the table at a time, and is there from then on, for later processes too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.look import row_bits
from curation_assets.look.blocks import blocks_of
from curation_assets.look.clip_lookup import ClipLookup
from curation_assets.look.collection import Collection
from curation_assets.look.column_cache import GIGABYTE, ColumnCache
from curation_assets.look.column_files import DamagedColumn, KeptColumn, Values
from curation_assets.look.labelling import LabelFiles
from curation_assets.look.row_bits import Rows
from curation_assets.look.shard_columns import CollectionShards, RowsByShard, write_column
from curation_assets.publish.curating.subset_inputs import curated_provenance
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import derived
from curation_assets.rules.language import DERIVED, LABEL
from curation_assets.schemas import schema
from curation_resources.progress import told
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.tables import MissingTable, TableStore

IDS = ("dataset", "video_id", "clip_id")
SPAN = ("start_ms", "end_ms")
CODED = frozenset({"dataset", "shard"})
"""Columns of few texts, which are kept as codes."""
MS = "length in ms"
"""The column of lengths, none unknown; no rule can name it. Whole numbers, as float64, which adds them exactly as long as they come to less than 2**53."""
TRIES = 3
"""Times that a column is made that is damaged when it is read."""


class TableChanged(RuntimeError):
    """The table was made again while the page was open; what is shown is to be loaded anew."""


class TooLarge(ValueError):
    """What is asked for takes more room than columns may have; the message says how much."""


class CandidateColumns:
    """The rows of a collection.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        collection: whose.
        labels: what people say of clips, seen as it is now.
        cache: where columns are kept.

    Attributes:
        judged: whether they are those of a table of the subset.
        version: names what was loaded.
        place: names of the columns of ids, spans and shards.
        rows: how many there are.
        folder: where their columns are.
        lookup: which rows certain clips are.

    Raises:
        MissingTable: there are no clips yet.
    """

    def __init__(
        self,
        store: TableStore,
        recipes: Mapping[str, Recipe],
        collection: Collection,
        labels: LabelFiles,
        cache: ColumnCache | None = None,
    ) -> None:
        self._store, self._recipes, self.collection, self.labels = store, recipes, collection, labels
        self._lock, self._making = threading.RLock(), dict[str, Any]()
        self._states: dict[tuple[str, bool], str] = {}
        self.lookup = ClipLookup(self)
        self.tables = CollectionShards(store, recipes, collection)
        self._header = store.usable_header(collection.asset, collection.key) if collection.declared else None
        self.judged = self._header is not None
        self._stale: bool | None = None if self.judged else False
        self.place = [*IDS, *(() if collection.of_clips else ("track_id",)), *SPAN, "shard"]
        self.version = self._header.content_hash[:16] if self._header is not None else self.tables.version()
        self._cache = cache = cache or ColumnCache()
        of = store.storage.root, collection.asset, collection.key
        self.folder = cache.folder(of, f"{'judged' if self.judged else 'shards'}-{self.version}")
        if self._header is not None:
            self._form = store.form(collection.asset, collection.key)
            self.rows = self._header.rows
            threading.Thread(target=self._tell_stale, daemon=True).start()
        else:
            self._form = pa.schema([])
            self.rows = self._placed()
        self.blocks = range(blocks_of(self.rows))

    @property
    def stale(self) -> bool | None:
        """Whether the table of the subset is not what it would be now, as far as that can be told; None as long as that is being found out."""
        return self._stale

    def _tell_stale(self) -> None:
        assert self._header is not None
        try:
            now = curated_provenance(self._store, self._recipes, self.collection.key)
        except (*READ_ERRORS, LookupError, ValueError):
            self._stale = True
        else:
            self._stale = now.fingerprint != self._header.fingerprint

    def _placed(self) -> int:
        """How many candidates all shards have; ids, spans and shards of each are written, if that was not done."""
        rows = self.folder.number("rows")
        if rows is not None and all(self.folder.column(n, rows) for n in (*self.place, MS)):
            return rows
        kinds = {f.name: f.type for f in schema(self.collection.asset).arrow}
        found = 0
        names = [n for n in self.place if n != "shard"]
        with ExitStack() as stack:
            columns = {n: stack.enter_context(self.folder.writer(n, kinds[n], n in CODED)) for n in (*names, "shard")}
            lengths = stack.enter_context(self.folder.writer(MS, pa.float64()))
            parts = 0
            for shard, seen in self.tables.places(names):
                parts += 1
                found += seen.num_rows
                for name in names:
                    columns[name].add(seen[name])
                columns["shard"].add(pa.array([shard] * seen.num_rows, pa.string()))
                lengths.add(_lengths(seen))
            if not parts:
                raise MissingTable(
                    f"{self.collection.key}: no shard has clips, and all that its rules name; `curation run` makes them"
                )
        self.folder.note("rows", found)
        return found

    def fits(self, size: int, what: str) -> None:
        """Raises `TooLarge` if so many bytes are more than the cache may have."""
        most = self._cache.most_bytes
        if size > most:
            raise TooLarge(
                f"{what} take {size / GIGABYTE:,.1f} GB, more than the {most / GIGABYTE:g} GB that CURATION_LOOK_CACHE_GB lets columns have"
            )

    def filled(self, name: str) -> bool:
        """Whether the table of the subset has any value in a column."""
        if name not in self._form.names:
            return False
        return self._store.filled(self.collection.asset, name, self.collection.key)

    def numbers(self) -> list[str]:
        """Names of the numbers that can be had without looking at the shards: those of the table."""
        own = schema(self.collection.asset).arrow
        names = [f.name for f in own if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
        return ["duration_s", *(n for n in names if n in self._form.names)]

    def make(self, names: Iterable[tuple[str, bool]]) -> None:
        """Makes those of some columns, each with whether the clip's is meant, that are not there; those of the table together.

        Raises:
            RuleError: no table has one of them.
            TableChanged: the table was made again since.
        """
        wanted = [(n, self.collection.of_clips or about) for n, about in names if not n.startswith(LABEL)]
        of_table = [n for n, about in dict.fromkeys(wanted) if self._of_table(n, about)]
        with self._alone(of_table):
            missing = [n for n in of_table if self.folder.column(n, self.rows) is None]
            if missing:
                self._from_table(missing)
        for name, about in wanted:
            if not self._of_table(name, about):
                self._kept(name, about)

    def _of_table(self, name: str, about_clip: bool) -> bool:
        """Whether a column comes from the subset's table; of one that was never judged, whether it was written with the ids."""
        if name == MS or (about_clip == self.collection.of_clips and name in self.place):
            return True
        if about_clip != self.collection.of_clips:
            return False
        if name in DERIVED and self.judged:
            return name == "duration_s" or {"width", "height"} <= set(self._form.names)
        return name in self._form.names

    def _kept(self, name: str, about_clip: bool) -> KeptColumn:
        """A column, which is made if it is not there."""
        about_clip = self.collection.of_clips or about_clip
        of_table = self._of_table(name, about_clip)
        file = name if of_table else f"{'clip' if about_clip else 'track'}.{name}.{self._state(name, about_clip)}"
        found = self.folder.column(file, self.rows)
        if found is None:
            with self._alone([file]):
                found = self.folder.column(file, self.rows)
                if found is None:
                    if of_table:
                        self._from_table([name])
                    else:
                        self._from_shards(name, about_clip, file)
                    found = self.folder.column(file, self.rows)
        if found is None:
            raise DamagedColumn(f"{self.folder.path}: what was written there is not what is read")
        return found

    @contextmanager
    def _alone(self, files: Sequence[str]) -> Any:
        """Within the block no other thread makes these columns."""
        with self._lock:
            locks = [self._making.setdefault(f, threading.RLock()) for f in sorted(set(files))]
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            yield

    def _state(self, name: str, about_clip: bool) -> str:
        if (name, about_clip) not in self._states:
            self._states[name, about_clip] = self.tables.state(name, about_clip)
        return self._states[name, about_clip]

    def _from_table(self, names: Sequence[str]) -> None:
        """Writes columns of the subset's table, a row group at a time."""
        if not self.judged:  # those that were written with the ids are damaged
            if self._placed() != self.rows:
                raise TableChanged(self.collection.key)
            return
        needed = {n: _needs(n) for n in names}
        read = list(dict.fromkeys(c for columns in needed.values() for c in columns))
        asset, key = self.collection.asset, self.collection.key
        with ExitStack() as stack:
            writers = {n: stack.enter_context(self.folder.writer(n, self._kind(n), n in CODED)) for n in names}
            groups = self._store.row_groups(asset, key)
            coded = [n for n in read if n in CODED]
            rows = 0
            for table in told(self._store.groups(asset, read, key, coded=coded), groups, "row groups"):
                rows += table.num_rows
                for name, writer in writers.items():
                    writer.add(_value(name, table))
            now = self._store.usable_header(asset, key)
            if (
                now is None
                or self._header is None
                or now.content_hash != self._header.content_hash
                or rows != self.rows
            ):
                raise TableChanged(key)

    def _kind(self, name: str) -> pa.DataType:
        if name == "pixels":
            return pa.int64()
        return pa.float64() if name == MS or name in DERIVED else self._form.field(name).type

    def _from_shards(self, name: str, about_clip: bool, file: str) -> None:
        ids = self._kept(self.id, self.collection.of_clips)
        write_column(self.tables, name, about_clip, self.by_shard, ids, lambda kind: self.folder.writer(file, kind))

    @property
    def id(self) -> str:
        """The column of each candidate's id: of its clip, or of its track."""
        return "clip_id" if self.collection.of_clips else "track_id"

    @property
    def shards(self) -> KeptColumn:
        """The shard of each, as codes."""
        return self._kept("shard", self.collection.of_clips)

    @cached_property
    def by_shard(self) -> RowsByShard:
        """Which rows are of which shard."""
        return RowsByShard(self.shards, self.rows)

    def _sound(self, name: str, about_clip: bool, read: Callable[[KeptColumn], Values]) -> Values:
        """What is read of a column, which is made again if its file is damaged."""
        for left in reversed(range(TRIES)):
            column = self._kept(name, about_clip)
            try:
                return _texts(column, read(column))
            except DamagedColumn:
                if not left:
                    raise
                about = self.collection.of_clips or about_clip
                file = (
                    name
                    if self._of_table(name, about)
                    else f"{'clip' if about else 'track'}.{name}.{self._state(name, about)}"
                )
                self.folder.drop(file)
        raise AssertionError

    def block(self, name: str, about_clip: bool, number: int) -> Values:
        """A block of a column as rules see it. Raises as `reader`."""
        return self._sound(name, about_clip, lambda column: column.block(number))

    def reader(self, names: Iterable[str], about_clip: bool) -> Callable[[int], dict[str, Values]]:
        """What gives some columns of a block, as rules see them. Columns that are not there are made before it is given.

        Args:
            about_clip: for tracks, whether the clip's are meant, or the track's; without meaning for clips.

        Raises:
            RuleError: no table has one of them.
            TableChanged: the table was made again since.
        """
        wanted = sorted(names)
        self.make([(n, about_clip) for n in wanted])
        labelled = {n: self.lookup.labelled(n.removeprefix(LABEL)) for n in wanted if n.startswith(LABEL)}

        def read(number: int) -> dict[str, Values]:
            return {
                n: pa.array(row_bits.mask_of(labelled[n], number, self.rows))
                if n in labelled
                else self.block(n, about_clip, number)
                for n in wanted
            }

        return read

    def at(self, name: str, about_clip: bool, rows: Rows) -> Values:
        """A column as rules see it, at some rows. Raises as `reader`."""
        if name.startswith(LABEL):
            labelled = self.lookup.labelled(name.removeprefix(LABEL))
            return pa.array([row_bits.has(labelled, r) for r in rows.tolist()], pa.bool_())
        return self._sound(name, about_clip, lambda column: column.take(rows))

    def let_go(self, names: Iterable[tuple[str, bool]]) -> None:
        """What was read of columns need not stay in memory."""
        for name, about in names:
            if not name.startswith(LABEL):
                self._kept(name, about).let_go()

    def ms(self, number: int) -> NDArray[np.float64]:
        """float64: the length of each candidate of a block, milliseconds, a whole number."""
        found: NDArray[np.float64] = self._sound(MS, True, lambda column: column.block(number)).to_numpy()
        return found

    def places(self, rows: Rows) -> pa.Table:
        """Ids, shard and span of some rows. Those of a table are read from there as long as their columns are not there."""
        names = self.place
        if not self.judged or all(self.folder.column(n, self.rows) is not None for n in names):
            return pa.table({n: self.at(n, self.collection.of_clips, rows) for n in names})
        return self.from_groups(names, rows)

    def from_groups(self, names: Sequence[str], rows: Rows) -> pa.Table:
        """Columns of the subset's table at some rows, from the row groups that have them."""
        asset, key = self.collection.asset, self.collection.key
        ends = np.cumsum(self._store.rows_of_groups(asset, key))
        groups = np.searchsorted(ends, rows, side="right")
        order = np.argsort(groups, kind="stable")
        parts = []
        chosen = np.unique(groups).tolist()
        for group, table in zip(chosen, self._store.groups(asset, names, key, chosen), strict=True):
            own = rows[order][groups[order] == group]
            parts.append(table.take(pa.array(own - (ends[group] - table.num_rows))))
        if not parts:
            return self._store.read(asset, key, names).slice(0, 0)
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables(parts).take(pa.array(back))


def _needs(name: str) -> Sequence[str]:
    """The columns of a table that one is made from."""
    if name in (MS, "duration_s"):
        return SPAN
    return ("width", "height") if name in DERIVED else (name,)


def _value(name: str, table: pa.Table) -> Values:
    if name == MS:
        return _lengths(table)
    return derived(name, table) if name in DERIVED else table[name]


def _lengths(table: pa.Table) -> Values:
    return pc.fill_null(pc.subtract(table["end_ms"], table["start_ms"]), 0).cast(pa.float64())


def _texts(column: KeptColumn, values: Values) -> Values:
    """Values of a column, codes as the texts that they stand for."""
    return values if column.names is None else pa.array(column.names, pa.string()).take(values)
