"""Samples that published versions still hold although `removed.json` says that they were removed.

Takedowns of earlier versions of this package left such behind and called themselves complete: those that were killed over a version of files, and those of versions whose tars have
pictures and words apart. What belongs here: finding and removing them, by the hashes of their keys and nothing else. What does not: takedowns of videos (`exports.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from curation_assets.registry import EXPORTS
from curation_assets.takedown.amended_card import describe
from curation_assets.takedown.amended_files import amend_file
from curation_assets.takedown.exports import WITH_VERSIONS, files_now, note
from curation_assets.takedown.large_tables import write_without
from curation_assets.takedown.placed_samples import Placed
from curation_assets.takedown.plan import Say, TakedownPlan
from curation_assets.takedown.tar_rewriting import key_of, members
from curation_assets.takedown.told_samples import VideoLicences
from curation_assets.takedown.version_samples import OF_MANY, REMOVED, AmendedVersion, FilesBelow, key_hash, subfolders
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.table_headers import FILES
from curation_resources.tables import TableStore
from curation_resources.words import plural


@dataclass(frozen=True)
class LeftSamples:
    """What a version holds in spite of its `removed.json`.

    Attributes:
        folder: of the version.
        keys: of the samples.
        tars: those of its tars that hold some.
        begun: whether removing them was begun before, and did not end.
    """

    folder: str
    keys: frozenset[str]
    tars: frozenset[str]
    begun: bool

    @property
    def what(self) -> str:
        """What is the matter with it, in words."""
        samples = plural(len(self.keys), f"sample that {REMOVED} names", f"samples that {REMOVED} names")
        return samples + (", and it is not described anew" if self.begun else "")

    def __str__(self) -> str:
        return f"{self.folder}: {self.what}"


def left_samples(store: TableStore, tars: bool) -> Iterator[LeftSamples]:
    """Versions that hold samples which a takedown was to remove, while none is begun that would remove them.

    Args:
        store: the root.
        tars: whether tars are looked into, whose headers are read; else files alone, told by their names.
    """
    if TakedownPlan.load(store) is not None:
        return
    storage = store.storage
    for asset in WITH_VERSIONS:
        for key in subfolders(storage, asset):
            for name in subfolders(storage, f"{asset}/{key}"):
                folder = f"{asset}/{key}/{name}"
                if storage.exists(f"{folder}/{REMOVED}") and (found := _of_version(storage, folder, tars)):
                    yield found


def _of_version(storage: Storage, folder: str, tars: bool) -> LeftSamples | None:
    said = json.loads(storage.read(f"{folder}/{REMOVED}"))
    begun = not said["complete"]
    noted = frozenset(d for entry in said["removed"] for d in entry["sha256_of_keys"])
    found: set[str] = set()
    holders: set[str] = set()
    for name in FilesBelow(storage, folder):
        if name.endswith(".tar"):
            keys = {key_of(m.name) for m in members(storage, f"{folder}/{name}")} if tars else set()
        else:
            keys = {key_of(name)} if "/" in name else set()
        mine = {key for key in keys if key_hash(key) in noted}
        found |= mine
        holders |= {name} if mine and name.endswith(".tar") else set()
    return LeftSamples(folder, frozenset(found), frozenset(holders), begun) if found or begun else None


def remove_left(store: TableStore, left: LeftSamples, say: Say) -> None:
    """Removes them from the version, its lists too, and counts it anew. One that is killed is finished by being called again."""
    storage, folder = store.storage, left.folder
    licences = lru_cache(maxsize=1)(lambda: VideoLicences(store))
    version = AmendedVersion(storage, folder, TakedownPlan([]), licences, set(left.keys), holders=set(left.tars))
    names = FilesBelow(storage, folder)
    if left.begun:
        version.changed |= names.of_many()  # whatever was rewritten before the command was killed
    note(version, complete=False)
    for samples in (False, True):  # lists first
        for name in names:
            if ("/" in name or name.endswith(".tar")) is samples and (samples or name.endswith(OF_MANY)):
                amend_file(version, name)
    describe(version)
    _tell_table(store, version)
    note(version, complete=True)
    say(f"{folder}: {plural(len(left.keys), 'sample')}, {plural(len(version.changed), 'file')}")


def _tell_table(store: TableStore, version: AmendedVersion) -> None:
    """Commits the table of a version in force with the places that its samples have in the tars now, and with the files that are left."""
    asset, key, name = version.folder.split("/")
    header = store.usable_header(asset, key) if asset in EXPORTS else None
    if header is None or header.stats.get("version") != name:
        return
    files = files_now(store.storage, header)
    tars = {f"{version.folder}/{n}" for n in version.changed if n.endswith(".tar")}
    if not tars and files == dict(header.files):
        return
    placed = Placed(store.storage, asset, tars)
    with scratch_folder("takedown-") as scratch:
        local = Path(scratch) / "version.parquet"
        write_without(store, lambda rows: pa.repeat(False, rows.num_rows), asset, key, local, placed.rows)
        stats = {**header.stats, FILES: files}
        store.commit_file(asset, key, local, header.provenance, store.file_content_hash(asset, local), stats)
