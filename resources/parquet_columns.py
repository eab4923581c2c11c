"""Puts other values into some columns of a Parquet file, or other entries into its footer; all other pages are copied as they are, neither decoded nor compressed again.
The files that are written are sealed (`sealed_parquet.py`).

A Parquet file is a row of column chunks, and a footer that says where each begins. Numbers of fields are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, BinaryIO, Final

import pyarrow as pa

from curation_resources.compact_thrift import BINARY, I64, LIST, STRUCT, Reader, Struct, encoded, with_list
from curation_resources.sealed_parquet import MAGIC, Damaged, Sealing

ROW_GROUPS, KEY_VALUES = 4, 5
COLUMNS, TOTAL_BYTES, GROUP_ROWS, GROUP_OFFSET, GROUP_COMPRESSED = 1, 2, 3, 5, 6
FILE_OFFSET, META = 2, 3
INDEX_FIELDS: Final = (4, 5, 6, 7)
"""Of a column chunk: where its page indexes lie, which are not copied."""
PATH, PLAIN_BYTES, COMPRESSED, DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE = 3, 6, 7, 9, 10, 11
BLOOM_FIELDS: Final = (14, 15)
ARROW_SCHEMA: Final = b"ARROW:schema"
DEPTH: Final = 4
"""Of a row group its list of columns, of these their entries, and of these what they say of pages: of that, lists and structures are copied."""
COPIED_BYTES: Final = 1 << 20
"""Bytes that are copied at a time."""


@dataclass(frozen=True)
class _Chunk:
    """A column of a row group: its entry in the footer, and where its pages lie."""

    entry: Struct
    start: int
    length: int

    @property
    def column(self) -> str:
        return b".".join(Reader(self.entry[META][1][PATH][1]).value(LIST)[1]).decode()


class _Footer:
    """The footer of a file, whose row groups are read one after the other: of a large table they are many.

    Attributes:
        begin: where in the file it begins.
        size: number of row groups.
        groups: they themselves, once.
    """

    def __init__(self, file: BinaryIO) -> None:
        end = file.seek(0, 2)
        file.seek(max(0, end - 8))
        tail = file.read(8)
        if len(tail) < 8 or tail[4:] != MAGIC:
            raise Damaged("it is torn: its end is missing")
        length = struct.unpack("<I", tail[:4])[0]
        self.begin = end - 8 - length
        file.seek(self.begin)
        self._reader = Reader(file.read(length), DEPTH)
        self._before = self._reader.struct(until=ROW_GROUPS)
        _, self.size, self.groups = self._reader.items()

    def others(self) -> Struct:
        """All but the row groups, which have been read."""
        return self._before | self._reader.struct(after=ROW_GROUPS)


def _chunks(group: Struct) -> Iterator[_Chunk]:
    for entry in group[COLUMNS][1][1]:
        meta = entry[META][1]
        starts = [meta[f][1] for f in (DATA_PAGE, DICTIONARY_PAGE) if f in meta and meta[f][1]]
        yield _Chunk(entry, min(starts), meta[COMPRESSED][1])


def _moved(chunk: _Chunk, by: int) -> Struct:
    """The footer's entry of a chunk that lies elsewhere."""
    meta = {f: v for f, v in chunk.entry[META][1].items() if f not in BLOOM_FIELDS}
    for place in (DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE):
        if place in meta and meta[place][1]:
            meta[place] = (I64, meta[place][1] + by)
    entry = {f: v for f, v in chunk.entry.items() if f not in INDEX_FIELDS}
    if entry.get(FILE_OFFSET, (I64, 0))[1]:
        entry[FILE_OFFSET] = (I64, entry[FILE_OFFSET][1] + by)
    return {**entry, META: (STRUCT, meta)}


