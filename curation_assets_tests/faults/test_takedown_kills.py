"""A takedown that is killed, whenever it is: the same command, given again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation_assets_tests.faults.shipped import Shipped, kill_group
from curation_assets_tests.installation import Installation
from curation_assets_tests.takedown.installed import GONE, RECIPE, published, search, traces
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
KILLS = 6
COMMAND = ("forget", "--yes", "--", GONE)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A published dataset, and what is of the video alone."""
    root = tmp_path_factory.mktemp("template")
    with published(root) as made:
        return root, traces(made, GONE)


def _copy(template: Path, root: Path) -> Shipped:
    for name in ("data", "home"):
        shutil.copytree(template / name, root / name)
    place = Shipped(root)
    place.declare("toy", RECIPE.format(root=template))
    return place


def _left(place: Shipped) -> dict[str, Any]:
    """Paths of all files but of media that may have been named in two steps, rows of all tables with the bytes of their media, and what versions say."""
    store: TableStore = Installation(place.root).store
    found: dict[str, Any] = {}
    for path in sorted(Path(place.data).rglob("*.parquet")):
        name = path.relative_to(place.data)
        if name.parts[0] in ("clip_dataset", "embedding_dataset") and len(name.parts) > 2:
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif len(name.parts) > 2:  # what lies beside a table: slices, what was compared
            found[str(name)] = pq.read_table(path).to_pylist()
        elif name.parts[0] != "forgotten.parquet":
            asset = name.parts[0].removesuffix(".parquet")
            rows = store.read(asset, name.stem if len(name.parts) > 1 else None).to_pylist()
            found[str(name)] = [_with_bytes(store.storage, r) for r in rows]
    found["tombstones"] = store.read("forgotten").num_rows
    for path in Path(place.data).rglob("*"):
        if path.name in ("README.md", "removed.json", "metadata.csv"):
            found[str(path.relative_to(place.data))] = path.read_text()
        elif path.name == "croissant.json":
            said = json.loads(path.read_text())
            found[str(path.relative_to(place.data))] = (said["version"], said["distribution"], said["license"])
        elif path.suffix in (".mp4", ".npy", ".tmp", ".jsonl"):
            found[str(path.relative_to(place.data))] = True
    return found


def _with_bytes(storage: Storage, row: dict[str, Any]) -> dict[str, Any]:
    if row.get("tar") and row.get("offset") is not None:
        data = storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
        row |= {"tar": None, "offset": None, "media": hashlib.sha256(data).hexdigest()}
    return row


def test_a_takedown_killed_at_any_point_ends_as_an_undisturbed_one(
    template: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    root, wanted = template
    undisturbed = _copy(root, tmp_path / "undisturbed")
    started = time.monotonic()
    done = undisturbed.curation(*COMMAND)
    took = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    expected = _left(undisturbed)
    unfinished = 0
    for number in range(KILLS):
        place = _copy(root, tmp_path / f"kill{number}")
        process = place.start(COMMAND)
        fraction = random.Random(number).uniform(0.3, 1)  # before that it is still importing
        time.sleep(took * fraction)
        kill_group(process)
        unfinished += (Path(place.data) / "forgetting.json").exists()
        again = place.curation(*COMMAND)
        where = f"killed at {fraction:.2f} of {took:.1f} s: {again.stdout}{again.stderr}"
        assert again.returncode in (0, 2), where
        assert again.returncode == 0 or "was taken down on" in again.stderr, where
        assert search([Path(place.data), place.home], wanted) == [], where
        assert _left(place) == expected, where
        assert not (Path(place.data) / "forgetting.json").exists()
    assert unfinished, "no kill fell into the takedown"
