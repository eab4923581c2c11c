"""Tars of a version in force that are opened in a takedown: those that its table names for the videos, and those of which the table cannot tell."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.scale import publishing
from benchmarks.scale.publishing import KEY
from curation_assets.schemas import SCHEMAS
from curation_assets.takedown import amended_card, exports, version_samples
from curation_assets.takedown.exports import _told, amend_version
from curation_assets.takedown.plan import TakedownPlan, Video
from curation_assets.takedown.told_samples import VideoLicences
from curation_assets.takedown.version_samples import AmendedVersion, FilesBelow, keys_in
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

recipe = publishing.recipe


def small_tars(form: str) -> Any:
    made = recipe(form)
    export = made.subsets["s"].export
    clips = export.clips.model_copy(update={"tar_bytes": 60_000})  # type: ignore[union-attr]
    subset = made.subsets["s"].model_copy(update={"export": export.model_copy(update={"clips": clips})})
    return made.model_copy(update={"subsets": {"s": subset}})


class Version:
    """A version in force with many tars, and a video of which it has samples."""

    def __init__(self, root: Path) -> None:
        publishing.generate(str(root), 3, "webdataset", videos=4)
        publishing.publish(str(root), "webdataset")
        self.store, self.recipes = TableStore(Storage(str(root)), SCHEMAS), {"bench": small_tars("webdataset")}
        header = self.store.header("clip_dataset", KEY)
        assert header is not None
        self.name = f"clip_dataset/{KEY}/{header.stats['version']}"
        self.folder = root / self.name
        self.rows = self.store.read("clip_dataset", KEY).to_pylist()
        self.video = self.rows[len(self.rows) // 2]["video_id"]
        self.plan = TakedownPlan([Video("bench", self.video, "bench-00000")], fresh=[("clip_dataset", KEY)])

    def told(self) -> Any:
        return _told(self.store, self.recipes, self.plan, lambda: VideoLicences(self.store)).get(self.name)

    def version(self, told: Any) -> AmendedVersion:
        return AmendedVersion(self.store.storage, self.name, self.plan, lambda: VideoLicences(self.store), told=told)

    def keys(self, told: Any) -> set[str]:
        return set(keys_in(self.version(told), FilesBelow(self.store.storage, self.name)))


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    monkeypatch.setattr(publishing, "recipe", small_tars)
    return Version(tmp_path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    for module in (version_samples, amended_card, exports.amend_file.__globals__["rewrite_tar"].__globals__):
        names = module if isinstance(module, dict) else vars(module)
        before: Callable[[Storage, str], Iterator[tarfile.TarInfo]] = names["members"]

        def noted(storage: Storage, path: str, before: Any = before) -> Iterator[tarfile.TarInfo]:
            found.append(path.rsplit("/", 1)[-1])
            return before(storage, path)

        monkeypatch.setitem(names, "members", noted)
    return found


def sample(version: Version) -> bytes:
    """A tar with a sample of the video that the table does not have."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        key = f"{version.video}_990000_995000"
        said = {"key": key, "dataset": "bench", "video_id": version.video, "split": "train", "export": {}, "source": {}}
        for name, data in ((f"{key}.mp4", b"x"), (f"{key}.json", json.dumps(said).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_only_the_tars_that_hold_the_video_are_opened(version: Version, opened: list[str]) -> None:
    everything = version.keys(None)
    assert everything == {r["sample_key"] for r in version.rows if r["video_id"] == version.video}
    tars = {p.name for p in version.folder.glob("*.tar")}
    holding = {r["tar"].rsplit("/", 1)[-1] for r in version.rows if r["video_id"] == version.video}
    assert set(opened) == tars
    assert len(holding) < len(tars) / 2
    counted = amended_card._count(version.version(None), FilesBelow(version.store.storage, version.name))
    opened.clear()
    assert version.keys(version.told()) == everything
    assert sorted(opened) == sorted(holding)
    opened.clear()
    said = amend_version(version.store.storage, version.name, version.plan, dict, lambda _: None, version.told())
    assert set(opened) == holding
    assert len(opened) == 2 * len(holding), "looked through, and written anew"
    assert said.keys == everything
    version.plan.fresh.clear()
    left = amended_card._count(version.version(None), FilesBelow(version.store.storage, version.name))
    mine = [r for r in version.rows if r["video_id"] == version.video]
    assert counted.samples.total() - left.samples.total() == len(mine)
    version.plan.fresh.append(("clip_dataset", KEY))
    told = version.told().facts()  # of the table, which still has the video's rows
    assert (told.samples, told.ms, told.licences, told.channels) == (
        left.samples,
        left.ms,
        left.licences,
        left.channels,
    )
    assert version.keys(None) == set()


def test_a_list_that_names_the_samples_opens_no_further_tars(version: Version, opened: list[str]) -> None:
    """As `faces.parquet` does, which a version with covered faces has."""
    keys = pa.table({"sample_key": [r["sample_key"] for r in version.rows], "score": [0.5] * len(version.rows)})
    keys = keys.append_column("video_id", [[r["video_id"] for r in version.rows]])
    pq.write_table(keys, version.folder / "faces.parquet")
    holding = {r["tar"].rsplit("/", 1)[-1] for r in version.rows if r["video_id"] == version.video}
    amend_version(version.store.storage, version.name, version.plan, dict, lambda _: None, version.told())
    assert set(opened) == holding
    assert version.video not in pq.read_table(version.folder / "faces.parquet")["video_id"].to_pylist()
    assert version.keys(None) == set()


@pytest.mark.parametrize("fault", ["other tar", "longer tar", "no croissant", "damaged table", "begun"])
def test_where_tables_and_tars_may_disagree_the_tars_are_opened(version: Version, fault: str) -> None:
    key = f"{version.video}_990000_995000"
    holding = {r["tar"].rsplit("/", 1)[-1] for r in version.rows if r["video_id"] == version.video}
    other = next(p for p in sorted(version.folder.glob("*.tar")) if p.name not in holding)
    if fault == "other tar":
        (version.folder / "train-99999.tar").write_bytes(sample(version))
    else:
        other.write_bytes(sample(version))
    if fault == "no croissant":
        (version.folder / "croissant.json").unlink()
    if fault == "damaged table":
        path = Path(version.store.storage.root) / version.store.path("clip_dataset", KEY)
        path.write_bytes(path.read_bytes()[:-9])
    if fault == "begun":
        (version.folder / "removed.json").write_text(json.dumps({"complete": False, "removed": []}))
    assert key in version.keys(version.told())
