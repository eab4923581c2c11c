"""Files of the index of duplicates: written with their hashes, and read only if their bytes are those that were written.

The manifest holds the hash of each other file and ends with one of itself. Indexes of earlier versions have none, and are read as they
are. What belongs here: bytes. What does not: what the index says (`dedup/index.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa

from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage

MANIFEST: Final = "manifest.json"
SEAL: Final = "seal"
"""Key of the manifest under which the hash of the rest of it is."""


class DamagedIndex(ValueError):
    """A file of the index is gone, or its bytes are not those that were written; it is made again from `clip_fingerprints`."""


def _hash(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


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
        if storage.is_local:
            with pa.memory_map(storage.filesystem(path)[1]) as file:
                data = file.read_buffer()
        else:
            data = pa.py_buffer(storage.read(path))
        if digest is not None and _hash(data) != digest:
            raise DamagedIndex(f"{path}: its bytes are not those that were written")
        return pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except FileNotFoundError as error:
        raise DamagedIndex(f"{path} is gone") from error
    except pa.ArrowInvalid as error:
        raise DamagedIndex(f"{path} cannot be read: {error}") from error


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
        raise DamagedIndex(f"{path} cannot be read: {error}") from error
    if seal is not None and seal != _hash(canonical_json(document).encode()):
        raise DamagedIndex(f"{path}: its bytes are not those that were written")
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
