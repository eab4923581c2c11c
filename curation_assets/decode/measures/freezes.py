"""Share of a clip in which the picture does not change, but for noise and coding.

About ten pictures a second are compared, at a long side of 160 pixels, with the first picture of the run that they would continue, so that
what moves too slowly to differ from one picture to the next does not pass for still. The largest change of any block of 8 x 8 pixels
decides, beyond what noise of the strength that the difference itself shows would give. A run counts if it lasts half a second, by time.

What belongs here: which stretches are still. What does not: how much moves elsewhere (`motion`).
"""

from __future__ import annotations

import functools
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures.slots import Slots
from curation_resources.compiled import compiled

Plane = NDArray[np.uint8]

PER_SECOND = 10.0
"""Pictures compared."""
SIDE = 160
"""Long side up to which a picture is compared as it is; larger ones are halved first. Pixels."""
NOISE_BLOCK = 8
"""Side of a block, pixels."""
NOISE_FACTOR = 2.5
"""Energy of a block over that of the noise that noise alone does not reach: the mean of 64 squares of it spreads by a sixth."""
MOST_NOISE = 100.0
"""Energy of the noise up to which it is believed to be nothing else: a deviation of 7 levels in each picture, 28 at four times the size."""
CHANGE = 24.0
"""Energy of a block's difference beyond noise, squared levels, from which it has changed. Pictures that freeze reach 15 at a key frame coded at
CRF 28, most 25 while a picture coded at CRF 38 settles; where anything moves in the real test videos some block changes by 35 and more in
half a second, except in two of them, where next to nothing does."""
DRIFT = CHANGE / 9
"""The same for a third of the difference; and up to this, no difference at all."""
JUMP = CHANGE / 4
"""Energy between neighbouring pictures from which the change came at once, as at a key frame, not little by little."""
SHORTEST_MS = 500
"""Shorter runs are slow motion, repeats of a rate conversion or a drawn animation's doubled pictures."""
TICK_MS, TICK_AREA, TICK_ENERGY = 2000, 0.1, 200.0
"""Between changes of so much energy in at most such a share of the blocks, stillness up to so long belongs to a thing that ticks."""
NUMBERS = 6
"""What is kept of each compared picture: numbers of 8 bytes, since a video of hours has many."""
TICK_PICTURES = 2
"""Pictures that the tick itself may take."""


class Change(NamedTuple):
    """How two pictures differ beyond noise.

    Attributes:
        energy: of the block that changed most, squared levels; 0 or less if that may be noise.
        area: share of blocks that changed.
        noise: energy of the noise, squared levels.
    """

    energy: float
    area: float
    noise: float


@dataclass(frozen=True, slots=True)
class _Compared:
    """One compared picture.

    Attributes:
        first: whether a run begins with it.
        since_first: energy of the change since the first picture of its run, or for `first`, of the run before.
        step: the change since the picture before.
    """

    time_ms: float
    first: bool
    since_first: float
    step: Change


@dataclass(frozen=True, slots=True)
class _Run:
    """Pictures [begin, end) of a clip that do not differ from the first of them; `from_ms` and `to_ms` as far as it is still."""

    begin: int
    end: int
    from_ms: float
    to_ms: float

    @property
    def length_ms(self) -> float:
        return self.to_ms - self.from_ms


