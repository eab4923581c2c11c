"""The journal survives kills, tells parameters apart and vanishes on commit, on disk and on storage that cannot append."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from curation_resources.journal import SUFFIX, Journal
from curation_resources.storage import Storage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_a_later_run_sees_what_an_earlier_one_finished(storage: Storage) -> None:
    with Journal(storage, "tracks/d-00000", "f1") as first:
        first.add("a", {"boxes": [[1.5, 2.25]]})
        first.add("b", None)
    with Journal(storage, "tracks/d-00000", "f1") as second:
        assert second.items == {"a": {"boxes": [[1.5, 2.25]]}, "b": None}
        second.add("c", 3)
    assert set(Journal(storage, "tracks/d-00000", "f1").items) == {"a", "b", "c"}
    assert Journal(storage, "tracks/d-00000", "f2").items == {}
    assert Journal(storage, "tracks/d-00001", "f1").items == {}


def test_remove_leaves_other_files_alone(storage: Storage) -> None:
    storage.write("tracks/d-00000/media.tar", b"x")
    journal = Journal(storage, "tracks/d-00000", "f1")
    journal.add("a", 1)
    journal.remove()
    assert storage.list("tracks/d-00000") == ["media.tar"]
    assert Journal(storage, "tracks/d-00000", "f1").items == {}


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    journal = Journal(storage, "d", "f1")
    journal.add("a", 1)
    journal.add("b", 2)
    file = next(tmp_path.glob(f"d/*{SUFFIX}"))
    file.write_bytes(file.read_bytes()[:-9])
    assert Journal(storage, "d", "f1").items == {"a": 1}


def test_on_disk_an_item_is_safe_when_add_returns(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    running = Journal(storage, "d", "f1")
    running.add("a", 1)
    assert Journal(storage, "d", "f1").items == {"a": 1}


def test_no_flipped_bit_gives_another_value(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    written = {"a": {"boxes": [[1.5, 2.25]]}, "b": "a caption"}
    with Journal(storage, "d", "f1") as journal:
        for key, value in written.items():
            journal.add(key, value)
    file = next(tmp_path.glob(f"d/*{SUFFIX}"))
    whole = file.read_bytes()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        found = Journal(storage, "d", "f1").items
        assert found.items() <= written.items(), bit
        assert len(found) < 2 or data[-1:] != whole[-1:], "the end of the last line says nothing"
