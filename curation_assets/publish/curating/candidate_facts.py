"""The candidates of a shard with all that rules, criterion and table ask of them: a join of the shard's tables.

A candidate of a subset of tracks is a track of a clip that can be judged. `where` is about the clip, also where the track has a column of the
same name (`motion`, `start_ms`, `duration_s`), `where_tracks` about the track.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.subset_tables import (
    class_column,
    needed_columns,
    score_column,
    tables_needed,
    tables_shown,
)
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import CLIP_TABLES, clip_facts, columns_of, spans_have_licences
from curation_assets.rules.language import parse_rule
from curation_assets.schemas import schema

Reader = Callable[[str, str, Sequence[str] | None], pa.Table]
"""(asset, shard, columns or None for all) -> table; LookupError if it does not exist."""


@dataclass(frozen=True)
class CandidateFacts:
    """The candidates of a shard, a row each, in the same order in both tables.

    Attributes:
        of_clip: what the rules about clips see.
        table: what everything else sees; the same table for a subset of clips.
    """

    of_clip: pa.Table
    table: pa.Table


def sampled(facts: CandidateFacts, rows: int, seed: int) -> CandidateFacts:
    """Up to `rows` candidates, evenly drawn with the given seed, with their numeric columns."""
    total = facts.table.num_rows
    chosen = np.arange(total)
    if total > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    return CandidateFacts(*(t.select(_numeric(t.schema)).take(chosen) for t in (facts.of_clip, facts.table)))


def joined(parts: Sequence[CandidateFacts]) -> CandidateFacts:
    """One sample of several, of which some may lack columns."""
    of_clip, table = (
        pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        for tables in ([p.of_clip for p in parts], [p.table for p in parts])
    )
    return CandidateFacts(of_clip, table)


def _numeric(arrow: pa.Schema) -> list[str]:
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    return [f.name for f in arrow if any(kind(f.type) for kind in kinds)]


def shard_facts(subset: Subset, recipe: Recipe, shard: str, read: Reader) -> CandidateFacts:
    """The columns of the subset's table for one shard, and those that its rules and its criterion name.

    Raises:
        LookupError: a table that the rules or the criterion need does not exist for the shard; others leave nulls.
    """
    needed, shown = tables_needed(subset, recipe), tables_shown(subset, recipe)
    own = set(schema("curated_clips").names)
    wanted = [*needed_columns(subset, recipe), "start_ms", "end_ms", "duration_s"]
    if subset.of == "clips":
        wanted += [c for a in CLIP_TABLES if a in shown for c in schema(a).names if c in own]
        wanted += [c for c in ("licence", "channel") if "raw_shards" in shown]
        if "licence" in wanted and spans_have_licences(recipe):
            shown = ["video_metadata", *(a for a in shown if a != "video_metadata")]
    wanted = list(dict.fromkeys(wanted))
    tables: dict[str, pa.Table] = {}
    for asset in shown:
        if asset in ("frame_embeddings", "tracks") or (subset.of == "tracks" and asset not in needed):
            continue
        columns = columns_of(asset, wanted, recipe)
        if asset == "category_scores":
            columns = ["clip_id", "category_set", "category", "probability", "score"]
        try:
            tables[asset] = read(asset, shard, columns)
        except LookupError:
            if asset in needed:
                raise
    if "frame_embeddings" in needed:
        read("frame_embeddings", shard, ["clip_id"])
    have = {c for a in CLIP_TABLES if a in tables for c in schema(a).names}
    required = {*needed_columns(subset, recipe), "duration_s"}
    facts = clip_facts(
        [c for c in wanted if c in required or c in have or (c in ("licence", "channel") and "raw_shards" in tables)],
        recipe,
        tables.__getitem__,
    )
    if subset.of == "clips":
        if "category_scores" in tables:
            facts = _with_categories(facts, tables["category_scores"])
        return CandidateFacts(facts, facts)
    return _tracks_of(facts, read("tracks", shard, _track_columns(subset)))


def _track_columns(subset: Subset) -> list[str]:
    named = {c for r in subset.where_tracks for c in parse_rule(r).columns}
    named |= {class_column(subset) or "", score_column(subset) or "", *schema("curated_tracks").names}
    named |= {"embedding"} if subset.select.criterion == "min_redundancy" else set()
    return [n for n in schema("tracks").names if n in named]


def _with_categories(facts: pa.Table, scores: pa.Table) -> pa.Table:
    """Appends the maps from `<set>.<category>` to probability and to score; null for clips without any."""
    index = pc.index_in(scores["clip_id"], value_set=facts["clip_id"].combine_chunks())
    known = scores.filter(pc.is_valid(index))
    place = index.drop_null().to_numpy()
    rows = known.take(np.argsort(place, kind="stable"))
    counts = np.bincount(place, minlength=facts.num_rows)
    offsets = pa.array(np.r_[0, np.cumsum(counts)], pa.int32())
    keys = pc.binary_join_element_wise(
        rows["category_set"].cast(pa.string()), rows["category"].cast(pa.string()), "."
    ).combine_chunks()
    for name, column in (("categories", "probability"), ("category_matches", "score")):
        values = rows[column].cast(pa.float32()).combine_chunks()
        maps = pa.MapArray.from_arrays(offsets, keys, values)
        facts = facts.append_column(name, pc.if_else(pa.array(counts > 0), maps, pa.scalar(None, maps.type)))
    return facts


def _tracks_of(facts: pa.Table, tracks: pa.Table) -> CandidateFacts:
    """The tracks of usable clips; where names agree, the track's column wins for all but the rules about clips."""
    clips = facts["clip_id"].combine_chunks()
    known = tracks.filter(pc.is_in(tracks["clip_id"], value_set=clips))
    of_clip = facts.take(pc.index_in(known["clip_id"], value_set=clips))
    length = pc.divide(pc.subtract(known["end_ms"], known["start_ms"]).cast(pa.float64()), 1000.0)
    joined = known.append_column("duration_s", length)
    for name in facts.column_names:
        if name not in joined.column_names:
            joined = joined.append_column(name, of_clip[name])
    return CandidateFacts(of_clip, joined)
