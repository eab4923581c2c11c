"""The IO manager: hands tables of the store to assets, and stores what assets return.

What an input receives is decided by its type annotation alone, never by how many partitions a run happens to have:

    pyarrow.Table            the table of the run's one partition, or of an unpartitioned asset
    Mapping[str, Table]      (or `ShardTables`) partition -> table for all partitions of the run, read when asked for
    pyarrow.dataset.Dataset  a lazy dataset over all partitions that exist
"""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from dagster import DataVersion, Failure, InputContext, IOManager, MetadataValue, OutputContext

from curation_resources.provenance import Provenance
from curation_resources.shard_tables import ShardTables
from curation_resources.tables import MissingTable, TableStore
from curation_resources.words import plural


@dataclass(frozen=True)
class Committed:
    """What an asset returns that has committed its partitions itself, one by one."""

    partitions: tuple[str, ...] = ()


class TableIOManager(IOManager):
    """Stores and loads the tables of a `TableStore`."""

    def __init__(self, store: TableStore) -> None:
        self.store = store

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        if isinstance(obj, Committed) or obj is None:
            return
        asset = context.asset_key.path[-1]
        keys: list[str | None] = list(context.asset_partition_keys) if context.has_asset_partitions else [None]
        if isinstance(obj, pa.Table):
            if len(keys) != 1:
                raise TypeError(
                    f"{asset} returned one table for {plural(len(keys), 'partition')}; return a mapping from partition to table"
                )
            tables: Mapping[str | None, pa.Table] = {keys[0]: obj}
        elif isinstance(obj, collections.abc.Mapping):
            missing = [k for k in keys if k not in obj]
            if missing:
                raise ValueError(
                    f"{asset} returned no table for {', '.join(map(str, missing))}; return an empty one rather than none"
                )
            tables = {k: obj[k] for k in keys}
        else:
            raise TypeError(
                f"{asset} returned {type(obj).__name__}; return a pyarrow.Table, or a mapping from partition to table"
            )
        version = context.version or ""
        headers = [self.store.commit(asset, k, t, Provenance(version)) for k, t in tables.items()]
        context.add_output_metadata(
            {
                "dagster/row_count": sum(h.rows for h in headers),
                "path": MetadataValue.path(self.store.storage.uri(self.store.path(asset, keys[0]))),
            }
        )
        if len(headers) == 1 and context.step_context is not None:
            context.step_context.set_data_version(context.asset_key, DataVersion(headers[0].content_hash))

    def load_input(self, context: InputContext) -> Any:
        asset = context.asset_key.path[-1]
        wanted = context.dagster_type.typing_type
        origin = typing.get_origin(wanted) or wanted
        if isinstance(origin, type) and issubclass(origin, ds.Dataset):
            return self.store.dataset(asset)
        keys = list(context.asset_partition_keys) if context.has_asset_partitions else []
        if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
            return ShardTables(self.store, asset, keys)
        if origin is not pa.Table:
            raise TypeError(
                f"input {context.name}: annotate it as pyarrow.Table, Mapping[str, pyarrow.Table] or pyarrow.dataset.Dataset, not {wanted}"
            )
        if len(keys) > 1:
            raise TypeError(
                f"input {context.name} is one table, but the run has {plural(len(keys), 'partition')} of {asset}; annotate it as Mapping[str, pyarrow.Table]"
            )
        try:
            return self.store.read(asset, keys[0] if keys else None)
        except MissingTable as error:
            raise Failure(str(error), allow_retries=False) from error
