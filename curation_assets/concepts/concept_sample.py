"""What concepts are fitted on: which datasets take part, which of their clips are drawn, and what identifies that.

Clips that come later change nothing about what the concepts are made from: only what the recipes say of them, and the model of the embeddings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from curation_assets.concepts.across_datasets import agreed, asking
from curation_assets.concepts.concepts import CONCEPTS_VERSION, Concepts
from curation_assets.engine.declared import gone
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.recipes import Recipe
from curation_assets.scores.embedding import mean_embeddings
from curation_assets.scores.frame_embeddings import clip_model
from curation_assets.settings import Settings
from curation_resources.progress import told
from curation_resources.provenance import Provenance
from curation_resources.tables import DamagedTable, MissingTable, TableStore

MOST_SHARDS = 1024
"""Shards that are read for a sample; of more, so many are drawn."""


def concepts_params(recipes: Mapping[str, Recipe]) -> Concepts:
    """How concepts are fitted, which spans datasets.

    Raises:
        RecipeError: recipes that ask for concepts say different things.
    """
    return agreed(
        {n: r.concepts for n, r in asking(recipes, "concepts").items()},
        Concepts(),
        "ask for different concepts, but concepts span datasets: write the same section `concepts` in both",
    )


def _model(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Identity of the model of the embeddings.

    Raises:
        RecipeError: recipes that ask for concepts have different models.
    """
    return agreed(
        {n: clip_model(r) for n, r in asking(recipes, "concepts").items()},
        {},
        "ask for concepts of different models, but concepts span datasets: use one `embeddings.model`",
    )


def concepts_provenance(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Provenance:
    """What the concepts would be made from now. Of the embeddings no more counts than whether there are any."""
    some = any(store.headers("frame_embeddings", [k])[k].rows for k in _shards(store, recipes, settings))
    return Provenance(
        CONCEPTS_VERSION,
        concepts_params(recipes).model_dump(),
        {"frame_embeddings": "some" if some else "none"},
        _model(recipes),
    )


def _shards(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Iterator[str]:
    """Shards with embeddings that take part: of recipes that ask, and of datasets that other recipes declare."""
    away = gone(store.storage, recipes, settings) | (recipes.keys() - asking(recipes, "concepts").keys())
    return (k for k in store.partitions("frame_embeddings") if dataset_of(k) not in away)


@dataclass(frozen=True)
class ConceptSample:
    """The clips that concepts are fitted on.

    Attributes:
        vectors: float32 (n, d), an embedding of length 1 for each clip.
        shards, clips: of each; `shards` are indexes into `keys`.
        keys: the shards that were read, in the order in which they were drawn.
        model: of the embeddings; empty without any.
    """

    vectors: np.ndarray
    shards: np.ndarray
    clips: np.ndarray
    keys: list[str]
    model: str


def draw_sample(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> ConceptSample:
    """Draws the clips on which concepts are fitted: of all shards that take part, or of `MOST_SHARDS` of them, each clip with the same probability.

    Shards and clips are drawn by the seed, their keys and their order alone. Memory is twice the sample and the embeddings of a shard.
    """
    params, model = concepts_params(recipes), _model(recipes)
    most = params.clusters * params.sample

    def place(key: str) -> bytes:
        return hashlib.blake2b(key.encode(), digest_size=8, key=f"{params.seed}".encode()).digest()

    drawn_keys = sorted(_shards(store, recipes, settings), key=place)
    keys = list(islice((k for k in drawn_keys if _is_of(store, k, model)), MOST_SHARDS))
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    named = ""
    for number, key in enumerate(told(keys, len(keys), "shards")):
        table = store.read("frame_embeddings", key, columns=["video_id", "clip_id", "time_ms", "embedding", "model"])
        ids, vectors = mean_embeddings(table)
        if not ids:
            continue
        named = table["model"][0].as_py()
        drawn = np.random.default_rng(list(place(key))).random(len(ids))
        held.append((drawn, np.full(len(ids), number), np.array(ids, object), vectors))
        if sum(len(part[0]) for part in held) > 2 * most:
            held = [_smallest(held, most)]
    if not held:
        return ConceptSample(np.zeros((0, 0), np.float32), np.zeros(0, int), np.zeros(0, object), keys, "")
    _, shards, clips, vectors = _smallest(held, most)
    return ConceptSample(vectors, shards, clips, keys, named)


def _is_of(store: TableStore, key: str, model: Mapping[str, str]) -> bool:
    """Whether a shard's embeddings are of the model, and can be read."""
    try:
        header = store.header("frame_embeddings", key)
    except (DamagedTable, MissingTable):
        return False
    return header is not None and dict(header.provenance.weights) == dict(model)


def _smallest(
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Those with the `most` smallest numbers, in their order."""
    drawn, shards, clips, vectors = (np.concatenate(parts) for parts in zip(*held, strict=True))
    chosen = np.argsort(drawn, kind="stable")[:most]
    return drawn[chosen], shards[chosen], clips[chosen], vectors[chosen]
