"""The samples of a published version that are of the videos that are taken down, found by the version's own files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow.parquet as pq

from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.track_folders import META, PROGRESS
from curation_assets.takedown.plan import TakedownPlan
from curation_assets.takedown.tar_rewriting import key_of, members
from curation_assets.takedown.told_samples import ToldSamples
from curation_resources import sealed_parquet
from curation_resources.media import MediaRef
from curation_resources.storage import Storage

REMOVED = "removed.json"


class Licences(Protocol):
    """Licence and channel of videos."""

    def get(self, video: tuple[str, str], default: tuple[str | None, str | None], /) -> tuple[str | None, str | None]:
        """Those of (dataset, video_id)."""


def subfolders(storage: Storage, folder: str) -> list[str]:
    """Names of the folders directly in `folder`."""
    fs, name = storage.filesystem(folder)
    try:
        entries = fs.ls(name, detail=True, refresh=True) if "s3" in str(fs.protocol) else fs.ls(name, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")


def files_below(storage: Storage, folder: str) -> list[str]:
    """Paths of all files below `folder`, relative to it."""
    found = list(storage.list(folder))
    for name in subfolders(storage, folder):
        found += [f"{name}/{n}" for n in files_below(storage, f"{folder}/{name}")]
    return found


@dataclass
class AmendedVersion:
    """A version as it is amended.

    Attributes:
        keys: sample keys of the videos that were found in it.
        changed: files that were rewritten or removed.
        facts: what is left, counted.
        unknown: files that name the videos and that nothing here can rewrite.
        licences: licence and channel of videos, for samples that do not say them.
        told: what tables say of its samples; None where none is of this version, so that every tar is looked through.
        holders: tars in which keys were found.
        apart: tars with samples whose JSON lies elsewhere: what they hold is told by their members' names alone.
        listed: whether keys were found elsewhere.
        begun: SHA-256 of the keys that an amending which did not end had noted: what told of these samples may be gone while they are not.
    """

    storage: Storage
    folder: str
    plan: TakedownPlan
    licences: Callable[[], Licences]
    keys: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    told: ToldSamples | None = None
    holders: set[str] = field(default_factory=set)
    apart: set[str] = field(default_factory=set)
    listed: bool = False
    begun: frozenset[str] = frozenset()

    def may_hold(self, name: str) -> bool:
        """Whether a tar must be opened to know whether it holds samples of the videos."""
        return self.told is None or "/" in name or name in self.told.tars

    def holds(self, name: str) -> bool:
        """Whether a tar may have members of the samples that were found."""
        return self.may_hold(name) and (self.listed or name in self.holders or name in self.apart)

    def was_noted(self, key: str) -> bool:
        """Whether an amending that did not end was to remove a sample."""
        return bool(self.begun) and key_hash(key) in self.begun

    def owns(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a list, or the JSON of a sample, is of one of the videos."""
        key = str(row.get("key") or row.get("sample_key") or "")
        if key and key in self.keys:
            return True
        video = row.get("video_id") or row.get("yid")
        dataset = row.get("dataset")
        return any(video == v.video_id and dataset in (None, v.dataset) for v in self.plan.videos)


def key_hash(key: str) -> str:
    """What `removed.json` says of a sample's key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _suspects(plan: TakedownPlan) -> re.Pattern[str]:
    """What the sample keys of the videos begin with; keys of ids with other characters have `_` in their place and a hash behind."""
    parts = {re.escape(re.sub(r"[^A-Za-z0-9_-]", "_", v.video_id)[:80]) for v in plan.videos}
    return re.compile("|".join(sorted(parts, key=len, reverse=True)))


def keys_in(version: AmendedVersion, names: Iterable[str]) -> Iterator[str]:
    """Sample keys of the videos, told by each sample's JSON, by the version's lists, or by what an amending that did not end had noted; notes in `version` where
    they were found."""
    suspect = _suspects(version.plan)
    for name in names:
        if name.endswith(".tar"):
            for key in _in_tar(version, name, suspect) if version.may_hold(name) else ():
                version.holders.add(name)
                yield key
        else:
            for key in _listed(version, name, suspect):
                version.listed = True
                yield key
            if "/" in name and version.was_noted(key := key_of(name)):
                yield key


def _in_tar(version: AmendedVersion, name: str, suspect: re.Pattern[str]) -> Iterator[str]:
    path = f"{version.folder}/{name}"
    found, told = set[str](), set[str]()
    for m in members(version.storage, path):
        key = key_of(m.name)
        found.add(key)
        if version.was_noted(key):
            yield key
        if not m.name.endswith(".json"):
            continue
        told.add(key)
        if suspect.search(key):
            record = json.loads(version.storage.read_media(MediaRef(path, m.offset_data, m.size)))
            if version.owns(record):
                yield key
    if found - told:
        version.apart.add(name)


def _listed(version: AmendedVersion, name: str, suspect: re.Pattern[str]) -> Iterator[str]:
    storage, path = version.storage, f"{version.folder}/{name}"
    if name.endswith(".parquet"):
        for row in _rows(storage, path):
            if version.owns(row):
                yield from filter(None, [row.get("key") or row.get("sample_key")])
    elif name.endswith("metadata.csv"):
        with storage.open(path) as file:
            yield from (
                row["key"]
                for row in spreadsheets.rows(io.TextIOWrapper(file, "utf-8", newline=""))
                if version.owns(row)
            )
    elif name.endswith(".json") and not name.endswith(PROGRESS) and "/" in name and suspect.search(name):
        if version.owns(json.loads(storage.read(path))):
            yield key_of(name)
    elif name.endswith((".jsonl.gz", META)):
        with storage.open(path) as file, gzip.open(file) as lines:
            for line in lines:
                record = json.loads(line)
                if version.owns(record):
                    yield str(record.get("track_id") or record.get("mp4_filename") or record.get("yid"))


def _rows(storage: Storage, path: str) -> Iterator[dict[str, Any]]:
    with storage.open(path) as file, pq.ParquetFile(file) as table:
        wanted = [n for n in ("dataset", "video_id", "key", "sample_key") if n in table.schema_arrow.names]
        for batch in sealed_parquet.row_batches(table, columns=wanted):
            yield from batch.to_pylist()
