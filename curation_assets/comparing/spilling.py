"""Rows put into parts by a hash of some columns, on this machine's disk, so that tables of any size are held against each other a part at a time.

What belongs here: putting rows into parts. What does not: comparing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_resources.embedded_database import embedded_database
from curation_resources.scratch import scratch_folder

PART_ROWS, PART_BYTES = 20_000, 8 << 20
"""Rows of a part, and their bytes as a Parquet file has them, that are held in memory of each side, about."""
MOST_PARTS = 256
"""Files that a side has open at a time: beyond so many times the above parts grow."""


def parts_for(rows: int, size: int = 0) -> int:
    """Into how many parts so many rows, of so many bytes in Parquet, go."""
    return min(MOST_PARTS, max(-(-rows // PART_ROWS), -(-size // PART_BYTES), 1))


class Parts:
    """One side's rows in parts: rows with the same values in the columns `by` are in the same part of every side.

    Args:
        folder: an empty one.
        count: how many parts.
        by: columns.
    """

    def __init__(self, folder: Path, count: int, by: Sequence[str]) -> None:
        self._folder, self._count, self._by = folder, count, tuple(by)
        self._files = ExitStack()
        self._writers: dict[tuple[int, str], tuple[pa.RecordBatchFileWriter, Path]] = {}

    def add(self, table: pa.Table) -> None:
        """Puts rows into their parts; those of each part keep their order."""
        numbers, form = self._numbers(table), str(table.schema)
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers, minlength=self._count)).tolist()
        rows = table.take(pa.array(order))
        for part, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > start:
                if (part, form) not in self._writers:
                    file = self._folder / f"{len(self._writers)}.arrow"
                    writer = self._files.enter_context(pa.ipc.new_file(str(file), table.schema))
                    self._writers[part, form] = writer, file
                self._writers[part, form][0].write_table(rows.slice(start, end - start))

    def part(self, number: int) -> pa.Table | None:
        """The rows of a part, columns that some of them have not as null; None of an empty one. Nothing is added any more."""
        found = []
        for (part, _), (_, path) in self._writers.items():
            if part == number:
                with pa.OSFile(str(path)) as file:
                    found.append(pa.ipc.open_file(file).read_all())
        return pa.concat_tables(found, promote_options="permissive") if found else None

    def _numbers(self, table: pa.Table) -> np.ndarray:
        if self._count == 1 or not table.num_rows:
            return np.zeros(table.num_rows, np.int64)
        texts = [pc.fill_null(table[name].cast(pa.string()), "") for name in self._by]
        keys = pa.table({"key": pc.binary_join_element_wise(*texts, "\x1f")})  # noqa: F841 - named in the query
        with embedded_database() as database:
            database.execute("SET threads = 1")  # which keeps the order of rows
            found = database.execute(f"SELECT (hash(key) % {self._count})::INTEGER AS part FROM keys").fetchnumpy()
        return np.asarray(found["part"], np.int64)

    def __enter__(self) -> Parts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


@contextmanager
def in_parts(
    sides: Sequence[Iterable[pa.Table]], by: Sequence[str], count: int
) -> Iterator[Iterator[tuple[pa.Table | None, ...]]]:
    """Part after part of several sides: the rows of each that belong together, None where a side has none. All lie on disk within the block.

    Args:
        sides: the rows of each, some at a time.
        by: columns by which rows belong together.
        count: how many parts.
    """
    with scratch_folder("compare-") as folder:
        made = []
        for number, side in enumerate(sides):
            own = Path(folder) / str(number)
            own.mkdir()
            with Parts(own, count, by) as parts:
                for table in side:
                    parts.add(table)
            made.append(parts)
        parts_of_all = (tuple(parts.part(n) for parts in made) for n in range(count))
        yield (one for one in parts_of_all if any(side is not None for side in one))
