"""How well a clip's caption matches its frames, and whether captions sit on the right videos at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.scores.category_match import TextEncoder, same_model
from curation_assets.scores.embedding import asset_table, clip_vectors

GAP_CLIPS = 4000
"""Clips that the comparison with shuffled captions looks at, at most: its matrix has the square of that many cosines."""
LEAST_CLIPS = 12
"""Clips below which nothing is said: among fewer even captions that win three comparisons of four are within chance."""


@dataclass(frozen=True)
class ShuffledGap:
    """How captions compare with the captions of other videos on the same frames.

    Attributes:
        clips: clips compared.
        matched: mean of `match_mean` with their own captions.
        shuffled: mean of `match_mean` with captions of other videos.
        auc: probability that a clip's own caption matches better than one of another video; 0.5 is chance.
        sigmas: distance of `auc` from 0.5 in standard deviations of chance.
    """

    clips: int
    matched: float
    shuffled: float
    auc: float
    sigmas: float

    @property
    def apart(self) -> bool:
        """Whether own captions match better than chance explains (three standard deviations)."""
        return self.sigmas > 3


def shuffled_gap(frames: np.ndarray, captions: np.ndarray, videos: np.ndarray, seed: int = 0) -> ShuffledGap | None:
    """Compares each clip's caption with the captions of all other videos.

    Under chance a clip's own caption has a uniform rank among them, whose variance is 1/12, so the mean over n clips has the standard
    deviation (12 n)^-1/2.

    Args:
        frames: mean embedding of each clip's frames, [n, d].
        captions: embedding of each clip's caption, [n, d].
        videos: video of each clip, [n]; captions of the same video are not compared.
        seed: draws `GAP_CLIPS` clips where there are more.

    Returns:
        None with fewer than two videos, where there is nothing to compare with, or fewer than `LEAST_CLIPS` clips.
    """
    if len(frames) > GAP_CLIPS:
        drawn = np.random.default_rng(seed).choice(len(frames), GAP_CLIPS, replace=False)
        frames, captions, videos = frames[drawn], captions[drawn], videos[drawn]
    cosines = frames @ captions.T
    other = videos[:, None] != videos[None, :]
    compared = other.any(axis=1)
    if compared.sum() < LEAST_CLIPS:
        return None
    own = np.diagonal(cosines)[:, None]
    wins = ((cosines < own) + 0.5 * (cosines == own)) * other
    ranks = wins.sum(axis=1)[compared] / other.sum(axis=1)[compared]
    n, auc = int(compared.sum()), float(ranks.mean())
    return ShuffledGap(
        n, 100 * float(own[compared].mean()), 100 * float(cosines[other].mean()), auc, (auc - 0.5) * math.sqrt(12 * n)
    )


def caption_match(
    captions: pa.Table, embeddings: pa.Table, encoder: TextEncoder
) -> tuple[pa.Table, ShuffledGap | None]:
    """Scores each caption against the frames of its clip.

    Args:
        captions: rows of `captions`; each gets a row.
        embeddings: rows of `frame_embeddings`.
        encoder: text tower of the model that made the embeddings.

    Returns:
        The `caption_scores` table (null scores for a clip without caption or without embedding; `truncated` null without caption) and
        the comparison with shuffled captions.

    Raises:
        ValueError: the encoder is not the model of the embeddings.
    """
    stored = clip_vectors(embeddings)
    same_model(stored, encoder)
    captions = captions.select(["dataset", "video_id", "clip_id", "caption"])
    ids = captions["clip_id"].to_pylist()
    with_text = captions.filter(pc.is_valid(captions["caption"]))
    encoded = encoder.encode_texts(with_text["caption"].to_pylist())
    text_at = {clip_id: i for i, clip_id in enumerate(with_text["clip_id"].to_pylist())}
    frames_at = {clip_id: i for i, clip_id in enumerate(stored.clip_ids)}
    pairs = [(frames_at[c], text_at[c]) for c in with_text["clip_id"].to_pylist() if c in frames_at]
    best: dict[str, float] = {}
    mean: dict[str, float] = {}
    ends = stored.starts + stored.counts if stored.clip_ids else stored.starts
    for f, t in pairs:
        cosines = stored.vectors[stored.starts[f] : ends[f]] @ encoded.vectors[t]
        best[stored.clip_ids[f]], mean[stored.clip_ids[f]] = 100 * float(cosines.max()), 100 * float(cosines.mean())
    table = asset_table(
        "caption_scores",
        {
            **{name: captions[name] for name in ("dataset", "video_id", "clip_id")},
            "match": [best.get(c) for c in ids],
            "match_mean": [mean.get(c) for c in ids],
            "truncated": [encoded.truncated[text_at[c]] if c in text_at else None for c in ids],
            "model": [encoder.identity] * len(ids),
        },
    )
    if not pairs:
        return table, None
    frame_rows, text_rows = (list(rows) for rows in zip(*pairs, strict=True))
    videos = with_text["video_id"].to_numpy(zero_copy_only=False)[text_rows]
    return table, shuffled_gap(stored.mean(stored.vectors)[frame_rows], encoded.vectors[text_rows], videos)
