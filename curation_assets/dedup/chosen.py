"""What was chosen before: an update chooses anew only among the clips that what is new has to do with, and takes the other rows as they were.

Who survives is decided within each set of clips that are connected, by matches, by one fingerprint or by one source span. A set in which nothing is new keeps its rows.

What belongs here: which clips are concerned. What does not: choosing (`clusters`, `survivors`), the rows that are kept (`cluster_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.align import Matches
from curation_assets.dedup.cluster_rows import ClusterRows
from curation_assets.dedup.library import Library
from curation_assets.dedup.segments import among

MOST_STEPS: Final = 64
"""Sets in which clips are further apart are not followed: all is chosen anew."""

MOST_SHARE: Final = 0.25
"""Of all clips, beyond which it is not worth the while."""

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Earlier:
    """What was chosen before an update that only added clips.

    Attributes:
        rows: of `duplicate_clusters`.
        new: uint64, sorted, signatures of new clips and of those that match one.
    """

    rows: ClusterRows
    new: Hashes


def concerned(library: Library, matches: Matches, new: Hashes) -> Hashes | None:
    """Signatures of all clips that are connected with new ones, sorted; None if they are too many to be told apart.

    Args:
        matches: accepted pairs, by signatures.
        new: sorted.
    """
    found = reached = new
    for _ in range(MOST_STEPS):
        touched = among(matches.short, reached) | among(matches.long, reached)
        ends = [matches.short[touched], matches.long[touched]]
        exact = np.unique(library.of_rows("exact", library.rows_with("signature", reached)))
        exact = exact[exact != 0]
        if len(exact):
            ends.append(library.of_rows("signature", library.rows_with("exact", exact)))
        reached = np.unique(np.concatenate(ends).astype(np.uint64))
        reached = reached[~among(reached, found)]
        if not len(reached):
            return found
        found = np.sort(np.concatenate([found, reached]))
        if len(found) > MOST_SHARE * library.distinct:
            return None
    return None
