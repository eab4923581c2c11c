"""The heads of an asset's tables, column by column, and the file in which they are kept on this machine.

Half a million tables are 100 MB as columns, and several times as much as objects. What belongs here: how heads are held and kept. What does not:
when a table is read again (`heads.py`), and what follows from its head (`staleness.py`).
"""

from __future__ import annotations

import json
import os
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_resources.provenance import Provenance
from curation_resources.table_headers import TableHeader

FORMAT = b"8"
"""Raised when other facts are kept, or what was kept cannot be relied on; what an older format kept is forgotten."""
NOT_KEPT = Provenance("")
Texts = NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Head:
    """What staleness asks of a table.

    Attributes:
        tag: what changes when the file does; empty if that could not be told for certain, so that it is read again.
        rows, fingerprint, content_hash: as in its header; 0 and empty if the file is no table.
        stats: the stats that are kept, JSON, of assets for which they decide whether a table is retried; else empty.
        media: own tar -> bytes that it must have at least, JSON; empty if the table names none.
    """

    tag: str
    rows: int
    fingerprint: str
    content_hash: str
    stats: str = ""
    media: str = ""

    def header(self, asset: str, partition: str) -> TableHeader:
        """The header as far as it is kept: without what the table was made from."""
        stats = json.loads(self.stats) if self.stats else {}
        return TableHeader(asset, partition, self.rows, NOT_KEPT, self.fingerprint, self.content_hash, stats)


@dataclass(frozen=True, eq=False)
class Words(Sequence[str]):
    """Texts of which many are equal: each is held once.

    Attributes:
        each: the texts that there are, each once or more.
        numbers: of each place, which of them.
    """

    each: list[str]
    numbers: NDArray[np.int32]

    @staticmethod
    def of(values: Sequence[str]) -> Words:
        place: dict[str, int] = {}
        numbers = np.array([place.setdefault(v, len(place)) for v in values], np.int32)
        return Words(list(place), numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, at: Any) -> Any:
        return [self.each[n] for n in self.numbers[at]] if isinstance(at, slice) else self.each[self.numbers[at]]

    def taken(self, at: NDArray[np.int64]) -> Words:
        """Those at some places."""
        return Words(self.each, self.numbers[at])

    def then(self, more: Words) -> Words:
        """These, and others after them."""
        return Words(self.each + more.each, np.concatenate((self.numbers, more.numbers + np.int32(len(self.each)))))

    def column(self) -> pa.Array:
        """As they are kept: those that are used."""
        used, numbers = np.unique(self.numbers, return_inverse=True)
        values = pa.array([self.each[n] for n in used.tolist()], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), values)

    @staticmethod
    def of_column(column: pa.ChunkedArray) -> Words:
        """What `column` gave."""
        whole = _whole(column)
        return Words(whole.dictionary.to_pylist(), whole.indices.to_numpy())


