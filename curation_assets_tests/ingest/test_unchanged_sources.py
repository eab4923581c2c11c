"""A source whose files are the same is left alone, one that may say something else is read, and what was read outlives what fails later."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from curation_assets.engine import slices
from curation_assets.engine.maker import Refused
from curation_assets.engine.run import Run
from curation_assets.engine.shard import Shard
from curation_assets.engine.slices import read_slices, slice_hashes
from curation_assets.ingest import index_database, index_file, indexing, source_states
from curation_assets.ingest.forgotten import add_tombstones, id_key
from curation_assets.ingest.index_maker import update_index
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

OLD = time.time() - 1000


class Sources:
    """Lists of ids, and how often each was read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.reads = folder, list[str]()
        monkeypatch.setattr(source_states, "RACY_S", 0.0)
        monkeypatch.setenv("DAGSTER_HOME", str(folder / "home"))
        spool = indexing.spool

        def counted(recipe: Recipe, *arguments: Any) -> Any:
            self.reads.append(recipe.dataset)
            return spool(recipe, *arguments)

        monkeypatch.setattr(indexing, "spool", counted)
        self.store = TableStore(Storage(str(folder / "root")), SCHEMAS)
        self.recipes: dict[str, Recipe] = {}

    def write(self, dataset: str, *ids: str) -> Path:
        path = self.folder / f"{dataset}.txt"
        path.write_text("".join(f"{i}\n" for i in ids))
        source = {"format": "ids", "path": str(path)}
        self.recipes[dataset] = Recipe.model_validate({"dataset": dataset, "source": source, "shard": {"videos": 2}})
        return path

    def index(self, **options: Any) -> tuple[list[str], dict[str, Any], bool]:
        """(datasets that were read, dataset -> what was planned, whether the index was written)."""
        self.reads.clear()
        run = Run(self.store, self.recipes, Settings(storage="."), **options)
        _, plans, changed = update_index(run)
        return list(self.reads), {p.dataset: p for p in plans}, changed

    def statuses(self) -> dict[str, str]:
        table = self.store.read("dataset_index")
        return dict(zip(table["video_id"].to_pylist(), table["status"].to_pylist(), strict=True))


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    made = Sources(tmp_path, monkeypatch)
    made.write("a", "a1", "a2", "a3")
    made.write("b", "b1", "b2")
    return made


def test_unchanged_sources_are_left_alone_and_say_what_they_said(sources: Sources) -> None:
    read, first, changed = sources.index()
    assert (read, changed) == (["a", "b"], True)
    read, again, changed = sources.index()
    assert (read, changed) == ([], False)
    assert {d: (p.shards, p.present, p.rows_read, p.removed) for d, p in again.items()} == {
        d: (p.shards, p.present, p.rows_read, p.removed) for d, p in first.items()
    }
    assert [p.added for p in again.values()] == [0, 0]
    before = sources.store.read("dataset_index")
    sources.write("b", "b1", "b2", "b3")
    read, plans, changed = sources.index()
    assert (read, changed, plans["b"].added, plans["a"].present) == (["b"], True, 1, 3)
    assert sources.store.read("dataset_index").slice(0, 5).equals(before)
    assert sources.index()[0] == []


def test_whatever_may_say_something_else_is_read(sources: Sources) -> None:
    sources.index()
    path = sources.write("a", "a1", "a2", "a9")  # as long, and as old as the clock says
    os.utime(path, (OLD, OLD))
    sources.index()
    path.write_text("a1\na2\na8\n")
    os.utime(path, (OLD, OLD))
    read, *_ = sources.index()
    assert read == ["a"]
    assert sources.statuses()["a8"] == "present"
    assert sources.index()[0] == []
    assert sources.index(force=True)[0] == ["a", "b"]
    sources.recipes["b"] = sources.recipes["b"].model_copy(
        update={"shard": sources.recipes["b"].shard.model_copy(update={"videos": 7})}
    )
    assert sources.index()[0] == ["b"]
    add_tombstones(sources.store, [id_key("a", "a1")], "asked")
    assert sources.index()[0] == ["a", "b"]
    header = sources.store.header("dataset_index")
    assert header is not None
    table = sources.store.read("dataset_index")
    sources.store.commit("dataset_index", None, table.slice(1), header.provenance, {}, header)  # as a takedown does
    assert sources.index()[0] == ["a", "b"]


def test_a_file_that_changed_just_now_counts_as_another_next_time(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_states, "RACY_S", 1000.0)
    sources.index()
    assert sources.index()[0] == ["a", "b"]


def test_what_was_read_is_there_after_a_failure(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *arguments: Any) -> Any:
        raise duckdb.OutOfMemoryException("could not allocate block")

    with monkeypatch.context() as failing:
        failing.setattr(index_database.IndexDatabase, "write", full)
        with pytest.raises(Refused, match="CURATION_INDEX_MEMORY_MB"):
            sources.index()
    assert sources.reads == ["a"]
    sources.write("b", "b1", "b2", "b3")
    read, plans, changed = sources.index()
    assert (read, changed, plans["a"].present) == (["b"], True, 3)
    assert not list((sources.folder / "home/cache").glob("index-*/*"))


def test_slices_lie_beside_the_index_and_are_what_a_shard_hashes(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "ROW_GROUP", 3)
    monkeypatch.setattr(slices, "BATCH_ROWS", 3)
    sources.write("a", *(f"a{n:03d}" for n in range(23)))
    sources.index()
    header = sources.store.header("dataset_index")
    assert header is not None
    beside = read_slices(sources.store, header)
    assert beside["shard"].to_pylist() == [*(f"a-{n:05d}" for n in range(12)), "b-00000"]
    assert sum(beside["rows"].to_pylist()) == header.rows
    for row in beside.to_pylist():
        shard = Shard(row["shard"], sources.recipes["a"], sources.store, Settings(storage="."), None)
        assert shard.slice_hash("dataset_index") == row["content_hash"]
    (file,) = sources.store.storage.list("dataset_index/slices")
    sources.store.storage.remove(f"dataset_index/slices/{file}")
    assert slice_hashes(sources.store, "dataset_index") == dict(
        zip(beside["shard"].to_pylist(), beside["content_hash"].to_pylist(), strict=True)
    )
    scattered = sources.store.read("dataset_index").take([*range(0, 25, 2), *range(1, 25, 2)])
    monkeypatch.setattr(slices, "PASS_ROWS", 4)
    monkeypatch.setattr(
        TableStore,
        "batches",
        lambda self, asset, columns, rows: (scattered.select(columns) if columns else scattered).to_batches(
            max_chunksize=rows
        ),
    )
    assert slice_hashes(sources.store, "dataset_index") == dict(
        zip(beside["shard"].to_pylist(), beside["content_hash"].to_pylist(), strict=True)
    )
    sources.write("a", "a000")
    sources.index()
    assert len(sources.store.storage.list("dataset_index/slices")) == 1
