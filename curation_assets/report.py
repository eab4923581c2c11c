"""What a dataset came to: the funnel from source rows to selected clips, failures by class, and what it took and cost.

Everything is read from footers: each table keeps its counts, seconds and cost. They are added up as they come (`engine/tallies.py`), so that memory does not grow with the
number of tables, and read again only where the table is another. Of the index, two columns are read, batch by batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation_assets.engine.declared import taken_down
from curation_assets.engine.gathered_inputs import MADE_WITHOUT, said_lacking
from curation_assets.engine.meter import price
from curation_assets.engine.shard_keys import dataset_of, parse_shard_key
from curation_assets.engine.slices import hashes_in, read_slices
from curation_assets.engine.tallies import TABLES, Tallies, summed
from curation_assets.failures import Failures, failures
from curation_assets.publish.curating.subset_inputs import LEFT_OUT
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import COMPARED, COMPONENTS, DOWNLOADS, EXPORTS, GATHERED, INDEX, JUDGED, component, names
from curation_assets.selection import SUBSET_ASSETS, UNPARTITIONED, assets_of_recipe
from curation_assets.settings import Settings
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore
from curation_resources.words import plural


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
    """The funnel of a subset, what each thousand of its rows cost, all earlier stages included, what it was published without, and of each export
    how many of the selected could not be made; `exported` are the exports that are in force."""

    key: str
    steps: tuple[FunnelLine, ...]
    per_thousand: float | None
    left_out: tuple[str, ...] = ()
    failed: Mapping[str, int] = field(default_factory=dict)
    exported: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything about one dataset; `taken_down` are rows of its source that are left out since their videos were taken down, and `without` says of each table over all
    shards which it does not know since what it is made from is missing; `failed` are the clips, and videos, of which something could not be made."""

    dataset: str
    steps: tuple[FunnelLine, ...]
    failures: Mapping[str, int]
    costs: tuple[Cost, ...]
    subsets: tuple[SubsetReport, ...]
    taken_down: int = 0
    without: tuple[str, ...] = ()
    failed: tuple[Failures, ...] = ()

    @property
    def cost(self) -> float:
        return sum(c.cost for c in self.costs)


def reports(store: TableStore, recipes: Iterable[Recipe], settings: Settings, reasons: bool = True) -> Iterator[Report]:
    """The reports of datasets as their tables stand. Costs are CPU and GPU seconds at the settings' prices. Without `reasons` no rows are read for why
    they failed."""
    books = _Books(store, settings)
    for recipe in recipes:
        yield _report(books, recipe, reasons)


def dataset_report(store: TableStore, recipe: Recipe, settings: Settings) -> Report:
    """The report of one dataset, in numbers alone."""
    (found,) = reports(store, [recipe], settings, reasons=False)
    return found


