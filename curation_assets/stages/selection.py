"""Selection criteria: which of the candidates that passed the rules are taken.

Every criterion but `min_redundancy` is a total order of which the first so many are taken, so a smaller subset always lies within a
larger one. Chance comes from a keyed hash of the id: a candidate keeps its place when shards are added, and is displaced only by
new ones that come before it. `min_redundancy` is nested by going through the larger sizes first (`Select.nest`).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation_assets.recipes import Select

NO_CLASS, NO_EMBEDDING, NO_SCORE = "no class", "no embedding", "no score to order by"


def hash_order(ids: Iterable[str], seed: int) -> np.ndarray:
    """uint64 (n,): a place for each id that depends on the id and the seed alone."""
    key = f"{seed}".encode()
    digests = b"".join(hashlib.blake2b(i.encode(), digest_size=8, key=key).digest() for i in ids)
    return np.frombuffer(digests, "<u8")


@dataclass(frozen=True)
class Candidates:
    """What the criteria look at, an entry per candidate.

    Attributes:
        ids: clip or track ids, distinct.
        videos: int (n,), equal for candidates of one source video.
        classes: int (n,), index into `labels`, -1 where unknown; None if no class is needed.
        labels: names of the classes.
        scores: float (n,), what `order_by` or `max_motion` order by; nan where unknown; None if not needed.
        vectors: float (n, d), normalised embeddings, a nan row where there is none; None if not needed.
    """

    ids: Sequence[str]
    videos: np.ndarray
    classes: np.ndarray | None = None
    labels: Sequence[str] = ()
    scores: np.ndarray | None = None
    vectors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Choice:
    """What was taken.

    Attributes:
        selected: bool (n,).
        reasons: index of a candidate -> why it could not be considered, where that is not the criterion itself.
        report: counts, quotas and shortfalls.
    """

    selected: np.ndarray
    reasons: dict[int, str]
    report: dict[str, Any] = field(default_factory=dict)


def choose(candidates: Candidates, select: Select) -> Choice:
    """Applies a criterion.

    Raises:
        ValueError: the criterion needs classes, scores or vectors that were not given.
    """
    n = len(candidates)
    order = hash_order(candidates.ids, select.seed)
    reasons: dict[int, str] = {}
    usable = np.ones(n, bool)

    def need(values: np.ndarray | None, name: str) -> np.ndarray:
        if values is None:
            raise ValueError(f"criterion {select.criterion} needs {name}")
        return values

    def exclude(bad: np.ndarray, reason: str) -> None:
        for i in np.flatnonzero(bad & usable):
            reasons[int(i)] = reason
        usable[bad] = False

    if select.criterion in ("class_balanced", "min_redundancy", "cluster_balanced"):
        exclude(need(candidates.classes, "`class_by`") < 0, NO_CLASS)
    if select.criterion == "max_motion" or (select.criterion == "class_balanced" and select.order_by):
        exclude(np.isnan(need(candidates.scores, "a score to order by")), NO_SCORE)
    if select.criterion == "min_redundancy":
        exclude(np.isnan(need(candidates.vectors, "embeddings")[:, :1]).any(axis=1), NO_EMBEDDING)

    index = np.flatnonzero(usable)
    report: dict[str, Any] = {"criterion": select.criterion, "candidates": n, "usable": len(index)}
    if select.criterion == "all":
        taken = index
    elif select.criterion == "random":
        taken = _first(index, (order[index],), select.count)
    elif select.criterion == "max_motion":
        taken = _first(index, (-need(candidates.scores, "motion")[index], order[index]), select.count)
    elif select.criterion == "video_balanced":
        tier = np.maximum(0, _rank_within(candidates.videos[index], order[index]) - select.per_video + 1)
        taken = _first(index, (tier, order[index]), select.count)
        report["beyond_per_video"] = int((tier > 0).sum() - (~np.isin(index[tier > 0], taken)).sum())
    elif select.criterion == "cluster_balanced":
        classes = need(candidates.classes, "`class_by`")[index]
        _, inverse, sizes = np.unique(classes, return_inverse=True, return_counts=True)
        uniform = (order[index].astype(np.float64) + 1) / 2.0**64
        taken = _first(index, (-np.log(np.minimum(uniform, 1 - 1e-16)) * np.sqrt(sizes[inverse]),), select.count)
    elif select.criterion == "class_balanced":
        taken = _class_balanced(candidates, select, index, order, report)
    else:
        taken = _min_redundancy(candidates, select, index, order, report)
    if select.count and select.criterion not in ("all", "min_redundancy"):
        report["shortfall"] = max(0, select.count - len(taken))
    selected = np.zeros(n, bool)
    selected[taken] = True
    report["selected"] = len(taken)
    return Choice(selected, reasons, report)


def _first(index: np.ndarray, keys: tuple[np.ndarray, ...], count: int | None) -> np.ndarray:
    """The first `count` of `index` in the order of `keys`, the most important first."""
    return index[np.lexsort(keys[::-1])[:count]]


def _rank_within(groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each entry, how many of its group come before it."""
    by = np.lexsort((order, groups))
    sorted_groups = groups[by]
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]]) if len(by) else np.empty(0, int)
    first = np.repeat(starts, np.diff(np.r_[starts, len(by)]))
    ranks = np.empty(len(by), int)
    ranks[by] = np.arange(len(by)) - first
    return ranks


