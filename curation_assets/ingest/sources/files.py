"""The files of a source: finding, opening, unpacking, and reading them line by line.

Everything goes through fsspec, so that a path may be local, `s3://`, `memory://` or any other URI. Files are read in the sorted
order of their names. A list that cannot be read to its end is a `SourceError`: were the rows behind the damage only left out, they
would be marked as removed and their media fetched again later.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from curation_assets.ingest.sources.rows import RejectedLine, RowError, SourceError, excerpt
from curation_assets.ingest.text_encodings import as_utf8
from curation_resources.storage import READ_ERRORS, Storage, etag_of, is_object_store, modified_of
from curation_resources.urls import redact, scheme_of

WITH_DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
MAX_LINE_BYTES = 32 << 20
"""Longest line that is read; a longer one is rejected without being held in memory."""
MAX_RECORD_LINES = 1000
"""Most lines that one quoted CSV record may span; beyond that its quote counts as never closed."""
BUFFER_BYTES = 1 << 20
_DECOMPRESSORS: Mapping[str, Callable[[Any], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda raw: pa.CompressedInputStream(pa.PythonFile(raw), "zstd"),
}
COMPRESSIONS = tuple(_DECOMPRESSORS)
_UNPACK_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowInvalid)


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
            raise SourceError(f"{self.name}: cannot be opened: {_sentence(error)}") from error


def _sentence(error: BaseException) -> str:
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
        raise SourceError(f"{name}: cannot be read: {_sentence(error)}") from error
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


class _Guarded(io.RawIOBase):
    """A stream whose errors become a `SourceError` that names the file.

    With one around the file and one around the decompressor, a failed read is not taken for damaged data.
    """

    def __init__(self, inner: Any, errors: tuple[type[Exception], ...], said: str, advice: str) -> None:
        self._inner, self._errors, self._said, self._advice = inner, errors, said, advice

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except self._errors as error:
            raise SourceError(f"{self._said}: {_sentence(error)}{self._advice}") from error
        buffer[: len(data)] = data
        return len(data)


def _damage_guard(stream: Any, name: str) -> BinaryIO:
    guarded = _Guarded(stream, _UNPACK_ERRORS, f"{name}: damaged or cut off", "; get the file again")
    return cast(BinaryIO, io.BufferedReader(guarded, BUFFER_BYTES))


@contextmanager
def unpacked(file: SourceFile) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed by the ending of its name; text in UTF-16 with a mark comes as UTF-8.

    Raises:
        SourceError: it cannot be opened, or, while it is read, is damaged or cannot be read.
    """
    with file.open() as inner:
        raw = io.BufferedReader(_Guarded(inner, (OSError,), f"{file.name}: cannot be read", ""), BUFFER_BYTES)
        ending = next((c for c in COMPRESSIONS if file.path.endswith(c)), None)
        plain = _damage_guard(_DECOMPRESSORS[ending](raw), file.name) if ending else cast(BinaryIO, raw)
        yield as_utf8(plain, file.name, SourceError)


