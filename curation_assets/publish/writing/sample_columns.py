"""The columns that an export says of each clip beside what every record has: scores in lists, and what `columns` names.

What belongs here: which columns those are and where they come from. What does not: how lists and records are written (`samples.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from curation_assets.ingest.source_words import extras_of
from curation_assets.publish.clip_dataset import ALL, ClipExport
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.curating.subset_tables import tables_shown
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import SPAN_COLUMNS, clip_facts
from curation_assets.rules.language import SOURCE
from curation_assets.schemas import schema
from curation_resources.tables import TableStore

MAPS = {"categories": "", "category_matches": ".match"}
"""Columns of curated tables that hold a number for each of several names -> what rules have behind those names."""
NO_SCORES = frozenset({"shard", "selected", "drop_reason", "caption", "embedding", "shots"})


@dataclass
class SampleColumns:
    """Which columns the samples of an export have.

    Attributes:
        params: the export's.
        recipes: dataset -> recipe, of those that it draws from.
        types: name -> type of what lists have beside the usual, complete when all shards were read.
    """

    params: ClipExport
    recipes: Mapping[str, Recipe]
    types: dict[str, pa.DataType] = field(default_factory=dict)

    @classmethod
    def of(cls, selection: Selection, recipes: Mapping[str, Recipe], listed: Sequence[str]) -> SampleColumns:
        """Those of a subset.

        Args:
            listed: columns that lists have anyway.
        """
        params = selection.subset.export.clips
        assert params is not None
        own = {d: recipes[d] for d in sorted(set(selection.shards.values()))}
        found = cls(params, own)
        if params.columns is None or params.columns == ALL:
            found.types |= {n: kind for n, kind in _scores(selection, own) if n not in listed}
        return found

    def read(self, store: TableStore, shard: str, dataset: str) -> dict[str, dict[str, Any]]:
        """clip_id -> name -> value of what `columns` names, for every clip of a shard; nulls are left out. Scores are not read again: each record has them.

        Raises:
            MissingTable: a column's table does not exist.
        """
        chosen, recipe = self.params.columns, self.recipes[dataset]
        if not chosen:
            return {}
        if chosen == ALL:
            found = source_columns(store, shard)
            self.types |= {name: pa.string() for said in found.values() for name in said if name not in self.types}
            return found
        facts = clip_facts(chosen, recipe, partial(_table, store, shard))
        self.types |= {f.name: f.type for f in facts.schema if f.name in chosen}
        rows = facts.select(["clip_id", *(n for n in chosen if n != "clip_id")]).to_pylist()
        return {row["clip_id"]: {n: row[n] for n in chosen if row[n] is not None} for row in rows}


def source_columns(store: TableStore, shard: str) -> dict[str, dict[str, Any]]:
    """clip_id -> what the source says of it in columns that have no meaning of their own here, as rules name them."""
    if store.header("video_metadata", shard) is None:
        return {}
    clips = store.read("clips", shard, ["video_id", "clip_id", *SPAN_COLUMNS]).to_pylist()
    videos = {r["video_id"]: r for r in store.read("video_metadata", shard, ["video_id", "spans", "extra"]).to_pylist()}
    return {
        c["clip_id"]: {
            f"{SOURCE}{n}": v for n, v in extras_of(c, videos.get(c["video_id"], {})).items() if v is not None
        }
        for c in clips
    }


def flat(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores as columns: those by name stand under the names that rules have for them."""
    found: dict[str, Any] = {}
    for name, value in scores.items():
        if name in MAPS:
            found |= {f"{key}{MAPS[name]}": number for key, number in dict(value).items()}
        else:
            found[name] = value
    return found


def cell(value: Any, kind: pa.DataType) -> Any:
    """A value as lists have it: what is no text, number or truth is JSON."""
    if value is None or isinstance(value, str) or not (pa.types.is_nested(kind) or pa.types.is_string(kind)):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def cell_type(kind: pa.DataType) -> pa.DataType:
    """The type of such a cell."""
    return pa.string() if pa.types.is_nested(kind) else kind


def _table(store: TableStore, shard: str, asset: str) -> pa.Table:
    return store.read(asset, shard)


def _scores(selection: Selection, recipes: Mapping[str, Recipe]) -> Iterable[tuple[str, pa.DataType]]:
    """Name and type of each score of the curated table, of the tables that there are."""
    shown = {a for recipe in recipes.values() for a in tables_shown(selection.subset, recipe)}
    for column in schema(selection.asset).columns:
        made_of = column.taken.split(".")[0] if column.taken else None
        if column.name in NO_SCORES or (made_of is not None and made_of not in shown):
            continue
        if column.name not in MAPS:
            yield column.name, column.type
            continue
        for recipe in recipes.values():
            for name, category_set in recipe.categories.items():
                yield from ((f"{name}.{c}{MAPS[column.name]}", column.type.item_type) for c in category_set.prompts)
