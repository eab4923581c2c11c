"""Sources: one module per format, each a stream of rows and rejected lines.

`read_source` is all that others need. An adapter knows how its format is written and nothing of shards or the index. One that an installed
package brings (entry points `curation_assets.sources`) is an object with `read(source, options, storage)`, which gives `SourceRow`s and
`RejectedLine`s in order, and maybe `Options`, the model of `source.options`, and `files`: whether its videos are files that may lie here;
relative addresses then lie beside `SourceRow.source`, or below it where that is a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources import acav, caption_files, folder, hdvila, ids, table, webdataset
from curation_assets.ingest.sources.files import SourceFile, find_files
from curation_assets.ingest.sources.list_paths import located
from curation_assets.ingest.sources.rows import RejectedLine, SourceError, SourceRow, UsualRows
from curation_assets.ingest.sources.settling import Settling, Unsettled
from curation_resources.network_faults import of_the_network
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.unwritable import Unwritable

__all__ = [
    "RejectedLine",
    "Settling",
    "SourceError",
    "SourceRow",
    "Unsettled",
    "UsualRows",
    "lists_of",
    "read_many",
    "read_source",
    "unsettled_lists",
]

_MANY = {"hdvila": hdvila}
_LISTS = {"hdvila": hdvila, "acav": acav, "table": table, "ids": ids}
_FILES = {"folder": folder, "webdataset": webdataset}


def read_source(
    source: Source, storage: Storage | None = None, settling: Settling | None = None
) -> Iterator[SourceRow | RejectedLine | Unsettled]:
    """The rows of a source in order, one at a time.

    Args:
        source: the recipe's `source` section.
        storage: lends its credentials to paths of the same scheme.
        settling: where the source is one of files, those that may still be being written come as `Unsettled`; None takes all as they stand.

    Raises:
        SourceError: a file is missing, unreadable or damaged; raised when it is reached.
    """
    brought = source.chosen()
    if brought is not None:
        adapter, options = brought
        found = _of_a_package(source.format, lambda: adapter.read(source, options, storage))
        return located(found, storage) if getattr(adapter, "files", False) else found
    if source.format in _FILES:
        return _FILES[source.format].read(source, storage, settling)
    return _LISTS[source.format].read(source, storage)


def _of_a_package(
    name: str, read: Callable[[], Iterable[SourceRow | RejectedLine | Unsettled]]
) -> Iterator[SourceRow | RejectedLine | Unsettled]:
    """What a format gives that a package brings. Whatever else goes wrong in it is a SourceError too, so that it costs its own dataset and no others."""
    try:
        for row in read():
            if not isinstance(row, SourceRow | RejectedLine | Unsettled):
                raise TypeError(f"it gave {type(row).__name__}, and not SourceRow or RejectedLine")
            yield row
    except (SourceError, StorageError, Unwritable):
        raise
    except Exception as error:
        said = f"({type(error).__name__}: {error})"
        if of_the_network(error):
            raise SourceError(
                f"the source format {name!r} cannot be read now {said}: what its package asks does not answer; run again when it does, or correct its address"
            ) from error
        raise SourceError(f"the source format {name!r} failed {said}; correct the package that brings it") from error


def read_many(
    source: Source, storage: Storage | None = None, settling: Settling | None = None
) -> Iterator[SourceRow | RejectedLine | Unsettled | UsualRows]:
    """As `read_source`; formats that can give rows many at a time, where that is quicker."""
    if source.chosen() is None and source.format in _MANY:
        return _MANY[source.format].read_many(source, storage)
    return read_source(source, storage, settling)


def lists_of(source: Source, storage: Storage | None) -> list[SourceFile]:
    """The files that a source of lists reads; empty for other sources, whose videos are files themselves.

    Raises:
        SourceError: a list is missing or cannot be listed.
    """
    if source.chosen() is not None or source.format not in _LISTS:
        return []
    lists = find_files(source.path, _LISTS[source.format].LIST_ENDINGS, storage)
    if source.captions is not None:
        lists += find_files(source.captions.path, caption_files.LIST_ENDINGS, storage)
    return lists


def unsettled_lists(source: Source, storage: Storage | None, settling: Settling) -> list[SourceFile]:
    """The lists of a source that may still be being written: one of which a part is read would be a shorter list, all of whose other videos are gone.

    Raises:
        SourceError: a list is missing or cannot be listed.
    """
    return [file for file in lists_of(source, storage) if not settling.settled(file.modified)]
