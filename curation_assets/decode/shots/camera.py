"""Whether what changes is the camera's doing, or the light's: the light that it takes, other lamps, a zoom, a tilt, a page that is scrolled. Then it is no boundary.

What belongs here: of which pictures around a proposed change that is asked. What does not: how light (`relit`), zooms (`zooms`) and one scene on
either side (`same_scene`) are known.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from curation_assets.decode.shots.proposals import Proposals
from curation_assets.decode.shots.proposed_parts import SHORT
from curation_assets.decode.shots.relit import ground_relit, light_comes_and_goes, light_leaks, relit
from curation_assets.decode.shots.same_scene import lit_otherwise, moved_along
from curation_assets.decode.shots.thinning import Thinned
from curation_assets.decode.shots.zooms import REACH, zoomed

MAY_LEAK = 0.8
"""Probability by the trees below which a cut may be a light that leaks: pictures that are means of three share edges with the ones before."""
MAY_GO, GLOW = 0.9, 24
"""Probability by the trees below which a change may be a light that comes and goes, within so many pictures before it and after."""
LAMPS, AGAIN, TIMES = 4, 24, 2
"""So many pictures on either side of a short change must show one scene where other lamps light it, and within so many the lamps must change so many
times more: one change, or two, may be a jump within a take to when the light was on."""


def of_camera(thinned: Thinned, proposals: Proposals, first: int, end: int, chance: float) -> bool:
    """Whether what changes at positions [first, end) is the light alone, a zoom, or a picture that is moved along.

    Slow changes in which the picture moves along may be slides: these are left to others.

    Args:
        chance: the trees' largest probability there.
    """
    return (
        _of_light(thinned, proposals, first, end, chance)
        or (end - first <= SHORT and (_of_lamps(proposals, first, end) or _of_move(thinned, proposals, first, end)))
        or (chance < MAY_GO and _of_glow(proposals, first, end))
        or of_zoom(thinned, proposals, first, end)
    )


def _of_glow(proposals: Proposals, first: int, end: int) -> bool:
    """Whether it is a light that comes and goes."""
    start, cells = proposals.cells(first - GLOW, end + GLOW, first)
    return light_comes_and_goes(cells, first - start, end - start)


def _of_lamps(proposals: Proposals, first: int, end: int) -> bool:
    """Whether the pictures before and after show one scene under other lamps, and the lamps change again and again nearby."""
    start, cells = proposals.cells(first - AGAIN, end + AGAIN, first)
    known = range(start, start + len(cells))
    pairs = [(first - 1 - k, end - 1 + k) for k in range(LAMPS)]
    if not lit_otherwise((cells[a - start], cells[b - start]) for a, b in pairs if a in known and b in known):
        return False
    others = (k for k in known[1:] if not first - SHORT < k < end + SHORT)
    again = (k for k in others if lit_otherwise([(cells[k - 1 - start], cells[k - start])]))
    return len(list(islice(again, TIMES))) == TIMES


def _of_move(thinned: Thinned, proposals: Proposals, first: int, end: int) -> bool:
    """Whether the largest step moves the picture along."""
    sharpest = max(range(first, end), key=thinned.step)
    if not 0 < sharpest < thinned.count:
        return False
    box = proposals.box(sharpest)
    bottom = 27 if box.bottom == 13 else 2 * box.bottom
    pictures = thinned.frames(np.array([sharpest - 1, sharpest]))[:, 2 * box.top : bottom, 2 * box.left : 2 * box.right]
    before, after = pictures.sum(axis=3, dtype=np.int32)
    return moved_along(before, after)


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
