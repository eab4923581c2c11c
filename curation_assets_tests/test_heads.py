"""What is remembered of tables never hides that one is another, and what it says of many at once is what it says of each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.scale.standing import generate, recipe
from curation_assets.engine import heads as heads_module
from curation_assets.engine.head_columns import Head, HeadColumns, Texts, texts
from curation_assets.engine.heads import Heads
from curation_assets.engine.run_tables import RunTables
from curation_assets.engine.staleness import FRESH, SHARDED, WAITING, Graph, open_heads
from curation_assets.engine.standing import Standing
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

KEY = "d-00000"


def heads_of(found: Mapping[str, Head]) -> dict[str, tuple[str, str]]:
    return {k: (h.fingerprint, h.content_hash) for k, h in found.items()}


def header_of(store: TableStore) -> dict[str, tuple[str, str]]:
    header = store.header("clips", KEY)
    assert header is not None
    return {KEY: (header.fingerprint, header.content_hash)}


@pytest.mark.parametrize("how", ["renamed over", "in place", "in place with its old time"])
def test_a_table_of_the_same_size_in_the_same_tick_of_the_clock_is_noticed(tmp_path: Path, how: str) -> None:
    """The same inode, size and time of modification, as a file system with a coarse clock has them."""
    store = TableStore(Storage(str(tmp_path / "data")), {})
    path = tmp_path / "data/clips/d-00000.parquet"
    versions = []
    for version in ("1", "2"):
        store.commit("clips", KEY, pa.table({"n": [int(version)]}), Provenance(version))
        versions.append(path.read_bytes())
    assert len(versions[0]) == len(versions[1])
    path.write_bytes(versions[0])
    known = Heads(store, set(), tmp_path / "cache")
    assert known.look(["clips"]) == 0
    first = header_of(store)
    assert heads_of(known.of("clips")) == first
    before = path.stat()
    if how == "renamed over":
        (tmp_path / "new").write_bytes(versions[1])
        (tmp_path / "new").rename(path)
    else:
        with path.open("r+b") as file:
            file.write(versions[1])
    if how != "in place":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for looker in (known, Heads(store, set(), tmp_path / "cache")):
        assert looker.look(["clips"]) == 0
        assert heads_of(looker.of("clips")) == header_of(store) != first


def test_what_changed_just_now_is_read_again_though_nothing_tells_it_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with a tag that is the same: a clock that stands still."""

    def same(changed: int) -> tuple[list[str], Texts, NDArray[np.int64]]:
        return [KEY], texts(["same"]), np.array([changed])

    store = TableStore(Storage(str(tmp_path / "data")), {})
    store.commit("clips", KEY, pa.table({"n": [1]}), Provenance("1"))
    monkeypatch.setattr(heads_module, "_on_disk", lambda folder: same(time.time_ns()))
    known = Heads(store, set(), tmp_path / "cache")
    known.look(["clips"])
    store.commit("clips", KEY, pa.table({"n": [2]}), Provenance("2"))
    monkeypatch.setattr(heads_module, "_on_disk", lambda folder: same(0))
    for looker in (Heads(store, set(), tmp_path / "cache"), known):
        looker.look(["clips"])
        assert heads_of(looker.of("clips")) == header_of(store)


def test_what_a_run_remembers_is_not_taken_for_the_table_that_another_has_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept under the new table's tag is believed by every process after it."""
    monkeypatch.setattr(heads_module, "RACY_NS", 0)
    store = TableStore(Storage(str(tmp_path / "data")), {})
    store.commit("clips", KEY, pa.table({"n": [1]}), Provenance("1"))
    run = RunTables(store)
    assert run.header("clips", KEY) is not None
    store.commit("clips", KEY, pa.table({"n": [2]}), Provenance("2"))
    for looker in (Heads(run, set(), tmp_path / "cache"), Heads(store, set(), tmp_path / "cache")):
        assert looker.look(["clips"]) == 0
        assert heads_of(looker.of("clips")) == header_of(store)


def test_a_kept_file_that_is_torn_or_of_another_version_is_forgotten(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path / "data")), {})
    store.commit("clips", KEY, pa.table({"n": [1]}), Provenance("1"))
    cache = tmp_path / "cache"
    Heads(store, set(), cache).look(["clips"])
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], whole.replace(b"format", b"tamrof")):
        file.write_bytes(damaged)
        known = Heads(store, set(), cache)
        assert known.look(["clips"]) == 0
        assert heads_of(known.of("clips")) == header_of(store)


