"""Four machines over one bucket, without any cluster software: four processes at a time, each with a Dagster home of its own. Slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.conftest import KEYS, S3Server
from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.sample_video import sample_video
from curation_resources.tables import TableStore

MACHINES = 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


class Machine:
    """A machine: nothing of it is shared but the bucket, the list and the recipe."""

    def __init__(self, root: Path, number: int, environment: dict[str, str]) -> None:
        (root / f"machine{number}").mkdir()
        own = {
            "DAGSTER_HOME": str(root / f"machine{number}" / "home"),
            "CURATION_WORKERS": "1",
            "SLURM_ARRAY_TASK_ID": str(number),
        }
        self._environment = {**environment, **own}
        self._folder = root / f"machine{number}"

    def start(self, recipe: Path, select: str | None = None, phase: str | None = None) -> subprocess.Popen[str]:
        """`curation run`, of some tables or of this machine's share of a phase; a shell does nothing where it has no share."""
        chosen = f"--select {select}" if select else ""
        if phase is not None:
            chosen = f"$({sys.executable} {DEPLOY}/slurm/phase.py {recipe} {phase})"
        script = f'set -e; share="{chosen}"; if [ -n "{select or ""}$share" ] || [ -z "{phase or ""}" ]; then curation run {recipe} $share; fi'
        return subprocess.Popen(
            ["bash", "-c", script],
            env=self._environment,
            cwd=self._folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def done(*processes: subprocess.Popen[str]) -> list[str]:
    """What all said, once all have ended well."""
    said = [p.communicate()[0] for p in processes]
    assert [p.returncode for p in processes] == [0] * len(said), "\n".join(said)[-4000:]
    return said


def test_four_machines_over_one_bucket_make_what_one_makes(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    s3_server.client().create_bucket(Bucket="four")
    (tmp_path / "videos").mkdir()
    for number in range(5):
        (tmp_path / "videos" / f"v{number}.mp4").write_bytes(sample_video(seconds=2, seed=max(1, number)))
    file = tmp_path / "videos.yaml"
    recipe = {
        "dataset": "videos",
        "source": {"format": "folder", "path": str(tmp_path / "videos")},
        "shard": {"videos": 1},
        "clips": {"from": "whole", "min_s": 0.5},
        "subsets": {"all": {"where": ["keep"], "export": {"clips": {"cut": "copy"}}}},
    }
    file.write_text(yaml.safe_dump(recipe))
    plain = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("CURATION_", "DAGSTER_", "SLURM_"))}, **KEYS,
        "CURATION_S3_ENDPOINT": s3_server.endpoint, "SLURM_ARRAY_TASK_COUNT": str(MACHINES),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip

    machines = [Machine(tmp_path, n, {**plain, "CURATION_STORAGE": "s3://four/data"}) for n in range(MACHINES)]
    done(*(m.start(file, select="dataset_index") for m in machines))
    said = done(*(m.start(file, phase="shards") for m in machines))
    done(machines[0].start(file, select="duplicate_clusters"))
    done(*(m.start(file, phase="scores") for m in machines))
    (last,) = done(machines[3].start(file))

    for number, text in enumerate(said):
        mine = [f"videos-{n:05d}" for n in range(5) if 5 * number // 4 <= n < 5 * (number + 1) // 4]
        assert all((shard in text) == (shard in mine) for shard in [f"videos-{n:05d}" for n in range(5)]), text
    assert "made: curated_clips 1, clip_dataset 1" in last, "the shards were all there"
    alone = Machine(tmp_path, 9, {**plain, "CURATION_STORAGE": str(tmp_path / "data")})
    done(alone.start(file))
    together = table_store(Settings(storage="s3://four/data", s3_endpoint=s3_server.endpoint))
    single = table_store(Settings(storage=str(tmp_path / "data")))
    compared = 0
    for asset in SCHEMAS:
        assert contents(together, asset) == contents(single, asset), asset
        compared += len(contents(single, asset))
    assert compared > 5 * 8


def contents(store: TableStore, asset: str) -> dict[str | None, str]:
    """Partition -> what its table says, but where its bytes lie."""
    keys: list[str | None] = [*store.partitions(asset)] or [None]
    headers = {key: store.header(asset, key) for key in keys}
    return {key: h.content_hash for key, h in headers.items() if h is not None}
