"""What must hold of every table: its contract (which the store enforces when it commits) and its accounting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

CONTRACT_CHECK = "contract"
MIN_YIELD = 0.5
"""Share of usable rows below which a warning is given."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one table."""

    check: str
    passed: bool
    description: str
    blocking: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


def usable(asset: str, table: pa.Table) -> pa.Table:
    """The rows that the next stage must account for: those that came out well."""
    return (
        table.filter(pc.equal(table["status"], "ok"))
        if "status" in table.column_names and asset != "video_metadata"
        else table
    )


def outcomes(table: pa.Table) -> dict[str, int]:
    """Status -> rows; a table without a status is all ok."""
    if "status" not in table.column_names:
        return {"ok": table.num_rows}
    return {t["values"]: t["counts"] for t in pc.value_counts(table["status"]).to_pylist()}


def accounting(source: str | None, asset: str, table: pa.Table, read: Callable[[str], pa.Table]) -> Iterator[Finding]:
    """Checks that every usable row of `source` has its row, or rows, in `table`.

    Args:
        source: asset whose rows must be accounted for; None checks nothing but counts.
        asset: asset of `table`.
        table: a table that fits its schema.
        read: asset -> its table for the same shard.
    """
    by = outcomes(table)
    metadata: dict[str, Any] = {"rows": table.num_rows, **by}
    if source is None:
        yield Finding(CONTRACT_CHECK, True, f"{table.num_rows} rows fit the schema", metadata=metadata)
        return
    key = "clip_id" if "clip_id" in table.column_names and source != "raw_shards" else "video_id"
    wanted = pc.unique(usable(source, read(source))[key].drop_null())
    found = pc.unique(table[key].drop_null())
    lost = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    strange = found.filter(pc.invert(pc.is_in(found, value_set=wanted)))
    metadata["rows_in"] = len(wanted)
    if len(lost):
        yield Finding(
            CONTRACT_CHECK,
            False,
            f"{len(lost)} rows of {source} have no row, the first is {lost[0].as_py()}",
            metadata=metadata,
        )
    elif len(strange):
        yield Finding(
            CONTRACT_CHECK,
            False,
            f"{len(strange)} rows are not in {source}, the first is {strange[0].as_py()}",
            metadata=metadata,
        )
    else:
        yield Finding(CONTRACT_CHECK, True, f"all {len(wanted)} rows of {source} are accounted for", metadata=metadata)