names = st.text("abc-01", min_size=1, max_size=6)
some = st.builds(Head, names, st.integers(0, 9), names, names, st.sampled_from(["", '{"failed":1}']), st.just(""))


@given(
    st.dictionaries(names, some), st.dictionaries(names, some), st.dictionaries(names, st.one_of(names, st.just("")))
)
@settings(max_examples=60)
def test_columns_of_heads_are_a_mapping(one: dict[str, Head], two: dict[str, Head], tags: dict[str, str]) -> None:
    both = HeadColumns.of(one).with_heads(two)
    assert dict(both) == {**one, **two}
    assert list(both) == sorted({**one, **two})
    assert dict(HeadColumns.of_table(both.table())) == dict(both)
    listed = sorted(tags)
    left = both.changed(listed, texts([tags[n] for n in listed]))
    assert dict(left) == {n: h for n, h in both.items() if tags.get(n) == h.tag != ""}
    assert [int(p) >= 0 for p in both.places(listed)] == [n in both for n in listed]


def _each(standing: Standing, apart: NDArray[np.int64]) -> Iterator[tuple[str, list[tuple[str, str, bool]]]]:
    """Each shard that is behind, and how."""
    for shards, states in standing.shards_behind(apart):
        for shard in shards:
            yield shard, [(s.asset, s.state, bool(s.fingerprint)) for s in states]


def test_many_tables_at_once_stand_as_each_by_itself(tmp_path: Path) -> None:
    """All states, by codes and one by one, after tables went, changed and broke, in two ways of looking."""
    root = str(tmp_path / "data")
    generate(root, 3)
    store, recipes = TableStore(Storage(root), SCHEMAS), {"bench": recipe()}

    def look() -> Graph:
        heads = open_heads(store, remember=False)
        heads.look(list(SHARDED))
        return Graph(store, recipes, Settings(storage=root), heads, why=True, media=True)

    def agree() -> dict[str, int]:
        graph = look()
        standing = graph.look()
        for asset in SHARDED:
            for state in standing.states(asset):
                assert state.partition is not None
                alone = graph.sharded(graph.made_of("bench", asset), state.partition, standing)
                assert (state.state, state.fingerprint) == (alone.state, alone.fingerprint)
                assert state.fingerprint == standing.fingerprint(asset, state.partition)
        apart, alike = (dict(_each(standing, numbers)) for numbers in (np.arange(3), np.zeros(3, np.int64)))
        assert apart == alike
        for asset in SHARDED:
            lacking = {graph.shards[at]: s for s, places in standing.lacking(asset, "bench") for at in places}
            waits = {s.partition for s in standing.behind(asset) if "waits for" in "".join(s.reasons)}
            alone = {s.partition: s.state for s in standing.behind(asset)}
            assert lacking == {k: s for k, s in alone.items() if s != WAITING or k not in waits}
        behind = [(s.asset, s.partition) for s in standing.all_behind()]
        states = list(graph.states())
        assert behind == [(s.asset, s.partition) for s in states if s.state != FRESH]
        counts: dict[str, int] = {}
        for state in states:
            counts[state.state] = counts.get(state.state, 0) + 1
        assert sum((standing.counts(a) for a in SCHEMAS), start=type(standing.counts("clips"))()) == counts
        return counts

    assert agree() == {"fresh": 16 * 3 + 2 + 4}
    folder = tmp_path / "data"
    (folder / "motion_scores/bench-00001.parquet").unlink()
    assert agree()["missing"] == 1
    (folder / "clips/bench-00000.parquet").write_bytes(b"torn")
    next((folder / "frames/bench-00002").glob("*.tar")).unlink()
    (folder / "video_metadata/bench-00002.parquet").unlink()
    counts = agree()
    assert counts["stale"] >= 2
    assert counts["missing"] == 2
    assert counts["waiting"] > 5
    for asset in ("captions", "tracks"):
        for table in (folder / asset).glob("*.parquet"):
            table.unlink()
    assert agree()["missing"] == 8
