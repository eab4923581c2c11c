"""Selected rows come shard by shard as a filter over the whole table would give them."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation_assets.publish.curating import selected_rows as module
from curation_assets.publish.curating.selected_rows import selected_rows
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import MissingTable, TableStore


def curated(seed: int, rows: int) -> pa.Table:
    chance = random.Random(seed)
    return pa.table(
        {
            "clip_id": [f"c{n:05d}" for n in range(rows)],
            "shard": [f"d-{chance.randrange(12):05d}" for _ in range(rows)],
            "selected": [chance.random() < 0.4 for _ in range(rows)],
        }
    )


@pytest.mark.parametrize("group_rows", [1, 20, 10_000])
def test_each_shard_has_its_selected_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", group_rows)
    monkeypatch.setattr(module, "BATCH_ROWS", 37)
    store = TableStore(Storage(str(tmp_path)), {})
    passes = []
    batches = TableStore.batches
    monkeypatch.setattr(TableStore, "batches", lambda self, *given: passes.append(given[1]) or batches(self, *given))
    for seed in range(2):
        table = curated(seed, 300)
        store.commit("curated_clips", "d-all", table, Provenance(str(seed)))
        passes.clear()
        for shard in [f"d-{n:05d}" for n in (3, 11, 0, 3, 7, *range(12), 99)]:
            wanted = table.filter(pc.and_(table["selected"], pc.equal(table["shard"], shard)))
            found = selected_rows(store, "curated_clips", "d-all")
            assert found.of(shard).equals(wanted), shard
            assert found.counts.get(shard, 0) == wanted.num_rows
        assert list(found.counts) == sorted(found.counts)
        assert passes == [["shard", "selected"], None], "the table is read once, whatever is asked for"


def test_nothing_selected_and_no_table(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path)), {})
    with pytest.raises(MissingTable):
        selected_rows(store, "curated_clips", "d-all")
    table = curated(0, 5).set_column(2, "selected", pa.array([False] * 5))
    store.commit("curated_clips", "d-all", table, Provenance("1"))
    found = selected_rows(store, "curated_clips", "d-all")
    assert found.counts == {}
    assert found.of("d-00001").equals(table.slice(0, 0))
