"""What there is to look at, each collection loaded when it is first opened and again when its table is another."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from curation_assets.look.candidates import CandidateColumns, Collection, TableChanged
from curation_assets.look.labelling import LabelFiles
from curation_assets.look.likeness import Likeness
from curation_assets.look.media import Media
from curation_assets.look.views import CollectionView, Plain
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subsets
from curation_resources.tables import TableStore

OPEN = 2
"""Collections that are held in memory at a time."""


class NoCollection(LookupError):
    """No collection is called so; the message names those that there are."""


class Collections:
    """The collections of an installation.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        who: who labels clips on the page.
    """

    def __init__(self, store: TableStore, recipes: Mapping[str, Recipe], who: str = "") -> None:
        self.store, self.recipes, self.media = store, recipes, Media(store)
        self.labels = LabelFiles(recipes, who)
        self._lock = threading.Lock()
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
            held = self._views.pop(key, None)
            if held is None or not self._in_force(held):
                candidates = CandidateColumns(self.store, self.recipes, self.collections[key], self.labels)
                held = CollectionView(candidates, Likeness(self.store, self.recipes, candidates))
            self._views[key] = held
            while len(self._views) > OPEN:
                self._views.pop(next(iter(self._views)))
            return held

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
        return not view.candidates.judged and view.candidates.shards_version() == view.candidates.version
