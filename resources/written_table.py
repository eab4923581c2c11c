"""A table written to a local file just as it will lie in storage, so that committing it copies bytes.

What belongs here: writing, part after part. What does not: committing (`tables.commit_written`), other rows or columns of a table that is there (`parquet_columns`).
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from curation_resources import sealed_parquet
from curation_resources.content_hash import ContentHasher, HashParts
from curation_resources.table_contracts import TableContract, conform


class WrittenTable:
    """A table that comes in parts: each is held against the contract, hashed and compressed once.

    Args:
        path: the Parquet file, which is there once the block ends.
        contract: of a table without media.

    Attributes:
        rows: how many were added.
    """

    def __init__(self, path: Path, contract: TableContract) -> None:
        self.path, self.contract = path, contract
        self._hasher = ContentHasher(contract.arrow, contract.volatile, contract.later)
        self._open = ExitStack()

    def __enter__(self) -> WrittenTable:
        self._writer = self._open.enter_context(
            pq.ParquetWriter(self.path, self.contract.arrow, **sealed_parquet.WRITING)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def rows(self) -> int:
        return self._hasher.rows

    @property
    def parts(self) -> HashParts:
        """What the content hash is made of."""
        return self._hasher.parts()

    def add(self, table: pa.Table, group_rows: int) -> pa.Table:
        """Writes the next rows, sorted by key, in row groups of equal size and at most so many rows, and returns them as they are written.

        Args:
            table: rows in any order, all of which come behind those before in the order of the key.

        Raises:
            ContractError: they break the contract.
        """
        table = conform(table, self.contract)
        self._hasher.update(table)
        if table.num_rows:
            groups = math.ceil(table.num_rows / group_rows)
            self._writer.write_table(table, row_group_size=math.ceil(table.num_rows / groups))
        return table
