"""The sizes of files as listings give them, sixteen bytes a file: for versions whose samples are files, where one dictionary of all paths would not fit.

What belongs here: whether named files are there. What does not: which files a table names (`table_headers.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt
from fsspec.implementations.local import LocalFileSystem

from curation_resources.growing_array import GrowingArray
from curation_resources.s3_objects import pages_s3
from curation_resources.storage import Storage

PART = 1 << 16
"""Files that are noted at a time."""


@dataclass
class NamedFiles:
    """What became of the files that a table names.

    Attributes:
        count: how many it names.
        lost: those that are gone or cut short, path -> bytes that it must have.
        named: those of the folder that was listed before.
    """

    count: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)


class ListedFiles:
    """Sizes of files; each folder is listed once, when a file of it is first asked for.

    Files are told apart by the hash that Python gives their names, 64 bits with a seed of this process: of ten million in a folder, two have the same with a
    chance of three in a million.

    Args:
        storage: where they lie.

    Attributes:
        folders: those that were listed, with the hashes of the names in order and the sizes.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.folders: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}

    def know(self, folder: str, files: Mapping[str, int]) -> None:
        """Takes what was listed of a folder already: path -> size."""
        self.folders[folder] = _in_order((path.rpartition("/")[2], size) for path, size in files.items())

    def look(self, named: Iterable[Mapping[str, int]], of_folder: Mapping[str, int]) -> NamedFiles:
        """Looks for files that are named part by part, path -> bytes that each must have at least.

        Args:
            of_folder: those of which is told whether they are named.
        """
        found, names = NamedFiles(), GrowingArray(np.int64)
        for part in named:
            paths = list(part)
            names.add(np.fromiter(map(hash, paths), np.int64, len(paths)))
            found.named.update(of_folder.keys() & part.keys())
            ends = np.fromiter(part.values(), np.int64, len(paths))
            for at in np.flatnonzero(self.sizes(paths) < ends).tolist():
                found.lost[paths[at]] = max(int(ends[at]), found.lost.get(paths[at], 0))
        found.count = len(np.unique(names.whole()))
        return found

    def sizes(self, paths: Sequence[str]) -> npt.NDArray[np.int64]:
        """int64 (n,): the bytes of each file, -1 where there is none."""
        found = np.full(len(paths), -1, np.int64)
        places: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            places.setdefault(path.rpartition("/")[0], []).append(at)
        for folder, mine in places.items():
            if folder not in self.folders:
                self.folders[folder] = _in_order(sizes_in(self._storage, folder))
            names, sizes = self.folders[folder]
            if len(names):
                wanted = np.fromiter((hash(paths[n].rpartition("/")[2]) for n in mine), np.int64, len(mine))
                there = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
                found[mine] = np.where(names[there] == wanted, sizes[there], -1)
        return found


def sizes_in(storage: Storage, folder: str) -> Iterator[tuple[str, int]]:
    """(name, size) of the files directly in a folder, one by one where the store gives them so."""
    fs, name = storage.filesystem(folder)
    if isinstance(fs, LocalFileSystem):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(name) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    if entry.is_file():
                        yield entry.name, entry.stat().st_size
    elif "s3" in str(fs.protocol):
        for objects, _ in pages_s3(fs, name):
            yield from ((n, int(e["Size"])) for n, e in objects.items())
    else:
        yield from ((n, size) for n, (size, _) in storage.entries(folder).items())


def _in_order(files: Iterable[tuple[str, int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The hashes of names, in order, and the sizes of the files."""
    names, sizes, left = GrowingArray(np.int64), GrowingArray(np.int64), iter(files)
    for part in iter(lambda: list(islice(left, PART)), []):
        names.add(np.fromiter((hash(name) for name, _ in part), np.int64, len(part)))
        sizes.add(np.fromiter((size for _, size in part), np.int64, len(part)))
    order = np.argsort(names.whole(), kind="stable")
    return names.whole()[order], sizes.whole()[order]
