"""The samples of a published version that are of the videos that are taken down, found by the version's own files."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.track_folders import META, PROGRESS
from curation_assets.takedown.plan import TakedownPlan
from curation_assets.takedown.tar_rewriting import key_of, members
from curation_assets.takedown.told_samples import ToldSamples
from curation_resources import sealed_parquet
from curation_resources.listed_files import PART, sizes_in
from curation_resources.media import MediaRef
from curation_resources.s3_objects import pages_s3
from curation_resources.storage import Storage

REMOVED = "removed.json"
OF_MANY = (".tar", ".parquet", ".csv", ".jsonl.gz")
"""Endings of files that hold, or list, more than one sample."""
FEW_VIDEOS = 64
"""Up to so many ids are looked for by one expression, which goes through them all at each place of a text."""


class Licences(Protocol):
    """Licence and channel of videos."""

    def get(self, video: tuple[str, str], default: tuple[str | None, str | None], /) -> tuple[str | None, str | None]:
        """Those of (dataset, video_id)."""


def subfolders(storage: Storage, folder: str) -> list[str]:
    """Names of the folders directly in `folder`."""
    fs, name = storage.filesystem(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if isinstance(fs, LocalFileSystem):
            with os.scandir(name) as entries:
                return sorted(e.name for e in entries if e.is_dir())
        if "s3" in str(fs.protocol):
            return sorted(f for _, folders in pages_s3(fs, name) for f in folders)
        listed = fs.ls(name, detail=True)
        return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in listed if e["type"] == "directory")
    return []


@dataclass(frozen=True)
class FilesBelow:
    """Paths of all files below a folder, relative to it, listed anew each time they are gone through and not held: of a version of files they are as many as its samples.
    Those of a folder come in order, if they are no more than `PART`. Files may be removed meanwhile."""

    storage: Storage
    folder: str

    def __iter__(self) -> Iterator[str]:
        names = (name for name, _ in sizes_in(self.storage, self.folder))
        yield from sorted(islice(names, PART))
        yield from names
        for name in subfolders(self.storage, self.folder):
            yield from (f"{name}/{n}" for n in FilesBelow(self.storage, f"{self.folder}/{name}"))

    def of_many(self) -> set[str]:
        """Those that hold, or list, more than one sample."""
        return {n for n in self if "/" not in n or n.endswith(OF_MANY)}


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
        datasets = self._datasets.get(str(row.get("video_id") or row.get("yid") or ""), ())
        return bool(datasets) and row.get("dataset") in (None, *datasets)

    @cached_property
    def _datasets(self) -> Mapping[str, set[str]]:
        """Id of each of the videos -> the datasets that it is in."""
        found: dict[str, set[str]] = {}
        for video in self.plan.videos:
            found.setdefault(video.video_id, set()).add(video.dataset)
        return found


def key_hash(key: str) -> str:
    """What `removed.json` says of a sample's key."""
    return hashlib.sha256(key.encode()).hexdigest()


def suspects(videos: Iterable[str]) -> Callable[[str], bool]:
    """Tells of a text whether it has what the sample keys of some videos begin with; keys of ids with other characters have `_` in their place and a hash behind.

    Args:
        videos: their ids.
    """
    parts = {re.sub(r"[^A-Za-z0-9_-]", "_", v)[:80] for v in videos}
    if len(parts) <= FEW_VIDEOS:
        search = re.compile("|".join(map(re.escape, sorted(parts, key=len, reverse=True)))).search
        return lambda text: search(text) is not None
    lengths = sorted({len(p) for p in parts})
    return lambda text: any(text[i : i + n] in parts for n in lengths for i in range(len(text) - n + 1))


def keys_in(version: AmendedVersion, names: Iterable[str]) -> Iterator[str]:
    """Sample keys of the videos, told by each sample's JSON, by the version's lists, or by what an amending that did not end had noted; notes in `version` where
    they were found."""
    suspect = suspects(v.video_id for v in version.plan.videos)
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


def _in_tar(version: AmendedVersion, name: str, suspect: Callable[[str], bool]) -> Iterator[str]:
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
        if suspect(key):
            record = json.loads(version.storage.read_media(MediaRef(path, m.offset_data, m.size)))
            if version.owns(record):
                yield key
    if found - told:
        version.apart.add(name)


def _listed(version: AmendedVersion, name: str, suspect: Callable[[str], bool]) -> Iterator[str]:
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
    elif name.endswith(".json") and not name.endswith(PROGRESS) and "/" in name and suspect(name):
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
