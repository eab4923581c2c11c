"""Which assets a recipe wants: what costs no model always, the rest where the recipe speaks of it."""

from __future__ import annotations

from collections.abc import Iterable

from curation_assets.recipes import Recipe, Subset
from curation_assets.rules.columns import tables_of_rules
from curation_assets.schemas import SCHEMAS

BASE = (
    "video_metadata",
    "raw_shards",
    "clips",
    "frames",
    "motion_scores",
    "quality_scores",
    "clip_fingerprints",
    "duplicate_clusters",
    "dedup",
)
SUBSET_ASSETS = ("curated_clips", "curated_tracks", "clip_dataset", "embedding_dataset")
UNPARTITIONED = ("dataset_index", "duplicate_clusters")

_SECTIONS = {
    "embeddings": ("frame_embeddings",),
    "categories": ("category_scores",),
    "captions": ("captions",),
    "tracks": ("tracks",),
}
"""Assets that a section asks for; any other section <name> asks for <name>_scores, if there is such an asset."""
_NEEDS = {
    "aesthetic_scores": ("frame_embeddings",),
    "category_scores": ("frame_embeddings",),
    "caption_scores": ("captions", "frame_embeddings"),
    "curated_tracks": ("tracks",),
    "embedding_dataset": ("frame_embeddings",),
}


def assets_of_subset(subset: Subset) -> list[str]:
    """Assets of group publish that the subset asks for."""
    wanted = ["curated_clips"] if subset.of == "clips" else ["curated_clips", "curated_tracks"]
    if subset.export.clips is not None:
        wanted.append("clip_dataset")
    if subset.export.embeddings is not None:
        wanted.append("embedding_dataset")
    return wanted


def assets_of_recipe(recipe: Recipe) -> list[str]:
    """Names of the sharded and global assets that the recipe's sections, rules and exports ask for, in graph order."""
    wanted = set(BASE)
    for section in recipe.model_fields_set:
        wanted.update(_SECTIONS.get(section, [f"{section}_scores"] if f"{section}_scores" in SCHEMAS else []))
        if "where" in getattr(getattr(recipe, section), "model_fields_set", ()):
            wanted.update(tables_of_rules(getattr(recipe, section).where, recipe))
    if {"captions", "embeddings"} <= recipe.model_fields_set:
        wanted.add("caption_scores")
    for subset in recipe.subsets.values():
        wanted.update(tables_of_rules(subset.where, recipe))
        for asset in assets_of_subset(subset):
            wanted.update(_NEEDS.get(asset, ()))
    return in_order(_closure(wanted))


def _closure(wanted: Iterable[str]) -> set[str]:
    closed = set(wanted)
    for asset in list(closed):
        for needed in _NEEDS.get(asset, ()):
            closed |= _closure([needed])
    return closed


def in_order(assets: Iterable[str]) -> list[str]:
    """The given assets in graph order."""
    given = set(assets)
    return [a for a in SCHEMAS if a in given]
