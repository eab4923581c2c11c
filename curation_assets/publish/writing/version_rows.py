"""The table of a version while it is written: its rows come shard by shard, and go to a local file in the order of their key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.publish.curating.ordered_rows import OrderedRows, regrouped
from curation_assets.schemas import schema
from curation_resources import sealed_parquet
from curation_resources.table_contracts import conform
from curation_resources.tables import GROUP_ROWS

BY_VIDEO = 2
"""Columns of the key, dataset and video, of which ranges of rows are told apart."""
READ_ROWS = 32_768
SHOWN = 20
"""Rows that could not be made that are shown."""


class VersionRows:
    """The rows of a version.

    Args:
        kind: `clip_dataset` or `embedding_dataset`.
        version: its name.
        folder: a local one, which the caller removes.

    Attributes:
        path: the table in key order, once it is written.
        failed: clip and reason of the first that could not be made, likewise.
    """

    def __init__(self, kind: str, version: str, folder: Path) -> None:
        self.path, self.failed = folder / "version.parquet", list[tuple[str, str | None]]()
        self._version, self._contract = version, schema(kind)
        self._rows = OrderedRows(
            Path(mkdtemp(prefix="rows-", dir=folder)), self._contract.arrow, self._contract.key, BY_VIDEO
        )

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows, those of a shard at a time."""
        said = ({**row, "version": self._version} for row in rows)
        self._rows.add(pa.Table.from_pylist(list(said), schema=self._contract.arrow))

    def write(self) -> None:
        """Writes the table; nothing is added after that.

        Raises:
            ContractError: the rows break the contract of their table.
        """
        with pq.ParquetWriter(self.path, self._contract.arrow, compression="lz4") as writer:
            parts = (conform(part, self._contract) for part in self._rows)
            for group in regrouped(parts, GROUP_ROWS):
                bad = group.filter(pc.equal(group["status"], "failed")).slice(0, SHOWN - len(self.failed))
                self.failed += list(zip(*(bad[n].to_pylist() for n in ("clip_id", "error")), strict=True))
                writer.write_table(group, row_group_size=GROUP_ROWS)

    def read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of the table that was written, in order."""
        with pq.ParquetFile(self.path) as file:
            yield from sealed_parquet.row_batches(file, READ_ROWS, columns)

    def made(self, columns: list[str], every: int) -> list[dict[str, Any]]:
        """Every so many of the rows that could be made, the first among them."""
        found, seen = list[dict[str, Any]](), 0
        for batch in self.read([*columns, "status"]):
            good = batch.filter(pc.equal(batch["status"], "ok"))
            found += good.take(pa.array(range(-seen % every, good.num_rows, every), pa.int64())).to_pylist()
            seen += good.num_rows
        return found
