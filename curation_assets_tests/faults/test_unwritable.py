"""A storage root that takes nothing more, on a real file system of few bytes, and one that goes away in mid-run: one sentence, exit code 1,
nothing half visible; the next run ends like one that nothing disturbed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation_assets.schemas import SCHEMAS
from curation_assets_tests.faults.shipped import Shipped
from curation_assets_tests.faults.whole_graph import (
    RUN,
    Holdings,
    holdings,
    install,
    left_over,
    source,
    undisturbed,
)
from curation_assets_tests.resources.test_tables import frames, motion
from curation_resources.journal import Journal
from curation_resources.media import MediaRef
from curation_resources.presence import at_work
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore
from curation_resources.unwritable import Unwritable

PAGE = 4096
SHARES = (0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.97)
"""Sizes of the file system, as shares of what the root needs in the end: each run gets further, and ends in another kind of write."""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes at a folder. Skips the test where it cannot be had."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size // PAGE * PAGE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system of few bytes can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size // PAGE * PAGE}", str(folder)], check=True)


def one_sentence(out: str, expected: str) -> str:
    """The only line that says what failed."""
    failed = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1, out
    assert re.search(expected, failed[0]), failed[0]
    assert "Traceback" not in out
    return failed[0]


def test_every_kind_of_write_says_that_the_disk_is_full_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with small_disk(root, 64 * PAGE):
        storage = Storage(str(root))
        store = TableStore(storage, SCHEMAS)
        with at_work(storage, ["d-00000"]):
            table, tar = frames(store, b"x" * PAGE)
            store.commit("frames", "d-00000", table, Provenance("1"))
            before = storage.find("")
            room = b"y" * (64 * PAGE)
            with pytest.raises(
                Unwritable, match=rf"root {root} is full .*writing frames/d-00000.* make room, then run"
            ):
                frames(store, room)
            for name in storage.list("frames/d-00000"):
                if f"frames/d-00000/{name}" != tar:
                    storage.remove(f"frames/d-00000/{name}")
            with (
                pytest.raises(Unwritable, match=r"full .*writing tracks/x"),
                Journal(storage, "tracks/x", "f") as journal,
            ):
                journal.add("k", "z" * (64 * PAGE))
            storage.remove_tree("tracks")
            with pytest.raises(Unwritable, match=r"full .*writing export/a"):
                storage.write("export/a", room)
            many = motion(*((f"v{n}_0_{n}", n / 7) for n in range(60_000)))
            with pytest.raises(Unwritable, match=r"full .*writing motion_scores/d-00000"):
                store.commit("motion_scores", "d-00000", many, Provenance("1"))
            assert storage.find("") == before
            row = store.read("frames", "d-00000").to_pylist()[0]
            assert storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])) == b"x" * PAGE + b"\0"
            resize(root, 2048 * PAGE)
            store.commit("motion_scores", "d-00000", many, Provenance("1"))


def test_nothing_is_committed_below_a_mount_that_went_away(tmp_path: Path) -> None:
    """The folder is there still, but it is another one."""
    root = tmp_path / "root"
    storage = Storage(str(root))
    store = TableStore(storage, SCHEMAS)
    with at_work(storage, ["d-00000"]):
        store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.1)), Provenance("1"))
        root.rename(tmp_path / "away")
        root.mkdir()
        with pytest.raises(Unwritable, match="is gone; bring it back"):
            store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.2)), Provenance("2"))
        assert not storage.exists("motion_scores/d-00000.parquet")
        shutil.rmtree(root)
        (tmp_path / "away").rename(root)
        store.commit("motion_scores", "d-00000", motion(("v_0_5", 0.2)), Provenance("2"))


def ends_like(shipped: Shipped, expected: Holdings) -> None:
    done = shipped.curation(*RUN, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert holdings(shipped) == expected
    assert left_over(shipped) == []


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_disk_that_is_full_at_every_stage(tmp_path: Path) -> None:
    with source(tmp_path / "source") as given:
        expected = undisturbed(tmp_path / "whole", given, True)
        files = [f for f in Path(tmp_path / "whole/data").rglob("*") if f.is_file()]
        needed = sum(-(-f.stat().st_size // PAGE) * PAGE for f in files)
        shipped = install(tmp_path / "full", given, True)
        said = []
        with small_disk(Path(shipped.data), int(needed * SHARES[0])):
            for share in SHARES:
                resize(Path(shipped.data), int(needed * share))
                done = shipped.curation(*RUN, timeout=600)
                assert done.returncode == 1, (share, done.stdout + done.stderr)
                said.append(one_sentence(done.stdout, r"the storage root .* is full .* then run again"))
                assert left_over(shipped) == []
            resize(Path(shipped.data), 4 * needed)
            ends_like(shipped, expected)
        print("\n".join(said))


TEMPORARY = (4096, 80_000, 200_000)
"""Sizes of the folder for temporary files: for nothing, for a video but not two, for the videos but not for an export."""
RECORDS = (300_000, 0.5, 0.9)
"""Sizes of DAGSTER_HOME: too small for its tables, and shares of what it takes after a run."""


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_folder_for_temporary_files_that_is_full(tmp_path: Path) -> None:
    with source(tmp_path / "source") as given:
        expected = undisturbed(tmp_path / "whole", given, False)
        shipped = install(tmp_path / "full", given)
        scratch = shipped.root / "tmp"
        with small_disk(scratch, TEMPORARY[0]):
            for size in TEMPORARY:
                resize(scratch, size)
                done = shipped.curation(*RUN, timeout=600)
                assert done.returncode == 1, (size, done.stdout + done.stderr)
                full = (
                    rf"the folder for temporary files {scratch} \(TMPDIR\) is full \(.*\); make room, .* then run again"
                )
                print(one_sentence(done.stdout, full))
                assert left_over(shipped) == []
            resize(scratch, 1 << 28)
            ends_like(shipped, expected)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_folder_of_records_that_is_full(tmp_path: Path) -> None:
    with source(tmp_path / "source") as given:
        expected = undisturbed(tmp_path / "whole", given, False)
        needed = sum(f.stat().st_size for f in (tmp_path / "whole/home").rglob("*") if f.is_file())
        shipped = install(tmp_path / "full", given)
        settings = (shipped.home / "dagster.yaml").read_text()
        with small_disk(shipped.home, 1 << 28):
            (shipped.home / "dagster.yaml").write_text(settings)
            for share in RECORDS:
                resize(shipped.home, int(share if share > 1 else needed * share))
                done = shipped.curation(*RUN, timeout=600)
                assert done.returncode in (1, 2), (share, done.stdout + done.stderr)
                assert "Traceback" not in done.stdout + done.stderr
                full = (
                    rf"the folder of records {shipped.home} \(DAGSTER_HOME\) is full \(.*\); make room, then run again"
                )
                said = [line for line in (done.stdout + done.stderr).splitlines() if re.search(full, line)]
                assert len(said) == 1, (share, done.stdout + done.stderr)
                print(said[0])
            resize(shipped.home, 1 << 28)
            ends_like(shipped, expected)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_root_that_goes_away_at_every_stage_and_comes_back(tmp_path: Path) -> None:
    with source(tmp_path / "source") as given:
        expected = undisturbed(tmp_path / "whole", given, True)
        shipped = install(tmp_path / "gone", given, True)
        root, away = Path(shipped.data), tmp_path / "away"
        for asset in (
            "dataset_index.parquet",
            "raw_shards",
            "clips",
            "duplicate_clusters.parquet",
            "captions",
            "clip_dataset",
        ):
            process = shipped.start(RUN)
            while process.poll() is None and not (root / asset).exists():
                time.sleep(0.005)
            assert process.poll() is None, asset
            root.rename(away)
            out, err = process.communicate(timeout=600)
            assert process.returncode in (1, 2), out + err
            assert "Traceback" not in out + err
            assert "is gone; bring it back, then run again: what was committed is kept" in out + err, (asset, out + err)
            assert not root.exists() or not list(root.rglob("*.parquet")), asset
            shutil.rmtree(root, ignore_errors=True)
            away.rename(root)
        ends_like(shipped, expected)
