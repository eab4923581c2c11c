"""Two runs on one storage root: what is committed is never removed, what is left over is, and a write that comes too late is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.schemas import SCHEMAS
from curation_assets_tests.conftest import S3Server
from curation_assets_tests.resources.test_tables import frames, motion
from curation_resources import presence
from curation_resources.media import MediaRef
from curation_resources.owners import identity, owner_alive
from curation_resources.presence import EVERYTHING, FOLDER, Occupied, at_work, cover_of, covers, others
from curation_resources.provenance import Provenance
from curation_resources.replace import Superseded
from curation_resources.storage import TEMPORARY, Storage
from curation_resources.sweep import unfinished_files, unfinished_uploads
from curation_resources.tables import TableStore

KEYS = st.tuples(st.sampled_from(["d", "d-e", "mine-hq", "x_1"]), st.none() | st.integers(0, 120_000)).map(
    lambda k: k[0] if k[1] is None else f"{k[0]}-{k[1]:05d}"
)


@given(st.lists(KEYS, min_size=1, max_size=20), KEYS)
def test_a_cover_has_every_key_that_it_was_made_of(keys: list[str], other: str) -> None:
    cover = cover_of(keys)
    assert all(covers(cover, k) for k in keys)
    assert "/" not in cover
    assert len(cover) <= presence.COVER_LENGTH
    if covers(cover, other) and cover != EVERYTHING:
        name = other.rpartition("-")[0] if other.rpartition("-")[2].isdigit() else other
        assert any(k.startswith(name) for k in keys)


@pytest.fixture
def other_run(storage: Storage) -> Iterator[Any]:
    """Another run at work on d-00000 to d-00009; `end` ends it."""
    run = presence.Presence(storage, "d=0..9")
    run.beat()
    yield run
    run.stop()


def test_media_of_another_run_stay_until_nobody_is_at_work(storage: Storage, other_run: Any) -> None:
    """The commits of two runs that have both written tars, in every order of what each does; then the next run sweeps."""
    store = TableStore(storage, SCHEMAS)
    first, first_tar = frames(store, b"x" * 100)
    with at_work(storage, ["d-00000"]):
        second, second_tar = frames(store, b"x" * 100)
        begun = store.header("frames", "d-00000")
        store.commit("frames", "d-00000", second, Provenance("1"), base=begun)
        assert storage.exists(first_tar), "the other run may still commit it"
    with pytest.raises(Superseded):
        store.commit("frames", "d-00000", first, Provenance("1"), base=begun)
    for row in store.read("frames", "d-00000").to_pylist():
        assert storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])).startswith(b"x" * 100)
    header = store.header("frames", "d-00000")
    assert header is not None
    assert store.sweep(header, store.files("frames", "d-00000")) == []
    assert others(storage, "d-00010") == []
    other_run.stop()
    with at_work(storage, ["d-00000"]):
        assert store.sweep(header, store.files("frames", "d-00000")) == [first_tar]
    assert storage.list("frames/d-00000") == [second_tar.rsplit("/", 1)[-1]]
    assert not [n for n in storage.list(FOLDER) if "~" in n]


def test_who_wants_to_be_alone_and_who_is_at_work_keep_each_other_out(storage: Storage, other_run: Any) -> None:
    with pytest.raises(Occupied, match="1 run is at work"), at_work(storage, None, alone=True):
        pass
    other_run.stop()
    with at_work(storage, None, alone=True):
        with at_work(storage, ["d-00000"]):
            assert len(storage.list(FOLDER)) >= 1, "its own work is covered"
        above = presence.Presence(storage, presence.ALONE)
    above.beat()
    refused = pytest.raises(Occupied, match="being taken down, or a dataset removed or renamed")
    with refused, at_work(storage, ["e-00000"]):
        pass
    with pytest.raises(Occupied, match="1 run is at work"), at_work(storage, None, alone=True):
        pass
    assert others(storage, "d-00000") == [above.path.removeprefix(f"{FOLDER}/")]
    above.stop()
    assert not [n for n in storage.list(FOLDER) if "~" in n], "who was kept out leaves nothing"


def test_nothing_is_swept_for_a_table_that_is_no_longer_in_force(storage: Storage) -> None:
    store = TableStore(storage, SCHEMAS)
    first, _ = frames(store, b"x" * 100)
    old = store.commit("frames", "d-00000", first, Provenance("1"))
    second, second_tar = frames(store, b"y" * 100)
    seen = store.files("frames", "d-00000")
    store.commit("frames", "d-00000", second, Provenance("2"))
    assert store.sweep(old, seen) == []
    assert storage.exists(second_tar)


@pytest.mark.parametrize("base", ["none", "table"])
def test_a_commit_replaces_the_table_that_was_read_and_no_other(storage: Storage, base: str) -> None:
    store = TableStore(storage, SCHEMAS)
    if base == "table":
        store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.1)), Provenance("1"))
    read = store.header("motion_scores", "d-00000")
    store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.2)), Provenance("1"), base=read)
    with pytest.raises(Superseded, match="written by another run"):
        store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.3)), Provenance("1"), base=read)
    again = store.header("motion_scores", "d-00000")
    assert again is not None
    done = store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.4)), Provenance("1"), base=again)
    store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.5)), Provenance("1"), base=done)
    assert store.read("motion_scores", "d-00000")["motion"].to_pylist() == [pytest.approx(0.5)]


def test_servers_that_ignore_conditions_are_found_out(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that puts whatever it is asked, as some do: the look before the put refuses what it can see."""
    storage = Storage(f"{s3_server.bucket()}/p", s3_server.options)
    fs, _ = storage.filesystem()
    real = type(fs)._call_s3

    async def deaf(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return await real(
            self, method, *args, **{k: v for k, v in kwargs.items() if k not in ("IfMatch", "IfNoneMatch")}
        )

    monkeypatch.setattr(type(fs), "call_s3", lambda self, method, **kwargs: _sync(self, deaf, method, kwargs))
    store = TableStore(storage, SCHEMAS)
    store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.1)), Provenance("1"), base=None)
    assert "does not heed If-None-Match" in caplog.text
    with pytest.raises(Superseded):
        store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.2)), Provenance("1"), base=None)


