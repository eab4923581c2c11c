"""An index that was written earlier, brought where the database reads it: a file on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.schemas import schema
from curation_resources.storage import Storage

Previous: TypeAlias = str | Path | BinaryIO | pa.Table | None
"""An index written earlier: a local path, a path or URI in storage, an open binary stream, or a table; None for none."""


def local_file(index: Previous, path: Path, storage: Storage | None) -> Path:
    """A file on this machine with an index: its own if it lies here, else `path`, which is written.

    Args:
        storage: resolves a path or URI that is not local.
    """
    if index is None:
        pq.write_table(schema("dataset_index").empty(), path)
    elif isinstance(index, pa.Table):
        pq.write_table(index, path)
    elif isinstance(index, str | Path):
        if "://" not in str(index) and Path(index).exists():
            return Path(index)
        with (storage or Storage(".")).open(str(index)) as stream, open(path, "wb") as file:
            shutil.copyfileobj(stream, file, 8 << 20)
    else:
        with open(path, "wb") as file:
            shutil.copyfileobj(index, file, 8 << 20)
    return path
