"""Rows put into groups in one pass, on the local disk: a file for each group, in the order in which the rows came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

HELD_ROWS = 131_072
"""Rows that are held until they are divided and written."""


class GroupedRows:
    """Rows on disk by group.

    Args:
        folder: a local one, which the caller removes.
        name: begins the files' names.
        form: the columns, where there may be no rows.

    Attributes:
        form: the columns of what was added.
    """

    def __init__(self, folder: Path, name: str, form: pa.Schema | None = None) -> None:
        self._folder, self._name = folder, name
        self.form = form or pa.schema([])
        self._writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}
        self._held: list[pa.Table] = []
        self._groups: list[np.ndarray] = []
        self._rows = 0

    def add(self, rows: pa.Table, groups: np.ndarray) -> None:
        """Adds rows with the number of each one's group, int (n,); those below 0 are left out."""
        self.form, chosen = rows.schema, groups >= 0
        self._held.append(rows if chosen.all() else rows.filter(pa.array(chosen)))
        self._groups.append(groups[chosen])
        self._rows += int(chosen.sum())
        if self._rows >= HELD_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        groups = np.concatenate(self._groups)
        rows = pa.concat_tables(self._held)
        if (groups[1:] < groups[:-1]).any():
            order = np.argsort(groups, kind="stable")
            rows, groups = rows.take(pa.array(order)), groups[order]
        rows = rows.combine_chunks()
        numbers, starts = np.unique(groups, return_index=True)
        for number, start, end in zip(
            numbers.tolist(), starts.tolist(), [*starts[1:].tolist(), len(groups)], strict=True
        ):
            if number not in self._writers:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[number] = pa.ipc.new_file(self._path(number), rows.schema, options=options)
            self._writers[number].write_table(rows.slice(start, end - start))
        self._held, self._groups, self._rows = [], [], 0

    def _path(self, group: int) -> str:
        return str(self._folder / f"{self._name}-{group:05d}.arrow")

    def close(self) -> None:
        """Ends the files; groups can be read then."""
        self._flush()
        for writer in self._writers.values():
            writer.close()

    def read(self, group: int) -> pa.Table:
        """The rows of a group."""
        if group not in self._writers:
            return self.form.empty_table()
        with pa.OSFile(self._path(group)) as file:
            return pa.ipc.open_file(file).read_all()

    def remove(self, group: int) -> None:
        """Removes the file of a group."""
        Path(self._path(group)).unlink(missing_ok=True)
