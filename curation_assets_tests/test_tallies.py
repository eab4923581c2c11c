"""The numbers of many tables added up: right, read once for each file, and there after whatever happens to where they are kept."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curation_assets.engine.heads import cache_path
from curation_assets.engine.tallies import TABLES, Tallies, summed
from curation_assets.outcome import SHOWN_SHARDS, summary
from curation_assets.recipes import parse_recipe
from curation_assets.report import reports
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore


class Counting(TableStore):
    """A store that counts the footers that are read."""

    read_footers = 0

    def header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        self.read_footers += 1
        return super().header(asset, partition)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Thirty shards of one dataset and one of another whose name begins likewise; every third has a video that failed."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    found = Counting(Storage(str(tmp_path / "data")), {})
    for number in range(30):
        commit(found, f"a-{number:05d}", number)
    commit(found, "a_b-00000", 1000)
    return found


def commit(store: TableStore, shard: str, number: int) -> None:
    errors = {"gone": 1} if number % 3 == 0 else {}
    stats = {"ok": number, "cpu_s": 0.5, "errors": errors, "probe": {"long": "x" * 1000}, "faults": {}}
    store.commit("raw_shards", shard, pa.table({"video_id": [shard] * 2}), Provenance("1"), stats)


def total(store: TableStore) -> TableHeader:
    found = summed(Tallies(store).headers("raw_shards", "a"))
    assert found is not None
    return found


def test_numbers_of_a_dataset_are_added_up_and_each_footer_is_read_once(store: Counting) -> None:
    found = total(store)
    assert found.rows == 60
    assert found.stats == {TABLES: 30, "ok": sum(range(30)), "cpu_s": 15.0, "errors": {"gone": 10}}
    assert found.size == sum(h.size or 0 for k, h in store.headers("raw_shards").items() if k.startswith("a-"))
    store.read_footers = 0
    assert total(store) == found
    assert store.read_footers == 0
    commit(store, "a-00004", 104)
    store.storage.remove(store.path("raw_shards", "a-00029"))
    again = total(store)
    assert (again.stats[TABLES], again.stats["ok"], store.read_footers) == (29, sum(range(29)) + 100, 1)


def test_a_file_that_is_no_database_costs_a_second_reading(store: Counting) -> None:
    found = total(store)
    kept = cache_path(store.storage, "tallies")
    assert kept is not None
    (file,) = kept.parent.glob("tallies-*")
    file.write_bytes(b"no database at all" * 100)
    assert total(store) == found
    file.unlink(missing_ok=True)
    file.mkdir()
    assert total(store) == found


def test_the_sum_of_many_shards_is_that_of_their_lines(store: Counting) -> None:
    shards = [f"a-{n:05d}" for n in range(31)]
    lines = summary(store, shards).splitlines()[2:]
    assert [line.split()[0] for line in lines[:-1]] == [k for k in shards if int(k[-5:]) % 3 == 0]
    assert lines[-1].split()[:5] == ["all", "31", "shards", "60", str(sum(range(30)))]
    assert "gone 10" in lines[-1]
    few = summary(store, shards[:SHOWN_SHARDS]).splitlines()[2:]
    assert [line.split()[0] for line in few] == shards[:SHOWN_SHARDS]
    assert [line.split()[2] for line in few] == [str(n) for n in range(SHOWN_SHARDS)]


def test_reports_of_datasets_are_the_sums_of_their_footers(store: Counting) -> None:
    rows = [
        {
            "dataset": d,
            "video_id": f"v{n}",
            "shard": f"{d}-00000",
            "status": status,
            "source": "s",
            "line": n,
            "record": "{}",
        }
        for d in ("a", "a_b")
        for n, status in enumerate(["present", "present", "removed"])
    ]
    store.commit(
        "dataset_index",
        None,
        pa.Table.from_pylist(rows, schema("dataset_index").arrow),
        Provenance("1"),
        {"cpu_s": 4.0},
    )
    recipes = [parse_recipe(f"dataset: {d}\nsource: {{format: folder, path: /v}}\n", d) for d in ("a", "a_b")]
    a, other = reports(store, recipes, Settings(price_core_hour=3600.0))
    assert [(s.name, s.rows) for s in a.steps] == [
        ("source rows", 3),
        ("  of them removed", 1),
        ("videos in the source", 2),
        ("videos fetched", sum(range(30))),
    ]
    assert a.failures == {"gone": 10}
    assert [(c.asset, c.tables, c.rows, c.cpu_s) for c in a.costs] == [
        ("dataset_index", 1, 3, 2.0),
        ("raw_shards", 30, 60, 15.0),
    ]
    assert a.cost == pytest.approx(17.0)
    assert [(c.asset, c.tables, c.cpu_s) for c in other.costs] == [("dataset_index", 1, 2.0), ("raw_shards", 1, 0.5)]
    store.read_footers = 0
    assert list(reports(store, recipes, Settings(price_core_hour=3600.0))) == [a, other]
    assert store.read_footers <= 4, "of the index and the clusters, and of no shard"
