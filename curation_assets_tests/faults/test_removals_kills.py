"""Renaming, removing and taking down while something else happens to the same root: a kill at any moment, a run, another takedown."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from curation_assets_tests.faults.pairs import RECIPE, contents, damage, faults, small_dataset
from curation_assets_tests.faults.shipped import Shipped, kill_group
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


def _killed(place: Shipped, command: Sequence[str], after_s: float) -> None:
    process = place.start(command)
    time.sleep(after_s)
    kill_group(process)


@pytest.mark.parametrize(
    ("command", "dataset"),
    [(["rename", "pair", "twin"], "twin"), (["remove", "pair", "--yes"], None)],
    ids=["rename", "remove"],
)
def test_a_command_killed_at_any_moment_ends_as_an_undisturbed_one_when_it_is_given_again(
    template: Shipped, tmp_path: Path, command: list[str], dataset: str | None
) -> None:
    undisturbed = _copy(template, tmp_path / "undisturbed", dataset)
    if dataset is None:
        undisturbed.declare("other", RECIPE.format(root=template.root).replace("dataset: pair", "dataset: other"))
    started = time.monotonic()
    done = undisturbed.curation(*command)
    took = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    expected = _held(undisturbed)
    halfway = 0
    for number in range(KILLS):
        place = _copy(template, tmp_path / f"kill{number}", dataset)
        if dataset is None:
            place.declare("other", RECIPE.format(root=template.root).replace("dataset: pair", "dataset: other"))
        before = _held(place)
        _killed(place, command, took * random.Random(number).uniform(0.5, 1))  # before that it is still importing
        halfway += _held(place) not in (before, expected)
        again = place.curation(*command)
        nothing = "nothing of pair is stored" in again.stdout + again.stderr
        assert again.returncode == 0 or nothing, again.stdout + again.stderr
        assert _held(place) == expected
        assert not list(Path(place.data, ".runs").glob("*~*"))
    print(f"{' '.join(command)}: {halfway} of {KILLS} kills fell into the work")
    if dataset is not None:
        run = place.curation("run", f"recipes/{dataset}.yaml")
        assert run.returncode == 0, run.stdout + run.stderr
        assert "clips 1" not in run.stdout.partition("made:")[2].partition("up to date")[0], "nothing is cut again"
        assert damage(place, Storage(place.data)) == []


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
        for video, process in both.items():
            out, err = process.communicate(timeout=240)
            assert "Traceback" not in out + err
            if process.returncode:
                assert "are at work" in err or "is not what was shown" in err, out + err
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
    assert "runs are at work" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run.poll() is None
    kill_group(run)
    done = place.curation("forget", "v0", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v0" not in _ids(place)
