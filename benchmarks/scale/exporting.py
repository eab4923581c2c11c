"""Step `export`: what is selected and what the version in force has, put into batches in one pass; then a batch is read and told apart by shard.

Nothing is cut: that costs what `benchmarks.export` measures. The version in force has a row for each selected clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.curate import PER_SHARD, RULES, generate
from benchmarks.ingest import measured
from benchmarks.scale.curating import CLIPS, publish
from benchmarks.scale.rows import Line, Row
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.writing.batch_rows import ExportBatches
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

KEY = "bench-s"


def publish_version(root: str) -> None:
    """A table of exported clips that names those that are selected."""
    import pyarrow as pa

    store = TableStore(Storage(root), SCHEMAS)
    names = ["dataset", "video_id", "clip_id", "split"]
    curated = store.read("curated_clips", KEY, [*names, "selected"])
    rows = curated.filter(curated["selected"]).select(names)
    said = {"sample_key": rows["clip_id"], "status": "failed", "error": "not cut", "row_fingerprint": "0" * 32}
    for name, value in said.items():
        rows = rows.append_column(name, value if name == "sample_key" else pa.array([value] * rows.num_rows))
    form = schema("clip_dataset").arrow
    columns = [rows[f.name] if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type) for f in form]
    store.commit("clip_dataset", KEY, pa.table(columns, schema=form), Provenance("1"))


def batches(root: str) -> ExportBatches:
    store = TableStore(Storage(root), SCHEMAS)
    curated, version = (store.header(asset, KEY) for asset in ("curated_clips", "clip_dataset"))
    assert curated is not None
    return ExportBatches(store, Pieces(store.storage, "pieces"), curated, version)


def plan(root: str) -> None:
    """As the step that plans an export."""
    print(f"    {len(batches(root).shards)} batches", flush=True)


def read_batch(root: str) -> None:
    """As a step that cuts a batch, before it cuts."""
    found = batches(root).read(0)
    print(f"    {sum(t.num_rows for t in found.selected.values()):,} rows of {len(found.selected)} shards", flush=True)


def export(folder: Path, share: float) -> Iterator[Line]:
    """The plan, and a batch."""
    clips, root = int(CLIPS * share) // PER_SHARD * PER_SHARD, f"{folder}/scores"
    measured(generate, root, clips, False)
    measured(publish, root, RULES, False)
    measured(publish_version, root)
    yield Row("export: rows put into batches", clips, CLIPS, measured(plan, root))
    shards, full = len(batches(root).shards[0]), CLIPS // PER_SHARD
    yield Row("export: a batch read, its shards", shards, full, measured(read_batch, root))
