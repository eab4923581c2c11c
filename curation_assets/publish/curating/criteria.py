"""Selection criteria: which of the candidates that passed the rules are taken.

Every criterion but `min_redundancy` is a total order of which the first so many are taken, so a smaller subset always lies within a
larger one. Chance comes from a keyed hash of the id: a candidate keeps its place when shards are added, and is displaced only by
new ones that come before it. `min_redundancy` is nested by going through the larger sizes first (`Select.nest`).

The first so many are found by counting (`radix_selection.py`), so memory is what a candidate has in `Candidates` and some bytes more; of more classes than that counts, those of
some classes after the other are sorted (`class_members.py`). `min_redundancy` holds some twenty-four bytes more of each candidate of the largest class. Embeddings may lie in a file
(`numpy.memmap`), of which blocks are read.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation_assets.publish.curating.class_members import by_class
from curation_assets.publish.curating.radix_selection import MOST_GROUPS, PART, Keys, first_of_each, keys_of
from curation_assets.publish.subsets import Select

NO_CLASS, NO_EMBEDDING, NO_SCORE = "no class", "no embedding", "no score to order by"
REASONS = ("", NO_CLASS, NO_EMBEDDING, NO_SCORE)
"""Why a candidate could not be considered, by code; 0 where that is the criterion itself."""
SWAP_ROWS = 2048
"""Candidates whose distances to a subset are computed at once."""


def hash_order(ids: Iterable[str], seed: int, before: str = "") -> np.ndarray:
    """uint64 (n,): a place for each id that depends on the id, what stands before all of them, and the seed alone."""
    begun = hashlib.blake2b(before.encode(), digest_size=8, key=f"{seed}".encode())
    digests = []
    for one in ids:
        digest = begun.copy()  # a third cheaper than to begin anew
        digest.update(one.encode())
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), "<u8")


@dataclass(frozen=True)
class Candidates:
    """What the criteria look at, an entry per candidate.

    Attributes:
        order: uint64 (n,), the places that `hash_order` gives; among equal ones the earlier candidate comes first.
        videos: int (n,), equal for candidates of one source video; None if not needed.
        classes: int (n,), index into `labels`, -1 where unknown; None if no class is needed.
        labels: names of the classes; may be left out for `cluster_balanced`, which does not report them.
        scores: float (n,), what `order_by` or `max_motion` order by; nan where unknown; None if not needed.
        vectors: float (n, d), normalised embeddings, a nan row where there is none; None if not needed.
    """

    order: np.ndarray
    videos: np.ndarray | None = None
    classes: np.ndarray | None = None
    labels: Sequence[str] = ()
    scores: np.ndarray | None = None
    vectors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class CandidateChoice:
    """What was taken.

    Attributes:
        selected: bool (n,).
        reasons: uint8 (n,), index into `REASONS`.
        report: counts, quotas and shortfalls; `excluded` counts the candidates of each reason.
    """

    selected: np.ndarray
    reasons: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)


def choose(candidates: Candidates, select: Select) -> CandidateChoice:
    """Applies a criterion.

    One that an installed package brings (entry points `curation_assets.criteria`) is called with the candidates, the section, its options
    and the indexes of the usable candidates, and gives those that it takes.

    Raises:
        ValueError: the criterion needs videos, classes, scores or vectors that were not given.
    """
    n, order = len(candidates), candidates.order
    reasons = np.zeros(n, np.uint8)

    def need(values: np.ndarray | None, name: str) -> np.ndarray:
        if values is None:
            raise ValueError(f"criterion {select.criterion} needs {name}")
        return values

    def exclude(bad: np.ndarray, reason: str) -> None:
        reasons[bad & (reasons == 0)] = REASONS.index(reason)

    if select.criterion in ("class_balanced", "min_redundancy", "cluster_balanced"):
        exclude(need(candidates.classes, "`class_by`") < 0, NO_CLASS)
    if select.criterion == "max_motion" or (select.criterion == "class_balanced" and select.order_by):
        exclude(np.isnan(need(candidates.scores, "a score to order by")), NO_SCORE)
    if select.criterion == "min_redundancy":
        exclude(np.isnan(need(candidates.vectors, "embeddings")[:, 0]), NO_EMBEDDING)

    usable = reasons == 0
    report: dict[str, Any] = {"criterion": select.criterion, "candidates": n, "usable": int(usable.sum())}
    counts = np.bincount(reasons, minlength=len(REASONS))
    if counts[1:].any():
        report["excluded"] = {REASONS[i]: int(c) for i, c in enumerate(counts) if i and c}
    brought = select.chosen()
    if brought is not None:
        criterion, options = brought
        index = np.flatnonzero(usable)
        taken = np.asarray(criterion(candidates, select, options, index), np.int64)
        if not np.isin(taken, index).all() or len(np.unique(taken)) != len(taken):
            raise ValueError(f"criterion {select.criterion} took candidates that it was not given, or one twice")
        selected = np.zeros(n, bool)
        selected[taken] = True
    elif select.criterion == "all":
        selected = usable
    elif select.criterion == "random":
        selected = _first(usable, (order.__getitem__,), select.count)
    elif select.criterion == "max_motion":
        motion = need(candidates.scores, "motion")
        selected = _first(usable, (lambda part: keys_of(-motion[part]), order.__getitem__), select.count)
    elif select.criterion == "video_balanced":
        selected = _video_balanced(need(candidates.videos, "videos"), order, usable, select, report)
    elif select.criterion == "cluster_balanced":
        classes = need(candidates.classes, "`class_by`")
        sizes = np.bincount(classes[usable])
        report["clusters"] = int(np.count_nonzero(sizes))
        slowness = np.sqrt(sizes)

        def times(part: slice) -> np.ndarray:
            return keys_of(_race(order[part], slowness[np.maximum(classes[part], 0)]))

        selected = _first(usable, (times, order.__getitem__), select.count)
    elif select.criterion == "class_balanced":
        selected = _class_balanced(candidates, select, usable, report)
    else:
        selected = np.zeros(n, bool)
        selected[_min_redundancy(candidates, select, usable, report)] = True
    chosen = int(selected.sum())
    if select.count:
        report["shortfall"] = max(0, select.count - chosen)
    report["selected"] = chosen
    return CandidateChoice(selected, reasons, report)


def _race(order: np.ndarray, slowness: np.ndarray) -> np.ndarray:
    """Arrival times whose first so many are a weighted sample without replacement, weights 1/`slowness`.

    Efraimidis and Spirakis 2006: -log(u) / w, with u in (0, 1] from the hash.
    """
    uniform = (order.astype(np.float64) + 1) / 2.0**64
    times: np.ndarray = -np.log(uniform) * slowness
    return times


def _first(usable: np.ndarray, orders: Sequence[Keys], count: int | None) -> np.ndarray:
    """bool (n,): the first `count` of the usable candidates."""
    if count is None or count >= int(usable.sum()):
        return usable
    return first_of_each(usable, orders, np.array([count]), np.zeros(len(usable), np.int8))


def _video_balanced(
    videos: np.ndarray, order: np.ndarray, usable: np.ndarray, select: Select, report: dict[str, Any]
) -> np.ndarray:
    """Up to `per_video` of each video, and only where these are too few a further one of each."""
    tier = np.zeros(len(order), np.int32)
    for index in _whole_groups(videos, usable):
        tier[index] = np.maximum(0, _rank_within(videos[index], order[index]) - select.per_video + 1)
    selected = _first(usable, (lambda part: keys_of(tier[part]), order.__getitem__), select.count)
    if select.strict:
        selected &= tier == 0
    report["videos"] = len(np.unique(videos[selected]))
    report["beyond_per_video"] = int((tier[selected] > 0).sum())
    return selected


def _whole_groups(groups: np.ndarray, usable: np.ndarray) -> Iterator[np.ndarray]:
    """Indexes of usable entries part by part, all of a group in one part: of everything where groups do not come in order."""
    start, count = 0, len(groups)
    ordered = all(
        (groups[s + 1 : s + 1 + PART] >= groups[s : s + PART][: count - 1 - s]).all() for s in range(0, count, PART)
    )
    while start < count:
        end = min(start + PART, count) if ordered else count
        if end < count:
            end = int(np.searchsorted(groups, groups[end - 1], side="right"))
        yield start + np.flatnonzero(usable[start:end])
        start = end


def _rank_within(groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each entry, how many of its group come before it."""
    by = np.lexsort((order, groups))
    sorted_groups = groups[by]
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]]) if len(by) else np.empty(0, int)
    first = np.repeat(starts, np.diff(np.r_[starts, len(by)]))
    ranks = np.empty(len(by), int)
    ranks[by] = np.arange(len(by)) - first
    return ranks


