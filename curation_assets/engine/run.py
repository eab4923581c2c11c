"""What one run has at hand, whoever started it: tables, recipes, settings, and what it is asked to do differently."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation_assets.engine.run_tables import RunTables
from curation_assets.recipes import Recipe
from curation_assets.settings import Settings
from curation_resources.tables import TableStore


def _nobody(keys: Sequence[str]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        store: the tables, as this run sees them.
        recipes: dataset -> recipe.
        settings: of the installation.
        log: a logger, or what is one to its callers.
        force: whether what is up to date is made again.
        partial: whether subsets may be published over incomplete inputs.
        sources: datasets whose sources are read; None is all.
        settled: whether files of sources that may still be being written are left for a later run.
        register: makes shard keys known to whoever keeps a list of them; gives back those that were new there.
        models: what `Shard.model` has loaded, shared by all shards of the run.
        order: the keys that the loop brings now, in order.
    """

    store: TableStore
    recipes: Mapping[str, Recipe]
    settings: Settings
    log: Any = logging.getLogger("curation")  # noqa: RUF009 - one logger for all
    force: bool = False
    partial: bool = False
    sources: frozenset[str] | None = None
    settled: bool = False
    register: Callable[[Sequence[str]], Sequence[str]] = _nobody
    models: dict[Any, Any] = field(default_factory=dict)
    order: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", RunTables(self.store))
