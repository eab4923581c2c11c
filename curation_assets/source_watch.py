"""Looking at the sources of recipes a page at a time: which files there are, and whether they stand still.

A look goes through all files that count for a source, in a fixed order, and sums a hash of each name and tag; the sum says whether
anything is new, changed or removed without a list of the files. A look that is too long for one page goes on where it stopped.
Files that may still be being written are left out of the sum (`Settling`), so that they neither hold up the others nor are taken with them.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import fsspec
from fsspec.implementations.local import LocalFileSystem

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources import acav, hdvila, ids, table, webdataset
from curation_assets.ingest.sources.files import base_name, expand_user, filesystem, fixed_part, is_glob
from curation_assets.ingest.sources.media import SIDECARS
from curation_assets.ingest.sources.settling import Settling
from curation_assets.recipes import Recipe
from curation_resources.file_facts import etag_of, is_object_store, modified_of
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage

Entry: TypeAlias = tuple[str, str, float]
"""Path as its file system has it, what changes when the file does, and when it was last changed, as `SourceFile.modified`."""
RESTLESS = 20
"""A source that has changed in so many looks in a row is taken as it stands, lest a steady stream of files is never indexed."""
PAGE = 1000
"""Keys of one listing request to S3."""


@dataclass(frozen=True)
class SourceWatch:
    """What is known of one source.

    Attributes:
        taken: digest of the source when it was last indexed; empty if never.
        last: digest of the last complete look.
        restless: how many complete looks in a row have found something else than the one before.
        root: position of the look under way: number of the path in the recipe.
        after: position: the last path that was seen below it.
        entries, sum: settled files seen in the look under way, and the sum of their hashes.
        young: files seen in it that may still be being written.
        unsettled: how many there were in the last complete look.
    """

    taken: str = ""
    last: str = ""
    restless: int = 0
    root: int = 0
    after: str = ""
    entries: int = 0
    sum: str = "0"
    young: int = 0
    unsettled: int = 0

    def saved(self) -> dict[str, Any]:
        """As JSON, without what is at its default."""
        return {k: v for k, v in asdict(self).items() if v != getattr(SourceWatch, k)}

    @property
    def pending(self) -> bool:
        """Whether the last look found something that has not been indexed."""
        return self.last != self.taken

    @property
    def due(self) -> bool:
        """Whether that counts: two looks in a row found the same, or it has changed for too long."""
        return self.pending and (self.restless == 0 or self.restless >= RESTLESS)


@dataclass
class Page:
    """How many more entries may be looked at."""

    left: int


def look(recipe: Recipe, watch: SourceWatch, storage: Storage, page: Page, now: float) -> tuple[SourceWatch, bool]:
    """Goes on with the look at a recipe's source, at the time `now`, until it is complete or the page is used up.

    Returns:
        What is known now, and whether the look is complete.

    Raises:
        OSError, BotoCoreError: a file or folder of the source cannot be listed; see `curation_resources.storage_errors.READ_ERRORS`.
    """
    paths = sorted({*recipe.source.path, *(recipe.source.captions.path if recipe.source.captions else ())})
    total = int(watch.sum, 16)
    settling = Settling(now, recipe.source.settle_s)
    while watch.root < len(paths):
        for path, tag, modified in _entries(recipe.source, paths[watch.root], watch.after, storage):
            if page.left == 0:
                return replace(watch, sum=f"{total:x}"), False
            page.left -= 1
            settled = settling.settled(modified)
            if tag and settled:
                digest = hashlib.blake2b(f"{path}\0{tag}".encode(errors="surrogateescape"), digest_size=16).digest()
                total = (total + int.from_bytes(digest, "big")) % (1 << 128)
            watch = replace(
                watch,
                after=path,
                entries=watch.entries + bool(tag and settled),
                young=watch.young + bool(tag and not settled),
            )
        watch = replace(watch, root=watch.root + 1, after="")
    source = canonical_json([recipe.source.settled(), recipe.shard.model_dump()])
    found = hashlib.sha256(f"{source}\n{watch.entries}\n{total:x}".encode()).hexdigest()[:32]
    restless = 0 if found == watch.last else watch.restless + 1
    return SourceWatch(taken=watch.taken, last=found, restless=restless, unsettled=watch.young), True


def _entries(source: Source, given: str, after: str, storage: Storage) -> Iterator[Entry]:
    """The entries that one path of a source names, in order, from behind `after` on; the tag of one that does not count is empty."""
    fs, path = filesystem(expand_user(given), storage)
    path = path.rstrip("/")
    root = fixed_part(path)
    if isinstance(fs, LocalFileSystem):
        if not os.path.exists(root):
            raise FileNotFoundError(f"{given}: no such file or folder")
        walked = _walk_local(root, after)
    elif "s3" in str(fs.protocol):
        walked = _walk_s3(fs, path, after)
    else:
        walked = _walk_any(fs, root, after)
    matches = _Matches(source, path, is_glob(path))
    for name, tag, modified in walked:
        yield name, tag if matches(name) else "", modified


class _Matches:
    """Whether a file counts for a source: as its adapter finds files, apart from what only opening them tells."""

    def __init__(self, source: Source, path: str, glob: bool) -> None:
        self._path, self._parts, self._glob = path, path.count("/") + 1, glob
        self._recursive = source.format == "folder"
        self._endings = _endings(source)

    def __call__(self, name: str) -> bool:
        if name == self._path:
            return True
        within = self._within(name)
        if within is None or any(part.startswith(".") for part in within.split("/")):
            return False
        if not self._recursive and self._glob:
            return within == ""
        return (self._recursive or "/" not in within) and base_name(name).lower().endswith(self._endings)

    def _within(self, name: str) -> str | None:
        """The part of `name` below what the path names; None if it does not name it."""
        if not self._glob:
            return name[len(self._path) + 1 :] if name.startswith(f"{self._path}/") else None
        if "**" in self._path:
            return name.rsplit("/", 1)[-1] if fnmatch.fnmatchcase(name, self._path) else None
        parts = name.split("/")
        pattern = self._path.split("/")
        if len(parts) < self._parts or not all(map(fnmatch.fnmatchcase, parts, pattern)):
            return None
        return "/".join(parts[self._parts :])


def _endings(source: Source) -> tuple[str, ...]:
    if source.format == "folder":
        return tuple(f".{e.lower().lstrip('.')}" for e in (*source.extensions, *sorted(SIDECARS)))
    brought = source.chosen()
    if brought is not None:
        return tuple(getattr(brought[0], "endings", ("",)))
    modules = {"acav": acav, "hdvila": hdvila, "ids": ids, "table": table, "webdataset": webdataset}
    return tuple(modules[source.format].LIST_ENDINGS)


def _walk_local(root: str, after: str) -> Iterator[Entry]:
    """Files below a folder in the order of their path's parts; links to folders are followed, but no folder within itself."""
    if os.path.isfile(root):
        if not after:
            yield root, *_stat(root)
        return
    skip = Path(after).relative_to(root).parts if after else ()
    yield from _walk_folder(root, skip, frozenset())


