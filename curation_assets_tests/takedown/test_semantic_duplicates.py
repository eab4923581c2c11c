"""Groups of semantic duplicates that videos were of are dissolved where nothing can be compared, in however many row groups the table lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation_assets.registry import component
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_assets.takedown.plan import TakedownPlan
from curation_assets.takedown.semantic_duplicates import DUPLICATES, forget_in_semantic_duplicates
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore


def _row(number: int) -> dict[str, Any]:
    """Three clips that follow each other are a group, ten a shard."""
    known: dict[str, Any] = {
        "dataset": "d",
        "video_id": f"v{number:03d}",
        "clip_id": f"v{number:03d}_0_5",
        "shard": f"d-{number // 10:05d}",
        "semantic_cluster_id": f"c{number // 3:03d}",
    }
    for column in schema(DUPLICATES).columns:
        if column.name not in known and not column.nullable:
            known[column.name] = "x" if pa.types.is_string(column.type) else pa.scalar(0).cast(column.type).as_py()
    return known


class _Plan:
    """What is asked of a plan to take two videos down, whose shards were judged by nothing."""

    def __init__(self) -> None:
        self.shards = ()
        self.hashes: dict[str, dict[str, str]] = {component(DUPLICATES).inputs[0]: {}}
        self.slices: dict[str, dict[str, str]] = {DUPLICATES: {}}

    def of(self, table: pa.Table) -> pa.ChunkedArray:
        return pc.is_in(table["video_id"], value_set=pa.array(["v004", "v031"]))


def test_the_groups_of_videos_that_go_are_dissolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation_resources.tables.SLICED_ROWS", 7)
    store, said = TableStore(Storage(str(tmp_path)), SCHEMAS), list[str]()
    given = pa.Table.from_pylist([_row(n) for n in range(50)], schema(DUPLICATES).arrow)
    store.commit(DUPLICATES, None, given, Provenance("1"), {"dropped": 3})
    assert store.row_groups(DUPLICATES) > 5
    before = store.read(DUPLICATES)
    done = forget_in_semantic_duplicates(store, {}, Settings(), cast(TakedownPlan, _Plan()), said.append)
    assert done == [(DUPLICATES, None)]
    gone = pc.is_in(before["semantic_cluster_id"], value_set=pa.array(["c001", "c010"]))
    assert store.read(DUPLICATES).equals(before.filter(pc.invert(gone)))
    assert store.read(DUPLICATES).num_rows == 44
    assert forget_in_semantic_duplicates(store, {}, Settings(), cast(TakedownPlan, _Plan()), said.append) == []
