"""The selected tracks of a subset as one `tracks.jsonl.gz`, in the order of `curated_tracks`, the same bytes for the same rows, and video by video.

Which lines of a list that was published before are taken over is the business of `kept_track_lines.py`. Records are spooled to disk and sorted there, because the shards they come from are not in that order.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.writing.kept_track_lines import KeptLines
from curation_assets.publish.writing.trackverse_records import record_line
from curation_resources.embedded_database import embedded_database

MEMORY_MB = 1000
"""What the sort may hold in memory before it spills."""
BATCH = 1000
LEVEL = 6
"""Of compression: 9 takes a quarter longer for records of twenty boxes, which it makes a 400th smaller."""
BUFFER = 1 << 20


def write_tracks(
    target: Path,
    shards: Iterable[tuple[pa.Table, pa.Table, Sequence[str]]],
    scratch: Path,
    filename: Callable[[Mapping[str, Any]], str | None] = lambda row: None,
    of_video: Callable[[str, str, list[bytes]], None] | None = None,
    memory_mb: int = MEMORY_MB,
    kept: KeptLines | None = None,
) -> int:
    """Writes the file; returns how many tracks it has.

    Args:
        target: local file.
        shards: (selected rows of `curated_tracks`, `tracks`, vocabulary) of each shard.
        scratch: local folder for the sort.
        filename: name of a selected track's own mp4, from its row of `curated_tracks`; None if none is published.
        of_video: gets dataset, video and lines of each video, in order.
        kept: the lines of other tracks than those in `shards`, from a list that was published before.

    Raises:
        OtherLines: they are not those that were selected.
    """
    names = ("dataset", "video_id", "clip_id", "track_id")
    config = {"memory_limit": f"{memory_mb}MB", "threads": 1, "temp_directory": str(scratch / "spill")}
    written = 0
    with embedded_database(scratch / "tracks.duckdb", config) as db:
        db.execute(f"CREATE TABLE lines ({', '.join(f'{n} VARCHAR' for n in names)}, line BLOB)")
        for selected, tracks, vocabulary in shards:
            wanted = pc.is_in(tracks["track_id"], value_set=selected["track_id"].combine_chunks())
            files = {row["track_id"]: filename(row) for row in selected.to_pylist()}
            for batch in tracks.filter(wanted).to_batches(max_chunksize=BATCH):
                lines = pa.array(
                    [record_line(r, vocabulary, files[r["track_id"]]) for r in batch.to_pylist()], pa.binary()
                )
                rows = pa.table([*(batch.column(n) for n in names), lines], names=[*names, "line"])
                db.register("rows", rows)
                db.execute("INSERT INTO lines SELECT * FROM rows")
        ordered = db.sql(f"SELECT dataset, video_id, line FROM lines ORDER BY {', '.join(names)}")
        rows = _rows(ordered.to_arrow_reader(BATCH))
        if kept is not None:
            rows = kept.among(rows, _unnamed if of_video is None else _named)
        with (
            open(target, "wb") as file,
            gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=file, mtime=0) as packed,
            io.BufferedWriter(packed, BUFFER) as buffered,
        ):
            if of_video is None:
                for _, _, line in rows:
                    buffered.write(line)
                    written += 1
                return written
            for (dataset, video), of_one in groupby(rows, key=lambda row: row[:2]):
                found = [line for _, _, line in of_one]
                buffered.writelines(found)
                written += len(found)
                of_video(dataset, video, found)
    return written


def _unnamed(line: bytes) -> tuple[str, str, bytes]:
    return "", "", line


def _named(line: bytes) -> tuple[str, str, bytes]:
    record = json.loads(line)
    return record["dataset"], record["yid"], line


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str, bytes]]:
    for batch in batches:
        yield from zip(*(c.to_pylist() for c in batch.columns), strict=True)
