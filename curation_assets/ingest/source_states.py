"""What the index in force has of each source's files, so that a source whose files are the same is not read again.

It lies in `dataset_index/sources.json`, bound to the content of the index: an index that something else has changed since (a takedown, a
renaming) has none. Files are told apart by ETag, locally by size, inode and the times of their last change, of which one (ctime) nobody
sets by hand. A file that changed within `RACY_S` before it was looked at counts as another at the next look, since a change within the same tick of the clock would not show.
Only lists are told so: where videos are files themselves, or a list names files, these are looked at each time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from curation_assets.ingest.dataset_index import INDEX_VERSION
from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.index_plan import IndexPlan
from curation_assets.ingest.sources import SourceError, lists_of
from curation_assets.recipes import Recipe
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS

PATH = "dataset_index/sources.json"
RACY_S = 2.0
KEPT = ("rows_read", "present", "listed", "removed", "rejected", "secrets", "contradictions", "forgotten", "identity")
"""What a plan still says if its source is left alone."""


def identity_of(recipe: Recipe, storage: Storage | None, forgotten: Forgotten) -> str | None:
    """What changes when a source may say something else: its files, how they are read, and what is left out of them. None if that cannot be told."""
    try:
        files = lists_of(recipe.source, storage)
    except SourceError:
        return None  # said when it is read
    said: list[Any] = [
        INDEX_VERSION,
        recipe.dataset,
        recipe.source.settled(),
        recipe.shard.model_dump(),
        forgotten.identity,
    ]
    for file in files:
        said.append([file.name, file.uri, file.size, file.etag])
        if isinstance(file.fs, LocalFileSystem):
            try:
                info = file.fs.info(file.path)
            except OSError:
                return None
            if time.time() - max(info["mtime"], info["created"]) < RACY_S:
                return None
            said.append([info["ino"], info["mtime"], info["created"]])
    return hashlib.sha256(canonical_json(said).encode()).hexdigest() if files else None


def read_states(storage: Storage, content_hash: str) -> dict[str, IndexPlan]:
    """Dataset -> what its plan said, of the index with this content."""
    try:
        found = json.loads(storage.read(PATH))
    except (*READ_ERRORS, ValueError):
        return {}
    if found.get("index") != content_hash:
        return {}
    return {name: IndexPlan(name, **said) for name, said in found["datasets"].items()}


def write_states(storage: Storage, content_hash: str, plans: Mapping[str, IndexPlan]) -> None:
    """Keeps what plans say of sources that can be left alone, if it is not kept already."""
    kept = {
        name: {field: value for field, value in dataclasses.asdict(plan).items() if field in KEPT}
        for name, plan in plans.items()
        if plan.identity is not None and plan.error is None and not plan.unsettled and not plan.names_files
    }
    text = json.dumps({"index": content_hash, "datasets": kept}, indent=1, sort_keys=True).encode()
    try:
        same = storage.read(PATH) == text
    except READ_ERRORS:
        same = False
    if not same:
        storage.write(PATH, text)
