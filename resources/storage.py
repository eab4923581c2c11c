"""Where tables and media lie: a root folder, bucket prefix or any other fsspec URI, and bytes within it.

What belongs here: reading, writing and addressing bytes. What does not: what the bytes mean (`tables.py`, `tars.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from curation_resources.file_facts import etag_of, is_object_store, is_uri, modified_of
from curation_resources.media import MediaRef, open_media, read_range
from curation_resources.owners import identity
from curation_resources.replace import ANY, Expected, check, local_tag, replace_local, stat_tag, sync_folder
from curation_resources.s3_objects import list_s3, read_s3, s3_tag, tail_s3
from curation_resources.s3_uploads import S3Upload, put_s3
from curation_resources.scratch import scratch_file
from curation_resources.storage_check import check_root
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.unwritable import gone, making, writing

TEMPORARY = ".tmp"
"""Folder below a local root in which files lie until they are complete, so that no reader of any folder ever meets one."""
LOCK = ".runs/lock"
PROBE = ".runs/probe"
_LOCAL = LocalFileSystem()


def _make_folder(fs: fsspec.AbstractFileSystem, name: str) -> None:
    """The folder above `name`, where folders are something: object stores have none, and s3fs would create a whole bucket."""
    if not is_object_store(fs):
        fs.makedirs(fs._parent(name), exist_ok=True)


@dataclass
class _Draft:
    """A file that is being written, and the tag that it has once it is published."""

    file: BinaryIO
    tag: str = ""


@dataclass
class Storage:
    """A root and the bytes below it. Cheap to pickle: worker processes open their own connections.

    Args:
        root: folder or fsspec URI (`./data`, `s3://bucket/prefix`, `memory://x`).
        options: what fsspec is handed to open the root's file system (endpoint, keys); URIs of the same scheme share them.
        others: scheme -> the same for URIs of another scheme than the root's, such as sources in a bucket.
    """

    root: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if "://" not in self.root:
            self.root = os.path.abspath(os.path.expanduser(self.root))
        self.root = self.root.rstrip("/") or "/"
        self._seen = False

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "options": self.options, "others": self.others, "_seen": self._seen}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def scheme(self) -> str:
        return self.root.split("://")[0] if "://" in self.root else "file"

    @property
    def is_local(self) -> bool:
        return self.scheme == "file"

    def uri(self, path: str) -> str:
        """The absolute path or URI of `path`, which is relative to the root or absolute already."""
        return path if is_uri(path) else f"{self.root}/{path}"

    def check(self, writing: bool = True) -> None:
        """Asks whether the root can be reached, and if `writing` written, as far as that can be told without writing.

        Raises:
            StorageError: one sentence that names the root, what is wrong with it and what to set.
        """
        check_root(self, writing)

    def filesystem(self, path: str = "") -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system of `path` and the path as that file system wants it."""
        uri = self.uri(path) if path else self.root
        scheme = uri.split("://")[0] if "://" in uri else "file"
        options = self.options if scheme == self.scheme else self.others.get(scheme, {})
        if scheme == "file" and not options and "::" not in uri:  # as fsspec has it, in a tenth of the time
            return _LOCAL, _LOCAL._strip_protocol(uri)
        return cast("tuple[fsspec.AbstractFileSystem, str]", fsspec.core.url_to_fs(uri, **options))

    def exists(self, path: str) -> bool:
        fs, name = self.filesystem(path)
        return bool(fs.exists(name))

    def size(self, path: str) -> int:
        fs, name = self.filesystem(path)
        return int(fs.size(name))

    def etag(self, path: str) -> str:
        """What changes when the file at `path` changes: its ETag where the storage has one, else size and modification time."""
        fs, name = self.filesystem(path)
        info = (
            fs.info(name, refresh=True)
            if not isinstance(fs, LocalFileSystem) and "s3" in str(fs.protocol)
            else fs.info(name)
        )
        return etag_of(info)

    def tag(self, path: str) -> str | None:
        """What changes when a file is replaced, and `replace` compares: None if there is none."""
        fs, name = self.filesystem(path)
        if isinstance(fs, LocalFileSystem):
            return local_tag(name)
        if "s3" in str(fs.protocol):
            return s3_tag(fs, name)
        try:
            return etag_of(fs.info(name))
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted; empty if there is no such folder."""
        return sorted(self.entries(folder))

    def entries(self, folder: str) -> dict[str, tuple[int, float]]:
        """Name -> (size, time of modification) of the files directly in `folder`; empty if there is no such folder."""
        fs, name = self.filesystem(folder)
        if isinstance(fs, LocalFileSystem):
            found = {}
            try:
                with os.scandir(name) as entries:
                    for entry in entries:
                        with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                            if entry.is_file():
                                found[entry.name] = (entry.stat().st_size, entry.stat().st_mtime)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            return found
        if "s3" in str(fs.protocol):
            return {n: (int(e["Size"]), e["LastModified"].timestamp()) for n, e in list_s3(fs, name)[0].items()}
        try:
            listed = fs.ls(name, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {
            e["name"].rsplit("/", 1)[-1]: (int(e["size"]), modified_of(e))
            for e in listed
            if e["type"] == "file" and e["name"].rstrip("/") != name.rstrip("/")
        }

    def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly in `folder`, sorted; empty if there is no such folder."""
        fs, name = self.filesystem(folder)
        if "s3" in str(fs.protocol):
            return tuple(sorted(list_s3(fs, name)[1]))
        try:
            listed = fs.ls(name, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in listed if e["type"] == "directory"))

    def open(self, path: str, mode: str = "rb") -> BinaryIO:
        """Opens `path`; writing makes the folders above it, and is not atomic locally (see `write` and `publish`). On S3 the object is there
        once the file is closed."""
        fs, name = self.filesystem(path)
        if "w" in mode:
            if "s3" in str(fs.protocol):
                return cast(BinaryIO, S3Upload(fs, name))
            with self.writing(path):
                if self.is_local and Path(name).is_relative_to(self.root):
                    self._make_root(Path(self.root))
                _make_folder(fs, name)
                return cast(BinaryIO, fs.open(name, mode))
        return cast(BinaryIO, fs.open(name, mode))

    def writing(self, path: str) -> AbstractContextManager[None]:
        """A block in which a root that takes nothing more is said in one sentence, as `Unwritable`."""
        return writing(self.root, path)

    def read(self, path: str) -> bytes:
        fs, name = self.filesystem(path)
        return read_s3(fs, name) if "s3" in str(fs.protocol) else cast(bytes, fs.cat_file(name))

    def tail(self, path: str, size: int) -> tuple[bytes, int, str | None]:
        """(the last `size` bytes of a file, or all if it has fewer; how many it has; its tag), on S3 with one request.

        Raises:
            FileNotFoundError: there is no such file.
        """
        fs, name = self.filesystem(path)
        if "s3" in str(fs.protocol):
            return tail_s3(fs, name, size)
        tag = self.tag(path)
        with self.open(path) as file:
            if isinstance(fs, LocalFileSystem):
                tag = stat_tag(os.fstat(file.fileno()))
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(0, whole - size))
            return file.read(), whole, tag

    def write(self, path: str, data: bytes) -> None:
        """Puts `data` at `path` atomically: a reader sees the old bytes or the new ones, also after a crash."""
        with self.publish(path) as file:
            file.write(data)

    @contextmanager
    def publish(self, path: str) -> Iterator[BinaryIO]:
        """A binary file that appears at `path` when the block ends without error, and not at all otherwise.

        Locally: a temporary file in the root's `TEMPORARY`, flushed to disk and renamed. Elsewhere: a local temporary file, then one
        upload, which object stores make visible at once.
        """
        with self._draft(path) as draft:
            yield draft.file

    def replace(self, path: str, write: Callable[[BinaryIO], None], expected: Expected = ANY) -> str:
        """Publishes what `write` writes to a file, if what lies at `path` is as expected, and returns its tag (see `tag`).

        Raises:
            Superseded: something else is there by now; it is left as it is.
        """
        with self._draft(path, expected) as draft:
            write(draft.file)
        return draft.tag

    @contextmanager
    def _draft(self, path: str, expected: Expected = ANY) -> Iterator[_Draft]:
        fs, name = self.filesystem(path)
        if isinstance(fs, LocalFileSystem):
            with self.writing(path):
                yield from self._local_draft(Path(name), expected)
            return
        with scratch_file() as file:
            draft = _Draft(file)
            yield draft
            file.flush()
            file.seek(0)
            if "s3" in str(fs.protocol):
                draft.tag = put_s3(fs, name, file, expected, self.filesystem(PROBE)[1])
                return
            check(path, expected, self.tag(path))
            _make_folder(fs, name)
            fs.put_file(file.name, name)
            draft.tag = self.tag(path) or ""

    def _local_draft(self, target: Path, expected: Expected) -> Iterator[_Draft]:
        scratch = self._temporary(target)
        try:
            with open(scratch, "w+b") as file:
                draft = _Draft(cast(BinaryIO, file))
                yield draft
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = Path(self.root) / LOCK
            if expected is not ANY:
                lock.parent.mkdir(exist_ok=True)
            draft.tag = replace_local(scratch, target, expected, lock)
        finally:
            scratch.unlink(missing_ok=True)

    def _temporary(self, target: Path) -> Path:
        """Where a file lies until it is complete: in the root's folder for it if `target` lies below the root, else beside it."""
        name = f"{identity()}-{uuid.uuid4().hex[:12]}"
        root = Path(self.root)
        if not self.is_local or not target.is_relative_to(root):
            target.parent.mkdir(parents=True, exist_ok=True)
            return target.parent / f".{target.name}.{name}.tmp"
        folder = root / TEMPORARY
        self._make_root(folder)
        return folder / name

    def _make_root(self, folder: Path) -> None:
        """Makes a folder of a local root, and the root too unless this object has seen one there: it went away, and a new one would be in
        its place when it comes back.

        Raises:
            Unwritable: the root was there before and is gone, or it cannot be made.
        """
        root = Path(self.root)
        if root.is_dir():
            self._seen = True
        elif self._seen:
            raise gone(self.root)
        else:
            with making(self.root):
                root.mkdir(parents=True, exist_ok=True)
            self._seen = True
        folder.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, folder: str) -> None:
        """Makes the names of the files in a folder durable, as far as that is asked of a file system."""
        fs, name = self.filesystem(folder)
        if isinstance(fs, LocalFileSystem) and os.path.isdir(name):
            sync_folder(name)

    def publish_file(self, local: str | Path, path: str) -> None:
        """Puts a finished local file at `path` atomically."""
        with open(local, "rb") as source, self.publish(path) as target:
            while block := source.read(8 << 20):
                target.write(block)

    def remove(self, path: str) -> None:
        """Removes a file; one that is not there is no error."""
        fs, name = self.filesystem(path)
        try:
            fs.rm_file(name)
        except FileNotFoundError:
            return

    def find(self, folder: str) -> dict[str, int]:
        """Path -> size of all files below a folder; paths are relative to the root."""
        fs, name = self.filesystem(folder)
        if "s3" in str(fs.protocol):
            listed, _ = list_s3(fs, name, deep=True)
            return {f"{folder}/{n}".lstrip("/"): int(e["Size"]) for n, e in listed.items()}
        root = self.filesystem()[1].rstrip("/")
        found = fs.find(name, detail=True)
        return {n[len(root) + 1 :]: int(e["size"]) for n, e in found.items() if e["type"] == "file"}

    def remove_tree(self, folder: str) -> None:
        """Removes a folder of the root and all that is in it."""
        fs, name = self.filesystem(folder)
        if isinstance(fs, LocalFileSystem):
            shutil.rmtree(name, ignore_errors=True)
        else:
            self.remove_all(sorted(self.find(folder)))

    def remove_all(self, paths: Sequence[str]) -> None:
        """Removes files of the root, on S3 a thousand with one request; those that are not there are no error."""
        fs, _ = self.filesystem()
        if "s3" not in str(fs.protocol):
            for path in paths:
                self.remove(path)
            return
        for start in range(0, len(paths), 1000):
            split = [fs.split_path(self.filesystem(p)[1]) for p in paths[start : start + 1000]]
            keys = [{"Key": key} for _, key, _ in split]
            answer = fs.call_s3("delete_objects", Bucket=split[0][0], Delete={"Objects": keys, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise OSError(f"{first['Key']} could not be removed: {first.get('Message') or first.get('Code')}")

    def open_media(self, ref: MediaRef) -> BinaryIO:
        """A seekable stream of exactly the referenced bytes.

        Local files are read in place; remote ones are fetched once, into memory up to `SPOOL_BYTES`, beyond that into a temporary
        file, because demuxers seek a lot.

        Raises:
            MediaChanged: the file is not the one that was registered.
            StorageError: it is gone, or shorter than the reference says.
        """
        return open_media(self, ref)

    def read_media(self, ref: MediaRef) -> bytes:
        """The referenced bytes; a range of a local file with one call, of an object of a store with one request.

        Raises:
            MediaChanged, StorageError: as `open_media`.
        """
        fs, name = self.filesystem(ref.tar)
        if ref.etag is None and ref.offset is not None and ref.size:
            with contextlib.suppress(*READ_ERRORS):  # what is wrong with it is said below
                data = read_range(fs, name, ref.offset, ref.size)
                if data is not None:
                    return data
        with self.open_media(ref) as stream:
            return stream.read()
