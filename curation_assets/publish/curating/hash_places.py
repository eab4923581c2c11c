"""The places that many ids get by their hash, compiled: BLAKE2b of short texts, `LANES` at a time, each operation on all of them.

What belongs here: computing what `criteria.hash_order` says, of an Arrow array. What does not: what the places are for. The function is that of RFC 7693,
https://www.rfc-editor.org/rfc/rfc7693, keyed, with digests of eight bytes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from curation_resources.compiled import compiled

LANES: Final = 64
"""Texts that are hashed side by side."""
BLOCK: Final = 128
"""Bytes of a block of BLAKE2b: what stands before a text and the text itself must fit into one here."""
DIGEST: Final = 8
_IV: Final = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_ORDER: Final = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)
"""Which words of a block a round takes, in turn."""
_MIXED: Final = np.array(
    [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ],
    np.int64,
)
"""Which words of the state are mixed with each other, in turn."""


def _mix(v: Any, m: Any) -> None:
    """The twelve rounds, on a state and a block of each lane, uint64 (16, lanes) each."""
    lanes = v.shape[1]
    for turn in range(12):
        for step in range(8):
            a, b, c, d = v[_MIXED[step, 0]], v[_MIXED[step, 1]], v[_MIXED[step, 2]], v[_MIXED[step, 3]]
            x, y = m[_ORDER[turn, 2 * step]], m[_ORDER[turn, 2 * step + 1]]
            for i in range(lanes):
                p = a[i] + b[i] + x[i]
                s = d[i] ^ p
                s = (s >> np.uint64(32)) | (s << np.uint64(32))
                r = c[i] + s
                q = b[i] ^ r
                q = (q >> np.uint64(24)) | (q << np.uint64(40))
                p = p + q + y[i]
                s = s ^ p
                s = (s >> np.uint64(16)) | (s << np.uint64(48))
                r = r + s
                q = q ^ r
                a[i], c[i], d[i] = p, r, s
                b[i] = (q >> np.uint64(63)) | (q << np.uint64(1))


_mix_lanes = compiled(_mix)


@compiled
def _finished(begun: Any, before: Any, data: Any, ends: Any, out: Any) -> None:
    """The digest of each text, uint64 (n,), into `out`. `data` has the bytes of the texts, which end at `ends`, the first of which says where the first begins."""
    v, m = np.zeros((16, LANES), np.uint64), np.zeros((16, LANES), np.uint64)
    block = np.zeros(BLOCK, np.uint8)
    block[: len(before)] = before
    words = block.view(np.uint64)
    for first in range(0, len(out), LANES):
        lanes = min(LANES, len(out) - first)
        for word in range(8):
            v[word, :], v[8 + word, :] = begun[word], _IV[word]
        v[14, :] = ~_IV[6]
        for lane in range(lanes):
            start, end = ends[first + lane], ends[first + lane + 1]
            length = len(before) + end - start
            block[len(before) : length] = data[start:end]
            block[length:] = 0
            for word in range(16):
                m[word, lane] = words[word]
            v[12, lane] ^= np.uint64(BLOCK + length)
        _mix_lanes(v, m)
        for lane in range(lanes):
            out[first + lane] = begun[0] ^ v[0, lane] ^ v[8, lane]


@lru_cache(16)
def _begun(key: bytes) -> np.ndarray:
    """The state after the block of the key, uint64 (8,); takes as long as some five thousand texts."""
    head = _IV.copy()
    head[0] ^= np.uint64(DIGEST | len(key) << 8 | 1 << 16 | 1 << 24)
    state = np.concatenate([head, _IV])
    state[12] ^= np.uint64(BLOCK)
    lane, block = state[:, None], np.frombuffer(key.ljust(BLOCK, b"\0"), "<u8")[:, None]
    with np.errstate(over="ignore"):
        _mix(lane, block)  # a single one is not worth compiling for
    mixed = lane[:, 0]
    return np.asarray(head ^ mixed[:8] ^ mixed[8:])


def places(ids: pa.Array, seed: int, before: str = "") -> np.ndarray:
    """uint64 (n,): what `criteria.hash_order` gives for each of some texts, none of them null."""
    key, head = f"{seed}".encode(), before.encode()
    texts = ids.cast(pa.large_binary())
    if not len(texts):
        return np.empty(0, np.uint64)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    lengths = np.diff(ends) + len(head)
    found = np.empty(len(texts), np.uint64)
    begun = _begun(key)
    others = np.flatnonzero((lengths > BLOCK) | (lengths == 0))  # of another number of blocks
    whole = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    if not len(others):
        _finished(begun, np.frombuffer(head, np.uint8), whole, ends, found)
        return found
    if len(others) < len(texts):
        mine = np.ones(len(texts), bool)
        mine[others] = False
        found[mine] = places(ids.filter(pa.array(mine)), seed, before)
    for at in others.tolist():
        digest = hashlib.blake2b(head + texts[at].as_py(), digest_size=DIGEST, key=key)
        found[at] = int.from_bytes(digest.digest(), "little")
    return found
