"""Sums by which damage of stored bytes is noticed, ten times as fast as a cryptographic hash: they guard against faults, not against forgery.

What belongs here: the sum. What does not: files (`index_files`, `arrays`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from curation_assets.dedup.bits import U64
from curation_resources.compiled import compiled

WORD: Final = 8
"""Bytes that are summed at a time."""

_A, _B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_LEFT, _RIGHT = np.uint64(31), np.uint64(33)


@compiled
def sums(words: U64, per: int) -> U64:
    """A sum of each `per` words. Each step is a bijection of the word and of what came before it, so that no flipped bit goes unnoticed; four sums run side by
    side, since a product waits for the last one."""
    out = np.empty((len(words) + per - 1) // per, np.uint64)
    for k in range(len(out)):
        begin, end = k * per, min((k + 1) * per, len(words))
        a, b, c, d = _A, _B, ~_A, ~_B
        fours = begin + (end - begin) // 4 * 4
        for i in range(begin, fours, 4):
            a += words[i] * _B
            b += words[i + 1] * _B
            c += words[i + 2] * _B
            d += words[i + 3] * _B
            a = ((a << _LEFT) | (a >> _RIGHT)) * _A
            b = ((b << _LEFT) | (b >> _RIGHT)) * _A
            c = ((c << _LEFT) | (c >> _RIGHT)) * _A
            d = ((d << _LEFT) | (d >> _RIGHT)) * _A
        for i in range(fours, end):
            a += words[i] * _B
            a = ((a << _LEFT) | (a >> _RIGHT)) * _A
        total = np.uint64(end - begin) * _A
        for lane in (a, b, c, d):
            total = (total ^ lane) * _B
            total ^= total >> _LEFT
        out[k] = total
    return out


def sum_of(data: Any) -> str:
    """The sum of all bytes of a buffer and of how many they are, as text."""
    given = np.frombuffer(data, np.uint8)
    whole = len(given) // WORD * WORD
    rest = np.zeros(WORD, np.uint8)
    rest[: len(given) - whole] = given[whole:]
    ends = np.array([len(given), rest.view(np.uint64)[0]], np.uint64)
    body = given[:whole].view(np.uint64) if given.ctypes.data % WORD == 0 else given[:whole].copy().view(np.uint64)
    middle = sums(body, max(1, len(body)))
    return f"{int(sums(np.concatenate([middle, ends]), len(middle) + len(ends))[0]):016x}"
