"""Files of the index of duplicates: written with their hashes, and read only if their bytes are those that were written.

A shard has one file of *blocks*, each an Arrow stream that can be read by itself, and at its end a directory that says where each block lies and
what its bytes sum to. The manifest holds the hash of each directory (of other files, that of all bytes) and ends with one of itself.
What belongs here: bytes. What does not: what the index says (`index`, `parts`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import pyarrow as pa

from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage

MANIFEST: Final = "manifest.json"
SEAL: Final = "seal"
"""Key of the manifest under which the hash of the rest of it is."""

_TAIL: Final = 8
"""Bytes at the end of a file of blocks that say how long the directory before them is."""


class DamagedIndex(ValueError):
    """A file of the index is gone, or its bytes are not those that were written; it is made again from `clip_fingerprints`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def _sum(data: Any) -> str:
    from curation_assets.dedup.sums import sum_of

    return sum_of(data)


def _hash(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _bytes(storage: Storage, path: str) -> pa.Buffer:
    """All bytes of a file; locally they stay in the file until they are used."""
    if not storage.is_local:
        return pa.py_buffer(storage.read(path))
    with pa.memory_map(storage.filesystem(path)[1]) as file:
        return file.read_buffer()


def write_table(storage: Storage, path: str, table: pa.Table) -> str:
    """Writes a table and returns the hash of its file."""
    with storage.publish(path) as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        file.seek(0)
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()  # type: ignore[arg-type]


def read_table(storage: Storage, path: str, digest: str | None) -> pa.Table:
    """A table; locally its columns stay in the file until they are used.

    Args:
        digest: of `write_table`; None is not checked.

    Raises:
        DamagedIndex: see there.
    """
    try:
        data = _bytes(storage, path)
        if digest is not None and _hash(data) != digest:
            raise DamagedIndex(f"{path}: its bytes are not those that were written", path)
        return pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except FileNotFoundError as error:
        raise DamagedIndex(f"{path} is gone", path) from error
    except pa.ArrowInvalid as error:
        raise DamagedIndex(f"{path} cannot be read: {error}", path) from error


def write_blocks(storage: Storage, path: str, blocks: Sequence[tuple[str, pa.Table]]) -> str:
    """Writes tables one after the other, under names of which one may come several times, and returns the hash of the directory."""
    directory: list[dict[str, Any]] = []
    with storage.publish(path) as file:
        offset = 0
        for name, table in blocks:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            data = sink.getvalue()
            file.write(data)
            directory.append({"name": name, "offset": offset, "size": data.size, "rows": len(table), "sum": _sum(data)})
            offset += data.size
        end = canonical_json(directory).encode()
        file.write(end)
        file.write(len(end).to_bytes(_TAIL, "little"))
    return _hash(end)


@dataclass(frozen=True)
class Blocks:
    """A file of blocks.

    Attributes:
        storage, path: where it is.
        directory: of each block name, offset, size, rows and sum (that of an earlier release has a hash instead).
        sound: offsets of local blocks that were read and found sound, which are not summed again.
    """

    storage: Storage
    path: str
    directory: Sequence[Mapping[str, Any]]
    sound: set[int] = field(default_factory=set, compare=False)

    @cached_property
    def _named(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        named: dict[str, list[Mapping[str, Any]]] = {}
        for entry in self.directory:
            named.setdefault(entry["name"], []).append(entry)
        return named

    @cached_property
    def _place(self) -> str:
        return _place(self.storage, self.path)

    def rows(self, name: str) -> list[int]:
        """Numbers of rows of the blocks of a name."""
        return [int(entry["rows"]) for entry in self._named.get(name, ())]

    def read(self, name: str, number: int = 0) -> pa.Table:
        """A block.

        Raises:
            DamagedIndex: its bytes are not those that were written.
        """
        entry = self._named[name][number]
        data = _part(self.storage, self._place, int(entry["offset"]), int(entry["size"]))
        if int(entry["offset"]) not in self.sound:
            if _sum(data) != entry["sum"] if "sum" in entry else _hash(data) != entry["hash"]:
                raise DamagedIndex(f"{self.path}: its bytes are not those that were written", self.path)
            if self.storage.is_local:
                self.sound.add(int(entry["offset"]))
        return pa.ipc.open_stream(pa.BufferReader(data)).read_all()

    def check(self) -> None:
        """Reads all blocks.

        Raises:
            DamagedIndex: see `read`.
        """
        for name, entries in self._named.items():
            for number in range(len(entries)):
                self.read(name, number)


def _place(storage: Storage, path: str) -> str:
    """Of a local file its path on this machine, which takes longer to work out than a block to read."""
    return storage.filesystem(path)[1] if storage.is_local else path


def _part(storage: Storage, place: str, offset: int, size: int) -> pa.Buffer:
    """Some bytes of a file, which lies at `_place`."""
    if storage.is_local:
        with pa.memory_map(place) as mapped:
            mapped.seek(offset)
            return mapped.read_buffer(size)
    with storage.open(place) as file:
        file.seek(offset)
        return pa.py_buffer(file.read(size))


def open_blocks(storage: Storage, path: str, digest: str | None) -> Blocks:
    """A file of blocks; only its directory is read.

    Args:
        digest: of `write_blocks`; None is not checked.

    Raises:
        DamagedIndex: it is gone, or its directory is not what was written.
    """
    try:
        size, place = storage.size(path), _place(storage, path)
        length = int.from_bytes(_part(storage, place, max(0, size - _TAIL), _TAIL).to_pybytes(), "little")
        if not 0 <= length <= size - _TAIL:
            raise DamagedIndex(f"{path}: its bytes are not those that were written", path)
        end = _part(storage, place, size - _TAIL - length, length).to_pybytes()
        if digest is not None and _hash(end) != digest:
            raise DamagedIndex(f"{path}: its bytes are not those that were written", path)
        return Blocks(storage, path, json.loads(end))
    except FileNotFoundError as error:
        raise DamagedIndex(f"{path} is gone", path) from error
    except ValueError as error:
        if isinstance(error, DamagedIndex):
            raise
        raise DamagedIndex(f"{path} cannot be read: {error}", path) from error


def check_file(storage: Storage, path: str, digest: str | None) -> None:
    """Reads a file of the index to its end.

    Raises:
        DamagedIndex: its bytes are not those that were written.
    """
    if path.endswith(".blocks"):
        open_blocks(storage, path, digest).check()
    elif path.endswith(".arrays"):
        from curation_assets.dedup.arrays import open_arrays

        open_arrays(storage, path, str(digest)).check()
    else:
        read_table(storage, path, digest)


def write_manifest(storage: Storage, folder: str, document: Mapping[str, Any]) -> None:
    sealed = {**document, SEAL: _hash(canonical_json(document).encode())}
    storage.write(f"{folder}/{MANIFEST}", json.dumps(sealed, indent=1).encode())


def read_manifest(storage: Storage, folder: str) -> dict[str, Any] | None:
    """The manifest without its seal; None if there is no index.

    Raises:
        DamagedIndex: it is not what was written.
    """
    path = f"{folder}/{MANIFEST}"
    try:
        document = json.loads(storage.read(path))
        seal = document.pop(SEAL, None)
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError) as error:
        raise DamagedIndex(f"{path} cannot be read: {error}", path) from error
    if seal is not None and seal != _hash(canonical_json(document).encode()):
        raise DamagedIndex(f"{path}: its bytes are not those that were written", path)
    return dict(document)


def is_whole(storage: Storage, folder: str) -> bool:
    """Whether there is an index whose manifest can be read; its other files are not looked at."""
    try:
        return read_manifest(storage, folder) is not None
    except DamagedIndex:
        return False


def files_of(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """(path below the folder, hash if it is known) of the files that a manifest names."""
    for entry in manifest["shards"].values():
        yield entry["file"], entry.get("hash")
    yield manifest["matches"], manifest.get("matches_hash")
    chosen = manifest.get("chosen") or {}
    older = [chosen] if "file" in chosen else []
    more = [*manifest.get("segments", ()), *older, *chosen.get("blocks", ())]
    for entry in more + ([manifest["common"]] if manifest.get("common") else []):
        yield entry["file"], entry["hash"]
