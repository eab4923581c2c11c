"""Published versions without the samples of the videos that are taken down.

A version is amended where it lies and keeps its name, in all versions of all subsets: its tars and lists are replaced, each atomically, by ones
without the samples; README.md and croissant.json say what is left; `removed.json` says how many samples went and when, with a SHA-256 of each
sample's key, by which whoever holds a copy finds what to delete and nobody else learns what was taken down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation_assets.publish.curating.moved_sources import SOURCES, said_of_sources
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.recipes import Recipe
from curation_assets.registry import EXPORTS, JUDGED
from curation_assets.takedown.amended_card import describe
from curation_assets.takedown.amended_files import amend_file
from curation_assets.takedown.large_tables import rows_of, write_without
from curation_assets.takedown.placed_samples import Placed, SamplesLeft
from curation_assets.takedown.plan import Say, TakedownPlan, pattern
from curation_assets.takedown.tables import Done, subset_provenance
from curation_assets.takedown.told_samples import ToldSamples, VideoLicences
from curation_assets.takedown.version_samples import (
    REMOVED,
    AmendedVersion,
    FilesBelow,
    Licences,
    key_hash,
    keys_in,
    subfolders,
)
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.table_headers import FILES, TableHeader
from curation_resources.tables import TableStore
from curation_resources.words import plural

WITH_VERSIONS = (*EXPORTS, *JUDGED.values())
"""Tables in whose folders versions may lie."""


def samples_in_versions(
    store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan
) -> Iterator[tuple[str, int]]:
    """Folder of each version, in force or older, that holds samples of the videos, and how many."""
    storage, told = store.storage, _told(store, recipes, plan, dict)
    for asset in WITH_VERSIONS:
        for key in subfolders(storage, asset):
            for name in subfolders(storage, f"{asset}/{key}"):
                folder = f"{asset}/{key}/{name}"
                version = AmendedVersion(storage, folder, plan, dict, told=told.get(folder))
                if name != "pieces" and (keys := set(keys_in(version, FilesBelow(storage, folder)))):
                    yield folder, len(keys)


def forget_in_exports(store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan, say: Say) -> Done:
    """Amends all versions, and the tables that name their samples. What is done already is left as it is."""
    licences = lru_cache(maxsize=1)(lambda: VideoLicences(store))
    told = _told(store, recipes, plan, licences)
    done: Done = []
    for asset in WITH_VERSIONS:
        for key in subfolders(store.storage, asset):
            folder = f"{asset}/{key}"
            for name in subfolders(store.storage, folder):
                if name == "pieces":
                    _clear_pieces(store.storage, f"{folder}/{name}", say)
                else:
                    path = f"{folder}/{name}"
                    amend_version(store.storage, path, plan, licences, say, told.get(path))
        if asset in EXPORTS:
            for key in store.partitions(asset):
                done += _table(store, recipes, plan, asset, key, say)
    return done


def _told(
    store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan, licences: Callable[[], Licences]
) -> dict[str, ToldSamples]:
    """Folder of each version in force -> what its table says of its samples; versions whose amending was begun are left out, since some of their tars
    are others already."""
    found = {}
    for asset in EXPORTS:
        for key in store.partitions(asset):
            header = store.usable_header(asset, key)
            if header is not None and header.stats.get("version"):
                told = ToldSamples(store, recipes, plan, header, licences)
                if not _unfinished(store.storage, told.folder):
                    found[told.folder] = told
    return found


def _clear_pieces(storage: Storage, folder: str, say: Say) -> None:
    """What a run that did not end has cut already is cut again by the next: pieces hold clips of any of the subset's videos."""
    names = storage.list(folder)
    for name in sorted(names, key=lambda n: (not n.endswith(".parquet"), n)):
        storage.remove(f"{folder}/{name}")
    if names:
        say(f"{folder}: {plural(len(names), 'file')} of a run that had not ended")


