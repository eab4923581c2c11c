"""Whether the files that a table names are there, where these are too many for its footer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.schemas import SCHEMAS, schema
from curation_resources import listed_files, table_headers, tables
from curation_resources.listed_files import ListedFiles
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import MediaGone, TableStore

VERSION = "clip_dataset/d-s/0123456789ab"


def rows(count: int) -> pa.Table:
    """Of a version whose samples are files of their own number of bytes, in two splits."""
    form = schema("clip_dataset").arrow
    needed = {f.name: "x" for f in form if not f.nullable and pa.types.is_string(f.type)}
    found: list[dict[str, Any]] = []
    for n in range(count):
        video, split = f"v{n:03d}", ("train", "val")[n % 2]
        ids = {"video_id": video, "clip_id": f"{video}_0_1", "sample_key": f"{video}_0_1", "split": split}
        found.append({**needed, **ids, "status": "ok", "tar": f"{VERSION}/{split}/{n}.mp4", "offset": 0, "size": n + 1})
    return pa.Table.from_pylist(found, schema=form)


@pytest.mark.parametrize("most", [5, 1000])
def test_each_file_that_is_gone_or_cut_short_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for module in (table_headers, tables):
        monkeypatch.setattr(module, "MEDIA_NAMED", most)
    monkeypatch.setattr(tables, "READ_ROWS", 7)
    monkeypatch.setattr(listed_files, "PART", 3)
    store, table = TableStore(Storage(str(tmp_path)), SCHEMAS), rows(40)
    for row in table.to_pylist():
        store.storage.write(row["tar"], b"x" * row["size"])
    pq.write_table(table, tmp_path / "local.parquet")

    def commit() -> None:
        store.commit_file("clip_dataset", "d-s", tmp_path / "local.parquet", Provenance("1"), "0" * 64)

    commit()
    header = store.header("clip_dataset", "d-s")
    assert header is not None
    assert (header.media is None) == (most < 40)
    assert store.lost_media(header) == []
    looked = store.looked_at(header, {f"{VERSION}/train/0.mp4": 1, "clip_dataset/d-s/left": 9})
    assert looked.count == 40
    assert looked.named == {f"{VERSION}/train/0.mp4"}
    assert len(store.media(header)) == 40
    store.storage.remove(f"{VERSION}/train/6.mp4")
    store.storage.write(f"{VERSION}/val/39.mp4", b"x" * 39)
    assert store.lost_media(header) == [f"{VERSION}/train/6.mp4", f"{VERSION}/val/39.mp4"]
    with pytest.raises(MediaGone, match=r"train/6.mp4 vanished"):
        commit()
    store.storage.remove_tree(f"{VERSION}/val")
    assert len(store.lost_media(header)) == 21


def test_a_folder_is_listed_once_and_other_stores_alike() -> None:
    storage = Storage("memory://listed")
    for n in range(5):
        storage.write(f"a/{n}.bin", b"x" * n)
    listed = ListedFiles(storage)
    with patch.object(listed_files, "sizes_in", side_effect=listed_files.sizes_in) as asked:
        for _ in range(2):
            assert listed.sizes(["a/4.bin", "a/9.bin", "b/0.bin", "a/0.bin"]).tolist() == [4, -1, -1, 0]
        assert asked.call_count == 2
