"""What of a run's steps is still to be done, by how the tables stand and by what Dagster knows of them.

What belongs here: when the tables are looked at, and counting those that are left out. What does not: which they are (`engine/narrowing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dagster import DagsterInstance

from curation_assets.engine.narrowing import Narrowing
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.staleness import looked_at
from curation_assets.makers import MAKERS
from curation_assets.orchestration.events import reported_versions
from curation_assets.outcome import Progress
from curation_assets.recipes import Recipe
from curation_assets.selection import SUBSET_ASSETS
from curation_assets.settings import Settings
from curation_resources.tables import TableStore


class StillToDo:
    """What of steps is to be done. The tables are looked at once, and again when something was made since."""

    def __init__(
        self,
        store: TableStore,
        recipes: Mapping[str, Recipe],
        settings: Settings,
        instance: DagsterInstance,
        progress: Progress,
    ) -> None:
        self._arguments = store, recipes, settings
        self._instance, self._progress = instance, progress
        self._narrowing: Narrowing | None = None
        self._made = -1

    def left(self, steps: Iterable[PlanStep]) -> list[PlanStep]:
        """What is left of steps of one phase; the tables that are not are counted as up to date."""
        made = sum(n for a, n in self._progress.made.items() if a not in SUBSET_ASSETS)  # on which no other waits
        if self._narrowing is None or made != self._made:
            graph = looked_at(*self._arguments, why=False)
            self._narrowing, self._made = Narrowing(graph, lambda asset: reported_versions(self._instance, asset)), made
        found = [left for step in steps if (left := self._narrowing.left(step, MAKERS)) is not None]
        self._progress.unchanged.update(self._narrowing.unchanged)
        self._narrowing.unchanged.clear()
        return found

    def left_of(self, step: PlanStep) -> PlanStep | None:
        """What is left of a step of one subset; tables that are not are in hand all the same."""
        left = next(iter(self.left([step])), None)
        done = step.assets[: len(step.assets) - len(left.assets if left is not None else ())]
        self._progress.in_hand.update((asset, step.keys[0]) for asset in done)
        return left
