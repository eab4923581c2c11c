"""The table store: contracts, content hashes, atomic commits, orphans; the same on a folder and on S3."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.schemas import SCHEMAS, schema
from curation_resources.content_hash import ContentHasher, content_hash
from curation_resources.media import MediaRef
from curation_resources.parquet_columns import with_metadata
from curation_resources.provenance import Provenance
from curation_resources.replace import Superseded
from curation_resources.sealed_parquet import Damaged
from curation_resources.shard_tables import ShardTables
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.table_contracts import ContractError
from curation_resources.table_headers import read_parts
from curation_resources.tables import MissingTable, TableStore
from curation_resources.tars import TarWriter, new_token
from curation_resources.written_table import WrittenTable


def motion(*rows: tuple[str, float | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"dataset": "d", "video_id": c.split("_")[0], "clip_id": c, "motion": m, "estimator": "e"} for c, m in rows]
    )


def test_a_commit_is_read_back_sorted_with_its_provenance(storage: Storage) -> None:
    store = TableStore(storage, SCHEMAS)
    made_from = Provenance("3", {"fps": 4.0, "b": [1, None]}, {"raw_shards": "abc"}, {"net": "123"})
    header = store.commit(
        "motion_scores", "d-00000", motion(("v_5_9", 0.5), ("v_0_5", None)), made_from, {"cpu_s": 1.5}
    )
    assert store.header("motion_scores", "d-00000") == header
    assert header.provenance == made_from
    assert header.fingerprint == made_from.fingerprint
    table = store.read("motion_scores", "d-00000")
    assert table.schema.names == schema("motion_scores").names
    assert table["clip_id"].to_pylist() == ["v_0_5", "v_5_9"]
    assert store.partitions("motion_scores") == ["d-00000"]
    store.commit("motion_scores", "d-00001", motion(("w_0_1", 0.1)), made_from)
    assert store.dataset("motion_scores").count_rows() == 3
    assert store.read("motion_scores", "d-00000", filters=ds.field("motion") > 0.1).num_rows == 1
    assert dict(ShardTables(store, "motion_scores", ["d-00001"]))["d-00001"].num_rows == 1


def test_a_table_that_was_written_as_it_lies_in_storage_is_the_one_that_a_commit_makes(
    storage: Storage, tmp_path: Path
) -> None:
    store, made_from = TableStore(storage, SCHEMAS), Provenance("3", {"fps": 4.0})
    rows = [(f"v_{n}_9", n / 100 if n % 3 else None) for n in range(10, 99)]
    store.commit("motion_scores", "d-00000", motion(*rows), made_from, {"cpu_s": 1.5})
    with WrittenTable(tmp_path / "local.parquet", schema("motion_scores")) as written:
        for begin in (0, 40):
            written.add(motion(*reversed(rows[begin : 40 if not begin else None])), 17)
    parts = written.parts
    header = store.commit_written(
        "motion_scores", "d-00001", tmp_path / "local.parquet", made_from, parts, {"cpu_s": 1.5}
    )
    one, other = (store.header("motion_scores", f"d-0000{k}") for k in (0, 1))
    assert one is not None
    assert header == other
    assert replace(header, partition=one.partition, tag=one.tag, size=one.size) == one
    assert store.read("motion_scores", "d-00001").equals(store.read("motion_scores", "d-00000"))
    assert store.row_groups("motion_scores", "d-00001") == 3 + 3
    assert read_parts(store.form("motion_scores", "d-00001").metadata or {}) == parts
    with pytest.raises(Superseded):
        store.commit_written("motion_scores", "d-00001", tmp_path / "local.parquet", made_from, parts, {}, one)
    with pytest.raises(ContractError, match="two rows"), WrittenTable(tmp_path / "b", schema("motion_scores")) as twice:
        twice.add(motion(*rows[:2], rows[1]), 17)
    whole = (tmp_path / "local.parquet").read_bytes()
    with pytest.raises(Damaged, match="its end is missing"):
        with_metadata(io.BytesIO(whole[:-5]), io.BytesIO(), {})


def test_missing_tables_say_what_to_do(storage: Storage) -> None:
    store = TableStore(storage, SCHEMAS)
    assert store.header("clips", "d-00000") is None
    assert store.headers("clips") == {}
    assert store.dataset("clips").count_rows() == 0
    with pytest.raises(MissingTable, match="clips does not exist for d-00000: materialize it first"):
        store.read("clips", "d-00000")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_id": "v_0_5"}, "two rows have the key video_id='v', clip_id='v_0_5'"),
        ({"motion": -1.0}, "column motion must be at least 0, but is -1.0 in the row video_id='v', clip_id='v_5_9'"),
        ({"motion": float("nan")}, "column motion must be finite"),
        ({"still_fraction": 1.5}, "column still_fraction must be at most 1"),
        ({"estimator": None}, "column estimator must not be null"),
        ({"motion": "fast"}, "column motion must be float"),
        ({"surprise": 1}, "undeclared column surprise"),
    ],
)
def test_a_broken_contract_names_table_column_and_row(tmp_path: Any, change: dict[str, Any], message: str) -> None:
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    rows = [
        {"dataset": "d", "video_id": "v", "clip_id": c, "motion": 0.5, "still_fraction": 0.1, "estimator": "e"}
        for c in ("v_0_5", "v_5_9")
    ]
    if change in ({"motion": "fast"}, {"surprise": 1}):  # the type or presence of a whole column
        rows[0] |= change
    rows[1] |= change
    with pytest.raises(ContractError, match="table motion_scores") as caught:
        store.commit("motion_scores", "d-00000", pa.Table.from_pylist(rows, schema=None), Provenance("1"))
    assert message in str(caught.value)
    assert not store.exists("motion_scores", "d-00000")


def frames(store: TableStore, content: bytes, n: int = 3) -> tuple[pa.Table, str]:
    writer = TarWriter(store.storage, "frames/d-00000", new_token())
    rows = []
    for i in range(n):
        m = writer.add(f"k{i}", {"jpg": content + bytes([i])})["jpg"]
        rows.append(
            {
                "dataset": "d",
                "video_id": "v",
                "clip_id": "v_0_5",
                "time_ms": i,
                "frame": i,
                "tar": m.tar,
                "offset": m.offset,
                "size": m.size,
                "sha256": m.sha256,
            }
        )
    writer.close()
    return pa.Table.from_pylist(rows), writer.tars[0]


def test_a_new_commit_replaces_media_and_keeps_the_hash_of_equal_content(storage: Storage) -> None:
    store = TableStore(storage, SCHEMAS)
    first, old_tar = frames(store, b"x" * 100)
    before = store.commit("frames", "d-00000", first, Provenance("1"))
    storage.write("frames/d-00000/abandoned-00000.tar", b"from a killed run")
    second, new_tar = frames(store, b"x" * 100)
    after = store.commit("frames", "d-00000", second, Provenance("1"))
    assert new_tar != old_tar
    assert after.content_hash == before.content_hash
    assert storage.list("frames/d-00000") == [new_tar.rsplit("/", 1)[-1]]
    row = store.read("frames", "d-00000").to_pylist()[2]
    assert storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])) == b"x" * 100 + bytes([2])
    third, _ = frames(store, b"y" * 100)
    assert store.commit("frames", "d-00000", third, Provenance("1")).content_hash != before.content_hash


def test_a_table_cannot_name_media_that_are_not_there(storage: Storage) -> None:
    store = TableStore(storage, SCHEMAS)
    table, tar = frames(store, b"x")
    storage.remove(tar)
    with pytest.raises(StorageError, match=r"frames d-00000: .* vanished while it was made"):
        store.commit("frames", "d-00000", table, Provenance("1"))
    assert not store.exists("frames", "d-00000")


def test_a_torn_table_is_named(tmp_path: Any) -> None:
    store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    store.storage.write("clips/d-00000.parquet", b"PAR1 torn")
    with pytest.raises(StorageError, match=r"is damaged .*curation run RECIPE --select clips --shards d-00000"):
        store.read("clips", "d-00000")


VALUES = st.one_of(st.none(), st.text(max_size=5))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.integers(0, 1000),
            "s": VALUES,
            "f": st.none() | st.floats(allow_nan=False, width=32),
            "l": st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=3),
            "t": st.none() | st.fixed_dictionaries({"a": VALUES, "b": st.none() | st.booleans()}),
            "n": st.none()
            | st.lists(
                st.fixed_dictionaries({"x": st.none() | st.lists(st.floats(0, 1, width=32), max_size=2)}), max_size=2
            ),
        }
    ),
    max_size=8,
    unique_by=lambda r: r["k"],
)
TYPES = pa.schema(
    [
        ("k", pa.int64()),
        ("s", pa.string()),
        ("f", pa.float32()),
        ("l", pa.list_(pa.int32())),
        ("t", pa.struct([("a", pa.string()), ("b", pa.bool_())])),
        ("n", pa.list_(pa.struct([("x", pa.list_(pa.float32()))]))),
    ]
)


@settings(max_examples=150)
@given(ROWS, ROWS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_content_hash_sees_every_value_and_nothing_else(
    a: list[dict[str, Any]], b: list[dict[str, Any]], random: Any, chunk: int
) -> None:
    table = pa.Table.from_pylist(a, schema=TYPES)
    shuffled = list(a)
    random.shuffle(shuffled)
    again = pa.Table.from_pylist(shuffled, schema=TYPES)
    assert content_hash(again, ["k"]) == content_hash(table, ["k"]), "row order does not count"
    ordered = table.sort_by("k")
    hasher = ContentHasher(TYPES)
    for start in range(0, ordered.num_rows, chunk):
        hasher.update(ordered.slice(start, chunk))
    assert hasher.hexdigest() == content_hash(table, ["k"]), "batches do not count"
    sliced = pa.concat_tables([ordered, ordered]).slice(ordered.num_rows)
    assert content_hash(sliced, ["k"]) == content_hash(table, ["k"]), "offsets in buffers do not count"
    other = pa.Table.from_pylist(b, schema=TYPES)
    same = table.sort_by("k").to_pylist() == other.sort_by("k").to_pylist()
    assert (content_hash(other, ["k"]) == content_hash(table, ["k"])) == same
    assert content_hash(table.set_column(0, "k", table["k"]), ["k"], skip={"s"}) == content_hash(
        table.drop_columns(["s"]), ["k"]
    )
