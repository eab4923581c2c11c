"""What is published does not depend on how much of it is in memory at a time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scale.publishing import KEY, generate, publish, recipe
from curation_assets import exported_clips
from curation_assets.engine.run import Run
from curation_assets.publish.curating import grouped_rows, ordered_rows
from curation_assets.publish.curating.ordered_rows import OrderedRows, regrouped
from curation_assets.publish.curating.side_by_side import side_by_side, whole_videos
from curation_assets.publish.export_makers import ClipExportMaker
from curation_assets.publish.writing import accounted, sample_lists
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_assets.verify import DAMAGE, Verifier
from curation_resources import used_keys
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore
from curation_resources.used_keys import UsedKeys

SMALL = (
    (ordered_rows, "BUCKET_ROWS", 40), (ordered_rows, "BATCH_ROWS", 17), (ordered_rows, "KEY_STRIDE", 5), (grouped_rows, "HELD_ROWS", 23),
    (accounted, "BATCH_ROWS", 13), (sample_lists, "SPOOLED_ROWS", 9), (used_keys, "HELD", 30),
)  # fmt: skip
FORM = pa.schema([(n, pa.string()) for n in ("dataset", "video_id", "clip_id")])


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("form", ["webdataset", "parquet", "folder"])
def test_a_version_is_the_same_whatever_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        generate(str(root), 3, form, videos=2)
    publish(str(roots[0]), form)
    with monkeypatch.context() as small:
        for module, name, value in SMALL:
            small.setattr(module, name, value)
        publish(str(roots[1]), form)
    assert "all 186 selected are accounted for" in capfd.readouterr().out
    first, second = (TableStore(Storage(str(root)), SCHEMAS) for root in roots)
    tables = [store.read("clip_dataset", KEY) for store in (first, second)]
    headers = [store.header("clip_dataset", KEY) for store in (first, second)]
    assert tables[0].equals(tables[1])
    assert tables[0]["clip_id"].to_pylist() == first.read("curated_clips", KEY)["clip_id"].to_pylist()
    assert headers[0] is not None
    assert headers[1] is not None
    assert headers[0].content_hash == headers[1].content_hash
    assert headers[0].stats["samples"] == 186
    version = f"clip_dataset/{KEY}/{headers[0].stats['version']}"
    written, again = (files(root / version) for root in roots)
    assert written == again
    if form != "webdataset":
        listed = pq.read_table(roots[0] / version / "train/metadata.parquet")
        assert listed.num_rows == tables[0].filter(pa.compute.equal(tables[0]["split"], "train")).num_rows
        assert set(listed.column_names) >= {"file_name", "motion", "record", "text"}


@pytest.mark.parametrize("form", ["webdataset", "folder"])
def test_a_version_without_its_card_or_a_list_is_written_again(tmp_path: Path, form: str) -> None:
    generate(str(tmp_path), 1, form, videos=2)
    publish(str(tmp_path), form)
    store, maker = TableStore(Storage(str(tmp_path)), SCHEMAS), ClipExportMaker()
    run = Run(store, recipe(form), Settings(storage=str(tmp_path)), logging.getLogger())
    header = store.header("clip_dataset", KEY)
    assert header is not None
    assert maker.up_to_date(run, header)
    version = tmp_path / f"clip_dataset/{KEY}/{header.stats['version']}"
    lists = {"README.md", "croissant.json"} | (
        {"metadata.csv", "train/metadata.parquet"} if form == "folder" else set()
    )
    mine = {p for p in header.files if p.startswith(f"clip_dataset/{KEY}/{version.name}/")}
    assert lists <= {p.removeprefix(f"clip_dataset/{KEY}/{version.name}/") for p in mine}
    for name in sorted(lists):
        whole = (version / name).read_bytes()
        for left in (None, whole[:-1]):
            (version / name).unlink()
            if left is not None:
                (version / name).write_bytes(left)
            assert store.lost_media(header) == [f"clip_dataset/{KEY}/{version.name}/{name}"]
            assert not maker.up_to_date(run, header)
            (fault,) = (f for f in Verifier(store, {"bench": recipe(form)}).faults() if f.kind == DAMAGE)
            assert fault.file.endswith(name)
            assert ("is gone" if left is None else "bytes where") in fault.what
            (version / name).write_bytes(whole)
    assert maker.up_to_date(run, header)


def test_lists_have_columns_that_came_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_lists, "SPOOLED_ROWS", 2)
    monkeypatch.setattr(sample_lists, "GROUP_ROWS", 3)
    columns: dict[str, pa.DataType] = {"motion": pa.float64()}
    lists = sample_lists.SampleLists(columns)
    record: dict[str, Any] = {"export": {}, "source": {}, "split": "val"}
    for n in range(5):
        lists.add(f"val/{n}.mp4", {"motion": n / 2}, {**record, "key": str(n)})
    columns["source.genre"] = pa.string()
    for n in range(5, 8):
        lists.add(f"val/{n}.mp4", {"source.genre": "news"}, {**record, "key": str(n)})
    found = {name: pq.read_table(local) for name, local, *_ in lists.write("parquet")}
    whole, of_split = found["metadata.parquet"], found["val/metadata.parquet"]
    assert whole["path"].to_pylist() == [f"val/{n}.mp4" for n in range(8)]
    assert of_split["file_name"].to_pylist() == [f"{n}.mp4" for n in range(8)]
    assert whole["motion"].to_pylist() == [0.0, 0.5, 1.0, 1.5, 2.0, None, None, None]
    assert of_split["source.genre"].to_pylist() == [None] * 5 + ["news"] * 3
    assert whole.column_names[-3:] == ["motion", "source.genre", "record"]


rows = st.lists(st.tuples(*(st.sampled_from(["a", "b", "ab", "é"]) for _ in range(3))), max_size=60)


def table(of: list[tuple[str, ...]]) -> pa.Table:
    return pa.table([pa.array([r[i] for r in of], pa.string()) for i in range(3)], schema=FORM)


@settings(max_examples=30)
@given(rows, st.integers(1, 20), st.integers(1, 9))
def test_rows_come_in_order(tmp_path_factory: pytest.TempPathFactory, given_rows: Any, bucket: int, part: int) -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr(ordered_rows, "BUCKET_ROWS", bucket)
        small.setattr(ordered_rows, "BATCH_ROWS", part)
        small.setattr(ordered_rows, "KEY_STRIDE", 3)
        ordered = OrderedRows(tmp_path_factory.mktemp("rows"), FORM, FORM.names, 2)
        for start in range(0, len(given_rows), part):
            ordered.add(table(given_rows[start : start + part]))
        groups = list(regrouped(ordered, part))
    assert [g.num_rows for g in groups[:-1]] == [part] * (len(groups) - 1)
    assert [tuple(r.values()) for g in groups for r in g.to_pylist()] == sorted(given_rows)


@settings(max_examples=50)
@given(rows, rows, st.integers(1, 7), st.integers(1, 7))
def test_two_tables_come_side_by_side(first: Any, second: Any, parts: int, batches: int) -> None:
    def cut(of: list[tuple[str, ...]], size: int) -> Iterator[pa.Table]:
        yield table([])
        yield from (table(sorted(of)[n : n + size]) for n in range(0, len(of), size))

    def videos(of: pa.Table) -> set[tuple[str, str]]:
        return {(r["dataset"], r["video_id"]) for r in of.to_pylist()}

    assert pa.concat_tables([table([]), *whole_videos(cut(first, parts))]).equals(table(sorted(first)))
    seconds = (b for t in cut(second, batches) for b in (t.to_batches() or [pa.RecordBatch.from_pylist([], FORM)]))
    pairs = list(side_by_side(cut(first, parts), seconds))
    found = [[tuple(r.values()) for pair in pairs for r in pair[side].to_pylist()] for side in (0, 1)]
    assert found == [sorted(first), sorted(second)]
    for n, (one, other) in enumerate(pairs):
        later = set().union(*(videos(p[0]) | videos(p[1]) for p in pairs[n + 1 :]))
        assert not (videos(one) | videos(other)) & later or not one.num_rows


def test_what_is_missing_or_strange_is_named(tmp_path: Path) -> None:
    generate(str(tmp_path), 1, "webdataset", videos=2)
    store, recipes = TableStore(Storage(str(tmp_path)), SCHEMAS), {"bench": recipe("webdataset")}
    chosen = store.read("curated_clips", KEY)
    rows = [
        {**{n: r[n] for n in ("dataset", "video_id", "clip_id")}, "sample_key": r["clip_id"], "status": "failed", "row_fingerprint": "f"}
        for r in chosen.to_pylist()
    ]  # fmt: skip
    other = {**rows[-1], "clip_id": "zz_0_1", "video_id": "zz", "sample_key": "zz"}
    for found, odd in ((rows, None), (rows[:30] + rows[31:], rows[30]), ([*rows, other], other), ([], rows[0])):
        made = pa.Table.from_pylist(found, schema=schema("clip_dataset").arrow)
        store.commit("clip_dataset", KEY, made, Provenance("1"))
        finding = accounted.accounted(store, recipes, KEY, "clip_dataset")
        assert finding.passed is (odd is None)
        assert odd is None or finding.description.endswith(f"first in {odd['clip_id']}")
        assert finding.metadata["rows"] == len(found)


def test_keys_are_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used_keys, "HELD", 3)
    keys = UsedKeys()
    keys.add("a")
    with pytest.raises(ValueError, match="'a' was written already"):
        keys.add("a")
    for key in "bcdefgh":
        keys.add(key)
    keys.add("b")
    with pytest.raises(ValueError, match="'b' was written already"):
        keys.close()
    keys.add("b")
    keys.close()


def test_samples_are_read_back_part_by_part_each_with_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(str(tmp_path), 2, "webdataset", videos=3)
    publish(str(tmp_path), "webdataset")
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    monkeypatch.setattr(exported_clips, "READ_ROWS", 7)
    found = exported_clips.ExportedClips(SimpleNamespace(store=store), KEY, "")  # type: ignore[arg-type]
    samples = list(found)
    assert [s.row for s in samples] == store.read("clip_dataset", KEY).to_pylist()
    curated = {r["clip_id"]: r for r in store.read("curated_clips", KEY).to_pylist()}
    assert [s.curated for s in samples] == [curated[s.row["clip_id"]] for s in samples]
    assert len(found) == len(samples) == 186
    assert hashlib.sha256(samples[-1].mp4()).hexdigest() == samples[-1].row["sha256"]
