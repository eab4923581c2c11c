"""A tracker's track in pieces: cut where it may have gone on as another object.

Such places are two: where it was lost for a while, and where it is of another size from one box on, as when somebody near passes before
somebody far and takes the track along.

What belongs here: where tracks are cut. What does not: which pieces are one again (`track_joining`).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from curation_assets.tracks.track import Hit, Track

LEAST_PIECE = 3
"""Boxes of the shortest piece that a track is cut into."""
LOST_MS = 400
"""Longest time without a box over which a track is taken for one piece."""
SIZE_MS = 500
"""Boxes of so long before and after a moment say whether the size has changed for good. Chosen, as the next, on the first half of the scenes of
`benchmarks.truth`: of 80 scenes 16 have fewer switches of identity, none has more."""
SIZE_CHANGE = 0.25
"""By how much the natural logarithm of the height must have changed, in the median."""


class TrackPieces:
    """One track, box by box.

    Args:
        settling: boxes before and after a moment of which the size is compared.

    Attributes:
        pieces: the track so far, but for its last boxes (`finish`).
    """

    def __init__(self, settling: int) -> None:
        self._settling = settling
        self.pieces: list[Track] = [Track()]
        self._recent: deque[Hit] = deque()
        """The last boxes, at most `settling`."""

    def __len__(self) -> int:
        return sum(map(len, self.pieces)) + len(self._recent)

    def add(self, hit: Hit, last_look_ms: int) -> None:
        """Takes the track's next box.

        Args:
            last_look_ms: when the frame before was looked at.
        """
        if self._recent:
            before = self._recent[-1].time_ms
            lost = hit.time_ms - before > LOST_MS and before < last_look_ms
            if lost and len(self.pieces[-1]) + len(self._recent) >= LEAST_PIECE:
                self._settle(0)
                self.pieces.append(Track())
        self._recent.append(hit)
        self._settle(self._settling)

    def finish(self, first: Hit | None = None) -> list[Track]:
        """All pieces in order of time; none is without boxes.

        Args:
            first: a box from before all others, which is doubted.
        """
        self._settle(0)
        self.pieces[0].doubted = first
        return self.pieces

    def _settle(self, held: int) -> None:
        """Moves boxes into pieces until so many are held."""
        while len(self._recent) > held:
            if self._of_another_size():
                self.pieces.append(Track())
            self.pieces[-1].add(self._recent.popleft())

    def _of_another_size(self) -> bool:
        """Whether the boxes held are all larger, or all smaller, than as many before them, and much so."""
        piece, count = self.pieces[-1], self._settling
        if len(self._recent) < count or len(piece) < count:
            return False
        before = np.log([box[3] for box in piece.boxes[-count:]])
        after = np.log([hit.detections.boxes[hit.index][3] for hit in list(self._recent)[:count]])
        apart = before.max() < after.min() or after.max() < before.min()
        return bool(apart and abs(np.median(after) - np.median(before)) >= SIZE_CHANGE)
