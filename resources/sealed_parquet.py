"""Parquet files in which no flipped bit goes unseen: page checksums, and a seal over the whole file.

The seal lies between the last page and the footer, where any reader passes it over: `SEAL`, BLAKE2b of all bytes before it, BLAKE2b of
the footer and of that. A file that is read whole is held against both. Of one that is read by columns, the footer is held against the
seal and pages against their checksums. Files without a seal, of earlier versions or other writers, are read as they are.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

SEAL = b"curation.seal.1\n"
DIGEST = 16
SEAL_BYTES = len(SEAL) + 2 * DIGEST
MAGIC = b"PAR1"
WRITING: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
"""How every table is written."""
TAIL = 64 * 1024
"""Bytes from the end of a file that are read at first; footers are seldom longer."""
FEW_GROUPS = 2
"""Row groups that are read whole without looking for a value in them first."""
FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
"""For `pyarrow.dataset`: pages are held against their checksums."""


class Damaged(ValueError):
    """A Parquet file that is torn, or whose bytes are not those that were written."""


def _hash(*parts: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        digest.update(part)
    return digest.digest()


def seal(file: BinaryIO) -> None:
    """Seals a finished Parquet file that is open for reading and writing."""
    end = file.seek(0, 2)
    file.seek(end - 8)
    tail = file.read(8)
    length = struct.unpack("<I", tail[:4])[0]
    at = end - 8 - length
    file.seek(at)
    footer = file.read(length)
    pages = _hash_pages(file, at)
    file.seek(at)
    file.write(SEAL + pages + _hash(footer, pages) + footer + tail)


class Sealing:
    """Seals a Parquet file while it is written from its beginning, so that it need not be read again.

    Args:
        file: open for writing, empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._pages = file, hashlib.blake2b(digest_size=DIGEST)

    def write(self, data: Any) -> None:
        """Adds what comes before the footer."""
        self._pages.update(data)
        self._file.write(data)

    def end(self, footer: bytes) -> None:
        """Ends the file with a seal and its footer."""
        pages = self._pages.digest()
        self._file.write(SEAL + pages + _hash(footer, pages) + footer + struct.pack("<I", len(footer)) + MAGIC)


def _hash_pages(file: BinaryIO, length: int) -> bytes:
    """The hash of the first `length` bytes of a file."""
    file.seek(0)
    pages = hashlib.blake2b(digest_size=DIGEST)
    while length:
        block = file.read(min(length, 8 << 20))
        if not block:
            raise Damaged("it is torn: its end is missing")
        pages.update(block)
        length -= len(block)
    return pages.digest()


def write_table(table: pa.Table, file: BinaryIO, **options: Any) -> None:
    """Writes and seals a table; `file` must be open for reading and writing."""
    pq.write_table(table, file, **WRITING, **options)
    file.flush()
    seal(file)


def verify_bytes(data: Any) -> bool:
    """Whether a whole file has a seal.

    Raises:
        Damaged: it has one that does not fit, or its end is missing.
    """
    view = memoryview(data)
    length, at = _footer(bytes(view[-8:]), len(view))
    block = bytes(view[max(0, at - SEAL_BYTES) : at])
    if not _check_footer(block, view[at : at + length]):
        return False
    if _hash(view[: at - SEAL_BYTES]) != block[len(SEAL) : len(SEAL) + DIGEST]:
        raise Damaged("its pages are not those that were written")
    return True


def _footer(tail: bytes, size: int) -> tuple[int, int]:
    """(length of the footer, where it begins)."""
    if len(tail) < 8 or tail[4:] != MAGIC:
        raise Damaged("it is torn: its end is missing")
    length = struct.unpack("<I", tail[:4])[0]
    if size - 8 - length < len(MAGIC):
        raise Damaged("it is torn: its footer is longer than the file")
    return length, size - 8 - length


