"""A file that was taken down does not come back under another id, path or address; another file does, also one of the same length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation_assets.definitions import table_store
from curation_assets.demo.web_server import served
from curation_assets.ingest.fetch_ledgers import adoptable
from curation_assets.ingest.forgotten import Forgotten, add_tombstones, bytes_keys, digest, tombstones_of, url_keys
from curation_assets.settings import Settings
from curation_assets.takedown.command import take_down
from curation_assets.takedown.plan import Query, make_plan
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video

IN_PLACE = "dataset: toy\nsource: {format: folder, path: ROOT/videos}\n"
COPIED = IN_PLACE + "download: {store: copy}\n"
DOWNLOADED = """
dataset: toy
source: {format: table, path: ROOT/list.csv, columns: {id: id, url: url}}
download: {timeout_s: 60, info: false}
"""
REFUSED = ("rejected", "removed", "its bytes are those of a video that was taken down")
OK = ("ok", None, None)


class Source:
    """Videos in a folder, which a list names by their addresses on a server on loopback."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        (root / "videos").mkdir()

    def put(self, **videos: bytes) -> None:
        for name, data in videos.items():
            (self.root / "videos" / f"{name}.mp4").write_bytes(data)
        names = sorted(p.stem for p in (self.root / "videos").iterdir())
        lines = ["id,url", *(f"{n},http://127.0.0.1:{self.port}/{n}.mp4" for n in names)]
        (self.root / "list.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    with served(tmp_path / "videos") as port:
        yield Source(tmp_path, port)


def said(site: Installation) -> dict[str, tuple[Any, ...]]:
    rows = [r for key in site.store.partitions("raw_shards") for r in site.store.read("raw_shards", key).to_pylist()]
    return {r["video_id"]: (r["status"], r["error_class"], r["error"]) for r in rows}


def padded(mp4: bytes, length: int) -> bytes:
    """The file with a box at its end that says nothing, so that it is `length` bytes long."""
    free = length - len(mp4)
    return mp4 + free.to_bytes(4, "big") + b"free" + bytes(free - 8)


def forget(site: Installation, *ids: str) -> list[str]:
    told: list[str] = []
    plan = make_plan(site.store, site.recipes, Query(ids), "request 8")
    left = take_down(site.store, site.recipes, site.settings, plan, site.instance, site.root / "home", told.append)
    assert left == []
    return told


@pytest.mark.parametrize("recipe", [IN_PLACE, COPIED, DOWNLOADED], ids=["in place", "copied", "downloaded"])
def test_the_same_bytes_are_refused_under_another_name(tmp_path: Path, source: Source, recipe: str) -> None:
    length = max(len(sample_video(seed=n)) for n in range(1, 4)) + 8
    first, second, third = (padded(sample_video(seed=n), length) for n in range(1, 4))
    source.put(mine=first, yours=second, twin=first)
    site = Installation(tmp_path)
    site.declare(recipe.replace("ROOT", str(tmp_path)))
    assert site.run("index")
    site.settle()
    assert said(site) == {"mine": OK, "yours": OK, "twin": OK}
    forget(site, "mine")
    assert said(site) == {"yours": OK, "twin": OK}, "a copy under another id stays until it is taken down itself"

    source.put(again=first, other=third, longer=sample_video(seed=4))
    assert site.run("index")
    site.settle()
    assert said(site) == {"yours": OK, "twin": OK, "again": REFUSED, "other": OK, "longer": OK}
    clips = {r["video_id"] for k in site.store.partitions("clips") for r in site.store.read("clips", k).to_pylist()}
    assert clips == {"yours", "twin", "other", "longer"}
    assert site.settle() == 0


def test_a_file_that_can_no_longer_be_read_is_named(tmp_path: Path, source: Source) -> None:
    source.put(mine=sample_video(seed=1), yours=sample_video(seed=2))
    site = Installation(tmp_path)
    site.declare(IN_PLACE.replace("ROOT", str(tmp_path)))
    assert site.run("index")
    site.settle()
    os.remove(tmp_path / "videos/mine.mp4")
    assert any(
        line.startswith("mine: the same bytes under another name are not kept out, since they cannot be read")
        for line in forget(site, "mine")
    )
    assert said(site) == {"yours": OK}


def test_what_a_killed_run_has_fetched_is_not_taken_over_once_it_was_taken_down() -> None:
    keys = bytes_keys(7, "ab")
    forgotten = Forgotten("salt", frozenset(digest("salt", k) for k in keys), frozenset({"size", "bytes"}))
    rows = {
        "same": {"size": 7, "sha256": "ab"},
        "in place": {"size": 7, "sha256": None},
        "other": {"size": 7, "sha256": "cd"},
        "longer": {"size": 8, "sha256": "ab"},
        "failed": {"size": None, "sha256": None},
    }
    assert set(adoptable(rows, forgotten)) == {"other", "longer", "failed"}
    assert adoptable(rows, Forgotten()) == rows


def test_a_file_of_a_list_is_known_by_its_path_once_it_was_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = table_store(Settings(storage=str(tmp_path / "data")))
    add_tombstones(store, url_keys(f"{tmp_path}/films/a.mp4"), "request 8")
    monkeypatch.chdir(tmp_path)
    for given in (f"{tmp_path}/films/a.mp4", "films/a.mp4", "./films/../films/a.mp4"):
        assert [t.reason for t in tombstones_of(store, given, ["toy"])] == ["request 8"]
    assert tombstones_of(store, "films/b.mp4", ["toy"]) == []
