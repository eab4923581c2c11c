"""Which clips of a shard a stage looks at, and the rows of those that it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


def passing_clips(shard: Shard, rules: list[str]) -> pa.Table:
    """The shard's clips that pass a pre-filter."""
    from curation_assets.rules.columns import select_clips

    clips = shard.table("clips")
    if not rules:
        return clips
    return clips.filter(
        pc.is_in(
            clips["clip_id"], value_set=pa.array(sorted(select_clips(rules, shard.recipe, shard.table)), pa.string())
        )
    )


def with_skipped(scores: pa.Table, clips: pa.Table, constants: Mapping[str, Any]) -> pa.Table:
    """`scores` with a row of nulls and the given constants for each real clip that a pre-filter left out."""
    left_out = clips.filter(
        pc.and_(
            pc.equal(clips["status"], "ok"),
            pc.invert(pc.is_in(clips["clip_id"], value_set=scores["clip_id"].combine_chunks())),
        )
    )
    if not left_out.num_rows:
        return scores
    rows = [{**row, **constants} for row in left_out.select(["dataset", "video_id", "clip_id"]).to_pylist()]
    return pa.concat_tables([scores, pa.Table.from_pylist(rows, schema=scores.schema)])
