"""Two published versions held against each other, by what lies in their folders: sample by sample.

Each layout keeps the whole record of a sample: as JSON beside it in tars, as `record` in the lists of folders. Versions may lie anywhere, also where no
tables are any more. What belongs here: reading a version's records, and comparing them. The records are put into parts on this machine's disk by their video, and compared a part at a time.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.comparing.clip_matching import moved_clips
from curation_assets.comparing.row_differences import Differences, Tolerance, differences
from curation_assets.comparing.spilling import in_parts
from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.sample_columns import flat
from curation_resources import sealed_parquet
from curation_resources.storage import Storage

CARD = "croissant.json"
"""In every finished version."""
LISTS = ("metadata.parquet", "metadata.csv")
SKIPPED = frozenset({"key"})
"""What is said of a sample and is none of its own: its key is that of its clip, and the dataset before it where there are several."""
SCORES = "clip"
PARTS = ("export", SCORES, "source", "span", "caption", "track", "columns")
"""Of a record: what is known of the sample's file, of its clip, of its video and so on."""
AT_A_TIME, SPREAD = 1000, 128
"""Samples that are put into parts at a time, and parts: how many samples there are is not known before they are read."""
PACKED = pa.schema([("dataset", pa.string()), ("video_id", pa.string()), ("record", pa.string())])
Record = dict[str, Any]


def is_version(storage: Storage) -> bool:
    """Whether a folder is a published version of clips: one with a card, and tars or lists."""
    names = storage.list("")
    return CARD in names and any(n in LISTS or n.endswith(".tar") for n in names)


def compare_versions(pair: tuple[Storage, Storage], tolerance: Tolerance) -> tuple[Differences, int]:
    """The samples of two versions, row by row, and how many are of clips whose boundaries moved.

    Args:
        pair: the folders of both.

    Raises:
        ValueError: a folder has no records.
    """
    found, renamed = Differences(), 0
    with in_parts([_packed(side) for side in pair], ["dataset", "video_id"], SPREAD) as parts:
        for part in parts:
            more, moved = _compare([_unpacked(one) for one in part], tolerance)
            found, renamed = found + more, renamed + moved
    return found, renamed


def _packed(version: Storage) -> Iterator[pa.Table]:
    """The records, some at a time, as JSON beside what they are put into parts by."""
    left = records(version)
    while some := list(islice(left, AT_A_TIME)):
        rows = [{"dataset": r.get("dataset"), "video_id": r["video_id"], "record": json.dumps(r)} for r in some]
        yield pa.Table.from_pylist(rows, schema=PACKED)


def _unpacked(part: pa.Table | None) -> list[Record]:
    return [] if part is None else [json.loads(text) for text in part["record"].to_pylist()]


def _compare(sides: list[list[Record]], tolerance: Tolerance) -> tuple[Differences, int]:
    """All samples of some videos, of both versions."""
    renamed = 0
    for dataset in {r.get("dataset") for r in sides[1]}:
        spans = [_spans([r for r in side if r.get("dataset") == dataset]) for side in sides]
        moved = moved_clips(*spans)
        for record in sides[1]:
            if record.get("dataset") == dataset and record["clip_id"] in moved:
                record["clip_id"] = moved[record["clip_id"]]
                renamed += 1
    tables = _tables(sides)
    key = [n for n in ("dataset", "video_id", "clip_id", "track_id") if n in tables[0].column_names]
    return differences(tables, key, SKIPPED, tolerance) if key else Differences(), renamed


def records(version: Storage) -> Iterator[Record]:
    """What a version says of each of its samples, flat: what its clip was judged by under the names that rules have for that, all else with its part before it.

    Raises:
        ValueError: it has none.
    """
    names, found = version.list(""), False
    for said in _said(version, names):
        found = True
        nested = {part: said.pop(part) for part in PARTS if isinstance(said.get(part), dict)}
        flattened = {
            f"{part}.{name}": value for part, own in nested.items() if part != SCORES for name, value in own.items()
        }
        yield {**said, **flattened, **flat(nested.get(SCORES, {}))}
    if not found and not any(n in LISTS or n.endswith(".tar") for n in names):
        raise ValueError(f"{version.root}: no version of clips lies there")


def _said(version: Storage, names: list[str]) -> Iterator[Record]:
    if LISTS[0] in names:
        with version.open(LISTS[0]) as file, pq.ParquetFile(file) as table:
            for batch in sealed_parquet.row_batches(table, AT_A_TIME, ["record"]):
                yield from map(json.loads, batch["record"].to_pylist())
        return
    if LISTS[1] in names:
        with version.open(LISTS[1]) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            for row in spreadsheets.rows(text):
                yield json.loads(row["record"])
        return
    for name in names:
        if name.endswith(".tar"):
            with version.open(name) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    if member.name.endswith(".json"):
                        opened = tar.extractfile(member)
                        assert opened is not None
                        yield json.loads(opened.read())
                    tar.members = []  # type: ignore[attr-defined]  # which it would keep all of


def _spans(side: list[Record]) -> pa.Table:
    rows = {r["clip_id"]: {n: r[n] for n in ("video_id", "clip_id", "start_ms", "end_ms")} for r in side}
    form = pa.schema(
        [("video_id", pa.string()), ("clip_id", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())]
    )
    return pa.Table.from_pylist(list(rows.values()), schema=form)


def _tables(sides: list[list[Record]]) -> tuple[pa.Table, pa.Table]:
    """Both sides as tables with the same columns: numbers, truths and texts as they are, all else as JSON."""
    names = dict.fromkeys(n for side in sides for record in side for n in record)
    columns: list[dict[str, pa.Array]] = [{}, {}]
    for name in names:
        values = [[record.get(name) for record in side] for side in sides]
        kinds = {type(v) for side in values for v in side if v is not None}
        if kinds <= {int, float}:
            kind: pa.DataType = pa.float64()
        elif kinds == {bool}:
            kind = pa.bool_()
        else:
            kind = pa.string()
            values = [
                [v if v is None or isinstance(v, str) else json.dumps(v, sort_keys=True) for v in side]
                for side in values
            ]
        for own, side in zip(columns, values, strict=True):
            own[name] = pa.array(side, kind)
    return pa.table(columns[0]), pa.table(columns[1])
