"""What the cells of a list mean that are no URLs: paths of one's own files.

A relative path lies below `source.root`, or else beside the list that names it. A list that came over the network names no local
files: its relative paths lie beside it, and absolute ones are refused.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from fsspec.implementations.local import LocalFileSystem

from curation_assets.ingest.sources.files import SourceFile, expand_user, filesystem
from curation_assets.ingest.sources.rows import RowError, SourceRow
from curation_resources.storage import Storage


class ListPaths:
    """How the paths in one list are understood.

    Args:
        file: the list.
        root: the recipe's `source.root`.
        storage: lends its credentials to paths of the same scheme.
    """

    def __init__(self, file: SourceFile, root: str | None, storage: Storage | None) -> None:
        self._local = isinstance(file.fs, LocalFileSystem)
        self._list = file.uri
        self._given = expand_user(root).rstrip("/") if root is not None else None
        if self._given is not None and "://" not in self._given:
            fs, path = filesystem(self._given, storage)
            self._given = path if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(path)

    def resolved(self, cell: str) -> tuple[str, str | None]:
        """(URL or absolute path, path relative to the root) of a cell; the relative path is None where it is a URL.

        Raises:
            RowError: a local file that a list from the network names, or a path that leads out of `source.root`.
        """
        if cell.lower().startswith("file:"):
            cell = unquote(urlsplit(cell).path)
        elif "://" in cell or cell.startswith("//"):
            return cell, None
        if self._given is None and not self._local:
            if cell.startswith("/"):
                raise RowError("a local path in a list that came over the network; such a list names no local files")
            if self._list.startswith("http"):
                return urljoin(self._list, cell), None
            return self._below(posixpath.dirname(self._list), cell), cell
        if self._given is not None and "://" in self._given:
            return self._below(self._given, cell), cell
        if not self._local:
            raise RowError("a local path in a list that came over the network; such a list names no local files")
        root = self._given or os.path.dirname(self._list)
        path = os.path.normpath(os.path.join(root, cell))
        relative = os.path.relpath(path, root)
        if self._given is not None and relative.split("/")[0] == "..":
            raise RowError(f"{cell[:200]} lies outside source.root")
        return path, relative if relative.split("/")[0] != ".." else path

    @staticmethod
    def _below(root: str, cell: str) -> str:
        """`cell` below the URI `root`."""
        scheme, mark, rest = root.partition("://")
        path = posixpath.normpath(posixpath.join(rest, cell.lstrip("/")))
        if not f"{path}/".startswith(f"{rest.rstrip('/')}/"):
            raise RowError(f"{cell[:200]} leads out of {root}")
        return f"{scheme}{mark}{path}"

    @staticmethod
    def stem(location: str) -> str:
        """Name of a file without its ending: the id that its video gets if no other has it."""
        name = location.rsplit("/", 1)[-1]
        return name.rpartition(".")[0] or name


Found = TypeVar("Found")


def located(rows: Iterable[Found], storage: Storage | None) -> Iterator[Found]:
    """The rows of a source of files that a package brings, with relative addresses made absolute: they lie beside the file that a row
    came from, or below it where that is a folder."""
    folders: dict[str, str] = {}
    for row in rows:
        url = row.url if isinstance(row, SourceRow) else None
        if isinstance(row, SourceRow) and url and "://" not in url and not url.startswith("/"):
            if row.source not in folders:
                folders[row.source] = _folder_of(row.source, storage)
            scheme, mark, folder = folders[row.source].rpartition("://")
            yield replace(row, url=f"{scheme}{mark}{posixpath.normpath(f'{folder}/{url}')}")
        else:
            yield row


def _folder_of(source: str, storage: Storage | None) -> str:
    fs, path = filesystem(expand_user(source), storage)
    folder = path if fs.isdir(path) else fs._parent(path)
    return folder if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(folder))
