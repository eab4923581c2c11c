"""The percentiles of values that come part after part: exact, in memory that does not grow with how many there are.

What belongs here: finding them. What does not: of which values (`rule_percentiles.py`, `kept_candidates.py`). Up to `HELD` values are held; more go to a
file, in which a sample says between which two numbers the value of a rank is looked for; should it not lie there, or should too many, it is found by counting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from curation_assets.publish.curating.radix_selection import at_rank, keys_of, number_of

HELD = 1 << 20
"""Values that are held in memory, eight bytes each, until they are written; so many are read at a time."""
SAMPLED = 64
"""Of so many values one is in the sample."""
DEVIATIONS = 5
"""Of a rank in the sample, how many lie between it and the bounds."""


class PercentileValues:
    """Numbers whose percentiles are asked for once all were added.

    Args:
        path: local file for them, if they are many, which the caller removes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: list[np.ndarray] = []
        self._sample: list[np.ndarray] = []
        self._held_count = self._written = 0
        self._unknown = False

    def add(self, values: np.ndarray) -> None:
        """Adds float64 (n,)."""
        self._sample.append(values[-(self._written + self._held_count) % SAMPLED :: SAMPLED].copy())
        self._held.append(values)
        self._held_count += len(values)
        self._unknown = self._unknown or bool(np.isnan(values).any())
        if self._held_count > HELD:
            with self._path.open("ab" if self._written else "wb") as file:
                for part in self._held:
                    file.write(np.ascontiguousarray(part, np.float64).data)
            self._written += self._held_count
            self._held, self._held_count = [], 0

    def percentile(self, p: float) -> float | None:
        """What `p` of a hundred values lie below, linearly interpolated as by `numpy.percentile`: None of no values, nan where one is no number."""
        count = self._written + self._held_count
        if not count:
            return None
        if not self._written:
            return float(np.percentile(np.concatenate(self._held), p))
        if self._unknown:
            return math.nan
        place = (count - 1) * (p / 100)
        rank = math.floor(place)
        share = place - rank
        low, high = self._near(rank) or self._counted(rank)
        return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)

    def _near(self, rank: int) -> tuple[float, float] | None:
        """The values of a rank and of the next one, if both lie between two values of the sample that few others lie between."""
        sample = np.concatenate(self._sample)
        share = rank / (self._written + self._held_count)
        off = math.ceil(DEVIATIONS * math.sqrt(share * (1 - share) * len(sample))) + 1
        first, last = math.floor(share * len(sample)) - off, math.ceil(share * len(sample)) + off
        sample.partition(sorted({max(first, 0), min(last, len(sample) - 1)}))
        least = sample[first] if first >= 0 else -math.inf
        most = sample[last] if last < len(sample) else math.inf
        below, count, between = 0, 0, list[np.ndarray]()
        for values in self._values():
            below += int(np.count_nonzero(values < least))
            between.append(values[(values >= least) & (values <= most)])
            count += len(between[-1])
            if count > HELD:
                return None
        upto = min(rank + 1, self._written + self._held_count - 1)
        if not below <= rank <= upto < below + count:
            return None
        found = np.partition(np.concatenate(between), [rank - below, upto - below])
        return float(found[rank - below]), float(found[upto - below])

    def _counted(self, rank: int) -> tuple[float, float]:
        """The values of a rank and of the next one, from several passes."""
        key = at_rank(self._keys, np.array([rank]))[0][0]
        upto, above = 0, [key]
        for keys, _ in self._keys():
            upto += int((keys <= key).sum())
            above += [keys[keys > key].min()] if (keys > key).any() else []
        low = number_of(key)
        return low, low if upto > rank + 1 or len(above) == 1 else number_of(min(above[1:]))

    def _values(self) -> Iterator[np.ndarray]:
        with self._path.open("rb") as file:
            while len(part := np.frombuffer(file.read(8 * HELD), np.float64)):
                yield part
        yield from self._held

    def _keys(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part in self._values():
            yield keys_of(part), np.zeros(len(part), np.int8)
