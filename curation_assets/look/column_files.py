"""One column of candidates in a file: an uncompressed Arrow file, mapped into memory, of which what is asked for is read and nothing is held.

Its batches are the blocks of `blocks.py`. Beside it lie the checksums of them, against which each is held when it is first read. A file that is there is whole: it is
written under another name and renamed. What belongs here: one column. What does not: which columns there are, and where (`column_cache.py`).
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import threading
import uuid
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.look.blocks import BLOCK_ROWS, blocks_of, length_of
from curation_resources.scratch import scratch_root
from curation_resources.unwritable import FULL, FULL_WORDS, Unwritable

Values: TypeAlias = pa.Array | pa.ChunkedArray
SUFFIX, SUMS, NAMES = ".arrow", ".sums", ".names"
NEW = ".new-"
"""How the name of a file begins that is being written."""
ENDED_S = 3600.0


class DamagedColumn(ValueError):
    """A file that is not what was written; it is to be made again."""


class KeptColumn:
    """A column in a file.

    Args:
        path: of the file, without its suffix.
        rows: how many it must have.

    Attributes:
        type: of its values.
        names: of a column of codes, what they stand for; else None.

    Raises:
        DamagedColumn: it is torn, or has other rows.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._path, self._rows = path, rows
        try:
            with open(f"{path}{SUFFIX}", "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            self._file = pa.ipc.open_file(pa.py_buffer(self._map))
            sums = np.fromfile(f"{path}{SUMS}", np.uint32)
            self.names = _names(path)
        except (OSError, ValueError) as error:  # pa.ArrowInvalid is a ValueError
            raise DamagedColumn(f"{path}: {error}") from error
        if not len(sums) == self._file.num_record_batches == blocks_of(rows):
            raise DamagedColumn(f"{path}: it has other rows")
        self._sums, self._checked = sums, np.zeros(len(sums), bool)
        self.type = self._file.schema.field(0).type

    def block(self, number: int) -> pa.Array:
        """The values of a block, as they lie in the file.

        Raises:
            DamagedColumn: they are not those that were written.
        """
        try:
            found = self._file.get_batch(number).column(0)
        except (OSError, ValueError) as error:
            raise DamagedColumn(f"{self._path}: {error}") from error
        if not self._checked[number]:
            if len(found) != length_of(number, self._rows) or _sum(found) != self._sums[number]:
                raise DamagedColumn(f"{self._path}: block {number} is not what was written")
            self._checked[number] = True
        return found

    def numbers(self, number: int) -> NDArray[Any]:
        """A block of numbers without nulls, as they lie in the file."""
        found: NDArray[Any] = self.block(number).to_numpy()
        return found

    def take(self, rows: NDArray[np.int64]) -> pa.Array:
        """The values of some rows, in their order."""
        blocks = rows // BLOCK_ROWS
        order = np.argsort(blocks, kind="stable")
        parts = []
        for number in np.unique(blocks).tolist():
            own = rows[order][np.searchsorted(blocks[order], number) : np.searchsorted(blocks[order], number, "right")]
            parts.append(self.block(number).take(pa.array(own - number * BLOCK_ROWS)))
        found = pa.concat_arrays(parts) if parts else pa.array([], self.type)
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return found.take(pa.array(back))

    def let_go(self) -> None:
        """The pages that were read need not stay with this process: they are read again, from the system's cache or from disk."""
        with contextlib.suppress(AttributeError, OSError):  # not every system can be told
            self._map.madvise(mmap.MADV_DONTNEED)


class ColumnWriter:
    """Writes a column.

    Args:
        path: of the file, without its suffix.
        kind: of its values.
        coded: whether texts are written as int32 codes, with the texts beside them.

    Attributes:
        type: of what is written.

    Raises:
        Unwritable: the disk is full.
    """

    def __init__(self, path: Path, kind: pa.DataType, coded: bool = False) -> None:
        self._path, self._coded = path, coded
        self._codes: dict[str | None, int] = {}
        self.type = pa.int32() if coded else kind
        self._draft = path.parent / f"{NEW}{uuid.uuid4().hex}"
        self._schema = pa.schema([pa.field("values", self.type)])
        try:
            self._file = pa.OSFile(str(self._draft), "wb")
            self._writer = pa.ipc.new_file(self._file, self._schema)
        except OSError as error:
            raise unwritten(error, path.parent) from error
        self._held: list[pa.Array] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None:
            try:
                self._finish()
            except OSError as failed:
                self._undo()
                raise unwritten(failed, self._path.parent) from failed
        else:
            self._undo()

    def add(self, values: Values) -> None:
        """Adds values; they come in the order of the rows."""
        values = self._code(values) if self._coded else values if values.type == self.type else values.cast(self.type)
        for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
            self._held.append(chunk)
            self._rows += len(chunk)
        while self._rows >= BLOCK_ROWS:
            self._write(BLOCK_ROWS)

    def _code(self, values: Values) -> pa.Array:
        coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        parts = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
        found = []
        for part in parts:
            own = [self._codes.setdefault(text, len(self._codes)) for text in part.dictionary.to_pylist()]
            found.append(pa.array(own, pa.int32()).take(part.indices.cast(pa.int32())))
        return pa.concat_arrays(found) if found else pa.array([], pa.int32())

    def _write(self, rows: int) -> None:
        try:
            self._write_block(rows)
        except OSError as error:
            raise unwritten(error, self._path.parent) from error

    def _write_block(self, rows: int) -> None:
        held = pa.chunked_array(self._held, self.type)
        whole = held.slice(0, rows).combine_chunks()
        if isinstance(whole, pa.ChunkedArray):  # of no chunk
            whole = pa.array([], self.type)
        self._writer.write_batch(pa.record_batch([_plain(whole)], schema=self._schema))
        self._held, self._rows = list(held.slice(rows).chunks), self._rows - rows

    def _finish(self) -> None:
        if self._rows:
            self._write(self._rows)
        self._writer.close()
        self._file.close()
        with pa.memory_map(str(self._draft)) as file:
            batches = pa.ipc.open_file(file)
            sums = [_sum(batches.get_batch(n).column(0)) for n in range(batches.num_record_batches)]
        _publish(np.array(sums, np.uint32).tobytes(), f"{self._path}{SUMS}")
        if self._coded:
            _publish(json.dumps(list(self._codes)).encode(), f"{self._path}{NAMES}")
        os.replace(self._draft, f"{self._path}{SUFFIX}")

    def _undo(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        self._file.close()
        self._draft.unlink(missing_ok=True)


def reserved(file: BinaryIO, kind: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Numbers in an empty file, all zero, mapped to be written, for which there is room: a write that finds none would end the process.

    Raises:
        Unwritable: there is not enough.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    try:
        os.posix_fallocate(file.fileno(), 0, max(1, size))
    except OSError as error:
        raise unwritten(error, Path(file.name).parent if isinstance(file.name, str) else scratch_root()) from error
    return np.memmap(file, kind, "r+", shape=shape)


def unwritten(error: OSError, folder: Path) -> OSError:
    """What is said of a folder of columns that takes nothing more; the error itself if that is not what it says."""
    if isinstance(error, Unwritable) or not (error.errno in FULL or any(w in str(error).lower() for w in FULL_WORDS)):
        return error
    return Unwritable(
        f"the folder of columns {folder} is full; make room, lower CURATION_LOOK_CACHE_GB, or name another folder in CURATION_CACHE"
    )


def _plain(values: pa.Array) -> pa.Array:
    """The same values, with nothing before them in their buffers."""
    return values if values.offset == 0 else pa.concat_arrays([values, values.slice(0, 0)])


def _publish(data: bytes, path: str) -> None:
    draft = Path(path).parent / f"{NEW}{threading.get_ident()}-{uuid.uuid4().hex}"
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _names(path: Path) -> list[str | None] | None:
    try:
        found: list[str | None] = json.loads(Path(f"{path}{NAMES}").read_text())
    except FileNotFoundError:
        return None
    return found


def _sum(values: pa.Array) -> int:
    found = len(values)
    for buffer in values.buffers():
        if buffer is not None:
            found = zlib.crc32(memoryview(buffer), found)
    return found


def remove(path: Path) -> None:
    """Removes a column's files."""
    for suffix in (SUFFIX, SUMS, NAMES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