def quotas(sizes: Sequence[int], total: int, temperature: float, most: int | None = None) -> list[int]:
    """How many of each class, with shares proportional to size^temperature, at most the class's size, and at most `most`.

    Sainte-Lague's divisor method: unlike largest remainders it never takes a seat away when the total grows, so subsets nest.
    """
    weights = [float(s) ** temperature if s else 0.0 for s in sizes]
    limits = [s if most is None else min(s, most) for s in sizes]
    given = [0] * len(sizes)
    heap = [(-w, i) for i, w in enumerate(weights) if w > 0]
    heapq.heapify(heap)
    for _ in range(min(total, sum(limits))):
        _, i = heapq.heappop(heap)
        given[i] += 1
        if given[i] < limits[i]:
            heapq.heappush(heap, (-weights[i] / (2 * given[i] + 1), i))
    return given


def _shortfalls(c: Candidates, wanted: int, sizes: Iterable[int]) -> dict[str, int]:
    return {c.labels[i]: wanted - int(s) for i, s in enumerate(sizes) if s < wanted}


def _class_balanced(c: Candidates, select: Select, usable: np.ndarray, report: dict[str, Any]) -> np.ndarray:
    """bool (n,): of each class the first, by score where one is given, as many as its quota says."""
    assert c.classes is not None
    classes, order = c.classes, c.order
    scores = c.scores if select.order_by else None
    sizes = np.bincount(classes[usable], minlength=len(c.labels)).tolist()
    if select.count is not None:
        temperature = 1.0 if select.temperature is None else select.temperature
        wanted = quotas(sizes, select.count, temperature, select.per_class)
    else:
        most = select.per_class or 0
        wanted = [min(most, s) for s in sizes]
        report["shortfalls"] = _shortfalls(c, most, sizes)
    report["per_class"] = dict(zip(c.labels, wanted, strict=True))
    if len(c.labels) <= MOST_GROUPS:
        orders: list[Keys] = [] if scores is None else [lambda part: keys_of(-scores[part])]
        return first_of_each(usable, [*orders, order.__getitem__], np.array(wanted, np.int64), classes)
    keys = [order.__getitem__] if scores is None else [lambda index: -scores[index], order.__getitem__]
    selected = np.zeros(len(order), bool)
    for number, members in by_class(classes, usable, sizes, keys):
        selected[members[: wanted[number]]] = True
    return selected


