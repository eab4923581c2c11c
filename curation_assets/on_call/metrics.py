"""Numbers of an installation for Prometheus: what is behind and why, failures, cost, sensors, dead runs.

All are read when they are asked for: from footers that staleness remembers, and from Dagster's database. What belongs here: names and
meaning of the numbers. What does not: thresholds, which are in `deploy/monitoring/alerts.yaml`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from curation_assets.engine.making import LOST
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.staleness import SHARDED, State, looked_at
from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.instance import last_ticks, opened
from curation_assets.recipes import RecipeError, Recipes
from curation_assets.report import Report, reports
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_resources.processes import Life
from curation_resources.storage_errors import StorageError
from curation_resources.tables import TableStore
from curation_resources.tolerant_tables import Tolerant

NAMES = {
    "curation_partitions": (
        "Partitions of an asset by state (fresh, stale, missing, waiting, retry).",
        ("dataset", "asset", "state"),
    ),
    "curation_partitions_behind": ("Partitions that are not fresh, by kind of reason.", ("dataset", "asset", "reason")),
    "curation_videos_failed": ("Videos that could not be fetched, by class of failure.", ("dataset", "error_class")),
    "curation_rows_failed": (
        "Videos, clips or frames of which a table could not be made.",
        ("dataset", "asset"),
    ),
    "curation_funnel_rows": (
        "Rows after each step from the source to clips without a better copy.",
        ("dataset", "step"),
    ),
    "curation_cost": ("Cost of the tables in force, in the currency of the settings.", ("dataset", "asset")),
    "curation_cost_per_clip": ("Cost of a dataset's tables for each of its clips.", ("dataset",)),
    "curation_selected": ("Clips or tracks that a subset has selected.", ("subset",)),
    "curation_export_failed": ("Of the selected, how many an export in force could not make.", ("subset", "asset")),
    "curation_sensor_last_tick_timestamp_seconds": (
        "When a sensor or schedule that is switched on was evaluated last.",
        ("name",),
    ),
    "curation_runs": ("Runs in Dagster that are queued or at work.", ("status",)),
    "curation_runs_dead": ("Runs that Dagster takes for running and whose process is gone.", ()),
    "curation_pool_slots": ("Slots of a pool that steps hold or wait for.", ("pool", "state")),
    "curation_scrape_error": ("1 if what the label names could not be read.", ("of",)),
}
"""Every metric: its description and labels. A test holds the alert rules and the dashboard against it."""

KINDS = ("code", "dataset", "file", "input", "parameter", "waits", "was", "weights")
"""First words of reasons that name a kind; other reasons begin with a name or a number, of which there may be any number."""


def _families() -> dict[str, GaugeMetricFamily]:
    return {name: GaugeMetricFamily(name, about, labels=labels) for name, (about, labels) in NAMES.items()}


class _Installation(Collector):
    """Reads an installation each time that it is asked."""

    def __init__(self, settings: Settings, recipes: Callable[[], Recipes]) -> None:
        self._settings, self._read_recipes = settings, recipes

    def describe(self) -> list[Metric]:
        """Names alone: a collector without this is read when it is registered."""
        return list(_families().values())

    def collect(self) -> Iterator[Metric]:
        families = _families()
        for of, fill in (("recipes", self._recipes), ("storage", self._tables), ("instance", self._dagster)):
            failed = 0.0
            try:
                fill(families)
            except Exception:  # noqa: BLE001 - a store that is away must not take the other numbers along; the metric says so
                failed = 1.0
            families["curation_scrape_error"].add_metric([of], failed)
        yield from families.values()

    def _recipes(self, families: Mapping[str, GaugeMetricFamily]) -> None:
        """No number: whether all recipes can be used."""
        found = self._read_recipes()
        if found.faults:
            raise RecipeError(found.faults[0].message)

    def _tables(self, families: Mapping[str, GaugeMetricFamily]) -> None:
        store, recipes = table_store(self._settings), self._read_recipes().usable
        standing = looked_at(store, recipes, self._settings).look()
        for asset, dataset in product(SHARDED, recipes):
            for state, number in standing.counts(asset, dataset).items():
                families["curation_partitions"].add_metric([dataset, asset, state], number)
        for labels, number in _counted((_dataset(s), s.asset, s.state) for s in standing.whole.values()):
            families["curation_partitions"].add_metric(labels, number)
        reasons = ((_dataset(s), s.asset, kind) for s in standing.all_behind() for kind in _kinds(s))
        for labels, number in _counted(reasons):
            families["curation_partitions_behind"].add_metric(labels, number)
        whole = Tolerant(store)
        for report in reports(whole, recipes.values(), self._settings, reasons=False):
            _fill_report(families, whole, report)
        if whole.damaged:
            raise StorageError(whole.damaged[0])

    def _dagster(self, families: Mapping[str, GaugeMetricFamily]) -> None:
        with opened() as instance:
            for name, when in last_ticks(instance):
                families["curation_sensor_last_tick_timestamp_seconds"].add_metric([name], when)
            holders = dead_runs.holders(instance)
            statuses = Counter(h.run.status.value for h in holders if h.run is not None and h.unfinished)
            for status, number in sorted(statuses.items()):
                families["curation_runs"].add_metric([status], number)
            families["curation_runs_dead"].add_metric([], sum(h.life is Life.DEAD and h.unfinished for h in holders))
            slots = Counter((s.pool, "held" if s.held else "awaited") for h in holders for s in h.slots)
            for labels, number in sorted(slots.items()):
                families["curation_pool_slots"].add_metric(labels, number)


def registry(settings: Settings, recipes: Callable[[], Recipes]) -> CollectorRegistry:
    """A registry whose numbers, and the recipes too, are read anew whenever they are asked for."""
    own = CollectorRegistry()
    own.register(_Installation(settings, recipes))
    return own


def _dataset(state: State) -> str:
    """The dataset of a partition; empty for an asset over all of them."""
    if state.partition is None:
        return ""
    key = re.fullmatch(r"[a-z0-9_]+-\d{5,}", state.partition)
    return parse_shard_key(state.partition)[0] if key else state.partition.split("-")[0]


def _kinds(state: State) -> Sequence[str]:
    """What kind of reason is given: damage, media that are lost, or the first word of each where that names a kind; else the state itself."""
    return list(dict.fromkeys(_kind(reason, state.state) for reason in state.reasons)) or [state.state]


def _kind(reason: str, state: str) -> str:
    if " is damaged (" in reason:
        return "damaged"
    if reason.endswith(LOST):
        return "lost"
    first = reason.split()[0]
    return first if first in KINDS else state


def _counted(labels: Iterable[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], int]]:
    yield from sorted(Counter(labels).items())


def _fill_report(families: Mapping[str, GaugeMetricFamily], store: TableStore, report: Report) -> None:
    for error_class, number in report.failures.items():
        families["curation_videos_failed"].add_metric([report.dataset, error_class], number)
    for one in report.failed:
        families["curation_rows_failed"].add_metric([report.dataset, one.asset], one.failed)
    for step in report.steps:
        families["curation_funnel_rows"].add_metric([report.dataset, step.name.strip()], step.rows)
    for cost in report.costs:
        families["curation_cost"].add_metric([report.dataset, cost.asset], cost.cost)
    clips = next((s.rows for s in report.steps if s.name == "clips"), 0)
    if clips:
        families["curation_cost_per_clip"].add_metric([report.dataset], report.cost / clips)
    for subset in report.subsets:
        if subset.steps:
            families["curation_selected"].add_metric([subset.key], subset.steps[-1].rows)
        for asset in subset.exported:
            families["curation_export_failed"].add_metric([subset.key, asset], subset.failed.get(asset, 0))
