"""Whether what changes is a zoom of the camera: one picture after the other is the one before, seen closer or from farther off.

A lens that zooms in within a few frames changes as much as a cut does, and stays there; the trees measure pictures cell by cell, and the network
was shown few of them. Here each step of the change must be explained by a scale of its own, and all of them must go the same way: where a new
shot comes out of an enlarged old one, the step between the two is explained by none, and a jump to a closer view is one step.

What belongs here: what follows from the pictures around one change. What does not: which changes are looked at (`cascade`).

Thresholds were chosen on the first half of the episodes of `benchmarks.truth`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.evidence import Box
from curation_assets.decode.shots.history import Tiny
from curation_resources.compiled import compiled

Ints = NDArray[np.int32]

REACH = 12
"""Pictures on either side of a change to which the zoom may reach."""
FACTOR, FACTORS = 1.02, 24
"""A step's scale is this to the power of 1 to that: at most 1.6."""
SCALES = np.array([round(256 / FACTOR**k) for k in range(1, FACTORS + 1)], np.int32)
"""How far apart the samples that become neighbours are, in 256ths."""
FEW, PLACES = 3, 5
"""Where in the picture it zooms to: so many places from one side to the other, and from above to below; few at first."""
REST = 0.45
"""Share of each such step that a zoom may leave unexplained: .1 to .4 in zooms, .47 and more between two blurred and enlarged shots."""
GOES_ON, WITH_IT = 0.15, 0.4
"""Share of its largest step above which a motion goes on, and above which a step must be explained."""
LEAST_STEPS, LEAST_POWER, ONE_WAY = 3, 8, 0.9
"""So many steps at least, which change the scale by `FACTOR` to that power at least, and that share of it in one direction."""


def zoomed(pictures: Tiny, first: int, end: int, box: Box) -> bool:
    """Whether the largest of the steps before pictures [first, end) belongs to a zoom of the camera.

    Args:
        pictures: consecutive ones (n, 27, 48, 3), with those on either side.
        first, end: indices of the pictures before which something changes.
        box: the part that shows something.
    """
    bottom = 27 if box.bottom == 13 else 2 * box.bottom
    part = pictures[:, 2 * box.top : bottom, 2 * box.left : 2 * box.right]
    luma = part.sum(axis=3, dtype=np.int32)
    steps = np.abs(np.diff(luma, axis=0)).sum(axis=(1, 2))
    first = max(first, 1)
    largest = first - 1 + int(np.argmax(steps[first - 1 : end - 1]))
    together = _together(steps, largest)
    power = whole = 0
    for step in together:
        rest, own = _explained(luma[step], luma[step + 1], int(steps[step]))
        if rest > REST * steps[step]:
            return False
        power, whole = power + own, whole + abs(own)
    return len(together) >= LEAST_STEPS and whole >= LEAST_POWER and abs(power) >= ONE_WAY * whole


def _together(steps: NDArray[np.int64], largest: int) -> list[int]:
    """The indices of the large steps of the motion that the largest one is of, that one first."""
    moving = steps >= GOES_ON * steps[largest]
    first, end = largest, largest + 1
    while first > 0 and moving[first - 1]:
        first -= 1
    while end < len(steps) and moving[end]:
        end += 1
    return [largest, *(k for k in range(first, end) if k != largest and steps[k] >= WITH_IT * steps[largest])]


def _explained(before: Ints, after: Ints, apart: int) -> tuple[int, int]:
    """What the best zoom from one picture to the next leaves of how far they are apart, and its power of `FACTOR`: negative if it zooms out."""
    inward, closer = _best(before, after, SCALES)
    outward, farther = _best(after, before, SCALES)
    if min(inward, outward) >= apart:
        return apart, 0
    return (int(inward), int(closer)) if inward <= outward else (int(outward), -int(farther))


@compiled
def _best(given: Ints, seen: Ints, scales: Ints) -> tuple[int, int]:
    """How far a picture is from another one enlarged by the best scale, 1, 2, ... of those given, towards the best place.

    Both are looked for in one sample of four first, with every second scale and fewer places, and then more closely around what is best there.
    """
    none = 1 << 60
    least, near = none, 0
    for k in range(1, len(scales), 2):
        for place in range(FEW * FEW):
            left = _from_enlarged(given, seen, scales[k], place, FEW, 2)
            if left < least:
                least, near = left, k
    least, best = none, near
    for k in range(max(0, near - 1), min(len(scales), near + 2)):
        for place in range(PLACES * PLACES):
            left = _from_enlarged(given, seen, scales[k], place, PLACES, 1)
            if left < least:
                least, best = left, k
    return least, best + 1


@compiled
def _from_enlarged(given: Ints, seen: Ints, scale: int, place: int, places: int, every: int) -> int:
    """Sum of how far every so manyth sample across and down is from what a part of another picture shows there, linear between four samples.

    Args:
        scale: 256ths of a sample from one to the next.
        place: of `places` times `places` for the part, row by row.
    """
    total = 0
    rows, columns = seen.shape
    spare = 256 - scale
    top = (rows - 1) * spare * (place // places) // (places - 1)
    side = (columns - 1) * spare * (place % places) // (places - 1)
    for row in range(0, rows, every):
        down = top + row * scale
        y = min(down >> 8, rows - 2)
        below = down - (y << 8)
        for column in range(0, columns, every):
            across = side + column * scale
            x = min(across >> 8, columns - 2)
            right = across - (x << 8)
            above = given[y, x] * (256 - right) + given[y, x + 1] * right
            under = given[y + 1, x] * (256 - right) + given[y + 1, x + 1] * right
            shown = (above * (256 - below) + under * below + 32768) >> 16
            total += abs(seen[row, column] - shown)
    return total
