"""Clips are cut in batches of shards: what a batch reads is what a filter over the whole tables would give, and a piece that fails hides no other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation_assets.engine.maker import NotMade
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.run import Run
from curation_assets.engine.steps import StepFailed, carry_out
from curation_assets.makers import MAKERS
from curation_assets.publish.curating import grouped_rows, selected_rows
from curation_assets.publish.cutting import shard_cutting
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.export_makers import ClipExportMaker
from curation_assets.publish.writing import batch_rows as module
from curation_assets.publish.writing.batch_rows import ExportBatches
from curation_assets.schemas import SCHEMAS, schema
from curation_assets_tests.assets.test_export import Installation
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore


def table(asset: str, rows: list[dict[str, Any]]) -> pa.Table:
    form = schema(asset).arrow
    return pa.Table.from_pylist([{n: r.get(n) for n in form.names} for r in rows], schema=form)


def tables(seed: int) -> tuple[pa.Table, pa.Table]:
    """Curated clips of two datasets, whose videos lie in shards in no order, and the rows of a version about some of these videos and others."""
    chance = random.Random(seed)
    curated, version = [], []
    for video in range(chance.randrange(1, 60)):
        ids = {"dataset": chance.choice(["d", "d2"]), "video_id": f"v{video:03d}"}
        shard = f"{ids['dataset']}-{chance.randrange(9):05d}"
        for clip in range(chance.randrange(6)):
            row = {**ids, "clip_id": f"{ids['video_id']}_{clip}", "sample_key": f"{ids['video_id']}_{clip}"}
            if chance.random() < 0.8:
                curated.append({**row, "shard": shard, "selected": chance.random() < 0.5})
            if chance.random() < 0.5:
                version.append({**row, "split": "train", "status": "failed", "error": "x", "row_fingerprint": "f"})
    return table("curated_clips", curated), table("clip_dataset", version)


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_has_the_rows_of_its_shards_and_of_their_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    least, most = (1, 4) if seed % 2 else (15, 100)
    monkeypatch.setattr(module, "LEAST_ROWS", least)
    monkeypatch.setattr(module, "MAX_BATCHES", most)
    monkeypatch.setattr(module, "BATCH_ROWS", 7)
    monkeypatch.setattr(selected_rows, "BATCH_ROWS", 5)
    monkeypatch.setattr(grouped_rows, "HELD_ROWS", 11)
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    curated, version = tables(seed)
    headers = [store.commit("curated_clips", "d-s", curated, Provenance("1"))]
    form = schema("clip_dataset")
    if seed % 3 == 0:  # a version of before some columns
        form = replace(form, columns=tuple(c for c in form.columns if not c.later))
        version = version.select(form.names)
    older = TableStore(store.storage, {**SCHEMAS, "clip_dataset": form})
    headers.append(older.commit("clip_dataset", "d-s", version, Provenance("1")))
    curated, version = (store.read(a, "d-s") for a in ("curated_clips", "clip_dataset"))
    chosen = curated.filter(curated["selected"])
    pieces = Pieces(store.storage, "pieces")
    batches = ExportBatches(store, pieces, *headers)
    assert [s for b in batches.shards for s in b] == sorted(set(chosen["shard"].to_pylist()))
    assert len(batches.shards) <= most
    noted = ExportBatches(store, pieces, *headers)
    monkeypatch.setattr(ExportBatches, "_write", None)
    for number, shards in enumerate(noted.shards):
        rows = noted.read(number)
        assert list(rows.selected) == list(shards)
        for shard, found in rows.selected.items():
            assert found.equals(chosen.filter(pc.equal(chosen["shard"], shard)))
        assert number == len(noted.shards) - 1 or sum(t.num_rows for t in rows.selected.values()) >= least
        videos = {
            v
            for t in rows.selected.values()
            for v in zip(*(t[c].to_pylist() for c in ("dataset", "video_id")), strict=True)
        }
        own = [
            (d, v) in videos for d, v in zip(*(version[c].to_pylist() for c in ("dataset", "video_id")), strict=True)
        ]
        assert rows.earlier.column_names == schema("clip_dataset").names
        assert rows.earlier.select(form.names).equals(version.filter(pa.array(own, pa.bool_())))


def test_what_is_gone_or_damaged_is_written_again_and_what_is_of_other_tables_goes(tmp_path: Path) -> None:
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    header = store.commit("curated_clips", "d-s", tables(3)[0], Provenance("1"))
    pieces = Pieces(store.storage, "pieces")
    batches = ExportBatches(store, pieces, header, None)
    before = batches.read(0)
    for path in (tmp_path / "pieces").iterdir():
        path.write_bytes(path.read_bytes()[:-9]) if "selected" in path.name else path.unlink()
    after = ExportBatches(store, pieces, header, None).read(0)
    assert {k: t.to_pylist() for k, t in after.selected.items()} == {
        k: t.to_pylist() for k, t in before.selected.items()
    }
    other = store.commit("curated_clips", "d-s", tables(4)[0], Provenance("2"))
    (tmp_path / "pieces" / "batch-00000-0123.parquet").write_bytes(b"a piece of the dataset batch")
    newer = ExportBatches(store, pieces, other, None)
    newer.read(0)
    newer.drop_others()
    left = sorted(p.name for p in (tmp_path / "pieces").iterdir())
    assert left.pop(0) == "batch-00000-0123.parquet"
    assert len(left) == 2 * len(newer.shards) + 1


@contextmanager
def away(path: Path) -> Iterator[None]:
    hidden = path.rename(path.with_suffix(".away"))
    yield
    hidden.rename(path)


def test_a_piece_that_fails_says_its_shard_and_those_beside_it_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Installation(tmp_path)
    monkeypatch.setattr("curation_assets.engine.completeness.left_out", lambda *_: [])
    cut: list[str] = []
    run_tasks = shard_cutting.run_tasks

    def counting(function: Any, tasks: Any, workers: int) -> Any:
        cut.extend(t.key for t in tasks)
        return run_tasks(function, tasks, 0)

    monkeypatch.setattr(shard_cutting, "run_tasks", counting)
    run, maker = Run(made.store, made.recipes, made.settings), ClipExportMaker()
    assert list(maker.batches(run, ["toy-files"])) == [("toy-files", 0)], "two small shards are one batch"
    caplog.set_level("INFO", "curation")
    with away(tmp_path / "v0.mp4"), pytest.raises(NotMade) as raised:
        maker.make_batch(run, "toy-files", 0)
    assert not raised.value.permanent
    assert "clip_dataset of toy-files failed for 1 of 2 shards; what the others have is kept for the next run" in str(
        raised.value
    )
    assert "toy-00000: ReadFault: 2 of 4 clips of toy-00000 could not be cut" in str(raised.value)
    assert any("clip_dataset toy-files toy-00001 (2 of 2" in m and "3 clips cut" in m for m in caplog.messages)
    assert sorted(cut) == ["v0", "v1", "v2", "v3"]
    cut.clear()
    failed = [
        e
        for e in carry_out([PlanStep("subsets", ("clip_dataset",), ("toy-files",))], run, MAKERS)
        if isinstance(e, StepFailed)
    ]
    assert failed == []
    assert cut == ["v0"]
    assert made.store.read("clip_dataset", "toy-files")["status"].to_pylist() == ["ok"] * 7
    assert made.store.storage.list("clip_dataset/toy-files/pieces") == []