@dataclass(frozen=True, eq=False)
class HeadColumns(Mapping[str, Head]):
    """Partition -> head of one asset, sorted by partition.

    Attributes:
        names: the partitions, sorted.
        tags, fingerprints, contents: of each; the latter are its content hash.
        rows: of each.
        stats, media: of each.
    """

    names: list[str]
    tags: Texts
    fingerprints: Texts
    contents: Texts
    rows: NDArray[np.int64]
    stats: Words
    media: Words

    @staticmethod
    def of(items: Mapping[str, Head]) -> HeadColumns:
        """Those of some heads."""
        names = sorted(items)
        heads = [items[n] for n in names]
        return HeadColumns(
            names,
            texts([h.tag for h in heads]),
            texts([h.fingerprint for h in heads]),
            texts([h.content_hash for h in heads]),
            np.array([h.rows for h in heads], np.int64),
            Words.of([h.stats for h in heads]),
            Words.of([h.media for h in heads]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._at(name) is not None

    def __getitem__(self, name: str) -> Head:
        at = self._at(name)
        if at is None:
            raise KeyError(name)
        return self.head(at)

    def _at(self, name: str) -> int | None:
        at = bisect_left(self.names, name)
        return at if at < len(self.names) and self.names[at] == name else None

    def head(self, at: int) -> Head:
        """The head at a place."""
        return Head(
            self.tags[at].decode(),
            int(self.rows[at]),
            self.fingerprints[at].decode(),
            self.contents[at].decode(),
            self.stats[at],
            self.media[at],
        )

    def places(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Where each of some partitions is; -1 where it is not."""
        if names is self.names or names == self.names:
            return np.arange(len(names))
        where = {n: i for i, n in enumerate(self.names)}
        return np.array([where.get(n, -1) for n in names], np.int64)

    def changed(self, names: list[str], tags: Texts) -> HeadColumns:
        """These, with the heads of some partitions only: those of `names` whose tag is still that of `tags` and says something."""
        places = self.places(names)
        same = places >= 0
        same[same] = (self.tags[places[same]] == tags[same]) & (tags[same] != b"")
        if same.all() and len(names) == len(self.names):
            return self if names is self.names else replace(self, names=names)
        return self._taken(places[same])

    def _taken(self, at: NDArray[np.int64]) -> HeadColumns:
        return HeadColumns(
            [self.names[i] for i in at.tolist()],
            self.tags[at],
            self.fingerprints[at],
            self.contents[at],
            self.rows[at],
            self.stats.taken(at),
            self.media.taken(at),
        )

    def with_heads(self, more: Mapping[str, Head]) -> HeadColumns:
        """These and others, which are new or take the place of those of the same partition."""
        if not more:
            return self
        own = self._taken(np.array([i for i, n in enumerate(self.names) if n not in more], np.int64))
        added = HeadColumns.of(more)
        both = HeadColumns(
            own.names + added.names,
            np.concatenate((own.tags, added.tags)),
            np.concatenate((own.fingerprints, added.fingerprints)),
            np.concatenate((own.contents, added.contents)),
            np.concatenate((own.rows, added.rows)),
            own.stats.then(added.stats),
            own.media.then(added.media),
        )
        return both._taken(np.array(sorted(range(len(both.names)), key=both.names.__getitem__), np.int64))

    def table(self) -> pa.Table:
        """As they are kept."""
        return pa.table(
            {
                "partition": pa.array(self.names, pa.string()),
                "tag": _column(self.tags),
                "rows": self.rows,
                "fingerprint": _column(self.fingerprints),
                "content_hash": _column(self.contents),
                "stats": self.stats.column(),
                "media": self.media.column(),
            }
        )

    @staticmethod
    def of_table(table: pa.Table) -> HeadColumns:
        """What `table` gave."""
        tags, fingerprints, contents = (_texts(table[n]) for n in ("tag", "fingerprint", "content_hash"))
        stats, media = (Words.of_column(table[n]) for n in ("stats", "media"))
        return HeadColumns(
            table["partition"].to_pylist(), tags, fingerprints, contents, table["rows"].to_numpy(), stats, media
        )


def texts(values: Sequence[str]) -> Texts:
    """ASCII texts as an array that compares fast."""
    return np.array(values, "S") if values else np.empty(0, "S1")


def strings(values: Texts) -> list[str]:
    """The texts of an array. Those of one length, as hashes are, are cut out of one text."""
    width = values.dtype.itemsize
    whole = np.ascontiguousarray(values).tobytes().decode("ascii")
    if "\0" in whole:
        return [str(v) for v in values.astype("U").tolist()]
    return [whole[at : at + width] for at in range(0, len(whole), width)]


def _column(values: Texts) -> pa.Array:
    """Texts of one width, padded with zero bytes, as numpy has them."""
    kept = np.ascontiguousarray(values)
    form = pa.binary(kept.dtype.itemsize)
    return pa.Array.from_buffers(form, len(kept), [None, pa.py_buffer(kept.view(np.uint8))])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; that of a file is one already, and is not copied."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _texts(column: pa.ChunkedArray) -> Texts:
    whole = _whole(column)
    width = whole.type.byte_width
    return np.frombuffer(whole.buffers()[1], f"S{width}")[whole.offset : whole.offset + len(whole)]


def keep(file: Path, table: pa.Table) -> bool:
    """Puts a table into a file of this machine; False where there is no room for it."""
    scratch = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with (
            pa.OSFile(str(scratch), "wb") as sink,
            pa.ipc.new_file(sink, table.schema.with_metadata({"format": FORMAT})) as out,
        ):
            out.write_table(table)
        os.replace(scratch, file)
    except OSError:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        return False
    return True


def kept(file: Path) -> pa.Table | None:
    """What `keep` put into a file; None if there is none, or it cannot be read."""
    try:
        with pa.OSFile(str(file), "rb") as source:
            table = pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid):
        return None
    return table if (table.schema.metadata or {}).get(b"format") == FORMAT else None
