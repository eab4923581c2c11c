"""A takedown: nothing of the video is left anywhere, nothing of the others is lost, remade or stale, and it does not come back."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest
from dagster import AssetKey, AssetRecordsFilter

from curation_assets.staleness import FRESH, shard_states
from curation_assets.takedown.command import take_down
from curation_assets.takedown.plan import PATH, NothingFound, Plan, Query, make_plan
from curation_assets_tests.installation import Installation
from curation_assets_tests.takedown.installed import COPY, GONE, RECIPE, VIDEOS, published, search, traces
from resources.storage import MediaRef, Storage


def forget(installation: Installation, *ids: str, said: list[str] | None = None, **query: Any) -> list[str]:
    store = installation.store
    plan = Plan.load(store) or make_plan(store, installation.recipes, Query(tuple(ids), **query), "request 7")
    return take_down(
        store,
        installation.recipes,
        installation.settings,
        plan,
        installation.instance,
        installation.root / "home",
        (said if said is not None else []).append,
    )


def folders(installation: Installation) -> list[Path]:
    return [installation.root / "data", installation.root / "home"]


def everything(installation: Installation, without: str = "") -> dict[str, Any]:
    """The rows of all tables but of one video, and the bytes of their media in place of where they lie."""
    store, found = installation.store, {}
    for asset, partition in installation.tables():
        rows = store.read(asset, partition).to_pylist()
        kept = []
        for row in rows:
            if row.get("video_id") == without:
                continue
            if row.get("tar"):
                data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
                row |= {"tar": None, "offset": None, "media": hashlib.sha256(data).hexdigest()}
            kept.append(row)
        found[f"{asset} {partition}"] = kept
    return found


def behind(installation: Installation) -> list[str]:
    states = shard_states(installation.store, installation.recipes, installation.settings, remember=False)
    return [f"{s.asset} {s.partition}: {s.state} {s.reasons}" for s in states if s.state != FRESH]


def cards(installation: Installation) -> dict[str, str]:
    return {str(p.parent): p.read_text() for p in sorted((installation.root / "data").rglob("README.md"))}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    with published(root):
        pass
    return root


@pytest.fixture
def toy(template: Path, tmp_path: Path) -> Installation:
    """A copy of one published dataset, whose web server is gone: what would be fetched again would fail."""
    for name in ("data", "home"):
        shutil.copytree(template / name, tmp_path / name)
    copy = Installation(tmp_path)
    copy.declare(RECIPE.format(root=template))
    return copy


def test_nothing_of_a_video_is_left_and_nothing_of_the_others_is_touched(toy: Installation) -> None:
    wanted = traces(toy, GONE)
    places = search(folders(toy), wanted)
    for place in ("raw_shards", "frames", "history/runs", "clip_dataset", "embedding_dataset", "duplicate_clusters"):
        assert any(place in p for p in places), f"the search looks into {place}"
    assert {p.split(" in ")[0] for p in places} == set(wanted), "everything that is searched for is there before"
    before, old_cards, said = everything(toy, without=GONE), cards(toy), list[str]()
    unsynced = set(toy.stale_to_dagster())
    files = {p: p.stat().st_ino for p in (toy.root / "data").rglob("*.parquet") if "toy-00001" in p.name}
    assert behind(toy) == []
    toy.store.storage.write("captions/toy-00000/left.journal.jsonl", b'{"value": "of a run that was killed"}')

    assert forget(toy, GONE, said=said) == []

    assert search(folders(toy), wanted) == []
    assert everything(toy) == before
    assert behind(toy) == []
    assert all(p.stat().st_ino == inode for p, inode in files.items()), "other shards are not rewritten"
    assert not toy.store.storage.exists(PATH)
    assert not any("journal" in str(p) for p in (toy.root / "data").rglob("*"))
    assert any("out of reach" in line for line in said)
    # Dagster agrees but for the one edge on which it cannot tell shards apart; an index and a run afterwards change nothing and fetch nothing.
    assert set(toy.stale_to_dagster()) <= unsynced | {("video_metadata", "toy-00001")}
    tables = toy.tables()
    assert toy.run("index")
    assert toy.settle() == 0
    assert toy.tables() == tables
    assert search(folders(toy), {k: v for k, v in wanted.items() if k.startswith(("word", "id"))}) == []
    _check_versions(toy, old_cards)


def _check_versions(toy: Installation, old: dict[str, str]) -> None:
    """What readers of the amended versions find."""
    assert len(old) == 5
    for folder, text in cards(toy).items():
        said = json.loads((Path(folder) / "removed.json").read_text())
        assert said["complete"] is True
        assert [e["samples"] for e in said["removed"]] == [1]
        assert "## Removed samples" in text
        assert f"\n{len(VIDEOS) - 2} clips" in text
        assert f"\n{len(VIDEOS) - 1} clips" in old[folder]
        croissant = json.loads((Path(folder) / "croissant.json").read_text())
        assert croissant["version"].startswith("1.0.1+")
        for entry in croissant["distribution"]:
            if entry["@type"] == "cr:FileObject":
                data = (Path(folder) / entry["contentUrl"]).read_bytes()
                assert entry["sha256"] == hashlib.sha256(data).hexdigest()
                assert entry["contentSize"] == f"{len(data)} B"
        mlcroissant.Dataset(str(Path(folder) / "croissant.json"))
    key = toy.store.read("clip_dataset", "toy-tars")["sample_key"].to_pylist()
    (tar,) = (toy.root / "data/clip_dataset/toy-tars").rglob("*.tar")
    with tarfile.open(tar) as opened:
        assert {n.split(".")[0] for n in opened.getnames()} == set(key)
    (listing,) = (toy.root / "data/clip_dataset/toy-parq").glob("*/metadata.parquet")
    assert set(pq.read_table(listing)["key"].to_pylist()) == set(key)


def test_events_are_read_by_dagster_as_before_and_have_the_tables_versions(toy: Installation) -> None:
    runs = [r.run_id for r in toy.instance.get_runs()]
    events = {r: len(toy.instance.all_logs(r)) for r in runs}
    assert forget(toy, GONE) == []
    assert {r: len(toy.instance.all_logs(r)) for r in runs} == events
    for asset, partition in (("raw_shards", "toy-00000"), ("clip_dataset", "toy-tars"), ("dataset_index", None)):
        which = AssetRecordsFilter(AssetKey(asset), asset_partitions=[partition] if partition else None)
        record = toy.instance.fetch_materializations(which, limit=1).records[0]
        made, header = record.asset_materialization, toy.store.header(asset, partition)
        assert made is not None
        assert header is not None
        assert (made.tags or {})["dagster/data_version"] == header.content_hash


def test_a_copy_that_is_left_is_named_and_what_depends_on_it_is_stale(toy: Installation) -> None:
    said: list[str] = []
    assert forget(toy, "alpha", said=said) == []
    assert any(f"near-duplicates of its clips are stored under other ids, which stay: toy {COPY}" in s for s in said)
    (row,) = [r for r in toy.store.read("dedup", "toy-00001").to_pylist() if r["video_id"] == COPY]
    assert (row["keep"], row["duplicate_of"]) == (True, None)
    stale = {b.split(":")[0] for b in behind(toy)}
    assert {"curated_clips toy-tars", "curated_clips toy-list", "curated_clips toy-parq"} <= stale
    assert not any(s.startswith(("raw_shards", "clips", "frames", "dedup")) for s in stale)


@pytest.mark.parametrize("nth", [pytest.param(3, marks=pytest.mark.slow), 14, pytest.param(24, marks=pytest.mark.slow)])
def test_a_takedown_that_is_killed_is_gone_on_with(
    toy: Installation, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    wanted = traces(toy, GONE)
    before = everything(toy, without=GONE)
    publish, count = Storage.publish, 0

    class Killed(BaseException):
        pass

    def dying(self: Storage, path: str) -> Any:
        nonlocal count
        count += 1
        if count == nth + 1:
            raise Killed
        return publish(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "publish", dying)
        with pytest.raises(Killed):
            forget(toy, GONE)
    assert toy.store.storage.exists(PATH)
    assert forget(toy) == []
    assert search(folders(toy), wanted) == []
    assert everything(toy) == before
    assert behind(toy) == []


def test_what_is_asked_for_is_found_by_id_address_and_domain(toy: Installation) -> None:

    def found(*ids: str, **query: Any) -> list[str]:
        return [v.video_id for v in make_plan(toy.store, toy.recipes, Query(tuple(ids), **query), "").videos]

    url = next(r["url"] for r in toy.store.read("raw_shards", "toy-00001").to_pylist() if r["video_id"] == "delta")
    assert found("alpha", url) == ["alpha", "delta"]
    assert found(domains=("127.0.0.1",)) == sorted(VIDEOS)
    assert found("alpha", dataset="toy") == ["alpha"]
    with pytest.raises(NothingFound, match="nobody: no video of any dataset"):
        found("alpha", "nobody")
