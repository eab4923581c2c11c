"""What is said of a full disk that is none of the storage root's, and that no medium is blamed for it."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import av.error
import pytest

from curation_resources.faults import DISK, STORAGE, ReadFault, fault_of, stop_if_full
from curation_resources.scratch import PREFIX, scratch_root
from curation_resources.storage import Storage
from curation_resources.unwritable import Unwritable, full_folder


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Free bytes of TMPDIR and DAGSTER_HOME, to be changed."""
    free = {tmp_path / "tmp": 1 << 40, tmp_path / "home": 1 << 40}
    for folder in free:
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 50, 0, free[Path(folder)]))
    return free


def test_the_folder_with_less_room_is_named(folders: dict[Path, int]) -> None:
    scratch, home = folders
    said = "OSError: [Errno 28] No space left on device: 'x'"
    for folder, name in ((home, "DAGSTER_HOME"), (scratch, "TMPDIR")):
        folders[folder] = 0
        full = str(full_folder(said, str(home)))
        assert f"{folder} ({name}) is full ({said}); make room" in full
        assert full.endswith("then run again: what was committed is kept")
        folders[folder] = 1 << 40
    assert str(scratch) in str(full_folder("a line\nsqlite3.OperationalError: database or disk is full"))


def test_what_sqlite_says_of_any_disk_counts_only_where_no_room_is_left(folders: dict[Path, int]) -> None:
    home = str([*folders][1])
    assert full_folder("disk I/O error", home) is None
    assert full_folder("connection refused", home) is None
    folders[Path(home)] = 1000
    assert home in str(full_folder("disk I/O error", home))
    assert full_folder("connection refused", home) is None


def test_a_run_names_the_folder_that_was_given_and_not_its_own_below_it(
    folders: dict[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, _ = folders
    own = scratch / f"{PREFIX}ab_cd012"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    assert f"{scratch} (TMPDIR)" in str(full_folder("No space left on device"))


def test_a_spool_among_temporary_files_is_not_called_the_storage_root(tmp_path: Path) -> None:
    def fill(root: Path) -> str:
        with pytest.raises(Unwritable) as raised, Storage(str(root)).writing("a"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return str(raised.value)

    assert fill(scratch_root() / "tars").startswith(f"the folder for temporary files {tempfile.gettempdir()} (TMPDIR)")
    assert fill(tmp_path / f"{PREFIX}data").startswith("the storage root")


def test_no_medium_is_blamed(folders: dict[Path, int]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    behind = ReadFault("the bytes could not be read")
    behind.__cause__ = full
    for error in (full, behind, Unwritable("the storage root x is full"), av.error.OSError(errno.ENOSPC, "full")):
        fault = fault_of(error)
        assert fault is not None
        assert fault.kind == DISK
        with pytest.raises(Unwritable, match="is full"):
            stop_if_full([fault])
    other = fault_of(OSError(errno.EIO, "Input/output error"))
    assert other is not None
    assert other.kind == STORAGE
    stop_if_full([other])
