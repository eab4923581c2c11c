"""Semantic duplicates without the videos that are taken down: compared anew where they took part, since a clip that was dropped for theirs may have to be kept now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.concepts.across_datasets import asking
from curation_assets.concepts.semantic_dedup import semantic_view
from curation_assets.concepts.semantic_maker import compare_concepts
from curation_assets.engine.sheets import sheet_path
from curation_assets.engine.slices import is_sliced, slice_hashes
from curation_assets.recipes import Recipe
from curation_assets.registry import CLUSTERS, COMPONENTS, GATHERED, component
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.takedown.large_tables import rows_of
from curation_assets.takedown.plan import TakedownPlan
from curation_resources.content_hash import content_hash
from curation_resources.tables import TableStore

(DUPLICATES,) = (a for a in GATHERED if a != CLUSTERS and is_sliced(a))
(VERDICTS,) = (c.asset for c in COMPONENTS if DUPLICATES in c.slices)
Say = Callable[[str], None]


def forget_in_semantic_duplicates(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, plan: TakedownPlan, say: Say
) -> list[tuple[str, str | None]]:
    """Compares again what is left of the videos' shards, and brings each shard's verdicts in line; those tables that were committed.

    Without a recipe at hand that asks for it nothing can be compared; then the groups that the videos were of are dissolved.
    """
    (source,) = component(DUPLICATES).inputs
    header, base = store.standing(DUPLICATES)
    if header is None:
        return []
    groups = rows_of(store, plan.of, DUPLICATES, None, ("semantic_cluster_id",))["semantic_cluster_id"].unique()
    behind = any(
        (h := store.header(source, s)) is not None and h.content_hash != plan.hashes[source].get(s) for s in plan.shards
    )
    done: list[tuple[str, str | None]] = []
    if len(groups) or behind:
        store.storage.remove(sheet_path(store, DUPLICATES, None))
        if asking(recipes, DUPLICATES):
            compare_concepts(store, recipes, settings, base, shown=False)
        else:
            stats = {"dropped": 0, **header.stats, "sheet": ""}
            store.commit_rows(DUPLICATES, None, lambda: _others(store, groups), header.provenance, stats, base)
        done.append((DUPLICATES, None))
        say(f"{DUPLICATES}: compared anew without them")
    slices, before = slice_hashes(store, DUPLICATES), plan.slices[DUPLICATES]
    for shard in store.partitions(VERDICTS):
        if shard in plan.shards or slices.get(shard) != before.get(shard):
            done += _verdicts(store, plan, shard, slices, say)
    return done


def _others(store: TableStore, groups: pa.Array) -> Iterator[pa.Table]:
    """The rows of the table in force that are of none of some groups, a row group at a time."""
    for rows in store.groups(DUPLICATES, schema(DUPLICATES).names):
        yield rows.filter(pc.invert(pc.is_in(rows["semantic_cluster_id"], value_set=groups)))


def _verdicts(
    store: TableStore, plan: TakedownPlan, shard: str, slices: Mapping[str, str], say: Say
) -> list[tuple[str, str | None]]:
    (judged,) = component(VERDICTS).inputs
    header = store.header(VERDICTS, shard)
    if header is None or store.header(judged, shard) is None:
        return []
    contract = schema(DUPLICATES)
    empty = content_hash(contract.empty(), contract.key, contract.volatile, contract.later)
    was = header.provenance.inputs
    current = was.get(DUPLICATES) in (plan.slices[DUPLICATES].get(shard, empty), slices.get(shard, empty))
    old = store.read(VERDICTS, shard)
    if not current and not pc.any(_names(old, plan)).as_py():
        return []
    rows = store.read(DUPLICATES, filters=ds.field("shard") == shard)
    table = store.prepare(VERDICTS, semantic_view(rows, store.read(judged, shard)))
    rest = store.prepare(VERDICTS, old.filter(pc.invert(plan.of(old))))
    inputs = {**was, DUPLICATES: slices.get(shard, empty)}
    if table.equals(old) and inputs == dict(was):
        return []
    if not rest.equals(table) and (VERDICTS, shard) not in plan.changed:
        plan.changed.append((VERDICTS, shard))
        plan.save(store)
    stats = {**header.stats, "rows_out": table.num_rows, **component(VERDICTS).recounted(table)}
    store.commit(VERDICTS, shard, table, replace(header.provenance, inputs=inputs), stats)
    say(f"{VERDICTS} of {shard}: in line with what is left")
    return [(VERDICTS, shard)]


def _names(table: pa.Table, plan: TakedownPlan) -> pa.Array | pa.ChunkedArray:
    """Which verdicts name a clip of the videos as the one that another says the same as."""
    found = pa.chunked_array([pa.array([False] * table.num_rows, pa.bool_())])
    for video in plan.videos:
        named = pc.starts_with(pc.fill_null(table["semantic_duplicate_of"], ""), f"{video.video_id}_")
        found = pc.or_(found, named)
    return found
