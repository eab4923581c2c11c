"""How blurred the sharpest edges of a picture are, whatever it shows: comparable across videos, as the energy of its edges is not.

An edge blurred by a Gaussian of deviation s and smoothed by another of deviation t has the squared gradient of one of deviation
sqrt(s^2 + t^2), whatever its contrast: it falls with 1 / (s^2 + t^2). So the ratio of the squared gradients at two scales says s (Elder and
Zucker, "Local scale control for edge detection and blur estimation", PAMI 1998; Zhuo and Sim, "Defocus map estimation from a single image",
Pattern Recognition 2011, with one scale more).

What belongs here: the estimate from one picture. What does not: which pictures, and over what part of them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures.cells import edge_cells, squared_gradient
from curation_resources.compiled import compiled

FINE, COARSE = 1.0, 3.0
"""Deviations of the two smoothings, pixels."""
EDGE_LEVELS = 3.0
"""Least gradient of an edge at the coarse scale, levels a pixel; with 2, blocks of JPEG at quality 10 count."""
CREST, CREST_SIDE = 0.7, 9
"""An edge is where the squared gradient at the coarse scale has at least such a share of its largest value so many pixels around: what holds
for an edge holds on its crest, beside it both scales see less of it and the finer one more so."""
EDGE_SHARE = 0.02
"""Least share of a cell's pixels that lie on edges, for the cell to have a say."""
FEWEST_CELLS = 8
"""With fewer such cells a picture has no edges to judge by."""
SHARPEST = 0.75
"""Quantile of the cells: a subject before a blurred background is sharp. Half of them gave a rank correlation of .90 with known blur over 38
real videos, a quarter .93."""
NOISE_QUANTILE = 0.05
"""Of the cells' gradient energies at the fine scale: the flattest show little but noise, which is taken off all."""
STATISTICS = ("fine_on_edges", "coarse_on_edges", "edge_share", "fine_everywhere")
"""What `estimates` reads of each cell, means over its pixels."""
_AROUND = np.ones((CREST_SIDE, CREST_SIDE), np.uint8)


def cells(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`STATISTICS` of each cell of a picture, float32 (4, 16, 16): squared gradients at both scales on edges, edges, and everywhere."""
    fine = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), FINE)
    coarse = cv2.GaussianBlur(fine, (0, 0), (COARSE**2 - FINE**2) ** 0.5)
    of_coarse = squared_gradient(coarse)
    crest = cv2.dilate(of_coarse, _AROUND)
    result: NDArray[np.float32] = edge_cells(squared_gradient(fine), of_coarse, crest, EDGE_LEVELS**2, CREST)
    return result


def estimates(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation of the blur of each picture's sharpest edges, pixels, (n,); nan if it has too few edges.

    Args:
        cells: float32 (n, 4, cells), `STATISTICS` of each cell.
    """
    blurs: NDArray[np.float32] = _estimates(np.ascontiguousarray(cells))
    return blurs


@compiled
def _estimates(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    blurs = np.full(len(cells), np.nan, np.float32)
    for k in range(len(cells)):
        fine, coarse, edges, everywhere = cells[k, 0], cells[k, 1], cells[k, 2], cells[k, 3]
        telling = np.flatnonzero(edges > EDGE_SHARE)
        if len(telling) < min(FEWEST_CELLS, len(edges)):
            continue
        noise = _quantile(everywhere, NOISE_QUANTILE)
        ratios = np.empty(len(telling))
        for j in range(len(telling)):
            at = telling[j]
            ratios[j] = max(fine[at] - noise * edges[at], 0.0) / coarse[at]
        # From the widest blur that the coarse scale can tell from none of its own, to none.
        ratio = min(max(_quantile(ratios, SHARPEST), 1.05), (COARSE / FINE) ** 2)
        blurs[k] = np.sqrt((COARSE**2 - ratio * FINE**2) / (ratio - 1))
    return blurs


@compiled
def _quantile(values: NDArray[np.floating], share: float) -> float:
    """Between the two values that it lies between."""
    ordered = np.sort(values)
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