class FreezeMeter:
    """Collects comparisons while a video is decoded, and says of clips afterwards for which share of them nothing changes.

    Call `push` with the pictures that `wants` asks for, in order of time; `share` may be called at any time, for any span.
    """

    def __init__(self) -> None:
        self._slots = Slots(PER_SECOND)
        self._anchor: Plane | None = None
        self._before: Plane | None = None
        self._noise = 0.0
        self._compared = array("d")
        self._times = array("d")

    def wants(self, time_ms: float) -> bool:
        """Whether the picture shown at `time_ms` is to be compared."""
        return self._slots.due(time_ms)

    def push(self, time_ms: float, luma: Plane) -> None:
        """Compares a picture: uint8 (h, w), all of a video of one size."""
        small = _small(luma)
        if self._anchor is None or self._before is None or self._anchor.shape != small.shape:
            self._anchor, compared = small, _Compared(time_ms, True, np.inf, Change(np.inf, 1.0, 0.0))
        else:
            step = change(self._before, small)
            # Noise is as strong between neighbours, or where it is coded anew, at a key frame; what drifts shows more of its detail the longer it does.
            self._noise = max(self._noise, step.noise)
            since = change(self._anchor, small, self._noise).energy if self._anchor is not self._before else step.energy
            compared = _Compared(time_ms, since > CHANGE, since, step)
            if compared.first:
                self._anchor, self._noise = small, 0.0
        self._before = small
        self._compared.extend((time_ms, compared.first, compared.since_first, *compared.step))
        self._times.append(time_ms)
        self._slots.take(time_ms)

    def forget(self, before_ms: float) -> None:
        """Drops what was compared before `before_ms`."""
        first = bisect_left(self._times, before_ms)
        del self._compared[: NUMBERS * first], self._times[:first]

    def share(self, start_ms: float, end_ms: float, shown_ms: Sequence[float] | NDArray[np.int64] = ()) -> float | None:
        """Share of the time [start_ms, end_ms) in which the picture does not change; None without a picture in it.

        Args:
            start_ms, end_ms: of the clip.
            shown_ms: when each of its pictures is shown, in order. What is shown for long is still so long; without them a change is taken
                to come midway between two compared pictures.
        """
        a, b = bisect_left(self._times, start_ms), bisect_left(self._times, end_ms)
        if a == b or end_ms <= start_ms:
            return None
        numbers = zip(*[iter(self._compared[NUMBERS * a : NUMBERS * b])] * NUMBERS, strict=True)
        compared = [_Compared(time_ms, bool(new), since, Change(*step)) for time_ms, new, since, *step in numbers]
        runs = _runs(compared, start_ms, end_ms, shown_ms)
        least = min(SHORTEST_MS, end_ms - start_ms)
        still = sum(
            run.length_ms for k, run in enumerate(runs) if run.length_ms >= least and not _ticks(runs, k, compared)
        )
        return float(min(1.0, still / (end_ms - start_ms)))


def change(before: Plane, after: Plane, most_noise: float = MOST_NOISE) -> Change:
    """How two pictures of one size, uint8 (h, w), differ beyond noise of at most an energy, squared levels.

    The strength of the noise is read off the finest diagonal detail of their difference (Haar's HH band), where what moves leaves least
    (Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994): its median over the blocks that are not
    repeated exactly, if those are a tenth of the picture.
    """
    h, w = before.shape
    rows, columns = _blocks(h, w)
    return Change(*_beyond_noise(*_energies(before, after, rows, columns), most_noise, min(h, w) >= 2 * NOISE_BLOCK))


@compiled
def _beyond_noise(
    energy: NDArray[np.float32], fine: NDArray[np.float32], most_noise: float, telling: bool
) -> tuple[float, float, float]:
    """`Change` of what `_energies` gives; `telling` says whether the picture is large enough to show its noise."""
    if energy.max() <= 0:
        return 0.0, 0.0, 0.0
    noise = 0.0
    noisy = fine[fine > np.float32(0.01)]
    if telling and len(noisy) >= 0.1 * len(fine):
        noise = min(most_noise, np.float64(_median(noisy)))
    of_noise, least = np.float32(NOISE_FACTOR * noise), np.float32(CHANGE)
    beyond, most = 0, np.float32(-np.inf)
    for k in range(len(energy)):
        left = energy[k] - of_noise
        most = max(most, left)
        beyond += left > least
    return np.float64(most), beyond / len(energy), noise


