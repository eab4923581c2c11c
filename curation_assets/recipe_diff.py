"""Two recipes of one dataset: the keys that differ, and the tables in storage that would be made again, by the fingerprints that runs go by.

What belongs here: the comparison. What does not: how a table stands under one recipe (`engine/staleness.py`), what changed in words (`engine/differences.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curation_assets.engine.differences import differences, reasons
from curation_assets.engine.made_of import SHARDED
from curation_assets.engine.staleness import FRESH, MISSING, OF_SUBSET, STALE, WAITING, Graph, State, known_tables
from curation_assets.recipes import Recipe, RecipeError, subset_key
from curation_assets.registry import component
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.tables import MissingTable, TableStore


@dataclass(frozen=True)
class TableDiff:
    """What another recipe means for the tables of an asset.

    Attributes:
        asset: which.
        again: partitions that would be made from something else than with the first recipe.
        perhaps: those that wait for such inputs, and are made again only if these come out otherwise.
        new: those that only the second recipe asks for, or that are missing with both.
        dropped: those that only the first asks for.
        because: which parameters, weights and inputs differ.
    """

    asset: str
    again: int
    perhaps: int
    new: int
    dropped: int
    because: tuple[str, ...]


@dataclass(frozen=True)
class RecipeDiff:
    """The keys in which two recipes differ, `key: before -> after`, and the assets of which something would be made or is asked for no more."""

    keys: tuple[str, ...]
    tables: tuple[TableDiff, ...]

    @property
    def makes(self) -> bool:
        """Whether a run with the second recipe would make anything for the difference."""
        return any(t.again or t.perhaps or t.new for t in self.tables)


def recipe_diff(
    store: TableStore, settings: Settings, pair: tuple[Recipe, Recipe], others: Mapping[str, Recipe]
) -> RecipeDiff:
    """Compares two recipes over the tables in storage.

    Args:
        store: the tables.
        settings: of the installation.
        pair: the recipe as it is, and as it would be.
        others: the recipes of the other datasets of the installation.

    Raises:
        RecipeError: they declare different datasets, so that nothing of one is used for the other.
    """
    before, after = pair
    if before.dataset != after.dataset:
        raise RecipeError(
            f"the recipes declare two datasets, {before.dataset} and {after.dataset}: nothing that was made for one is used for the other"
        )
    heads = known_tables(store).heads
    graphs = [Graph(store, {**others, r.dataset: r}, settings, heads, why=False) for r in pair]
    standing = [graph.look() for graph in graphs]
    found = []
    for asset in SCHEMAS:
        old, new = ({s.partition: s for s in one.states(asset) if _of(s.partition, before.dataset)} for one in standing)
        counts = _counts(old, new)
        if any(counts):
            found.append(TableDiff(asset, *counts, tuple(_because(graphs, asset, before.dataset))))
    keys = tuple(differences(_said(before), _said(after)))
    return RecipeDiff(keys, tuple(found))


def _of(partition: str | None, dataset: str) -> bool:
    """Whether a partition is of a dataset; what is not partitioned is of all."""
    return partition is None or partition.partition("-")[0] == dataset


def _said(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", by_alias=True)


def _counts(old: Mapping[str | None, State], new: Mapping[str | None, State]) -> tuple[int, int, int, int]:
    again = perhaps = fresh = 0
    for partition, state in new.items():
        was = old.get(partition)
        if was is None:
            fresh += state.state != FRESH
        elif state.fingerprint and was.fingerprint and state.fingerprint != was.fingerprint:
            if state.state == MISSING:
                fresh += 1
            else:
                again += state.state != FRESH
        elif state.state == WAITING and was.state != WAITING:
            perhaps += 1
        elif state.state == STALE and was.state != STALE:
            again += 1
    return again, perhaps, fresh, len(old.keys() - new.keys())


def _because(graphs: list[Graph], asset: str, dataset: str) -> Iterator[str]:
    """What differs in how an asset's tables are made with the two recipes, each reason once."""
    told: dict[str, None] = {}
    for old, new in _ways(graphs, asset, dataset):
        told |= dict.fromkeys(reasons(old, new))
    yield from told


def _ways(graphs: list[Graph], asset: str, dataset: str) -> Iterator[tuple[Provenance, Provenance]]:
    if asset in SHARDED:
        if all(graph.wanted(dataset, asset) for graph in graphs):
            old, new = (graph.made_of(dataset, asset).way for graph in graphs)
            yield old, new
        return
    gathering = component(asset).gathering
    if gathering is not None:
        old, new = (gathering.made_of(g.known, g.recipes, g.settings) for g in graphs)
        yield old, new
    if asset not in OF_SUBSET:
        return
    for name in sorted(set.intersection(*(set(graph.recipes[dataset].subsets) for graph in graphs))):
        try:
            old, new = (OF_SUBSET[asset](g.known, g.recipes, subset_key(dataset, name)) for g in graphs)
        except (*READ_ERRORS, MissingTable):
            continue
        yield old, new
