"""What the index knows of datasets that have no row: it says so of none that has one, however its source was read."""

from __future__ import annotations

from curation_assets.engine.declared import EMPTY, TAKEN_DOWN
from curation_assets.ingest.index_maker import _without_rows
from curation_assets.ingest.index_plan import IndexPlan
from curation_resources.provenance import Provenance
from curation_resources.table_headers import TableHeader


def test_a_dataset_with_rows_is_none_without_also_while_some_of_its_files_are_being_written() -> None:
    stats = {EMPTY: ["a", "b", "c", "d"], TAKEN_DOWN: {"a": 1, "e": 2}}
    before = TableHeader("dataset_index", None, 0, Provenance("1", None), "", "", stats)
    plans = [
        IndexPlan("a", shards=("a-00000",), unsettled=1),
        IndexPlan("b", unsettled=1),
        IndexPlan("c", error="its list cannot be read"),
        IndexPlan("e", forgotten=3),
        IndexPlan("f", error="its list cannot be read"),
    ]
    assert _without_rows(plans, before) == ({"b", "c", "d", "e"}, {"a": 1, "e": 3})
    assert _without_rows(plans, None) == ({"e"}, {"e": 3})
