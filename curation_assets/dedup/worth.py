"""Which pairs of clips with a near hash are worth an exact comparison, in compiled loops.

What belongs here: the condition, which is necessary for a match whatever the alignment in time. What does not: finding near hashes (`join`), the
comparison itself (`align`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import U64, grown, popcount
from curation_assets.dedup.buckets import GROUP, Side
from curation_resources.compiled import compiled

LATELY_BITS: Final = 20
_AHEAD: Final = 512
_FIRST: Final = 1024


class Worth(NamedTuple):
    """Which clips that show near hashes are worth an exact comparison: necessary for a match, whatever the alignment in time.

    Attributes:
        distance, agree: largest distances of frames that match and that agree.
        matches: frames that must match; fewer if a clip has fewer.
        share: of a clip's comparable frames must agree.
        doubtful: share from which a pair is worth it to be shown as a doubtful one.
        sampled: of those pairs that are only doubtful, the ones whose scrambled numbers are at most this.
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
def _agrees(a: U64, b: U64, comparable: int, worth: Worth, share: float) -> bool:
    """Whether enough of the hashes `a` lie near some of `b`."""
    near: Any = 0
    agreeing: Any = 0
    needed = share * comparable - 1e-9
    for i in range(len(a)):
        if agreeing + len(a) - i < needed:
            return False
        value = a[i]
        least: Any = np.uint64(64)
        for j in range(len(b)):
            least = min(least, popcount(value ^ b[j]))
        if least <= worth.distance:
            near += 1
        if least <= worth.agree:
            agreeing += 1
    if comparable < 0:
        return near > 0
    return near >= min(worth.matches, comparable) and agreeing >= needed


@compiled
def _is_worth(left: Side, a: int, right: Side, b: int, worth: Worth, scrambled: np.uint64) -> bool:
    """Whether two clips are worth an exact comparison."""
    one = left.hashes[left.start[a] : left.start[a + 1]]
    other = right.hashes[right.start[b] : right.start[b + 1]]
    if left.every == 1:
        share = worth.doubtful if scrambled <= worth.sampled else worth.share
        return _agrees(one, other, left.comparable[a], worth, share) or _agrees(
            other, one, right.comparable[b], worth, share
        )
    frames = len(one) // left.every
    for window in range(left.every):
        held = 0
        near = 0
        for frame in range(frames):
            value = one[frame * left.every + window]
            if value == 0:
                continue
            held += 1
            for j in range(len(other)):
                if popcount(value ^ other[j]) <= worth.distance:
                    near += 1
                    break
        if near > 0 and near >= min(worth.matches, held):
            return True
    return False


@compiled
def _touch(met: U64, left: Side, right: Side) -> np.uint64:
    """Reads a little of all clips of some pairs: these reads wait for memory together, those of a comparison one after the other."""
    begins = np.zeros((2, len(met)), np.int64)
    for k in range(len(met)):
        x, y = np.uint32(met[k] >> np.uint64(32)), np.uint32(met[k] & np.uint64(0xFFFFFFFF))
        if x < GROUP and y < GROUP:
            begins[0, k], begins[1, k] = left.start[x], right.start[y]
    touched = np.uint64(0)
    for k in range(len(met)):
        for line in range(0, 16, 8):
            touched ^= left.hashes[min(begins[0, k] + line, len(left.hashes) - 1)]
            touched ^= right.hashes[min(begins[1, k] + line, len(right.hashes) - 1)]
    return touched


@compiled
def worth_comparing(
    met: U64, left: Side, right: Side, ordered: bool, fresh: NDArray[np.bool_], worth: Worth, lately: U64
) -> U64:
    """Pairs of clips, the first in the upper half, that are worth an exact comparison; some may come twice.

    Args:
        met: pairs of clips, or of common hashes (`GROUP`), with near hashes. Of common ones the best clips are paired with all others.
        ordered: whether the clip of the left side comes first; else the one with the smaller number.
        fresh: bool (clips,); only pairs with at least one clip marked here are wanted.
        lately: uint64 (2 ** LATELY_BITS,), which keeps what was looked at.
    """
    pairs = np.empty(_FIRST, np.uint64)
    count = 0
    touched = np.zeros(1, np.uint64)
    for k in range(len(met)):
        if k % _AHEAD == 0:
            touched[0] ^= _touch(met[k : k + _AHEAD], left, right)
        x, y = np.uint32(met[k] >> np.uint64(32)), np.uint32(met[k] & np.uint64(0xFFFFFFFF))
        ours, theirs = 1, 1
        our_first, their_first = np.int64(0), np.int64(0)
        if x >= GROUP:
            our_first = left.group_start[x - GROUP]
            ours = left.group_start[np.int64(x - GROUP) + 1] - our_first
        if y >= GROUP:
            their_first = right.group_start[y - GROUP]
            theirs = right.group_start[np.int64(y - GROUP) + 1] - their_first
        for i in range(ours):
            for j in range(theirs if i < worth.most else min(worth.most, theirs)):
                a = np.int64(left.members[our_first + i]) if x >= GROUP else np.int64(x)
                b = np.int64(right.members[their_first + j]) if y >= GROUP else np.int64(y)
                if a == b or not (fresh[a] or fresh[b]):
                    continue
                if not ordered and a > b:
                    a, b = b, a
                pair = (np.uint64(a) << np.uint64(32)) | np.uint64(b)
                scrambled = pair * np.uint64(0x9E3779B97F4A7C15)
                slot = np.int64(scrambled >> np.uint64(64 - LATELY_BITS))
                if lately[slot] == pair + np.uint64(1):
                    continue
                lately[slot] = pair + np.uint64(1)
                if _is_worth(left, a, right, b, worth, scrambled):
                    if count == len(pairs):
                        pairs = grown(pairs, count, 0)
                    pairs[count] = pair
                    count += 1
    return pairs[:count].copy()
