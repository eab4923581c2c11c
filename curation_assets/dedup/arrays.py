"""Files of arrays of which stretches are read, each checked as it is read: the columns of the index that grow with all clips.

An array lies as it is in memory, in pieces of a mebibyte with a sum each, so that a stretch is read and checked without the rest. A local file stays mapped no longer than
the array that was read is used.

What belongs here: bytes and their sums. What does not: what the arrays are (`segments`, `common`).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import U64
from curation_assets.dedup.index_files import DamagedIndex
from curation_assets.dedup.sums import WORD, sums
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage

PIECE: Final = 1 << 20
"""Bytes with one sum."""

_TAIL: Final = 8


def _hash(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def write_arrays(storage: Storage, path: str, arrays: Mapping[str, Sequence[NDArray[Any]]], about: Any = None) -> str:
    """Writes arrays and returns the hash of their directory, by which they are opened.

    Args:
        arrays: of each, by its name, the parts of which it is made, one after the other; one at least.
        about: what else is to be known of them, as JSON has it.
    """
    directory: dict[str, Any] = {}
    found: list[U64] = []
    offset = first = 0
    with storage.publish(path) as file:
        for name, parts in arrays.items():
            whole = np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))
            data = np.zeros(-(-whole.nbytes // WORD), np.uint64)
            data.view(np.uint8)[: whole.nbytes] = whole.reshape(-1).view(np.uint8)
            file.write(data.data.cast("B"))
            directory[name] = {"type": whole.dtype.str, "length": len(whole), "offset": offset, "first": first}
            found.append(sums(data, PIECE // WORD))
            offset, first = offset + data.nbytes, first + len(found[-1])
        all_sums = np.concatenate([*found, np.empty(0, np.uint64)]).tobytes()
        file.write(all_sums)
        document = {"arrays": directory, "sums": offset, "count": first, "hash": _hash(all_sums), "about": about}
        end = canonical_json(document).encode()
        file.write(end)
        file.write(len(end).to_bytes(_TAIL, "little"))
    return _hash(end)


@dataclass(frozen=True)
class Arrays:
    """A file of arrays.

    Attributes:
        storage, path: where it is.
        document: its directory.
    """

    storage: Storage
    path: str
    document: Mapping[str, Any]

    @property
    def about(self) -> Any:
        return self.document["about"]

    @property
    def names(self) -> Sequence[str]:
        return list(self.document["arrays"])

    def length(self, name: str) -> int:
        return int(self.document["arrays"][name]["length"])

    @cached_property
    def _sums(self) -> U64:
        data = _bytes(self.storage, self.path, int(self.document["sums"]), WORD * int(self.document["count"]))
        if _hash(data) != self.document["hash"]:
            raise _damaged(self.path)
        return data.view(np.uint64)

    def read(self, name: str, low: int = 0, high: int | None = None) -> NDArray[Any]:
        """The stretch [low, high) of an array, which may not be written to.

        Raises:
            DamagedIndex: the file is gone, or its bytes are not those that were written.
        """
        entry = self.document["arrays"][name]
        kind = np.dtype(entry["type"])
        high = int(entry["length"]) if high is None else high
        if high <= low:
            return np.empty(0, kind)
        size = -(-int(entry["length"]) * kind.itemsize // WORD) * WORD
        begin = low * kind.itemsize // PIECE * PIECE
        end = min(size, -(-high * kind.itemsize // PIECE) * PIECE)
        data = _bytes(self.storage, self.path, int(entry["offset"]) + begin, end - begin)
        first = int(entry["first"]) + begin // PIECE
        got = sums(data.view(np.uint64), PIECE // WORD)
        if not np.array_equal(got, self._sums[first : first + len(got)]):
            raise _damaged(self.path)
        return data[low * kind.itemsize - begin : high * kind.itemsize - begin].view(kind)

    def pick(self, name: str, places: NDArray[np.int64]) -> NDArray[Any]:
        """Some values of an array, of which only the pieces are read that have them.

        Raises:
            DamagedIndex: see `read`.
        """
        kind = np.dtype(self.document["arrays"][name]["type"])
        out = np.empty(len(places), kind)
        piece = places * kind.itemsize // PIECE
        for k in np.unique(piece).tolist():
            mine = np.flatnonzero(piece == k)
            low, high = int(places[mine].min()), int(places[mine].max()) + 1
            out[mine] = self.read(name, low, high)[places[mine] - low]
        return out

    def check(self) -> None:
        """Reads all of it, a stretch at a time.

        Raises:
            DamagedIndex: see `read`.
        """
        for name, entry in self.document["arrays"].items():
            step = 64 * PIECE // np.dtype(entry["type"]).itemsize
            for low in range(0, int(entry["length"]), step):
                self.read(name, low, min(low + step, int(entry["length"])))


def _damaged(path: str) -> DamagedIndex:
    return DamagedIndex(f"{path}: its bytes are not those that were written", path)


def _bytes(storage: Storage, path: str, offset: int, size: int) -> NDArray[np.uint8]:
    """Bytes of a file; locally they lie in the file as long as they are used."""
    try:
        if not storage.is_local:
            with storage.open(path) as stream:
                stream.seek(offset)
                data = np.frombuffer(stream.read(size), np.uint8)
        elif size:
            before = offset % mmap.ALLOCATIONGRANULARITY
            with open(storage.filesystem(path)[1], "rb") as file:
                if os.fstat(file.fileno()).st_size < offset + size:
                    raise _damaged(path)
                begin, flags = offset - before, mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
                mapped = mmap.mmap(file.fileno(), before + size, flags, mmap.PROT_READ, offset=begin)
            data = np.frombuffer(mapped, np.uint8, size, before)
        else:
            data = np.empty(0, np.uint8)
    except FileNotFoundError as error:
        raise DamagedIndex(f"{path} is gone", path) from error
    if len(data) != size:
        raise _damaged(path)
    return data


def open_arrays(storage: Storage, path: str, digest: str) -> Arrays:
    """A file of arrays; only its directory is read.

    Args:
        digest: of `write_arrays`.

    Raises:
        DamagedIndex: it is gone, or its directory is not what was written.
    """
    try:
        size = storage.size(path)
    except FileNotFoundError as error:
        raise DamagedIndex(f"{path} is gone", path) from error
    length = int.from_bytes(_bytes(storage, path, max(0, size - _TAIL), min(_TAIL, size)).tobytes(), "little")
    if not 0 <= length <= size - _TAIL:
        raise _damaged(path)
    end = _bytes(storage, path, size - _TAIL - length, length).tobytes()
    if _hash(end) != digest:
        raise _damaged(path)
    return Arrays(storage, path, json.loads(end))