def _min_redundancy(c: Candidates, select: Select, usable: np.ndarray, report: dict[str, Any]) -> np.ndarray:
    """Size after size, the largest first; each subset is sought within the one before it."""
    assert c.classes is not None
    assert c.vectors is not None
    if select.per_class is None:
        raise ValueError("criterion min_redundancy needs `per_class`")
    sizes = [*sorted((n for n in set(select.nest) if n > select.per_class), reverse=True), select.per_class]
    taken: dict[str, np.ndarray] = {}
    swaps: dict[str, list[int]] = {}
    epochs: dict[str, list[int]] = {}
    of_class = np.bincount(c.classes[usable], minlength=len(c.labels)).tolist()
    for number, members in by_class(c.classes, usable, of_class, [c.order.__getitem__]):
        label = c.labels[number]
        swaps[label], epochs[label] = [], []
        for size in sizes:
            if size != sizes[0]:  # the first are in order
                members = members[np.argsort(c.order[members], kind="stable")]
            members, swapped, passes = swap(c.vectors, members, size, select.epochs, select.max_swaps)
            swaps[label].append(swapped)
            epochs[label].append(passes)
        taken[label] = members
    report |= {
        "sizes": sizes,
        "swaps": swaps,
        "epochs": epochs,
        "per_class": {label: len(m) for label, m in taken.items()},
        "shortfalls": _shortfalls(c, select.per_class, map(len, taken.values())),
    }
    return np.concatenate(list(taken.values())) if taken else np.empty(0, np.int32)


