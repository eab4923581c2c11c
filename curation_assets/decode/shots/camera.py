"""Whether what changes is the camera's doing: the light that it takes, or a zoom. Then it is no boundary.

What belongs here: of which pictures around a proposed change that is asked. What does not: how light (`relit`) and zooms (`zooms`) are known.
"""

from __future__ import annotations

import numpy as np

from curation_assets.decode.shots.proposals import Proposals
from curation_assets.decode.shots.proposed_parts import SHORT
from curation_assets.decode.shots.relit import ground_relit, light_leaks, relit
from curation_assets.decode.shots.thinning import Thinned
from curation_assets.decode.shots.zooms import REACH, zoomed

MAY_LEAK = 0.8
"""Probability by the trees below which a cut may be a light that leaks: pictures that are means of three share edges with the ones before."""


def of_camera(thinned: Thinned, proposals: Proposals, first: int, end: int, chance: float) -> bool:
    """Whether what changes at positions [first, end) is the light alone, or a zoom.

    Args:
        chance: the trees' largest probability there.
    """
    return _of_light(thinned, proposals, first, end, chance) or of_zoom(thinned, proposals, first, end)


def of_zoom(thinned: Thinned, proposals: Proposals, first: int, end: int) -> bool:
    """Whether the largest step at positions [first, end) belongs to a zoom."""
    begin = max(0, first - 1 - REACH)
    pictures = thinned.frames(np.arange(begin, end + REACH))
    return zoomed(pictures, first - begin, end - begin, proposals.box((first + end) // 2))


def _of_light(thinned: Thinned, proposals: Proposals, first: int, end: int, chance: float) -> bool:
    """Whether it is the light, over all of the positions or in a step that stands out.

    A light that leaks makes short changes only; of slow ones it is enough if most of the picture is lit anew.
    """
    short = end - first <= SHORT
    pairs = [(first - 1, end - 1 if short else end)]
    if not short:
        sharpest = max(range(first, end), key=thinned.step)
        pairs += [(sharpest - 1, sharpest)] * thinned.stands_out(sharpest, first, end)
    start, cells = proposals.cells(first - 1, end + 1, first)
    known = [(cells[a - start], cells[b - start]) for a, b in pairs if start <= a and b - start < len(cells)]
    if not short:
        return any(relit(a, b) or ground_relit(a, b) for a, b in known)
    return any(relit(a, b) or (chance < MAY_LEAK and light_leaks(a, b)) for a, b in known)
