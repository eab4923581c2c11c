"""What the whole of a dataset would give, told from a sample of its videos: totals with intervals.

A sample has n of the N videos of a source, each by a hash of its id, which says nothing of what is in it: any n are as likely as any others. What a video
brings (clips, hours, selected clips) is summed up per video, so that many clips of one video count as what they are, one draw. The interval of a total is
Student's for a mean without replacement (Cochran, Sampling Techniques, 3rd ed., 2.24), upwards on a logarithmic scale, since a few videos may bring very much
(Buckland et al., Introduction to Distance Sampling, 3.6.1); and it covers that of the share of videos that bring anything at all (Clopper and Pearson),
which alone says something where only a few do.

Near-duplicates between videos are the exception: a pair is in a sample with both its videos, so that a sample of 1 % has 1 % of the clips and 0.01 % of the
pairs. `ProjectedCopies` has both sides; the lower limit of all that is counted after them takes them for as many as they may be, as likely to pass the other rules
as any clip.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.component import Component
from curation_assets.engine.samples import read_listed
from curation_assets.publish.curating.judging import EXCLUDED, rules_of
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import CLUSTERS, COMPONENTS, INDEX, JUDGED
from curation_assets.report import dataset_report
from curation_assets.settings import Settings
from curation_resources.tables import MissingTable, TableStore

CONFIDENCE = 0.95
"""Of every interval, by itself."""
HOUR_MS = 3_600_000
VERDICTS = next(c for c in COMPONENTS if CLUSTERS in c.slices)
"""The table that says of each clip whether it has a better copy."""


@dataclass(frozen=True)
class Estimated:
    """A number of the whole, and what it lies between."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ProjectedLine:
    """A line of the projection.

    Attributes:
        name: what is counted.
        seen: how many the sample has.
        rows: how many the whole would have.
        hours: their length; None where nothing is known of it.
    """

    name: str
    seen: int
    rows: Estimated
    hours: Estimated | None = None


@dataclass(frozen=True)
class ProjectedCopies:
    """Clips with a better copy.

    Attributes:
        seen: in the sample; `between` those of them whose better copies are all of other videos.
        least, most: in the whole, if copies between videos come in crowds, and if they come in pairs; no more than there are clips.
        clips: that were compared, in the whole.
    """

    seen: int
    between: int
    least: float
    most: float
    clips: float

    @property
    def unseen(self) -> float:
        """Share of the clips that may have better copies beyond those that a sample shows."""
        return max(self.most - self.least, 0.0) / self.clips if self.clips else 0.0


@dataclass(frozen=True)
class Projection:
    """What a dataset would come to.

    Attributes:
        sampled, listed: videos in the sample, and in the source.
        lines: of the dataset.
        failures: class -> videos that could not be fetched.
        duplicates: None where nothing was compared.
        subsets: key -> lines of its funnel.
        cost: CPU seconds, GPU seconds and money, in proportion to the hours of video.
    """

    dataset: str
    sampled: int
    listed: int
    lines: tuple[ProjectedLine, ...]
    failures: Mapping[str, ProjectedLine]
    duplicates: ProjectedCopies | None
    subsets: Mapping[str, tuple[ProjectedLine, ...]]
    cost: Mapping[str, Estimated]


@dataclass
class PerVideo:
    """Sums over videos of what each brings, with which a total is estimated; they are added as shards come."""

    some: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """More videos: float (n,), what each brings; those that bring nothing may be left out."""
        self.some += int((values > 0).sum())
        self.total += float(values.sum())
        self.squares += float((values**2).sum())

    def whole(self, sampled: int, listed: int) -> Estimated:
        """The total over all `listed` videos, of which `sampled` were drawn."""
        from scipy import stats

        if sampled == 0:
            return Estimated(0.0, 0.0, math.inf)
        mean, tail = self.total / sampled, (1 - CONFIDENCE) / 2
        alike = stats.beta.ppf(
            [tail, 1 - tail], [self.some or 1, self.some + 1], [sampled - self.some + 1, sampled - self.some or 1]
        )
        share = [0.0 if self.some == 0 else alike[0], 1.0 if self.some == sampled else alike[1]]
        each = self.total / self.some if self.some else 1.0
        low, high = (listed * s * each for s in share)
        if sampled > 1 and sampled < listed:
            variance = max(self.squares - sampled * mean**2, 0.0) / (sampled - 1)
            error = math.sqrt((1 - sampled / listed) * variance / sampled)
            quantile = float(stats.t.ppf(1 - tail, sampled - 1))
            upwards = math.exp(quantile * math.sqrt(math.log1p((error / mean) ** 2))) if mean else 1.0
            low, high = min(low, listed * (mean - quantile * error)), max(high, listed * mean * upwards)
        if sampled >= listed:
            low = high = self.total
        return Estimated(listed * mean, max(low, self.total), high)


