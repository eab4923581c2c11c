"""Files of a published version written anew without some samples: tars, lists, tables, lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.track_folders import META, PROGRESS
from curation_assets.takedown.plan import TakedownPlan, token
from curation_assets.takedown.tar_rewriting import key_of, rewrite_tar
from curation_assets.takedown.version_samples import AmendedVersion
from curation_resources.scratch import scratch_folder


def amend_file(version: AmendedVersion, name: str) -> None:
    """Writes a file of the version anew without the samples, or removes it if nothing is left; notes in `version` what was done."""
    storage, path = version.storage, f"{version.folder}/{name}"
    if name.endswith(".tar"):
        if not version.holds(name):
            return
        moved = rewrite_tar(storage, path, path, lambda m: key_of(m.name) in version.keys)
        if moved is not None:
            version.changed.add(name)
            if not moved:
                storage.remove(path)
    elif name.endswith((META, PROGRESS)):
        _drop_of_video(version, name, path)
    elif "/" in name and key_of(name) in version.keys:  # whatever its ending: a package's format has its own
        storage.remove(path)
        version.changed.add(name)
    elif name.endswith(".parquet"):
        _amend_parquet(version, name, path)
    elif name.endswith(".csv"):
        _amend_csv(version, name, path)
    elif name.endswith(".jsonl.gz"):
        _amend_lines(version, name, path)
    elif "/" not in name and (
        mentioned := pattern_of(version.plan).search(storage.read(path).decode("utf-8", "replace"))
    ):
        version.unknown.append(f"{name} (it says {mentioned[0][:20]!r})")


def _drop_of_video(version: AmendedVersion, name: str, path: str) -> None:
    """Removes a file that is of one video alone, if it is of one of the videos."""
    data = version.storage.read(path)
    lines = gzip.decompress(data).splitlines() if name.endswith(META) else [data]
    if any(version.owns(json.loads(line)) for line in lines):
        version.storage.remove(path)
        version.changed.add(name)


def pattern_of(plan: TakedownPlan) -> re.Pattern[str]:
    """Finds the ids of the plan's videos in a text."""
    return re.compile("|".join(token(v.video_id) for v in plan.videos))


def _amend_parquet(version: AmendedVersion, name: str, path: str) -> None:
    storage, some = version.storage, False
    with storage.open(path) as file, pq.ParquetFile(file) as table, scratch_folder("takedown-") as scratch:
        local = Path(scratch) / "list.parquet"
        names = [n for n in ("dataset", "video_id", "key", "sample_key") if n in table.schema_arrow.names]
        with pq.ParquetWriter(local, table.schema_arrow, compression="zstd") as writer:
            for group in range(table.num_row_groups):
                rows = table.read_row_group(group)
                kept = pa.array([not version.owns(r) for r in rows.select(names).to_pylist()], pa.bool_())
                some = some or kept.false_count > 0
                writer.write_table(rows.filter(kept))
        if some:
            storage.publish_file(local, path)
            version.changed.add(name)


def _amend_csv(version: AmendedVersion, name: str, path: str) -> None:
    storage, some = version.storage, False
    with storage.open(path) as file, storage.open(path) as twin, scratch_folder("takedown-") as scratch:
        reader = csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))
        columns = reader.fieldnames or ()
        if not {"key", "sample_key", "video_id"} & set(columns):
            return  # splits.csv names tars
        local = Path(scratch) / "list.csv"
        with open(local, "w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, columns, lineterminator="\n")
            writer.writeheader()
            for row, read in zip(reader, spreadsheets.rows(io.TextIOWrapper(twin, "utf-8", newline="")), strict=True):
                if version.owns(read):
                    some = True
                else:
                    writer.writerow(row)
        if some:
            storage.publish_file(local, path)
            version.changed.add(name)


def _amend_lines(version: AmendedVersion, name: str, path: str) -> None:
    storage, some = version.storage, False
    with storage.open(path) as file, gzip.open(file) as lines, scratch_folder("takedown-") as scratch:
        local = Path(scratch) / "list.jsonl.gz"
        with open(local, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as out:
            for line in lines:
                if version.owns(json.loads(line)):
                    some = True
                else:
                    out.write(line)
        if some:
            storage.publish_file(local, path)
            version.changed.add(name)