def _sync(fs: Any, call: Any, method: str, kwargs: dict[str, Any]) -> Any:
    from fsspec.asyn import sync

    return sync(fs.loop, call, fs, method, **kwargs)


def test_an_upload_whose_answer_was_lost_is_known_again(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after the object was put; the client puts it again, and the condition fails because of its own object."""
    storage = Storage(f"{s3_server.bucket()}/p", s3_server.options)
    assert storage.replace("first", lambda f: f.write(b"1"), None)  # the probe is done
    fs, _ = storage.filesystem()
    real = type(fs).call_s3

    def twice(self: Any, method: str, **kwargs: Any) -> Any:
        if method == "put_object" and "IfNoneMatch" in kwargs:
            real(self, method, **kwargs)
        return real(self, method, **kwargs)

    monkeypatch.setattr(type(fs), "call_s3", twice)
    tag = storage.replace("second", lambda f: f.write(b"2"), None)
    assert tag == storage.tag("second")
    with pytest.raises(Superseded):
        storage.replace("second", lambda f: f.write(b"3"), None)
    assert storage.read("second") == b"2"


def test_large_files_are_put_in_parts_on_the_same_conditions(s3_server: S3Server) -> None:
    storage = Storage(f"{s3_server.bucket()}/p", {**s3_server.options, "default_block_size": 5 << 20})
    data = os.urandom(11 << 20)
    tag = storage.replace("big", lambda f: f.write(data), None)
    assert storage.read("big") == data
    with pytest.raises(Superseded):
        storage.replace("big", lambda f: f.write(data), None)
    storage.replace("big", lambda f: f.write(data[:-1]), tag)
    assert storage.size("big") == len(data) - 1
    assert list(unfinished_uploads(storage)) == []


def test_what_a_dead_process_left_is_swept_by_the_next_run_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    storage = Storage(str(root))
    code = (
        "import sys, time; from curation_resources.storage import Storage; from curation_resources import presence\n"
        "storage = Storage(sys.argv[1]); run = presence.Presence(storage, '*'); run.beat()\n"
        "with storage.publish('frames/d-00000.parquet') as file:\n"
        "    file.write(b'half'); file.flush(); print('ready', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        assert len(storage.list(TEMPORARY)) == 1
        assert not storage.exists("frames/d-00000.parquet")
        assert storage.list("frames") == []
        assert list(unfinished_files(storage)) == []
        assert len(others(storage, "d-00000")) == 1
    finally:
        process.kill()
        process.communicate()
    assert len(list(unfinished_files(storage))) == 1
    with at_work(storage, ["d-00000"]):
        assert storage.list(TEMPORARY) == []
        assert others(storage, "d-00000") == []
        assert len([n for n in storage.list(FOLDER) if "~" in n]) == 1


def test_a_run_of_another_host_is_dead_when_it_has_not_been_heard_of(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{'0' * 10}-1-1-abcd~d=0..9"
    assert owner_alive(name) is None
    assert owner_alive(f"{identity()}-x") is True
    storage.write(f"{FOLDER}/{name}", b"")
    with at_work(storage, ["d-00003"]):
        assert others(storage, "d-00003") == [name]
        monkeypatch.setattr(presence, "DEAD_S", -1.0)
        time.sleep(0.01)
        assert others(storage, "d-00003") == []
    assert not storage.exists(f"{FOLDER}/{name}")


def test_uploads_that_a_killed_run_left_are_aborted(s3_server: S3Server) -> None:
    storage = Storage(f"{s3_server.bucket()}/p", s3_server.options)
    client, bucket = s3_server.client(), storage.root.split("/")[2]
    for key in ("p/raw_shards/d-00000/a.tar", "p/raw_shards/d-00020/a.tar", "elsewhere/a.tar"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    other = presence.Presence(storage, "d=0..9")
    other.beat()
    with at_work(storage, ["d-00020"]):
        pass
    left = [u["Key"] for u in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    assert sorted(left) == ["elsewhere/a.tar", "p/raw_shards/d-00000/a.tar"]
    other.stop()


def test_a_root_that_goes_away_is_not_made_anew(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    storage.write("a", b"1")
    (tmp_path / "root").rename(tmp_path / "away")
    with pytest.raises(Exception, match=r"storage root .* is gone"):
        storage.write("b", b"2")
    with pytest.raises(Exception, match=r"storage root .* is gone"):
        storage.open("frames/d-00000/x.tar", "wb")
    assert not (tmp_path / "root").exists()
    (tmp_path / "away").rename(tmp_path / "root")
    storage.write("b", b"2")
    assert storage.read("a") == b"1"
