"""Contact sheets that are gone: found by the footers that name them, and drawn again from the tables that they are of, without making these again.

What belongs here: which sheets are gone, and drawing one anew. What does not: what a sheet shows (the components' `shown`), and sheets of pictures that are no longer at
hand once the table is made, such as those of subsets: the next making of these draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from curation_assets.engine.made_of import SHARDED
from curation_assets.engine.shard import Shard
from curation_assets.engine.sheets import put_sheet, sheet_path
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import UNPARTITIONED
from curation_resources.storage_errors import StorageError
from curation_resources.table_headers import SHEET, TableHeader
from curation_resources.tables import READERS, TableStore


def tables_with_sheets(store: TableStore, most: int | None = None) -> Iterator[tuple[TableHeader, bool]]:
    """(header, whether its sheet is there) of each table that names one, in graph order; damaged tables are left out.

    Args:
        most: of each asset only so many tables, from all over it.
    """

    def look(table: tuple[str, str | None]) -> tuple[TableHeader, bool] | None:
        try:
            header = store.header(*table)
        except StorageError:
            return None
        if header is None or not header.sheet:
            return None
        return header, store.storage.exists(sheet_path(store, *table))

    with ThreadPoolExecutor(READERS) as pool:
        for asset in SCHEMAS:
            keys: list[str | None] = [None] if asset in UNPARTITIONED else list(store.partitions(asset))
            if most is not None and len(keys) > most:
                keys = [keys[i] for i in np.linspace(0, len(keys) - 1, most).round().astype(int).tolist()]
            yield from filter(None, pool.map(look, [(asset, key) for key in keys]))


def can_be_redrawn(asset: str) -> bool:
    """Whether what a sheet of the asset shows may follow from the table."""
    return asset in SHARDED


def redraw(shard: Shard, header: TableHeader) -> bool:
    """Draws the sheet of a table of a shard again. Where the picture comes out otherwise than before, the table is committed with the new one's hash, and nothing else of it
    changes.

    Returns:
        False if the sheet does not follow from the table; nothing is written then.

    Raises:
        MissingTable: what the sheet shows does not exist.
        Superseded: another run has committed the table since.
    """
    store, asset = shard.store, header.asset
    table = store.read(asset, shard.key)
    _, shown = SHARDED[asset].shown(shard, table)
    said = put_sheet(store, asset, shard.key, shown)
    if not said:
        return False
    if said[SHEET] != header.sheet:
        store.commit(asset, shard.key, table, header.provenance, {**header.stats, **said}, header)
    return True
