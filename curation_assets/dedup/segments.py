"""What the search and the choice of survivors need of all clips, in segments: columns of the parts of many shards one after the other.

A segment is made once, of shards that are new, and never changed: an update reads the columns of those before it and nothing of their parts. Segments
that are small are made again together with the next new one, so that there are few.

A row is a clip of a shard; of rows of one signature the first is a *distinct clip*, which alone is compared.

What belongs here: the columns and how they are made from parts. What does not: bytes (`arrays`), all segments together (`library`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup.arrays import Arrays
from curation_assets.dedup.index_files import Blocks
from curation_assets.dedup.parts import flat

Kind = Literal["frames", "flipped_frames", "center_frames", "window_hashes"]
KINDS: Final[tuple[Kind, ...]] = ("frames", "flipped_frames", "center_frames", "window_hashes")

ROWS: Final = 500_000
"""A segment is closed once it has so many rows."""

_BLOCK: Final[Mapping[str, str]] = {
    "frames": "search",
    "flipped_frames": "search",
    "center_frames": "search",
    "window_hashes": "windows",
}
_COUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "frames": ("indexed", "comparable"),
    "flipped_frames": ("indexed", "comparable"),
    "center_frames": ("center_indexed", "center_comparable"),
}


@dataclass(frozen=True)
class Segment:
    """Columns of some shards.

    Attributes:
        arrays: of each row `signature` and `exact` (uint64), `duration_ms` (int64) and `method` (uint8, which of `methods`); of each distinct clip `row`
            (int64); of each kind of hashes `<kind>` (uint64, clip after clip), `<kind>.start` (int64, one more than distinct clips) and, but for windows,
            `<kind>.indexed` (uint8) and `<kind>.comparable` (int32), as `parts` has them; the rows in the order of their values `signature.order` and
            `exact.order` (uint32), and the values in that order, `signature.sorted` and `exact.sorted`.
    """

    arrays: Arrays

    @property
    def parts(self) -> Sequence[Sequence[str]]:
        """Shard and file of each part, in order."""
        return self.arrays.about["parts"]

    @property
    def part_rows(self) -> Sequence[int]:
        return self.arrays.about["rows"]

    @property
    def methods(self) -> Sequence[str]:
        return self.arrays.about["methods"]

    @property
    def rows(self) -> int:
        return self.arrays.length("signature")

    @property
    def distinct(self) -> int:
        return self.arrays.length("row")


def columns(
    parts: Sequence[tuple[str, str, Blocks]], known: Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
) -> tuple[dict[str, list[NDArray[Any]]], dict[str, Any]]:
    """The arrays of a segment, each in parts, and what else is said of it.

    Args:
        parts: shard, name of the file and file of each.
        known: which signatures earlier segments have.
    """
    out: dict[str, list[NDArray[Any]]] = {}
    methods: list[str] = []
    ends = dict.fromkeys(_BLOCK, 0)
    seen = np.empty(0, np.uint64)
    rows = 0
    for _, _, part in parts:
        facts = part.read("facts")
        signature = facts["signature"].to_numpy()
        methods += [name for name in pc.unique(facts["method"]).to_pylist() if name not in methods]
        first = np.zeros(len(signature), np.bool_)
        first[np.unique(signature, return_index=True)[1]] = True
        new = first & ~known(signature) & ~among(signature, seen)
        seen = np.sort(np.concatenate([seen, signature[new]]))
        for name, values in {
            "signature": signature,
            "exact": facts["exact"].to_numpy(),
            "duration_ms": pc.fill_null(facts["duration_ms"], 0).to_numpy().astype(np.int64),
            "method": pc.index_in(facts["method"], pa.array(methods, pa.string())).to_numpy().astype(np.uint8),
            "row": rows + np.flatnonzero(new),
            **_hashes(part, new, ends),
        }.items():
            out.setdefault(name, []).append(values.copy() if not values.flags.owndata else values)
        rows += len(signature)
    for kind in _BLOCK:
        out.setdefault(f"{kind}.start", []).insert(0, np.zeros(1, np.int64))
    for name in ("signature", "exact"):
        whole = np.concatenate([*out.get(name, []), np.empty(0, np.uint64)])
        order = np.argsort(whole, kind="stable")
        out |= {f"{name}.order": [order.astype(np.uint32)], f"{name}.sorted": [whole[order]]}
    about = {
        "parts": [[shard, file] for shard, file, _ in parts],
        "rows": [sum(part.rows("facts")) for _, _, part in parts],
        "methods": methods,
    }
    return out, about


def _hashes(part: Blocks, chosen: NDArray[np.bool_], ends: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The hashes of some rows of a part, where those of each clip end in the segment, and how many are looked up."""
    out: dict[str, NDArray[Any]] = {}
    tables = {block: part.read(block) for block in dict.fromkeys(_BLOCK.values())}
    for kind, block in _BLOCK.items():
        table = tables[block]
        values, start = flat(table[kind], np.uint64)
        counts = np.diff(start)
        out[kind] = values if chosen.all() else values[np.repeat(chosen, counts)]
        counts = counts[chosen]
        end = ends[kind] + np.cumsum(counts)
        ends[kind] += int(counts.sum())
        out[f"{kind}.start"] = end.astype(np.int64)
        if kind in _COUNTS:
            for name, column, of in zip(("indexed", "comparable"), _COUNTS[kind], (np.uint8, np.int32), strict=True):
                out[f"{kind}.{name}"] = np.where(counts > 0, table[column].to_numpy()[chosen], 0).astype(of)
    return out


def among(values: NDArray[np.uint64], of: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which values are among others, which are sorted."""
    if not len(of):
        return np.zeros(len(values), np.bool_)
    return np.asarray(of[np.minimum(np.searchsorted(of, values), len(of) - 1)] == values, np.bool_)
