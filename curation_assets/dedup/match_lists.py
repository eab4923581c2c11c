"""Lists of matches: one of each pair, in order, and how many of those that only the audit shows.

What belongs here: which of several matches is kept. What does not: when two clips match (`align`, `second_look`, `crops`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curation_assets.dedup.align import Matches

MOST_DOUBTFUL: Final = 4096
"""Pairs that are nearly accepted and kept for the audit."""


def in_order(matches: Matches) -> Matches:
    """By their pairs, of which each comes once."""
    low, high = np.minimum(matches.short, matches.long), np.maximum(matches.short, matches.long)
    return matches.take(np.lexsort((high, low)))


def worth_keeping(matches: Matches) -> Matches:
    """Without all but the least doubtful of those that are not accepted, which only the audit shows."""
    refused = np.flatnonzero(~matches.accepted)
    if len(refused) <= MOST_DOUBTFUL:
        return matches
    certainty = matches.coverage[refused].astype(np.float64) * matches.similarity[refused]
    order = np.lexsort((matches.long[refused], matches.short[refused], -certainty))
    keep = matches.accepted.copy()
    keep[refused[order[:MOST_DOUBTFUL]]] = True
    return matches.take(keep)


def best_of_pair(matches: Matches, *, apart: bool = False) -> Matches:
    """Of the matches of a pair the one that says most, sorted by pair; accepted ones of clips that are not altered come first.

    Args:
        apart: one for each way in which a clip is altered, since which of them holds is still to be seen.
    """
    m = matches
    low, high = np.minimum(m.short, m.long), np.maximum(m.short, m.long)
    kind = m.altered if apart else np.zeros(len(low), np.uint8)
    says_most = (m.cropped, m.center, m.short, -m.similarity, -m.coverage, m.altered, ~m.accepted)
    order = np.lexsort((*says_most, kind, high, low))
    first = np.ones(len(order), np.bool_)
    first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0) | (np.diff(kind[order]) != 0)
    return m.take(order[first])
