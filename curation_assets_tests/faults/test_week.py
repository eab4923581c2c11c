"""A week of the sensors on two datasets: files dropped, half written, renamed and away for a moment, a dead caption server, missing weights.

It must end as a fresh installation over the same files does, with few runs that make nothing. Ticks and runs are executed in this process with
the shipped instance settings; the clock is moved by hand.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation_assets import sensors
from curation_assets.recipes import load_recipes
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS
from curation_assets_tests.caption_server import CaptionServer
from curation_assets_tests.faults.shipped import INSTANCE_FILE
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.test_recompute import write_head
from curation_assets_tests.tiny_clip import write_tiny_clip

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

RECIPE = """
dataset: {name}
source: {{format: folder, path: {root}/{name}}}
download: {{store: copy}}
shard: {{videos: 2}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
{more}subsets:
  all: {{where: [{rules}], export: {{clips: {{format: folder, audio: false}}}}}}
"""
MINUTES = 20
"""Between two rounds of ticks: longer than the longest pause between attempts."""
PLACES = {"shard", "tar", "offset", "duplicate_of", "cluster_id"}
"""Columns that depend on the order in which videos came, or on where bytes lie."""


class Week:
    """Two datasets, their sensors and a clock."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.now, self.runs, self.idle = root, 1_000_000.0, 0, 0
        monkeypatch.setattr(sensors.time, "time", lambda: self.now)
        for name in ("plain", "told"):
            (root / name).mkdir()
        write_tiny_clip(root / "model", 32)
        write_head(root / "head.pt", 0)
        settings = yaml.safe_load(INSTANCE_FILE.read_text())
        self.site = Installation(root / "week", instance_settings=settings)

    def declare(self, url: str, prompt: str = "Describe.", head: str = "head.pt") -> None:
        folder = self.root / "recipes"
        folder.mkdir(exist_ok=True)
        model = f"embeddings: {{model: 'local-dir:{self.root}/model', batch: 8}}\naesthetic: {{head: '{self.root}/{head}'}}\n"
        said = f"captions: {{backend: openai, url: '{url}', model: toy, prompt: '{prompt}', attempts: 1, timeout_s: 5, where: []}}\n"
        texts = {"plain": (model, 'keep, "aesthetic > -1000"'), "told": (said, "keep, caption is not null")}
        for name, (more, rules) in texts.items():
            text = RECIPE.format(name=name, root=self.root, more=more, rules=rules)
            (folder / f"{name}.yaml").write_text(text)
        self.site.recipes = load_recipes(str(folder))

    def drop(self, dataset: str, name: str, seed: int) -> None:
        scratch = self.root / f".{name}.part"
        scratch.write_bytes(sample_video(seed=seed))
        scratch.rename(self.root / dataset / name)

    def tick(self, name: str) -> int:
        """A tick and its runs, each of which is counted, and counted as idle if it committed nothing."""
        requests = self.site.tick(name).run_requests or []
        for request in requests:
            before = self.site.tables()
            self.site.run(
                request.job_name or "index",
                tags=dict(request.tags),
                asset_selection=list(request.asset_selection or []) or None,
                partition_key=request.partition_key,
            )
            self.runs += 1
            self.idle += not self.site.made_since(before)
        return len(requests)

    def pass_time(self, rounds: int = 12) -> None:
        """Rounds of ticks until a whole round asks for nothing."""
        for _ in range(rounds):
            requested = self.tick("source_sensor") + self.tick("source_sensor") + self.tick("gap_sensor")
            self.now += 60 * MINUTES
            if not requested:
                return

    def version(self, key: str) -> str | None:
        header = self.site.store.header("clip_dataset", key)
        return str(header.stats["version"]) if header else None


def rows(site: Installation) -> dict[str, list[dict[str, Any]]]:
    """What the tables say of the videos that are there, whatever shard they lie in."""
    found: dict[str, list[dict[str, Any]]] = {}
    for asset, contract in SCHEMAS.items():
        if asset in ("dataset_index", "duplicate_clusters"):
            continue
        names = [n for n in contract.names if n not in contract.volatile | PLACES]
        wanted = [r for k in site.store.partitions(asset) for r in site.store.read(asset, k, columns=names).to_pylist()]
        if asset in ("video_metadata", "raw_shards"):
            wanted = [
                {n: v for n, v in r.items() if n not in ("attempts", "line")} for r in wanted if r["status"] == "ok"
            ]
        if asset in SUBSET_ASSETS:
            wanted = [{n: v for n, v in r.items() if n not in ("version", "row_fingerprint")} for r in wanted]
        found[asset] = sorted(wanted, key=lambda r: tuple(str(r[k]) for k in contract.key if k in r))
    return found


def test_a_week_of_drops_renames_and_failures_ends_as_a_fresh_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = Week(tmp_path, monkeypatch)
    site = week.site
    with CaptionServer() as server:
        dead = "http://127.0.0.1:9/v1"
        # Monday: both datasets begin, and nobody answers for captions.
        for seed in range(3):
            week.drop("plain", f"p{seed}.mp4", seed)
            week.drop("told", f"t{seed}.mp4", 10 + seed)
        week.declare(dead)
        week.pass_time()
        assert week.version("plain-all"), "a caption server that is dead holds back nobody else"
        assert week.version("told-all") is None
        assert (
            "told-all: curated_clips waits for captions of told-00000, told-00001: missing" in site.said["gap_sensor"]
        )
        # Tuesday: the server is there. A file of one dataset is half written while the other changes.
        week.declare(server.url)
        site.cursors.pop("gap_sensor")
        whole = sample_video(seed=3)
        (tmp_path / "plain" / "p3.mp4").write_bytes(whole[: len(whole) // 2])
        week.drop("told", "t3.mp4", 13)
        week.tick("source_sensor")
        (tmp_path / "plain" / "p3.mp4").write_bytes(whole[: len(whole) // 2 + 1000])
        assert week.tick("source_sensor") == 1
        indexed = site.store.read("dataset_index")["video_id"].to_pylist()
        assert "t3" in indexed
        assert "p3" not in indexed, "a half-written file is not indexed because another dataset changed"
        (tmp_path / "plain" / "p3.mp4").write_bytes(whole)
        week.pass_time()
        told = week.version("told-all")
        assert told
        # Wednesday: weights cannot be had, then they can.
        plain = week.version("plain-all")
        week.declare(server.url, head="none.pt")
        week.drop("plain", "p4.mp4", 4)
        week.pass_time()
        assert week.version("plain-all") == plain, "a good version stays"
        week.declare(server.url)
        week.pass_time()
        assert week.version("plain-all") != plain
        # Thursday: a file is renamed, one goes, one is away for a moment after it was listed.
        (tmp_path / "plain" / "p0.mp4").rename(tmp_path / "plain" / "q0.mp4")
        (tmp_path / "told" / "t0.mp4").unlink()
        week.drop("told", "t4.mp4", 14)
        while not week.tick("source_sensor"):
            week.now += 60 * MINUTES
        away = tmp_path / "told" / "t4.mp4"
        away.rename(tmp_path / "t4.away")
        week.tick("gap_sensor")
        (tmp_path / "t4.away").rename(away)
        week.pass_time()
        # Friday: the server fails for every second clip, with another prompt; a version with half of the captions is no version.
        told = week.version("told-all")
        server.fault = lambda caption, times: 500 if times == 0 else None
        week.declare(server.url, prompt="In one sentence.")
        week.tick("gap_sensor")
        assert week.version("told-all") == told
        server.fault = lambda caption, times: None
        week.pass_time()
        assert site.said["gap_sensor"].startswith(("every table is up to date", "1 videos have failed for good"))
        fresh = Installation(tmp_path / "fresh")
        fresh.recipes = site.recipes
        assert fresh.run("index")
        fresh.settle()
    shutil.rmtree(tmp_path / "fresh" / "home", ignore_errors=True)
    ours, theirs = rows(site), rows(fresh)
    for asset in SCHEMAS:
        if asset in ours:
            assert ours[asset] == theirs[asset], asset
    print(f"{week.runs} runs, {week.idle} of which committed nothing")
    assert week.idle <= week.runs // 3
