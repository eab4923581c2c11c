"""Renaming, removing and taking down while something else happens to the same root: a kill at any moment, a run, another takedown."""

from __future__ import annotations

import glob
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from curation_assets_tests.faults.pairs import RECIPE, contents, faults, small_dataset
from curation_assets_tests.faults.shipped import Shipped, kill_group
from curation_resources.presence import ALONE
from curation_resources.storage import Storage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
KILLS = 5


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """A published dataset `pair`, up to date."""
    made = small_dataset(tmp_path_factory.mktemp("template"))
    done = made.curation("run", "recipes/pair.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def _copy(template: Shipped, root: Path, dataset: str | None = "pair") -> Shipped:
    """The same installation at another place; its recipe declares `dataset`, or is gone."""
    for name in ("data", "home"):
        shutil.copytree(template.root / name, root / name)
    place = Shipped(root)
    if dataset is not None:
        recipe = RECIPE.format(root=template.root).replace("dataset: pair", f"dataset: {dataset}")
        place.declare(dataset, recipe)
    return place


def _held(place: Shipped) -> tuple[dict[str, str], list[str]]:
    """Content hashes of all tables, and the names of all files but those that say who was at work."""
    storage = Storage(place.data)
    return contents(storage), sorted(n for n in storage.find("") if not n.startswith(".runs/"))


def _begun(place: Shipped, command: Sequence[str]) -> subprocess.Popen[str]:
    """The command, once it is alone at work on the root, or has ended."""
    process = place.start(command)
    while process.poll() is None and not list(Path(place.data, ".runs").glob(f"*~{glob.escape(ALONE)}")):
        time.sleep(0.002)
    return process


@pytest.mark.parametrize(
    ("command", "dataset"),
    [(["rename", "pair", "twin"], "twin"), (["remove", "pair", "--yes"], None)],
    ids=["rename", "remove"],
)
def test_a_command_killed_at_any_moment_ends_as_an_undisturbed_one_when_it_is_given_again(
    template: Shipped, tmp_path: Path, command: list[str], dataset: str | None
) -> None:
    def installed(name: str) -> Shipped:
        place = _copy(template, tmp_path / name, dataset)
        if dataset is None:  # the folder of recipes must not be empty
            place.declare("other", RECIPE.format(root=template.root).replace("dataset: pair", "dataset: other"))
        return place

    undisturbed = installed("undisturbed")
    process = _begun(undisturbed, command)
    began = time.monotonic()
    out, err = process.communicate(timeout=240)
    took = time.monotonic() - began
    assert process.returncode == 0, out + err
    expected, halfway = _held(undisturbed), 0
    if (
        dataset is None
    ):  # killed once the index was written: nothing of the dataset is left, but what the old index had beside it
        (Path(undisturbed.data) / "dataset_index/slices/of-an-old-index.parquet").write_bytes(b"")
        assert "nothing of pair is stored" in undisturbed.curation(*command).stdout
        assert _held(undisturbed) == expected
    for number in range(KILLS):
        place = installed(f"kill{number}")
        before = _held(place)
        process = _begun(place, command)
        time.sleep(took * random.Random(number).uniform(0, 0.8))
        kill_group(process)
        halfway += [n for n in _held(place)[1] if not n.startswith(".tmp/")] not in (before[1], expected[1])
        again = place.curation(*command)
        nothing = "nothing of pair is stored" in again.stdout + again.stderr
        assert again.returncode == 0 or nothing, again.stdout + again.stderr
        tables, files = _held(place)
        assert tables == expected[0]
        assert sorted(set(files) ^ set(expected[1])) == []
        assert not list(Path(place.data, ".runs").glob("*~*"))
    print(f"{' '.join(command)}: {halfway} of {KILLS} kills fell into the work")
    if dataset is not None:
        run = place.curation("run", f"recipes/{dataset}.yaml")
        assert run.returncode == 0, run.stdout + run.stderr
        made = {m.split()[0] for m in run.stdout.partition("made: ")[2].partition("\n")[0].split(", ")}
        assert made <= {"duplicate_clusters", "dedup", "curated_clips", "clip_dataset"}, (
            "nothing that costs is made again"
        )
        verified = place.curation("verify", "--deep")
        assert verified.returncode == 0, verified.stdout


def test_of_two_takedowns_at_once_none_is_lost_and_none_is_half_done(template: Shipped, tmp_path: Path) -> None:
    """They begin at the same moment, each of another video: a refused one says so, and is given again."""
    alone = _copy(template, tmp_path / "alone")
    for video in ("v0", "v1"):
        done = alone.curation("forget", video, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
    expected = contents(Storage(alone.data))
    for number in range(3):
        place = _copy(template, tmp_path / f"both{number}")
        both = {v: place.start(["forget", v, "--yes"]) for v in ("v0", "v1")}
        ended = {video: process.communicate(timeout=240) for video, process in both.items()}
        for video, (out, err) in ended.items():
            assert "Traceback" not in out + err
            if both[video].returncode:
                assert "1 run is at work" in err or "is not what was shown" in err, out + err
                again = place.curation("forget", video, "--yes")
                assert again.returncode == 0, again.stdout + again.stderr
        assert contents(Storage(place.data)).keys() == expected.keys()
        assert not (Path(place.data) / "forgetting.json").exists()
        assert _ids(place) == {"v2"}
        run = place.curation("run", "recipes/pair.yaml")
        assert run.returncode == 0, run.stdout + run.stderr
        assert _ids(place) == {"v2"}, "tombstones of both keep them out"
        assert faults(place, Storage(place.data)) == []


def _ids(place: Shipped) -> set[Any]:
    from curation_assets.schemas import SCHEMAS
    from curation_resources.tables import TableStore

    store = TableStore(Storage(place.data), SCHEMAS)
    found = set(store.read("dataset_index", columns=["video_id"])["video_id"].to_pylist())
    for asset in ("raw_shards", "clips", "frames"):
        found |= set(store.read(asset, "pair-00000", columns=["video_id"])["video_id"].to_pylist())
    return found | set(store.read("clip_dataset", "pair-hq", columns=["video_id"])["video_id"].to_pylist())


def test_a_takedown_waits_for_no_run_and_a_run_for_no_takedown(template: Shipped, tmp_path: Path) -> None:
    """Whichever comes second is refused with one sentence; a run that was killed keeps nobody out."""
    place = _copy(template, tmp_path / "one")
    run = place.start(["run", "recipes/pair.yaml", "--force"])
    while run.poll() is None and not list(Path(place.data, ".runs").glob("*~*")):
        time.sleep(0.01)
    refused = place.curation("forget", "v0", "--yes")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "1 run is at work" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run.poll() is None
    kill_group(run)
    done = place.curation("forget", "v0", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v0" not in _ids(place)
