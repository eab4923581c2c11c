"""What is shown of a table of scores: its histograms, and pictures of the clips at its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation_assets.showing.clips import ranked_sheet
from curation_assets.showing.figures import histograms

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


def ranked_scores(shard: Shard, scores: pa.Table, columns: tuple[str, ...]) -> dict[str, Any]:
    """Histograms of the columns, and pictures of the lowest, median and highest clips of the first."""
    metadata: dict[str, Any] = {"distributions": histograms(scores, columns)}
    sheet = ranked_sheet(shard.storage, shard.table("frames"), scores, columns[0])
    return metadata if sheet is None else {**metadata, "lowest_median_highest": sheet}
