"""An installation in a temporary folder whose sensors are evaluated and whose runs are executed in this process, as the daemon would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from curation_assets.definitions import build_definitions, table_store
from curation_assets.engine.heads import listing
from curation_assets.recipes import Recipe, parse_recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.tables import TableStore

Table = tuple[str, str | None]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Installation:
    """Settings, recipes and an instance; `recipes` may be replaced at any time, as an edit and a reload would.

    Attributes:
        said: what the last tick of each sensor gave as reason for requesting nothing.
        failed: names of the steps that failed since the last `settle`.
        reasons: why steps failed, in order.
    """

    root: Path
    recipes: dict[str, Recipe] = field(default_factory=dict)
    storage: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    instance_settings: Mapping[str, Any] | None = None
    said: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    cursors: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "home").mkdir(parents=True, exist_ok=True)
        settings = dict(self.instance_settings) if self.instance_settings else None
        self.instance = DagsterInstance.local_temp(str(self.root / "home"), settings)
        self.settings = Settings(storage=self.storage or str(self.root / "data"), workers=1, **self.options)
        self._definitions: tuple[dict[str, Recipe], Definitions] | None = None

    def declare(self, *recipes: str) -> None:
        """Takes these YAML texts as the recipes."""
        parsed = [parse_recipe(text, f"recipe {n}") for n, text in enumerate(recipes)]
        self.recipes = {r.dataset: r for r in parsed}

    @property
    def definitions(self) -> Definitions:
        if self._definitions is None or self._definitions[0] != self.recipes:
            self._definitions = (dict(self.recipes), build_definitions(self.settings, self.recipes))
        return self._definitions[1]

    @property
    def store(self) -> TableStore:
        return table_store(self.settings)

    def run(self, job: str, **options: Any) -> bool:
        """Executes a job; remembers the steps that failed."""
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=QUIET, raise_on_error=False, **options
        )
        failures = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
        self.failed += [e.step_key for e in failures]
        self.reasons += [str(e.step_failure_data.user_failure_data or e.step_failure_data.error) for e in failures]
        return bool(result.success)

    def tick(self, name: str) -> SensorResult:
        """Evaluates a sensor with its cursor; runs nothing."""
        sensor = self.definitions.get_repository_def().get_sensor_def(name)
        context = build_sensor_context(instance=self.instance, cursor=self.cursors.get(name), sensor_name=name)
        result = sensor(context)
        assert isinstance(result, SensorResult)
        self.cursors[name] = result.cursor
        reason = result.skip_reason
        self.said[name] = (reason.skip_message or "") if isinstance(reason, SkipReason) else reason or ""
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return result

    def sensor(self, name: str) -> int:
        """A tick and the runs that it requests; how many there were."""
        requests = self.tick(name).run_requests or []
        for request in requests:
            self.run(
                request.job_name or "index",
                tags=dict(request.tags),
                asset_selection=list(request.asset_selection or []) or None,
                partition_key=request.partition_key,
            )
        return len(requests)

    def settle(self, most: int = 20) -> int:
        """Ticks of the gap sensor until nothing is requested any more; how many runs it took."""
        self.failed.clear()
        total = 0
        for _ in range(most):
            requested = self.sensor("gap_sensor")
            if not requested:
                return total
            total += requested
        raise AssertionError(f"still busy after {most} rounds: {self.said}")

    def tables(self) -> dict[Table, str]:
        """Every table and the tag of its file, which changes with every commit."""
        found: dict[Table, str] = {}
        whole = listing(self.store.storage, "")
        for asset in SCHEMAS:
            found |= {(asset, key): tag for key, tag in listing(self.store.storage, asset).items()}
            if asset in whole:
                found[asset, None] = whole[asset]
        return found

    def stale_to_dagster(self) -> dict[Table, list[str]]:
        """Tables that the UI marks as unsynced, with the reasons that it gives."""
        graph = self.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        causes = {
            (asset, key): [c.reason for c in resolver.get_stale_causes(AssetKey(asset), key)]
            for asset, key in self.tables()
        }
        return {table: reasons for table, reasons in causes.items() if reasons}

    def made_since(self, before: Mapping[Table, str]) -> set[Table]:
        """Tables that were committed since."""
        return {table for table, tag in self.tables().items() if before.get(table) != tag}
