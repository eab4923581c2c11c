"""The files of a source: finding and opening them. Reading lists line by line is the business of `file_reading.py`.

Everything goes through fsspec, so that a path may be local, `s3://`, `memory://` or any other URI. Files are read in the sorted
order of their names. A list that cannot be read to its end is a `SourceError`: were the rows behind the damage only left out, they
would be marked as removed and their media fetched again later.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from curation_assets.ingest.sources.rows import SourceError
from curation_resources.file_facts import etag_of, is_object_store, modified_of
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.urls import redact, scheme_of

WITH_DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
DECOMPRESSORS: Mapping[str, Callable[[Any], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda raw: pa.CompressedInputStream(pa.PythonFile(raw), "zstd"),
}
"""Ending of a packed file -> what reads its bytes."""
COMPRESSIONS = tuple(DECOMPRESSORS)


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Attributes:
        name: how it is called in tables and messages: as in the recipe, without credentials.
        uri: absolute path or URI, for references from tables.
        path: the path as its file system wants it.
        relative: path relative to the folder that the recipe names; begins with that folder where it names several.
        size: bytes.
        etag: what changes when the file does, as `Storage.etag` says.
        modified: when it was last changed, seconds since the epoch; 0 where that is not known, or says nothing because the store
            shows objects only when they are whole.
    """

    fs: fsspec.AbstractFileSystem
    name: str
    uri: str
    path: str
    relative: str
    size: int
    etag: str
    modified: float = 0.0

    def open(self, **options: Any) -> BinaryIO:
        """The file's bytes, seekable.

        Raises:
            SourceError: it is not there or may not be read.
        """
        try:
            return cast(BinaryIO, self.fs.open(self.path, "rb", **options))
        except READ_ERRORS as error:
            raise SourceError(f"{self.name}: cannot be opened: {sentence_of(error)}") from error


def sentence_of(error: BaseException) -> str:
    """What an error says, in as few words as it has."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def expand_user(path: str) -> str:
    """`path` with `~` and environment variables put in; `${NAME:-default}` has what to take where NAME is not set, as in a shell."""
    filled = WITH_DEFAULT.sub(lambda found: os.environ.get(found[1]) or found[2], path)
    return os.path.expandvars(os.path.expanduser(filled))


def correct_path(path: str) -> str:
    """What to do about an expanded path that leads nowhere, for messages: variables that are not set still stand in it."""
    unset = [name for pair in VARIABLE.findall(path) for name in pair if name and name not in os.environ]
    if not unset:
        return "correct `source.path` of the recipe"
    return f"set the environment variable {unset[0]}, which `source.path` of the recipe names, or correct the path"


def over_network(paths: Iterable[str]) -> bool:
    """Whether any of a recipe's paths leads away from this machine, so that others may have written what the list names."""
    schemes = (scheme_of(expand_user(path).rpartition("::")[2]) for path in paths)
    return any(scheme not in ("", "file", "local", "memory") for scheme in schemes)


def filesystem(path: str, storage: Storage | None) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a path of a recipe, with the storage's credentials where they apply, and the path as it wants it."""
    if "://" not in path:
        path = os.path.abspath(path)
    opened = storage.filesystem(path) if storage else fsspec.core.url_to_fs(path)
    return cast("tuple[fsspec.AbstractFileSystem, str]", opened)


def find_files(paths: Iterable[str], endings: Iterable[str], storage: Storage | None = None) -> list[SourceFile]:
    """The files that a recipe's paths name, once each, sorted by name.

    Args:
        paths: files, globs, folders or URIs. Of a folder, the files directly in it with one of `endings` are taken.
        endings: file name endings; compressed files (`.jsonl.gz`) count with what they hold.

    Raises:
        SourceError: a file is missing, or a glob or folder holds nothing.
    """
    files: dict[str, SourceFile] = {}
    several = len(given := list(paths)) > 1
    for path in given:
        for file in _expand(expand_user(path), tuple(endings), storage, several):
            files.setdefault(file.uri, file)
    return sorted(files.values(), key=lambda f: f.name)


