"""What the seeds' own sizes take: `python -m benchmarks.scale [--share 0.03] [--folder FOLDER] [--steps index curate ...]`.

Generates lists and tables of the real shape (HD-VILA: 20 to 40 spans a row; ACAV: one span a row; scores of clips) at a share of the seeds' sizes, runs
the steps in processes of their own, and prints what was measured beside what that makes at full size, in proportion to the number of rows. A
share of 1 is the full size; then nothing is extrapolated. HD-VILA's list has 7.8 GB then, and as much again is spooled. The search for near-duplicates has a benchmark of its
own (`benchmarks.dedup`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.curate import curate_one, generate, recipe
from benchmarks.ingest import Cost, measured
from benchmarks.scale_inputs import write_acav, write_hdvila
from curation_assets.schemas import SCHEMAS
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

HDVILA_ROWS, ACAV_ROWS, CLIPS = 3_300_000, 60_000_000, 100_000_000


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    rows: int
    full: int
    cost: Cost

    def line(self) -> str:
        cpu_s = self.cost.cpu_s * self.full / self.rows
        how = "measured" if self.rows >= self.full else "extrapolated"
        return (
            f"| {self.what} | {self.rows:,} | {self.cost.cpu_s:.1f} | {self.rows / self.cost.cpu_s:,.0f} | {self.cost.peak_mb:.0f} "
            f"| {self.full:,} | {cpu_s:,.0f} ({how}) |"
        )


def bring_index(root: str, form: str, path: str, videos: int) -> None:
    """`dataset_index`, as a run brings it up to date."""
    from curation_assets.engine.run import Run
    from curation_assets.ingest import source_states
    from curation_assets.ingest.index_maker import update_index
    from curation_assets.recipes import Recipe
    from curation_assets.settings import Settings

    source_states.RACY_S = 0.0
    os.environ["DAGSTER_HOME"] = f"{root}-home"
    made = Recipe.model_validate(
        {"dataset": "bench", "source": {"format": form, "path": path}, "shard": {"videos": videos}}
    )
    store = TableStore(Storage(root), SCHEMAS)
    update_index(Run(store, {"bench": made}, Settings(storage=root)))


def hash_slices(root: str) -> None:
    """The slices of an index that has none beside it."""
    from curation_assets.engine.slices import read_slices

    store = TableStore(Storage(root), SCHEMAS)
    header = store.header("dataset_index")
    assert header is not None
    for name in store.storage.list("dataset_index/slices"):
        store.storage.remove(f"dataset_index/slices/{name}")
    read_slices(store, header)


def publish_curated(root: str, scratch: str) -> None:
    """The curated table of the benchmark's subset, which `what_if` goes over."""
    from curation_assets.publish.curating.curating import curate
    from curation_assets.publish.curating.subset_inputs import curated_provenance

    store, made = TableStore(Storage(root), SCHEMAS), recipe("random")
    shards = [("bench", k) for k in store.partitions("clips")]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        found = curate("bench-s", made.subsets["s"], {"bench": made}, shards, store.read, Path(folder))
        digest = store.file_content_hash("curated_clips", found.path)
        provenance = curated_provenance(store, {"bench": made}, "bench-s")
        store.commit_file("curated_clips", "bench-s", found.path, provenance, digest)


def judge_again(root: str) -> None:
    """Another threshold, from the columns that the curated table keeps."""
    from curation_assets.publish.curating.what_if import what_if

    made = recipe("random")
    plain = made.model_copy(
        update={
            "subsets": {
                "s": made.subsets["s"].model_copy(update={"where": ["keep", "motion >= 0.02", "sharpness > 5"]})
            }
        }
    )
    found = what_if(TableStore(Storage(root), SCHEMAS), {"bench": made}, plain, "s", ["motion >= 0.1"])
    assert found.kept


def index(folder: Path, share: float) -> None:
    """Indexing, again with nothing changed, and the slices of an index that has none."""
    lists: Mapping[str, tuple[Callable[[Path, int], None], int, int]] = {
        "hdvila": (write_hdvila, HDVILA_ROWS, 100),
        "acav": (write_acav, ACAV_ROWS, 2000),
    }
    for form, (write, full, videos) in lists.items():
        rows, path, root = (
            int(full * share),
            folder / f"{form}.{'jsonl' if form == 'hdvila' else 'csv'}",
            f"{folder}/{form}",
        )
        write(path, rows)
        for what in ("index", "index again, nothing changed"):
            cost = measured(bring_index, root, form, str(path), videos)
            print(Row(f"{form}: {what}", rows, full, cost).line(), flush=True)
        print(Row(f"{form}: slices of an index without", rows, full, measured(hash_slices, root)).line(), flush=True)
        path.unlink()


def curating(folder: Path, share: float) -> None:
    """Judging all clips, and again for another threshold."""
    clips, root = int(CLIPS * share) // 10_000 * 10_000, f"{folder}/scores"
    measured(generate, root, clips, False)
    print(Row("curated_clips", clips, CLIPS, measured(curate_one, root, "random", str(folder))).line(), flush=True)
    measured(publish_curated, root, str(folder))
    print(Row("report --what-if, kept columns", clips, CLIPS, measured(judge_again, root)).line(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.02, help="of the seeds' sizes")
    parser.add_argument("--steps", nargs="+", choices=["index", "curate"], default=["index", "curate"])
    parser.add_argument("--folder", help="where the temporary files go")
    options = parser.parse_args()
    print(
        "| what | rows | CPU s | rows per CPU s | peak MB | full size | CPU s at full size |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for step in options.steps:
            (index if step == "index" else curating)(Path(name), options.share)


if __name__ == "__main__":
    main()
