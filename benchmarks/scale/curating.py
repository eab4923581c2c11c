"""Step `curate`: all clips of a subset judged, and again for another threshold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.curate import curate_one, generate, recipe
from benchmarks.ingest import measured
from benchmarks.scale.rows import Line, Row
from curation_assets.schemas import SCHEMAS
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

CLIPS = 100_000_000


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


def curate(folder: Path, share: float) -> Iterator[Line]:
    """Judging all clips, and again for another threshold."""
    clips, root = int(CLIPS * share) // 10_000 * 10_000, f"{folder}/scores"
    measured(generate, root, clips, False)
    yield Row("curated_clips", clips, CLIPS, measured(curate_one, root, "random", str(folder)))
    measured(publish_curated, root, str(folder))
    yield Row("report --what-if, kept columns", clips, CLIPS, measured(judge_again, root))
