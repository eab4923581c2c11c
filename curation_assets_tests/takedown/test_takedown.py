"""A takedown: nothing of the video is left anywhere, nothing of the others is lost, remade or stale, and it does not come back."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import AssetKey, AssetRecordsFilter

from curation_assets.cli import main
from curation_assets.engine.staleness import FRESH, shard_states
from curation_assets.ingest.forgotten import id_key, read_forgotten, url_keys
from curation_assets.publish.curating.moved_sources import SOURCES, said_of_sources
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.takedown import left_samples
from curation_assets.takedown.command import take_down
from curation_assets.takedown.plan import PATH, NothingFound, Query, TakedownPlan, make_plan
from curation_assets.takedown.version_samples import AmendedVersion
from curation_assets_tests.installation import Installation
from curation_assets_tests.takedown.installed import COPY, GONE, RECIPE, VIDEOS, published, search, traces
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.table_headers import FILES
from curation_resources.tables import TableStore


def forget(installation: Installation, *ids: str, said: list[str] | None = None, **query: Any) -> list[str]:
    store = installation.store
    plan = TakedownPlan.load(store) or make_plan(store, installation.recipes, Query(tuple(ids), **query), "request 7")
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


def version(installation: Installation, subset: str) -> Path:
    header = installation.store.header("clip_dataset", f"toy-{subset}")
    assert header is not None
    return installation.root / "data/clip_dataset" / f"toy-{subset}" / header.stats["version"]


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
    sheets = {p: p.stat().st_ino for p in (toy.root / "data").rglob("sheet.jpg")}
    theirs = {p for p in sheets if p.parent.name == "toy-00001"}
    own = {p.parent.parent.name for p in sheets if p.parent.name == "toy-00000"}
    assert {p.parent.parent.name for p in theirs} == own | {"dedup"}, "copies are shown where one is left out"
    toy.store.storage.write("captions/toy-00000/left.journal.jsonl", b'{"value": "of a run that was killed"}')

    assert forget(toy, GONE, said=said) == []

    assert search(folders(toy), wanted) == []
    assert everything(toy) == before
    assert behind(toy) == []
    assert all(p.stat().st_ino == inode for p, inode in files.items()), "other shards are not rewritten"
    assert not toy.store.storage.exists(PATH)
    assert not any("journal" in str(p) for p in (toy.root / "data").rglob("*"))
    left = {p: p.stat().st_ino for p in (toy.root / "data").rglob("sheet.jpg")}
    assert left == {p: sheets[p] for p in theirs}, (
        "pictures of the shard, its subsets and the clusters are gone, others stay"
    )
    assert any("out of reach" in line for line in said)
    # Dagster agrees but for the one edge on which it cannot tell shards apart, and for concepts, which stay when embeddings change; an index and a run
    # afterwards change nothing and fetch nothing.
    assert set(toy.stale_to_dagster()) <= unsynced | {("video_metadata", "toy-00001"), ("concepts", None)}
    tables = toy.tables()
    assert toy.run("index")
    assert toy.settle() == 0
    assert toy.tables() == tables
    assert search(folders(toy), {k: v for k, v in wanted.items() if k.startswith(("word", "id"))}) == []
    _check_versions(toy, old_cards)
    _check_sources(toy)


def _check_sources(toy: Installation) -> None:
    """What versions say of their sources is that of the others, so that they stay in force when those move."""
    said = {}
    for asset, key in ((a, k) for a in ("clip_dataset", "embedding_dataset") for k in toy.store.partitions(a)):
        header = toy.store.header(asset, key)
        assert header is not None
        selection = Selection.of(toy.store, toy.recipes, key)
        now = said_of_sources(toy.store, toy.recipes, selection, header.provenance.inputs)
        said[asset, key] = (header.stats.get(SOURCES, ""), now)
    assert len(said) >= 2
    assert all(noted == now != "" for noted, now in said.values()), said


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
    (row,) = [r for r in toy.store.read("semantic_dedup", "toy-00001").to_pylist() if r["video_id"] == COPY]
    assert (row["semantic_keep"], row["semantic_duplicate_of"]) == (True, None)
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


@pytest.fixture
def command(toy: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The copy as `curation` finds it by its environment; its source lists one video less than what is stored."""
    recipe = toy.root / "toy.yaml"
    (template,) = {Path(r["source"]).parent for r in toy.store.read("dataset_index").to_pylist()}
    recipe.write_text(RECIPE.format(root=template))
    for name, value in (("CURATION_STORAGE", "data"), ("CURATION_RECIPES", "toy.yaml"), ("DAGSTER_HOME", "home")):
        monkeypatch.setenv(name, str(toy.root / value))
    return toy


