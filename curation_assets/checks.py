"""What must hold of every table: its contract (which the store enforces when it commits), its accounting, and what its component declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.checks import Finding, outcomes
from curation_assets.registry import component
from curation_assets.schemas import schema
from curation_resources.table_headers import TableHeader
from curation_resources.table_reading import TableReader
from curation_resources.words import plural

CONTRACT_CHECK = "contract"


def usable(asset: str, table: pa.Table) -> pa.Table:
    """The rows that the next stage must account for: those that came out well."""
    if "status" not in table.column_names or component(asset).every_row:
        return table
    return table.filter(pc.equal(table["status"], "ok"))


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
        yield Finding(
            CONTRACT_CHECK, True, f"{plural(table.num_rows, 'row fits', 'rows fit')} the schema", metadata=metadata
        )
        return
    key = "clip_id" if "clip_id" in table.column_names and "clip_id" in component(source).table.names else "video_id"
    wanted = pc.unique(usable(source, read(source))[key].drop_null())
    found = pc.unique(table[key].drop_null())
    lost = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    strange = found.filter(pc.invert(pc.is_in(found, value_set=wanted)))
    metadata["rows_in"] = len(wanted)
    if len(lost):
        yield Finding(
            CONTRACT_CHECK,
            False,
            f"{plural(len(lost), f'row of {source} has', f'rows of {source} have')} no row, the first is {lost[0].as_py()}",
            metadata=metadata,
        )
    elif len(strange):
        yield Finding(
            CONTRACT_CHECK,
            False,
            f"{plural(len(strange), 'row is', 'rows are')} not in {source}, the first is {strange[0].as_py()}",
            metadata=metadata,
        )
    else:
        yield Finding(
            CONTRACT_CHECK,
            True,
            f"{plural(len(wanted), f'row of {source}, which is', f'rows of {source}, all of which are')} accounted for",
            metadata=metadata,
        )


def further(store: TableReader, header: TableHeader) -> Iterator[Finding]:
    """The findings of an asset's checks beside its contract, on a committed table."""
    for check in component(header.asset).checks:
        if check.sampled:
            table = store.sample(header, check.columns)
        elif check.counted is not None:
            parts = store.groups(header.asset, check.columns, header.partition)
            none = schema(header.asset).empty().select(check.columns)
            table = pa.concat_tables([check.counted(part) for part in chain([none], parts)])
        else:
            table = store.read(header.asset, header.partition, check.columns)
        yield check.judge(table, header.stats, store.storage)


def check_names(asset: str) -> list[str]:
    """All checks of an asset, the contract first."""
    return [CONTRACT_CHECK, *(c.name for c in component(asset).checks)]