def raw_lines(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes] | RejectedLine]:
    """(number from 1, bytes with the line's end) of each line, a leading byte order mark taken off."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) <= MAX_LINE_BYTES:
            yield number, line
            continue
        rejected = RejectedLine(source, number, excerpt(line), f"longer than {MAX_LINE_BYTES >> 20} MiB")
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        yield rejected


def lines(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes] | RejectedLine]:
    """(number from 1, bytes without the line's end) of each line that is not blank."""
    for item in raw_lines(stream, source):
        if isinstance(item, RejectedLine):
            yield item
        elif line := item[1].strip():
            yield item[0], line


def text_files(file: SourceFile, ending: str) -> Iterator[tuple[str, BinaryIO]]:
    """(name, bytes) of a file, or of each member of a zip whose name ends with `ending`, in sorted order.

    Raises:
        SourceError: the file or zip is damaged, or the zip has no such member.
    """
    if not file.path.endswith(".zip"):
        with unpacked(file) as stream:
            yield file.name, stream
        return
    with file.open() as inner:
        try:
            with zipfile.ZipFile(inner) as archive:
                members = sorted(n for n in archive.namelist() if n.endswith(ending) and not n.startswith("__MACOSX/"))
                if not members:
                    raise SourceError(f"{file.name}: the zip holds no {ending} file")
                for member in members:
                    with archive.open(member) as stream:
                        name = f"{file.name}::{member}"
                        yield name, as_utf8(_damage_guard(stream, name), name, SourceError)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise SourceError(f"{file.name}: damaged or cut off: {_sentence(error)}; get the file again") from error


class _Unclosed(Exception):
    """A quoted field that goes on for too many lines."""


class _Feed:
    """The lines that a CSV reader is fed, remembering those of the record that it is in."""

    def __init__(self, source: Iterator[tuple[int, bytes] | RejectedLine]) -> None:
        self._source = source
        self._again: deque[tuple[int, bytes]] = deque()
        self.rejected: list[RejectedLine] = []
        self.start()

    def start(self) -> None:
        """Forgets the lines of the last record."""
        self.taken: list[tuple[int, bytes]] = []
        self.ended = False
        self.bad_byte: int | None = None

    def retry(self) -> None:
        """Gives back all lines of the record but the first."""
        self._again.extendleft(reversed(self.taken[1:]))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == MAX_RECORD_LINES:
            raise _Unclosed
        try:
            item = self._again.popleft() if self._again else next(self._source)
            while isinstance(item, RejectedLine):
                self.rejected.append(item)
                item = next(self._source)
        except StopIteration:
            self.ended = True
            raise
        self.taken.append(item)
        try:
            return item[1].decode("utf-8")
        except UnicodeDecodeError as error:
            self.bad_byte = error.start + 1
            return item[1].decode("utf-8", "replace")


def csv_records(stream: BinaryIO, source: str, delimiter: str) -> Iterator[tuple[int, list[str], bytes] | RejectedLine]:
    """(number of its first line from 1, fields, text) of each record that is not blank.

    Quoted fields may hold delimiters and line ends. A quote that is never closed costs its own line only: text right behind the
    quote that seems to close it shows that it opens another field.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    feed = _Feed(raw_lines(stream, source))
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.start()
        problem, fields = None, None
        try:
            fields = next(reader)
        except StopIteration:
            yield from feed.rejected
            return
        except _Unclosed:
            problem = "a quote is never closed"
        except csv.Error as error:
            if len(feed.taken) > 1 or feed.ended:
                problem = "a quote is never closed"
            else:
                problem, fields = _lenient(feed.taken[0][1], delimiter, error)
                reader = csv.reader(feed, delimiter=delimiter, strict=True)
        yield from feed.rejected
        feed.rejected.clear()
        number, text = feed.taken[0]
        if problem:
            yield RejectedLine(source, number, excerpt(text), problem)
            feed.retry()
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
        elif feed.bad_byte is not None:
            yield RejectedLine(source, number, excerpt(text), f"not UTF-8 at byte {feed.bad_byte} of a line")
        elif fields and (len(fields) > 1 or fields[0].strip()):
            yield number, fields, text if len(feed.taken) == 1 else b"".join(line for _, line in feed.taken)


def _lenient(line: bytes, delimiter: str, error: csv.Error) -> tuple[str | None, list[str] | None]:
    """(problem, fields) of a line with text behind a closing quote, which is taken as it stands; `error` if that fails too."""
    try:
        return None, next(csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter))
    except csv.Error:
        lone = b"\r" in line.rstrip(b"\r\n")
        return "a carriage return alone in a line; lines must end with a line feed" if lone else str(error), None


def reject(source: str, line: int, text: str | bytes, error: RowError | ValueError) -> RejectedLine:
    """The rejected row of an error."""
    return RejectedLine(source, line, excerpt(text), str(error))
