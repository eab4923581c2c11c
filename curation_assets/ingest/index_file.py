"""The index being written on this machine: rows in key order go in, and what is asked of it afterwards is worked out on the way."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.engine.slices import SliceHashes
from curation_assets.schemas import schema
from curation_resources.content_hash import ContentHasher

ROW_GROUP = 16_384
"""Rows of a row group of the index: small enough that one shard is read without much else."""


class IndexFile:
    """A local Parquet file of `dataset_index`.

    Args:
        path: where it is written. It is read again when the table is committed, so it is packed to be quick rather than small.
    """

    def __init__(self, path: str | Path) -> None:
        contract = schema("dataset_index")
        self._path, self._form = Path(path), contract.arrow
        self._file = pq.ParquetWriter(path, self._form, compression="lz4", write_page_index=True)
        self._hash = ContentHasher(self._form, contract.volatile, contract.later)
        self._slices = SliceHashes("dataset_index")
        self._held: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        """Adds rows; they come in order of shards and video ids."""
        self._held.append(rows.cast(self._form))
        if sum(t.num_rows for t in self._held) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._held).combine_chunks()
        self._held = []
        self._file.write_table(table, row_group_size=2 * ROW_GROUP)
        self._hash.update(table)
        self._slices.update(table)

    def __enter__(self) -> IndexFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._held and kind is None:
            self._flush()
        self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    @property
    def content_hash(self) -> str:
        """Of all that was written, once the block has ended."""
        return self._hash.hexdigest()

    @property
    def slices(self) -> pa.Table:
        """Of all that was written, once the block has ended: `slices.FORM`."""
        return self._slices.table()