def quotas(sizes: Sequence[int], total: int, temperature: float) -> list[int]:
    """How many of each class, with shares proportional to size^temperature and at most the class's size.

    Sainte-Lague's divisor method: unlike largest remainders it never takes a seat away when the total grows, so subsets nest.
    """
    weights = [float(s) ** temperature if s else 0.0 for s in sizes]
    given = [0] * len(sizes)
    heap = [(-w, i) for i, w in enumerate(weights) if w > 0]
    heapq.heapify(heap)
    for _ in range(min(total, sum(sizes))):
        _, i = heapq.heappop(heap)
        given[i] += 1
        if given[i] < sizes[i]:
            heapq.heappush(heap, (-weights[i] / (2 * given[i] + 1), i))
    return given


def _class_balanced(
    c: Candidates, select: Select, index: np.ndarray, order: np.ndarray, report: dict[str, Any]
) -> np.ndarray:
    assert c.classes is not None
    classes = c.classes[index]
    sizes = np.bincount(classes, minlength=len(c.labels))
    if select.per_class is not None:
        wanted = [min(select.per_class, int(s)) for s in sizes]
        report["shortfalls"] = {c.labels[i]: select.per_class - w for i, w in enumerate(wanted) if w < select.per_class}
    else:
        wanted = quotas(
            [int(s) for s in sizes], select.count or 0, 1.0 if select.temperature is None else select.temperature
        )
    keys = (-c.scores[index], order[index]) if select.order_by and c.scores is not None else (order[index],)
    taken = [
        _first(index[classes == k], tuple(key[classes == k] for key in keys), w) for k, w in enumerate(wanted) if w
    ]
    report["per_class"] = {c.labels[i]: w for i, w in enumerate(wanted)}
    return np.concatenate(taken) if taken else index[:0]


def _min_redundancy(
    c: Candidates, select: Select, index: np.ndarray, order: np.ndarray, report: dict[str, Any]
) -> np.ndarray:
    assert c.classes is not None
    assert c.vectors is not None
    sizes = [*sorted(select.nest, reverse=True), select.per_class or 0]
    taken, swaps, epochs = [], {}, {}
    for k, label in enumerate(c.labels):
        members = index[c.classes[index] == k]
        for size in sizes:
            members = _first(members, (order[members],), None)
            members, swaps[label], epochs[label] = swap(
                c.vectors[members].astype(np.float32), members, size, select.epochs, select.max_swaps
            )
        taken.append(members)
    report |= {
        "swaps": swaps,
        "epochs": epochs,
        "per_class": {label: len(m) for label, m in zip(c.labels, taken, strict=True)},
    }
    return np.concatenate(taken) if taken else index[:0]


def swap(
    vectors: np.ndarray, members: np.ndarray, size: int, epochs: int, max_swaps: int
) -> tuple[np.ndarray, int, int]:
    """TrackVerse's minimum-redundancy subset: spread `size` of the candidates apart.

    Begins with the first `size`. A candidate from outside takes the place of one of the two closest members (the one whose own
    second neighbour is closer) when its distance to its nearest member exceeds theirs; the one that leaves may come back.

    Args:
        vectors: float32 (n, d), normalised.
        members: (n,) what to return for each.
        size: how many to keep.
        epochs: passes over the candidates at most; it ends early when a pass accepts none.
        max_swaps: accepted swaps at most.

    Returns:
        (the kept members, accepted swaps, passes made).
    """
    n = len(members)
    if size >= n or size < 2:
        return members[:size], 0, 0
    inside = list(range(size))
    outside = list(range(size, n))
    kept = vectors[inside].copy()
    distance = 1.0 - kept @ kept.T
    np.fill_diagonal(distance, np.inf)
    swaps = made = 0
    for _ in range(epochs):
        accepted = 0
        for place, candidate in enumerate(outside):
            if swaps >= max_swaps:
                break
            to_kept = 1.0 - kept @ vectors[candidate]
            a, b = divmod(int(distance.argmin()), size)
            closest = distance[a, b]
            leaving = _closer_to_the_rest(distance, a, b)
            if to_kept.min() <= closest:
                continue
            without = to_kept.copy()
            without[leaving] = np.inf
            outside[place], inside[leaving] = inside[leaving], candidate
            kept[leaving] = vectors[candidate]
            distance[leaving] = without
            distance[:, leaving] = without
            swaps += 1
            accepted += 1
        made += 1
        if accepted == 0 or swaps >= max_swaps:
            break
    return members[np.array(inside)], swaps, made


def _closer_to_the_rest(distance: np.ndarray, a: int, b: int) -> int:
    """Of two members, the one whose nearest neighbour apart from the other is closer."""
    rest = [np.partition(distance[i], 1)[1] for i in (a, b)]
    return a if rest[0] <= rest[1] else b