@dataclass
class _Counting:
    """A line before it is estimated."""

    name: str
    rows: PerVideo = field(default_factory=PerVideo)
    hours: PerVideo | None = None

    def add(self, videos: pa.ChunkedArray, lengths_ms: pa.ChunkedArray | None) -> None:
        """Rows that count: the video of each, and its length."""
        table = pa.table({"video": videos} | ({"ms": lengths_ms} if lengths_ms is not None else {}))
        sums = table.group_by("video").aggregate(
            [([], "count_all"), *([("ms", "sum")] if lengths_ms is not None else [])]
        )
        self.rows.add(sums["count_all"].to_numpy().astype(float))
        if lengths_ms is not None:
            self.hours = self.hours or PerVideo()
            self.hours.add(pc.fill_null(sums["ms_sum"], 0).to_numpy().astype(float) / HOUR_MS)

    def line(self, sampled: int, listed: int) -> ProjectedLine:
        hours = self.hours.whole(sampled, listed) if self.hours is not None and self.rows.total else None
        return ProjectedLine(self.name, int(self.rows.total), self.rows.whole(sampled, listed), hours)


def project(store: TableStore, recipe: Recipe, settings: Settings) -> Projection:
    """What the whole of a dataset would come to, by the tables of a sample.

    Args:
        store: the sample's.

    Raises:
        LookupError: it was not indexed as a sample.
    """
    dataset, listed = recipe.dataset, read_listed(store.storage).get(recipe.dataset)
    if listed is None:
        raise LookupError(
            f"no sample of {dataset} was indexed in {store.storage.root}; run the recipe with --sample first"
        )
    sampled = _present(store, dataset)
    report = dataset_report(store, recipe, settings)
    clips = sum(c.rows for c in report.costs if c.asset == VERDICTS.asset)
    duplicates = _duplicates(store, dataset, (sampled, listed), clips)
    lines = []
    for component, counting in _sharded(store, dataset):
        line = counting.line(sampled, listed)
        lines.append(_with_copies(line, duplicates) if component is VERDICTS else line)
    failures = {name: _alike(name, count, sampled, listed) for name, count in report.failures.items()}
    cost = {}
    hours = next((line.hours for line in lines if line.hours is not None), None)
    for name, spent in (
        ("CPU hours", sum(c.cpu_s for c in report.costs) / 3600),
        ("GPU hours", sum(c.gpu_s for c in report.costs) / 3600),
        ("dollars", report.cost),
    ):
        if hours is not None and hours.value and spent:
            each = spent * listed / sampled / hours.value
            cost[name] = Estimated(each * hours.value, each * hours.low, each * hours.high)
    subsets = {}
    for name, subset in recipe.subsets.items():
        key = subset_key(dataset, name)
        if (found := _subset(store, key, subset, recipe, duplicates)) is not None:
            subsets[key] = found
    return Projection(dataset, sampled, listed, tuple(lines), failures, duplicates, subsets, cost)


def _with_copies(line: ProjectedLine, duplicates: ProjectedCopies | None) -> ProjectedLine:
    """A line of clips of which those with better copies were left out, with the lower limits that it has if there are as many of those as there may be."""
    if duplicates is None:
        return line
    kept = 1 - min(duplicates.unseen, 1.0)
    low = replace(line.rows, low=max(line.rows.low * kept, min(line.seen, line.rows.low)))
    hours = replace(line.hours, low=line.hours.low * kept) if line.hours is not None else None
    return replace(line, rows=low, hours=hours)


def _present(store: TableStore, dataset: str) -> int:
    """Videos of a dataset that the sample has."""
    found = 0
    for batch in store.batches(INDEX, ["dataset", "status"], 1 << 20):
        found += pc.sum(pc.and_(pc.equal(batch["dataset"], dataset), pc.equal(batch["status"], "present"))).as_py() or 0
    return int(found)


def _alike(name: str, count: int, sampled: int, listed: int) -> ProjectedLine:
    """A line of videos that all count as one."""
    return ProjectedLine(name, count, PerVideo(count, count, count).whole(sampled, listed))


