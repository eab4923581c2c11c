"""The percentiles that rules name, over the clips or the tracks of all shards, before any rule and with those that exclusion lists drop."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from curation_assets.publish.curating.candidate_facts import Reader, shard_facts
from curation_assets.publish.curating.percentile_values import PercentileValues
from curation_assets.publish.curating.subset_tables import tables_needed
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import clip_facts, columns_of
from curation_assets.rules.evaluation import measured, numbers
from curation_assets.rules.language import Measure, Rule, names_in
from curation_resources.scratch import scratch_folder

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
    named = sorted({n.name for measure, _ in wanted for n in names_in(measure)})

    def columns() -> Iterator[Mapping[str, pa.ChunkedArray]]:
        for dataset, shard in shards:
            try:
                found = _columns(named, about_clip, subset, recipes[dataset], shard, read)
            except LookupError:
                continue
            yield {name: found[name] for name in named}

    return percentiles_in(columns(), wanted) if wanted else {}


def percentiles_in(
    columns: Iterable[Mapping[str, pa.ChunkedArray]], wanted: Collection[tuple[Measure, float]]
) -> Percentiles:
    """Values of percentiles over candidates that come part by part.

    Args:
        columns: of each part, by name.
        wanted: what is measured, and which percentiles of it.
    """
    with scratch_folder("percentiles-") as folder:
        measures = sorted({m for m, _ in wanted}, key=lambda m: m.name)
        values = {m: PercentileValues(Path(folder) / f"{n}.f64") for n, m in enumerate(measures)}
        for part in columns:
            for measure, added in values.items():
                added.add(numbers(measured(measure, part)).drop_null().cast(pa.float64()).to_numpy())
        return {(m.name, p): values[m].percentile(p) for m, p in wanted}


def _columns(
    columns: Sequence[str], of_clips: bool, subset: Subset, recipe: Recipe, shard: str, read: Reader
) -> pa.Table:
    """Columns of all clips, or of all tracks, of a shard that will be judged."""
    if not of_clips:
        return shard_facts(subset, recipe, shard, read).table
    for asset in tables_needed(subset, recipe):
        read(asset, shard, ["video_id"])  # a shard that lacks one is not judged
    return clip_facts(columns, recipe, lambda asset: read(asset, shard, columns_of(asset, columns, recipe)))
