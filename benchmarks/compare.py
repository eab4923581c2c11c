"""What `curation compare` takes and holds: `python -m benchmarks.compare --clips 100000 1000000`.

Two roots, each with a judged subset and the spans, scores and embeddings of all its clips; in the second one every tenth score is another, one clip in a thousand is gone and one in five has
another boundary. Two published versions, as lists with a record of a sample of 3 kB each. Each comparison is the real command in a process of its own; what Python and
the libraries hold before anything is read is told by comparing two roots of one clip.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.look import PER_SHARD, candidates
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_resources.provenance import Provenance

DIMENSIONS = 64
WORDS = "one who walks along a road in the rain " * 60


def other(table: pa.Table) -> pa.Table:
    """The same candidates as another recipe would have them."""
    rng = np.random.default_rng(1)
    motion = table["motion"].to_numpy().copy()
    motion[rng.random(len(motion)) < 0.1] *= 0.9
    table = table.set_column(
        table.column_names.index("motion"), "motion", pa.array(motion, pa.float64()).cast(table["motion"].type)
    )
    moved = pa.array(rng.random(len(motion)) < 0.2)
    end = pa.compute.if_else(moved, pa.compute.add(table["end_ms"], 7), table["end_ms"]).cast(pa.int64())
    texts = [c.cast(pa.string()) for c in (table["video_id"], table["start_ms"], end)]
    ids = pa.compute.binary_join_element_wise(*texts, "_")
    for name, values in (("end_ms", end), ("clip_id", ids)):
        table = table.set_column(table.column_names.index(name), name, values.cast(table[name].type))
    return table.filter(pa.array(rng.random(len(motion)) >= 0.001))


def write_root(folder: Path, table: pa.Table) -> None:
    """The subset's table, and those of the shards."""
    store = table_store(Settings(storage=str(folder)))
    store.commit("curated_clips", "big-hq", table, Provenance("1"))
    rng = np.random.default_rng(2)
    shards = table["shard"].combine_chunks().dictionary_encode()
    for number, shard in enumerate(shards.dictionary.to_pylist()):
        rows = table.filter(pa.compute.equal(shards.indices, number))
        for asset in ("clips", "motion_scores", "frame_embeddings"):
            form = SCHEMAS[asset].arrow
            given = {n: rows[n].combine_chunks().cast(form.field(n).type) for n in form.names if n in rows.column_names}
            given["status"] = pa.array(["ok"] * rows.num_rows)
            given["model"] = given["estimator"] = given["detector"] = pa.array(["m"] * rows.num_rows)
            given["time_ms"] = pa.array(np.zeros(rows.num_rows, np.int64))
            values = pa.array(rng.random(rows.num_rows * DIMENSIONS), pa.float32())
            offsets = pa.array(np.arange(rows.num_rows + 1) * DIMENSIONS, pa.int32())
            given["embedding"] = pa.ListArray.from_arrays(offsets, values)
            columns = [given[f.name].cast(f.type) if f.name in given else pa.nulls(rows.num_rows, f.type) for f in form]
            store.commit(asset, shard, pa.table(columns, schema=form), Provenance("1"))


def write_version(folder: Path, table: pa.Table) -> None:
    """A list of samples, with a record for each."""
    folder.mkdir()
    (folder / "croissant.json").write_text("{}")
    names = ("dataset", "video_id", "clip_id", "start_ms", "end_ms", "motion", "sharpness")
    with pq.ParquetWriter(folder / "metadata.parquet", pa.schema([("record", pa.string())])) as file:
        for batch in table.select(names).to_batches(10_000):
            said = [json.dumps({**row, "caption": WORDS, "key": row["clip_id"]}) for row in batch.to_pylist()]
            file.write_table(pa.table({"record": said}))


def asked(what: str, clips: int, *words: str) -> None:
    """Prints what a comparison took."""
    code = (  # of this program alone: what getrusage has as the most is also what the process that started it held
        "import sys; from curation_assets.cli import main; found = main(sys.argv[1:]); "
        "(most,) = [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')]; "
        "print('most', int(most) // 1024, file=sys.stderr); sys.exit(found)"
    )
    before, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *words], capture_output=True, text=True, env=os.environ
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 1), done.stderr
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    held = done.stderr.split("most")[-1].strip()
    print(
        f"{clips:>9,}  {what:<24}  {time.perf_counter() - before:7.1f} s  {used:7.1f} s CPU  {held:>6} MB", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, nargs="+", default=[1, 100_000, 1_000_000])
    arguments = parser.parse_args()
    print(f"shards of {PER_SHARD:,} clips, embeddings of {DIMENSIONS}")
    for clips in arguments.clips:
        with tempfile.TemporaryDirectory() as scratch:
            folder, a = Path(scratch), pa.concat_tables(candidates(clips)).combine_chunks()
            b = other(a) if clips > 1 else a
            for name, table in (("a", a), ("b", b)):
                write_root(folder / name, table)
                write_version(folder / f"v{name}", table)
            asked("two roots", clips, str(folder / "a"), str(folder / "b"))
            asked("the subset alone", clips, str(folder / "a"), str(folder / "b"), "--table", "curated_clips")
            asked("two published versions", clips, str(folder / "va"), str(folder / "vb"))


if __name__ == "__main__":
    main()