@functools.cache
def _blocks(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the rows and the columns of blocks begin, and where the last ones end: at even lines, as alike as they can be."""
    edges = []
    for length in (height, width):
        count = max(1, round(length / NOISE_BLOCK))
        inner = 2 * (np.arange(1, count) * length // (2 * count))
        edges.append(np.concatenate(([0], inner, [length])).astype(np.int64))
    return edges[0], edges[1]


@compiled
def _energies(
    before: Plane, after: Plane, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each block the mean square of the difference, and of the difference's finest diagonal detail: float32 (blocks,)."""
    width = before.shape[1]
    count = (len(rows) - 1) * (len(columns) - 1)
    energy, fine = np.empty(count, np.float32), np.empty(count, np.float32)
    whole, detail = np.empty(width, np.int32), np.empty(width, np.int32)
    upper, lower = np.empty(width, np.int32), np.empty(width, np.int32)
    block = 0
    for i in range(len(rows) - 1):
        whole[:], detail[:] = 0, 0
        pairs = (rows[i + 1] - rows[i]) // 2
        for y in range(rows[i], rows[i + 1]):
            line = upper if (y - rows[i]) % 2 == 0 else lower
            a, b = before[y], after[y]
            for x in range(width):
                line[x] = np.int32(b[x]) - np.int32(a[x])
            for x in range(width):
                whole[x] += line[x] * line[x]
            if (y - rows[i]) % 2:
                for x in range(width - 1):  # of every second place, and those between are left out below
                    diagonal = upper[x] - lower[x] - upper[x + 1] + lower[x + 1]
                    detail[x] += diagonal * diagonal
        for j in range(len(columns) - 1):
            begin, end = columns[j], columns[j + 1]
            total, diagonals = np.int64(0), np.int64(0)
            for x in range(begin, end):
                total += whole[x]
            for x in range(begin, end - 1, 2):
                diagonals += detail[x]
            energy[block] = total / ((rows[i + 1] - rows[i]) * (end - begin))
            fine[block] = diagonals / (4 * max(1, pairs * ((end - begin) // 2)))
            block += 1
    return energy, fine


@compiled
def _median(values: NDArray[np.float32]) -> np.float32:
    ordered = np.sort(values)
    middle = len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / np.float32(2)


def _small(luma: Plane) -> Plane:
    h, w = luma.shape
    if max(h, w) > SIDE and min(h, w) >= 2:
        luma = cv2.resize(luma[: h // 2 * 2, : w // 2 * 2], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(luma)


def _runs(
    compared: Sequence[_Compared], start_ms: float, end_ms: float, shown_ms: Sequence[float] | NDArray[np.int64]
) -> list[_Run]:
    """The runs of a clip, in order."""
    begins = [0, *(k for k in range(1, len(compared)) if compared[k].first)]
    changes = [_moment(compared[k - 1].time_ms, compared[k].time_ms, shown_ms) for k in begins[1:]]
    runs = []
    for begin, end, from_ms, to_ms in zip(
        begins, [*begins[1:], len(compared)], [start_ms, *changes], [*changes, end_ms], strict=True
    ):
        since = _drifts_since(compared, begin, end)
        if since is not None:
            still_ms = compared[since].time_ms
            to_ms = still_ms if still_ms - from_ms >= (to_ms - from_ms) / 2 else from_ms
        runs.append(_Run(begin, end, from_ms, to_ms))
    return runs


def _drifts_since(compared: Sequence[_Compared], begin: int, end: int) -> int | None:
    """The last picture of a run before it began to drift away from its first one; None if the run ended at once, or with the clip."""
    if end == len(compared):
        return None
    last = max(k for k in range(begin, end) if k == begin or compared[k].since_first <= DRIFT)
    gradual = all(compared[k].step.energy <= JUMP for k in range(last + 1, end + 1))
    # A coder that settles on a frozen picture goes the other way: at first much, then less and less.
    settles = compared[(last + end) // 2].since_first > CHANGE / 2
    return last if gradual and not settles else None


def _moment(still_ms: float, changed_ms: float, shown_ms: Sequence[float] | NDArray[np.int64]) -> float:
    """When the picture changed that is still the same at one time and is not at the other."""
    following = bisect_right(shown_ms, still_ms)
    earliest = float(shown_ms[following]) if following < len(shown_ms) else still_ms
    last = bisect_left(shown_ms, changed_ms) - 1
    if last >= 0 and changed_ms - float(shown_ms[last]) >= 2 * 1000 / PER_SECOND:
        return changed_ms  # the picture before it was shown long
    return (min(earliest, changed_ms) + changed_ms) / 2


def _ticks(runs: Sequence[_Run], index: int, compared: Sequence[_Compared]) -> bool:
    """Whether a run lies between small sharp changes that follow each other, as a clock's hand or a blinking cursor makes them."""
    if runs[index].length_ms >= TICK_MS:
        return False
    sides = [_tick_beside(runs, index, compared, way) for way in (-1, 1)]
    return True in sides and False not in sides


def _tick_beside(runs: Sequence[_Run], index: int, compared: Sequence[_Compared], way: int) -> bool | None:
    """Whether a tick parts a run from the still one before (-1) or after it (1); None at the end of the clip."""
    passed = 0
    while 0 <= index + way < len(runs):
        step = compared[runs[max(index, index + way)].begin].step
        if step.area > TICK_AREA or step.energy < TICK_ENERGY:
            return False
        index += way
        if runs[index].length_ms >= 0.8 * SHORTEST_MS:
            return True
        passed += runs[index].end - runs[index].begin
        if passed > TICK_PICTURES:
            return False
    return None
