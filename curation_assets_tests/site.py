"""An installation in a temporary folder that is brought up to date by the engine alone, without Dagster."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curation_assets.engine.behind import Behind, Busy, Tries, what_is_behind
from curation_assets.engine.events import Event
from curation_assets.engine.heads import listing
from curation_assets.engine.plan import PlanStep, plan
from curation_assets.engine.run import Run
from curation_assets.engine.staleness import SHARDED, Graph, open_heads
from curation_assets.engine.steps import StepFailed, carry_out
from curation_assets.makers import MAKERS
from curation_assets.recipes import Recipe, parse_recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_resources.tables import TableStore

Table = tuple[str, str | None]


@dataclass
class Site:
    """Settings and recipes; `recipes` may be replaced at any time, as an edit would.

    Attributes:
        steps: what was carried out since the last `settle`.
        events: what happened then.
        failed: steps of the last `settle` that failed.
    """

    root: Path
    recipes: dict[str, Recipe] = field(default_factory=dict)
    steps: list[PlanStep] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    failed: list[StepFailed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = Settings(storage=str(self.root / "data"), workers=1)
        self.store: TableStore = table_store(self.settings)

    def declare(self, *recipes: str) -> None:
        """Takes these YAML texts as the recipes."""
        self.recipes = {r.dataset: r for r in (parse_recipe(text, f"recipe {n}") for n, text in enumerate(recipes))}

    def run(self, *steps: PlanStep, force: bool = False, workers: int = 0) -> None:
        """Carries the steps out; without workers a video is decoded in this process, which spares starting others."""
        settings = self.settings.model_copy(update={"workers": workers})
        run = Run(self.store, self.recipes, settings, logging.getLogger("site"), force=force)
        for event in carry_out(steps, run, MAKERS):
            if isinstance(event, StepFailed):
                self.failed.append(event)
            else:
                self.events.append(event)

    def index(self) -> None:
        self.run(PlanStep("index", ("dataset_index",)))

    def behind(self, tries: Tries) -> tuple[Behind, list[str]]:
        """What is behind and can be made now, and all shards."""
        heads = open_heads(self.store, remember=False)
        heads.look(list(SHARDED))
        graph = Graph(self.store, self.recipes, self.settings, heads, why=False)
        return what_is_behind(graph, self.settings, tries, Busy()), graph.shards

    def settle(self, most: int = 20) -> None:
        """Plans and carries out until nothing is behind any more."""
        self.steps.clear()
        self.events.clear()
        self.failed.clear()
        for _ in range(most):
            found, shards = self.behind(Tries({}, int(time.time())))
            steps = list(plan(found.work, shards))
            if not steps:
                return
            self.steps += steps
            self.run(*steps)
            assert self.failed == []
        raise AssertionError(f"still busy after {most} rounds: {self.steps[-3:]}")

    def tables(self) -> dict[Table, str]:
        """Every table and the tag of its file, which changes with every commit."""
        found: dict[Table, str] = {}
        whole = listing(self.store.storage, "")
        for asset in SCHEMAS:
            found |= {(asset, key): tag for key, tag in listing(self.store.storage, asset).items()}
            if asset in whole:
                found[asset, None] = whole[asset]
        return found

    def made_since(self, before: Mapping[Table, str]) -> set[Table]:
        """Tables that were committed since."""
        return {table for table, tag in self.tables().items() if before.get(table) != tag}
