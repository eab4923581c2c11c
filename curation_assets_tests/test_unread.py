"""A read that fails for a moment leaves no hole: a source video or a tar of frames is away during each stage and comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey

from curation_assets.engine.completeness import LONGEST, Gap, described, unread
from curation_assets.engine.staleness import FRESH, RETRY, State, shard_states
from curation_assets_tests.caption_server import CaptionServer
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.tiny_clip import write_tiny_clip

DECODE = ("clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints")
SHARD = "toy-00000"
RECIPE = """
dataset: toy
source: {{format: folder, path: {root}/videos}}
clips: {{from: detect, detector: content, threshold: 27, min_s: 0.4}}
motion: {{fps: 4}}
text: {{}}
audio: {{}}
embeddings: {{model: "local-dir:{root}/model", batch: 8}}
tracks: {{detector: faces, fps: 2, where: []}}
"""

CAPTIONED = """
dataset: toy
source: {{format: folder, path: {root}/videos}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
captions: {{backend: openai, url: '{url}', model: toy, prompt: Describe., attempts: 1, timeout_s: 5, where: []}}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One shard of three videos, up to date."""
    root = tmp_path_factory.mktemp("unread")
    (root / "videos").mkdir()
    for i in range(3):
        (root / "videos" / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    write_tiny_clip(root / "model", 32)
    installation = Installation(root)
    installation.declare(RECIPE.format(root=root))
    assert installation.run("index")
    installation.settle()
    assert installation.failed == []
    return installation


@contextmanager
def away(*paths: Path) -> Iterator[None]:
    for path in paths:
        path.rename(path.with_name(f".{path.name}.away"))
    try:
        yield
    finally:
        for path in paths:
            path.with_name(f".{path.name}.away").rename(path)


def remove(toy: Installation, *assets: str) -> None:
    for asset in assets:
        toy.store.storage.remove(toy.store.path(asset, SHARD))


def make(toy: Installation, *assets: str) -> bool:
    return toy.run("curate", partition_key=SHARD, asset_selection=[AssetKey(a) for a in assets])


def contents(toy: Installation) -> dict[tuple[str, str | None], str]:
    found = {}
    for asset, key in toy.tables():
        header = toy.store.header(asset, key)
        assert header is not None
        found[asset, key] = header.content_hash
    return found


def behind(toy: Installation) -> dict[str, State]:
    states = shard_states(toy.store, toy.recipes, toy.settings, remember=False)
    return {s.asset: s for s in states if s.state != FRESH}


def healed(toy: Installation, before: dict[tuple[str, str | None], str], *assets: str) -> None:
    assert make(toy, *assets)
    toy.settle()
    assert behind(toy) == {}
    assert contents(toy) == before


@pytest.mark.parametrize("assets", [("raw_shards",), DECODE, ("audio_scores",), ("tracks",)], ids=lambda a: a[0])
def test_a_video_that_is_away_during_a_stage_is_asked_for_again_alone(
    toy: Installation, assets: tuple[str, ...]
) -> None:
    before = contents(toy)
    remove(toy, *assets)
    with away(toy.root / "videos" / "v1.mp4"):
        assert make(toy, *assets), "the other videos are made"
        late = behind(toy)
        assert {late[a].state for a in assets} == {RETRY}
        assert all("storage" in late[a].reasons[0] for a in assets)
    healed(toy, before, *assets)
    if assets != ("raw_shards",):
        header = toy.store.header(assets[0], SHARD)
        assert header is not None
        assert (header.stats["videos_made"], header.stats["videos_kept"]) == (1, 2)


@pytest.mark.parametrize("asset", ["text_scores", "frame_embeddings"])
def test_frames_that_are_away_leave_the_table_in_force(toy: Installation, asset: str) -> None:
    before = contents(toy)
    remove(toy, asset)
    with away(*Path(toy.store.storage.root, "frames", SHARD).glob("*.tar")):
        assert not make(toy, asset)
        assert not toy.store.exists(asset, SHARD)
        assert "3 of 3 videos could not be read (storage)" in toy.reasons[-1]
    healed(toy, before, asset)


def test_a_read_that_fails_midway_is_not_the_end_of_the_video(
    toy: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation_resources.faults import WatchedStream

    before = contents(toy)
    read = WatchedStream.read
    remove(toy, *DECODE)
    size = (toy.root / "videos" / "v1.mp4").stat().st_size

    def breaks(self: WatchedStream, count: int = -1) -> bytes:
        if self._inner.seek(0, 1) > size // 2 and Path(getattr(self._inner, "name", "")).name == "v1.mp4":
            return self._watch(failing)  # type: ignore[no-any-return]
        return read(self, count)

    def failing(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(WatchedStream, "read", breaks)
        patched.setattr("curation_assets.decode.shard.run_tasks", in_this_process)
        assert make(toy, *DECODE)
    clips = toy.store.read("clips", SHARD).to_pylist()
    assert {r["video_id"]: r["status"] for r in clips}["v1"] == "failed"
    assert "Input/output error" in behind(toy)["clips"].reasons[0]
    healed(toy, before, *DECODE)


def test_pictures_that_are_away_while_captions_are_asked_for_are_asked_about_again(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for i in range(2):
        (tmp_path / "videos" / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    with CaptionServer() as server:
        toy = Installation(tmp_path)
        toy.declare(CAPTIONED.format(root=tmp_path, url=server.url))
        assert toy.run("index")
        toy.settle()
        assert toy.failed == []
        before, asked = contents(toy), len(server.seen)
        remove(toy, "captions")
        with away(*Path(toy.store.storage.root, "frames", SHARD).glob("*.tar")):
            assert not make(toy, "captions")
            assert not toy.store.exists("captions", SHARD)
            assert "clips could be looked at: frames cannot be read: " in toy.reasons[-1]
            assert {"frames", "captions"} <= behind(toy).keys()
            assert len(server.seen) == asked, "nobody is asked about pictures that cannot be read"
        healed(toy, before, "captions")

        def missing() -> list[str]:
            return unread(toy.store, toy.recipes, toy.settings, [SHARD])

        assert missing() == []
        refused = min(str(r["caption"]) for r in toy.store.read("captions", SHARD).to_pylist())
        server.fault = lambda caption, times: 500 if caption == refused else None
        remove(toy, "captions")
        assert make(toy, "captions"), "the others are made"
        (said,) = missing()
        assert re.match(r"1 of \d+ captions could not be had: .*500.*asked for again, alone, by the next run", said)
        server.fault = lambda caption, times: None
        healed(toy, before, "captions")
        assert missing() == []
    (tmp_path / "videos" / "v1.mp4").unlink()
    assert toy.run("index")
    toy.settle()
    said = toy.said["gap_sensor"]
    assert said.startswith("1 video is no longer in its source"), "a video that was taken away has not failed"


def in_this_process(function: Any, tasks: Any, workers: int) -> Iterator[Any]:
    from curation_assets.decode.reading.workers import run_tasks

    del workers
    return run_tasks(function, tasks, 0)


def test_a_long_reason_is_cut_and_its_bracket_closed() -> None:
    long = "weights of the model are missing: " + "no such folder; " * 30
    for where in ((), ("toy-00000",), ("toy-00000", "toy-00001", "toy-00002")):
        (line,) = described([Gap("captions", "waiting", where, len(where), long)])
        assert line.endswith("...)")
        assert line.count("(") == line.count(")") == 1
        assert len(line) <= LONGEST
    (line,) = described([Gap("captions", "waiting", (), 1, "why")])
    assert line == "captions: cannot be told (why)"
