"""A clip's match with the recipe's prompt sets: zero-shot classification on the stored CLIP embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from curation_assets.scores.embedding import ClipVectors, asset_table, clip_vectors, real_clips

if TYPE_CHECKING:
    from curation_assets.scores.category_scores import PromptSet
    from curation_resources.clip_model import TextVectors


class TextEncoder(Protocol):
    """What turns texts into vectors beside the frames' vectors; `curation_resources.clip_model.ClipModel` is one."""

    identity: str
    logit_scale: float

    def encode_texts(self, texts: Sequence[str]) -> TextVectors: ...


def same_model(stored: ClipVectors, encoder: TextEncoder) -> None:
    """Raises ValueError if frames and texts would be encoded by different models: their cosines would mean nothing."""
    if stored.model is not None and stored.model != encoder.identity:
        raise ValueError(
            f"frame_embeddings were made by {stored.model}, the text encoder is {encoder.identity}; materialize frame_embeddings again"
        )


def category_vectors(prompts: Mapping[str, Sequence[str]], encoder: TextEncoder) -> np.ndarray:
    """One vector of length 1 per category, float32 [categories, d].

    Several prompts of a category are averaged as CLIP's authors do for prompt ensembles (Radford et al. 2021, section 3.1.4): the mean
    of their normalised embeddings, normalised again.
    """
    texts = [text for several in prompts.values() for text in several]
    encoded = encoder.encode_texts(texts).vectors
    ends = np.cumsum([len(several) for several in prompts.values()])
    means = np.stack([part.mean(axis=0) for part in np.split(encoded, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def category_table(
    clips: pa.Table, embeddings: pa.Table, sets: Mapping[str, PromptSet], encoder: TextEncoder
) -> pa.Table:
    """Scores each clip against each category of each set.

    Args:
        clips: rows of `clips`; each that is a clip gets a row per category.
        embeddings: rows of `frame_embeddings`.
        sets: the recipe's `categories`.
        encoder: text tower of the model that made the embeddings.

    Returns:
        The `category_scores` table. `score` and `score_mean` are 100 x cosine, maximum and mean over frames; `probability` is the softmax
        over the set of the mean cosines times the model's logit scale. All null for a clip without any embedding.

    Raises:
        ValueError: the encoder is not the model of the embeddings.
    """
    stored = clip_vectors(embeddings)
    same_model(stored, encoder)
    wanted = real_clips(clips).to_pylist()
    at = {clip_id: i for i, clip_id in enumerate(stored.clip_ids)}
    rows: list[dict[str, Any]] = []
    for set_name, prompt_set in sets.items():
        names = list(prompt_set.prompts)
        best = mean = probability = np.zeros((0, len(names)), np.float32)
        if stored.clip_ids:
            cosines = stored.vectors @ category_vectors(prompt_set.prompts, encoder).T
            best, mean = stored.reduce(cosines, "max"), stored.reduce(cosines, "mean")
            probability = softmax(encoder.logit_scale * mean)
        for clip in wanted:
            i = at.get(clip["clip_id"])
            for k, name in enumerate(names):
                rows.append(
                    {
                        **clip,
                        "category_set": set_name,
                        "category": name,
                        "score": None if i is None else 100 * float(best[i, k]),
                        "score_mean": None if i is None else 100 * float(mean[i, k]),
                        "probability": None if i is None else float(probability[i, k]),
                        "model": encoder.identity,
                    }
                )
    names = [
        "dataset",
        "video_id",
        "clip_id",
        "category_set",
        "category",
        "score",
        "score_mean",
        "probability",
        "model",
    ]
    return asset_table("category_scores", {name: [row[name] for row in rows] for name in names})
