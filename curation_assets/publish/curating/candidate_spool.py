"""Judged candidates on disk: spooled shard by shard, then written in key order with what was chosen of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.choice_marks import Marks
from curation_assets.publish.curating.cluster_sizes import ClusterSizes
from curation_assets.publish.curating.grouped_rows import GroupedRows
from curation_assets.publish.curating.ordered_rows import BUCKET_ROWS, KEY_STRIDE, MAX_BUCKETS, bounds_of, buckets_of
from curation_assets.schemas import schema
from curation_resources.tables import GROUP_ROWS
from curation_resources.written_table import WrittenTable

BATCH_ROWS = 32_768
"""Rows that are spooled and divided at a time."""


class CandidateSpool:
    """Judged candidates on disk, in the order in which they were judged; `selected` says whether they passed the rules.

    Args:
        folder: a local one.
        asset: whose columns are kept of the candidates: `curated_clips` or `curated_tracks`.
    """

    def __init__(self, folder: Path, asset: str) -> None:
        self.path, self.folder, self.contract = folder / "candidates.arrow", folder, schema(asset)
        self.clusters = ClusterSizes()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(str(self.path), self.contract.arrow, options=options)
        self._held: list[pa.Table] = []
        self._keys: list[str] = []
        self._rows = self._total = 0

    def write(self, table: pa.Table) -> None:
        """Adds the judged candidates of a shard; columns that the asset does not have are left out, those that are missing are null."""
        table = _fitted(table, self.contract.arrow)
        self._held.append(table)
        noted = np.arange(-self._total % KEY_STRIDE, table.num_rows, KEY_STRIDE)
        self._keys += _key(table.select(["dataset", "video_id"]).take(noted)).to_pylist()
        self._rows += table.num_rows
        self._total += table.num_rows
        if self._rows >= BATCH_ROWS:
            self._flush()
        if "cluster_id" in table.column_names:
            self.clusters.add(table["cluster_id"])

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._rows = [], 0

    def close(self) -> None:
        """Ends the file; it can be read then."""
        self._flush()
        self._writer.close()

    def bounds(self) -> list[str]:
        """Keys that divide the rows into ranges of about `BUCKET_ROWS`."""
        return bounds_of(self._keys, self._total, BUCKET_ROWS, MAX_BUCKETS)


def _fitted(table: pa.Table, arrow: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `arrow`, null where it has none."""
    columns = [
        table[f.name].cast(f.type)
        if f.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, f.type)])
        for f in arrow
    ]
    return pa.table(columns, schema=arrow)


def write_chosen(spool: CandidateSpool, marks: Marks, written: WrittenTable) -> Iterator[pa.Table]:
    """Adds the choice to the spooled rows and writes them in key order; gives them part by part as they are written.

    A bucket sort on disk: rows go to ranges of the key of about `BUCKET_ROWS`, which are sorted one by one.

    Args:
        spool: closed.
        marks: the choice, in the order of the spool.
        written: the table that is written.
    """
    contract, bounds = spool.contract, spool.bounds()
    buckets = GroupedRows(spool.folder, "bucket", contract.arrow)
    for batch in _chosen(spool, marks):
        buckets.add(pa.Table.from_batches([batch]), buckets_of(_key(batch), bounds))
    buckets.close()
    spool.path.unlink()
    for number in range(len(bounds) + 1):
        table = buckets.read(number)
        buckets.remove(number)
        if "cluster_size" in contract.names:
            table = _with_cluster_sizes(table, spool.clusters)
        yield written.add(table, GROUP_ROWS)


def _key(rows: pa.Table | pa.RecordBatch) -> pa.Array | pa.ChunkedArray:
    """What rows are put into ranges by: all rows of a video have the same; in the order of dataset and video."""
    return pc.binary_join_element_wise(rows["dataset"], rows["video_id"], "\0")


def _with_cluster_sizes(table: pa.Table, clusters: ClusterSizes) -> pa.Table:
    """Fills `cluster_size`: candidates of the clip's cluster, 1 for unique clips, null where near-duplicates were not looked for."""
    known = pc.if_else(
        pc.is_valid(table["keep"]).combine_chunks(), clusters.of(table["cluster_id"]), pa.scalar(None, pa.int32())
    )
    return table.set_column(table.column_names.index("cluster_size"), table.schema.field("cluster_size"), known)


def _chosen(spool: CandidateSpool, marks: Marks) -> Iterator[pa.RecordBatch]:
    """The spooled rows with what was chosen of them."""
    with pa.OSFile(str(spool.path)) as source, pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            passed = batch["selected"].to_numpy(zero_copy_only=False)
            yield _replaced(batch, **marks.of(batch, passed, batch["drop_reason"]))


def _replaced(batch: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    return pa.record_batch([columns.get(f.name, batch[f.name]) for f in batch.schema], schema=batch.schema)
