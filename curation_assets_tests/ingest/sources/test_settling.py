"""Files that may still be being written: they wait alone, are not read, and lose nothing that is known of them."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.ingest.index_file import IndexFile
from curation_assets.ingest.index_plan import IndexPlan
from curation_assets.ingest.indexing import plan_indexes
from curation_assets.ingest.sources import Settling
from curation_assets.orchestration import sensors
from curation_assets.recipes import Recipe
from curation_assets.source_watch import Page, SourceWatch, look
from curation_assets_tests.installation import Installation
from curation_resources.storage import Storage

NOW = 1_800_000_000.0
"""When a source is read; files are given their times relative to it."""
SETTLE = 30.0


def recipe(form: str, path: Path, **more: Any) -> Recipe:
    return Recipe.model_validate({"dataset": "d", "source": {"format": form, "path": str(path), **more}})


def put(path: Path, data: bytes, age: float) -> None:
    """A file that was last written `age` seconds before NOW."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (NOW - age, NOW - age))


class Indexed:
    """Indexes a source again and again, each time over the index before."""

    def __init__(self, one: Recipe, scratch: Path) -> None:
        self.recipe, self.scratch, self.last = one, scratch, 0

    def __call__(self, now: float | None = NOW) -> tuple[IndexPlan, dict[str, dict[str, Any]]]:
        import pyarrow.parquet as pq

        previous = self.scratch / f"{self.last}.parquet" if self.last else None
        self.last += 1
        out = self.scratch / f"{self.last}.parquet"
        (plan,) = plan_indexes([self.recipe], previous, IndexFile(out), settled_at=now)
        return plan, {r["video_id"]: r for r in pq.read_table(out).to_pylist()}


def test_known_files_stay_as_they_were_and_new_ones_wait(tmp_path: Path) -> None:
    films = tmp_path / "films"
    for name in ("a", "b", "d"):
        put(films / f"{name}.mp4", b"1", 100)
    put(films / "d.txt", b"words", 100)
    index = Indexed(recipe("folder", films), tmp_path)
    _, before = index()
    assert set(before) == {"a", "b", "d"}
    put(films / "b.mp4", b"half of another", 5)
    put(films / "c.mp4", b"half", 1)
    put(films / "d.txt", b"half a sen", 29)
    (films / "a.mp4").unlink()
    plan, rows = index()
    assert plan.unsettled == 3
    assert {v: r["status"] for v, r in rows.items()} == {"a": "removed", "b": "present", "d": "present"}
    assert (rows["b"], rows["d"]) == (before["b"], before["d"])
    plan, rows = index(NOW + SETTLE)
    assert plan.unsettled == 0
    assert {v: r["status"] for v, r in rows.items()} == {"a": "removed", "b": "present", "c": "present", "d": "present"}
    assert rows["b"]["record"] != before["b"]["record"]
    assert "half a sen" in rows["d"]["record"]


def test_a_run_by_hand_takes_what_stands_there(tmp_path: Path) -> None:
    put(tmp_path / "films" / "a.mp4", b"half", 0)
    plan, rows = Indexed(recipe("folder", tmp_path / "films"), tmp_path)(None)
    assert (plan.unsettled, set(rows)) == (0, {"a"})