def _expand(given: str, endings: tuple[str, ...], storage: Storage | None, several: bool) -> Iterator[SourceFile]:
    name = redact(given)
    fs, path = filesystem(given, storage)
    try:
        fs.invalidate_cache()
        if fs.isfile(path):
            yield source_file(fs, fs.info(path), given, fs._parent(path), several)
            return
        if fs.isdir(path):
            listing = entries(fs, path)
            found = [e for e in listing if e["type"] == "file" and base_name(e["name"]).endswith(endings)]
            nothing = f"the folder holds no {' or '.join(endings)} file"
        elif is_glob(path):
            found = [e for e in glob_entries(fs, path) if e["type"] == "file"]
            nothing = "no file matches"
        else:
            raise SourceError(f"{name}: no such file; {correct_path(given)}")
        root = fixed_part(path)
        if not found:
            raise SourceError(f"{name}: {nothing}; {correct_path(given)}")
    except READ_ERRORS as error:
        raise SourceError(f"{name}: cannot be read: {sentence_of(error)}") from error
    for entry in found:
        yield source_file(fs, entry, given, root, several)


def entries(fs: fsspec.AbstractFileSystem, folder: str) -> list[dict[str, Any]]:
    """Listing entries of a folder; a link is what it leads to, of the type `nowhere` if that is not there.

    fsspec calls links of a local listing `other`, and gives their own times.
    """
    found = []
    for entry in fs.ls(folder, detail=True):
        if entry.get("islink"):
            try:
                entry = fs.info(entry["name"])
            except OSError:
                entry = {**entry, "type": "nowhere"}
        found.append(entry)
    return found


def glob_entries(fs: fsspec.AbstractFileSystem, pattern: str) -> list[dict[str, Any]]:
    """Listing entries of what a pattern names, sorted; locally through links to folders too, no folder within itself."""
    if not isinstance(fs, LocalFileSystem):
        return sorted(fs.glob(pattern, detail=True).values(), key=lambda e: str(e["name"]))
    matches = re.compile(glob_translate(pattern)).match
    depth = None if "**" in pattern else pattern.count("/")
    found = []
    pending = [(fixed_part(pattern) or "/", frozenset[str]())]
    while pending:
        folder, above = pending.pop()
        real = os.path.realpath(folder)
        if real in above or not os.path.isdir(folder):
            continue
        for entry in entries(fs, folder):
            name = str(entry["name"])
            if matches(name):
                found.append(entry)
            if entry["type"] == "directory" and (depth is None or name.count("/") < depth):
                pending.append((name, above | {real}))
    return sorted(found, key=lambda e: str(e["name"]))


def base_name(path: str) -> str:
    """File name without folders and without the ending of a compression."""
    name = path.rsplit("/", 1)[-1]
    return name.removesuffix(next((c for c in COMPRESSIONS if name.endswith(c)), ""))


def is_glob(path: str) -> bool:
    """Whether `path` has a wildcard."""
    return re.search(r"[*?\[]", path) is not None


def fixed_part(path: str) -> str:
    """The folder above the first part of `path` that has a wildcard; all of it if none has."""
    parts = path.split("/")
    fixed = next((i for i, part in enumerate(parts) if is_glob(part)), len(parts))
    return "/".join(parts[:fixed])


def source_file(
    fs: fsspec.AbstractFileSystem, info: Mapping[str, Any], given: str, root: str, several: bool = False
) -> SourceFile:
    """A file from an entry of a listing of `given`, below the folder `root`; `several`: among other paths of the recipe."""
    path = str(info["name"])
    if isinstance(fs, LocalFileSystem):
        uri = path
        as_given = os.path.isabs(given) or "://" in given
        name, folder = (path, root) if as_given else (os.path.relpath(path), os.path.relpath(root))
    else:
        uri = fs.unstrip_protocol(path)
        name, folder = redact(uri), redact(fs.unstrip_protocol(root))
    relative = path.removeprefix(root).lstrip("/")
    if several:
        relative = f"{folder.rstrip('/')}/{relative}"
    size, modified = int(info.get("size") or 0), 0.0 if is_object_store(fs) else modified_of(info)
    return SourceFile(fs, _printable(name), uri, path, _printable(relative), size, etag_of(info), modified)


def _printable(name: str) -> str:
    """A file name whose bytes are not UTF-8, as text."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
