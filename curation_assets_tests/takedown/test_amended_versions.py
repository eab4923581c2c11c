"""A version whose amending was killed anywhere is amended to what it would have been; samples are found wherever what tells of them lies."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.writing.samples import clip_samples
from curation_assets.schemas import SCHEMAS
from curation_assets.takedown import version_samples
from curation_assets.takedown.exports import amend_version
from curation_assets.takedown.left_samples import left_samples, remove_left
from curation_assets.takedown.plan import TakedownPlan, Video
from curation_assets.takedown.version_samples import REMOVED, FilesBelow, subfolders, suspects
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

FOLDER = "clip_dataset/toy-s/abc"
VIDEOS = ("alpha", "zeta")
"""Their samples lie before and behind the list of a folder, by name."""
PLAN = TakedownPlan([Video("toy", v, "toy-00000") for v in VIDEOS])
KEYS = [f"{video}_{n}000_{n + 1}000" for video in (*VIDEOS, "gamma") for n in range(2)]


class Killed(BaseException):
    pass


def record(key: str) -> dict[str, Any]:
    video = key.split("_")[0]
    said = {"key": key, "dataset": "toy", "video_id": video, "clip_id": key, "split": "train"}
    return {**said, "export": {"start_ms": 0, "end_ms": 1000}, "source": {"title": f"of {video}"}, "clip": {}}


def publish(root: Path, form: str) -> None:
    storage = Storage(str(root))
    if form == "triples":  # one with an ending that only a package's format has
        for key in KEYS:
            for ending, data in (("json", json.dumps(record(key)).encode()), ("npy", key.encode()), ("webm", b"")):
                storage.write(f"{FOLDER}/train/{key}.{ending}", data)
        return
    writer = clip_samples(ClipExport(format=form), storage, FOLDER)
    for key in KEYS:
        writer.add("train", key, f"pictures of {key}".encode(), record(key))
    writer.close()


def store(root: Path) -> TableStore:
    return TableStore(Storage(str(root)), SCHEMAS)


def amend(root: Path) -> None:
    amend_version(Storage(str(root)), FOLDER, PLAN, dict, lambda _: None)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.name != REMOVED
    }


def kill_before(nth: int, patch: pytest.MonkeyPatch) -> None:
    """Lets a process die before it changes storage for the `nth` time."""
    numbers = count(1)

    def dying(then: Callable[..., Any]) -> Callable[..., Any]:
        def change(*given: Any) -> Any:
            if next(numbers) == nth:
                raise Killed
            return then(*given)

        return change

    for name in ("remove", "publish", "write"):
        patch.setattr(Storage, name, dying(getattr(Storage, name)))


@pytest.mark.parametrize("form", ["folder", "parquet", "webdataset", "triples"])
def test_amending_that_is_killed_anywhere_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    publish(tmp_path / "first", form)
    shutil.copytree(tmp_path / "first", tmp_path / "whole")
    amend(tmp_path / "whole")
    whole = files(tmp_path / "whole")
    assert whole
    assert not any(video.encode() in data for video in VIDEOS for data in (*whole.values(), *map(str.encode, whole)))
    changes = 0
    for nth in range(1, 100):
        root = tmp_path / str(nth)
        shutil.copytree(tmp_path / "first", root)
        with monkeypatch.context() as patch:
            kill_before(nth, patch)
            try:
                amend(root)
                break
            except Killed:
                changes += 1
        amend(root)
        assert files(root) == whole, f"killed before change {nth}"
        said = json.loads((root / FOLDER / REMOVED).read_text())
        assert said["complete"] is True
        assert sum(e["samples"] for e in said["removed"]) == 4
    assert changes >= (3 if form == "webdataset" else 6)


@pytest.mark.parametrize("form", ["folder", "parquet", "webdataset", "triples"])
def test_what_takedowns_of_before_left_is_found_by_its_hashes_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    publish(tmp_path / "first", form)
    shutil.copytree(tmp_path / "first", tmp_path / "whole")
    amend(tmp_path / "whole")
    whole = files(tmp_path / "whole")
    assert [*left_samples(store(tmp_path / "whole"), tars=True)] == []
    shutil.copytree(tmp_path / "whole", tmp_path / "left")
    for name, data in files(tmp_path / "first").items():
        if name not in whole or name.endswith(".tar"):
            (tmp_path / "left" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "left" / name).write_bytes(data)
    assert [*left_samples(store(tmp_path / "first"), tars=True)] == [], "nothing was taken down there"
    (found,) = left_samples(store(tmp_path / "left"), tars=True)
    assert found.keys == {k for k in KEYS if not k.startswith("gamma")}
    assert len([*left_samples(store(tmp_path / "left"), tars=False)]) == (form != "webdataset")
    changes = 0
    for nth in range(1, 100):
        root = tmp_path / str(nth)
        shutil.copytree(tmp_path / "left", root)
        with monkeypatch.context() as patch:
            kill_before(nth, patch)
            try:
                remove_left(store(root), found, lambda _: None)
                break
            except Killed:
                changes += 1
        for left in left_samples(store(root), tars=True):
            remove_left(store(root), left, lambda _: None)
        assert files(root) == whole, f"killed before change {nth}"
        assert json.loads((root / FOLDER / REMOVED).read_text())["complete"] is True
        assert [*left_samples(store(root), tars=True)] == []
    assert changes >= 3
    assert files(root) == whole


def test_samples_go_from_tars_that_do_not_tell_of_them(tmp_path: Path) -> None:
    """As a format of a package may have them: pictures in one tar, what is said of them in another."""
    storage = Storage(str(tmp_path))
    storage.write(f"{FOLDER}/pictures-00000.tar", tar({f"{k}.mp4": f"pictures of {k}".encode() for k in KEYS}))
    storage.write(f"{FOLDER}/said-00000.tar", tar({f"{k}.json": json.dumps(record(k)).encode() for k in KEYS}))
    amend(tmp_path)
    for name in ("pictures", "said"):
        with tarfile.open(tmp_path / FOLDER / f"{name}-00000.tar") as left:
            assert {n.split("_")[0] for n in left.getnames()} == {"gamma"}


def tar(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_files_are_listed_folder_by_folder(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["README.md", "a.tar", "clips/00/v1.json", "clips/00/v1.mp4", "clips/01/v2.json", "clips/more.tar"]
    for name in names:
        storage.write(f"version/{name}", b"x")
    found = FilesBelow(storage, "version")
    assert list(found) == list(found) == ["README.md", "a.tar", "clips/more.tar", *names[2:5]]
    assert found.of_many() == {"README.md", "a.tar", "clips/more.tar"}
    monkeypatch.setattr(version_samples, "PART", 1)
    assert sorted(found) == names
    assert subfolders(storage, "version/clips") == ["00", "01"]
    assert list(FilesBelow(storage, "nothing")) == subfolders(storage, "nothing") == []


def test_ids_are_found_alike_whether_few_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["abcdefghijk", "a/b", "x" * 90, "abc"]
    texts = ["bench_abcdefghijk_0_9", "a_b-12", "x" * 80, "x" * 79, "ab", "zzabczz", ""]
    few = [suspects(ids)(text) for text in texts]
    monkeypatch.setattr(version_samples, "FEW_VIDEOS", 3)
    assert [suspects(ids)(text) for text in texts] == few == [True, True, True, False, False, True, False]