def _walk_folder(folder: str, skip: tuple[str, ...], above: frozenset[str]) -> Iterator[Entry]:
    real = os.path.realpath(folder)
    if real in above:
        return
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") or (skip and name < skip[0]):
            continue
        path = f"{folder}/{name}"
        at = bool(skip) and name == skip[0]
        if os.path.isdir(path):
            yield from _walk_folder(path, skip[1:] if at else (), above | {real})
        elif not at and (found := _stat(path))[0]:
            yield path, *found


def _stat(path: str) -> tuple[str, float]:
    """What changes when the file does, and when it last did; nothing of one that is gone."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "", 0.0
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "", 0.0
        raise
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}", found.st_mtime


def _walk_s3(fs: Any, path: str, after: str) -> Iterator[Entry]:
    """Objects at, below or like a path in key order, listed from behind `after` on, a request per page."""
    bucket, _, key = path.partition("/")
    prefix = re.split(r"[*?\[]", key, maxsplit=1)[0]
    if prefix == key and key:
        first = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        prefix = key if first and first[0]["Key"] == key else f"{key}/"
    start = after.partition("/")[2]
    while True:
        reply = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, StartAfter=start, MaxKeys=PAGE)
        contents = reply.get("Contents", [])
        if not contents and not start:
            raise FileNotFoundError(f"s3://{path}: nothing there")
        for entry in contents:
            if not entry["Key"].endswith("/") and (prefix != key or entry["Key"] == key):
                yield f"{bucket}/{entry['Key']}", etag_of({**entry, "size": entry["Size"]}), 0.0
        if not reply.get("IsTruncated"):
            return
        start = contents[-1]["Key"]


def _walk_any(fs: fsspec.AbstractFileSystem, root: str, after: str) -> Iterator[Entry]:
    """Files of any other file system, which lists all of them at once."""
    fs.invalidate_cache()
    found: Mapping[str, Any] = {root: fs.info(root)} if fs.isfile(root) else fs.find(root, detail=True)
    if not found:
        raise FileNotFoundError(f"{root}: nothing there")
    for name in sorted(found):
        if name > after:
            yield name, etag_of(found[name]), 0.0 if is_object_store(fs) else modified_of(found[name])