def tar(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name in names:
            member = tarfile.TarInfo(f"{name}.mp4")
            member.size = 3000
            made.addfile(member, io.BytesIO(name.encode() * 3000))
    return out.getvalue()


def test_a_tar_that_grows_is_not_opened_and_its_samples_stay(tmp_path: Path) -> None:
    tars = tmp_path / "tars"
    put(tars / "0.tar", tar("a", "b"), 100)
    put(tars / "1.tar", tar("c")[:2000], 100)
    index = Indexed(recipe("webdataset", tars), tmp_path)
    _, before = index()
    assert {r["status"] for r in before.values()} == {"present", "rejected"}, "the second tar is damaged"
    put(tars / "0.tar", tar("a", "b", "x")[:8000], 3)
    put(tars / "1.tar", tar("c", "y")[:3000], 3)
    put(tars / "2.tar", tar("z"), 100)
    plan, rows = index()
    assert plan.unsettled == 2
    assert {v: r for v, r in rows.items() if v != "z"} == before
    put(tars / "0.tar", tar("a", "b", "x"), 50)
    put(tars / "1.tar", tar("c", "y"), 50)
    _, rows = index()
    assert {v: r["status"] for v, r in rows.items()} == dict.fromkeys("abcxyz", "present")


@pytest.mark.parametrize("captions", [False, True], ids=["the list", "its captions"])
def test_half_a_list_removes_nobody(tmp_path: Path, captions: bool) -> None:
    lists, said = tmp_path / "list.csv", tmp_path / "captions.csv"
    put(lists, b"id,url\nv0,http://h/0.mp4\nv1,http://h/1.mp4\n", 100)
    put(said, b"id,caption\nv0,a\nv1,b\n", 100)
    joined = {"captions": {"path": str(said), "id": "id"}}
    index = Indexed(
        recipe("table", lists, columns={"id": "id", "url": "url"}, **(joined if captions else {})), tmp_path
    )
    _, before = index()
    if captions:
        put(said, b"id,caption\nv0,", 2)
    else:
        put(lists, b"id,url\nv0,http://h/0.mp4\n", 2)
    plan, rows = index()
    assert (plan.unsettled, plan.error, plan.shards) == (1, None, ("d-00000",))
    assert rows == before
    _, rows = index(NOW + SETTLE)
    assert rows != before


def test_unknown_times_and_times_ahead_hold_nothing_back() -> None:
    settling = Settling(NOW, SETTLE)
    assert settling.settled(0)
    assert settling.settled(NOW + 1)
    assert [settling.settled(NOW - age) for age in (0, 29.9, 30, 1e6)] == [False, False, True, True]
    assert Settling(NOW, 0).settled(NOW)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=12))
def test_whatever_is_taken_has_been_left_alone(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool]]
) -> None:
    """Looks every 20 s, between which files grow: a request is due only for files that settled, and each file is taken in the end."""
    folder = tmp_path_factory.mktemp("films")
    one, storage = recipe("folder", folder), Storage(str(folder))
    now, watch = NOW, SourceWatch()
    written: dict[str, float] = {}
    put(folder / "first.mp4", b"1", 1000)
    taken: dict[str, tuple[int, float]] = {}
    for name, grows in [*steps, *[("", False)] * 5]:
        if grows:
            path = folder / f"{name}.mp4"
            path.write_bytes(b"x" * (path.stat().st_size + 1 if path.exists() else 1))
            os.utime(path, (now, now))
            written[path.name] = now
        now += 20
        watch, complete = look(one, watch, storage, Page(1000), now)
        assert complete
        assert watch.unsettled == sum(now - when < SETTLE for when in written.values())
        if watch.due:
            watch = SourceWatch(taken=watch.last, last=watch.last)
            settled = {p.name: p.stat() for p in folder.iterdir() if written.get(p.name, 0) <= now - SETTLE}
            assert {n: (s.st_size, s.st_mtime) for n, s in settled.items()} != taken, "something is new in it"
            taken = {n: (s.st_size, s.st_mtime) for n, s in settled.items()}
    assert set(taken) == {p.name for p in folder.iterdir()}
    assert not watch.pending


def test_a_file_that_grows_holds_up_no_other_of_its_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = tmp_path / "films"
    put(films / "whole.mp4", b"1", 100)
    site = Installation(tmp_path / "site")
    site.declare(f"dataset: d\nsource: {{format: folder, path: {films}}}\n")
    asked = []
    for tick in range(4):
        now = NOW + 25 * tick
        monkeypatch.setattr(sensors.time, "time", lambda now=now: now)
        put(films / "grows.mp4", b"x" * (tick + 1), -25 * tick)
        for request in site.tick("source_sensor").run_requests or []:
            asked.append(tick)
            assert site.run("index", tags=dict(request.tags))
        assert "d: 1 file changed within the last 30 s" in site.said["source_sensor"] or asked[-1:] == [tick]
    assert asked == [1]
    assert site.store.read("dataset_index")["video_id"].to_pylist() == ["whole"]
    monkeypatch.setattr(sensors.time, "time", lambda: NOW + 1000)
    requests = [r for _ in range(2) for r in site.tick("source_sensor").run_requests or []]
    assert len(requests) == 1
    assert site.run("index", tags=dict(requests[0].tags))
    assert site.store.read("dataset_index")["video_id"].to_pylist() == ["grows", "whole"]


def test_the_clock_of_this_machine_is_that_of_the_files(tmp_path: Path) -> None:
    """A file just written counts as being written, by the times that the file system really gives."""
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"1")
    watch, _ = look(recipe("folder", tmp_path / "v"), SourceWatch(), Storage(str(tmp_path)), Page(10), time.time() + 1)
    assert watch.unsettled == 1