def _sharded(store: TableStore, dataset: str) -> Iterator[tuple[Component, _Counting]]:
    """The lines of a dataset's funnel, and the tables that they count."""
    for component in COMPONENTS:
        counted = component.counted
        if counted is None:
            continue
        column, value = counted.row
        own = _Counting(counted.name)
        shards = [s for s in store.partitions(component.asset) if s.rpartition("-")[0] == dataset]
        for shard in shards:
            table = store.read(component.asset, shard, ["video_id", column, *counted.length])
            table = table.filter(pc.equal(table[column], value))
            own.add(table["video_id"], _length(table, counted.length))
        if shards:
            yield component, own


def _length(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray | None:
    if not columns:
        return None
    return table[columns[0]] if len(columns) == 1 else pc.subtract(table[columns[0]], table[columns[1]])


def _subset(
    store: TableStore, key: str, subset: Subset, recipe: Recipe, duplicates: ProjectedCopies | None
) -> tuple[ProjectedLine, ...] | None:
    """The funnel of a subset; None where it was not judged."""
    try:
        table = store.read(JUDGED[subset.of], key, ["dataset", "video_id", "drop_reason", "start_ms", "end_ms"])
    except MissingTable:
        return None
    names = subset.datasets or [recipe.dataset]
    listed = read_listed(store.storage)
    if not all(n in listed for n in names):
        return None
    sampled, everything = sum(_present(store, n) for n in names), sum(listed[n] for n in names)
    rules = rules_of(subset)
    steps = [*([EXCLUDED] if subset.exclude else []), *(r.text for r, _ in rules)]
    dropped_by = pc.fill_null(
        pc.index_in(table["drop_reason"], value_set=pa.array(steps, pa.string())), len(steps)
    ).to_numpy()
    videos = pc.binary_join_element_wise(table["dataset"], table["video_id"], " ")
    lengths = pc.subtract(table["end_ms"], table["start_ms"])
    found = []
    copies = {VERDICTS.counted.row[0]} if VERDICTS.counted is not None else set()
    since = next(
        (i for i, (rule, _) in enumerate(rules, len(steps) - len(rules) + 1) if copies & set(rule.columns)),
        len(steps) + 1,
    )
    for step, name in enumerate(["candidates", *steps]):
        passed = pa.array(dropped_by >= step)
        own = _Counting(name)
        own.add(videos.filter(passed), lengths.filter(passed))
        line = own.line(sampled, everything)
        found.append(_with_copies(line, duplicates) if step >= since else line)
    if subset.select.count is not None:
        last = found[-1].rows
        parts = (min(float(subset.select.count), v) for v in (last.value, last.low, last.high))
        found.append(
            ProjectedLine(
                f"select: {subset.select.criterion}, at most {subset.select.count}",
                int(pc.sum(pc.is_null(table["drop_reason"])).as_py() or 0),
                Estimated(*parts),
            )
        )
    return tuple(found)


def _duplicates(store: TableStore, dataset: str, videos: tuple[int, int], clips: int) -> ProjectedCopies | None:
    """Clips of the dataset with a better copy, of `clips` of the sample; `videos` has how many there are in the sample, and in the source.

    A clip that was dropped is in the sample as often as its video is (n / N) if a better copy is of the same video, or if so many are that one always is; and
    as often as two videos are (n / N squared) if there is one better copy, of another video.
    """
    from scipy import stats

    try:
        table = store.read(CLUSTERS, None, ["dataset", "video_id", "clip_id", "cluster_id", "keep"])
    except MissingTable:
        return None
    if not videos[0]:
        return None
    members: Counter[tuple[str, str]] = Counter()
    rows: list[Mapping[str, Any]] = table.to_pylist()
    for row in rows:
        members[row["cluster_id"], f"{row['dataset']} {row['video_id']}"] += 1
    dropped = [r for r in rows if not r["keep"] and r["dataset"] == dataset]
    between = sum(members[r["cluster_id"], f"{r['dataset']} {r['video_id']}"] == 1 for r in dropped)
    share, within = videos[0] / videos[1], len(dropped) - between
    pairs = stats.chi2.ppf((1 + CONFIDENCE) / 2, 2 * (between + 1)) / 2 if share < 1 else between
    return ProjectedCopies(
        len(dropped),
        between,
        len(dropped) / share,
        min(within / share + pairs / share**2, clips / share),
        clips / share,
    )
