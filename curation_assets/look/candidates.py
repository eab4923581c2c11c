"""The candidates of a subset in columns, held in memory: what the page counts, sorts and filters.

Where the subset was judged they are those of its table in force, one file; a column that it has not, and all of a subset that was never judged, comes from the
tables of the shards. Columns are read when they are first asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.look.labelling import LabelFiles
from curation_assets.publish.curating.judging import listed
from curation_assets.publish.curating.rule_values import seen_by_rule
from curation_assets.publish.curating.subset_inputs import curated_provenance, subset_shards
from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.registry import JUDGED
from curation_assets.rules.columns import derived
from curation_assets.rules.language import DERIVED, LABEL
from curation_assets.schemas import schema
from curation_resources.provenance import combined_hash
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.tables import MissingTable, TableStore

Values: TypeAlias = pa.Array | pa.ChunkedArray
Mask = NDArray[np.bool_]
IDS = ("dataset", "video_id", "clip_id")
SPAN = ("start_ms", "end_ms")
VERDICT = ("selected", "drop_reason", "split")


class TableChanged(RuntimeError):
    """The table was made again while the page was open; what is shown is to be loaded anew."""


@dataclass(frozen=True)
class Collection:
    """What can be looked at: the candidates of a subset, or all clips of a dataset.

    Attributes:
        key: of the subset; of all clips, the dataset's name.
        recipe, subset: where it is declared; of all clips a subset without rules.
        declared: whether it is a subset of the recipe.
    """

    key: str
    recipe: Recipe
    subset: Subset
    declared: bool

    @property
    def asset(self) -> str:
        """The table in which it is judged."""
        return JUDGED[self.subset.of]

    @property
    def of_clips(self) -> bool:
        """Whether its candidates are clips; else tracks."""
        return self.subset.of == "clips"


class CandidateColumns:
    """The rows of a collection.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        collection: whose.
        labels: what people say of clips, seen as it is now.

    Attributes:
        judged: whether they are those of a table of the subset.
        stale: whether that table is not what it would be now, as far as that can be told.
        version: names what was loaded.
        place: ids, shard, span and, if judged, the verdict: a row per candidate.

    Raises:
        MissingTable: there are no clips yet.
    """

    def __init__(
        self, store: TableStore, recipes: Mapping[str, Recipe], collection: Collection, labels: LabelFiles
    ) -> None:
        self._store, self._recipes, self.collection, self.labels = store, recipes, collection, labels
        self._lock = threading.RLock()
        self._columns: dict[tuple[str, bool], Values] = {}
        self._header = store.usable_header(collection.asset, collection.key) if collection.declared else None
        self.judged = self._header is not None
        self.stale = False
        names = [*IDS, *(() if collection.of_clips else ("track_id",)), *SPAN]
        if self._header is not None:
            self.version = self._header.content_hash[:16]
            self._kept = frozenset(store.form(collection.asset, collection.key).names)
            self.place = store.read(collection.asset, collection.key, [*names, "shard", *VERDICT])
            self.stale = self._is_stale()
        else:
            self._kept = frozenset()
            self.place, self.version = self._of_shards(names)
        self.rows = int(self.place.num_rows)

    def _is_stale(self) -> bool:
        assert self._header is not None
        try:
            now = curated_provenance(self._store, self._recipes, self.collection.key)
        except (*READ_ERRORS, LookupError, ValueError):
            return True
        return now.fingerprint != self._header.fingerprint

    def _of_shards(self, columns: Sequence[str]) -> tuple[pa.Table, str]:
        collection = self.collection
        parts = []
        for shard in self._shards():
            try:
                _, seen = self._seen(shard, columns, collection.of_clips)
            except MissingTable:
                continue  # a shard without a table that the subset needs is not judged either
            parts.append(seen.append_column("shard", pa.array([shard] * seen.num_rows, pa.string())))
        if not parts:
            raise MissingTable(
                f"{collection.key}: no shard has clips, and all that its rules name; `curation run` makes them"
            )
        return pa.concat_tables(parts, promote_options="permissive"), self.shards_version()

    def shards_version(self) -> str:
        """Names the clips of all shards as they are now: what those of a collection that was never judged are."""
        return combined_hash(self._store.hashes(CLIPS.asset, self._shards()))[:16]

    def _shards(self) -> list[str]:
        collection = self.collection
        return sorted(s for _, s in subset_shards(self._store, collection.subset, collection.recipe.dataset))

    def _seen(self, shard: str, columns: Sequence[str], about_clip: bool) -> tuple[Values, pa.Table]:
        dataset = shard.rpartition("-")[0]
        of = self._recipes[dataset], self.collection.subset
        return seen_by_rule(self._store, of, shard, columns, about_clip)

    @cached_property
    def ids(self) -> pa.Array:
        """The id of each candidate: of its clip, or of its track."""
        return self.place["clip_id" if self.collection.of_clips else "track_id"].combine_chunks()

    @cached_property
    def ms(self) -> NDArray[np.int64]:
        """int64 (n,): length of each, milliseconds."""
        found: NDArray[np.int64] = pc.fill_null(pc.subtract(self.place["end_ms"], self.place["start_ms"]), 0).to_numpy()
        return found

    @cached_property
    def excluded(self) -> Mask | None:
        """bool (n,): which are on one of the subset's lists; None without lists."""
        exclude = self.collection.subset.exclude
        return listed(self.place, pa.array(sorted(read_ids(exclude)), pa.string())) if exclude else None

    def column(self, name: str, about_clip: bool) -> Values:
        """A column as rules see it, a value per candidate.

        Args:
            about_clip: for tracks, whether the clip's is meant, or the track's; without meaning for clips.

        Raises:
            RuleError: no table has it.
            TableChanged: the table was made again since.
        """
        about = self.collection.of_clips or about_clip
        if name.startswith(LABEL):
            return pa.array(self.labelled(name.removeprefix(LABEL)))
        with self._lock:
            if (name, about) not in self._columns:
                self._columns[name, about] = self._load(name, about)
            return self._columns[name, about]

    def labelled(self, label: str) -> Mask:
        """bool (n,): which candidates' clips have a label now."""
        return self.labels.has(label, self.place["dataset"], self.place["clip_id"])

    def _load(self, name: str, about_clip: bool) -> Values:
        if about_clip != self.collection.of_clips:
            return self._from_shards(name, about_clip)
        if name in self.place.column_names:
            return self.place[name]
        if name in DERIVED and (name == "duration_s" or {"width", "height"} <= self._kept):
            needed = SPAN if name == "duration_s" else ("width", "height")
            return derived(name, pa.table({n: self.column(n, about_clip) for n in needed}))
        if name in self._kept:
            found = self._store.read(self.collection.asset, self.collection.key, [name])[name]
            now = self._store.usable_header(self.collection.asset, self.collection.key)
            if now is None or self._header is None or now.content_hash != self._header.content_hash:
                raise TableChanged(self.collection.key)
            return found
        return self._from_shards(name, about_clip)

    def _from_shards(self, name: str, about_clip: bool) -> Values:
        """From the tables of each shard; null where a shard has no such table."""
        shards = self.place["shard"].combine_chunks().dictionary_encode()
        numbers = shards.indices.to_numpy()
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers, minlength=len(shards.dictionary))).tolist()
        parts: list[Values] = []
        for shard, start, end in zip(shards.dictionary.to_pylist(), [0, *ends[:-1]], ends, strict=True):
            own = self.ids.take(pa.array(order[start:end]))
            try:
                found, seen = self._seen(shard, [name], about_clip)
            except MissingTable:
                parts.append(pa.nulls(len(own)))
            else:
                parts.append(seen[name].take(pc.index_in(own, value_set=found)))
        kind = next((p.type for p in parts if not pa.types.is_null(p.type)), pa.null())
        chunks = [c.cast(kind) for p in parts for c in (p.chunks if isinstance(p, pa.ChunkedArray) else [p])]
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.chunked_array(chunks, kind).take(pa.array(back))

    def numbers(self) -> list[str]:
        """Names of the numbers that can be had without looking at the shards: those of the table."""
        own = schema(self.collection.asset).arrow
        names = [f.name for f in own if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
        return ["duration_s", *(n for n in names if n in self._kept)]
