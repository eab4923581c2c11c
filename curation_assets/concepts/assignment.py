"""Which concept each clip of a shard is of: that whose centre has the largest cosine with the clip's embedding."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.scores.embedding import asset_table, mean_embeddings, real_clips, vector_column

BLOCK_NUMBERS = 1 << 24
"""Cosines that are held at once."""


def centers_of(concepts: pa.Table) -> np.ndarray:
    """float32 (concepts, d): the centres, in order of the concepts' numbers."""
    column = concepts["center"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(concepts), -1).astype(np.float32)


def nearest_centers(vectors: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int32 (n,) and float32 (n,): for each vector (n, d) the number of the nearest centre (k, d), the smaller one of equals, and the cosine."""
    number, cosine = np.zeros(len(vectors), np.int32), np.zeros(len(vectors), np.float32)
    step = max(1, BLOCK_NUMBERS // max(1, len(centers)))
    for begin in range(0, len(vectors), step):
        block = vectors[begin : begin + step] @ centers.T
        number[begin : begin + step] = block.argmax(axis=1)
        cosine[begin : begin + step] = block.max(axis=1)
    return number, cosine


def clip_concepts_table(clips: pa.Table, embeddings: pa.Table, concepts: pa.Table) -> pa.Table:
    """The `clip_concepts` table of a shard.

    Args:
        clips: `clips` of the shard.
        embeddings: its `frame_embeddings`.
        concepts: the table `concepts`.

    Raises:
        ValueError: there are no concepts, or they are of another model than the embeddings.
    """
    real = real_clips(clips)
    ids, vectors = mean_embeddings(embeddings)
    at = pc.fill_null(pc.index_in(real["clip_id"], value_set=pa.array(ids, pa.string())), -1).to_numpy()
    number, cosine = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.float32)
    if len(ids):
        model = embeddings["model"][0].as_py()
        fitted = concepts["model"].unique().to_pylist()
        if fitted != [model]:
            said = f"are of {fitted[0]}" if fitted else "were fitted when there was no embedding"
            raise ValueError(f"the concepts {said}, and the embeddings of {model}; materialize concepts again")
        number, cosine = nearest_centers(vectors, centers_of(concepts))
    lacks = at < 0
    return asset_table(
        "clip_concepts",
        {
            **{name: real[name] for name in real.column_names},
            "concept": pa.array(_taken(number, at), pa.int32(), mask=lacks),
            "concept_distance": pa.array(np.clip(1 - _taken(cosine, at), 0, 2), pa.float32(), mask=lacks),
            "clip_embedding": vector_column(_taken(vectors, at), lacks.tolist()),
        },
    )


def _taken(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The values at some places, anything at those below 0."""
    if not len(values):
        return np.zeros((len(at), *values.shape[1:]), values.dtype)
    found: np.ndarray = values[np.maximum(at, 0)]
    return found
