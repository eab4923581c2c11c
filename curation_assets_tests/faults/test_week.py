"""A week of the sensors on two datasets: files dropped, half written, renamed and away for a day, a dead caption server, missing weights, a recipe taken out.

It must end as a fresh installation over the same index does, with few runs that make nothing. The sensors are evaluated in this process, as the
daemon does, on the shipped instance; every run is executed in a process of its own; the clock of all of them is moved by hand.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from curation_assets.recipes import read_recipes
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.caption_server import CaptionServer
from curation_assets_tests.faults.launched import Launch, execute, installed, processes
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_assets_tests.toy_site import DIMENSION, write_head

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

RECIPE = """
dataset: {name}
source: {{format: folder, path: {root}/{name}}}
download: {{store: copy}}
shard: {{videos: 2}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
{more}subsets:
  all: {{where: [{rules}], export: {{clips: {{format: folder, audio: false, preset: ultrafast}}}}}}
"""
MINUTE, HOUR = 60.0, 3600.0
DEAD = "http://127.0.0.1:9/v1"
UP_TO_DATE = "every table is up to date"


class Week:
    """Two datasets, their sensors and a clock.

    Attributes:
        runs: of all runs, what they were asked to do.
        idle: of those that committed nothing.
    """

    def __init__(self, root: Path, launcher: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.launcher, self.ahead = root, launcher, 0.0
        self.runs: list[str] = []
        self.idle: list[str] = []
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.ahead)
        self.recipes = root / "recipes"
        for name in ("plain", "told", "recipes"):
            (root / name).mkdir()
        write_tiny_clip(root / "model", DIMENSION)
        write_head(root / "head.pt", 0)
        self.declare(DEAD)
        self.site = installed(root / "week", self.recipes)

    def declare(self, url: str, prompt: str = "Describe.") -> None:
        """Writes both recipes."""
        model = f"embeddings: {{model: 'local-dir:{self.root}/model', batch: 8}}\naesthetic: {{head: '{self.root}/head.pt'}}\n"
        said = f"captions: {{backend: openai, url: '{url}', model: toy, prompt: '{prompt}', attempts: 1, timeout_s: 5, where: []}}\n"
        texts = {"plain": (model, 'keep, "aesthetic > -1000"'), "told": (said, "keep, caption is not null")}
        for name, (more, rules) in texts.items():
            text = RECIPE.format(name=name, root=self.root, more=more, rules=rules)
            (self.recipes / f"{name}.yaml").write_text(text)

    def write(self, dataset: str, name: str, data: bytes) -> Path:
        """A file that is written now, by the moved clock."""
        path = self.root / dataset / name
        path.write_bytes(data)
        os.utime(path, (time.time(), time.time()))
        return path

    def drop(self, dataset: str, seed: int) -> Path:
        return self.write(
            dataset, f"{dataset[0]}{seed}.mp4", sample_video(seed=seed + (10 if dataset == "told" else 0))
        )

    def tick(self, sensor: str, after: float = MINUTE) -> int:
        """A tick, so long after the last, and its runs; how many there were."""
        self.ahead += after
        self.site.recipes = dict(read_recipes(str(self.recipes)).usable)
        requests = self.site.tick(sensor).run_requests or []
        for request in requests:
            before = self.site.tables()
            assets = list(request.asset_selection or []) or None
            launch = Launch(
                self.site.root,
                self.recipes,
                request.job_name or "index",
                dict(request.tags),
                assets,
                request.partition_key,
                self.ahead,
            )
            done, reasons = self.launcher.submit(execute, launch).result()
            shards = [v for k, v in request.tags.items() if "partition_range" in k]
            what = f"{launch.job} {[a.to_user_string() for a in assets or ()]} {shards or request.partition_key or ''} {'' if done else reasons}"
            self.runs.append(what)
            if not self.site.made_since(before):
                self.idle.append(what)
        return len(requests)

    def rest(self, ticks: int = 40) -> None:
        """Minutes of ticks until both sensors have nothing to do, then an hour, until nothing follows an hour either."""
        quiet = 0
        for _ in range(ticks):
            asked = self.tick("source_sensor") + self.tick("source_sensor") + self.tick("gap_sensor")
            quiet = 0 if asked else quiet + 1
            if quiet == 1:
                self.ahead += HOUR
            elif quiet > 1 and "next attempt: " not in self.site.said["gap_sensor"]:
                return
        raise AssertionError(f"the sensors do not come to rest: {self.site.said}; the last runs: {self.runs[-5:]}")

    def version(self, key: str) -> str | None:
        header = self.site.store.header("clip_dataset", key)
        return str(header.stats["version"]) if header else None

    def said(self) -> str:
        return self.site.said["gap_sensor"]

    def indexed(self) -> dict[str, str]:
        table = self.site.store.read("dataset_index", columns=["video_id", "status"])
        return dict(zip(*table.to_pydict().values(), strict=True))


def hashes(site: Installation) -> dict[tuple[str, str | None], str]:
    """The content hash of every table that the recipes ask for."""
    store = site.store
    found = {}
    for asset in SCHEMAS:
        for key in [*store.partitions(asset), None]:
            header = store.header(asset, key)
            if header is not None:
                found[asset, key] = header.content_hash
    return found


def published(site: Installation) -> dict[str, str]:
    """SHA-256 of the files of the versions in force, by subset and path."""
    found = {}
    for key in site.store.partitions("clip_dataset"):
        header = site.store.header("clip_dataset", key)
        assert header is not None
        folder = Path(site.settings.storage) / site.store.folder("clip_dataset", key) / str(header.stats["version"])
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            found[f"{key} {file.relative_to(folder)}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


@pytest.fixture
def launcher() -> Iterator[ProcessPoolExecutor]:
    with processes() as found:
        yield found


def test_a_week_of_drops_renames_and_failures_ends_as_a_fresh_run_does(
    tmp_path: Path, launcher: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = Week(tmp_path, launcher, monkeypatch)
    site = week.site
    with CaptionServer() as server:
        # Monday: both datasets begin, and nobody answers for captions.
        for seed in range(3):
            week.drop("plain", seed)
            week.drop("told", seed)
        week.rest()
        assert week.version("plain-all"), "a caption server that is dead holds back nobody else"
        assert week.version("told-all") is None
        assert "told-all: curated_clips waits for captions of told-00000, told-00001" in week.said()

        # Tuesday: the server is there. A file of each dataset is half written while others come.
        week.declare(server.url)
        week.ahead += 24 * HOUR
        halves = {"plain": sample_video(seed=3), "told": sample_video(seed=13)}
        week.drop("told", 4)
        for grown in range(1, 9):
            for dataset, whole in halves.items():
                week.write(dataset, f"{dataset[0]}3.mp4", whole[: len(whole) * grown // 9])
            week.tick("source_sensor", after=15)
            week.tick("gap_sensor", after=5)
        assert "t4" in week.indexed(), "a file that grows holds up no other"
        assert not {"p3", "t3"} & week.indexed().keys(), "nothing that grows is indexed"
        for dataset, whole in halves.items():
            week.write(dataset, f"{dataset[0]}3.mp4", whole)
        week.rest()
        assert week.said().startswith(UP_TO_DATE)
        assert week.version("told-all")

        # Wednesday: weights cannot be had, then they can. A recipe is taken out, and put back.
        plain, told = week.version("plain-all"), week.version("told-all")
        (tmp_path / "head.pt").rename(tmp_path / "head.away")
        week.drop("plain", 4)
        week.rest()
        assert week.version("plain-all") == plain, "a good version stays"
        (tmp_path / "head.away").rename(tmp_path / "head.pt")
        week.ahead += 24 * HOUR
        week.rest()
        assert week.version("plain-all") != plain
        plain = week.version("plain-all")
        (tmp_path / "recipes" / "plain.yaml").rename(tmp_path / "plain.away")
        week.rest()
        (tmp_path / "plain.away").rename(tmp_path / "recipes" / "plain.yaml")
        week.rest()
        assert (week.version("plain-all"), week.version("told-all")) == (plain, told), "what is paid for stays"

        # Thursday: a file is renamed, one goes, one is away after it was listed, another for a day.
        (tmp_path / "plain" / "p0.mp4").rename(tmp_path / "plain" / "q0.mp4")
        (tmp_path / "told" / "t0.mp4").unlink()
        fifth, away = week.drop("told", 5), tmp_path / "away.mp4"
        while "t5" not in week.indexed():
            week.tick("source_sensor")
        fifth.rename(away)
        week.tick("gap_sensor")
        away.rename(fifth)
        week.rest()
        second = tmp_path / "plain" / "p1.mp4"
        second.rename(away)
        week.rest()
        assert week.indexed()["p1"] == "removed"
        away.rename(second)
        week.rest()
        assert week.indexed()["p1"] == "present"

        # Friday: the server fails for half of the clips, with another prompt; a version with half of the captions is no version.
        told = week.version("told-all")
        server.fault = lambda caption, times: 500 if int(caption[-1], 16) % 2 else None
        week.declare(server.url, prompt="In one sentence.")
        week.tick("gap_sensor")
        week.tick("gap_sensor")
        assert week.version("told-all") == told
        server.fault = lambda caption, times: None
        week.rest()
        assert week.version("told-all") != told
        assert week.said().startswith("2 videos are no longer in their source"), (
            "that renamed and that deleted, and nothing else"
        )
        print(f"{len(week.runs)} runs, {len(week.idle)} of which committed nothing:", *week.idle, sep="\n  ")

        fresh = installed(tmp_path / "fresh", week.recipes)
        (tmp_path / "fresh" / "data").mkdir()
        (tmp_path / "fresh" / "data" / "dataset_index.parquet").write_bytes(
            (tmp_path / "week" / "data" / "dataset_index.parquet").read_bytes()
        )
        assert fresh.run("index"), fresh.reasons
        fresh.settle()
        assert fresh.reasons == []
    ours, theirs = hashes(site), hashes(fresh)
    assert {k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)} == set()
    assert published(site) == published(fresh)
    for_nothing = [run for run in week.idle if "failed for" not in run]
    assert [run.split()[0] for run in for_nothing] in ([], ["index"]), (
        "a recipe that is put back is looked at; else no run is for nothing"
    )
    attempts = site.settings.max_attempts
    assert len(week.idle) - len(for_nothing) <= 3 * attempts, (
        "captions, and two ranges of the scores whose weights were away"
    )
