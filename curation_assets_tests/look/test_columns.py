"""Columns on disk: as they were written, made again where they are damaged or were not ended, never those of other tables, and not more than may be kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.look import blocks, column_files, row_bits
from curation_assets.look.column_cache import LOCK, ColumnCache
from curation_assets.look.column_files import NEW, ColumnWriter, DamagedColumn, KeptColumn, reserved
from curation_assets.look.grid_order import GridQuery
from curation_assets.look.library import Collections
from curation_assets.look.views import CollectionView
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.faults.test_unwritable import PAGE, resize, small_disk
from curation_assets_tests.look.small_root import commit, fill, judge, recipes
from curation_resources.tables import TableStore
from curation_resources.unwritable import Unwritable

RULES = (("keep", True), ("motion >= 0.4", True))


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path / "root")))
    fill(made)
    return made


def opened(store: TableStore, cache: ColumnCache) -> tuple[CollectionView, list[int]]:
    """The subset as a new process has it, and what its rules leave."""
    view = Collections(store, recipes(), cache=cache).opened("toy-hq")
    view.preparation.ready(None)
    return view, [s.rows for s in view.funnel.steps(RULES)]


@given(st.lists(st.booleans(), max_size=300), st.integers(0, 310), st.integers(0, 310))
def test_sets_of_rows_are_sets(which: list[bool], offset: int, limit: int) -> None:
    mask = np.array(which, bool)
    rows = len(mask)
    bits = row_bits.of_masks([mask] if rows else [], rows)
    assert row_bits.number_of(bits) == mask.sum()
    assert (
        row_bits.rows_of(bits, rows, offset, limit).tolist() == np.flatnonzero(mask)[offset : offset + limit].tolist()
    )
    assert np.array_equal(row_bits.of_rows(np.flatnonzero(mask), rows), bits)
    turned = row_bits.without(row_bits.everything(rows), bits)
    assert row_bits.number_of(turned) == rows - mask.sum()
    assert np.array_equal(row_bits.at(bits, np.arange(rows)), mask)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 23])
def test_a_column_is_read_as_it_was_written(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (blocks, column_files):
        monkeypatch.setattr(module, "BLOCK_ROWS", 8)
    texts = [None if n % 5 == 0 else f"text {n % 3}" for n in range(rows)]
    for kind, values in (
        (pa.string(), texts),
        (pa.float32(), [None if n % 4 == 0 else n / 2 for n in range(rows)]),
        (pa.list_(pa.int64()), [[n] * (n % 3) for n in range(rows)]),
        (pa.null(), [None] * rows),
    ):
        whole = pa.array(values, kind)
        path = tmp_path / f"{kind.id}-{rows}"
        with ColumnWriter(path, kind) as writer:
            for at in range(0, rows, 5):
                writer.add(whole.slice(at, 5))
        column = KeptColumn(path, rows)
        assert [v for b in range(blocks.blocks_of(rows)) for v in column.block(b).to_pylist()] == values
        chosen = np.random.default_rng(0).permutation(rows)
        assert column.take(chosen).to_pylist() == [values[r] for r in chosen]
        column.let_go()
        assert column.take(chosen).to_pylist() == [values[r] for r in chosen]
    with ColumnWriter(tmp_path / "codes", pa.string(), coded=True) as writer:
        writer.add(pa.array(texts, pa.string()))
    column = KeptColumn(tmp_path / "codes", rows)
    assert column.names is not None
    codes = column.take(np.arange(rows)).to_pylist()
    assert [None if c is None else column.names[c] for c in codes] == texts
    assert column.names == list(dict.fromkeys(t for t in texts if t is not None))


def test_what_is_torn_or_flipped_is_not_read(tmp_path: Path) -> None:
    values = pa.array(np.arange(1000.0))
    for name, damage in (
        ("torn", lambda data: data[: len(data) // 2]),
        ("empty", lambda data: b""),
        ("flipped", lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:]),
    ):
        with ColumnWriter(tmp_path / name, values.type) as writer:
            writer.add(values)
        file = tmp_path / f"{name}.arrow"
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(DamagedColumn):
            KeptColumn(tmp_path / name, 1000).block(0)
    begun = ColumnWriter(tmp_path / "begun", values.type)
    begun.add(values)
    begun.__exit__(RuntimeError, RuntimeError(), None)
    assert not list(tmp_path.glob("begun*"))
    assert not list(tmp_path.glob(f"{NEW}*"))
    with pytest.raises(DamagedColumn, match="other rows"):
        KeptColumn(tmp_path / "flipped", 10**6)


def test_columns_serve_later_processes_and_are_made_again_where_they_are_damaged(
    store: TableStore, tmp_path: Path
) -> None:
    cache = ColumnCache(tmp_path / "cache")
    view, wanted = opened(store, cache)
    folder = view.candidates.folder.path
    files = {f.name: f.stat().st_mtime_ns for f in folder.glob("*.arrow")}
    assert any(name.startswith("motion") for name in files)
    assert opened(store, cache)[1] == wanted
    assert {f.name: f.stat().st_mtime_ns for f in folder.glob("*.arrow")} == files
    for file in folder.glob("*"):
        if file.suffix == ".arrow":
            data = file.read_bytes()
            file.write_bytes(data[:-200] if "motion" in file.name else data[:400] + bytes(8) + data[408:])
        elif file.suffix == ".sums" and "keep" in file.name:
            file.unlink()
    found, rows = opened(store, cache)
    assert rows == wanted
    assert [i["id"] for i in found.rows(GridQuery((), limit=2))["items"]] == ["v0_0_500", "v0_1000_1500"]


def test_another_table_has_other_columns_and_those_before_go(store: TableStore, tmp_path: Path) -> None:
    cache = ColumnCache(tmp_path / "cache")
    view, before = opened(store, cache)
    old = view.candidates.folder.path
    rows = store.read("motion_scores", "toy-00000").to_pylist()
    commit(store, "motion_scores", "toy-00000", [row | {"motion": 0.9} for row in rows])
    judge(store, "toy-hq")
    other, after = opened(store, cache)
    assert after[-1] > before[-1]
    assert old.exists(), "somebody looks at it still"
    assert [s.rows for s in view.funnel.steps(RULES)] == before
    view.candidates.folder.close()
    cache.sweep(other.candidates.folder.path.name.partition("-")[0])
    assert not old.exists()
    assert other.candidates.folder.path.exists()


def test_a_column_of_shards_is_that_of_their_tables_now(store: TableStore, tmp_path: Path) -> None:
    cache, rule = ColumnCache(tmp_path / "cache"), [("similarity > 0.5", True)]
    view, _ = opened(store, cache)
    assert view.funnel.steps(rule)[-1].rows == 2
    rows = store.read("dedup", "toy-00000").to_pylist()
    commit(store, "dedup", "toy-00000", [row | {"similarity": 0.8} for row in rows])
    assert opened(store, cache)[0].funnel.steps(rule)[-1].rows == 9


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    cache = ColumnCache(tmp_path / "cache", 25_000)
    used = cache.folder(["a", "used"], "1")
    for age, name in enumerate(("new", "old", "older")):
        folder = cache.folder(["a", name], "1")
        (folder.path / "column.arrow").write_bytes(bytes(10_000))
        folder.close()
        os.utime(folder.path / LOCK, (1_000_000 - age, 1_000_000 - age))
    (used.path / "column.arrow").write_bytes(bytes(10_000))
    os.utime(used.path / LOCK, (1, 1))
    cache.sweep()
    left = {f.name for f in cache.root.iterdir()} if cache.root else set()
    assert used.path.name in left, "it is in use, though it was opened first"
    assert len(left) == 2


def test_where_the_cache_cannot_be_written_columns_are_temporary(store: TableStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    view, rows = opened(store, ColumnCache(tmp_path / "file" / "cache"))
    assert rows == opened(store, ColumnCache(tmp_path / "cache"))[1]
    assert not view.candidates.folder.path.is_relative_to(tmp_path / "file")


def test_a_full_disk_is_one_sentence_and_leaves_nothing_begun(store: TableStore, tmp_path: Path) -> None:
    wanted = opened(store, ColumnCache(tmp_path / "cache"))[1]
    with small_disk(tmp_path / "small", 24 * PAGE):
        filler = tmp_path / "small" / "filler"
        filler.write_bytes(bytes(20 * PAGE))
        cache = ColumnCache(tmp_path / "small")
        with pytest.raises(Unwritable, match="is full; make room, lower CURATION_LOOK_CACHE_GB"):
            opened(store, cache)
        assert not list((tmp_path / "small").glob(f"*/{NEW}*"))
        with pytest.raises(Unwritable, match="is full"), open(tmp_path / "small" / "vectors", "w+b") as file:
            reserved(file, np.float16, (10**6, 4))
        (tmp_path / "small" / "vectors").unlink()
        resize(tmp_path / "small", 1 << 20)
        assert opened(store, cache)[1] == wanted


def test_a_root_that_may_only_be_read_is_looked_at(store: TableStore, tmp_path: Path) -> None:
    wanted = opened(store, ColumnCache(tmp_path / "one"))[1]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "root").rglob("*")}
    for path in [tmp_path / "root", *before]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert opened(store, ColumnCache(tmp_path / "other"))[1] == wanted
    finally:
        for path in [tmp_path / "root", *before]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "root").rglob("*")} == before, "nothing is written there"