class _Spread:
    """A subset with the distances among its members."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.distance = 1.0 - vectors @ vectors.T
        np.fill_diagonal(self.distance, np.inf)
        self._find()

    def _find(self) -> None:
        """The closest pair, and which of the two leaves next: the one that is nearer to the rest."""
        a, b = divmod(int(self.distance.argmin()), len(self.distance))
        self.closest = self.distance[a, b]
        rest = [np.partition(self.distance[i], 1)[1] for i in (a, b)]
        self.leaving = a if rest[0] <= rest[1] else b

    def replace(self, vector: np.ndarray) -> None:
        """Puts `vector` in the place of the one that leaves."""
        self.vectors[self.leaving] = vector
        distances = 1.0 - self.vectors @ vector
        distances[self.leaving] = np.inf
        self.distance[self.leaving] = self.distance[:, self.leaving] = distances
        self._find()


def swap(
    vectors: np.ndarray, members: np.ndarray, size: int, epochs: int, max_swaps: int
) -> tuple[np.ndarray, int, int]:
    """TrackVerse's minimum-redundancy subset: spread `size` of the candidates apart.

    Begins with the first `size`. A candidate from outside takes the place of one of the two closest members (the one whose own
    second neighbour is closer) when its distance to its nearest member exceeds theirs; the one that leaves may come back. So the
    least distance between two members never falls.

    Args:
        vectors: float (any, d), normalised; may be a memmap, of which `SWAP_ROWS` rows are read at a time.
        members: (n,) the candidates, as rows of `vectors`.
        size: how many to keep.
        epochs: passes over the candidates at most; it ends early when a pass accepts none.
        max_swaps: accepted swaps at most.

    Returns:
        (the kept members, accepted swaps, passes made).
    """
    n = len(members)
    if size >= n or size < 2 or max_swaps == 0:
        return members[:size], 0, 0
    inside, outside = members[:size].copy(), members[size:].copy()
    spread = _Spread(vectors[inside].astype(np.float32))
    swaps = made = 0
    while made < epochs:
        before = swaps
        for start in range(0, len(outside), SWAP_ROWS):
            swaps += _swap_block(vectors, spread, inside, outside[start : start + SWAP_ROWS], max_swaps - swaps)
        made += 1
        if swaps in (before, max_swaps):
            break
    return inside, swaps, made


def _swap_block(vectors: np.ndarray, spread: _Spread, inside: np.ndarray, outside: np.ndarray, most: int) -> int:
    """Offers each of `outside` to the subset in turn; changes both in place and returns how many were accepted."""
    block = vectors[outside].astype(np.float32)
    distances = 1.0 - block @ spread.vectors.T
    at = swaps = 0
    while swaps < most:
        better = distances[at:].min(axis=1) > spread.closest
        if not better.any():
            break
        at += int(better.argmax())
        place = spread.leaving
        outside[at], inside[place] = inside[place], outside[at]
        spread.replace(block[at])
        distances[:, place] = 1.0 - block @ spread.vectors[place]
        swaps += 1
        at += 1
    return swaps
