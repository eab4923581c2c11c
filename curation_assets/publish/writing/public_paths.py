"""What stands in published files instead of absolute paths of the machine that made them.

A video's own path becomes its path below the folder that the recipe names (`source.root`, `source.path`, or the folder of the list), so
that whoever has the same folder finds it again; a path that lies elsewhere becomes the file's name. URLs and URIs of stores stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from curation_assets.ingest.sources.files import expand_user, fixed_part, is_glob
from curation_assets.recipes import Recipe

LOCATIONS = ("url", "page_url")
"""Columns of `raw_shards` that say where a video came from."""


def _local(text: str) -> str | None:
    """The absolute path that `text` is, also as a `file:` URI or below `~`; None if it is none."""
    if text.lower().startswith("file:"):
        return unquote(urlsplit(text).path)
    path = os.path.expanduser(text) if text.startswith("~") else text
    return path if os.path.isabs(path) else None


class PublicPaths:
    """Local paths as they are published.

    Args:
        recipes: of all datasets that a version holds.
    """

    def __init__(self, recipes: Iterable[Recipe]) -> None:
        folders = set()
        for recipe in recipes:
            for given in (*recipe.source.path, *([recipe.source.root] if recipe.source.root else [])):
                path = expand_user(given)
                if "://" in path and not path.startswith("file:"):
                    continue
                fixed = os.path.abspath(fixed_part(_local(path) or path))
                folders.add(os.path.dirname(fixed) if os.path.isfile(fixed) else fixed)
        self._folders = sorted(folders, key=len, reverse=True)

    def __bool__(self) -> bool:
        """Whether any of the recipes reads something that lies here."""
        return bool(self._folders)

    def location(self, text: str | None) -> str | None:
        """A URL, or a local path without what is above the recipe's folder."""
        path = None if text is None else _local(text)
        return text if path is None else self._below(path) or os.path.basename(path.rstrip("/"))

    def _below(self, path: str) -> str | None:
        for folder in self._folders:
            if path.startswith(f"{folder.rstrip('/')}/"):
                return path[len(folder.rstrip("/")) + 1 :]
        return None

    def source(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of `raw_shards`."""
        return {**row, **{name: self.location(row[name]) for name in LOCATIONS if name in row}}

    def said(self, value: Any) -> Any:
        """What a list says of a clip: texts that are paths below the recipe's folders are shortened, all others stay as they are."""
        if isinstance(value, str):
            path = _local(value)
            return value if path is None else self._below(path) or value
        if isinstance(value, Mapping):
            return {k: self.said(v) for k, v in value.items()}
        return [self.said(v) for v in value] if isinstance(value, list | tuple) else value


def without_paths(value: Any) -> Any:
    """A recipe as a card shows it: of each absolute path the last part, of a pattern what follows its last fixed folder too."""
    if isinstance(value, str):
        path = None if "\n" in value else _local(value)
        if path is None:
            return value
        fixed = fixed_part(path).rstrip("/")
        return os.path.basename(fixed) + path[len(fixed) :] if is_glob(path) else os.path.basename(path.rstrip("/"))
    if isinstance(value, Mapping):
        return {k: without_paths(v) for k, v in value.items()}
    return [without_paths(v) for v in value] if isinstance(value, list | tuple) else value
