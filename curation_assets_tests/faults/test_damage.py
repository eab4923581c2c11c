"""Storage that was damaged between runs: it is named, `stale` says what is behind, and the next run makes exactly that again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curation_assets.schemas import SCHEMAS
from curation_assets.verify import LEFT_OVER
from curation_assets_tests.faults.pairs import contents, damage, faults, small_dataset
from curation_assets_tests.faults.shipped import Shipped
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """An installation that is up to date; every test leaves it so."""
    made = small_dataset(tmp_path_factory.mktemp("damage"))
    done = made.curation("run", str(made.root / "recipes/pair.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def _stale(place: Shipped) -> dict[str, str]:
    """Asset -> state and reason, of what is behind."""
    done = place.curation("stale", "--why")
    assert done.returncode in (0, 1), done.stderr
    rows = [line.split(maxsplit=3) for line in done.stdout.partition("because")[2].splitlines()[2:]]
    return {r[0]: f"{r[2]} {r[3] if len(r) > 3 else ''}" for r in rows if r}


def _repaired(place: Shipped, before: dict[str, str]) -> str:
    """Runs the recipe and asserts that all is as before; what was said."""
    done = place.curation("run", str(place.root / "recipes/pair.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    storage = Storage(place.data)
    assert contents(storage) == before
    assert faults(place, storage) == []
    return done.stdout


def test_a_truncated_table_is_named_and_made_again(place: Shipped) -> None:
    storage = Storage(place.data)
    before = contents(storage)
    for asset in ("raw_shards", "clips"):
        file = Path(place.data) / asset / "pair-00000.parquet"
        file.write_bytes(file.read_bytes()[:-20])
    assert {(f.asset, f.partition) for f in damage(place, storage)} == {
        ("raw_shards", "pair-00000"),
        ("clips", "pair-00000"),
    }
    said = place.curation("report")
    assert said.returncode == 0, said.stderr
    assert "DAMAGED" in said.stdout
    assert "curation run RECIPE --select clips --shards pair-00000" in said.stdout
    behind = _stale(place)
    assert "is damaged" in behind["raw_shards"]
    _repaired(place, before)


@pytest.mark.parametrize("how", ["torn", "a flipped bit"])
def test_a_damaged_index_is_made_again_by_the_command_that_is_named(place: Shipped, how: str) -> None:
    storage = Storage(place.data)
    before = contents(storage)
    file = Path(place.data) / "dataset_index.parquet"
    data = bytearray(file.read_bytes())
    if how == "torn":
        del data[-20:]
    else:
        data[len(data) // 5] ^= 16
    file.write_bytes(data)
    (fault,) = damage(place, storage)
    assert "curation run RECIPE --select dataset_index" in fault.repair
    done = place.curation("run", str(place.root / "recipes/pair.yaml"), "--select", "dataset_index")
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(storage) == before
    said = _repaired(place, before)
    assert "made:" not in said, "the index says what it said, so that nothing that goes by it is made again"


def test_a_tar_that_is_gone_makes_its_rows_stale_and_nothing_else(place: Shipped) -> None:
    storage = Storage(place.data)
    store = TableStore(storage, SCHEMAS)
    before = contents(storage)
    tars = {a: store.read(a, "pair-00000", columns=["tar"])["tar"][0].as_py() for a in ("raw_shards", "frames")}
    export = store.read("clip_dataset", "pair-hq", columns=["tar"])["tar"][0].as_py()
    for tar in [*tars.values(), export]:
        storage.remove(tar)
    found = damage(place, storage)
    assert {f.file for f in found} >= {*tars.values(), export}
    assert all("curation run" in f.repair for f in found)
    behind = _stale(place)
    assert set(behind) >= {"raw_shards"}
    assert "is gone from storage" in behind["raw_shards"]
    said = _repaired(place, before)
    assert "made: raw_shards 1, frames 1, clip_dataset 1" in said


def test_rotten_bytes_of_media_are_found_and_made_again_when_the_file_is_removed(place: Shipped) -> None:
    storage = Storage(place.data)
    store = TableStore(storage, SCHEMAS)
    before = contents(storage)
    row = store.read("frames", "pair-00000").to_pylist()[0]
    file = Path(place.data) / row["tar"]
    data = bytearray(file.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 4
    file.write_bytes(data)
    done = place.curation("verify", "--deep", "--json")
    assert done.returncode == 1
    [fault] = json.loads(done.stdout)["faults"]
    assert fault["file"] == row["tar"]
    assert fault["partition"] == "pair-00000"
    assert fault["repair"].startswith("remove the file, then make it again with: curation run RECIPE --select frames")
    file.unlink()
    _repaired(place, before)


def test_a_version_is_held_against_its_manifest(place: Shipped) -> None:
    storage = Storage(place.data)
    before = contents(storage)
    tar = next(p for p in storage.find("clip_dataset/pair-hq") if p.endswith(".tar"))
    file = Path(place.data) / tar
    data = bytearray(file.read_bytes())
    data[-2000] ^= 1  # in the last member that is no clip: no table has its hash
    file.write_bytes(data)
    assert any("not those of its manifest" in f.what for f in damage(place, storage))
    file.unlink()
    _repaired(place, before)


def test_what_is_left_over_is_listed_and_swept(place: Shipped) -> None:
    storage = Storage(place.data)
    before = contents(storage)
    left = [
        "frames/pair-00000/abandoned-00000.tar",
        "raw_shards/pair-00000/abandoned-00000.rows.parquet",
        "clip_dataset/pair-hq/pieces/pair-00000-abc.parquet",
        "clip_dataset/pair-hq/0123456789ab/train-00000.tar",
        "duplicate_clusters/index/parts/old.arrow",
    ]
    for path in left:
        storage.write(path, b"left over")
    found = {f.file for f in faults(place, storage)}
    assert found == {*left[:3], "clip_dataset/pair-hq/0123456789ab", left[4]}
    assert {f.kind for f in faults(place, storage)} == {LEFT_OVER}
    done = place.curation("verify")
    assert done.returncode == 0, done.stdout
    assert "0 damaged, 5 left over" in done.stdout
    storage.remove(left[4])  # of the index: swept when it is made again
    _repaired(place, before)
