"""Step `index`: the lists of HD-VILA and ACAV indexed, again with nothing changed, changed and in another order, and the slices of an index that has none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.ingest import measured
from benchmarks.scale.lists import changed, scattered, write_acav, write_hdvila
from benchmarks.scale.rows import Line, Row
from curation_assets.schemas import SCHEMAS
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

HDVILA_ROWS, ACAV_ROWS = 3_300_000, 60_000_000
SIZES = {"hdvila": (HDVILA_ROWS, 100), "acav": (ACAV_ROWS, 2000)}
"""Rows of a list, and videos of a shard."""


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


def index(folder: Path, share: float) -> Iterator[Line]:
    """Both lists."""
    yield from _index("hdvila", "jsonl", write_hdvila, int(HDVILA_ROWS * share), folder)
    yield from index_acav(folder, share)


def index_acav(folder: Path, share: float) -> Iterator[Line]:
    """ACAV's list alone; then one that changed, and one in another order, beside the index of it."""
    rows, (full, videos) = int(ACAV_ROWS * share), SIZES["acav"]
    yield from _index("acav", "csv", write_acav, rows, folder)
    path = folder / "acav.csv"
    for what, numbers in (("one row in a hundred gone, one new", changed), ("rows in another order", scattered)):
        write_acav(path, rows, numbers=numbers(rows))
        yield Row(f"acav: {what}", rows, full, measured(bring_index, f"{folder}/acav", "acav", str(path), videos))
    path.unlink()


def _index(form: str, ending: str, write: Callable[[Path, int], None], rows: int, folder: Path) -> Iterator[Line]:
    """Indexing, again with nothing changed, and the slices of an index that has none."""
    full, videos = SIZES[form]
    path, root = folder / f"{form}.{ending}", f"{folder}/{form}"
    write(path, rows)
    for what in ("index", "index again, nothing changed"):
        yield Row(f"{form}: {what}", rows, full, measured(bring_index, root, form, str(path), videos))
    yield Row(f"{form}: slices of an index without", rows, full, measured(hash_slices, root))
    path.unlink()
