"""The instance of deploy/dagster.cluster.yaml on a real PostgreSQL server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, AssetMaterialization, AssetRecordsFilter, DagsterInstance

from curation_assets.orchestration.partitions import register_shards
from curation_assets_tests.deploy.conftest import DEPLOY


@pytest.fixture
def home(tmp_path: Path, database: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME with the storage, concurrency and retention that clusters get; no bucket and no Kubernetes."""
    config = yaml.safe_load((DEPLOY / "dagster.cluster.yaml").read_text())
    for other in ("run_launcher", "compute_logs", "run_monitoring"):
        del config[other]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    for name, value in database.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_two_processes_share_shards_events_and_pools(home: Path) -> None:
    """What the graph asks of an instance, written through one connection and read through another."""
    keys = [f"videos-{n:05d}" for n in range(300)]
    with DagsterInstance.from_config(str(home)) as writer, DagsterInstance.from_config(str(home)) as reader:
        assert type(writer.run_storage).__name__ == "PostgresRunStorage"
        assert register_shards(writer, keys) == keys
        assert register_shards(reader, [*keys[:5], "videos-00300"]) == ["videos-00300"]
        assert writer.get_dynamic_partitions("shards") == [*keys, "videos-00300"]  # ranges follow insertion order
        writer.report_runless_asset_event(AssetMaterialization("clips", partition=keys[7], metadata={"rows": 3}))
        found = reader.fetch_materializations(
            AssetRecordsFilter(AssetKey("clips"), asset_partitions=[keys[7]]), limit=9
        )
        assert [r.partition_key for r in found.records] == [keys[7]]
        reader.event_log_storage.set_concurrency_slots("gpu", 1)
        assert writer.event_log_storage.get_concurrency_info("gpu").slot_count == 1


def test_shards_registered_at_once_are_registered_once(home: Path) -> None:
    """Two pods that index at the same time."""
    keys = [f"race-{n:05d}" for n in range(50)]
    with DagsterInstance.from_config(str(home)) as one, DagsterInstance.from_config(str(home)) as two:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda instance: register_shards(instance, keys), (one, two)))
        assert [k for k in one.get_dynamic_partitions("shards") if k.startswith("race-")] == keys
