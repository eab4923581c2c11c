"""What a subset is made from: the columns and tables that its rules and criterion read, and lists of ids.

Apart from `curate.py`, so that the graph can ask without loading what curating needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import fsspec

from curation_assets.recipes import Recipe, Subset
from curation_assets.rule_columns import CLIP_TABLES, tables_of_rules
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import assets_of_recipe
from curation_assets.stages.rules import parse_rule


def read_ids(paths: Iterable[str]) -> set[str]:
    """Ids of exclusion or split lists: one per line, blank lines and lines that begin with # left out.

    Raises:
        FileNotFoundError: names the list.
    """
    ids: set[str] = set()
    for path in paths:
        try:
            with fsspec.open(path, "rt", encoding="utf-8-sig") as file:
                ids.update(line.strip() for line in file if line.strip() and not line.startswith("#"))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"list of ids {path} does not exist; correct the recipe's path") from error
    return ids


def needed_columns(subset: Subset, recipe: Recipe) -> list[str]:
    """Columns that the subset's rules and criterion read of the clip tables, `categories` aside."""
    rules = [parse_rule(r) for r in subset.where]
    wanted = {c for r in rules for c in r.columns}
    if subset.of == "clips":
        if subset.select.order_by:
            wanted.add(subset.select.order_by)
        if subset.select.class_by:
            wanted.add(subset.select.class_by)
        if subset.select.criterion == "max_motion":
            wanted.add("motion")
    return sorted(wanted)


def tables_needed(subset: Subset, recipe: Recipe) -> list[str]:
    """Assets that a subset is made from, for one of its datasets."""
    columns = needed_columns(subset, recipe)
    tables = set(tables_of_rules([_mention(c) for c in columns], recipe)) | {"clips"}
    if subset.of == "tracks":
        tables.add("tracks")
    elif subset.select.criterion == "min_redundancy":
        tables.add("frame_embeddings")
    return [a for a in (*CLIP_TABLES, "raw_shards", "category_scores", "frame_embeddings", "tracks") if a in tables]


def tables_shown(subset: Subset, recipe: Recipe) -> list[str]:
    """Assets whose columns stand in the subset's table: those needed, and those that the recipe asks for anyway."""
    asked = set(assets_of_recipe(recipe)) & {*CLIP_TABLES, "raw_shards", "category_scores"}
    wanted = asked | set(tables_needed(subset, recipe))
    return [a for a in SCHEMAS if a in wanted]


def _mention(column: str) -> str:
    return f"{column} is not null"