def _check_footer(block: bytes, footer: Any) -> bool:
    if len(block) < SEAL_BYTES or not block.startswith(SEAL):
        return False
    pages, whole = block[len(SEAL) : len(SEAL) + DIGEST], block[len(SEAL) + DIGEST :]
    if _hash(footer, pages) != whole:
        raise Damaged("its footer is not the one that was written")
    return True


def verify_footer(file: BinaryIO) -> bool:
    """Whether a file has a seal; its pages are not looked at.

    Raises:
        Damaged: as `verify_bytes`.
    """
    tail, at = _end_of(file)
    return _check_footer(tail[max(0, at - SEAL_BYTES) : at], tail[at:-8])


def verify_file(file: BinaryIO) -> bool:
    """As `verify_bytes`, of a file that need not fit into memory."""
    if not verify_footer(file):
        return False
    tail, at = _end_of(file)
    pages = _hash_pages(file, file.seek(0, 2) - len(tail) + at - SEAL_BYTES)
    if pages != tail[at - 2 * DIGEST : at - DIGEST]:
        raise Damaged("its pages are not those that were written")
    return True


def _end_of(file: BinaryIO) -> tuple[bytes, int]:
    """`_end` of an open file."""
    size = file.seek(0, 2)
    return _end(lambda n: (file.seek(max(0, size - n)), file.read())[1], size)


def _end(last: Callable[[int], bytes], size: int) -> tuple[bytes, int]:
    """(the last bytes of a file, seal and footer among them; where in them the footer begins)."""
    tail = last(TAIL)
    length, _ = _footer(tail[-8:], size)
    if length + 8 + SEAL_BYTES > len(tail):
        tail = last(length + 8 + SEAL_BYTES)
    return tail, len(tail) - 8 - length


def read_footer(last: Callable[[int], bytes], size: int) -> pq.FileMetaData:
    """The footer of a file of `size` bytes, verified.

    Args:
        last: number of bytes -> so many from the end of the file, or all.

    Raises:
        Damaged: as `verify_bytes`.
    """
    tail, at = _end(last, size)
    _check_footer(tail[max(0, at - SEAL_BYTES) : at], tail[at:-8])
    with plainly():
        return pq.read_metadata(pa.BufferReader(tail))


def row_batches(
    file: pq.ParquetFile, rows: int = 65_536, columns: Sequence[str] | None = None, use_threads: bool = True
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in order, so many at a time; one row group is held. Asked for all of them at once, pyarrow keeps the bytes of the whole file."""
    names = None if columns is None else list(columns)
    for number in range(file.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[number], columns=names, use_threads=use_threads)


def open_file(file: Any, coded: Sequence[str] = ()) -> pq.ParquetFile:
    """A Parquet file whose footer and pages are verified; it closes `file`. The columns `coded` are read as codes and a dictionary.

    Raises:
        Damaged: it is not what was written.
    """
    verify_footer(file)
    with plainly():
        return pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=list(coded))


def rows_with(file: pq.ParquetFile, column: str, value: str) -> pa.Table:
    """The rows of an open file in which a column has a value. Only row groups that may have such rows are read: where statistics leave many,
    those in whose column the value is."""
    at = file.schema_arrow.get_field_index(column)
    groups = []
    for number in range(file.num_row_groups):
        statistics = file.metadata.row_group(number).column(at).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= value <= statistics.max:
            groups.append(number)
    if len(groups) > FEW_GROUPS:
        held = pa.array([value])
        groups = [
            g
            for g in groups
            if pc.any(pc.is_in(file.read_row_group(g, columns=[column])[column], value_set=held)).as_py()
        ]
    table = file.read_row_groups(groups)
    return table.filter(pc.equal(table[column], value))


def read_bytes(data: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a whole file, verified.

    Raises:
        Damaged: it is not what was written.
    """
    verify_bytes(data)
    with plainly(), pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        return file.read(columns=list(columns) if columns is not None else None)


@contextmanager
def plainly() -> Iterator[None]:
    """Within the block, whatever pyarrow says of bytes that cannot be decoded is `Damaged`."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system, not of the bytes
        raise Damaged(str(error).splitlines()[0]) from error