def with_columns(old: BinaryIO, new: BinaryIO, out: BinaryIO, metadata: Mapping[bytes, bytes]) -> None:
    """Writes a file that has the rows of `old` with the columns of `new` in place of its own of the same names.

    Args:
        old: a Parquet file, open for reading.
        new: another with as many rows in each row group, whose columns `old` has, of the same types.
        out: open for writing, empty.
        metadata: entries of the footer that are added, or take the place of those with the same key.

    Raises:
        ValueError: row groups or columns do not fit.
        Damaged: a file is torn.
    """
    footer, changes, sealing = _Footer(old), _Footer(new), Sealing(out)
    sealing.write(MAGIC)
    at, kept = len(MAGIC), bytearray()
    for group, change in zip_longest(footer.groups, changes.groups, fillvalue=Struct()):
        if group.get(GROUP_ROWS) != change.get(GROUP_ROWS):
            raise ValueError("the row groups of the columns are not those of the file")
        own = {c.column: c for c in _chunks(change)}
        begin, entries, plain = at, [], 0
        runs: list[tuple[BinaryIO, int, int]] = []  # columns that lie side by side are copied together
        for chunk, file in [(own.pop(c.column), new) if c.column in own else (c, old) for c in _chunks(group)]:
            if runs and runs[-1][0] is file and sum(runs[-1][1:]) == chunk.start:
                runs[-1] = (*runs[-1][:2], runs[-1][2] + chunk.length)
            else:
                runs.append((file, chunk.start, chunk.length))
            entries.append(_moved(chunk, at - chunk.start))
            at += chunk.length
            plain += chunk.entry[META][1][PLAIN_BYTES][1]
        for run in runs:
            _copy(*run, sealing)
        if own:
            raise ValueError(f"the file has no column {next(iter(own))}")
        group[COLUMNS] = (LIST, (STRUCT, entries))
        group[TOTAL_BYTES] = (I64, plain)
        group[GROUP_OFFSET], group[GROUP_COMPRESSED] = (I64, begin), (I64, at - begin)
        kept += encoded(group)
    _end(sealing, footer, bytes(kept), metadata)


def _copy(file: BinaryIO, start: int, length: int, out: Sealing) -> None:
    file.seek(start)
    while length:
        block = file.read(min(length, COPIED_BYTES))
        if not block:
            raise Damaged("it is torn: pages are missing")
        out.write(block)
        length -= len(block)


def with_metadata(old: BinaryIO, out: BinaryIO, metadata: Mapping[bytes, bytes]) -> None:
    """Writes a file with the bytes of `old` and other entries of the footer.

    Args:
        old: a Parquet file without a seal, open for reading.
        out, metadata: as `with_columns` has them.

    Raises:
        Damaged: the file is torn.
    """
    footer, groups, sealing = _Footer(old), bytearray(), Sealing(out)
    for group in footer.groups:
        groups += encoded(group)
    _copy(old, 0, footer.begin, sealing)
    _end(sealing, footer, bytes(groups), metadata)


def _end(out: Sealing, footer: _Footer, groups: bytes, metadata: Mapping[bytes, bytes]) -> None:
    """Writes a footer with the row groups, which are encoded, and with other entries."""
    others = footer.others()
    others[KEY_VALUES] = (LIST, (STRUCT, _entries(others, metadata)))
    out.end(with_list(others, ROW_GROUPS, (STRUCT, footer.size, groups)))


def _entries(footer: Struct, metadata: Mapping[bytes, bytes]) -> list[Any]:
    old = {e[1][1]: e.get(2, (BINARY, b""))[1] for e in (footer[KEY_VALUES][1][1] if KEY_VALUES in footer else [])}
    if ARROW_SCHEMA in old:
        old[ARROW_SCHEMA] = _told(old[ARROW_SCHEMA], metadata)
    return [{1: (BINARY, k), 2: (BINARY, v)} for k, v in {**old, **metadata}.items()]


def _told(schema: bytes, metadata: Mapping[bytes, bytes]) -> bytes:
    """Arrow's schema as a footer has it, with other entries: those of the footer stand in it too, and are read from there."""
    found = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema)))
    return base64.b64encode(found.with_metadata({**(found.metadata or {}), **metadata}).serialize())