def amend_version(
    storage: Storage,
    folder: str,
    plan: TakedownPlan,
    licences: Callable[[], Licences],
    say: Say,
    told: ToldSamples | None = None,
) -> AmendedVersion:
    """Removes the samples of the videos from a version and says so in it. Which tars hold them is taken from tables where these have `told`."""
    unfinished = _unfinished(storage, folder)
    begun = frozenset(_noted(storage, folder)) if unfinished else frozenset[str]()
    version = AmendedVersion(storage, folder, plan, licences, told=told, begun=begun)
    names = FilesBelow(storage, folder)
    version.keys = set(keys_in(version, names))
    if not version.keys and not unfinished:
        return version
    if unfinished:
        version.changed |= names.of_many()  # whatever was rewritten before the run was killed
    if version.keys:
        note(version, complete=False)
    for name in names:
        if name in ("README.md", "croissant.json", REMOVED):
            continue
        amend_file(version, name)
    describe(version)
    note(version, complete=True)
    say(
        f"{folder}: {plural(len(version.keys), 'sample')}, {plural(len(version.changed), 'file')}"
        + "".join(f"; cannot rewrite {n}" for n in version.unknown)
    )
    return version


def _unfinished(storage: Storage, folder: str) -> bool:
    path = f"{folder}/{REMOVED}"
    return storage.exists(path) and not json.loads(storage.read(path))["complete"]


def _noted(storage: Storage, folder: str) -> Iterator[str]:
    """SHA-256 of each key that `removed.json` has."""
    for entry in json.loads(storage.read(f"{folder}/{REMOVED}"))["removed"]:
        yield from entry["sha256_of_keys"]


def note(version: AmendedVersion, complete: bool) -> None:
    """`removed.json`: written before anything is removed, and marked complete at the end."""
    path = f"{version.folder}/{REMOVED}"
    said: dict[str, Any] = {"complete": False, "removed": []}
    if version.storage.exists(path):
        said = json.loads(version.storage.read(path))
    known = {d for entry in said["removed"] for d in entry["sha256_of_keys"]}
    new = sorted(set(map(key_hash, version.keys)) - known)
    if new:
        said["removed"].append(
            {"since": datetime.now(UTC).date().isoformat(), "samples": len(new), "sha256_of_keys": new}
        )
    said["complete"] = complete
    version.storage.write(path, (json.dumps(said, indent=1) + "\n").encode())


def files_now(storage: Storage, header: TableHeader) -> dict[str, int]:
    """Those of the files of a version that are there, and their sizes."""
    return {path: storage.size(path) for path in header.files if storage.exists(path)}


def _amended_unsaid(store: TableStore, header: TableHeader) -> set[str]:
    """Files of the version in force that are others than its table says, which was to be told by what removed samples of earlier takedowns and was killed before."""
    folder = f"{store.folder(header.asset, header.partition)}/{header.stats.get('version')}"
    if not store.storage.exists(f"{folder}/{REMOVED}"):
        return set()
    there = store.files(header.asset, header.partition)
    return {path for path, size in header.files.items() if there.get(path) != size}


def _table(
    store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan, asset: str, key: str, say: Say
) -> Done:
    """The table of an export without the rows of the videos, its samples where they lie in the amended tars now."""
    header = store.header(asset, key)
    assert header is not None
    places = [f"{of}tar" for of in ("", "audio_")]
    theirs = rows_of(store, plan.of, asset, key, places)
    number = theirs.num_rows
    provenance = subset_provenance(store, recipes, plan, asset, key, header)
    other = _amended_unsaid(store, header)
    if not number and not other and provenance.fingerprint == header.fingerprint:
        return []
    tars = {t for n in places if n in theirs.column_names for t in theirs[n].drop_null().unique().to_pylist()} | other
    placed, counted = Placed(store.storage, asset, tars), SamplesLeft()
    with scratch_folder("takedown-") as scratch:
        local = Path(scratch) / "version.parquet"
        write_without(store, plan.of, asset, key, local, lambda rows: counted.of(placed.rows(rows)))
        stats, fresh = dict(header.stats), counted.stats(header.rows - number)
        stats |= {k: v for k, v in fresh.items() if k in stats}
        if isinstance(stats.get("rows_in"), int):
            stats["rows_in"] -= number
        leaks = stats.get("leaks")
        if isinstance(leaks, dict) and "where" in leaks:
            stats["leaks"] = {**leaks, "where": [w for w in leaks["where"] if not pattern(plan, True).search(w)]}
        if SOURCES in stats and (asset, key) in plan.fresh:
            stats[SOURCES] = said_of_sources(store, recipes, Selection.of(store, recipes, key), provenance.inputs)
        stats[FILES] = files_now(store.storage, header)
        digest = store.file_content_hash(asset, local)
        store.commit_file(asset, key, local, provenance, digest, stats)
    if number:
        say(f"{asset} of {key}: {plural(number, 'row')}")
    return [(asset, key)]
