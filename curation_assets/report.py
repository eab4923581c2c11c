"""What a dataset came to: the funnel from source rows to selected clips, failures by class, and what it took and cost.

Everything is read from footers: each table keeps its counts, seconds and cost. Of the index, two columns are read, batch by batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from curation_assets.engine.meter import price
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.slices import read_slices
from curation_assets.publish.curating.subset_inputs import LEFT_OUT
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import COMPARED, COMPONENTS, DOWNLOADS, INDEX, JUDGED
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, UNPARTITIONED
from curation_assets.settings import Settings
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore


@dataclass(frozen=True)
class FunnelLine:
    """A step of the funnel; hours are None where nothing is known of durations."""

    name: str
    rows: int
    hours: float | None = None


@dataclass(frozen=True)
class Cost:
    """What the tables of an asset took: each as of its last materialization. Of what is made over all datasets, this one's share by rows."""

    asset: str
    tables: int
    rows: int
    wall_s: float
    cpu_s: float
    gpu_s: float
    cost: float


@dataclass(frozen=True)
class SubsetReport:
    """The funnel of a subset, what each thousand of its rows cost, all earlier stages included, and what it was published without."""

    key: str
    steps: tuple[FunnelLine, ...]
    per_thousand: float | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything about one dataset."""

    dataset: str
    steps: tuple[FunnelLine, ...]
    failures: Mapping[str, int]
    costs: tuple[Cost, ...]
    subsets: tuple[SubsetReport, ...]

    @property
    def cost(self) -> float:
        return sum(c.cost for c in self.costs)


def dataset_report(store: TableStore, recipe: Recipe, settings: Settings) -> Report:
    """The report of a dataset as its tables stand. Costs are CPU and GPU seconds at the settings' prices."""
    headers = dict(_sharded(store, recipe.dataset))
    costs = (
        *_shared(store, recipe.dataset, settings),
        *(_cost(asset, list(found.values()), settings) for asset, found in headers.items()),
    )
    own = {subset_key(recipe.dataset, name): subset for name, subset in recipe.subsets.items()}
    subset_costs: dict[str, Counter[str]] = {}
    reports = []
    for key, subset in own.items():
        made = {a: h for a in SUBSET_ASSETS if (h := store.header(a, key)) is not None}
        for asset, header in made.items():
            subset_costs.setdefault(asset, Counter()).update(_took(header, settings))
        curated = made.get(JUDGED[subset.of])
        if curated is None:
            continue
        steps = tuple(FunnelLine(str(rule), rows, hours) for rule, rows, hours in curated.stats.get("funnel", []))
        selected = curated.stats.get("selected") or 0
        whole = sum(_cost_of(store, d, settings) for d in subset.datasets or [recipe.dataset])
        whole += sum(_took(h, settings)["cost"] for h in made.values())
        lacking = dict.fromkeys(line for h in made.values() for line in h.stats.get(LEFT_OUT, ()))
        lacking |= {
            f"shard {s} was left out: {why}": None for s, why in curated.stats.get("missing_shards", {}).items()
        }
        reports.append(SubsetReport(key, steps, whole / selected * 1000 if selected else None, tuple(lacking)))
    costs += tuple(
        Cost(asset, int(t["tables"]), int(t["rows"]), t["wall_s"], t["cpu_s"], t["gpu_s"], t["cost"])
        for asset, t in subset_costs.items()
    )
    failures: Counter[str] = Counter()
    for header in headers.get(DOWNLOADS, {}).values():
        failures.update(header.stats.get("errors", {}))
    steps = tuple(_funnel(store, recipe.dataset, headers))
    return Report(recipe.dataset, steps, dict(failures.most_common()), costs, tuple(reports))


def _sharded(store: TableStore, dataset: str) -> Iterator[tuple[str, dict[str, TableHeader]]]:
    for asset in SCHEMAS:
        if asset in SUBSET_ASSETS or asset in UNPARTITIONED:
            continue
        keys = [k for k in store.partitions(asset) if parse_shard_key(k)[0] == dataset]
        if keys:
            yield asset, store.headers(asset, keys)


def _took(header: TableHeader, settings: Settings) -> dict[str, Any]:
    cpu, gpu = float(header.stats.get("cpu_s", 0)), float(header.stats.get("gpu_s", 0))
    cost = price(settings, cpu, gpu)
    return {
        "tables": 1,
        "rows": header.rows,
        "wall_s": float(header.stats.get("wall_s", 0)),
        "cpu_s": cpu,
        "gpu_s": gpu,
        "cost": cost + float(header.stats.get("caption_cost", 0)),
    }


