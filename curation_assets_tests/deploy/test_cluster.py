"""A shard on a cluster: dagster-k8s' own launcher and executor, steps in pods, tables in S3, the instance in PostgreSQL; two pods die."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import AssetKey, AssetRecordsFilter, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from curation_assets.schemas import SCHEMAS
from curation_assets_tests.conftest import KEYS, S3Server
from curation_assets_tests.deploy.conftest import DEPLOY, manifests
from curation_assets_tests.deploy.fake_cluster import FakeCluster, Pod, serve
from curation_assets_tests.sample_video import sample_video
from curation_resources.storage import Storage
from curation_resources.table_headers import SHEET_FILE
from curation_resources.tables import TableStore

ROOT = DEPLOY.parent
LOG = logging.getLogger(__name__)
SHARD = "videos-00000"
STEPS = ("video_metadata", "raw_shards", "decode")
RECIPE = {"dataset": "videos", "shard": {"videos": 4}, "clips": {"from": "whole", "min_s": 0.5}, "frames": {"fps": 2}}


class Installation:
    """What an administrator gets from deploy/, pointed at the test's own servers."""

    def __init__(self, cluster: FakeCluster, instance: DagsterInstance, store: TableStore) -> None:
        self.cluster, self.instance, self.store = cluster, instance, store

    def launch(self, assets: tuple[str, ...], tags: Mapping[str, str]) -> DagsterRun:
        """Hands a run to the run launcher, as the daemon does when it takes one from the queue."""
        repository = ReconstructableRepository.for_module("curation_assets.definitions", "defs", str(ROOT))
        job = repository.get_reconstructable_job("__ASSET_JOB")
        keys = frozenset(AssetKey(a) for a in assets)
        run = self.instance.create_run_for_job(
            job.get_definition().get_subset(asset_selection=keys),
            asset_selection=keys,
            job_code_origin=job.get_python_origin(),
            tags=dict(tags),
        )
        self.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # this launcher asks nothing of a workspace
        return run

    def wait(
        self, run: DagsterRun, kill: str | None = None, its_run: bool = False, limit_s: float = 280
    ) -> tuple[bool, Pod | None]:
        """Waits for a run's end, while the daemon's monitor looks after it. Returns (succeeded, the killed pod).

        Args:
            run: a launched run.
            kill: a step; its first pod is killed once it has begun.
            its_run: kill the run's own pod then, in place of the step's.
            limit_s: when to give up.
        """
        killed: Pod | None = None
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if kill and killed is None and self._begun(run, kill):
                pods = self.cluster.pods(run_id=run.run_id)
                killed = next(p for p in pods if p.labels.get("dagster/op") == (None if its_run else kill))
                killed.kill()
                killed.wait()
            record = self.instance.get_run_record_by_id(run.run_id)
            assert record is not None
            if record.dagster_run.is_finished:
                return record.dagster_run.is_success, killed
            if record.dagster_run.status == DagsterRunStatus.STARTED:
                monitor_started_run(self.instance, None, record, LOG)  # type: ignore[arg-type]
            time.sleep(0.2)
        logs = "\n".join(f"== {p.name} {p.phase}\n{p.log[-1500:]}" for p in self.cluster.pods())
        raise AssertionError(f"the run did not end in {limit_s} s\n{logs}")

    def _begun(self, run: DagsterRun, step: str) -> bool:
        started = self.instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_START)
        return any(e.dagster_event is not None and e.dagster_event.step_key == step for e in started)

    def events(self, run: DagsterRun, kind: DagsterEventType) -> list[str]:
        """Step keys of a run's events of one kind, in order."""
        found = self.instance.all_logs(run.run_id, of_type=kind)
        return [e.dagster_event.step_key or "" for e in found if e.dagster_event is not None]