def test_a_list_is_taken_down_by_the_command_after_it_said_what_is_stored(
    command: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    before, wanted = everything(command), {v: traces(command, v) for v in (GONE, "delta")}
    listed = command.root / "list.txt"
    never = "https://videos.invalid/never_seen.mp4"
    listed.write_text(f"# request 9\n{GONE}\n\n delta \nunknown_9\n{never}\n", encoding="utf-8-sig")
    asked = ["forget", "--list", str(listed), "--reason", "request 9"]

    assert main([*asked, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"2 videos: {GONE}, delta" in told
    assert f"of no video here, and kept out if it comes later: {never}, unknown_9" in told
    assert "  captions: 2 rows in toy-00000, toy-00001" in told
    for folder in cards(command):
        assert f"  version {Path(folder).relative_to(command.root / 'data')}: 2 samples" in told
    assert main(asked) == 1, "without --yes and a terminal it asks nobody"
    assert everything(command) == before

    assert main([*asked, "--yes"]) == 0
    assert "out of reach:" in capsys.readouterr().out
    for video, found in wanted.items():
        assert search(folders(command), found) == [], video
    kept_out = read_forgotten(command.store)
    assert all(key in kept_out for key in (*url_keys(never), id_key("toy", "unknown_9"), id_key("toy", GONE)))
    assert main(["forget", "--list", str(listed), "--yes"]) == 0, "a list that was carried out has nothing left to do"
    assert (
        f"of no video here, and kept out if it comes later: {GONE}, delta, {never}, unknown_9"
        in capsys.readouterr().out
    )
    assert main(["forget", "unknown_10", "--yes"]) == 2, "an id that is typed may be a slip"
    assert "no video of any dataset has this id" in capsys.readouterr().err


def test_a_channel_is_taken_down_by_the_command_now_and_later(
    command: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    store = command.store
    table, header = store.read("raw_shards", "toy-00000"), store.header("raw_shards", "toy-00000")
    assert header is not None
    names = ["Kanal Sieben" if v == "alpha" else None for v in table["video_id"].to_pylist()]
    at = table.column_names.index("channel")
    table = table.set_column(at, table.schema.field(at), pa.array(names, pa.string()))
    store.commit("raw_shards", "toy-00000", table, header.provenance, header.stats)

    assert main(["forget", "--channel", " kanal sieben", "--yes"]) == 0
    assert "1 video: alpha" in capsys.readouterr().out
    for asset, partition in command.tables():
        assert "alpha" not in [r.get("video_id") for r in store.read(asset, partition).to_pylist()], asset
    assert read_forgotten(store).channel("Kanal Sieben")
    assert not read_forgotten(store).channel("Kanal Acht")

    before = _times(command)
    assert main(["forget", "--channel", "Kanal Acht", "--yes"]) == 0
    assert {p for p, at in _times(command).items() if before.get(p) != at} == {"data/forgotten.parquet"}
    assert "no video is stored of what was named; what comes of it later is kept out" in capsys.readouterr().out
    assert read_forgotten(store).channel("Kanal Acht")


def _times(installation: Installation) -> dict[str, int]:
    """When files were changed: all of the storage root, and the logs and events of runs."""
    found = [*(installation.root / "data").rglob("*"), *(installation.root / "home").rglob("compute_logs/*")]
    found += (installation.root / "home").rglob("history/runs/*.db")
    return {str(p.relative_to(installation.root)): p.stat().st_mtime_ns for p in found if p.is_file()}


def test_a_domain_that_all_came_from_leaves_nothing_and_keeps_all_out(command: Installation) -> None:
    wanted = {v: traces(command, v) for v in (GONE, "gamma")}
    assert main(["forget", "--domain", "127.0.0.1", "--yes"]) == 0
    for found in wanted.values():
        assert search(folders(command), found) == []
    for folder, text in cards(command).items():
        assert "\n0 clips" in text
        mlcroissant.Dataset(str(Path(folder) / "croissant.json"))
        assert [e["samples"] for e in json.loads((Path(folder) / "removed.json").read_text())["removed"]] == [4]
    assert "dataset_index None" not in "".join(behind(command)), "the index knows that the dataset has no video"
    command.settle()
    assert behind(command) == []
    assert command.run("index")
    assert command.store.read("dataset_index").num_rows == 0
    assert behind(command) == []


def test_a_dataset_of_which_nothing_may_come_is_published_empty(command: Installation, tmp_path: Path) -> None:
    assert main(["forget", "--domain", "127.0.0.1", "--yes"]) == 0
    fresh = Installation(tmp_path / "fresh")
    fresh.recipes = command.recipes
    fresh.store.storage.write("forgotten.parquet", command.store.storage.read("forgotten.parquet"))
    assert "dataset_index None: missing" in behind(fresh)[0]
    assert fresh.run("index")
    before = fresh.tables()
    assert fresh.run("index")
    assert not fresh.made_since(before)
    fresh.settle()
    assert (fresh.failed, behind(fresh)) == ([], [])
    for name in ("tars", "list", "parq"):
        header = fresh.store.header("clip_dataset", f"toy-{name}")
        assert header is not None
        assert header.rows == 0
        assert (
            "\n0 clips"
            in fresh.store.storage.read(f"clip_dataset/toy-{name}/{header.stats['version']}/README.md").decode()
        )
    (fresh.root / "list.csv").write_text("id,url,title,caption,licence,spans\n")
    fresh.declare(RECIPE.format(root=tmp_path / "nowhere").replace("toy", "other"))
    assert not fresh.run("index")
    assert "dataset other is not in it" in behind(fresh)[0], "a source that cannot be read is not one without videos"


@pytest.mark.parametrize("domain", ["", "org", "https://example.org", "example.org:80", "example.org/a"])
def test_what_is_no_domain_is_refused(domain: str, command: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", "--domain", domain, "--yes"]) == 2
    assert "is no domain; a host such as" in capsys.readouterr().err
    assert not command.store.exists("forgotten")


def test_a_video_that_left_its_source_is_named_with_the_versions_that_hold_it(
    command: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (command.root / "toy.yaml").read_text()
    (source,) = {r["source"] for r in command.store.read("dataset_index").to_pylist()}
    shorter = [line for line in Path(source).read_text().splitlines() if not line.startswith(GONE)]
    (tmp_path / "shorter.csv").write_text("\n".join(shorter) + "\n")
    (command.root / "toy.yaml").write_text(text.replace(source, str(tmp_path / "shorter.csv")))
    versions = list(cards(command))
    (command.root / "data/clip_dataset/toy-list.parquet").unlink()  # its version is then one that no table names

    assert main(["run", str(command.root / "toy.yaml"), "--select", "dataset_index"]) == 0
    said = capsys.readouterr()
    assert "toy: of 1 video that the source no longer lists, clips in published versions" in said.err
    assert "`curation forget --removed --dataset toy --dry-run` says what" in said.err

    assert main(["forget", "--removed", "--dataset", "toy", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"1 video: {GONE}" in told
    for folder in versions:
        assert f"  version {Path(folder).relative_to(command.root / 'data')}: 1 sample" in told
    assert told.count("  version ") == len(versions)


def test_an_empty_id_is_refused(command: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", "", "--yes"]) == 2
    assert "an id is empty" in capsys.readouterr().err


def test_what_is_of_a_video_names_it_and_what_was_taken_down_is_said_to_be(
    command: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    (clip,) = [r["clip_id"] for r in command.store.read("clips", "toy-00000").to_pylist() if r["video_id"] == "alpha"]
    sample = command.store.read("clip_dataset", "toy-tars", ["video_id", "sample_key"]).to_pylist()
    (key,) = [r["sample_key"] for r in sample if r["video_id"] == "alpha"]
    before = everything(command)
    for name in (clip, "alpha_0_17", key):
        assert main(["forget", name, "--yes"]) == 2
        said = capsys.readouterr().err
        assert (
            f"{name} is of the video alpha of toy, and takedowns are by video: `curation forget alpha` removes" in said
        )
    assert main(["forget", "list.csv", "--yes"]) == 2, "the file in which they are"
    said = capsys.readouterr().err
    assert "list.csv names the video alpha of toy, and takedowns go by its id: `curation forget alpha`\n" in said
    assert main(["forget", "nobody", clip, "--yes"]) == 2
    said = capsys.readouterr().err
    assert "is of the video alpha" in said
    assert "nobody" in said
    assert everything(command) == before

    (address,) = [
        r["url"] for r in command.store.read("raw_shards", "toy-00000").to_pylist() if r["video_id"] == "alpha"
    ]
    assert main(["forget", "alpha", "--yes", "--reason", "request 11"]) == 0
    capsys.readouterr()
    for name, word in (("alpha", "is"), (clip, "was a clip of"), (address, "is")):
        assert main(["explain", name]) == 2
        assert f"{name} {word} a video" in (said := capsys.readouterr().err)
        assert "was taken down on 20" in said
        assert "(request 11): nothing of it is stored here" in said
    assert main(["explain", "nobody"]) == 2
    assert "taken down" not in capsys.readouterr().err
    assert main(["forget", "alpha", "--yes"]) == 2
    assert "alpha is a video of toy that was taken down on 20" in capsys.readouterr().err

    line = "1 row of the source left out besides, of videos that were taken down: nothing of them is stored"
    assert main(["report", "toy"]) == 0
    assert line in capsys.readouterr().out
    before = command.tables()
    assert main(["run", str(command.root / "toy.yaml"), "--select", "dataset_index"]) == 0
    assert not command.made_since(before), "the index counts the same"
    capsys.readouterr()
    assert main(["report", "toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["taken_down"] == 1


def test_the_command_finishes_what_takedowns_of_before_left_in_versions(
    command: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = version(command, "list")
    mine = {p: p.read_bytes() for p in folder.rglob("alpha_*")}
    assert mine
    assert main(["forget", "--yes"]) == 2, "nothing is asked for, and nothing is left"
    assert main(["forget", "alpha", "--yes"]) == 0
    assert not any(p.exists() for p in mine)
    before = _times(command)
    for path, data in mine.items():
        path.write_bytes(data)
    capsys.readouterr()
    assert main(["doctor"]) == 1
    said = f"{folder.relative_to(command.root / 'data')}: 1 sample that removed.json names"
    assert f"a takedown left in {said}" in capsys.readouterr().out
    assert main(["forget", "--dry-run"]) == 0
    assert said in capsys.readouterr().out
    assert all(p.exists() for p in mine)
    assert main(["forget", "--yes"]) == 0
    assert not any(p.exists() for p in mine)
    assert {p for p, at in _times(command).items() if before.get(p) != at and "clip_dataset" in p} <= {
        str((folder / n).relative_to(command.root)) for n in ("README.md", "croissant.json", "removed.json")
    }
    mlcroissant.Dataset(str(folder / "croissant.json"))


@pytest.mark.parametrize("how", ["at once", "killed and begun again", "killed before another takedown"])
def test_the_table_of_a_version_is_told_where_samples_lie_once_left_ones_are_gone(
    command: Installation, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a takedown of before left it: a video's samples before the others in a tar, and files of theirs that the table counts. What removes them may be killed between tar and table."""
    store, mine = command.store, "alpha_"
    (tar,) = [t for t in version(command, "tars").glob("*.tar") if any(m.startswith(mine) for m in _members(t))]
    with tarfile.open(tar) as opened:
        theirs = [(m, opened.extractfile(m).read()) for m in opened if m.name.startswith(mine)]  # type: ignore[union-attr]
    files = {p: p.read_bytes() for p in version(command, "list").rglob(f"{mine}*")}
    assert main(["forget", "alpha", "--yes"]) == 0
    before, lost = everything(command), _lost(command)
    blocks = io.BytesIO()
    with tarfile.open(fileobj=blocks, mode="w", format=tarfile.USTAR_FORMAT) as opened:
        for member, data in theirs:
            opened.addfile(member, io.BytesIO(data))
        shift = opened.offset
    tar.write_bytes(blocks.getvalue()[:shift] + tar.read_bytes())
    for path, data in files.items():
        path.write_bytes(data)
    for subset, more in (("tars", [tar]), ("list", [*files])):
        header, table = store.header("clip_dataset", f"toy-{subset}"), store.read("clip_dataset", f"toy-{subset}")
        assert header is not None
        own = str(tar.relative_to(command.root / "data"))
        at = [
            o + shift if t == own else o
            for t, o in zip(*(table[n].to_pylist() for n in ("tar", "offset")), strict=True)
        ]
        place = table.schema.get_field_index("offset")
        table = table.set_column(place, table.schema.field(place), pa.array(at, table.schema.field(place).type))
        sizes = {str(p.relative_to(command.root / "data")): p.stat().st_size for p in more}
        stats = {**header.stats, FILES: {**header.stats[FILES], **sizes}}
        store.commit("clip_dataset", f"toy-{subset}", table, header.provenance, stats)
    assert everything(command) == before
    capsys.readouterr()
    assert main(["verify", "toy"]) == 1, "the file is told by its name"
    assert (
        f"damage: toy-list: clip_dataset/toy-list/{version(command, 'list').name}: 1 sample that removed.json names; remove them with: curation forget"
        in capsys.readouterr().out
    )
    assert main(["verify", "--deep"]) == 1
    assert f"clip_dataset/toy-tars/{version(command, 'tars').name}: 1 sample" in capsys.readouterr().out
    if how != "at once":

        class Killed(BaseException):
            pass

        tell = left_samples._tell_table

        def killed(store: TableStore, amended: AmendedVersion) -> None:
            if "/toy-tars/" in amended.folder:
                raise Killed
            tell(store, amended)

        with monkeypatch.context() as patch:
            patch.setattr(left_samples, "_tell_table", killed)
            with pytest.raises(Killed):
                main(["forget", "--yes"])
    if how == "killed before another takedown":
        other = COPY
        assert not any(m.startswith(other) for m in _members(tar)), "it has no reason to open that tar"
        assert main(["forget", other, "--yes"]) == 0
        before = {t: [r for r in rows if r.get("video_id") != other] for t, rows in before.items()}
    assert main(["forget", "--yes"]) == (2 if how == "killed before another takedown" else 0), "2: nothing is left"
    now = everything(command)
    if how == "killed before another takedown":
        before, now = ({t: r for t, r in found.items() if t.startswith("clip_dataset")} for found in (before, now))
    assert now == before, "the others are where the table says"
    assert (main(["verify", "--deep"]), "0 damaged" in capsys.readouterr().out) == (0, True)
    assert _lost(command) == lost == []
    assert not any(p.exists() for p in files)
    assert not any(m.startswith(mine) for m in _members(tar))


def _members(tar: Path) -> list[str]:
    with tarfile.open(tar) as opened:
        return opened.getnames()


def _lost(installation: Installation) -> list[str]:
    headers = [installation.store.header("clip_dataset", k) for k in installation.store.partitions("clip_dataset")]
    return [path for h in headers if h is not None for path in installation.store.lost_media(h)]
