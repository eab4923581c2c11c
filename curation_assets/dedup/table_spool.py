"""Tables on the local disk that are divided by number as they come, and read back one number at a time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class TableSpool:
    """A file for each number, in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._writers: dict[int, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def divide(self, rows: pa.Table, numbers: NDArray[np.int64]) -> None:
        """Puts each row, in their order, behind those of its number."""
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        rows = rows.take(pa.array(order)).combine_chunks()
        begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else ordered
        for low, high in zip(begins.tolist(), [*begins[1:].tolist(), len(ordered)], strict=True):
            number = int(ordered[low])
            if number not in self._writers:
                writer = pa.ipc.new_stream(str(self._path(number)), rows.schema)
                self._writers[number] = self._open.enter_context(writer)
            self._writers[number].write_table(rows.slice(low, high - low))

    def take(self, number: int) -> pa.Table | None:
        """All rows of a number, whose file is removed; None if there are none. Nothing is added to it afterwards."""
        if number not in self._writers:
            return None
        self._writers.pop(number).close()
        path = self._path(number)
        with pa.OSFile(str(path)) as file:
            rows = pa.ipc.open_stream(file).read_all()
        path.unlink()
        return rows

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrows"

    def __enter__(self) -> TableSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        for number in self._writers:
            self._path(number).unlink(missing_ok=True)
