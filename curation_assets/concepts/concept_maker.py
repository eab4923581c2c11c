"""How `concepts` is brought up to date: fitted where there is none that the recipes ask for, and pictured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.checks import accounting
from curation_assets.concepts.across_datasets import asking
from curation_assets.concepts.assignment import nearest_centers
from curation_assets.concepts.concept_sample import (
    ConceptSample,
    concepts_params,
    concepts_provenance,
    draw_sample,
)
from curation_assets.concepts.spherical_kmeans import first_centers, fit_centers
from curation_assets.contracts.component import Made
from curation_assets.engine.gathered_inputs import see_to_inputs
from curation_assets.engine.maker import Key, Maker, Refused, settle
from curation_assets.engine.making import Outcome
from curation_assets.engine.meter import Meter
from curation_assets.engine.run import Run
from curation_assets.engine.sheets import drop_old_sheet, put_sheet
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.showing.clips import sheet_of_rows
from curation_assets.showing.sheets import Sheet
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, DamagedTable, MissingTable, TableStore
from curation_resources.words import plural

EACH, ROWS, MOST_PICTURED = 6, 16, 256
"""Pictures of a concept, concepts on a sheet, and concepts that are pictured, the largest."""


class ConceptMaker(Maker):
    """Draws a sample of the clips of all shards, fits the concepts on it and commits them."""

    name, assets = "concepts", ("concepts",)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        store = run.store
        if not asking(run.recipes, "concepts"):
            raise Refused(
                "no recipe asks for concepts; write `concepts: {}` in the recipes of the datasets that they are for"
            )
        provenance = concepts_provenance(store, run.recipes, run.settings)
        lacking = see_to_inputs(run, self.name)

        def make(base: Base) -> tuple[TableHeader, Made]:
            params = concepts_params(run.recipes)
            with Meter() as meter:
                sample = draw_sample(store, run.recipes, run.settings)
                first = first_centers(sample.vectors, params.clusters, params.seed)
                table, nearest = concepts_table(sample, fit_centers(sample.vectors, first, params.iterations))
            shown = pictures(store, sample, nearest)
            stats = {
                "sampled": len(sample.clips),
                "shards_sampled": len(set(sample.shards.tolist())),
                "rows_in": len(sample.clips),
                **lacking,
                **meter.spent(run.settings),
                **put_sheet(store, self.name, None, shown),
            }
            header = store.commit(self.name, None, table, provenance, stats, base)
            drop_old_sheet(store, header, base)
            return header, Made(table, stats, shown)

        header, made = settle(store, self.name, None, provenance, make, lambda _: not run.force)
        yield Outcome(self.name, header, made, list(accounting(None, self.name, store.read(self.name), store.read)))

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        return {self.name: {"frame_embeddings": False}}

    def said(self, outcome: Outcome) -> str:
        sampled = outcome.header.stats.get("sampled", 0)
        return f"{plural(outcome.header.rows, 'concept')} of {plural(sampled, 'clip')}, {'fitted' if outcome.made else 'unchanged'}"


def concepts_table(sample: ConceptSample, centers: np.ndarray) -> tuple[pa.Table, list[np.ndarray]]:
    """The `concepts` table, the largest first, and of each concept the clips of the sample that are of it, nearest first, as indexes."""
    number, cosine = nearest_centers(sample.vectors, centers) if len(centers) else (np.zeros(0, int), np.zeros(0))
    sizes = np.bincount(number, minlength=len(centers))
    order = np.argsort(-sizes, kind="stable")
    nearest = [np.flatnonzero(number == c) for c in order.tolist()]
    nearest = [own[np.argsort(-cosine[own], kind="stable")] for own in nearest]
    distances = [float(np.clip(1 - cosine[own], 0, 2).mean()) if len(own) else None for own in nearest]
    contract = schema("concepts")
    columns: dict[str, Any] = {
        "concept": range(len(centers)),
        "sampled": sizes[order],
        "distance": distances,
        "center": [centers[c] for c in order.tolist()],
        "model": [sample.model] * len(centers),
    }
    return pa.table([pa.array(columns[f.name], f.type) for f in contract.arrow], schema=contract.arrow), nearest


def pictures(store: TableStore, sample: ConceptSample, nearest: Sequence[np.ndarray]) -> dict[str, Sheet]:
    """Contact sheets with a row for each concept: the clips nearest to its centre, of one video no more than needed."""
    chosen = [_examples(sample.clips, own) for own in nearest[:MOST_PICTURED]]
    rows = np.unique(np.concatenate(chosen)) if chosen else np.zeros(0, int)
    found: list[pa.Table] = []
    for shard in np.unique(sample.shards[rows]).tolist():
        clips = pa.array(sample.clips[rows[sample.shards[rows] == shard]].tolist(), pa.string())
        try:
            frames = store.read("frames", sample.keys[shard], columns=["clip_id", "position", "tar", "offset", "size"])
        except (MissingTable, DamagedTable):
            continue
        found.append(frames.filter(pc.is_in(frames["clip_id"], value_set=clips)))
    if not found:
        return {}
    frames, sheets = pa.concat_tables(found), {}
    for begin in range(0, len(chosen), ROWS):
        part = range(begin, min(begin + ROWS, len(chosen)))
        labels = [[(sample.clips[i], f"{c} {sample.clips[i]}") for i in chosen[c].tolist()] for c in part]
        sheet = sheet_of_rows(store.storage, frames, labels, EACH)
        if sheet is not None:
            sheets[f"concepts {part[0]} to {part[-1]}"] = sheet
    return sheets


def _examples(clips: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Of the clips of a concept, nearest first, the first of each video, then others until there are enough."""
    videos = [str(clips[i]).rsplit("_", 2)[0] for i in own[: 20 * EACH].tolist()]
    first = [n for n, v in enumerate(videos) if v not in videos[:n]]
    others = [n for n in range(len(videos)) if n not in set(first)]
    return own[sorted([*first, *others][:EACH])]
