"""Which pairs of clips with a near hash are worth an exact comparison, in compiled loops.

What belongs here: the condition, which is necessary for a match whatever the alignment in time. What does not: finding near hashes (`join`), the
comparison itself (`align`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import U64, grown, popcount
from curation_assets.dedup.buckets import GROUP, Side
from curation_assets.dedup.lanes import LANES, near_any
from curation_resources.compiled import compiled

LATELY_BITS: Final = 20
_AHEAD: Final = 512
_FIRST: Final = 1024
_SCRAMBLE: Final = np.uint64(0x9E3779B97F4A7C15)


class Worth(NamedTuple):
    """Which clips that show near hashes are worth an exact comparison: necessary for a match, whatever the alignment in time.

    Attributes:
        distance, agree: largest distances of frames that match and that agree.
        matches: frames that must match; fewer if a clip has fewer.
        share: of a clip's comparable frames must agree.
        doubtful: share from which a pair is worth it to be shown as a doubtful one.
        sampled: of those pairs that are only doubtful, the ones whose scrambled signatures are at most this.
        most: of the clips with a common hash so many, the best, are paired with all others that show it or one near it.
    """

    distance: np.uint64
    agree: np.uint64
    matches: int
    share: float
    doubtful: float
    sampled: np.uint64
    most: int


@compiled
def _near_one_of_many(value: np.uint64, hashes: U64, begin: int, end: int, distance: np.uint64) -> bool:
    """Whether a hash lies within a distance of one of some others, however many."""
    near = False
    for j in range(begin, end):
        near |= popcount(value ^ hashes[j]) <= distance
    return near


@compiled
def _agrees(
    ours: U64, mine: tuple[int, int], theirs: U64, those: tuple[int, int], comparable: int, worth: Worth, share: float
) -> bool:
    """Whether enough of the hashes in one range lie near some of those in another. It is given arrays, since to count references to those of a `Side` takes
    longer than to compare two clips."""
    near: Any = 0
    agreeing: Any = 0
    needed = share * comparable - 1e-9
    begin, end = those
    few = end - begin <= LANES and begin + LANES <= len(theirs)
    held = (np.uint64(1) << np.uint64(min(LANES, end - begin))) - np.uint64(1)
    for i in range(mine[0], mine[1]):
        if agreeing + mine[1] - i < needed:
            return False
        value = ours[i]
        if few:
            if near_any(theirs, np.uint64(begin), (value,), worth.agree) & held:
                agreeing += 1
                if near_any(theirs, np.uint64(begin), (value,), worth.distance) & held:
                    near += 1
        elif _near_one_of_many(value, theirs, begin, end, worth.agree):
            agreeing += 1
            near += _near_one_of_many(value, theirs, begin, end, worth.distance)
    if comparable < 0:
        return near > 0
    return near >= min(worth.matches, comparable) and agreeing >= needed


@compiled
def _window_matches(left: Side, a: int, right: Side, b: int, worth: Worth) -> bool:
    """Whether enough hashes of one window of a clip lie near some of another clip."""
    begin, end = right.start[b], right.start[b + 1]
    for window in range(left.every):
        held = 0
        near: Any = 0
        for i in range(left.start[a] + window, left.start[a + 1], left.every):
            value = left.hashes[i]
            if value != 0:
                held += 1
                near += _near_one_of_many(value, right.hashes, begin, end, worth.distance)
        if near > 0 and near >= min(worth.matches, held):
            return True
    return False


@compiled
def _touch(met: U64, left: Side, right: Side, fresh: NDArray[np.bool_], lately: U64) -> np.uint64:
    """Reads a little of what is known of all clips of some pairs: these reads wait for memory together, those of a comparison one after the other."""
    begins = np.zeros((2, len(met)), np.int64)
    touched = np.uint64(0)
    for k in range(len(met)):
        x, y = np.uint32(met[k] >> np.uint64(32)), np.uint32(met[k] & np.uint64(0xFFFFFFFF))
        if x < GROUP and y < GROUP:
            a, b = x - left.base, y - right.base
            begins[0, k], begins[1, k] = left.start[a], right.start[b]
            touched ^= np.uint64(left.comparable[a] ^ right.comparable[b])
            touched ^= np.uint64(fresh[x] ^ fresh[y]) ^ lately[_slot(met[k])]
    if not len(left.hashes) or not len(right.hashes):  # clips without any may have common hashes that others show
        return touched
    for k in range(len(met)):
        for line in range(0, 16, 8):
            touched ^= left.hashes[min(begins[0, k] + line, len(left.hashes) - 1)]
            touched ^= right.hashes[min(begins[1, k] + line, len(right.hashes) - 1)]
    return touched


@numba.njit(nogil=True, inline="always")
def _slot(pair: np.uint64) -> Any:
    """Where a pair that was looked at is kept."""
    return np.int64((pair * _SCRAMBLE) >> np.uint64(64 - LATELY_BITS))


@compiled
def worth_comparing(
    met: U64, left: Side, right: Side, ordered: bool, fresh: NDArray[np.bool_], worth: Worth, lately: U64
) -> U64:
    """Pairs of clips, the first in the upper half, that are worth an exact comparison; some may come twice.

    Args:
        met: pairs of clips, or of common hashes (`GROUP`), with near hashes. Of common ones the best clips are paired with all others.
        ordered: whether the clip of the left side comes first; else the one with the smaller number.
        fresh: bool (all clips,); only pairs with at least one clip marked here are wanted.
        lately: uint64 (2 ** LATELY_BITS,), which keeps what was looked at.
    """
    pairs = np.empty(_FIRST, np.uint64)
    count = 0
    touched = np.zeros(1, np.uint64)
    frames = left.every == 1
    ours, start, able = left.hashes, left.start, left.comparable
    theirs, other_start, other_able = right.hashes, right.start, right.comparable
    for k in range(len(met)):
        if k % _AHEAD == 0:
            touched[0] ^= _touch(met[k : k + _AHEAD], left, right, fresh, lately)
        x, y = np.uint32(met[k] >> np.uint64(32)), np.uint32(met[k] & np.uint64(0xFFFFFFFF))
        many, more = 1, 1
        our_first, their_first = np.int64(0), np.int64(0)
        if x >= GROUP:
            our_first = left.group_start[x - GROUP]
            many = left.group_start[np.int64(x - GROUP) + 1] - our_first
        if y >= GROUP:
            their_first = right.group_start[y - GROUP]
            more = right.group_start[np.int64(y - GROUP) + 1] - their_first
        for i in range(many):
            rank = left.ranks[our_first + i] if x >= GROUP else 0
            for j in range(more):
                if rank >= worth.most and y >= GROUP and right.ranks[their_first + j] >= worth.most:
                    break
                a = np.int64(left.members[our_first + i]) if x >= GROUP else np.int64(x)
                b = np.int64(right.members[their_first + j]) if y >= GROUP else np.int64(y)
                if a == b or not (fresh[a] or fresh[b]):
                    continue
                if not ordered and a > b:
                    a, b = b, a
                pair = (np.uint64(a) << np.uint64(32)) | np.uint64(b)
                slot = _slot(pair)
                if lately[slot] == pair + np.uint64(1):
                    continue
                lately[slot] = pair + np.uint64(1)
                a, b = a - left.base, b - right.base
                if frames:
                    share = worth.doubtful if (left.tie[a] ^ right.tie[b]) * _SCRAMBLE <= worth.sampled else worth.share
                    mine, those = (start[a], start[a + 1]), (other_start[b], other_start[b + 1])
                    wanted = _agrees(ours, mine, theirs, those, able[a], worth, share) or _agrees(
                        theirs, those, ours, mine, other_able[b], worth, share
                    )
                else:
                    wanted = _window_matches(left, a, right, b, worth)
                if wanted:
                    if count == len(pairs):
                        pairs = grown(pairs, count, 0)
                    pairs[count] = pair
                    count += 1
    return pairs[:count].copy()
