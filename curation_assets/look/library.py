"""What there is to look at, each collection loaded when it is first opened and again when its table is another."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from curation_assets.look.candidates import CandidateColumns, TableChanged
from curation_assets.look.collection import Collection
from curation_assets.look.column_cache import ColumnCache
from curation_assets.look.labelling import LabelFiles
from curation_assets.look.likeness import Likeness
from curation_assets.look.media import Media
from curation_assets.look.views import CollectionView, Plain
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subsets
from curation_resources.progress import listening
from curation_resources.tables import TableStore

OPEN = 2
"""Collections that are open at a time."""


class NoCollection(LookupError):
    """No collection is called so; the message names those that there are."""


class Collections:
    """The collections of an installation.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        who: who labels clips on the page.
        cache: where columns are kept.
    """

    def __init__(
        self, store: TableStore, recipes: Mapping[str, Recipe], who: str = "", cache: ColumnCache | None = None
    ) -> None:
        self.store, self.recipes, self.media = store, recipes, Media(store)
        self._cache = cache or ColumnCache()
        self.labels = LabelFiles(recipes, who)
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._reading: dict[str, tuple[int, int, str]] = {}
        self._views: dict[str, CollectionView] = {}
        self.collections = {k: Collection(k, r, s, True) for k, (r, s) in subsets(recipes).items()}
        self.collections |= {n: Collection(n, r, Subset(), False) for n, r in recipes.items()}

    def listed(self) -> list[Plain]:
        """The collections, subsets first."""
        return [
            {"key": c.key, "of": c.subset.of, "declared": c.declared, "dataset": c.recipe.dataset}
            for c in self.collections.values()
        ]

    def opened(self, key: str) -> CollectionView:
        """A collection as its tables are now.

        Raises:
            NoCollection: no recipe declares it.
            MissingTable: it has no clips yet.
        """
        if key not in self.collections:
            raise NoCollection(f"no subset or dataset is called {key!r}; there are {', '.join(self.collections)}")
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:  # others can be opened meanwhile
            held = self._views.get(key)
            if held is None or held.preparation.failed is not None or not self._in_force(held):
                held = self._read(key)
                held.prepare()
            with self._lock:
                self._views.pop(key, None)
                self._views[key] = held
                while len(self._views) > OPEN:
                    self._views.pop(next(iter(self._views)))
            return held

    def _read(self, key: str) -> CollectionView:
        def heard(done: int, total: int, unit: str, words: str) -> None:
            self._reading[key] = (done, total, unit)

        with listening(heard):
            try:
                candidates = CandidateColumns(self.store, self.recipes, self.collections[key], self.labels, self._cache)
            finally:
                self._reading.pop(key, None)
        return CollectionView(candidates, Likeness(self.store, self.recipes, candidates))

    def standing(self, key: str) -> Plain:
        """How far the opening of a collection is, and whether its table is what it would be now."""
        reading, view = self._reading.get(key), self._views.get(key)
        if reading is None and view is not None:
            return view.standing()
        done, total, unit = reading or (0, 0, "")
        return {"ready": False, "stale": None, "done": done, "total": total, "unit": unit}

    def held(self, key: str, version: str) -> CollectionView:
        """A collection as it was opened.

        Raises:
            TableChanged: it was made again since, and is to be opened anew.
        """
        view = self._views.get(key)
        if view is None or view.candidates.version != version:
            view = self.opened(key)
        if view.candidates.version != version:
            raise TableChanged(f"{key} was made again since this page was opened")
        return view

    def _in_force(self, view: CollectionView) -> bool:
        collection = view.candidates.collection
        header = self.store.usable_header(collection.asset, collection.key) if collection.declared else None
        if header is not None:
            return header.content_hash[:16] == view.candidates.version
        return not view.candidates.judged and view.candidates.tables.version() == view.candidates.version
