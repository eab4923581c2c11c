"""Bits that flip in storage: whatever is read of a table is what was written, or an error that names the table."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from curation_assets.schemas import SCHEMAS, schema
from curation_assets_tests.resources.test_tables import frames
from curation_resources import sealed_parquet
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import DamagedTable, TableStore

KEY = "d-00000"


def scores() -> tuple[str, pa.Table]:
    rng = np.random.default_rng(0)
    names = [f"v{i // 10:03d}_{i:05d}" for i in range(2000)]
    motion = pa.array(rng.random(2000).astype(np.float32), mask=rng.random(2000) < 0.1)
    columns = {"dataset": ["d"] * 2000, "video_id": [n.split("_")[0] for n in names], "clip_id": names}
    return "motion_scores", pa.table({**columns, "motion": motion, "estimator": ["e"] * 2000})


def embeddings() -> tuple[str, pa.Table]:
    rng = np.random.default_rng(0)
    rows = [
        {
            "dataset": "d",
            "video_id": "v",
            "clip_id": f"v_{i // 4:04d}",
            "time_ms": i,
            "frame": i,
            "model": "m",
            "embedding": rng.random(64).astype(np.float16).tolist(),
        }
        for i in range(200)
    ]
    return "frame_embeddings", pa.Table.from_pylist(rows)


def captions() -> tuple[str, pa.Table]:
    names = [f"v_{i:04d}" for i in range(300)]
    rows = [
        {
            "dataset": "d",
            "video_id": "v",
            "clip_id": n,
            "status": "ok",
            "backend": "source",
            "caption": f"a {n} that runs " * 3,
        }
        for n in names
    ]
    return "captions", pa.Table.from_pylist(rows)


def reads(store: TableStore, asset: str) -> list[Callable[[], Any]]:
    """Every way in which a table is read."""
    names = schema(asset).names
    whole = [lambda: store.read(asset, KEY), lambda: store.header(asset, KEY)]
    some = [names[2], names[-1]]
    parts = [
        lambda: store.read(asset, KEY, columns=some),
        lambda: store.read(asset, KEY, columns=some, filters=ds.field("clip_id") > "v"),
        lambda: store.dataset(asset, [KEY]).to_table(columns=some),
    ]
    return [*whole, *parts]


def outcome(read: Callable[[], Any]) -> Any:
    """What a read gives, or that it fails in so many words."""
    try:
        return read()
    except DamagedTable:
        return DamagedTable
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:  # a lazy dataset knows no names
        return type(error)


@pytest.mark.parametrize("table", [scores, embeddings, captions])
def test_no_flipped_bit_gives_a_wrong_value(tmp_path: Path, table: Callable[[], tuple[str, pa.Table]]) -> None:
    """400 single flips, spread over the file and half of them in its last kilobytes, where footer and seal are."""
    asset, rows = table()
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    store.commit(asset, KEY, rows, Provenance("1", {"a": 1}, {"b": "c"}), {"cpu_s": 1.5})
    file = tmp_path / store.path(asset, KEY)
    good = file.read_bytes()
    right = [outcome(r) for r in reads(store, asset)]
    assert DamagedTable not in right
    draw, size = random.Random(0), len(good)
    footer = pq.read_metadata(file).serialized_size + 8 + sealed_parquet.SEAL_BYTES
    bits = [draw.randrange(8 * size) for _ in range(200)] + [
        8 * (size - footer) + draw.randrange(8 * footer) for _ in range(200)
    ]
    silent: dict[int, int] = {}
    seen = 0
    for bit in bits:
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        for way, (read, wanted) in enumerate(zip(reads(store, asset), right, strict=True)):
            got = outcome(read)
            told = isinstance(got, type)
            seen += told
            if not told and not (got.equals(wanted) if isinstance(got, pa.Table) else got == wanted):
                silent[way] = silent.get(way, 0) + 1
    assert silent == {}
    assert seen >= len(bits)


def test_torn_files_and_files_without_a_seal(tmp_path: Path) -> None:
    """Cut at any place, a table is damaged; of earlier versions or other writers, it is read as before."""
    asset, rows = scores()
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    store.commit(asset, KEY, rows, Provenance("1"))
    file = tmp_path / store.path(asset, KEY)
    good = file.read_bytes()
    for length in (0, 3, 8, 100, len(good) // 2, len(good) - 100, len(good) - 1):
        file.write_bytes(good[:length])
        assert {outcome(r) for r in reads(store, asset)[:4]} == {DamagedTable}
    table = store.prepare(asset, rows)
    pq.write_table(table, file)
    assert store.read(asset, KEY).equals(table)
    assert store.read(asset, KEY, columns=["motion"]).num_rows == 2000


def test_any_reader_reads_sealed_files(tmp_path: Path) -> None:
    import duckdb

    asset, rows = embeddings()
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    store.commit(asset, KEY, rows, Provenance("1"))
    file = tmp_path / store.path(asset, KEY)
    assert sealed_parquet.verify_bytes(file.read_bytes())
    assert pq.read_table(file, page_checksum_verification=True).num_rows == 200
    assert duckdb.sql(f"SELECT count(*), min(clip_id) FROM '{file}'").fetchall() == [(200, "v_0000")]


def test_media_that_are_gone_are_told_from_one_listing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TableStore(storage, SCHEMAS)
    table, tar = frames(store, b"x" * 100)
    header = store.commit("frames", KEY, table, Provenance("1"))
    assert store.lost_media(header) == []
    data = storage.read(tar)
    monkeypatch.setattr(Storage, "size", None)  # no request for each
    storage.write(tar, data[:600])
    read = store.header("frames", KEY)
    assert read is not None
    assert store.lost_media(read) == [tar]
    storage.remove(tar)
    assert store.lost_media(read) == [tar]
