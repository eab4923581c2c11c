"""The table `duplicate_clusters`, from what was chosen: which clips have rows, and what is said of each.

What belongs here: columns. What does not: which clip survives (`clusters.py`, `survivors.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup.align import SAME_LENGTH, Altered, Matches
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.survivors import NONE
from curation_assets.schemas import schema

RELATIONS: Final = {Altered.MIRRORED: "flipped", Altered.REVERSED: "reversed", Altered.NEGATIVE: "negative"}
RELATION_NAMES: Final = ("contained", "contains", "copy", "cropped", "exact", *RELATIONS.values())

SEEN_IN: Final = ("hashes", "center hashes", "window hashes and course")
CONFIRMED_BY: Final = (*SEEN_IN, *(f"{seen} and embeddings" for seen in SEEN_IN), "sha256")
"""What a pair is known by."""

NO_MATCH: Final = Matches.of(
    [dict.fromkeys([f.name for f in fields(Matches)], 0) | {"similarity": 1.0, "overlap": 1.0}]
)
"""That of clips which no match drops: kept ones, and exact copies."""


def _named(codes: NDArray[np.int8], names: Sequence[str], unknown: NDArray[np.bool_]) -> pa.Array:
    """A column of a few words."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=unknown), pa.array(names)).cast(pa.string())


def _relations(shown: Matches, is_short: NDArray[np.bool_], same_source: NDArray[np.bool_]) -> NDArray[np.int8]:
    """How each dropped clip is of the kept one, as places in `RELATION_NAMES`.

    Args:
        shown: the match of each clip.
        is_short: whether the dropped clip is the shorter one of it.
        same_source: whether both are the same span of the same file.
    """
    code = {name: number for number, name in enumerate(RELATION_NAMES)}
    found = np.where(is_short, code["contained"], code["contains"]).astype(np.int8)
    found[shown.overlap >= SAME_LENGTH] = code["copy"]
    for altered, name in RELATIONS.items():
        found[shown.altered == altered] = code[name]
    found[shown.cropped] = np.where(is_short[shown.cropped], code["cropped"], code["contains"])
    found[same_source] = code["exact"]
    return found


def cluster_table(
    shards: Sequence[str],
    clips: pa.Table,
    matches: Matches,
    cosines: NDArray[np.float64],
    survivor: Ints,
    by_match: Ints,
) -> tuple[pa.Table, Ints]:
    """The rows of all clips that are dropped, and of those for which they are, and the place in `clips` of each.

    Args:
        shards: keys of the shards, of which `clips` has numbers.
        clips: those that match others, as `decide` has them.
        matches: accepted pairs, by signatures.
        cosines: float64 (matches,), NaN where it is not known.
        survivor: int64 (clips,), which clip is kept for each: itself, if it is kept.
        by_match: int64 (clips,), the match by which it is dropped; `NONE` for exact copies, and those that are kept.
    """
    kept = survivor == np.arange(len(clips))
    clustered = ~kept
    clustered[survivor[~kept]] = True
    rows = np.flatnonzero(clustered)
    of, keep = survivor[rows], kept[rows]

    match = np.where(keep, NONE, by_match[rows])
    exact, signature = clips["exact"].to_numpy(), clips["signature"].to_numpy()[rows]
    same_source = (exact[rows] != 0) & (exact[rows] == exact[of])
    shown = Matches.join([matches, NO_MATCH]).take(match)
    similarity = np.where(same_source, 1.0, shown.similarity).astype(np.float32)
    between = np.append(cosines, np.nan)[match]
    confirmed = np.where(shown.center, 1, 0)
    confirmed[shown.cropped] = 2
    confirmed[~np.isnan(between)] += len(SEEN_IN)
    confirmed[same_source] = 2 * len(SEEN_IN)

    survivors_of, place = np.unique(of, return_inverse=True)
    ids, datasets = (clips[name].combine_chunks() for name in ("clip_id", "dataset"))
    named = (f"{d}/{c}" for d, c in zip(*(v.take(survivors_of).to_pylist() for v in (datasets, ids)), strict=True))
    clusters = pa.array([hashlib.blake2b(n.encode(), digest_size=8).hexdigest() for n in named], pa.string())
    nothing = pa.scalar(None, pa.string())
    columns = {
        "dataset": datasets.take(rows),
        "video_id": clips["video_id"].combine_chunks().take(rows),
        "clip_id": ids.take(rows),
        "cluster_id": clusters.take(place),
        "shard": pa.array(shards, pa.string()).take(clips["shard"].combine_chunks().take(rows)),
        "survivor": ids.take(of),
        "survivor_dataset": datasets.take(of),
        "keep": pa.array(keep),
        "duplicate_of": pc.if_else(pa.array(keep), nothing, ids.take(of)),
        "similarity": pa.array(similarity, mask=keep),
        "relation": _named(_relations(shown, shown.short == signature, same_source), RELATION_NAMES, keep),
        "confirmed_by": _named(confirmed.astype(np.int8), CONFIRMED_BY, keep),
        "embedding_similarity": pa.array(np.clip(between, 0, 1), mask=keep | np.isnan(between)),
    }
    contract = schema("duplicate_clusters")
    table = pa.table([columns[f.name].cast(f.type) for f in contract.arrow], schema=contract.arrow)
    order = pc.sort_indices(table, [(name, "ascending") for name in contract.key])
    return table.take(order), rows[order.to_numpy()]
