"""Files of a published version written anew without some samples: tars, lists, tables, lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.publish.clip_dataset import SOUNDS
from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.track_folders import META, PROGRESS
from curation_assets.takedown.plan import TakedownPlan, token
from curation_assets.takedown.tar_rewriting import key_of, rewrite_tar
from curation_assets.takedown.version_samples import AmendedVersion

SAMPLE_ENDINGS = ("mp4", "npy", "txt", "json", *SOUNDS)
"""Endings of the files of samples that lie by themselves."""


def amend_file(version: AmendedVersion, name: str) -> None:
    """Writes a file of the version anew without the samples, or removes it if nothing is left; notes in `version` what was done."""
    storage, path = version.storage, f"{version.folder}/{name}"
    if name.endswith(".tar"):
        moved = rewrite_tar(storage, path, path, lambda m: key_of(m.name) in version.keys)
        if moved is not None:
            version.changed.add(name)
            if not moved:
                storage.remove(path)
    elif name.endswith((META, PROGRESS)):
        _drop_of_video(version, name, path)
    elif name.rsplit(".", 1)[-1] in SAMPLE_ENDINGS and "/" in name and key_of(name) in version.keys:
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
    with version.storage.open(path) as file:
        table = pq.read_table(file)
    wanted = [n for n in ("dataset", "video_id", "key", "sample_key") if n in table.column_names]
    gone = [version.owns(r) for r in table.select(wanted).to_pylist()]
    if not any(gone):
        return
    with tempfile.TemporaryDirectory(prefix="takedown-") as scratch:
        local = Path(scratch) / "list.parquet"
        pq.write_table(table.filter(pa.array([not g for g in gone], pa.bool_())), local, compression="zstd")
        version.storage.publish_file(local, path)
    version.changed.add(name)


def _amend_csv(version: AmendedVersion, name: str, path: str) -> None:
    text = version.storage.read(path).decode("utf-8")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"key", "sample_key", "video_id"} & set(reader.fieldnames or ()):
        return  # splits.csv names tars
    rows = list(reader)
    kept = [r for r, read in zip(rows, spreadsheets.rows(text), strict=True) if not version.owns(read)]
    if len(kept) == len(rows):
        return
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, reader.fieldnames or (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    version.storage.write(path, out.getvalue().encode())
    version.changed.add(name)


def _amend_lines(version: AmendedVersion, name: str, path: str) -> None:
    lines = gzip.decompress(version.storage.read(path)).splitlines(keepends=True)
    kept = [line for line in lines if not version.owns(json.loads(line))]
    if len(kept) == len(lines):
        return
    version.storage.write(path, gzip.compress(b"".join(kept), mtime=0))
    version.changed.add(name)
