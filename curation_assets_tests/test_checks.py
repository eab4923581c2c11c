"""Checks beside the contract, each on a table that passes and on one that does not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.checks import further
from curation_assets.contracts.checks import Finding
from curation_assets.registry import COMPONENTS, component
from curation_assets.schemas import SCHEMAS, schema
from curation_assets_tests.decode.coded_video import write_video
from curation_resources.storage import Storage
from curation_resources.tables import TableStore


def judge(asset: str, name: str, rows: list[dict[str, Any]], root: Path) -> Finding:
    contract = schema(asset)
    table = pa.Table.from_pylist(
        [{**dict.fromkeys(contract.names), "dataset": "d", "video_id": "v", "shard": "d-00000", **r} for r in rows],
        schema=contract.arrow,
    )
    check = next(c for c in component(asset).checks if c.name == name)
    store = TableStore(Storage(str(root)), SCHEMAS)
    with (root / "table.parquet").open("wb") as file:
        pq.write_table(table, file, row_group_size=2)
    (root / asset).mkdir(exist_ok=True)
    (root / "table.parquet").rename(root / store.path(asset, "d-s"))
    header = store.header(asset, "d-s")
    assert header is not None
    (found,) = (f for f in further(store, header) if f.check == check.name)
    return found


def exported(root: Path, name: str, shots: list[int]) -> dict[str, Any]:
    """A row of clip_dataset whose file has shots of so many frames."""
    write_video(root / name, shots)
    data = (root / name).read_bytes()
    keys = {"dataset": "d", "video_id": name, "clip_id": name, "sample_key": name, "row_fingerprint": "f"}
    place = {"tar": name, "offset": 0, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {**keys, **place, "split": "train", "status": "ok"}


def test_an_exported_clip_with_a_cut_is_found(tmp_path: Path) -> None:
    whole = [exported(tmp_path, f"whole{i}.mp4", [40]) for i in range(2)]
    failed = {**whole[0], "clip_id": "failed", "tar": None, "offset": None, "size": None, "status": "failed"}
    passed = judge("clip_dataset", "single_shots", [*whole, failed], tmp_path)
    assert passed.passed
    assert passed.metadata["clips"] == 2
    found = judge("clip_dataset", "single_shots", [*whole, exported(tmp_path, "cut.mp4", [38, 3])], tmp_path)
    assert not found.passed
    assert "1 of 3 clips that were looked at have a shot boundary: cut.mp4 at 1520 ms" in found.description


def test_exported_bytes_that_are_not_those_of_the_table_are_found(tmp_path: Path) -> None:
    row = exported(tmp_path, "a.mp4", [10])
    assert judge("clip_dataset", "media", [row], tmp_path).passed
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[:-1] + b"x")
    damaged = judge("clip_dataset", "media", [row], tmp_path)
    assert not damaged.passed
    assert damaged.blocking


def test_a_selected_clip_that_has_a_better_copy_is_found(tmp_path: Path) -> None:
    kinds = {"a": (True, True), "b": (False, False), "c": (True, None)}
    rows = [{"clip_id": c, "selected": selected, "keep": keep} for c, (selected, keep) in kinds.items()]
    passed = judge("curated_clips", "no_duplicates", rows, tmp_path)
    assert passed.passed
    assert passed.metadata == {"selected": 2, "duplicates": 0, "not_compared": 1}
    found = judge(
        "curated_clips", "no_duplicates", [*rows, {"clip_id": "d", "selected": True, "keep": False}], tmp_path
    )
    assert not found.passed
    assert "the first is d" in found.description


@pytest.mark.parametrize("block", [False, True])
def test_captions_of_other_videos_are_a_warning_or_stop_what_comes_after(block: bool, tmp_path: Path) -> None:
    numbers = {"gap_clips": 9, "matched": 20.0, "shuffled": 20.1, "auc": 0.5, "block": block}
    check = next(c for c in component("caption_scores").checks if c.name == "alignment")
    assert check.blocking
    table = schema("caption_scores").empty()
    found = check.judge(table, {**numbers, "apart": False}, Storage(str(tmp_path)))
    assert (found.passed, found.blocking) == (False, block)
    assert check.judge(table, {**numbers, "apart": True}, Storage(str(tmp_path))).passed


@pytest.mark.parametrize("asset", [c.asset for c in COMPONENTS if c.checks])
def test_a_check_reads_columns_that_its_table_has(asset: str) -> None:
    assert {c for check in component(asset).checks for c in check.columns} <= set(schema(asset).names)
