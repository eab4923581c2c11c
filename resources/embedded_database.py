"""A DuckDB of one's own, for sorts, joins and counts that may go to disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


@contextmanager
def embedded_database(
    path: Path | None = None, config: Mapping[str, Any] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for the block, which draws no bar of progress: DuckDB 2.0 draws one for each query that lasts over two seconds, into files of
    logs too.

    Args:
        path: its file; None is in memory.
        config: DuckDB's options, such as `memory_limit`.
    """
    import duckdb

    with duckdb.connect(":memory:" if path is None else str(path), config=dict(config or {})) as connection:
        connection.execute("SET enable_progress_bar = false")  # not one of the options that a connection is opened with
        yield connection
