"""The rows of a dataset leave an index or get another name, whatever lies beside them and in however many row groups."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation_assets.engine.declared import EMPTY, TAKEN_DOWN, stats_without
from curation_assets.engine.slices import read_slices, slice_hashes
from curation_assets.ingest import renamed_rows
from curation_assets.ingest.renamed_rows import rewrite_index, rows_of_dataset
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.content_hash import content_hash
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

DATASETS = ("a", "a0", "a_b", "b", "ba")


def _index() -> pa.Table:
    form = schema("dataset_index")
    rows = [
        {"dataset": d, "video_id": f"v{shard}{n}", "shard": f"{d}-{shard:05d}", "status": "present"}
        for d in DATASETS
        for shard in range(3)
        for n in range(5)
    ]
    given = {name: [row.get(name) for row in rows] for name in form.names}
    columns = [
        pa.array(given[f.name], f.type)
        if f.nullable or given[f.name][0] is not None
        else pa.array([0] * len(rows)).cast(f.type)
        for f in form.arrow
    ]
    return pa.table(columns, schema=form.arrow)


def _to(new: str) -> renamed_rows.Change:
    def change(rows: pa.Table) -> pa.Table:
        named = {
            "dataset": pa.array([new] * len(rows)),
            "shard": pc.binary_join_element_wise(new, pc.utf8_slice_codeunits(rows["shard"], -5), "-"),
        }
        for name, column in named.items():
            rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), column)
        return rows

    return change


@pytest.mark.parametrize("rows", [4, 7, 1000])
@pytest.mark.parametrize("new", ["0", "a1", "a_b", "aa", "c", None])
def test_an_index_is_as_one_that_was_sorted_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, new: str | None
) -> None:
    monkeypatch.setattr("curation_resources.tables.SLICED_ROWS", rows)
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    store.commit("dataset_index", None, _index(), Provenance("1"), {"videos": 75})
    before = store.read("dataset_index")
    own = pc.equal(before["dataset"], "a_b")
    assert pa.concat_tables(rows_of_dataset(store, "a_b")).equals(before.filter(own))
    rewrite_index(store, "a_b", new, _to(new) if new else None)
    moved = [_to(new)(before.filter(own))] if new else []
    expected = store.prepare("dataset_index", pa.concat_tables([before.filter(pc.invert(own)), *moved]))
    found, header = store.read("dataset_index"), store.header("dataset_index")
    assert found.equals(expected)
    assert header is not None
    contract = schema("dataset_index")
    assert header.content_hash == content_hash(expected, contract.key, contract.volatile, contract.later)
    assert header.stats == {"videos": 75}
    said = slice_hashes(store, "dataset_index")
    store.storage.remove_all([f"dataset_index/slices/{n}" for n in store.storage.list("dataset_index/slices")])
    assert said == dict(
        zip(*(read_slices(store, header)[n].to_pylist() for n in ("shard", "content_hash")), strict=True)
    )


def test_what_the_index_knows_of_datasets_without_rows_goes_with_their_names() -> None:
    stats = {EMPTY: ["a", "b"], TAKEN_DOWN: {"a": 2, "c": 1}, "rows_in": 5}
    index = TableHeader("dataset_index", None, 0, Provenance("1", None), "", "", stats)
    assert stats_without(index, "a") == {EMPTY: ["b"], TAKEN_DOWN: {"c": 1}, "rows_in": 5}
    assert stats_without(index, "a", "z") == {EMPTY: ["b", "z"], TAKEN_DOWN: {"z": 2, "c": 1}, "rows_in": 5}
    assert stats_without(index, "d", "z") == stats
