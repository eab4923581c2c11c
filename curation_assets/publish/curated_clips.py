"""Table curated_clips: every candidate clip of a subset with its scores, selected or with the first rule that dropped it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.checks import Check, Finding
from curation_assets.contracts.component import Component
from curation_assets.contracts.costs import Figure, measured
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_KEYS,
    DOUBLE,
    INT32,
    INT64,
    STRING,
    Column,
    TableSchema,
    identifier,
    taken_from,
)
from curation_assets.decode.clips import SHOT
from curation_assets.publish.curating.versions import CURATE_VERSION
from curation_resources.storage import Storage
from curation_resources.words import plural

VIDEO_COLUMNS = ("licence", "channel")
"""Columns of raw_shards that say something of a clip's video."""


def curated_columns(components: Sequence[Component]) -> list[Column]:
    """The columns that a candidate takes over from the tables of its clip, in graph order."""
    found = []
    for component in components:
        for column in component.curated:
            own = column if isinstance(column, Column) else None
            found.append(own or taken_from(component.table.column(str(column)).type, f"{component.asset}.{column}"))
    return found


_COUNTED = pa.schema(
    [("selected", pa.int64()), ("duplicates", pa.int64()), ("not_compared", pa.int64()), ("first", pa.string())]
)


def _copies(rows: pa.Table) -> pa.Table:
    """Of some candidates: how many are selected, how many of these have a better copy or were compared with none, and the first that has one."""
    selected = rows.filter(rows["selected"])
    copies = selected.filter(pc.equal(selected["keep"], False))
    first = copies["clip_id"][0].as_py() if copies.num_rows else None
    numbers = (selected.num_rows, copies.num_rows, selected["keep"].null_count, first)
    return pa.table([[n] for n in numbers], schema=_COUNTED)


def _no_duplicates(counted: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    numbers = {n: pc.sum(counted[n]).as_py() or 0 for n in ("selected", "duplicates", "not_compared")}
    said = f"no duplicate among {plural(numbers['selected'], 'selected clip')}"
    if numbers["not_compared"]:
        said += f"; {numbers['not_compared']} were compared with none"
    if numbers["duplicates"]:
        first = counted["first"].drop_null()[0].as_py()
        said = f"{plural(numbers['duplicates'], 'selected clip has', 'selected clips have')} a better copy, the first is {first}; the rule keep leaves them out"
    return Finding("no_duplicates", not numbers["duplicates"], said, False, numbers)


def declare(components: Sequence[Component]) -> Component:
    """The component, over those of all other tables: what they say of a clip stands in it."""
    table = TableSchema(
        "curated_clips",
        "a candidate clip and whether it was selected",
        ("dataset", "video_id", "clip_id"),
        (
            *CLIP_KEYS,
            identifier("shard", "Shard of the clip."),
            Column("selected", BOOL, "Whether the clip is in the subset.", nullable=False),
            Column("drop_reason", STRING, "First rule or criterion that dropped it; null if selected."),
            Column("split", STRING, "train, val or test; null if not selected."),
            Column("start_ms", INT64, "Start of the clip.", taken="clips.start_ms"),
            Column("end_ms", INT64, "End of the clip.", taken="clips.end_ms"),
            Column("start_frame", INT64, "First frame.", taken="clips.start_frame"),
            Column("end_frame", INT64, "One past the last frame.", taken="clips.end_frame"),
            Column("width", INT32, "Displayed width.", taken="clips.width"),
            Column("height", INT32, "Displayed height.", taken="clips.height"),
            Column("fps", DOUBLE, "Frame rate.", taken="clips.fps"),
            Column("origin", STRING, "How the span was found.", taken="clips.origin"),
            Column(
                "shots", pa.list_(SHOT), "Shots of the clip, as frames of the video.", taken="clips.shots", later=("",)
            ),
            *curated_columns([c for c in components if c.built_in]),
            *(taken_from(STRING, f"raw_shards.{name}") for name in VIDEO_COLUMNS),
            *(replace(c, later=("",)) for c in curated_columns([c for c in components if not c.built_in])),
        ),
    )
    return Component(
        table,
        "publish",
        partitioned="subset",
        code_version=CURATE_VERSION,
        in_subset=lambda subset: subset.of == "clips",
        candidates="clips",
        checks=(
            Check(
                "no_duplicates",
                "No selected clip has a better copy, in any shard or dataset.",
                False,
                _no_duplicates,
                ("clip_id", "selected", "keep"),
                counted=_copies,
            ),
        ),
        charted=tuple(name for c in components for name in c.charted),
        figure=measured(Figure("clip", (7.0e-6, 9.5e-6), where="reference/benchmarks.md")),
    )
