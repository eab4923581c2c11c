"""What would run, and what it would take: core-hours, GPU-hours, gigabytes, requests and dollars, from what earlier runs took.

A table that some shards of the dataset have already takes what it took these, by the video: the mean, and as a range the tenth and the ninetieth percentile over
shards. One that only other datasets of the same root have (a pilot) takes what it took them, by the hour of video. One that nobody has takes what its component says was
measured elsewhere (`figure`), which is a range too. Where there is none of that, the table is listed without a cost, and named under the sum: nothing is made up.
What belongs here: the estimate before a run. What does not: what a run took (`report.py`), how it is printed (`estimate_text.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product

import numpy as np

from curation_assets.contracts.costs import ZERO, Figure, Span
from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.decode.frames import TABLE as FRAMES
from curation_assets.engine.declared import indexed
from curation_assets.engine.meter import price
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.slices import FORM, read_slices
from curation_assets.engine.staleness import FRESH, RETRY, SHARDED, looked_at
from curation_assets.estimate_size import Shape, Size
from curation_assets.publish.subsets import Subset
from curation_assets.publish.writing.batch_rows import EXPORT as CLIP_EXPORT
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import DOWNLOADS, GATHERED, INDEX, JUDGED, STAGES, component
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe, assets_of_subset
from curation_assets.settings import Settings
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore
from curation_resources.words import plural

SAMPLE_SHARDS = 200
"""Shards whose footers are read for the costs of a table."""
WRITES, READS = 1.75, 2.6
"""Requests for a table of a shard: PUT, POST and LIST, and GET and HEAD, pictures that are shown apart. Eight tables take 34 in all
(`curation_assets_tests/resources/test_requests.py`)."""
PART_BYTES = 50 << 20
"""Of an upload in parts: a write for each (s3fs's own block)."""


@dataclass(frozen=True)
class Range:
    """A number, and between which two it is likely to be."""

    low: float
    mean: float
    high: float

    def times(self, factor: float) -> Range:
        return Range(*(getattr(self, f.name) * factor for f in fields(self)))

    def plus(self, other: Range) -> Range:
        return Range(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Beside:
    """What of a line is for something that lies beside."""

    cpu_s: Range | None
    bytes: Range | None


@dataclass(frozen=True)
class Line:
    """What one table of a dataset, or of a subset, would take.

    Attributes:
        of: dataset, subset, or `all` of what is made over all datasets.
        tables: how many partitions would be made.
        cpu_s, gpu_s, bytes: of all of them; None where no figure is known.
        writes, reads: requests on a bucket.
        dollars: of seconds and requests, storage apart; None where the seconds are not known.
        source: where the figures come from.
        beside: name of what lies beside the table's own -> what of the line is for it; nothing where shards of one's own tell all at once.
    """

    of: str
    asset: str
    tables: int
    cpu_s: Range | None
    gpu_s: Range | None
    bytes: Range | None
    writes: Range
    reads: Range
    dollars: Range | None
    source: str
    beside: Mapping[str, Beside] = field(default_factory=dict)


class _Estimate:
    """The tables of an installation, and what is known of their costs."""

    def __init__(self, store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, size: Size) -> None:
        self.store, self.recipes, self.settings, self.size = store, recipes, settings, size
        self.videos = _videos(store)
        self.of_dataset: dict[str, list[str]] = {}
        for key in self.videos:
            self.of_dataset.setdefault(parse_shard_key(key)[0], []).append(key)
        self._headers: dict[tuple[str, str], dict[str, TableHeader]] = {}
        self.shapes = {name: self._shape(recipe) for name, recipe in recipes.items()}

    def sampled(self, asset: str, dataset: str) -> dict[str, TableHeader]:
        """Headers of some of a dataset's tables, from all over them: of those made in one go, for all their videos."""
        if (asset, dataset) not in self._headers:
            there = sorted(set(self.store.partitions(asset)) & set(self.of_dataset.get(dataset, ())))
            chosen = there[:: max(1, len(there) // SAMPLE_SHARDS)]
            found = self.store.headers(asset, chosen) if chosen else {}
            whole = {k: h for k, h in found.items() if not h.stats.get("videos_kept") and self.videos.get(k)}
            self._headers[asset, dataset] = whole
        return self._headers[asset, dataset]

    def hours(self, dataset: str, shards: Sequence[str] | None = None) -> float | None:
        """Mean hours of a video that was fetched."""
        found = self.sampled(DOWNLOADS, dataset)
        chosen = [h for k, h in found.items() if shards is None or k in shards]
        seconds = sum(float(h.stats.get("video_s") or 0) for h in chosen)
        fetched = sum(int(h.stats.get("ok") or 0) for h in chosen)
        return seconds / fetched / 3600 if fetched and seconds else None

    def _rows(self, asset: str, dataset: str) -> float | None:
        """Mean rows for a video."""
        found = self.sampled(asset, dataset)
        videos = sum(self.videos[k] for k in found)
        return sum(h.rows for h in found.values()) / videos if videos else None

    def _shape(self, recipe: Recipe) -> Shape:
        own = self.of_dataset.get(recipe.dataset, [])
        rows = sum(self.videos[k] for k in own)
        per_shard = rows / len(own) if own else float(recipe.shard.videos)
        hours = self.size.hours_per_video or self.hours(recipe.dataset)
        clips = self.size.clips_per_video or self._rows(CLIPS.asset, recipe.dataset)
        frames = self._rows(FRAMES.asset, recipe.dataset)
        if frames is None and hours is not None and clips is not None:
            frames = max(recipe.frames.fps * hours * 3600, recipe.frames.min_per_clip * clips)
        return Shape(float(rows if own else self.size.videos or 0), per_shard, hours, clips, frames)

    def todo(self) -> Counter[tuple[str, str]]:
        """(dataset, subset or `all`, table) -> partitions that a run would make."""
        found: Counter[tuple[str, str]] = Counter()
        standing = looked_at(self.store, self.recipes, self.settings, why=False, media=False).look()
        for asset, dataset in product(SHARDED, self.recipes):
            counts = standing.counts(asset, dataset)
            found[dataset, asset] += counts.total() - counts[FRESH] - counts[RETRY]
        for (asset, key), state in standing.whole.items():
            found[key or ALL, asset] += state.state not in (FRESH, RETRY)
        for dataset, recipe in self.recipes.items():
            if not self.of_dataset.get(dataset) and self.size.videos is not None:
                shards = math.ceil(self.size.videos / recipe.shard.videos)
                found |= Counter({(dataset, a): shards for a in assets_of_recipe(recipe) if a in SHARDED})
        return found

    def lines(self) -> Iterator[Line]:
        todo = self.todo()
        sized = {n for n, s in self.shapes.items() if s.videos}
        if sized and todo[ALL, INDEX]:
            new = [n for n in sized if not self.of_dataset.get(n)]
            yield self._whole(INDEX, new or sorted(sized))
        for dataset, recipe in self.recipes.items():
            for asset in (a for a in assets_of_recipe(recipe) if a in SHARDED):
                if todo[dataset, asset]:
                    yield self._of_shards(recipe, asset, todo[dataset, asset])
        for asset in GATHERED:
            if sized and todo[ALL, asset]:
                yield self._whole(asset, sorted(sized))
        for key, (recipe, subset) in subsets(self.recipes).items():
            for asset in SUBSET_ASSETS:
                if asset in assets_of_subset(subset) and todo[key, asset] and recipe.dataset in sized:
                    yield self._of_subset(key, recipe, subset, asset)

    def _of_shards(self, recipe: Recipe, asset: str, count: int) -> Line:
        shape = self.shapes[recipe.dataset]
        videos = count * shape.per_shard
        made = self.sampled(asset, recipe.dataset)
        if made:
            of = _by(made, {k: float(self.videos[k]) for k in made}, videos)
            return self._line(recipe.dataset, asset, count, of, f"{plural(len(made), 'shard')} of your own")
        if shape.hours is not None:
            for other in self.of_dataset:
                made = self.sampled(asset, other) if other != recipe.dataset else {}
                hours = self.hours(other, list(made))
                if made and hours:
                    of = _by(made, {k: self.videos[k] * hours for k in made}, videos * shape.hours)
                    return self._line(
                        recipe.dataset, asset, count, of, f"{plural(len(made), 'shard')} of {other}, by the hour"
                    )
        figure = component(asset).figure(recipe, None)
        if figure is None and (beside := _made_with(asset, recipe)):
            return self._line(recipe.dataset, asset, count, (NOTHING, NOTHING, None), f"with {beside}, in one go")
        return self._by_figure(recipe.dataset, asset, count, figure, [(shape, videos, None)])

    def _whole(self, asset: str, datasets: Sequence[str]) -> Line:
        figure = component(asset).figure(next(iter(self.recipes.values())), None)
        parts = [(self.shapes[n], self.shapes[n].videos, None) for n in datasets]
        return self._by_figure(ALL, asset, 1, figure, parts)

    def _of_subset(self, key: str, recipe: Recipe, subset: Subset, asset: str) -> Line:
        header = self.store.usable_header(asset, key)
        if header is not None and header.stats.get("cpu_s"):
            cpu, gpu, stored = _by({key: header}, {key: 1.0}, 1.0)
            said = "the version in force"
            if asset == CLIP_EXPORT:
                cpu, gpu = (None if of is None else replace(of, low=0.0) for of in (cpu, gpu))
                said += ", or less: clips that come out the same are taken over"
            return self._line(key, asset, 1, (cpu, gpu, stored), said)
        figure = component(asset).figure(recipe, subset)
        parts = []
        for dataset in subset.datasets or [recipe.dataset]:
            if dataset in self.shapes:
                shape = self.shapes[dataset]
                parts.append((shape, shape.videos, self._share(key, subset, shape)))
        return self._by_figure(key, asset, 1, figure, parts)

    def _share(self, key: str, subset: Subset, shape: Shape) -> float | None:
        """Share of the clips that the subset selects: as given, as it was last judged, or what its count asks for."""
        if self.size.selected is not None:
            return self.size.selected
        judged = self.store.usable_header(JUDGED[subset.of], key)
        if judged is not None and judged.stats.get("candidates"):
            return float(judged.stats.get("selected") or 0) / float(judged.stats["candidates"])
        clips = (shape.clips or 0) * shape.videos
        return min(1.0, subset.select.count / clips) if subset.select.count and clips else None

    def _by_figure(
        self,
        of: str,
        asset: str,
        count: int,
        figure: Figure | None,
        parts: Sequence[tuple[Shape, float, float | None]],
    ) -> Line:
        if figure is None:
            return self._line(of, asset, count, (None, None, None), "no figure: run a few shards first")
        units = [shape.units(figure, videos, share) for shape, videos, share in parts]
        if any(u is None for u in units) or not units:
            option = " and ".join(dict.fromkeys(o for s, _, share in parts for o in s.lacking(figure.unit, share)))
            nothing = NOTHING if figure.cpu_s == figure.gpu_s == ZERO else None
            said = f"counted by the {figure.unit}: give {option}"
            return self._line(of, asset, count, (nothing, nothing, None), figure.where if nothing else said)
        whole = sum(u for u in units if u is not None)
        spans = (figure.times(s, whole) for s in (figure.cpu_s, figure.gpu_s, figure.bytes))
        cpu, gpu, stored = (_middle(s) for s in spans)
        line = self._line(of, asset, count, (cpu, gpu, stored), figure.where)
        besides = {n: Beside(*(_middle(figure.times(s, whole)) for s in both)) for n, both in figure.beside.items()}
        return replace(line, beside=besides)

    def _line(
        self, of: str, asset: str, count: int, took: tuple[Range | None, Range | None, Range | None], source: str
    ) -> Line:
        cpu, gpu, stored = took
        writes = Range(*([count * WRITES] * 3)).plus((stored or NOTHING).times(1 / PART_BYTES))
        reads = Range(*([count * READS] * 3))
        dollars = None
        if cpu is not None and gpu is not None:
            worked = Range(*(price(self.settings, getattr(cpu, f.name), getattr(gpu, f.name)) for f in fields(Range)))
            dollars = worked.plus(_asked(writes, reads, self.settings))
        return Line(of, asset, count, cpu, gpu, stored, writes, reads, dollars, source)


ALL = "all"
"""What is made over all datasets."""


def estimate(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, size: Size | None = None
) -> Iterator[Line]:
    """A line for each table that a run would make, in the order of the run.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        settings: the prices.
        size: of sources that are not indexed yet, and what else is not known.
    """
    return _Estimate(store, recipes, settings, size or Size()).lines()


def not_indexed(store: TableStore, recipes: Iterable[str]) -> list[str]:
    """The datasets that the index in force does not have: how many videos they have is not known."""
    known = indexed(store)
    return [name for name in recipes if name not in known]


def _videos(store: TableStore) -> dict[str, int]:
    """Shard -> how many videos it has."""
    header = store.usable_header(INDEX)
    slices = read_slices(store, header) if header is not None else FORM.empty_table()
    return dict(zip(slices["shard"].to_pylist(), slices["rows"].to_pylist(), strict=True))


def _made_with(asset: str, recipe: Recipe) -> str | None:
    """The table whose figure counts this one in, since one stage makes both."""
    parts = next((s.parts for s in STAGES if any(p.asset == asset for p in s.parts)), ())
    return next((p.asset for p in parts if p.figure(recipe, None) is not None), None)


def _asked(writes: Range, reads: Range, settings: Settings) -> Range:
    return writes.times(settings.price_1000_writes / 1000).plus(reads.times(settings.price_1000_reads / 1000))


def _by(
    made: Mapping[str, TableHeader], units: Mapping[str, float], whole: float
) -> tuple[Range | None, Range | None, Range | None]:
    """CPU seconds, GPU seconds and bytes of `whole` units, from tables that have `units` each."""

    def of(value: Callable[[TableHeader], float]) -> Range:
        return _range([value(h) / units[k] for k, h in made.items()]).times(whole)

    return (
        of(lambda h: float(h.stats.get("cpu_s") or 0)),
        of(lambda h: float(h.stats.get("gpu_s") or 0)),
        of(lambda h: float(h.stats.get("bytes") or 0) + (h.size or 0)),
    )


def _range(values: Sequence[float]) -> Range:
    low, high = np.quantile(values, [0.1, 0.9])
    return Range(float(low), float(np.mean(values)), float(high))


def _middle(span: Span | None) -> Range | None:
    return None if span is None else Range(span[0], sum(span) / 2, span[1])


@dataclass(frozen=True)
class Total:
    """The sum of what has figures.

    Attributes:
        dollars_a_month: of keeping what is stored.
        unknown: tables without a figure of what they take.
        unsized: tables without a figure of what they store.
    """

    core_hours: Range
    gpu_hours: Range
    gb: Range
    writes: Range
    reads: Range
    dollars: Range
    dollars_a_month: Range
    unknown: tuple[str, ...]
    unsized: tuple[str, ...]


def total(lines: Sequence[Line], settings: Settings) -> Total:
    """All lines together. The low ends and the high ends are added up, so that the range is rather too wide than too narrow."""

    def added(name: str) -> Range:
        found = NOTHING
        for line in lines:
            found = found.plus(getattr(line, name) or NOTHING)
        return found

    cpu, gpu, stored = added("cpu_s"), added("gpu_s"), added("bytes")
    worked = Range(*(price(settings, getattr(cpu, f.name), getattr(gpu, f.name)) for f in fields(Range)))
    gb = stored.times(1e-9)
    return Total(
        cpu.times(1 / 3600),
        gpu.times(1 / 3600),
        gb,
        added("writes"),
        added("reads"),
        worked.plus(_asked(added("writes"), added("reads"), settings)),
        gb.times(settings.price_gb_month),
        tuple(dict.fromkeys(line.asset for line in lines if line.cpu_s is None or line.gpu_s is None)),
        tuple(dict.fromkeys(line.asset for line in lines if line.bytes is None)),
    )
