"""Where boundaries may lie: the trees' probability before each picture of the thinned sequence, as it comes in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.evidence import REACH, WHOLE, Box, Cells, active_box, cells_of, evidence
from curation_assets.decode.shots.thinning import CAPACITY, Thinned
from curation_assets.decode.shots.trees import boundary_trees

CHUNK = 32
"""Pictures that share a box."""
AROUND = 2
"""Chunks on either side in which a cell that is part of the box changes: about three seconds."""
GROUP = 8
"""Chunks that are measured at once; lookahead is what it costs."""


class Proposals:
    """Probabilities of boundaries in blocks of at most 256 pictures.

    Args:
        thinned: the sequence, which others push to.
    """

    def __init__(self, thinned: Thinned) -> None:
        self._thinned = thinned
        self._cells: Cells = np.empty((CAPACITY, 13, 24, 3), np.uint16)
        self._filled = 0
        self._measured = 0
        self._extremes: dict[int, tuple[Cells, Cells]] = {}
        self._boxes: dict[int, Box] = {}

    def box(self, position: int) -> Box:
        """The part of the picture that shows something, at a position that was measured not long ago."""
        return self._boxes.get(position // CHUNK, WHOLE)

    def cells(self, first: int, end: int, at: int) -> tuple[int, NDArray[np.int32]]:
        """The cells of the pictures at positions [first, end) that are there, in the part that shows something at position `at`.

        Returns:
            The first of these positions, and the cells (n, rows, columns, 3).
        """
        first, end = max(0, first, self._filled - CAPACITY), min(end, self._filled)
        box = self.box(at)
        cells = self._cells[np.arange(first, end) % CAPACITY, box.top : box.bottom, box.left : box.right]
        return first, cells.astype(np.int32)

    def measure(self, last: bool = False) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """The blocks that can be measured by now, each with its first position; at the `last` call all of what is left."""
        while self._thinned.count - self._filled >= CHUNK or (last and self._filled < self._thinned.count):
            self._fill(min(CHUNK, self._thinned.count - self._filled))
            while self._filled >= self._measured + (GROUP + AROUND) * CHUNK:
                yield self._block(GROUP * CHUNK)
        while last and self._measured < self._filled:
            yield self._block(min(GROUP * CHUNK, self._filled - self._measured))

    def chances(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The trees' probability for each row of evidence."""
        return boundary_trees().probabilities(rows)

    def _fill(self, count: int) -> None:
        cells = cells_of(self._thinned.frames(np.arange(self._filled, self._filled + count)))
        self._cells[np.arange(self._filled, self._filled + count) % CAPACITY] = cells
        self._extremes[self._filled // CHUNK] = cells.min(axis=0), cells.max(axis=0)
        self._filled += count

    def _block(self, count: int) -> tuple[int, NDArray[np.float64]]:
        first = self._measured
        chunks = range(first // CHUNK, -(-(first + count) // CHUNK))
        for chunk in chunks:
            self._boxes[chunk] = self._box(chunk)
        parts = []
        for box, same in groupby(chunks, key=self._boxes.__getitem__):
            members = list(same)
            begin, end = members[0] * CHUNK, min((members[-1] + 1) * CHUNK, first + count)
            positions = np.clip(np.arange(begin - REACH, end + REACH), 0, self._filled - 1)
            parts.append(self.chances(evidence(self._cells[positions % CAPACITY], box)))
        self._measured += count
        for by_chunk in (self._boxes, self._extremes):
            for chunk in [c for c in by_chunk if c < chunks.start - 2 * GROUP]:
                del by_chunk[chunk]
        return first, np.concatenate(parts)

    def _box(self, chunk: int) -> Box:
        near = [self._extremes[c] for c in range(chunk - AROUND, chunk + AROUND + 1) if c in self._extremes]
        return active_box(np.min([low for low, _ in near], axis=0), np.max([high for _, high in near], axis=0))
