"""What a subset is made from: the columns and tables that its rules and criterion read, and lists of ids.

Apart from `curating.py`, so that the graph can ask without loading what curating needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import fsspec

from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import CLIP_TABLES, tables_of_columns
from curation_assets.rules.language import parse_rule
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import assets_of_recipe, in_order
from curation_resources.s3 import options_of_named_file
from curation_resources.urls import public_url


def read_ids(paths: Iterable[str]) -> set[str]:
    """Ids of exclusion or split lists: one per line, blank lines and lines that begin with # left out.

    Raises:
        FileNotFoundError, ValueError: names the list, which is not there or is no text.
    """
    ids: set[str] = set()
    for path in paths:
        try:
            with fsspec.open(path, "rt", encoding="utf-8-sig", **options_of_named_file(path)) as file:
                ids.update(line.strip() for line in file if line.strip() and not line.startswith("#"))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"list of ids {public_url(path)} does not exist; correct the recipe's path"
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"list of ids {public_url(path)} is not text in UTF-8; save it so, an id a line, or correct the recipe's path"
            ) from error
    return ids


def class_column(subset: Subset) -> str | None:
    """Column that gives the class for the subset's criterion; None where all candidates are of one class or none is asked for.

    Tracks default to their label. Clips default to their cluster of near-duplicates for `cluster_balanced`; for `min_redundancy` they
    are all of one class.
    """
    criterion = subset.select.criterion
    if criterion not in ("class_balanced", "min_redundancy", "cluster_balanced"):
        return None
    if subset.select.class_by:
        return subset.select.class_by
    if subset.of == "tracks":
        return "label"
    return "cluster_id" if criterion == "cluster_balanced" else None


def score_column(subset: Subset) -> str | None:
    """Column that the subset's criterion orders by."""
    select = subset.select
    return (
        "motion"
        if select.criterion == "max_motion"
        else select.order_by
        if select.criterion == "class_balanced"
        else None
    )


def needed_columns(subset: Subset, recipe: Recipe) -> list[str]:
    """Columns that the subset's rules and criterion read of the clip tables.

    `where_tracks` and the criterion of a subset of tracks mean the track's columns where it has them, the clip's otherwise.
    """
    wanted = {c for r in subset.where for c in parse_rule(r).columns}
    others = {c for c in (class_column(subset), score_column(subset)) if c}
    if subset.of == "tracks":
        others |= {c for r in subset.where_tracks for c in parse_rule(r).columns}
        others -= {*SCHEMAS["tracks"].names, "duration_s"}
    return sorted(wanted | others)


def tables_needed(subset: Subset, recipe: Recipe) -> list[str]:
    """Assets that a subset is made from, for one of its datasets, in graph order."""
    columns = needed_columns(subset, recipe)
    tables = set(tables_of_columns(columns, recipe)) | {"clips"}
    if subset.of == "tracks":
        tables.add("tracks")
    elif subset.select.criterion == "min_redundancy":
        tables.add("frame_embeddings")
    return in_order(tables)


def tables_shown(subset: Subset, recipe: Recipe) -> list[str]:
    """Assets whose columns stand in the subset's table: those needed, and those that the recipe asks for anyway."""
    asked = set(assets_of_recipe(recipe)) & {*CLIP_TABLES, "raw_shards", "category_scores"}
    wanted = asked | set(tables_needed(subset, recipe))
    return in_order(wanted)
