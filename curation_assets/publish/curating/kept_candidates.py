"""The candidates of a subset as the curated table in force keeps them: when that says enough to judge them by other rules, and their columns.

The table has every candidate with its scores, column by column. It serves other rules where it is made from what there is now, of all shards, and has each
column that the rules and the criterion name as they see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.coded_texts import coded
from curation_assets.publish.curating.judging import rules_of
from curation_assets.publish.curating.rule_percentiles import Percentiles, percentiles_in
from curation_assets.publish.curating.subset_inputs import LEFT_OUT, subset_shards
from curation_assets.publish.curating.subset_tables import class_column, score_column, tables_needed
from curation_assets.publish.curating.versions import CURATE_VERSION
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.registry import COMPONENTS
from curation_assets.rules.columns import derived, table_of
from curation_assets.rules.language import DERIVED, Rule, names_in
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.content_hash import HashParts
from curation_resources.provenance import Provenance
from curation_resources.table_headers import TableHeader, read_parts
from curation_resources.tables import TableStore

PLACE = ("dataset", "video_id", "clip_id", "shard", "start_ms", "end_ms")
"""Columns that are read whatever the rules name: for lists, examples and hours."""
VIDEO = ("dataset", "video_id", "start_ms", "end_ms")
"""Those that splits and selected hours are told from."""
CODED = ("dataset", "video_id", "shard")
"""Those that many rows in a row say the same of."""
SIZE = ("width", "height")


@dataclass(frozen=True)
class KeptCandidates:
    """The candidates of a subset in the curated table in force.

    Attributes:
        store: where it lies.
        header: of the table.
        subset: how they are judged now.
        columns: those that the rules and the criterion name.
    """

    store: TableStore
    header: TableHeader
    subset: Subset
    columns: Sequence[str]

    @staticmethod
    def of(
        store: TableStore,
        recipes: Mapping[str, Recipe],
        own: str,
        subset: Subset,
        header: TableHeader | None,
        now: Provenance,
    ) -> KeptCandidates | None:
        """The candidates, if the table says enough; else None.

        Args:
            own: dataset of the recipe that has the subset.
            header: of the table in force.
            now: what the table would be made from.
        """
        if header is None or not _same(header, now, subset) or subset.select.criterion == "min_redundancy":
            return None
        datasets = {d: recipes[d] for d in subset.datasets or [own]}
        columns = sorted(
            {c for rule, _ in rules_of(subset) for c in rule.columns}
            | {c for c in (class_column(subset), score_column(subset)) if c}
            | ({"track_id"} if subset.of == "tracks" else set())
        )
        known = _of_tracks if subset.of == "tracks" else _of_clips
        about_clips = subset.of == "tracks" and bool(subset.where)  # whose columns a table of tracks does not have
        if about_clips or not all(known(c, r) for c in columns for r in datasets.values()):
            return None
        form = store.form(header.asset, header.partition)
        if not set(schema(header.asset).names) <= set(form.names) or not _complete(store, subset, datasets, own):
            return None
        return KeptCandidates(store, header, subset, columns)

    @property
    def hash_parts(self) -> HashParts | None:
        """What the content hash of the table is made of; None for one of an earlier version of this code, whose footer does not say."""
        found = read_parts(self.store.form(self.header.asset, self.header.partition).metadata or {})
        return found if found is not None and found.hexdigest() == self.header.content_hash else None

    @property
    def row_groups(self) -> int:
        """Of the table."""
        return self.store.row_groups(self.header.asset, self.header.partition)

    def groups(
        self, columns: Sequence[str], place: Sequence[str] = PLACE, chosen: Sequence[int] | None = None
    ) -> Iterator[pa.Table]:
        """The candidates in key order, a table for each row group: some columns, and those of `place`; of some row groups only, if they are `chosen`."""
        known = set(schema(self.header.asset).names)
        size = [n for n in SIZE if n in known and {"aspect", "pixels"}.intersection(columns)]
        names = list(dict.fromkeys([*place, *size, *(c for c in columns if c not in DERIVED)]))
        codes = [n for n in CODED if n in names and n not in columns]  # rules see texts
        for table in self.store.groups(self.header.asset, names, self.header.partition, chosen, codes):
            yield _with_derived(table, columns)

    def percentiles(self, rules: Sequence[tuple[Rule, bool]]) -> dict[bool, Percentiles]:
        """Values of the percentiles that rules name, over all candidates."""
        about_clips = self.subset.of == "clips"
        wanted = {pair for rule, _ in rules for pair in rule.ranked}
        named = sorted({n.name for m, _ in wanted for n in names_in(m)})
        parts = ({n: b[n] for n in named} for b in self._values(named))
        found = percentiles_in(parts, wanted) if wanted else {}
        return {about_clips: found, not about_clips: {}}

    def _values(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        known = set(schema(self.header.asset).names)
        of_place = [n for n in ("start_ms", "end_ms", *SIZE) if n in known and any(c in DERIVED for c in columns)]
        names = list(dict.fromkeys([*of_place, *(c for c in columns if c not in DERIVED)]))
        for table in self.store.groups(self.header.asset, names, self.header.partition):
            yield _with_derived(table, columns)


def _with_derived(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    for column in (c for c in columns if c in DERIVED):
        table = table.append_column(column, derived(column, table))
    return table


def _same(header: TableHeader, now: Provenance, subset: Subset) -> bool:
    """Whether the table is made from what there is now but for rules, criterion, splits and lists of ids, with nothing left out."""
    before = header.provenance
    return (
        before.code_version == CURATE_VERSION == now.code_version
        and _tables(before.inputs) == _tables(now.inputs)
        and isinstance(before.params, Mapping)
        and all(before.params.get(n) == getattr(subset, n) for n in ("of", "datasets"))
        and LEFT_OUT not in before.params
        and LEFT_OUT not in now.params
        and not header.stats.get("missing_shards", True)
    )


def _tables(inputs: Mapping[str, str]) -> dict[str, str]:
    """The tables among the inputs; lists of ids are read again."""
    return {k: v for k, v in inputs.items() if k in SCHEMAS}


def _complete(store: TableStore, subset: Subset, recipes: Mapping[str, Recipe], own: str) -> bool:
    """Whether every shard has the tables that the rules need now: one without is not judged."""
    shards = subset_shards(store, subset, own)
    for dataset, recipe in recipes.items():
        mine = {shard for d, shard in shards if d == dataset}
        if any(not mine <= set(store.partitions(asset)) for asset in tables_needed(subset, recipe)):
            return False
    return True


def _of_clips(column: str, recipe: Recipe) -> bool:
    """Whether `curated_clips` has a column as the rules see it."""
    if column in DERIVED:
        return True
    if column.split(".")[0] in recipe.categories:
        return False
    table = table_of(column, recipe)
    if table == "clips":
        return column in schema("curated_clips").names
    return any(c.asset == table and column in c.curated for c in COMPONENTS)


def _of_tracks(column: str, recipe: Recipe) -> bool:
    """Whether `curated_tracks` has a column as rules about tracks see it."""
    kept = set(schema("curated_tracks").names) & set(schema("tracks").names)
    return column == "duration_s" or column in kept


def by_dataset(parts: Iterator[pa.Table], whole_videos: bool) -> Iterator[tuple[str, pa.Table]]:
    """(dataset, rows) of rows in key order that come in parts; if `whole_videos`, so that the rows of a video come together."""
    held: pa.Table | None = None
    if not whole_videos:
        for part in parts:
            yield from _by_dataset(part)
        return
    for part in parts:
        rows = part if held is None else pa.concat_tables([held, part])
        if not rows.num_rows:
            continue
        codes = [coded(rows[c]).indices.to_numpy() for c in ("dataset", "video_id")]
        end = rows.num_rows - int(np.logical_and(*(c == c[-1] for c in codes)).sum())
        yield from _by_dataset(rows.slice(0, end))
        held = rows.slice(end)
    if held is not None:
        yield from _by_dataset(held)


def _by_dataset(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    datasets = coded(rows["dataset"])
    runs = pc.run_end_encode(datasets.indices)
    start = 0
    for code, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield datasets.dictionary[code].as_py(), rows.slice(start, end - start)
        start = end
