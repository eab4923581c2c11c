"""Sources: one module per format, each a stream of rows and rejected lines.

`read_source` is all that others need. An adapter knows how its format is written and nothing of shards or the index.
"""

from __future__ import annotations

from collections.abc import Iterator

from curation_assets.recipes import Source
from curation_assets.stages.sources import acav, folder, hdvila, ids, table, webdataset
from curation_assets.stages.sources.rows import RejectedLine, SourceError, SourceRow
from resources.storage import Storage

__all__ = ["RejectedLine", "SourceError", "SourceRow", "read_source"]

_ADAPTERS = {
    "hdvila": hdvila.read,
    "acav": acav.read,
    "table": table.read,
    "folder": folder.read,
    "ids": ids.read,
    "webdataset": webdataset.read,
}


def read_source(source: Source, storage: Storage | None = None) -> Iterator[SourceRow | RejectedLine]:
    """The rows of a source in order, one at a time.

    Args:
        source: the recipe's `source` section.
        storage: lends its credentials to paths of the same scheme.

    Raises:
        SourceError: a file is missing, unreadable or damaged; raised when it is reached.
    """
    return _ADAPTERS[source.format](source, storage)
