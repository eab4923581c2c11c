"""The percentiles that rules name, over the clips or the tracks of all shards, before any rule and with those that exclusion lists drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from curation_assets.publish.curating.candidate_facts import Reader, concatenated, shard_facts
from curation_assets.publish.curating.subset_tables import tables_needed
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import clip_facts, columns_of
from curation_assets.rules.evaluation import measured, numbers
from curation_assets.rules.language import Measure, Rule, names_in

Percentiles = Mapping[tuple[str, float], float | None]
"""(column, percentile from 0 to 100) -> value; None if no candidate has one."""


def percentiles_of(
    rules: Sequence[tuple[Rule, bool]],
    about_clip: bool,
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
) -> Percentiles:
    """Values of the percentiles that rules about clips, or about tracks, name: linear interpolation over all values.

    Args:
        rules: and whether each is about clips.
        about_clip: which of them are looked at.
        subset: the section of the recipe.
        recipes: dataset -> recipe.
        shards: (dataset, shard key); one that lacks a table is left out, as it is not judged either.
        read: reads a table of a shard.
    """
    wanted = {pair for r, about in rules if about == about_clip for pair in r.ranked}
    values: dict[Measure, list[np.ndarray]] = {measure: [] for measure, _ in wanted}
    named = sorted({n.name for measure in values for n in names_in(measure)})
    for dataset, shard in shards if wanted else ():
        try:
            found = _columns(named, about_clip, subset, recipes[dataset], shard, read)
        except LookupError:
            continue
        columns = {name: found[name] for name in named}
        for measure, parts in values.items():
            parts.append(numbers(measured(measure, columns)).drop_null().cast(pa.float64()).to_numpy())
    joined = {m: concatenated(found, np.float64) for m, found in values.items()}
    return {(m.name, p): float(np.percentile(joined[m], p)) if len(joined[m]) else None for m, p in wanted}


def _columns(
    columns: Sequence[str], of_clips: bool, subset: Subset, recipe: Recipe, shard: str, read: Reader
) -> pa.Table:
    """Columns of all clips, or of all tracks, of a shard that will be judged."""
    if not of_clips:
        return shard_facts(subset, recipe, shard, read).table
    for asset in tables_needed(subset, recipe):
        read(asset, shard, ["video_id"])  # a shard that lacks one is not judged
    return clip_facts(columns, recipe, lambda asset: read(asset, shard, columns_of(asset, columns, recipe)))