@dataclass
class _Books:
    """What the tables of datasets come to, each asset and dataset added up once."""

    store: TableStore
    settings: Settings

    def __post_init__(self) -> None:
        self.tallies = Tallies(self.store)
        self._sums: dict[str, dict[str, TableHeader]] = {}
        self._index: dict[str, Counter[str]] | None = None
        self._shards: dict[str, frozenset[str]] = {}
        self._own: dict[str, set[str]] | None = None
        self._whole = {a: h for a in UNPARTITIONED if (h := self.store.header(a)) is not None}

    def sharded(self, dataset: str) -> dict[str, TableHeader]:
        """Asset -> all its tables of the dataset as one header; without assets that have none."""
        if dataset not in self._sums:
            sums = ((a, summed(self.tallies.headers(a, dataset))) for a in names("shard"))
            self._sums[dataset] = {a: h for a, h in sums if h is not None}
        return self._sums[dataset]

    def cost(self, dataset: str) -> float:
        """Everything that a dataset took before its subsets."""
        sharded = sum(_took(h, self.settings)["cost"] for h in self.sharded(dataset).values())
        return sharded + sum(c.cost for c in self.shared(dataset))

    def shared(self, dataset: str) -> Iterator[Cost]:
        """What the index and the duplicate clusters took, by the dataset's share of the rows that they were made from."""
        for asset, header in self._whole.items():
            shares: Counter[str] = Counter()
            if asset == INDEX:
                for shard in read_slices(self.store, header).to_pylist():
                    shares[parse_shard_key(shard["shard"])[0]] += shard["rows"]
            else:
                for one in self.tallies.headers(COMPARED):
                    shares[parse_shard_key(one.partition or "")[0]] += one.rows
            if shares[dataset]:
                share = shares[dataset] / shares.total()
                took = _took(header, self.settings)
                parts = (took[n] * share for n in ("wall_s", "cpu_s", "gpu_s", "cost"))
                yield Cost(asset, 1, shares[dataset] if asset == INDEX else header.rows, *parts)

    def taken_down(self, dataset: str) -> int:
        """Videos of the dataset that were taken down."""
        return taken_down(self._whole.get(INDEX)).get(dataset, 0)

    def without(self, recipe: Recipe) -> Iterator[str]:
        """Of each table over all shards that a recipe asks for, the shards that it knows nothing of; of one that is fitted once, those that it was fitted without."""
        asked = assets_of_recipe(recipe)
        if self._own is None:
            self._own = {}
            for shard in hashes_in(self.store, self._whole.get(INDEX)):
                self._own.setdefault(dataset_of(shard), set()).add(shard)
        for asset in (a for a in GATHERED if a in asked and a in self._whole):
            gathering, source = component(asset).gathering, component(asset).inputs[0]
            if gathering is not None and gathering.fitted:
                line = self._whole[asset].stats.get(MADE_WITHOUT, "")
            else:
                if source not in self._shards:
                    self._shards[source] = frozenset(self.store.partitions(source))
                line = said_lacking(asset, self._own.get(recipe.dataset, set()) - self._shards[source])
            if line:
                yield f"{asset} was made without {line}"

    def index(self, dataset: str) -> Counter[str] | None:
        """Status -> rows of the index; None without one."""
        if self._index is None and self.store.exists(INDEX):
            self._index = {}
            for batch in self.store.batches(INDEX, ["dataset", "status"], 1 << 20):
                pairs = pa.Table.from_batches([batch]).group_by(["dataset", "status"]).aggregate([([], "count_all")])
                for row in pairs.to_pylist():
                    self._index.setdefault(row["dataset"], Counter())[row["status"]] += row["count_all"]
        return None if self._index is None else self._index.get(dataset, Counter())


def _report(books: _Books, recipe: Recipe, reasons: bool) -> Report:
    store, settings = books.store, books.settings
    sharded = books.sharded(recipe.dataset)
    costs = (*books.shared(recipe.dataset), *(_cost(header, settings) for header in sharded.values()))
    own = {subset_key(recipe.dataset, name): subset for name, subset in recipe.subsets.items()}
    subset_costs: dict[str, Counter[str]] = {}
    found = []
    for key, subset in own.items():
        made = {a: h for a in SUBSET_ASSETS if (h := store.header(a, key)) is not None}
        for asset, header in made.items():
            subset_costs.setdefault(asset, Counter()).update(_took(header, settings))
        curated = made.get(JUDGED[subset.of])
        if curated is None:
            continue
        steps = tuple(FunnelLine(str(rule), rows, hours) for rule, rows, hours in curated.stats.get("funnel", []))
        selected = curated.stats.get("selected") or 0
        whole = sum(books.cost(d) for d in subset.datasets or [recipe.dataset])
        whole += sum(_took(h, settings)["cost"] for h in made.values())
        lacking = dict.fromkeys(line for h in made.values() for line in h.stats.get(LEFT_OUT, ()))
        lacking |= {
            f"shard {s} was left out: {why}": None for s, why in curated.stats.get("missing_shards", {}).items()
        }
        failed = {a: int(n) for a, h in made.items() if a in EXPORTS and (n := h.stats.get("failed"))}
        per_thousand = whole / selected * 1000 if selected else None
        exported = tuple(a for a in made if a in EXPORTS)
        found.append(SubsetReport(key, steps, per_thousand, tuple(lacking), failed, exported))
    costs += tuple(
        Cost(asset, int(t["tables"]), int(t["rows"]), t["wall_s"], t["cpu_s"], t["gpu_s"], t["cost"])
        for asset, t in subset_costs.items()
    )
    fetched = sharded.get(DOWNLOADS)
    classes = Counter(fetched.stats.get("errors", {}) if fetched else {})
    steps = tuple(_funnel(books.index(recipe.dataset), sharded))
    gone = books.taken_down(recipe.dataset)
    without = tuple(books.without(recipe))
    lacking_rows = tuple(failures(store, books.tallies, recipe, reasons=reasons))
    return Report(recipe.dataset, steps, dict(classes.most_common()), costs, tuple(found), gone, without, lacking_rows)


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


