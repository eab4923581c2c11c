"""Which rows of a collection certain clips are: those on lists, of a shard, by id, or labelled. What belongs here: looking them up. What does not: their columns (`candidates.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.look import row_bits
from curation_assets.look.blocks import BLOCK_ROWS, side_by_side
from curation_assets.look.labelling import Clip
from curation_assets.look.row_bits import Bits, Rows
from curation_assets.publish.curating.judging import listed
from curation_assets.publish.curating.subset_tables import read_ids

if TYPE_CHECKING:
    from curation_assets.look.candidates import CandidateColumns

SEEN = 200_000
"""Clips whose rows are remembered because they were shown."""


class ClipLookup:
    """Finds the rows of clips.

    Args:
        candidates: the rows of a collection.
    """

    def __init__(self, candidates: CandidateColumns) -> None:
        self._candidates = candidates
        self._rows_of: dict[Clip, tuple[int, ...]] = {}
        self._shown: dict[Clip, int] = {}

    @cached_property
    def excluded(self) -> Bits | None:
        """Which are on one of the subset's lists; None without lists."""
        exclude = self._candidates.collection.subset.exclude
        if not exclude:
            return None
        ids = pa.array(sorted(read_ids(exclude)), pa.string())
        names = ["video_id", "clip_id", *(() if self._candidates.collection.of_clips else ("track_id",))]
        about = self._candidates.collection.of_clips
        self._candidates.make([(n, about) for n in names])

        def of(block: int) -> row_bits.Mask:
            return listed(pa.table({n: self._candidates.block(n, about, block) for n in names}), ids)

        found = row_bits.of_masks(side_by_side(of, self._candidates.blocks), self._candidates.rows)
        self._candidates.let_go([(n, about) for n in names])
        return found

    def of_shard(self, shard: str) -> Bits:
        """Which are of a shard."""
        column = self._candidates.shards
        names = column.names or []
        if shard not in names:
            return row_bits.nothing(self._candidates.rows)
        code = names.index(shard)
        return row_bits.of_masks([column.numbers(b) == code for b in self._candidates.blocks], self._candidates.rows)

    def row_of(self, shard: str, candidate: str) -> int | None:
        """The row of a clip or track by its id; None if it is none of the candidates."""
        about = self._candidates.collection.of_clips
        rows = row_bits.rows_of(self.of_shard(shard), self._candidates.rows)
        for at in range(0, len(rows), BLOCK_ROWS):
            own = rows[at : at + BLOCK_ROWS]
            found = pc.index(self._candidates.at(self._candidates.id, about, own), candidate).as_py()
            if found >= 0:
                return int(own[found])
        return None

    def shown(self, rows: Rows, clips: Sequence[Clip]) -> None:
        """Remembers where clips are that were shown, which is asked for when they are labelled."""
        if self._candidates.collection.of_clips:  # of tracks, several have one clip
            self._shown.update(zip(clips, rows.tolist(), strict=True))
            while len(self._shown) > SEEN:
                self._shown.pop(next(iter(self._shown)))

    def rows_of_clips(self, clips: Iterable[Clip]) -> Rows:
        """int64: the rows of some clips, (dataset, id) each, in order; those that are no candidates have none."""
        wanted = list(dict.fromkeys(clips))
        for clip in wanted:
            if clip not in self._rows_of and clip in self._shown:
                self._rows_of[clip] = (self._shown[clip],)
        unknown = [c for c in wanted if c not in self._rows_of]
        if unknown:
            self._look_up(unknown)
        return np.array(sorted({r for c in wanted for r in self._rows_of[c]}), np.int64)

    def _look_up(self, clips: Sequence[Clip]) -> None:
        ids, about = pa.array(sorted({clip for _, clip in clips}), pa.string()), self._candidates.collection.of_clips
        self._candidates.make([("clip_id", about), ("dataset", about)])

        def of(block: int) -> list[tuple[Clip, int]]:
            own = self._candidates.block("clip_id", about, block)
            rows = np.flatnonzero(pc.is_in(own, value_set=ids).to_numpy(zero_copy_only=False))
            if not len(rows):
                return []
            names = self._candidates.block("dataset", about, block).take(pa.array(rows)).to_pylist()
            texts = own.take(pa.array(rows)).to_pylist()
            return [((d, c), int(r) + block * BLOCK_ROWS) for d, c, r in zip(names, texts, rows, strict=True)]

        found: dict[Clip, list[int]] = {clip: [] for clip in clips}
        for part in side_by_side(of, self._candidates.blocks):
            for clip, row in part:
                found.setdefault(clip, []).append(row)
        self._rows_of |= {clip: tuple(rows) for clip, rows in found.items()}
        self._candidates.let_go([("clip_id", about)])

    def rows_labelled(self, label: str) -> Rows:
        """int64: the candidates whose clips have a label now. Raises as `LabelFiles.labelled`."""
        return self.rows_of_clips(self._candidates.labels.labelled(label))

    def labelled(self, label: str) -> Bits:
        """Which candidates' clips have a label now. Raises as `LabelFiles.labelled`."""
        return row_bits.of_rows(self.rows_labelled(label), self._candidates.rows)
