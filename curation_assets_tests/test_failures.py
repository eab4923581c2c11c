"""Failures of clips counted: by table and reason, from numbers alone where nobody asks why, and with tables that go away while they are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from curation_assets import failures as counting
from curation_assets.contracts.checks import failed_rows
from curation_assets.contracts.component import Component
from curation_assets.engine.tallies import Tallies
from curation_assets.failures import TABLES, failures
from curation_assets.outcome import SHOWN_SHARDS
from curation_assets.recipes import parse_recipe
from curation_assets.registry import component
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import MissingTable, TableStore

RECIPE = parse_recipe("dataset: a\nsource: {format: folder, path: /v}\naudio: {}\n", "a.yaml")


class Watched(TableStore):
    """Notes which tables' rows are read; those `gone` are removed by somebody before that."""

    def __init__(self, root: Path, gone: Sequence[str] = ()) -> None:
        super().__init__(Storage(str(root)), SCHEMAS)
        self.gone, self.asked = gone, list[str]()

    def read(
        self,
        asset: str,
        partition: str | None = None,
        columns: Sequence[str] | None = None,
        filters: ds.Expression | None = None,
    ) -> pa.Table:
        self.asked.append(partition or "")
        if partition in self.gone:
            raise MissingTable(asset, partition)
        return super().read(asset, partition, columns, filters)


def made(store: TableStore, shard: str, errors: Mapping[str, str | None]) -> None:
    """Commits scores of clips with these errors, and the numbers that a run keeps with them."""
    rows: list[dict[str, Any]] = [
        {"dataset": "a", "video_id": v, "clip_id": f"{v}_0_1000", "estimator": "e", "error": why}
        for v, why in errors.items()
    ]
    table = pa.Table.from_pylist(rows, schema=schema("audio_scores").arrow)
    store.commit("audio_scores", shard, table, Provenance("1", None), failed_rows(table))


def test_reasons_that_differ_in_ids_and_numbers_are_one_and_each_shard_counts(tmp_path: Path) -> None:
    store = Watched(tmp_path)
    made(store, "a-00000", {"v1": "v1_0_1000: no sound in v1 at 300 ms", "v2": None, "v3": "too loud"})
    made(store, "a-00001", {"w1": "w1_0_1000: no sound in w1 at 7 ms", "w2": None})
    made(store, "a-00002", {"x1": None})
    (found,) = failures(store, Tallies(store, remember=False), RECIPE)
    command = "`curation list failed --why audio_scores`"
    assert found.line == f"3 of 6 clips without audio_scores: no sound in ... at 300 ms (2); too loud (1): {command}"
    assert sorted(store.asked) == ["a-00000", "a-00001"]
    (found,) = failures(store, Tallies(store, remember=False), RECIPE, shards={"a-00001"})
    assert found.line == f"1 of 2 clips without audio_scores: no sound in ... at 7 ms: {command}"
    assert list(failures(store, Tallies(store, remember=False), RECIPE, shards={"a-00002", "a-00003"})) == []


def test_of_few_shards_no_other_tables_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Watched(tmp_path)
    for n in range(SHOWN_SHARDS + 2):
        made(store, f"a-{n:05}", {f"v{n}": "too loud"})
    asked = [f"a-{n:05}" for n in range(SHOWN_SHARDS + 1)]
    (found,) = failures(store, Tallies(store, remember=False), RECIPE, shards=set(asked))
    assert (found.failed, found.rows) == (SHOWN_SHARDS + 1, SHOWN_SHARDS + 1)
    monkeypatch.setattr(Tallies, "headers", lambda *_: pytest.fail("all tables would be looked at"))
    (found,) = failures(store, Tallies(store, remember=False), RECIPE, shards={asked[0], asked[3], "b-00000"})
    assert (found.failed, found.rows, found.looked_at) == (2, 2, 2)


def test_of_many_tables_some_are_read_and_none_where_numbers_are_enough(tmp_path: Path) -> None:
    store = Watched(tmp_path)
    for n in range(TABLES + 3):
        made(store, f"a-{n:05}", {f"v{n}": "too loud"})
    (found,) = failures(store, Tallies(store, remember=False), RECIPE)
    assert (found.failed, found.looked_at, len(store.asked)) == (TABLES + 3, TABLES, TABLES)
    assert "too loud (of the first 20): `curation" in found.line
    store.asked.clear()
    (found,) = failures(store, Tallies(store, remember=False), RECIPE, reasons=False)
    assert (found.failed, found.rows, store.asked) == (TABLES + 3, TABLES + 3, [])
    assert found.line == "23 of 23 clips without audio_scores: `curation list failed --why audio_scores`"


def test_a_table_that_is_removed_while_it_is_counted_is_passed_over(tmp_path: Path) -> None:
    made(Watched(tmp_path), "a-00000", {"v1": "too loud"})
    made(Watched(tmp_path), "a-00001", {"w1": "too quiet"})
    store = Watched(tmp_path, gone=["a-00000"])
    (found,) = failures(store, Tallies(store, remember=False), RECIPE)
    assert found.line.startswith("2 of 2 clips without audio_scores: too quiet (of the first 1): ")


def test_tables_of_packages_may_have_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Watched(tmp_path)
    made(store, "a-00000", {"v1": "too loud", "v2": None})
    known: Component = component("audio_scores")
    other = replace(known, table=replace(known.table, key=("video_id", "clip_id", "estimator")))
    monkeypatch.setattr(counting, "COMPONENTS", [other])
    (found,) = failures(store, Tallies(store, remember=False), RECIPE)
    assert found.line.startswith("1 of 2 rows without audio_scores: too loud: ")