@pytest.fixture
def installation(
    tmp_path: Path,
    database: dict[str, str],
    s3_environment: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Installation]:
    bucket = s3_environment.bucket()
    storage = Storage(bucket, s3_environment.options)
    for number in range(3):
        storage.write(f"incoming/video{number}.mp4", sample_video(seconds=2, seed=number))
    recipe = {**RECIPE, "source": {"format": "folder", "path": f"{bucket}/incoming"}}
    objects = manifests()
    own: dict[tuple[str, str], dict[str, str]] = {
        ("ConfigMap", "curation-settings"): {
            **{k: v for k, v in database.items() if k != "DAGSTER_PG_PASSWORD"},
            "CURATION_STORAGE": bucket,
            "CURATION_S3_ENDPOINT": s3_environment.endpoint,
            "AWS_ENDPOINT_URL": s3_environment.endpoint,
            "DAGSTER_LOGS_BUCKET": bucket.removeprefix("s3://"),
        },
        ("ConfigMap", "curation-recipes"): {"videos.yaml": yaml.safe_dump(recipe)},
        ("Secret", "curation-secrets"): {**KEYS, "DAGSTER_PG_PASSWORD": database["DAGSTER_PG_PASSWORD"]},
    }
    for (kind, name), values in own.items():
        found = next(o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
        found["stringData" if kind == "Secret" else "data"] |= values
    image = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TORCHDYNAMO_DISABLE": "1",
    }
    cluster = FakeCluster(objects, image, tmp_path / "pods", ROOT)
    kubeconfig = tmp_path / "kubeconfig"
    config = yaml.safe_load((DEPLOY / "dagster.cluster.yaml").read_text())
    outside = {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig), "job_image": "curation-assets:test"}
    config["run_launcher"]["config"] |= outside
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    environment = next(o for o in objects if o["metadata"]["name"] == "curation-settings")["data"]
    secrets = next(o for o in objects if o["kind"] == "Secret")["stringData"]
    for variable, value in {**environment, **secrets, "CURATION_RECIPES": str(tmp_path / "recipes")}.items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "videos.yaml").write_text(yaml.safe_dump(recipe))
    with (
        serve(cluster, kubeconfig, "curation"),
        DagsterInstance.from_config(str(home)) as instance,
    ):
        yield Installation(cluster, instance, TableStore(storage, SCHEMAS))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_shard_in_pods_of_which_two_are_killed(installation: Installation) -> None:
    cluster, instance, store = installation.cluster, installation.instance, installation.store
    # the run's pod is lost while its step is at work: the step carries on, and the run goes on in a new pod
    index = installation.launch(("dataset_index",), {})
    succeeded, lost = installation.wait(index, kill="dataset_index", its_run=True)
    assert succeeded, cluster.pods()[-1].log
    assert lost is not None
    assert lost.job == f"dagster-run-{index.run_id}"
    workers = [p.job for p in cluster.pods(run_id=index.run_id) if "dagster/op" not in p.labels]
    assert workers == [lost.job, f"{lost.job}-1"]
    assert len(cluster.pods(run_id=index.run_id, op="dataset_index")) == 1
    assert instance.get_dynamic_partitions("shards") == [SHARD]

    assets = ("video_metadata", "raw_shards", "clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints")
    run = installation.launch(assets, {"dagster/partition": SHARD})
    succeeded, killed = installation.wait(run, kill="decode")
    assert succeeded, "\n".join(p.log[-2000:] for p in cluster.pods(run_id=run.run_id))

    # every step had a pod of its own; the killed one is a failed job, and the step's second attempt another job
    assert killed is not None
    assert killed.exit_code == 128 + 9
    assert installation.events(run, DagsterEventType.STEP_UP_FOR_RETRY) == ["decode"]
    assert installation.events(run, DagsterEventType.STEP_FAILURE) == []
    attempts = cluster.pods(run_id=run.run_id, op="decode")
    assert all(p.wait() is not None for p in cluster.pods())  # a step's last event is a little before its process's end
    assert [p.phase for p in attempts] == ["Failed", "Succeeded"]
    assert attempts[1].job == f"{attempts[0].job}-1"
    assert [len(cluster.pods(run_id=run.run_id, op=s)) for s in STEPS] == [1, 1, 2]
    assert all(cluster.job(p.job)["spec"]["backoffLimit"] == 0 for p in cluster.pods())

    # pods got what their stages ask for, and what they may count on
    assert attempts[1].environment["CURATION_WORKERS"] == "8"
    assert Path(attempts[1].environment["TMPDIR"]) == attempts[1].folder / "scratch"
    assert "CURATION_WORKERS" not in cluster.pods(run_id=run.run_id, op="video_metadata")[0].environment

    # the tables are whole, and nothing of the dead attempt is left beside them
    tables = {a: store.read(a, SHARD) for a in assets}
    for asset in ("raw_shards", "clips"):
        assert [(r["status"], r["error"]) for r in tables[asset].to_pylist()] == [("ok", None)] * 3
    assert all(tables[a].num_rows == 3 for a in ("motion_scores", "quality_scores", "clip_fingerprints"))
    named = {t for t in tables["frames"]["tar"].to_pylist() if t}
    assert named
    folder = store.folder("frames", SHARD)
    assert {f"{folder}/{name}" for name in store.storage.list(folder)} == named | {f"{folder}/{SHEET_FILE}"}
    for asset in assets:
        seen = instance.fetch_materializations(AssetRecordsFilter(AssetKey(asset), asset_partitions=[SHARD]), limit=10)
        assert len(seen.records) == 1

    # what the steps said is in the bucket, and the password is in nobody's command line
    filesystem, logs = store.storage.filesystem("dagster-logs")
    assert any(name.endswith(".err") for name in filesystem.find(logs) if run.run_id in name)
    commands = [a for p in cluster.pods() for a in p.spec["containers"][0]["args"]]
    assert not any(os.environ["DAGSTER_PG_PASSWORD"] in a for a in commands)


def test_a_missing_secret_is_a_pod_that_does_not_start(tmp_path: Path) -> None:
    objects = [o for o in manifests() if o["kind"] != "Secret"]
    cluster = FakeCluster(objects, {}, tmp_path, tmp_path)
    job: dict[str, Any] = next(o for o in objects if o["kind"] == "Job")
    cluster.create("curation", job)
    (pod,) = cluster.pods()
    assert pod.phase == "Pending"
    state = pod.manifest()["status"]["containerStatuses"][0]["state"]
    assert state["waiting"]["message"] == 'secret "curation-secrets" not found'