def _cost(header: TableHeader, settings: Settings) -> Cost:
    took = _took(header, settings)
    numbers = (took[n] for n in ("wall_s", "cpu_s", "gpu_s", "cost"))
    return Cost(header.asset, int(header.stats[TABLES]), header.rows, *numbers)


def _funnel(index: Counter[str] | None, sharded: Mapping[str, TableHeader]) -> Iterator[FunnelLine]:
    if index is not None:
        yield FunnelLine("source rows", index.total())
        for name in ("rejected", "removed"):
            if index.get(name):
                yield FunnelLine(f"  of them {name}", index[name])
        yield FunnelLine("videos in the source", index.get("present", 0))
    for part in COMPONENTS:
        counted = part.counted
        if counted is not None and part.asset in sharded:
            stats = sharded[part.asset].stats
            hours = float(stats.get(counted.duration) or 0) / counted.per_hour if counted.duration else None
            yield FunnelLine(counted.name, int(stats.get(counted.rows) or 0), hours)


def render(report: Report, settings: Settings) -> str:
    """The report as text tables."""
    from curation_assets.outcome import text_table, why_failed

    parts = [f"dataset {report.dataset}", _steps(report.steps)]
    if report.taken_down:
        parts.append(
            f"{plural(report.taken_down, 'row')} of the source left out besides, of videos that were taken down: nothing of them is stored"
        )
    parts += report.without
    for subset in report.subsets:
        price = (
            "nothing selected"
            if subset.per_thousand is None
            else f"{subset.per_thousand:.4f} dollars per thousand selected"
        )
        parts += [f"subset {subset.key}: {price}", _steps(subset.steps)]
        if subset.left_out:
            parts.append(f"{subset.key} was published without:\n" + "\n".join(f"- {line}" for line in subset.left_out))
        for asset, count in subset.failed.items():
            parts.append(f"{asset} is without {count:,} that could not be made: `{why_failed(subset.key, asset)}`")
    if report.failures:
        parts.append(text_table(("videos that failed", "count"), list(report.failures.items())))
    if report.failed:
        parts.append("\n".join(one.line for one in report.failed))
    rows: list[tuple[object, ...]] = [
        (c.asset, c.tables, c.rows, f"{c.wall_s:.1f}", f"{c.cpu_s:.1f}", f"{c.gpu_s:.1f}", f"{c.cost:.6f}")
        for c in report.costs
    ]
    whole = [sum(getattr(c, n) for c in report.costs) for n in ("wall_s", "cpu_s", "gpu_s")]
    rows.append(("all", sum(c.tables for c in report.costs), "", *(f"{w:.1f}" for w in whole), f"{report.cost:.6f}"))
    parts.append(text_table(("asset", "tables", "rows", "wall s", "CPU s", "GPU s", "dollars"), rows))
    prices = f"{settings.price_core_hour:g} per core-hour, {settings.price_gpu_hour:g} per GPU-hour"
    parts.append(f"dollars at {prices}; each table as of its last materialization")
    return "\n\n".join(parts)


def _steps(steps: Sequence[FunnelLine]) -> str:
    from curation_assets.outcome import text_table

    rows = [(s.name, s.rows, "" if s.hours is None else f"{s.hours:.3f}") for s in steps]
    return text_table(("after", "rows", "hours"), rows)