def _cost(asset: str, headers: Sequence[TableHeader], settings: Settings) -> Cost:
    total: Counter[str] = Counter()
    for header in headers:
        total.update(_took(header, settings))
    numbers = (total[n] for n in ("wall_s", "cpu_s", "gpu_s", "cost"))
    return Cost(asset, int(total["tables"]), int(total["rows"]), *numbers)


def _shared(store: TableStore, dataset: str, settings: Settings) -> Iterator[Cost]:
    """What the index and the duplicate clusters took, by the dataset's share of the rows that they were made from."""
    for asset in UNPARTITIONED:
        header = store.header(asset)
        if header is None:
            continue
        if asset == INDEX:
            shares: Counter[str] = Counter()
            for shard in read_slices(store, header).to_pylist():
                shares[parse_shard_key(shard["shard"])[0]] += shard["rows"]
        else:
            shares = Counter()
            for key, head in store.headers(COMPARED).items():
                shares[parse_shard_key(key)[0]] += head.rows
        if shares[dataset]:
            share = shares[dataset] / shares.total()
            took = _took(header, settings)
            numbers = (took[n] * share for n in ("wall_s", "cpu_s", "gpu_s", "cost"))
            yield Cost(asset, 1, shares[dataset] if asset == INDEX else header.rows, *numbers)


def _cost_of(store: TableStore, dataset: str, settings: Settings) -> float:
    """Everything that a dataset took before its subsets."""
    sharded = sum(_took(h, settings)["cost"] for _, found in _sharded(store, dataset) for h in found.values())
    return sharded + sum(c.cost for c in _shared(store, dataset, settings))


def _funnel(store: TableStore, dataset: str, headers: Mapping[str, Mapping[str, TableHeader]]) -> Iterator[FunnelLine]:
    def total(asset: str, name: str) -> float:
        return sum(float(h.stats.get(name) or 0) for h in headers.get(asset, {}).values())

    if store.exists(INDEX):
        counts: Counter[str] = Counter()
        for batch in store.batches(INDEX, ["dataset", "status"], 1 << 20):
            of_dataset = batch.filter(pc.equal(batch["dataset"], dataset))["status"]
            counts.update({str(c["values"]): int(c["counts"]) for c in pc.value_counts(of_dataset).to_pylist()})
        yield FunnelLine("source rows", sum(counts.values()))
        for name in ("rejected", "removed"):
            if counts.get(name):
                yield FunnelLine(f"  of them {name}", counts[name])
        yield FunnelLine("videos in the source", counts.get("present", 0))
    for component in COMPONENTS:
        counted, asset = component.counted, component.asset
        if counted is not None and asset in headers:
            hours = total(asset, counted.duration) / counted.per_hour if counted.duration else None
            yield FunnelLine(counted.name, int(total(asset, counted.rows)), hours)


def render(report: Report, settings: Settings) -> str:
    """The report as text tables."""
    from curation_assets.outcome import text_table

    parts = [f"dataset {report.dataset}", _steps(report.steps)]
    for subset in report.subsets:
        price = (
            "nothing selected" if subset.per_thousand is None else f"{subset.per_thousand:.4f} per thousand selected"
        )
        parts += [f"subset {subset.key}: {price}", _steps(subset.steps)]
        if subset.left_out:
            parts.append(f"{subset.key} was published without:\n" + "\n".join(f"- {line}" for line in subset.left_out))
    if report.failures:
        parts.append(text_table(("videos that failed", "count"), list(report.failures.items())))
    rows: list[tuple[object, ...]] = [
        (c.asset, c.tables, c.rows, f"{c.wall_s:.1f}", f"{c.cpu_s:.1f}", f"{c.gpu_s:.1f}", f"{c.cost:.6f}")
        for c in report.costs
    ]
    whole = [sum(getattr(c, n) for c in report.costs) for n in ("wall_s", "cpu_s", "gpu_s")]
    rows.append(("all", sum(c.tables for c in report.costs), "", *(f"{w:.1f}" for w in whole), f"{report.cost:.6f}"))
    parts.append(text_table(("asset", "tables", "rows", "wall s", "CPU s", "GPU s", "cost"), rows))
    prices = f"{settings.price_core_hour:g} per core-hour and {settings.price_gpu_hour:g} per GPU-hour"
    parts.append(f"cost at {prices}; each table as of its last materialization")
    return "\n\n".join(parts)


def _steps(steps: Sequence[FunnelLine]) -> str:
    from curation_assets.outcome import text_table

    rows = [(s.name, s.rows, "" if s.hours is None else f"{s.hours:.3f}") for s in steps]
    return text_table(("after", "rows", "hours"), rows)
